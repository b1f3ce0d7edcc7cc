package telemetry

import (
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/route"
)

// LogRoutes is what api.loganalytics.io can be asked about a workspace, by its
// customer ID, and AppRoutes what api.applicationinsights.io can about a component,
// by its application ID; either by an ARM ID, too.
func LogRoutes(customerID, armID string) []route.Route {
	return append(queries("workspaces/"+customerID, armID),
		route.Route{Operation: "query batch", Method: http.MethodPost, Target: "/v1/$batch",
			Body: `{"requests":[{"id":"1","workspace":"` + customerID + `","body":{"query":"print 1"}}]}`})
}

// AppRoutes is described at LogRoutes.
func AppRoutes(appID, armID string) []route.Route { return queries("apps/"+appID, armID) }

func queries(names ...string) (all []route.Route) {
	for _, name := range names {
		if name[0] != '/' {
			name = "/" + name
		}
		all = append(all,
			route.Route{Operation: "query", Method: http.MethodGet, Target: "/v1" + name + "/query?query=print+1"},
			route.Route{Operation: "query", Method: http.MethodPost, Target: "/v1" + name + "/query", Body: `{"query":"print 1"}`},
			route.Route{Operation: "metadata", Method: http.MethodGet, Target: "/v1" + name + "/metadata"})
	}
	return all
}

// TrackRoutes is what the ingestion hosts take of a component that takes no keys
// alone, and OTLPRoutes what OTLPHost does.
func TrackRoutes(key string) []route.Route {
	body := `{"name":"e","time":"2026-06-01T12:00:00Z","iKey":"` + key + `","data":{"baseType":"EventData","baseData":{"ver":2,"name":"e"}}}`
	return []route.Route{
		{Operation: "track", Method: http.MethodPost, Target: "/v2/track", Body: body},
		{Operation: "track", Method: http.MethodPost, Target: "/v2.1/track", Body: body},
	}
}

// OTLPRoutes is described at TrackRoutes.
func OTLPRoutes(key string) (all []route.Route) {
	for _, signal := range []string{"traces", "metrics", "logs"} {
		all = append(all, route.Route{Operation: "export " + signal, Method: http.MethodPost, Target: "/v1/" + signal,
			Header: map[string]string{KeyHeader: key}})
	}
	return all
}
