package blob

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Routes is what the hosts ACCOUNT.blob.core.windows.net can be asked.
func Routes() []route.Route { return newOperations().routes("restype", "comp") }

// DFSRoutes is what the hosts ACCOUNT.dfs.core.windows.net can be asked.
func DFSRoutes() []route.Route { return newDFSOperations().routes("resource", "action") }

func (o *operations) routes(restype, comp string) (all []route.Route) {
	targets := map[level]string{onService: "/", onContainer: "/" + route.Container, onBlob: "/" + route.Container + "/" + route.Item}
	for _, op := range o.rows {
		r := route.Route{Operation: op.name, Target: targets[op.level] + storage.RouteQuery(restype, op.restype, comp, op.comp, op.query, "x")}
		if op.header != "" {
			r.Header = map[string]string{op.header: "/" + route.Container + "/" + route.Item}
		}
		for _, r.Method = range strings.Fields(op.methods) {
			all = append(all, r)
		}
	}
	return all
}
