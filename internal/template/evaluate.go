package template

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// Runtime asks what only deployed resources know.
type Runtime interface {
	// Reference is the resource with the given ID as GET answers it.
	Reference(ctx context.Context, id, apiVersion string) (map[string]any, error)
	// List is the answer of a POST to an action of a resource, such as listKeys.
	List(ctx context.Context, action, id, apiVersion string, body map[string]any) (any, error)
}

// Env is what a deployment knows of where it is.
type Env struct {
	// Subscription, Group and Tenant are those that the deployment is in, as GET
	// answers them. Group is nil for a deployment to the subscription.
	Subscription, Group, Tenant map[string]any
	// Deployment is what deployment() answers.
	Deployment map[string]any
	// Deployer is what deployer() answers.
	Deployer map[string]any
	// Environment is what environment() answers.
	Environment map[string]any
	// Provider is what providers() answers of a resource type; nil when there is none such.
	Provider func(namespace, typ string) map[string]any
	// Zones are the availability zones of a type in a region; nil when it has none there.
	Zones func(namespace, typ, location string) []string
	// Now is when the deployment began, and NewGUID makes identifiers.
	Now     time.Time
	NewGUID func() string
}

// loop is an iteration that an expression is in.
type loop struct {
	name  string
	index int
	// property is set for the copy element of a property, which copyIndex needs to
	// be named for.
	property bool
}

// scope is what an expression may name.
type scope struct {
	ctx    context.Context
	env    *Env
	t      *Template
	params map[string]any
	vars   *variables
	plan   *Plan
	rt     Runtime
	loops  []loop
	// lambdas are the variables of the lambdas around the expression.
	lambdas map[string]any
	// defaults is set where utcNow() and newGuid() may stand.
	defaults bool
	// function is set in a user's function, which sees its parameters only.
	function bool
	// budget is shared: what one template may cost.
	budget *int
}

// maxSteps bounds what the evaluation of one template costs: templates come
// from outside.
const maxSteps = 5_000_000

var errTooMuch = &Error{"InvalidTemplate", "The template takes too many steps to evaluate."}

func (s *scope) step(n int) error {
	if *s.budget -= n; *s.budget < 0 {
		return errTooMuch
	}
	return nil
}

// runtimeError marks what can be known only while resources are deployed.
type runtimeError struct{ cause *Error }

func (e *runtimeError) Error() string { return e.cause.Message }

func (e *runtimeError) Unwrap() error { return e.cause }

func needsRuntime(function string) error {
	return &runtimeError{invalid("The template function '%s' is not expected at this location. Please see https://aka.ms/arm-template-expressions for usage details.", function)}
}

// value evaluates what stands in a template: strings may be expressions.
func (s *scope) value(v any) (any, error) {
	if err := s.step(1); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		inner, text, ok := isExpression(v)
		if !ok {
			return text, nil
		}
		n, err := s.t.parse(inner)
		if err != nil {
			return nil, err
		}
		return s.eval(n)
	case []any:
		out := make([]any, 0, len(v))
		for _, x := range v {
			x, err := s.value(x)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case map[string]any:
		return s.object(v)
	}
	return v, nil
}

// object evaluates an object with the copy elements in it.
func (s *scope) object(m map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.EqualFold(k, "copy") {
			if list, ok := m[k].([]any); ok && isCopy(list) {
				if err := s.copies(list, out); err != nil {
					return nil, err
				}
				continue
			}
		}
		name := k
		if inner, text, ok := isExpression(k); ok { // names may be expressions, too
			n, err := s.t.parse(inner)
			if err != nil {
				return nil, err
			}
			v, err := s.eval(n)
			if err != nil {
				return nil, err
			}
			if name, ok = v.(string); !ok {
				return nil, invalid("The template language expression '%s' names a property, and is not a string.", shorten(k))
			}
		} else {
			name = text
		}
		v, err := s.value(m[k])
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

// isCopy says whether a list is that of a copy element, and no property that
// happens to be named so.
func isCopy(list []any) bool {
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if _, ok := field(m, "input"); !ok || text(m, "name") == "" {
			return false
		}
	}
	return len(list) > 0
}

// copies evaluates a copy element of properties, variables or outputs into out.
func (s *scope) copies(list []any, out map[string]any) error {
	for _, v := range list {
		m := v.(map[string]any)
		name := text(m, "name")
		count, err := s.count(m, name)
		if err != nil {
			return err
		}
		input, _ := field(m, "input")
		values := make([]any, 0, count)
		for i := range count {
			in := *s
			in.loops = append(slices.Clone(s.loops), loop{name: name, index: i, property: true})
			v, err := in.value(input)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		out[name] = values
	}
	return nil
}

// maxCopies is Azure's limit on the iterations of a loop.
const maxCopies = 800

func (s *scope) count(m map[string]any, name string) (int, error) {
	raw, _ := field(m, "count")
	v, err := s.value(raw)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok {
		return 0, invalid("The copy count of '%s' must be an integer. Actual '%s'.", name, kind(v))
	}
	if n < 0 || n > maxCopies {
		return 0, invalid("The copy count of '%s' is %d. It must be from 0 to %d.", name, n, maxCopies)
	}
	return int(n), nil
}

func (s *scope) eval(n node) (any, error) {
	if err := s.step(1); err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case literal:
		return n.value, nil
	case access:
		return s.access(n)
	case call:
		return s.call(n)
	}
	return nil, invalid("The template language expression is not valid.")
}

func (s *scope) access(n access) (any, error) {
	o, err := s.eval(n.object)
	if err != nil {
		return nil, err
	}
	if o == nil && n.safe {
		return nil, nil
	}
	i, err := s.eval(n.index)
	if err != nil {
		return nil, err
	}
	v, ok := at(o, i)
	if ok || n.safe {
		return v, nil
	}
	switch o := o.(type) {
	case map[string]any:
		name, _ := i.(string)
		return nil, invalid("The language expression property '%s' doesn't exist, available properties are '%s'. Please see https://aka.ms/arm-functions for usage details.",
			name, strings.Join(slices.Sorted(maps.Keys(o)), ", "))
	case []any:
		return nil, invalid("The language expression property array index '%v' is out of bounds. Please see https://aka.ms/arm-functions for usage details.", i)
	}
	return nil, invalid("The language expression property '%v' can't be evaluated, property name must be a string or an integer of an object or array; it is of one of type '%s'. Please see https://aka.ms/arm-functions for usage details.", i, kind(o))
}

// at is an element of an object, array or null.
func at(o, i any) (any, bool) {
	switch o := o.(type) {
	case map[string]any:
		name, ok := i.(string)
		if !ok {
			return nil, false
		}
		return field(o, name)
	case []any:
		n, ok := i.(int64)
		if !ok || n < 0 || n >= int64(len(o)) {
			return nil, false
		}
		return o[n], true
	}
	return nil, false
}

func (s *scope) call(c call) (any, error) {
	if c.namespace != "" && !strings.EqualFold(c.namespace, "sys") {
		return s.userFunction(c)
	}
	name := strings.ToLower(c.name)
	if f, ok := s.t.forms[name]; ok {
		return f(s, c)
	}
	f, ok := s.t.builtins[name]
	if !ok && strings.HasPrefix(name, "list") {
		f, ok = builtin{1, 3, (*scope).list}, true
	}
	if !ok {
		return nil, invalid("The template function '%s' is not valid. Please see https://aka.ms/arm-functions for usage details.", c.name)
	}
	if len(c.args) < f.least || f.most >= 0 && len(c.args) > f.most {
		return nil, invalid("Unable to evaluate template language function '%s': the function requires %s while '%d' were provided. Please see https://aka.ms/arm-functions for usage details.",
			c.name, f.arity(), len(c.args))
	}
	args := make([]any, len(c.args))
	for i, a := range c.args {
		v, err := s.eval(a)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	v, err := f.run(s, c.name, args)
	if e := (*argumentError)(nil); errors.As(err, &e) {
		return nil, invalid("The template language function '%s' %s. Please see https://aka.ms/arm-functions for usage details.", c.name, e.text)
	}
	return v, err
}

// userFunction calls a function of the template's own.
func (s *scope) userFunction(c call) (any, error) {
	f := s.t.function(c.namespace, c.name)
	if f == nil {
		return nil, invalid("The template function '%s.%s' is not valid. Please see https://aka.ms/arm-functions for usage details.", c.namespace, c.name)
	}
	params, _ := field(f, "parameters")
	defs, _ := params.([]any)
	if len(defs) != len(c.args) {
		return nil, invalid("The template function '%s.%s' requires '%d' argument(s) while '%d' were provided.", c.namespace, c.name, len(defs), len(c.args))
	}
	in := *s
	in.params, in.vars, in.loops, in.lambdas, in.function = map[string]any{}, nil, nil, nil, true
	for i, a := range c.args {
		v, err := s.eval(a)
		if err != nil {
			return nil, err
		}
		def, _ := defs[i].(map[string]any)
		if err := checkType(text(def, "name"), text(def, "type"), v); err != nil {
			return nil, err
		}
		in.params[strings.ToLower(text(def, "name"))] = v
	}
	if err := s.step(10); err != nil {
		return nil, err
	}
	v, _ := field(object(f, "output"), "value")
	return in.value(v)
}

// argumentError is what a function says of its arguments.
type argumentError struct{ text string }

func (e *argumentError) Error() string { return e.text }

// variables are a template's variables, evaluated when first asked for.
type variables struct {
	raw  map[string]any
	done map[string]any
	busy map[string]bool
}

func (s *scope) variable(name string) (any, error) {
	key := strings.ToLower(name)
	if s.vars == nil {
		return nil, invalid("The template function 'variables' is not expected at this location.")
	}
	if v, ok := s.vars.done[key]; ok {
		return v, nil
	}
	raw, ok := field(s.vars.raw, name)
	if !ok {
		return nil, invalid("The template variable '%s' is not found. Please see https://aka.ms/arm-template/#variables for usage details.", name)
	}
	if s.vars.busy[key] {
		return nil, invalid("The template variable '%s' is not valid: it refers to itself.", name)
	}
	s.vars.busy[key] = true
	in := *s
	in.loops, in.lambdas = nil, nil
	v, err := in.value(raw)
	delete(s.vars.busy, key)
	if err != nil {
		return nil, err
	}
	s.vars.done[key] = v
	return v, nil
}
