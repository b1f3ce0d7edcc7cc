package insights_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestActivityLog(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var asked insights.ActivityFilter
	var events []insights.Activity
	for i := range 250 {
		events = append(events, insights.Activity{ID: "e", Method: "PUT", ResourceID: component, Operation: "Microsoft.Insights/components/write", Level: "Informational",
			Caller: "me", At: at.Add(-time.Duration(i) * time.Second), Submitted: at, Status: 200 + 204*(i%2)})
	}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), insights.Provider(insights.Deps{
		Activities: func(_ context.Context, f insights.ActivityFilter) ([]insights.Activity, error) {
			asked = f
			return events, nil
		},
	}))
	path := func(query ...string) string {
		q := url.Values{}
		for i := 0; i < len(query); i += 2 {
			q.Set(query[i], query[i+1])
		}
		return rptest.Sub + "/providers/Microsoft.Insights/eventtypes/management/values?" + q.Encode()
	}
	r := e.Want(http.StatusOK, "GET", path("$filter", "eventTimestamp ge 2026-11-23T10:00:00.123456Z and eventTimestamp le '2026-11-23T12:00:00Z' and eventChannels eq 'Admin, Operation' and resourceGroupName eq 'it''s'"), nil)
	if want := (insights.ActivityFilter{From: time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC), To: at, ResourceGroup: "it's"}); asked != want {
		t.Errorf("asked for %+v", asked)
	}
	if len(r.Body.List("value")) != 200 || !strings.Contains(r.Raw, `"value":"Failed"`) || !strings.Contains(r.Raw, `"resourceGroupName":"`) {
		t.Errorf("first page: %.500s", r.Raw)
	}
	next, err := url.Parse(r.Body.String("nextLink"))
	if err != nil {
		t.Fatal(err)
	}
	r = e.Want(http.StatusOK, "GET", path("$skiptoken", next.Query().Get("$skiptoken"), "$select", "eventTimestamp, level"), nil)
	if n := len(r.Body.List("value")); n != 50 || r.Body.Has("nextLink") || strings.Contains(r.Raw, "caller") || !strings.Contains(r.Raw, "Informational") {
		t.Errorf("second page: %d %.300s", n, r.Raw)
	}
	for _, filter := range []string{"level eq 'Error'", "eventTimestamp ge 'yesterday'", "caller ne 'me'", "caller"} {
		e.Refused(http.StatusBadRequest, "BadRequest", "$filter", "GET", path("$filter", filter), nil)
	}
}
