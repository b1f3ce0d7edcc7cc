package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Template is a parsed template. It is not safe for concurrent use.
type Template struct {
	raw      map[string]any
	defs     map[string]any // parameters
	builtins map[string]builtin
	forms    map[string]form
	parsed   map[string]node
}

// Parse takes a template, a JSON document. The error is an *Error.
func Parse(doc map[string]any) (*Template, error) {
	raw, _ := Normalize(doc).(map[string]any)
	t := &Template{raw: raw, builtins: builtins(), forms: forms(), parsed: map[string]node{}}
	if text(raw, "$schema") == "" {
		return nil, invalid("Deployment template validation failed: 'The template is missing the required property '$schema'. Please see https://aka.ms/arm-syntax for usage details.'.")
	}
	if text(raw, "contentVersion") == "" {
		return nil, invalid("Deployment template validation failed: 'The template is missing the required property 'contentVersion'. Please see https://aka.ms/arm-syntax for usage details.'.")
	}
	for _, name := range []string{"parameters", "variables", "outputs"} {
		if v, ok := field(raw, name); ok && v != nil {
			if _, ok := v.(map[string]any); !ok {
				return nil, invalid("Deployment template validation failed: 'The template property '%s' must be an object.'.", name)
			}
		}
	}
	if _, ok := field(raw, "resources"); !ok {
		return nil, invalid("Deployment template validation failed: 'Required property 'resources' not found in JSON. Path '', line 1, position 2.'.")
	}
	for _, name := range []string{"imports", "extensions"} {
		if m := object(raw, name); len(m) > 0 {
			return nil, &Error{"NotImplemented", "'" + name + "' in a template"}
		}
	}
	t.defs = object(raw, "parameters")
	return t, nil
}

// Scope is the level that the template's schema is for: "group", "subscription",
// "managementGroup" or "tenant".
func (t *Template) Scope() string {
	s := strings.ToLower(text(t.raw, "$schema"))
	for part, scope := range map[string]string{
		"subscriptiondeploymenttemplate": "subscription", "managementgroupdeploymenttemplate": "managementGroup", "tenantdeploymenttemplate": "tenant",
	} {
		if strings.Contains(s, part) {
			return scope
		}
	}
	return "group"
}

// symbolic says whether resources have symbolic names.
func (t *Template) symbolic() bool {
	v, _ := field(t.raw, "resources")
	_, ok := v.(map[string]any)
	return ok || strings.HasPrefix(text(t.raw, "languageVersion"), "2.")
}

// parse is parseExpression that remembers.
func (t *Template) parse(s string) (node, error) {
	if n, ok := t.parsed[s]; ok {
		return n, nil
	}
	n, err := parseExpression(s)
	if err != nil {
		return nil, err
	}
	t.parsed[s] = n
	return n, nil
}

// function is a function of the template's own.
func (t *Template) function(namespace, name string) map[string]any {
	v, _ := field(t.raw, "functions")
	list, _ := v.([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		if strings.EqualFold(text(m, "namespace"), namespace) {
			if f := object(object(m, "members"), name); f != nil {
				return f
			}
		}
	}
	return nil
}

// Value is a parameter or an output with its type, as documents show it.
type Value struct {
	// Type is Azure's name of the type, "SecureString".
	Type  string `json:"type"`
	Value any    `json:"value,omitempty"`
}

// Secure says whether the value is never shown.
func (v Value) Secure() bool { return strings.HasPrefix(v.Type, "Secure") }

// types are the types of parameters and outputs as answers spell them.
func typeName(s string) (string, bool) {
	for _, n := range []string{"String", "Int", "Bool", "Object", "Array", "SecureString", "SecureObject"} {
		if strings.EqualFold(n, s) {
			return n, true
		}
	}
	return "", false
}

// resolve follows the $ref of a definition to one of the template's own.
func (t *Template) resolve(def map[string]any) (map[string]any, error) {
	for range 32 {
		ref := text(def, "$ref")
		if ref == "" {
			return def, nil
		}
		name, ok := strings.CutPrefix(ref, "#/definitions/")
		to := object(object(t.raw, "definitions"), name)
		if !ok || to == nil {
			return nil, invalid("The type definition '%s' is not found in the template.", ref)
		}
		out := maps.Clone(to)
		for k, v := range def {
			if k != "$ref" {
				out[k] = v
			}
		}
		def = out
	}
	return nil, invalid("The type definitions of the template refer to each other without an end.")
}

// checkType says whether a value is of the type of a parameter.
func checkType(name, typ string, v any) error {
	typ, ok := typeName(typ)
	if !ok {
		return invalid("The template parameter '%s' has no type, or one that is not known.", name)
	}
	switch typ {
	case "String", "SecureString":
		_, ok = v.(string)
	case "Int":
		_, ok = v.(int64)
	case "Bool":
		_, ok = v.(bool)
	case "Array":
		_, ok = v.([]any)
	default:
		_, ok = v.(map[string]any)
	}
	if ok {
		return nil
	}
	want := map[string]string{
		"String": "String, Uri", "SecureString": "String, Uri", "Int": "Integer", "Bool": "Boolean", "Array": "Array",
	}[typ]
	if want == "" {
		want = "Object"
	}
	return invalid("Template parameter JToken type is not valid. Expected '%s'. Actual '%s'. Please see https://aka.ms/resource-manager-parameter-files for usage details.", want, kind(v))
}

// validation wraps what is wrong in the words that Azure puts around it.
func validation(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Code != "InvalidTemplate" || strings.HasPrefix(e.Message, "Deployment template validation failed") {
		return err
	}
	return invalid("Deployment template validation failed: '%s'.", e.Message)
}

// Parameters are the values of a template's parameters: those given, each an
// object with a value, and defaults for the rest. The error is an *Error.
func (t *Template) Parameters(ctx context.Context, env *Env, given map[string]any) (map[string]Value, error) {
	out, err := t.parameters(ctx, env, given)
	return out, validation(err)
}

func (t *Template) parameters(ctx context.Context, env *Env, given map[string]any) (map[string]Value, error) {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := field(t.defs, name); !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, invalid("The template parameters '%s' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are '%s'. Please see https://aka.ms/arm-pass-parameter-values for usage details.",
			strings.Join(unknown, ", "), strings.Join(slices.Sorted(maps.Keys(t.defs)), ", "))
	}
	s := t.scope(ctx, env, nil)
	s.defaults, s.vars = true, nil
	// A default may refer to other parameters: all are evaluated when first asked for.
	busy := map[string]bool{}
	values := map[string]Value{}
	get := func(name string) (any, error) {
		if v, ok := values[name]; ok {
			return v.Value, nil
		}
		if busy[name] {
			return nil, invalid("The template parameter '%s' is not valid: its default value refers to itself.", name)
		}
		busy[name] = true
		defer delete(busy, name)
		v, err := t.parameter(s, name, given)
		if err != nil {
			return nil, err
		}
		values[name] = v
		return v.Value, nil
	}
	for name := range t.defs {
		s.params[strings.ToLower(name)] = func() (any, error) { return get(name) }
	}
	for _, name := range slices.Sorted(maps.Keys(t.defs)) {
		if _, err := get(name); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// parameter is the value of one parameter, checked.
func (t *Template) parameter(s *scope, name string, given map[string]any) (Value, error) {
	def, ok := t.defs[name].(map[string]any)
	if !ok {
		return Value{}, invalid("The template parameter '%s' is not an object.", name)
	}
	def, err := t.resolve(def)
	if err != nil {
		return Value{}, err
	}
	typ, ok := typeName(text(def, "type"))
	if !ok {
		return Value{}, invalid("The template parameter '%s' has the type '%s', which is not valid. The valid types are 'String, SecureString, Int, Bool, Array, Object, SecureObject'.", name, text(def, "type"))
	}
	v, there := any(nil), false
	if g, ok := field(given, name); ok {
		m, ok := g.(map[string]any)
		if !ok {
			return Value{}, invalid("The value of the template parameter '%s' must be an object with a property 'value'.", name)
		}
		if ref := object(m, "reference"); ref != nil {
			return Value{}, &Error{"NotImplemented", "references of parameters to secrets of key vaults"}
		}
		v, there = field(m, "value")
		v = Normalize(v)
		there = there && v != nil
	}
	if !there {
		raw, ok := field(def, "defaultValue")
		if nullable, _ := field(def, "nullable"); !ok && nullable == true {
			return Value{Type: typ}, nil
		}
		if !ok {
			return Value{}, invalid("The value for the template parameter '%s' is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details.", name)
		}
		if v, err = s.value(raw); err != nil {
			return Value{}, err
		}
	}
	if err := checkType(name, typ, v); err != nil {
		return Value{}, err
	}
	return Value{typ, v}, t.checkLimits(name, def, v)
}

func (t *Template) checkLimits(name string, def map[string]any, v any) error {
	if raw, ok := field(def, "allowedValues"); ok {
		allowed, _ := raw.([]any)
		in := func(v any) bool { return slices.ContainsFunc(allowed, func(a any) bool { return equal(a, v) }) }
		list, isList := v.([]any)
		// the values of an array may be a subset of those allowed
		if !in(v) && !(isList && !slices.ContainsFunc(list, func(v any) bool { return !in(v) })) {
			var names []string
			for _, a := range allowed {
				names = append(names, show(a))
			}
			return invalid("The provided value '%s' for the template parameter '%s' is not valid. The parameter value is not part of the allowed value(s): '%s'.", show(v), name, strings.Join(names, ","))
		}
	}
	n, what := int64(0), ""
	switch v := v.(type) {
	case int64:
		n, what = v, "Value"
	case string:
		n, what = int64(utf8.RuneCountInString(v)), "Length"
	case []any:
		n, what = int64(len(v)), "Length"
	}
	for _, limit := range []struct {
		property, of, text string
		ok                 func(n, limit int64) bool
	}{
		{"minValue", "Value", "greater", func(n, l int64) bool { return n >= l }},
		{"maxValue", "Value", "less", func(n, l int64) bool { return n <= l }},
		{"minLength", "Length", "greater", func(n, l int64) bool { return n >= l }},
		{"maxLength", "Length", "less", func(n, l int64) bool { return n <= l }},
	} {
		raw, ok := field(def, limit.property)
		l, isInt := raw.(int64)
		if !ok || !isInt || limit.of != what || limit.ok(n, l) {
			continue
		}
		subject := "The value"
		if what == "Length" {
			subject = "Length of the value"
		}
		return invalid("The provided value for the template parameter '%s' is not valid. %s should be %s than or equal to '%d'. Please see https://aka.ms/arm-create-parameter-file for usage details.", name, subject, limit.text, l)
	}
	return nil
}

// scope is what expressions of the template itself may name.
func (t *Template) scope(ctx context.Context, env *Env, params map[string]Value) *scope {
	budget := maxSteps
	s := &scope{ctx: ctx, env: env, t: t, params: map[string]any{}, budget: &budget}
	for name, v := range params {
		s.params[strings.ToLower(name)] = v.Value
	}
	return s
}

// withVariables gives a scope the template's variables.
func (s *scope) withVariables() error {
	raw := maps.Clone(object(s.t.raw, "variables"))
	s.vars = &variables{raw: raw, done: map[string]any{}, busy: map[string]bool{}}
	list, _ := raw["copy"].([]any)
	if !isCopy(list) {
		return nil
	}
	// each element of a copy among the variables is a variable of its own
	delete(raw, "copy")
	for _, v := range list {
		name := text(v.(map[string]any), "name")
		raw[name] = map[string]any{"copy": []any{v}}
		out := map[string]any{}
		if err := s.copies([]any{v}, out); err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
		s.vars.done[strings.ToLower(name)] = out[name]
	}
	return nil
}
