package telemetry

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func asWho(who, audience string) []string {
	return []string{"Authorization", "Bearer " + who + "@" + audience}
}

// post posts a query and returns the status and the body.
func (e *env) post(host, path, query string, header ...string) answer {
	e.t.Helper()
	body, err := json.Marshal(QueryRequest{Query: query})
	if err != nil {
		e.t.Fatal(err)
	}
	return e.do("POST", host, path, body, header...)
}

func TestQuery(t *testing.T) {
	e := newEnv(t)
	for _, c := range everyType() {
		e.track(item(keyOne, c.baseType, c.data) + "\n" + item(keyTwo, c.baseType, c.data))
	}
	for range 2 {
		a := e.post("api.applicationinsights.io", "/v1/apps/"+appOne+"/query",
			`requests | project timestamp, name, duration, success, itemCount, customDimensions, n = toint(customDimensions.n), none = dynamic(null)`, asWho("reader", "https://api.applicationinsights.io")...)
		want := `{"tables":[{"name":"PrimaryResult","columns":[{"name":"timestamp","type":"datetime"},{"name":"name","type":"string"},{"name":"duration","type":"real"},{"name":"success","type":"string"},` +
			`{"name":"itemCount","type":"int"},{"name":"customDimensions","type":"dynamic"},{"name":"n","type":"int"},{"name":"none","type":"dynamic"}],` +
			`"rows":[["2026-11-23T12:00:00Z","GET /",1500.0,"True",1,"{\"a\":\"b\",\"n\":\"1\"}",1,null]]}]}`
		if got := strings.ReplaceAll(a.text, "12:00:00.0000000Z", "12:00:00Z"); a.status != 200 || got != want {
			t.Errorf("%s\nwant %s", a, want)
		}
		for _, c := range everyType() {
			a := e.post("api.applicationinsights.io", "/v1/apps/"+appTwo+"/query", c.table+" | count", asWho("reader", "https://api.applicationinsights.io/")...)
			if a.status != 200 || strings.Contains(a.text, "[[0]]") {
				t.Errorf("%s: %s", c.table, a)
			}
		}
		a = e.post("api.loganalytics.io", "/v1/workspaces/"+wsID+"/query", `AppRequests | project Type, Success, DurationMs, PerformanceBucket`, asWho("reader", "https://api.loganalytics.io")...)
		if a.status != 200 || !strings.Contains(a.text, `"rows":[["AppRequests",true,1500.0,"1sec-3sec"]]`) {
			t.Error(a)
		}
		// the same from segments
		if err := e.Service.store.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	e := newEnv(t)
	e.track(item(keyOne, "RequestData", `{"id":"r"}`))
	reader := asWho("reader", "https://api.loganalytics.io")
	apps, logs := "api.applicationinsights.io", "api.loganalytics.azure.com"
	app, workspace := "/v1/apps/"+appOne+"/query", "/v1/workspaces/"+wsID+"/query"
	for name, c := range map[string]struct {
		host, path, query string
		header            []string
		status            int
		text              string
	}{
		"no token":             {apps, app, "requests", nil, 401, "AuthorizationRequiredError"},
		"bad token":            {apps, app, "requests", asWho("ghost", "https://api.loganalytics.io"), 401, "InvalidTokenError"},
		"token of storage":     {apps, app, "requests", asWho("reader", "https://storage.azure.com"), 401, "InvalidTokenError"},
		"API key":              {apps, app, "requests", []string{"X-Api-Key", keyOne}, 403, "InsufficientAccessError"},
		"no role":              {apps, app, "requests", asWho("nobody", "https://api.loganalytics.io"), 403, "InsufficientAccessError"},
		"no role in workspace": {logs, workspace, "AppRequests", asWho("nobody", "https://api.loganalytics.io"), 403, "InsufficientAccessError"},
		"no role for a table":  {logs, workspace, "AppTraces", reader, 403, "InsufficientAccessError"},
		"no application":       {apps, "/v1/apps/none/query", "requests", reader, 404, "could not be found"},
		"no workspace":         {logs, "/v1/workspaces/none/query", "AppRequests", reader, 404, "could not be found"},
		"no path":              {logs, "/v1/other", "AppRequests", reader, 404, "PathNotFoundError"},
		"application at logs":  {logs, app, "requests", reader, 404, "PathNotFoundError"},
		"metrics":              {apps, "/v1/apps/" + appOne + "/metrics/requests/count", "", reader, 501, "NotImplementedByAzimuth"},
		"events":               {apps, "/v1/apps/" + appOne + "/events", "", reader, 501, "NotImplementedByAzimuth"},
		"no query":             {apps, app, " ", reader, 400, "The query is missing"},
		"syntax":               {apps, app, "requests | where (", reader, 400, `"code":"SyntaxError"`},
		"no table":             {apps, app, "nothing", reader, 400, `"code":"SEM0100"`},
		"no column":            {apps, app, "requests | where nothing == 1", reader, 400, `"code":"SemanticError"`},
		"classic in workspace": {logs, workspace, "requests", reader, 400, "requests"},
		"other resource":       {logs, "/v1/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/x/query", "X", reader, 501, "NotImplementedByAzimuth"},
	} {
		if a := e.post(c.host, c.path, c.query, c.header...); a.status != c.status || !strings.Contains(a.text, c.text) || !strings.HasPrefix(a.text, `{"error":{`) {
			t.Errorf("%s: %s", name, a)
		}
	}
	if a := e.do("POST", apps, app, []byte("{"), reader...); a.status != 400 || !strings.Contains(a.text, "BadArgumentError") {
		t.Errorf("bad body: %s", a)
	}
	if a := e.do("POST", logs, workspace, []byte(`{"query":"AppRequests","workspaces":["other"]}`), reader...); a.status != 501 {
		t.Errorf("another workspace: %s", a)
	}
	if a := e.do("POST", logs, workspace, []byte(`{"query":"AppRequests | count","workspaces":["`+wsID+`"]}`), reader...); a.status != 200 {
		t.Errorf("itself: %s", a)
	}
	e.fake.components[0].QueryOpen = false
	if a := e.post(apps, app, "requests", reader...); a.status != 403 {
		t.Errorf("closed: %s", a)
	}
}

func TestTimespans(t *testing.T) {
	e := newEnv(t)
	for i := range 10 {
		at := start.Add(-time.Duration(i) * time.Hour)
		e.track(strings.Replace(item(keyOne, "EventData", fmt.Sprintf(`{"name":"%d"}`, i)), start.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), 1))
	}
	reader := asWho("reader", "https://api.applicationinsights.io")
	for span, want := range map[string]string{
		"":     "[[10]]",
		"PT3H": "[[4]]",
		"P1D":  "[[10]]",
		"2026-11-23T09:30:00Z/2026-11-23T10:30:00Z": "[[1]]",
		"2026-11-23T09:30:00Z/PT2H":                 "[[2]]",
		"PT2H/2026-11-23T09:30:00Z":                 "[[2]]",
		"yesterday":                                 "timespan",
		"PT1H/PT1H":                                 "timespan",
	} {
		q := url.Values{"query": {"customEvents | count"}, "timespan": {span}}
		a := e.do("GET", "api.applicationinsights.io", "/v1/apps/"+appOne+"/query?"+q.Encode(), nil, reader...)
		if !strings.Contains(a.text, want) {
			t.Errorf("%s: %s, want %s", span, a, want)
		}
	}
}

func TestMetadataAndBatches(t *testing.T) {
	e := newEnv(t)
	reader := asWho("reader", "https://api.loganalytics.io")
	e.track(item(keyTwo, "RequestData", `{"id":"r"}`))
	a := e.do("GET", "api.loganalytics.io", "/v1/workspaces/"+wsID+"/metadata", nil, reader...)
	if a.status != 200 || !strings.Contains(a.text, `"name":"AppRequests","timespanColumn":"TimeGenerated"`) || strings.Contains(a.text, `"requests"`) {
		t.Error(a)
	}
	a = e.do("GET", "api.applicationinsights.io", "/v1/apps/"+appTwo+"/metadata", nil, reader...)
	if a.status != 200 || !strings.Contains(a.text, `"name":"requests","timespanColumn":"timestamp"`) || strings.Contains(a.text, `"AzureActivity"`) {
		t.Error(a)
	}
	body := fmt.Sprintf(`{"requests":[{"id":"1","workspace":"%s","method":"POST","path":"/query","body":{"query":"AppRequests | count"}},{"id":"2","workspace":"none","body":{"query":"AppRequests"}}]}`, wsID)
	a = e.do("POST", "api.loganalytics.io", "/v1/$batch", []byte(body), reader...)
	if a.status != 200 || !strings.Contains(a.text, `{"id":"1","status":200,"body":{"tables":`) || !strings.Contains(a.text, `{"id":"2","status":404,`) {
		t.Error(a)
	}
	if a = e.do("POST", "api.loganalytics.io", "/v1/$batch", []byte(`[`), reader...); a.status != 400 {
		t.Error(a)
	}
	// a component by its resource ID
	if a = e.post("api.loganalytics.io", "/v1"+e.fake.components[1].ID+"/query", "requests | count", reader...); a.status != 200 || !strings.Contains(a.text, "[[1]]") {
		t.Error(a)
	}
}
