package kql

import (
	"context"
	"testing"
	"time"
)

// benchTable makes rows as it is read.
type benchTable struct{ n int }

func (t benchTable) Columns() []Column {
	return []Column{{"timestamp", DateTime}, {"name", String}, {"duration", Real}, {"resultCode", String}, {"success", Bool}, {"customDimensions", Dynamic}}
}

func (t benchTable) TimeColumn() string { return "timestamp" }

func (t benchTable) Scan(_ context.Context, _ Hint, yield func([]Value) bool) error {
	start := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	names := [...]Value{StringValue("GET /"), StringValue("POST /score"), StringValue("GET /health"), StringValue("GET /metrics")}
	codes := [...]Value{StringValue("200"), StringValue("200"), StringValue("500"), StringValue("404")}
	dims := [...]Value{JSONValue(`{"run":"a","step":1}`), JSONValue(`{"job":"train","run":"b","step":22}`)}
	row := make([]Value, 6)
	for i := range t.n {
		row[0] = UnixNanoValue(start + int64(i)*int64(86*time.Millisecond))
		row[1] = names[i&3]
		row[2] = RealValue(float64(i%1000) / 3)
		row[3] = codes[(i>>2)&3]
		row[4] = BoolValue(i&7 != 0)
		row[5] = dims[i&1]
		if !yield(row) {
			return nil
		}
	}
	return nil
}

type benchSource struct{ t benchTable }

func (s benchSource) Table(context.Context, string) (Table, error) { return s.t, nil }
func (s benchSource) Tables(context.Context) ([]string, error)     { return []string{"requests"}, nil }

func BenchmarkQuery(b *testing.B) {
	const rows = 1_000_000
	for _, q := range []struct{ name, text string }{
		{"scan", "requests | count"},
		{"filter", "requests | where duration > 300 | count"},
		{"filterAnd", `requests | where timestamp > datetime(2024-03-01 06:00) and resultCode == "500" | count`},
		{"contains", `requests | where name contains "SCORE" | count`},
		{"has", `requests | where name has "score" | count`},
		{"byBin", "requests | where duration > 100 | summarize count(), avg(duration) by bin(timestamp, 1h)"},
		{"byName", "requests | where success | summarize count(), max(duration) by name"},
		{"byTwo", "requests | summarize count() by name, resultCode"},
		{"dynamic", `requests | where customDimensions.run == "b" | count`},
		{"top", "requests | top 10 by duration"},
		{"percentile", "requests | summarize percentiles(duration, 50, 95, 99) by name"},
	} {
		b.Run(q.name, func(b *testing.B) {
			query, err := Parse(q.text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := query.Run(b.Context(), benchSource{benchTable{rows}}, Options{Now: time.Unix(1_709_294_400, 0)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := `let w = 1h; requests | where timestamp > ago(w) and name has "score" | summarize n = count(), avg(duration) by bin(timestamp, 5m), resultCode | order by n desc | take 10`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	query, err := Parse("requests | where timestamp > ago(1h) | summarize count() by name")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := query.Compile(b.Context(), benchSource{}, Options{Now: time.Unix(1_709_294_400, 0)}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations holds that a row costs no allocation in a filter and an
// aggregation.
func TestAllocations(t *testing.T) {
	query, err := Parse(`requests | where duration > 100 and name has "score" | summarize count(), avg(duration) by bin(timestamp, 1h), resultCode`)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(rows int) float64 {
		return testing.AllocsPerRun(1, func() {
			if _, err := query.Run(t.Context(), benchSource{benchTable{rows}}, Options{Now: time.Unix(1_709_294_400, 0)}); err != nil {
				t.Error(err)
			}
		})
	}
	few, many := cost(10_000), cost(40_000)
	if perRow := (many - few) / 30_000; perRow > 0.01 {
		t.Errorf("%.3f allocations a row", perRow)
	}
}
