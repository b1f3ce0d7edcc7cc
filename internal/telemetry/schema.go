package telemetry

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

//go:embed tables.txt
var tablesText string

// column is one column of a view.
type column struct {
	kql.Column
	stored string // the column of the store that it shows; "" when nothing fills it
	kind   logstore.Kind
}

// view is a table as queries name it.
type view struct {
	name     string // "AppRequests" or "requests"
	table    string // the table of the store
	itemType string // what Type or itemType says
	columns  []column
}

// schema is all tables that Azure defines and that are kept here.
type schema struct {
	workspace map[string]*view // by the names in a Log Analytics workspace
	classic   map[string]*view // by the names in Application Insights
	names     []string         // of the tables, in the order of the file
}

// The columns that the store does not have: they are computed.
const (
	colTime        = "TimeGenerated"
	colType        = "Type"
	colTenant      = "TenantId"
	colSource      = "SourceSystem"
	colResource    = "_ResourceId"
	colSubscripion = "_SubscriptionId"
	colGUID        = "ResourceGUID"
	colKey         = "IKey"
	colBillable    = "_IsBillable"
	colBilled      = "_BilledSize"
	colItem        = "_ItemId"
	colBucket      = "PerformanceBucket"
)

func parseType(s string) (kql.Type, logstore.Kind, error) {
	switch s {
	case "string":
		return kql.String, logstore.String, nil
	case "int":
		return kql.Int, logstore.Int, nil
	case "long":
		return kql.Long, logstore.Int, nil
	case "real":
		return kql.Real, logstore.Real, nil
	case "bool":
		return kql.Bool, logstore.Bool, nil
	case "datetime":
		return kql.DateTime, logstore.Time, nil
	case "dynamic":
		return kql.Dynamic, logstore.Dynamic, nil
	}
	return 0, 0, fmt.Errorf("%q is no type", s)
}

// loadSchema reads the tables.
func loadSchema() (*schema, error) {
	s := &schema{workspace: map[string]*view{}, classic: map[string]*view{}}
	var ws, classic *view
	var shared [][]string
	inShared := false
	add := func(f []string) error {
		typ, kind, err := parseType(f[1])
		if err != nil {
			return err
		}
		if f[0] != "-" && ws != nil {
			ws.columns = append(ws.columns, column{Column: kql.Column{Name: f[0], Type: typ}, stored: f[0], kind: kind})
		}
		if len(f) < 3 || classic == nil {
			return nil
		}
		c := column{Column: kql.Column{Name: f[2], Type: typ}, stored: f[0], kind: kind}
		switch {
		case f[0] != "-" && len(f) == 4:
			if c.Type, _, err = parseType(f[3]); err != nil {
				return err
			}
		case f[0] == "-" && len(f) == 4:
			c.stored = strings.TrimPrefix(f[3], "=")
		case f[0] == "-":
			c.stored = ""
		}
		classic.columns = append(classic.columns, c)
		return nil
	}
	for n, line := range strings.Split(tablesText, "\n") {
		f := strings.Fields(line)
		var err error
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
		case f[0] == "common":
			inShared = true
		case f[0] == "table":
			inShared = false
			ws = &view{name: f[1], table: f[1], itemType: f[1]}
			s.workspace[ws.name] = ws
			s.names = append(s.names, ws.name)
			classic = nil
			if len(f) == 4 {
				classic = &view{name: f[2], table: f[1], itemType: f[3]}
				s.classic[classic.name] = classic
			}
		case f[0] == "+common":
			for _, f := range shared {
				if err = add(f); err != nil {
					break
				}
			}
		case len(f) < 2:
			err = fmt.Errorf("%q is no column", line)
		case inShared:
			shared = append(shared, f)
		default:
			err = add(f)
		}
		if err != nil {
			return nil, fmt.Errorf("tables.txt:%d: %w", n+1, err)
		}
	}
	for _, views := range []map[string]*view{s.workspace, s.classic} {
		for _, v := range views {
			// the time comes first, as in Azure's answers
			i := slices.IndexFunc(v.columns, func(c column) bool { return c.stored == colTime })
			if i < 0 {
				return nil, fmt.Errorf("tables.txt: %s has no time", v.name)
			}
			at := v.columns[i]
			v.columns = slices.Insert(slices.Delete(v.columns, i, i+1), 0, at)
		}
	}
	return s, nil
}

// performanceBucket is the range of durations, in milliseconds, that ms is in.
// The names are those of Application Insights.
func performanceBucket(ms float64) string {
	switch {
	case ms < 250:
		return "<250ms"
	case ms < 500:
		return "250ms-500ms"
	case ms < 1000:
		return "500ms-1sec"
	case ms < 3000:
		return "1sec-3sec"
	case ms < 7000:
		return "3sec-7sec"
	case ms < 15000:
		return "7sec-15sec"
	case ms < 30000:
		return "15sec-30sec"
	case ms < 60000:
		return "30sec-1min"
	case ms < 120000:
		return "1min-2min"
	case ms < 300000:
		return "2min-5min"
	}
	return ">=5min"
}
