package arm_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

func doc(t testing.TB, s string) arm.Doc {
	t.Helper()
	d := arm.Doc{}
	if err := json.Unmarshal([]byte(s), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDoc(t *testing.T) {
	d := doc(t, `{"Properties":{"Size":3,"on":true,"name":"n","list":[1,2],"null":null,"deep":{"er":{"x":"y"}}},"tags":{"A":"1"}}`)
	if d.Int("properties.size", 0) != 3 || !d.Bool("properties.ON", false) || d.String("PROPERTIES.name") != "n" || len(d.List("properties.list")) != 2 ||
		d.String("properties.deep.er.x") != "y" || d.Has("properties.null") || d.Has("properties.none.at.all") || d.Has("properties.name.x") {
		t.Errorf("reads of %v", d)
	}
	if d.Int("properties.name", 7) != 7 || !d.Bool("properties.size", true) || d.String("properties.size") != "" || d.List("properties.on") != nil || d.Object("properties.on") != nil {
		t.Error("values of another sort must read as absent")
	}
	d.Set("properties.SIZE", 4)
	d.Set("new.path.here", "v")
	d.Default("properties.name", "other")
	d.Default("properties.null", "filled")
	d.Delete("properties.LIST")
	d.Delete("nothing.here")
	want := doc(t, `{"Properties":{"Size":4,"on":true,"name":"n","null":"filled","deep":{"er":{"x":"y"}}},"tags":{"A":"1"},"new":{"path":{"here":"v"}}}`)
	if got := roundTrip(t, d); !reflect.DeepEqual(got, want) {
		t.Errorf("after changes: %v", got)
	}
	c := d.Clone()
	c.Set("properties.deep.er.x", "z")
	if d.String("properties.deep.er.x") != "y" {
		t.Error("a clone shares memory")
	}
	var tags map[string]string
	if err := d.Decode("tags", &tags); err != nil || tags["A"] != "1" {
		t.Errorf("Decode = %v, %v", tags, err)
	}
	var n int
	err := d.Decode("properties.name", &n)
	if e := (*arm.Error)(nil); !errors.As(err, &e) || e.Target != "properties.name" || e.Code != "InvalidRequestContent" {
		t.Errorf("Decode of another sort: %v", err)
	}
}

func roundTrip(t testing.TB, d arm.Doc) arm.Doc {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return doc(t, string(b))
}

func TestMerge(t *testing.T) {
	for _, tc := range []struct{ doc, patch, want string }{ // the examples of RFC 7396 that are objects
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"Name":"x"}`, `{"name":"y"}`, `{"Name":"y"}`}, // names compare without regard to case
	} {
		d := doc(t, tc.doc)
		d.Merge(doc(t, tc.patch))
		if got, want := roundTrip(t, d), doc(t, tc.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s merged with %s = %v, want %v", tc.doc, tc.patch, got, want)
		}
	}
}

func FuzzDoc(f *testing.F) {
	f.Add(`{"a":{"b":1}}`, `{"a":{"b":null}}`, "a.b")
	f.Fuzz(func(t *testing.T, s, patch, path string) {
		d, p := arm.Doc{}, arm.Doc{}
		if json.Unmarshal([]byte(s), &d) != nil || json.Unmarshal([]byte(patch), &p) != nil || d == nil {
			return
		}
		d.Get(path)
		d.Clone().Delete(path)
		c := d.Clone()
		c.Set(path, "v")
		if c.String(path) != "v" {
			t.Errorf("%q of %s after Set is %v", path, s, c.Get(path))
		}
		d.Merge(p)
	})
}
