package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ask sends a query of a component over HTTP, and returns the cells of the answer
// as JSON, a line for each row.
func (e *env) ask(query, timespan string) (columns, rows string) {
	e.t.Helper()
	body, err := json.Marshal(map[string]string{"query": query, "timespan": timespan})
	if err != nil {
		e.t.Fatal(err)
	}
	a := e.do("POST", hostApps, "/v1/apps/"+appOne+"/query", body, "Authorization", "Bearer reader@https://api.applicationinsights.io", "Content-Type", "application/json")
	if a.status != http.StatusOK {
		e.t.Fatalf("%s: %s", query, a)
	}
	var out struct {
		Tables []struct {
			Columns []struct{ Name, Type string }
			Rows    [][]json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(a.text), &out); err != nil {
		e.t.Fatal(err)
	}
	var names, lines []string
	for _, c := range out.Tables[0].Columns {
		names = append(names, c.Name+":"+c.Type)
	}
	for _, r := range out.Tables[0].Rows {
		var cells []string
		for _, c := range r {
			cells = append(cells, string(c))
		}
		lines = append(lines, strings.Join(cells, " "))
	}
	return strings.Join(names, " "), strings.Join(lines, "\n")
}

// TestLanguage asks in the query language over HTTP what was sent over HTTP.
func TestLanguage(t *testing.T) {
	e := newEnv(t)
	for i, r := range []struct {
		name, code string
		ms         int
	}{{"GET /", "200", 10}, {"POST /score", "500", 700}, {"POST /score", "200", 90}, {"GET /", "200", 30}} {
		data := fmt.Sprintf(`{"id":"r%d","name":%q,"duration":"00:00:00.%03d","responseCode":%q,"success":%t,"properties":{"run":"run-%d","step":"%d"},"measurements":{"loss":%d.5}}`,
			i, r.name, r.ms, r.code, r.code == "200", i%2, i, i)
		if status, a := e.track(item(keyOne, "RequestData", data)); status != http.StatusOK || a.Accepted != 1 {
			t.Fatal(status, a)
		}
	}
	if status, _ := e.track(item(keyOne, "MessageData", `{"message":"Loaded the model in 3 s"}`)); status != http.StatusOK {
		t.Fatal(status)
	}
	e.clock.Step(10 * time.Minute)
	for _, c := range []struct{ query, timespan, columns, rows string }{
		{"requests | count", "", "Count:long", "4"},
		{"requests | summarize count(), avg(duration), failed = countif(success == false) by name | order by name asc", "",
			"name:string count_:long avg_duration:real failed:long", `"GET /" 2 20.0 0` + "\n" + `"POST /score" 2 395.0 1`},
		{"requests | where timestamp > ago(1h) | summarize n = count() by bin(timestamp, 5m)", "", "timestamp:datetime n:long", `"2026-11-23T12:00:00Z" 4`},
		{"requests | where timestamp > ago(5m) | count", "", "Count:long", "0"},
		{"requests | where tostring(customDimensions.run) == 'run-1' | project id, step = toint(customDimensions['step']), loss = todouble(customMeasurements.loss)", "",
			"id:string step:int loss:real", `"r1" 1 1.5` + "\n" + `"r3" 3 3.5`},
		{"requests | top 1 by duration | project id, resultCode, customDimensions", "", "id:string resultCode:string customDimensions:dynamic", `"r1" "500" "{\"run\":\"run-1\",\"step\":\"1\"}"`},
		{"requests | join kind=inner (requests | where resultCode == '500' | distinct name) on name | summarize make_set(id), percentile(duration, 95)", "",
			"set_id:dynamic percentile_duration_95:real", `"[\"r1\",\"r2\"]" 700.0`},
		{"union withsource=table requests, traces | summarize count() by table | order by table asc", "", "table:string count_:long", `"requests" 4` + "\n" + `"traces" 1`},
		{"search 'model' | project $table, message", "", "$table:string message:string", `"traces" "Loaded the model in 3 s"`},
		{"traces | parse message with 'Loaded the ' what ' in ' seconds:long ' s' | project what, seconds", "", "what:string seconds:long", `"model" 3`},
		{"let slow = (ms:real) { requests | where duration > ms }; slow(50) | project id | order by id asc", "", "id:string", `"r1"` + "\n" + `"r2"`},
		{"print now(), 90m, dynamic([1]), real(nan), guid(null), ''", "", "print_0:datetime print_1:timespan print_2:dynamic print_3:real print_4:guid print_5:string",
			`"2026-11-23T12:10:00Z" "01:30:00" "[1]" "NaN" null ""`},
		{"requests | count", "PT5M", "Count:long", "0"},
		{"requests | count", "PT20M", "Count:long", "4"},
		{"requests | where timestamp < ago(1d) | count", "P7D", "Count:long", "0"},
	} {
		columns, rows := e.ask(c.query, c.timespan)
		if columns != c.columns || rows != c.rows {
			t.Errorf("%s %s:\n%s\n%s\nwant:\n%s\n%s", c.query, c.timespan, columns, rows, c.columns, c.rows)
		}
	}
}

// TestLanguageErrors holds that what a query has wrong is a 400 that names it and
// says where.
func TestLanguageErrors(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		query, kind, code, message, token string
		line, pos                         int
	}{
		{"requests | where", "SyntaxError", "SYN0002", "Query could not be parsed at '<EOF>' on line [1,16]", "<EOF>", 1, 16},
		{"requests\n| frobnicate 5", "SyntaxError", "SYN0002", "unknown operator 'frobnicate'", "frobnicate", 2, 2},
		{"requests | where nam == 'x'", "SemanticError", "SEM0100", "'where' operator: Failed to resolve scalar expression named 'nam'", "nam", 1, 17},
		{"request | count", "SemanticError", "SEM0100", "'count' operator: Failed to resolve table or column expression named 'request'", "request", 1, 0},
		{"requests | extend x = frob(1)", "SemanticError", "SEM0260", "Unknown function: 'frob'", "frob", 1, 22},
		{"requests | where duration == 'x'", "SemanticError", "", "Cannot compare values of types real and string", "", 1, 26},
		{"app('other').requests", "SemanticError", "", "'app()' is not supported", "app", 1, 0},
	} {
		body, err := json.Marshal(map[string]string{"query": c.query})
		if err != nil {
			t.Fatal(err)
		}
		a := e.do("POST", hostApps, "/v1/apps/"+appOne+"/query", body, "Authorization", "Bearer reader@https://api.applicationinsights.io", "Content-Type", "application/json")
		var out struct {
			Error struct {
				Code       string
				InnerError struct {
					Code       string
					InnerError struct {
						Code, Message, Token string
						Line, Pos            int
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(a.text), &out); err != nil {
			t.Fatal(err)
		}
		in := out.Error.InnerError.InnerError
		if a.status != http.StatusBadRequest || out.Error.Code != "BadArgumentError" || out.Error.InnerError.Code != c.kind ||
			in.Code != c.code || !strings.Contains(in.Message, c.message) || in.Line != c.line || in.Pos != c.pos || in.Token != c.token {
			t.Errorf("%s: %s", c.query, a)
		}
	}
}
