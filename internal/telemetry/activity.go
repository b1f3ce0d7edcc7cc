package telemetry

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
)

// ActivityFilter says which events of the activity log are wanted. What is empty
// matches everything; texts match without regard to case.
type ActivityFilter struct {
	// From and To bound the events' times, both inclusive.
	From, To time.Time
	// ResourceGroup, ResourceProvider, ResourceID and Caller are compared whole.
	ResourceGroup, ResourceProvider, ResourceID, Caller string
	// CorrelationID ties events together.
	CorrelationID string
}

// ActivityRecord is an event of the activity log.
type ActivityRecord struct {
	ActivityEvent
	// ID is the event's own, Submitted when it could be asked for.
	ID        string
	Submitted time.Time
	// Level is Informational or Error.
	Level string
}

// maxActivities bounds the memory of one look at the activity log: the newest
// events are found.
const maxActivities = 20_000

// Activities returns the events of the activity log that match, the newest first.
func (s *Service) Activities(ctx context.Context, f ActivityFilter) ([]ActivityRecord, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	v := s.schema.workspace[activityTable]
	t := &table{source: &source{s: s, space: activitySpace, retention: activityRetention}, view: v}
	hint := kql.Hint{From: f.From, To: f.To}
	place := map[string]int{}
	for i, c := range v.columns {
		switch c.Name {
		case "TimeGenerated", "OperationName", "Level", "ActivitySubstatusValue", "ActivitySubstatus", "Caller", "CallerIpAddress", "ResourceGroup",
			"ResourceProvider", "ResourceId", "CorrelationId", "EventDataId", "EventSubmissionTimestamp", "HTTPRequest", "Claims":
			place[c.Name] = i
			hint.Columns = append(hint.Columns, i)
		}
	}
	var out []ActivityRecord
	trim := func() {
		slices.SortStableFunc(out, func(a, b ActivityRecord) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
		out = out[:min(len(out), maxActivities)]
	}
	err := t.Scan(ctx, hint, func(row []kql.Value) bool {
		cell := func(name string) string { return strings.Clone(row[place[name]].String()) }
		at := row[place["TimeGenerated"]].Time()
		if !f.From.IsZero() && at.Before(f.From) || !f.To.IsZero() && at.After(f.To) {
			return true
		}
		for name, want := range map[string]string{"ResourceGroup": f.ResourceGroup, "ResourceProvider": f.ResourceProvider, "ResourceId": f.ResourceID,
			"Caller": f.Caller, "CorrelationId": f.CorrelationID} {
			if want != "" && !strings.EqualFold(row[place[name]].String(), want) {
				return true
			}
		}
		r := ActivityRecord{ID: cell("EventDataId"), Submitted: row[place["EventSubmissionTimestamp"]].Time(), Level: cell("Level")}
		r.At, r.ResourceID, r.Operation, r.Code = at, cell("ResourceId"), cell("OperationName"), cell("ActivitySubstatus")
		r.Caller, r.Address, r.CorrelationID = cell("Caller"), cell("CallerIpAddress"), cell("CorrelationId")
		if n, err := strconv.Atoi(cell("ActivitySubstatusValue")); err == nil {
			r.Status = n
		}
		fields([]byte(row[place["HTTPRequest"]].String()), func(name, v []byte) {
			if string(name) == "method" {
				r.Method = string(text(v))
			}
		})
		fields([]byte(row[place["Claims"]].String()), func(_, v []byte) { r.ObjectID = string(text(v)) })
		if out = append(out, r); len(out) >= 2*maxActivities {
			trim()
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	trim()
	return out, nil
}
