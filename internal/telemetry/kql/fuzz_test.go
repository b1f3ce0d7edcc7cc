package kql

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// seeds are the queries of all scenarios.
func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.kql")
	if err != nil {
		f.Fatal(err)
	}
	t := &testing.T{}
	for _, path := range files {
		_, cases, _ := readScenarios(t, path)
		for _, c := range cases {
			f.Add(c.query)
		}
	}
	f.Add("T | where a has_any (dynamic(['x'])) and b between (1 .. 2) | render timechart with (title='t')")
}

// FuzzParse: any text is a query or an *Error with a place in it.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err == nil {
			if q.main == nil {
				t.Error("a query without an expression")
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("not an *Error: %v", err)
		}
		if e.Kind == KindSyntax && e.Line < 1 {
			t.Errorf("no place: %+v", e)
		}
	})
}

// FuzzRun: any query ends, within its memory, with a table of the promised types
// or an *Error.
func FuzzRun(f *testing.F) {
	seeds(f)
	src, _, _ := readScenarios(&testing.T{}, "testdata/basics.kql")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		res, err := q.Run(ctx, src, Options{Now: time.Unix(1_709_294_400, 0), MaxBytes: 16 << 20, MaxRows: 1000})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		for _, r := range res.Rows {
			for i, v := range r {
				if !fits(v, res.Columns[i].Type) {
					t.Fatalf("column %s of type %s holds kind %d: %s", res.Columns[i].Name, res.Columns[i].Type, v.k, v)
				}
				v.AppendJSON(nil, res.Columns[i].Type)
			}
		}
	})
}

func fits(v Value, t Type) bool {
	switch v.k {
	case kNull:
		return true
	case kBool:
		return t == Bool || t == Dynamic
	case kInt:
		return t == Int || t == Dynamic
	case kLong:
		return t == Long || t == Dynamic
	case kReal:
		return t == Real || t == Dynamic
	case kString:
		return t == String || t == Dynamic
	case kDateTime:
		return t == DateTime || t == Dynamic
	case kTimeSpan:
		return t == TimeSpan || t == Dynamic
	case kGUID:
		return t == GUID || t == Dynamic
	}
	return t == Dynamic
}
