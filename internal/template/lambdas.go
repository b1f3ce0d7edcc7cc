package template

import (
	"maps"
	"slices"
	"strings"
)

// lambdaForms are the functions that take a lambda('x', …) as an argument.
func lambdaForms() map[string]form {
	return map[string]form{
		"filter": func(s *scope, c call) (any, error) {
			out := []any{}
			err := s.each(c, func(v, got any) error {
				keep, ok := got.(bool)
				if !ok {
					return invalid("The lambda of the template function 'filter' must be a boolean. It is of type '%s'.", kind(got))
				}
				if keep {
					out = append(out, v)
				}
				return nil
			})
			return out, err
		},
		"map": func(s *scope, c call) (any, error) {
			out := []any{}
			err := s.each(c, func(_, got any) error { out = append(out, got); return nil })
			return out, err
		},
		"groupby": func(s *scope, c call) (any, error) {
			out := map[string]any{}
			err := s.each(c, func(v, got any) error {
				k, ok := got.(string)
				if !ok {
					return invalid("The lambda of the template function 'groupBy' must be a string. It is of type '%s'.", kind(got))
				}
				l, _ := out[k].([]any)
				out[k] = append(l, v)
				return nil
			})
			return out, err
		},
		"mapvalues": mapValues,
		"reduce":    reduce,
		"sort":      sortForm,
		"toobject":  toObject,
	}
}

// lambda is a lambda that stands as an argument.
func lambda(c call, i int) (params []string, body node, err error) {
	bad := invalid("The template function '%s' expects argument %d to be a lambda.", c.name, i+1)
	if i >= len(c.args) {
		return nil, nil, bad
	}
	l, ok := c.args[i].(call)
	if !ok || !strings.EqualFold(l.name, "lambda") || len(l.args) == 0 {
		return nil, nil, bad
	}
	for _, a := range l.args[:len(l.args)-1] {
		name, ok := a.(literal)
		text, isText := name.value.(string)
		if !ok || !isText {
			return nil, nil, bad
		}
		params = append(params, strings.ToLower(text))
	}
	return params, l.args[len(l.args)-1], nil
}

// with evaluates the body of a lambda for values of its parameters; a lambda may
// leave out the last of them.
func (s *scope) with(params []string, body node, values ...any) (any, error) {
	in := *s
	in.lambdas = maps.Clone(s.lambdas)
	if in.lambdas == nil {
		in.lambdas = map[string]any{}
	}
	for i, p := range params {
		if i >= len(values) {
			return nil, invalid("A lambda has more parameters than it is given.")
		}
		in.lambdas[p] = values[i]
	}
	return in.eval(body)
}

func (s *scope) listAt(c call, i int) ([]any, error) {
	v, err := s.eval(c.args[i])
	if err != nil {
		return nil, err
	}
	l, ok := v.([]any)
	if !ok {
		return nil, invalid("The template function '%s' expects argument %d to be an array. It is of type '%s'.", c.name, i+1, kind(v))
	}
	return l, nil
}

// each evaluates the lambda of c, its second argument, for every element of its first.
func (s *scope) each(c call, f func(v, got any) error) error {
	if err := takes(c, 2); err != nil {
		return err
	}
	l, err := s.listAt(c, 0)
	if err != nil {
		return err
	}
	params, body, err := lambda(c, 1)
	if err != nil {
		return err
	}
	for i, v := range l {
		got, err := s.with(params, body, v, int64(i))
		if err != nil {
			return err
		}
		if err := f(v, got); err != nil {
			return err
		}
	}
	return nil
}

func mapValues(s *scope, c call) (any, error) {
	if err := takes(c, 2); err != nil {
		return nil, err
	}
	v, err := s.eval(c.args[0])
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("The template function 'mapValues' expects argument 1 to be an object. It is of type '%s'.", kind(v))
	}
	params, body, err := lambda(c, 1)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		if out[k], err = s.with(params, body, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func reduce(s *scope, c call) (any, error) {
	if err := takes(c, 3); err != nil {
		return nil, err
	}
	l, err := s.listAt(c, 0)
	if err != nil {
		return nil, err
	}
	acc, err := s.eval(c.args[1])
	if err != nil {
		return nil, err
	}
	params, body, err := lambda(c, 2)
	if err != nil {
		return nil, err
	}
	for i, v := range l {
		if acc, err = s.with(params, body, acc, v, int64(i)); err != nil {
			return nil, err
		}
	}
	return acc, nil
}

func sortForm(s *scope, c call) (any, error) {
	if err := takes(c, 2); err != nil {
		return nil, err
	}
	l, err := s.listAt(c, 0)
	if err != nil {
		return nil, err
	}
	params, body, err := lambda(c, 1)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(l)
	var failed error
	slices.SortStableFunc(out, func(a, b any) int {
		before := func(a, b any) bool {
			if failed != nil {
				return false
			}
			v, err := s.with(params, body, a, b)
			yes, ok := v.(bool)
			if err == nil && !ok {
				err = invalid("The lambda of the template function 'sort' must be a boolean. It is of type '%s'.", kind(v))
			}
			failed = err
			return yes
		}
		switch {
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
	return out, failed
}

func toObject(s *scope, c call) (any, error) {
	if len(c.args) != 2 && len(c.args) != 3 {
		return nil, takes(c, 2)
	}
	l, err := s.listAt(c, 0)
	if err != nil {
		return nil, err
	}
	params, body, err := lambda(c, 1)
	if err != nil {
		return nil, err
	}
	var valueParams []string
	var valueBody node
	if len(c.args) == 3 {
		if valueParams, valueBody, err = lambda(c, 2); err != nil {
			return nil, err
		}
	}
	out := map[string]any{}
	for _, v := range l {
		k, err := s.with(params, body, v)
		if err != nil {
			return nil, err
		}
		name, ok := k.(string)
		if !ok {
			return nil, invalid("The lambda of the template function 'toObject' must be a string. It is of type '%s'.", kind(k))
		}
		if valueBody != nil {
			if v, err = s.with(valueParams, valueBody, v); err != nil {
				return nil, err
			}
		}
		out[name] = v
	}
	return out, nil
}
