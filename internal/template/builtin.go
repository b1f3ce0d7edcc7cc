package template

import (
	"fmt"
	"maps"
	"strings"
)

// builtin is a function of the template language.
type builtin struct {
	// least and most are how many arguments it takes; most is -1 for any number.
	least, most int
	run         func(s *scope, name string, args []any) (any, error)
}

func (b builtin) arity() string {
	switch {
	case b.most < 0:
		return fmt.Sprintf("at least '%d' argument(s)", b.least)
	case b.least == b.most:
		return fmt.Sprintf("'%d' argument(s)", b.least)
	}
	return fmt.Sprintf("from '%d' to '%d' argument(s)", b.least, b.most)
}

// builtins are the functions that take values, by lower-case name.
func builtins() map[string]builtin {
	all := map[string]builtin{}
	for _, some := range []map[string]builtin{stringFunctions(), arrayFunctions(), numberFunctions(), dateFunctions(), resourceFunctions(), networkFunctions()} {
		maps.Copy(all, some)
	}
	return all
}

// form is a function that evaluates its arguments itself, or not.
type form func(s *scope, c call) (any, error)

func forms() map[string]form {
	all := map[string]form{
		"parameters": parametersForm,
		"variables":  variablesForm,
		"copyindex":  copyIndexForm,
		"if":         ifForm,
		"and":        func(s *scope, c call) (any, error) { return logical(s, c, false) },
		"or":         func(s *scope, c call) (any, error) { return logical(s, c, true) },
		"coalesce":   coalesceForm,
		"lambda": func(_ *scope, _ call) (any, error) {
			return nil, invalid("The template function 'lambda' is not expected at this location.")
		},
		"lambdavariables": lambdaVariablesForm,
	}
	maps.Copy(all, lambdaForms())
	return all
}

func takes(c call, n int) error {
	if len(c.args) != n {
		return invalid("Unable to evaluate template language function '%s': the function requires '%d' argument(s) while '%d' were provided. Please see https://aka.ms/arm-functions for usage details.", c.name, n, len(c.args))
	}
	return nil
}

// named evaluates the one argument of a function, which is a name.
func named(s *scope, c call) (string, error) {
	if err := takes(c, 1); err != nil {
		return "", err
	}
	v, err := s.eval(c.args[0])
	if err != nil {
		return "", err
	}
	name, ok := v.(string)
	if !ok {
		return "", invalid("The argument of the template function '%s' must be a string.", c.name)
	}
	return name, nil
}

func parametersForm(s *scope, c call) (any, error) {
	name, err := named(s, c)
	if err != nil {
		return nil, err
	}
	v, ok := s.params[strings.ToLower(name)]
	if !ok {
		return nil, invalid("The template parameter '%s' is not found. Please see https://aka.ms/arm-template/#parameters for usage details.", name)
	}
	if f, ok := v.(func() (any, error)); ok { // a default that is not evaluated yet
		return f()
	}
	return v, nil
}

func variablesForm(s *scope, c call) (any, error) {
	name, err := named(s, c)
	if err != nil {
		return nil, err
	}
	return s.variable(name)
}

func lambdaVariablesForm(s *scope, c call) (any, error) {
	name, err := named(s, c)
	if err != nil {
		return nil, err
	}
	v, ok := s.lambdas[strings.ToLower(name)]
	if !ok {
		return nil, invalid("The lambda variable '%s' is not found.", name)
	}
	return v, nil
}

// copyIndexForm is copyIndex([name], [offset]).
func copyIndexForm(s *scope, c call) (any, error) {
	name, offset := "", int64(0)
	for i, a := range c.args {
		v, err := s.eval(a)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case string:
			name = v
		case int64:
			offset = v
		default:
			return nil, invalid("The argument %d of the template function 'copyIndex' must be a string or an integer.", i+1)
		}
	}
	for i := len(s.loops) - 1; i >= 0; i-- {
		l := s.loops[i]
		if strings.EqualFold(l.name, name) || name == "" && !l.property {
			return int64(l.index) + offset, nil
		}
	}
	return nil, invalid("The template function 'copyIndex' is not expected at this location. The function can only be used in a resource with copy specified, or must name the loop that it is in. Please see https://aka.ms/arm-copy for usage details.")
}

// ifForm evaluates only the branch that is taken.
func ifForm(s *scope, c call) (any, error) {
	if err := takes(c, 3); err != nil {
		return nil, err
	}
	v, err := s.eval(c.args[0])
	if err != nil {
		return nil, err
	}
	yes, ok := v.(bool)
	if !ok {
		return nil, invalid("The first argument of the template function 'if' must be a boolean. It is of type '%s'.", kind(v))
	}
	if yes {
		return s.eval(c.args[1])
	}
	return s.eval(c.args[2])
}

func logical(s *scope, c call, stop bool) (any, error) {
	if len(c.args) < 2 {
		return nil, invalid("Unable to evaluate template language function '%s': the function requires at least '2' argument(s) while '%d' were provided.", c.name, len(c.args))
	}
	for _, a := range c.args {
		v, err := s.eval(a)
		if err != nil {
			return nil, err
		}
		b, ok := v.(bool)
		if !ok {
			return nil, invalid("The template language function '%s' expects booleans. It was given a value of type '%s'.", c.name, kind(v))
		}
		if b == stop {
			return stop, nil
		}
	}
	return !stop, nil
}

func coalesceForm(s *scope, c call) (any, error) {
	for _, a := range c.args {
		v, err := s.eval(a)
		if err != nil || v != nil {
			return v, err
		}
	}
	return nil, nil
}

// What functions say of arguments that they cannot use.

func wrong(format string, args ...any) error {
	return &argumentError{fmt.Sprintf(format, args...)}
}

func stringAt(args []any, i int) (string, error) {
	if s, ok := args[i].(string); ok {
		return s, nil
	}
	return "", wrong("expects argument %d to be a string. It is of type '%s'", i+1, kind(args[i]))
}

func intAt(args []any, i int) (int64, error) {
	switch n := args[i].(type) {
	case int64:
		return n, nil
	case float64:
		if n == float64(int64(n)) {
			return int64(n), nil
		}
	}
	return 0, wrong("expects argument %d to be an integer. It is of type '%s'", i+1, kind(args[i]))
}

func arrayAt(args []any, i int) ([]any, error) {
	if l, ok := args[i].([]any); ok {
		return l, nil
	}
	return nil, wrong("expects argument %d to be an array. It is of type '%s'", i+1, kind(args[i]))
}

func objectAt(args []any, i int) (map[string]any, error) {
	if m, ok := args[i].(map[string]any); ok {
		return m, nil
	}
	return nil, wrong("expects argument %d to be an object. It is of type '%s'", i+1, kind(args[i]))
}

func stringsFrom(args []any, i int) ([]string, error) {
	var out []string
	for ; i < len(args); i++ {
		s, err := stringAt(args, i)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// on makes a function of one that takes strings.
func on(least, most int, f func(a []string) (any, error)) builtin {
	return builtin{least, most, func(_ *scope, _ string, args []any) (any, error) {
		a, err := stringsFrom(args, 0)
		if err != nil {
			return nil, err
		}
		return f(a)
	}}
}
