package vault

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
)

// Routes is what the hosts VAULT.vault.azure.net can be asked.
func Routes() (all []route.Route) {
	names := strings.NewReplacer("{name}", route.Item, "{issuer}", route.Item, "{version}", "0123456789abcdef0123456789abcdef")
	for _, o := range operations() {
		all = append(all, route.Route{Operation: o.method + " " + o.path, Method: o.method, Target: "/" + names.Replace(o.path) + "?api-version=7.4"})
	}
	return all
}
