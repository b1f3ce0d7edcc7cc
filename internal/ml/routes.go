package ml

import (
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/mlflow"
	"github.com/azimuth-ml/azimuth/internal/route"
)

// Routes is what the hosts REGION.api.azureml.ms can be asked about a workspace,
// an ARM ID. What they say to everybody, where its services are, is not in it.
func Routes(workspace string) []route.Route {
	all := mlflow.Routes(workspace)
	for _, r := range [][2]string{
		{http.MethodPost, "history/v1.0%/rundata"},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item},
		{http.MethodGet, "history/v1.0%/experiments/Default/runs/" + route.Item},
		{http.MethodGet, "history/v1.0%/experimentids/Default/runs/" + route.Item},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item + "/details"},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item + "/children"},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item + "/serviceinstances/0"},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item + "/artifacts"},
		{http.MethodGet, "history/v1.0%/runs/" + route.Item + "/artifacts/path"},
		{http.MethodPost, "data/v1.0%/dataversion/batchGetResolvedUris"},
		{http.MethodPost, "modelregistry/v1.0%/models/batchGetResolvedUris"},
	} {
		service, rest, _ := strings.Cut(r[1], "%")
		all = append(all, route.Route{Operation: r[0] + " " + service + "/…" + rest, Method: r[0], Target: "/" + service + workspace + rest})
	}
	return all
}
