package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Values are nil, bool, int64, float64, string, []any and map[string]any.

// Error is what is wrong with a template, its parameters or an expression.
type Error struct {
	// Code is Azure's, "InvalidTemplate".
	Code string
	// Message is Azure's text where it is known.
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func invalid(format string, args ...any) *Error {
	return &Error{"InvalidTemplate", fmt.Sprintf(format, args...)}
}

// Decode reads JSON into the values that this package works with: whole numbers
// are int64.
func Decode(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return Normalize(v), nil
}

// Normalize is a copy of v, decoded JSON of any make, in the values that this package works with.
func Normalize(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case int:
		return int64(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = Normalize(x)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = Normalize(x)
		}
		return out
	}
	return v
}

// Plain is the inverse of Normalize: numbers become float64, as encoding/json
// gives them.
func Plain(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = Plain(x)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = Plain(x)
		}
		return out
	}
	return v
}

// kind is how Azure's messages and documents name the type of a value.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "Null"
	case bool:
		return "Boolean"
	case int64:
		return "Integer"
	case float64:
		return "Float"
	case string:
		return "String"
	case []any:
		return "Array"
	}
	return "Object"
}

// field is the value of a property, whatever its case; exact matches first.
func field(m map[string]any, name string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.EqualFold(k, name) {
			return m[k], true
		}
	}
	return nil, false
}

func object(m map[string]any, name string) map[string]any {
	v, _ := field(m, name)
	o, _ := v.(map[string]any)
	return o
}

func text(m map[string]any, name string) string {
	v, _ := field(m, name)
	s, _ := v.(string)
	return s
}

// show is a value as string(), concat and format write it.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	}
	return compact(v)
}

// compact is v as JSON without spaces, with properties in the order of their
// names: Azure keeps that of the document.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "" // only what JSON can say is a value
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case int64:
		if f, ok := b.(float64); ok {
			return float64(a) == f
		}
		return a == b
	case float64:
		if i, ok := b.(int64); ok {
			return a == float64(i)
		}
		return a == b
	case []any:
		l, ok := b.([]any)
		return ok && slices.EqualFunc(a, l, equal)
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(a) != len(m) {
			return false
		}
		for k, v := range a {
			w, ok := field(m, k)
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}
