package insights

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// ActivityFilter says which events are asked for. Empty means any.
type ActivityFilter struct {
	From, To                                            time.Time
	ResourceGroup, ResourceProvider, ResourceID, Caller string
	CorrelationID                                       string
}

// Activity is an event of the activity log.
type Activity struct {
	ID, Method, ResourceID, Operation, Level, Code, Caller, ObjectID, Address, CorrelationID string
	At, Submitted                                                                            time.Time
	// Status is the HTTP status.
	Status int
}

// activityPage is how many events are on a page. Azure's number is not
// documented.
const activityPage = 200

// activityRead is the permission to read the activity log.
const activityRead = namespace + "/eventtypes/values/Read"

// activities answers what `az monitor activity-log list` asks:
// https://learn.microsoft.com/rest/api/monitor/activity-logs/list
func (p *provider) activities(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	if p.deps.Activities == nil {
		return nil, arm.NotImplemented("the activity log")
	}
	f, err := parseActivityFilter(req.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	skip := 0
	if v := req.Query.Get("$skiptoken"); v != "" {
		if skip, err = strconv.Atoi(v); err != nil || skip < 0 {
			return nil, arm.BadRequest("BadRequest", "The $skipToken '%s' is not one of this API.", v)
		}
	}
	events, err := p.deps.Activities(ctx, *f)
	if err != nil {
		return nil, err
	}
	var selected []string
	if v := req.Query.Get("$select"); v != "" {
		for name := range strings.SplitSeq(v, ",") {
			selected = append(selected, strings.TrimSpace(name))
		}
	}
	value := []any{}
	for i := min(skip, len(events)); i < len(events) && len(value) < activityPage; i++ {
		value = append(value, activityDoc(req, events[i], selected))
	}
	out := map[string]any{"value": value}
	if next := skip + len(value); next < len(events) {
		q := url.Values{}
		for name, v := range req.Query {
			q[name] = v
		}
		q.Set("$skiptoken", strconv.Itoa(next))
		out["nextLink"] = "https://" + arm.Host + req.HTTP.URL.Path + "?" + q.Encode()
	}
	return arm.OK(out), nil
}

// clause is one comparison of a filter: the value is in quotes or not.
func clause() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\s*(\w+)\s+(eq|ge|le|gt|lt)\s+(?:'((?:[^']|'')*)'|(\S+?))\s*(?:\s+and\s+|$)`)
}

// parseActivityFilter reads a $filter. What it does not know it refuses, as Azure
// does.
func parseActivityFilter(text string) (*ActivityFilter, error) {
	f := &ActivityFilter{}
	form := clause()
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := form.FindStringSubmatch(rest)
		if m == nil {
			return nil, arm.BadRequest("BadRequest", "The $filter '%s' cannot be read from '%s' on.", text, strings.TrimSpace(rest))
		}
		rest = rest[len(m[0]):]
		name, op, value := strings.ToLower(m[1]), strings.ToLower(m[2]), m[4]
		if value == "" {
			value = strings.ReplaceAll(m[3], "''", "'")
		}
		if name == "eventtimestamp" {
			at, err := parseMoment(value)
			if err != nil {
				return nil, arm.BadRequest("BadRequest", "'%s' in the $filter is not a time.", value)
			}
			switch op {
			case "ge", "gt":
				f.From = at
			case "le", "lt":
				f.To = at
			default:
				f.From, f.To = at, at
			}
			continue
		}
		target := map[string]*string{"resourcegroupname": &f.ResourceGroup, "resourceprovider": &f.ResourceProvider, "resourceuri": &f.ResourceID,
			"resourceid": &f.ResourceID, "caller": &f.Caller, "correlationid": &f.CorrelationID}[name]
		switch {
		case name == "eventchannels": // all there is is of both
		case target == nil || op != "eq":
			return nil, arm.BadRequest("BadRequest", "The $filter has '%s %s', which is not supported.", m[1], op)
		default:
			*target = value
		}
	}
	return f, nil
}

func parseMoment(s string) (time.Time, error) {
	var err error
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05.999999999", "2006-01-02"} {
		var t time.Time
		if t, err = time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, err
}

func localized(v string) map[string]string {
	return map[string]string{"value": v, "localizedValue": v}
}

// activityDoc is an event in the API's shape.
func activityDoc(req *arm.Request, e Activity, selected []string) map[string]any {
	status := "Succeeded"
	switch {
	case e.Status >= 400:
		status = "Failed"
	case e.Status == http.StatusAccepted:
		status = "Accepted"
	}
	resource, err := arm.ParseID(e.ResourceID)
	if err != nil {
		resource = arm.ID{} // what is no resource has no type
	}
	providerName := "Microsoft.Resources"
	if n := len(resource.Providers); n > 0 {
		providerName = resource.Providers[n-1].Namespace
	}
	sub := fmt.Sprintf("%s (HTTP Status Code: %d)", http.StatusText(e.Status), e.Status)
	doc := map[string]any{
		"authorization": map[string]string{"action": e.Operation, "scope": e.ResourceID}, "caller": e.Caller, "channels": "Operation",
		"claims":        map[string]string{"http://schemas.microsoft.com/identity/claims/objectidentifier": e.ObjectID},
		"correlationId": e.CorrelationID, "operationId": e.CorrelationID, "description": "", "eventDataId": e.ID,
		"eventName": map[string]string{"value": "EndRequest", "localizedValue": "End request"}, "category": localized("Administrative"),
		"httpRequest": map[string]string{"clientRequestId": e.CorrelationID, "clientIpAddress": e.Address, "method": e.Method},
		// the ticks are those of .NET, from the year 1 on
		"id":    fmt.Sprintf("%s/events/%s/ticks/%d", e.ResourceID, e.ID, e.At.UnixNano()/100+621355968000000000),
		"level": e.Level, "resourceGroupName": resource.ResourceGroup, "resourceProviderName": localized(providerName), "resourceId": e.ResourceID,
		"resourceType": localized(resource.Type()), "operationName": localized(e.Operation),
		"properties": map[string]string{"statusCode": strconv.Itoa(e.Status), "statusMessage": e.Code, "entity": e.ResourceID, "message": e.Operation},
		"status":     localized(status), "subStatus": map[string]string{"value": http.StatusText(e.Status), "localizedValue": sub},
		"eventTimestamp": arm.Timestamp(e.At), "submissionTimestamp": arm.Timestamp(e.Submitted),
		"subscriptionId": req.Kernel.Subscription(), "tenantId": req.Kernel.Tenant(),
	}
	if len(selected) == 0 {
		return doc
	}
	out := map[string]any{}
	for _, name := range selected {
		for key, v := range doc {
			if strings.EqualFold(key, name) {
				out[key] = v
			}
		}
	}
	return out
}
