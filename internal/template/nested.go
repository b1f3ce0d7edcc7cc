package template

import (
	"maps"
	"slices"
	"strings"
)

// outer says whether the expressions of a nested deployment are evaluated where
// it stands, or inside it.
func (p *Plan) outer(properties map[string]any) bool {
	scope := text(object(properties, "expressionEvaluationOptions"), "scope")
	if strings.EqualFold(scope, "inner") || strings.EqualFold(scope, "outer") {
		return strings.EqualFold(scope, "outer")
	}
	return !p.t.symbolic() // what NotSpecified means differs by version of the language
}

// deployment evaluates the properties of a nested deployment.
func (s *scope) deployment(p *Plan, properties map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		v := properties[k]
		if !strings.EqualFold(k, "template") {
			v, err := s.known(v)
			if err != nil {
				return nil, err
			}
			out[k] = v
			continue
		}
		t, ok := v.(map[string]any)
		if !ok || !p.outer(properties) {
			out[k] = v
			continue
		}
		inner, late, err := s.outerTemplate(t)
		if err != nil {
			return nil, err
		}
		if late {
			// expressions of loops inside see the parameters, variables and functions
			// that stand around the nested template
			params := map[string]any{}
			for name, def := range p.t.defs {
				inner["parameters"] = ensure(inner["parameters"])
				d, err := p.t.resolve(def.(map[string]any))
				if err != nil {
					return nil, err
				}
				inner["parameters"].(map[string]any)[name] = map[string]any{"type": text(d, "type"), "nullable": true}
				if v := s.params[strings.ToLower(name)]; v != nil {
					params[name] = map[string]any{"value": v}
				}
			}
			inner["variables"], _ = field(p.t.raw, "variables")
			if f, ok := field(p.t.raw, "functions"); ok {
				inner["functions"] = f
			}
			out["parameters"] = params
		}
		out[k] = inner
		// what is evaluated already is not to be evaluated again
		out["expressionEvaluationOptions"] = map[string]any{"scope": "inner"}
	}
	return out, nil
}

func ensure(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return m
	}
	return map[string]any{}
}

// outerTemplate evaluates the expressions of a nested template here. late says
// that some need a loop inside it and are left.
func (s *scope) outerTemplate(t map[string]any) (out map[string]any, late bool, err error) {
	out = map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(t)) {
		switch strings.ToLower(k) {
		case "parameters", "variables", "functions":
			continue
		}
		v, l, err := s.outerValue(t[k], false)
		if err != nil {
			return nil, false, err
		}
		out[k], late = v, late || l
	}
	return out, late, nil
}

func (s *scope) outerValue(v any, looped bool) (any, bool, error) {
	switch v := v.(type) {
	case string:
		inner, _, ok := isExpression(v)
		if !ok {
			return v, false, nil
		}
		n, err := s.t.parse(inner)
		if err != nil {
			return nil, false, err
		}
		wait := false
		if looped {
			calls(n, func(c call) { wait = wait || strings.EqualFold(c.name, "copyIndex") })
		}
		if wait {
			return v, true, nil
		}
		got, err := s.known(v)
		if err == nil && s.rt == nil && got == any(v) {
			return v, false, nil
		}
		return escape(got), false, err
	case []any:
		out, late := make([]any, 0, len(v)), false
		for _, x := range v {
			x, l, err := s.outerValue(x, looped)
			if err != nil {
				return nil, false, err
			}
			out, late = append(out, x), late || l
		}
		return out, late, nil
	case map[string]any:
		if _, ok := field(v, "copy"); ok {
			looped = true
		}
		out, late := map[string]any{}, false
		for k, x := range v {
			x, l, err := s.outerValue(x, looped)
			if err != nil {
				return nil, false, err
			}
			out[k], late = x, late || l
		}
		return out, late, nil
	}
	return v, false, nil
}

// escape keeps a value from being taken for an expression.
func escape(v any) any {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") {
			return "[" + v
		}
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = escape(x)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = escape(x)
		}
		return out
	}
	return v
}
