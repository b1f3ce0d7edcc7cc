package oci

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
)

// Routes is what the hosts REGISTRY.azurecr.io can be asked of those who have a
// token. The endpoints at which tokens are had are not in it.
func Routes() (all []route.Route) {
	names := strings.NewReplacer("{name}", route.Item, "{ref}", "latest")
	for _, o := range operations() {
		for method := range strings.FieldsSeq(o.methods) {
			all = append(all, route.Route{Operation: method + " /" + o.path, Method: method, Target: "/" + names.Replace(o.path)})
		}
	}
	return all
}
