package kql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// hours is a table with a row for each of the last 24 hours.
func hours() *memTable {
	t := &memTable{time: "timestamp", cols: []Column{{"timestamp", DateTime}, {"name", String}, {"n", Long}, {"other", Dynamic}}}
	for i := range 24 {
		t.rows = append(t.rows, []Value{DateTimeValue(noon.Add(-time.Duration(i) * time.Hour)), StringValue("row"), LongValue(int64(i)), JSONValue(`{"a":1}`)})
	}
	return t
}

func runQuery(t *testing.T, src Source, text string, opt Options) (*Result, error) {
	t.Helper()
	q, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if opt.Now.IsZero() {
		opt.Now = noon
	}
	return q.Run(t.Context(), src, opt)
}

func TestHints(t *testing.T) {
	at := func(h int) time.Time { return noon.Add(-time.Duration(h) * time.Hour) }
	for _, tc := range []struct {
		query    string
		from, to time.Time
		columns  []int
		limit    int
	}{
		{query: "T | count", columns: []int{}},
		{query: "T", columns: []int{0, 1, 2, 3}},
		{query: "T | take 5", columns: []int{0, 1, 2, 3}, limit: 5},
		{query: "T | project n | take 5 | where n > 3", columns: []int{2}, limit: 5},
		{query: "T | where n > 1 | take 5 | project n", columns: []int{2}},
		{query: "T | where timestamp > ago(2h) | count", from: at(2), columns: []int{0}},
		{query: "T | where timestamp >= ago(5h) and timestamp < ago(1h) and n > 3 | project name", from: at(5), to: at(1), columns: []int{0, 1, 2}},
		{query: "T | where timestamp between (ago(5h) .. ago(1h)) | count", from: at(5), to: at(1), columns: []int{0}},
		{query: "T | where timestamp between (ago(5h) .. 4h) | count", from: at(5), to: at(1), columns: []int{0}},
		{query: "T | where ago(3h) <= timestamp | count", from: at(3), columns: []int{0}},
		{query: "let start = ago(4h); T | extend x = n * 2 | where x > 0 | where timestamp > start | summarize sum(x)", from: at(4), columns: []int{0, 2}},
		{query: "T | where timestamp > toscalar(print ago(6h)) | count", from: at(6), columns: []int{0}},
		{query: "T | where timestamp > ago(2h) or n > 3 | count", columns: []int{0, 2}},
		{query: "T | summarize arg_max(timestamp, n) by name | where timestamp > ago(1h)", columns: []int{0, 1, 2}},
		{query: "T | project-rename t = timestamp | where t > ago(2h) | project t", from: at(2), columns: []int{0}},
		{query: "T | extend timestamp = ago(1d) | where timestamp > ago(2h) | count", columns: []int{}},
		{query: "T | sort by n | where timestamp > ago(2h) | project n", columns: []int{0, 2}},
		{query: "union T, (print timestamp = now()) | where timestamp > ago(2h) | count", from: at(2), columns: []int{0}},
		{query: "T | extend unused = tostring(other) | project n", columns: []int{2}},
		{query: "T | where timestamp > ago(2h) | join kind=inner (T | summarize m = max(n) by name) on name | project m", columns: []int{0, 1}, from: at(2)},
	} {
		table := hours()
		src := &memSource{}
		src.add("T", table)
		var hints []Hint
		table.seen = func(h Hint) { hints = append(hints, h) }
		if _, err := runQuery(t, src, tc.query, Options{}); err != nil {
			t.Errorf("%s: %v", tc.query, err)
			continue
		}
		h := hints[len(hints)-1]
		if !h.From.Equal(tc.from) || !h.To.Equal(tc.to) || !slices.Equal(h.Columns, tc.columns) || h.Columns == nil || h.Limit != tc.limit {
			t.Errorf("%s: %+v", tc.query, h)
		}
	}
}

func TestTimespan(t *testing.T) {
	src := &memSource{}
	table := hours()
	src.add("T", table)
	res, err := runQuery(t, src, "T | where n < 100 | count", Options{Timespan: Timespan{From: noon.Add(-4 * time.Hour), To: noon}})
	if err != nil {
		t.Fatal(err)
	}
	// Its start is part of it, its end is not.
	if got := res.Rows[0][0].Long(); got != 4 {
		t.Errorf("%d rows", got)
	}
	if !table.hint.From.Equal(noon.Add(-4*time.Hour)) || !table.hint.To.Equal(noon) {
		t.Errorf("%+v", table.hint)
	}
	// The query's own conditions narrow it.
	if _, err = runQuery(t, src, "T | where timestamp > ago(1h) | count", Options{Timespan: Timespan{From: noon.Add(-4 * time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	if !table.hint.From.Equal(noon.Add(-time.Hour)) || !table.hint.To.IsZero() {
		t.Errorf("%+v", table.hint)
	}
	// A limit is told only when no row can be left out.
	if _, err = runQuery(t, src, "T | take 1", Options{Timespan: Timespan{From: noon.Add(-4 * time.Hour)}}); err != nil || table.hint.Limit != 0 {
		t.Error(err, table.hint)
	}
}

// TestSchemaWithoutRows holds that names and types are known, and errors found,
// before any row is read.
func TestSchemaWithoutRows(t *testing.T) {
	src := &memSource{}
	table := hours()
	table.rows = nil
	src.add("T", table)
	q, err := Parse("T | summarize count(), p = percentile(n, 50), arg_max(timestamp, name) by bin(timestamp, 1h), tostring(other.a) | render timechart with (title='x')")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := q.Compile(t.Context(), src, Options{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	want := []Column{{"timestamp", DateTime}, {"other_a", String}, {"count_", Long}, {"p", Long}, {"timestamp1", DateTime}, {"name", String}}
	if !slices.Equal(plan.Columns(), want) {
		t.Errorf("%v", plan.Columns())
	}
	if r := plan.Render(); r == nil || r.Visualization != "timechart" || r.Properties["title"] != "x" {
		t.Errorf("%+v", r)
	}
	table.seen = func(Hint) { t.Error("the table was read") }
	for _, text := range []string{"T | where nope", "T | where name == 1", "T | extend x = nope()", "U", "T | join (U) on name", "T | where n in (U)"} {
		if _, err := runQuery(t, src, text, Options{}); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestLimits(t *testing.T) {
	src := &memSource{}
	src.add("T", hours())
	deep := strings.Repeat("(", 100_000)
	for name, text := range map[string]string{
		"memory of a sort":        "range x from 1 to 100000000 step 1 | extend s = strcat('row ', x) | sort by s",
		"memory of groups":        "range x from 1 to 100000000 step 1 | summarize count() by x",
		"memory of a list":        "range x from 1 to 100000000 step 1 | summarize make_list(x, 1000000), make_set(strcat('a', x))",
		"memory of a join":        "T | join kind=inner (range n from 1 to 100000000 step 1) on n",
		"memory of distinct":      "range x from 1 to 100000000 step 1 | distinct x | count",
		"memory of in":            "T | where n in (range x from 1 to 100000000 step 1)",
		"memory of constants":     "print " + strings.Repeat("array_length(range(1, 1000000)), ", 1000) + "1",
		"memory of the answer":    "range x from 1 to 100000000 step 1 | extend s = strrep('abc', 1000)",
		"memory of make-series":   "range x from 1 to 100000000 step 1 | make-series count() on x step 1 by x",
		"values that grow":        "print s = 'abcdefgh'" + strings.Repeat(" | extend s = strcat(s, s)", 40),
		"arrays that grow":        "print s = dynamic([1])" + strings.Repeat(" | extend s = array_concat(s, s)", 40),
		"arrays that share":       "print s = dynamic([1])" + strings.Repeat(" | extend s = pack_array(s, s)", 60),
		"parentheses":             "print " + deep,
		"brackets":                "print dynamic(" + strings.Repeat("[", 100_000) + ")",
		"nested dynamic":          "print " + strings.Repeat("dynamic(", 20_000) + "1" + strings.Repeat(")", 20_000),
		"a long sum":              "print 1" + strings.Repeat("+1", 100_000),
		"many operators":          "T" + strings.Repeat("|where true", 5000),
		"a long text":             "print '" + strings.Repeat("x", maxQueryBytes) + "'",
		"tables that double":      doubling("let t%d = union t%d, t%d;", "let t0 = T;", "t40"),
		"functions that double":   doubling("let f%d = (x:long) { f%d(x) + f%d(x) };", "let f0 = (x:long) { x };", "print f40(1)"),
		"arguments that double":   "let f = (x:long) { x + x }; T | extend y = " + strings.Repeat("f(", 60) + "n" + strings.Repeat(")", 60),
		"functions in functions":  doubling("let f%d = () { let a = f%d(); let b = f%d(); a };", "let f0 = () { 1 };", "print f40()"),
		"a series of many values": "T | make-series count() on timestamp from datetime(2000-01-01) to datetime(2025-01-01) step 1s",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runQuery(t, src, text, Options{MaxBytes: 8 << 20, MaxRows: 1_000_000_000})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			if e.Kind != KindLimit && e.Kind != KindSyntax {
				t.Errorf("%+v", e)
			}
		})
	}
}

func doubling(form, first, last string) string {
	var b strings.Builder
	b.WriteString(first)
	for i := 1; i <= 40; i++ {
		fmt.Fprintf(&b, form, i, i-1, i-1)
	}
	return b.String() + last
}

func TestTruncation(t *testing.T) {
	src := &memSource{}
	src.add("T", hours())
	res, err := runQuery(t, src, "T", Options{MaxRows: 10})
	if err != nil || len(res.Rows) != 10 || !res.Truncated {
		t.Error(err, len(res.Rows), res.Truncated)
	}
	res, err = runQuery(t, src, "T", Options{MaxRows: 24})
	if err != nil || len(res.Rows) != 24 || res.Truncated {
		t.Error(err, len(res.Rows), res.Truncated)
	}
}

func TestCancel(t *testing.T) {
	for _, text := range []string{
		"range x from 1 to 1000000000000 step 1 | where x < 0",
		"range x from 1 to 1000000000000 step 1 | summarize sum(x)",
		"print l = range(1, 1000000) | mv-expand l to typeof(long) | extend m = range(1, 1000000) | mv-expand m | count",
		"range x from 1 to 1000000000000 step 1 | extend a = array_sum(range(1, 100000)) | count",
		"T | where n > toscalar(range x from 1 to 1000000000000 step 1 | summarize max(x))",
	} {
		src := &memSource{}
		src.add("T", hours())
		q, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		// The context ends while the query runs, whenever that is.
		ctx, cancel := context.WithCancel(t.Context())
		plan, err := q.Compile(ctx, src, Options{Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- plan.Run(ctx, func([]Value) bool { return true }) }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSourceErrors(t *testing.T) {
	src := &memSource{}
	table := hours()
	table.fail = errors.New("the disk is gone")
	src.add("T", table)
	for _, text := range []string{"T | count", "union T, T | summarize count()", "print n = 1 | join kind=inner T on n", "print 1 | where 1 in (T | project n)"} {
		if _, err := runQuery(t, src, text, Options{}); !errors.Is(err, table.fail) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestOneQueryForMany runs one query at once in several goroutines: what was parsed
// is not written to.
func TestOneQueryForMany(t *testing.T) {
	q, err := Parse(`let f = (x:long) { x * 2 }; union T, (T | where n > 3) | where timestamp > ago(20h)
| extend m = f(n), s = strcat(name, n), d = other.a | mv-apply l = pack_array(n, m) to typeof(long) on (summarize sum(l))
| join kind=leftouter (T | summarize c = count() by n) on n | summarize count(), make_set(s), arg_max(timestamp, *) by bin(n, 4) | sort by n | take 3`)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string)
	for range 4 {
		go func() {
			src := &memSource{}
			src.add("T", hours())
			res, err := q.Run(t.Context(), src, Options{Now: noon})
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- formatResult(res)
		}()
	}
	first := <-answers
	if strings.Count(first, "\n") != 4 {
		t.Error(first)
	}
	for range 3 {
		if next := <-answers; next != first {
			t.Errorf("%s\n%s", first, next)
		}
	}
}

func TestTablesThatMayNotBeRead(t *testing.T) {
	denied := errors.New("denied")
	for _, text := range []string{"T | count", "let X = T; X | count", "print 1 | where 1 in (T)", "print toscalar(T)", "union T, T", "search 'x'", "union isfuzzy=true T, T"} {
		if _, err := runQuery(t, deniedSource{denied}, text, Options{}); !errors.Is(err, denied) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

type deniedSource struct{ err error }

func (s deniedSource) Table(context.Context, string) (Table, error) { return nil, s.err }
func (s deniedSource) Tables(context.Context) ([]string, error)     { return []string{"T"}, nil }

func TestPlanRunsOnce(t *testing.T) {
	q, err := Parse("print 1")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := q.Compile(t.Context(), &memSource{}, Options{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	all := func([]Value) bool { return true }
	if err := plan.Run(t.Context(), all); err != nil {
		t.Error(err)
	}
	if err := plan.Run(t.Context(), all); err == nil {
		t.Error("a plan ran twice")
	}
}

func TestAppendJSON(t *testing.T) {
	for _, tc := range []struct {
		v    Value
		t    Type
		want string
	}{
		{BoolValue(true), Bool, "true"},
		{IntValue(-5), Int, "-5"},
		{LongValue(math.MaxInt64), Long, "9223372036854775807"},
		{RealValue(1), Real, "1.0"},
		{RealValue(0.1), Real, "0.1"},
		{RealValue(1e300), Real, "1e+300"},
		{RealValue(math.NaN()), Real, `"NaN"`},
		{RealValue(math.Inf(-1)), Real, `"-Infinity"`},
		{StringValue("a\"\n\x01é\xff"), String, `"a\"\n\u0001é` + "\uFFFD" + `"`},
		{Value{}, String, `""`},
		{Value{}, Long, "null"},
		{DateTimeValue(noon.Add(1500 * time.Millisecond)), DateTime, `"2024-03-01T12:00:01.5Z"`},
		{TimeSpanValue(90 * time.Minute), TimeSpan, `"01:30:00"`},
		{GUIDValue("74BE27DE-1E4E-49D9-B579-FE0B331D3642"), GUID, `"74be27de-1e4e-49d9-b579-fe0b331d3642"`},
		{JSONValue(`{"a": "b"}`), Dynamic, `"{\"a\":\"b\"}"`},
		{LongValue(5), Dynamic, `"5"`},
		{StringValue("x"), Dynamic, `"x"`},
		{Value{}, Dynamic, "null"},
	} {
		if got := string(tc.v.AppendJSON(nil, tc.t)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.t, got, tc.want)
		}
	}
}

func TestValues(t *testing.T) {
	at := time.Date(2024, 3, 1, 12, 0, 0, 123456700, time.UTC)
	if got := DateTimeValue(at).Time(); !got.Equal(at) {
		t.Error(got)
	}
	if got := UnixNanoValue(at.UnixNano()).Time(); !got.Equal(at) {
		t.Error(got)
	}
	if got := UnixNanoValue(-150).Time(); !got.Equal(time.Unix(0, -200).UTC()) {
		t.Error(got)
	}
	if !DateTimeValue(time.Time{}.AddDate(-1, 0, 0)).IsNull() || !DateTimeValue(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)).IsNull() {
		t.Error("years beyond the range are not null")
	}
	if TimeSpanValue(time.Hour).Duration() != time.Hour || (Value{k: kTimeSpan, n: math.MaxInt64}).Duration() != math.MaxInt64 {
		t.Error("durations")
	}
	if !BoolValue(true).Bool() || LongValue(5).Long() != 5 || IntValue(5).Real() != 5 || RealValue(0.5).Real() != 0.5 || !GUIDValue("x").IsNull() || !JSONValue("").IsNull() {
		t.Error("values")
	}
	if JSONValue("5").Long() != 5 || JSONValue(`"x"`).String() != "x" {
		t.Error("JSON scalars")
	}
}

// TestSortOrder holds the short cut of a sort to the comparison that it stands
// for.
func TestSortOrder(t *testing.T) {
	reals := []float64{math.Inf(-1), -1e300, -1, -1e-300, math.Copysign(0, -1), 0, 1e-300, 1, 2, 1e300, math.Inf(1), math.NaN()}
	longs := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	texts := []string{"", "a", "ab", "abcdefgh", "abcdefghi", "abcdefgi", "b", "\xff", "é"}
	values := map[Type][]Value{Real: {{}}, Long: {{}}, String: {{}}, GUID: {{}, GUIDValue(strings.Repeat("0", 32)), GUIDValue(strings.Repeat("f", 32))}}
	for _, f := range reals {
		values[Real] = append(values[Real], RealValue(f))
	}
	for _, n := range longs {
		values[Long] = append(values[Long], LongValue(n))
	}
	for _, s := range texts {
		values[String] = append(values[String], StringValue(s))
	}
	for typ, all := range values {
		for _, order := range []orderNode{{asc: true, nullsFirst: true}, {asc: true}, {nullsFirst: true}, {}} {
			op := &sortOp{keys: []*expr{{typ: typ}}, order: []orderNode{order}}
			for i := range all {
				for j := range all {
					want := op.compareKey(0, &all[i], &all[j])
					x, y := op.orderOf(&all[i]), op.orderOf(&all[j])
					if want < 0 && x > y || want > 0 && x < y || want == 0 && x != y {
						t.Errorf("%s %+v: %q and %q are %d, their numbers %x and %x", typ, order, all[i], all[j], want, x, y)
					}
				}
			}
		}
	}
}
