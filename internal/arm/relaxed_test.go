package arm

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestRelaxed(t *testing.T) {
	const text = `{"properties": {"mode": "Incremental", template: { // a comment with "quotes"
		'a': 'it\'s "b"', /* more, } */ $schema: "x//y", n: -1.5e+3, t: true, "list": [1, 2, /* three */ ],
		"lines": "one
	two", },}}`
	var got, want any
	if err := json.Unmarshal(relaxed([]byte(text)), &got); err != nil {
		t.Fatalf("%v: %s", err, relaxed([]byte(text)))
	}
	if err := json.Unmarshal([]byte(`{"properties":{"mode":"Incremental","template":{"a":"it's \"b\"","$schema":"x//y","n":-1500,"t":true,"list":[1,2],"lines":"one\n\ttwo"}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// FuzzRelaxed leaves what is JSON already as it is.
func FuzzRelaxed(f *testing.F) {
	f.Add([]byte(`{"a":[1,"b\"c",null,{"d":-1e9}]}`))
	f.Add([]byte(`{a:'b',}//`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := relaxed(b)
		var was, is any
		if json.Unmarshal(b, &was) != nil {
			return
		}
		if err := json.Unmarshal(out, &is); err != nil || !reflect.DeepEqual(was, is) {
			t.Errorf("%q became %q: %v", b, out, err)
		}
	})
}
