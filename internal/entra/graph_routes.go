package entra

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
)

// GraphRoutes is what Microsoft Graph can be asked here: for reading, which every
// principal of the tenant may, and for writing.
func GraphRoutes() (reading, writing []route.Route) {
	names := strings.NewReplacer("{id}", "11111111-2222-4333-8444-555555555555", "{member}", "11111111-2222-4333-8444-666666666666")
	for _, r := range (&Directory{}).graphRoutes() {
		method, target, _ := strings.Cut(r.pattern, " ")
		one := route.Route{Operation: r.pattern, Method: method, Target: names.Replace(target)}
		if r.permission == "" {
			reading = append(reading, one)
		} else {
			writing = append(writing, one)
		}
	}
	return reading, writing
}
