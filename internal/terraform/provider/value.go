package provider

import (
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Values are handled as the trees that encoding/json makes (nil, string, bool,
// float64, []any, map[string]any), plus unknown for what Terraform has yet to
// learn. An object always has all its attributes; a set is a []any.

// unknownValue is the type of unknown.
type unknownValue struct{}

// unknown stands for a value that is known after apply.
var unknown = unknownValue{}

func isUnknown(v any) bool {
	_, ok := v.(unknownValue)
	return ok
}

// hasUnknown reports whether v or anything inside it is unknown.
func hasUnknown(v any) bool {
	switch v := v.(type) {
	case unknownValue:
		return true
	case []any:
		for _, e := range v {
			if hasUnknown(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if hasUnknown(e) {
				return true
			}
		}
	}
	return false
}

// dropUnknown returns v with every unknown replaced by null.
func dropUnknown(v any) any {
	switch v := v.(type) {
	case unknownValue:
		return nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = dropUnknown(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = dropUnknown(e)
		}
		return out
	}
	return v
}

// cloneValue copies the containers of v.
func cloneValue(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneValue(e)
		}
		return out
	case map[string]any:
		return cloneObject(v)
	}
	return v
}

func cloneObject(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, e := range m {
		out[k] = cloneValue(e)
	}
	return out
}

// isZero reports whether v is what the plugin SDK cannot tell from an absent
// argument: null, "", false, 0 or an empty collection.
func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// equalValues compares two trees; lists keep their order.
func equalValues(a, b any) bool {
	return reflect.DeepEqual(a, b)
}

func asString(v any) string {
	s, _ := v.(string)
	return s
}

func asBool(v any) bool {
	b, _ := v.(bool)
	return b
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// first is the only element of a block that occurs at most once, or nil.
func first(v any) map[string]any {
	l := asList(v)
	if len(l) == 0 {
		return nil
	}
	return asObject(l[0])
}

// strings of a list, without what is not a string.
func stringList(v any) []string {
	var out []string
	for _, e := range asList(v) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// fromTF reads a Terraform value into a tree.
func fromTF(v tftypes.Value) (any, error) {
	if !v.IsKnown() {
		return unknown, nil
	}
	if v.IsNull() {
		return nil, nil
	}
	t := v.Type()
	switch {
	case t.Is(tftypes.String):
		var s string
		err := v.As(&s)
		return s, err
	case t.Is(tftypes.Bool):
		var b bool
		err := v.As(&b)
		return b, err
	case t.Is(tftypes.Number):
		var n big.Float
		if err := v.As(&n); err != nil {
			return nil, err
		}
		f, _ := n.Float64()
		return f, nil
	case t.Is(tftypes.List{}), t.Is(tftypes.Set{}), t.Is(tftypes.Tuple{}):
		var l []tftypes.Value
		if err := v.As(&l); err != nil {
			return nil, err
		}
		out := make([]any, len(l))
		for i, e := range l {
			x, err := fromTF(e)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case t.Is(tftypes.Map{}), t.Is(tftypes.Object{}):
		var m map[string]tftypes.Value
		if err := v.As(&m); err != nil {
			return nil, err
		}
		out := make(map[string]any, len(m))
		for k, e := range m {
			x, err := fromTF(e)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	}
	return nil, fmt.Errorf("value of unexpected type %s", t)
}

// toTF writes a tree as a Terraform value of type t. Attributes that an object
// lacks become null, and those that its type lacks are left out.
func toTF(v any, t tftypes.Type) (tftypes.Value, error) {
	if v == nil {
		return tftypes.NewValue(t, nil), nil
	}
	if isUnknown(v) {
		return tftypes.NewValue(t, tftypes.UnknownValue), nil
	}
	switch tt := t.(type) {
	case tftypes.List:
		l, err := toTFList(v, tt.ElementType)
		return tftypes.NewValue(t, l), err
	case tftypes.Set:
		l, err := toTFList(v, tt.ElementType)
		return tftypes.NewValue(t, l), err
	case tftypes.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return tftypes.Value{}, fmt.Errorf("%T where a map is wanted", v)
		}
		out := make(map[string]tftypes.Value, len(m))
		for k, e := range m {
			x, err := toTF(e, tt.ElementType)
			if err != nil {
				return tftypes.Value{}, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = x
		}
		return tftypes.NewValue(t, out), nil
	case tftypes.Object:
		m, ok := v.(map[string]any)
		if !ok {
			return tftypes.Value{}, fmt.Errorf("%T where an object is wanted", v)
		}
		out := make(map[string]tftypes.Value, len(tt.AttributeTypes))
		for k, et := range tt.AttributeTypes {
			x, err := toTF(m[k], et)
			if err != nil {
				return tftypes.Value{}, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = x
		}
		return tftypes.NewValue(t, out), nil
	}
	return primitiveToTF(v, t)
}

func toTFList(v any, elem tftypes.Type) ([]tftypes.Value, error) {
	l, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%T where a list is wanted", v)
	}
	out := make([]tftypes.Value, len(l))
	for i, e := range l {
		x, err := toTF(e, elem)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
		out[i] = x
	}
	return out, nil
}

// primitiveToTF converts between primitives as Terraform does, since Azure
// services answer some numbers and booleans as strings.
func primitiveToTF(v any, t tftypes.Type) (tftypes.Value, error) {
	switch {
	case t.Is(tftypes.String):
		switch v := v.(type) {
		case string:
			return tftypes.NewValue(t, v), nil
		case bool:
			return tftypes.NewValue(t, strconv.FormatBool(v)), nil
		case float64:
			return tftypes.NewValue(t, formatNumber(v)), nil
		}
	case t.Is(tftypes.Bool):
		switch v := v.(type) {
		case bool:
			return tftypes.NewValue(t, v), nil
		case string:
			if b, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
				return tftypes.NewValue(t, b), nil
			}
		}
	case t.Is(tftypes.Number):
		text := ""
		switch v := v.(type) {
		case float64:
			text = formatNumber(v)
		case string:
			text = v
		}
		// Terraform reads decimals at this precision; any other would differ
		// from the same number in a configuration.
		if n, _, err := big.ParseFloat(text, 10, 512, big.ToNearestEven); err == nil {
			return tftypes.NewValue(t, n), nil
		}
	}
	return tftypes.Value{}, fmt.Errorf("%T where a %s is wanted", v, t)
}

func formatNumber(f float64) string {
	return strconv.FormatFloat(f, 'f', -1, 64)
}
