package mlflow

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	routes "github.com/azimuth-ml/azimuth/internal/route"
)

// Routes is what the tracking server of a workspace, an ARM ID, can be asked.
func Routes(workspace string) (all []routes.Route) {
	s := &Service{}
	add := func(method, part, op string) {
		all = append(all, routes.Route{Operation: method + " " + op, Method: method, Target: "/mlflow/v1.0" + workspace + "/api/2.0/" + part + "/" + op})
	}
	runs := s.table()
	for _, op := range slices.Sorted(maps.Keys(runs)) {
		method := runs[op].method
		if method == "" {
			add(http.MethodGet, "mlflow", op)
			method = http.MethodPost
		}
		add(method, "mlflow", op)
	}
	for _, key := range slices.Sorted(maps.Keys(s.registry())) {
		method, op, _ := strings.Cut(key, " ")
		add(method, "mlflow", op)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		add(method, "mlflow-artifacts", "artifacts/"+routes.Item)
	}
	return all
}
