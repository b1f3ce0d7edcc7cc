package template

import (
	"strings"
)

func resourceFunctions() map[string]builtin {
	constant := func(get func(e *Env) map[string]any) builtin {
		return builtin{0, 0, func(s *scope, name string, _ []any) (any, error) {
			if s.function {
				return nil, invalid("The template function '%s' is not expected in a function of the template.", name)
			}
			if v := get(s.env); v != nil {
				return v, nil
			}
			return nil, invalid("The template function '%s' is not expected at this location. Please see https://aka.ms/arm-functions for usage details.", name)
		}}
	}
	return map[string]builtin{
		"resourcegroup":          constant(func(e *Env) map[string]any { return e.Group }),
		"subscription":           constant(func(e *Env) map[string]any { return e.Subscription }),
		"tenant":                 constant(func(e *Env) map[string]any { return e.Tenant }),
		"deployment":             constant(func(e *Env) map[string]any { return e.Deployment }),
		"deployer":               constant(func(e *Env) map[string]any { return e.Deployer }),
		"environment":            constant(func(e *Env) map[string]any { return e.Environment }),
		"resourceid":             {2, -1, resourceID},
		"subscriptionresourceid": {2, -1, subscriptionResourceID},
		"tenantresourceid": on(2, -1, func(a []string) (any, error) {
			return resourceUnder("", a[0], a[1:])
		}),
		"extensionresourceid": on(3, -1, func(a []string) (any, error) {
			return resourceUnder(strings.TrimSuffix(a[0], "/"), a[1], a[2:])
		}),
		"managementgroupresourceid": on(3, -1, func(a []string) (any, error) {
			return resourceUnder("/providers/Microsoft.Management/managementGroups/"+a[0], a[1], a[2:])
		}),
		"reference":  {1, 3, (*scope).reference},
		"references": {1, 2, (*scope).references},
		"providers":  {1, 2, providersFunction},
		"pickzones":  {3, 5, pickZones},
	}
}

// resourceUnder is the ID of a resource of a type in what base names.
func resourceUnder(base, typ string, names []string) (string, error) {
	segs := strings.Split(typ, "/")
	if len(segs) < 2 || len(names) != len(segs)-1 {
		return "", wrong("is not valid: the type '%s' requires '%d' name(s), and '%d' are given", typ, len(segs)-1, len(names))
	}
	var b strings.Builder
	b.WriteString(base + "/providers/" + segs[0])
	for i, seg := range segs[1:] {
		b.WriteString("/" + seg + "/" + names[i])
	}
	return b.String(), nil
}

// resourceID is resourceId([subscription], [group], type, name, …).
func resourceID(s *scope, _ string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	at := 0
	for at < len(a) && at < 3 && !strings.Contains(a[at], "/") {
		at++
	}
	if at == len(a) || at > 2 {
		return nil, wrong("expects a resource type with its namespace among its first arguments")
	}
	subscription, group := text(s.env.Subscription, "subscriptionId"), text(s.env.Group, "name")
	switch at {
	case 1:
		group = a[0]
		if s.env.Group == nil && isGUID(a[0]) {
			subscription, group = a[0], ""
		}
	case 2:
		subscription, group = a[0], a[1]
	}
	base := "/subscriptions/" + subscription
	if strings.EqualFold(a[at], "Microsoft.Resources/resourceGroups") && len(a) == at+2 {
		return base + "/resourceGroups/" + a[at+1], nil
	}
	if group != "" {
		base += "/resourceGroups/" + group
	}
	return resourceUnder(base, a[at], a[at+1:])
}

func isGUID(s string) bool { return len(s) == 36 && strings.Count(s, "-") == 4 }

func subscriptionResourceID(s *scope, _ string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	subscription := text(s.env.Subscription, "subscriptionId")
	if !strings.Contains(a[0], "/") {
		subscription, a = a[0], a[1:]
	}
	if strings.EqualFold(a[0], "Microsoft.Resources/resourceGroups") && len(a) == 2 {
		return "/subscriptions/" + subscription + "/resourceGroups/" + a[1], nil
	}
	return resourceUnder("/subscriptions/"+subscription, a[0], a[1:])
}

// target is the resource of the plan that a name or an ID means, or -1, with its
// ID and the version that it is asked with.
func (s *scope) target(name string) (index int, id, apiVersion string) {
	if s.plan != nil {
		if i := s.plan.find(name); i >= 0 {
			r := s.plan.Resources[i]
			return i, r.ID, r.APIVersion
		}
	}
	return -1, name, ""
}

// reference is reference(name or ID, [version], ['Full']).
func (s *scope) reference(name string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	if s.rt == nil {
		return nil, needsRuntime(name)
	}
	i, id, version := s.target(a[0])
	if len(a) > 1 && a[1] != "" {
		version = a[1]
	}
	if i < 0 && !strings.HasPrefix(id, "/") {
		return nil, invalid("The resource referenced in output is not defined in the template: '%s'. Please see https://aka.ms/arm-template/#outputs for usage details.", a[0])
	}
	if i < 0 && version == "" {
		return nil, invalid("The template function 'reference' needs an API version for '%s', which is not in the template.", id)
	}
	if i >= 0 && !s.plan.Resources[i].Condition {
		return nil, &Error{"ResourceNotFound", "The resource '" + id + "' is not deployed: its condition is false."}
	}
	doc, err := s.rt.Reference(s.ctx, id, version)
	if err != nil {
		return nil, err
	}
	return referenced(Normalize(doc), len(a) > 2 && strings.EqualFold(a[2], "Full")), nil
}

func referenced(doc any, full bool) any {
	m, _ := doc.(map[string]any)
	if full {
		return m
	}
	props := object(m, "properties")
	if props == nil {
		props = map[string]any{}
	}
	return props
}

// references is references(symbolic name of a loop, ['Full']).
func (s *scope) references(name string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	if s.rt == nil || s.plan == nil {
		return nil, needsRuntime(name)
	}
	out := []any{}
	for _, r := range s.plan.Resources {
		if !strings.EqualFold(r.loop, a[0]) || !r.Condition {
			continue
		}
		doc, err := s.rt.Reference(s.ctx, r.ID, r.APIVersion)
		if err != nil {
			return nil, err
		}
		out = append(out, referenced(Normalize(doc), len(a) > 1 && strings.EqualFold(a[1], "Full")))
	}
	return out, nil
}

// list is listKeys and its like: list…(name or ID, version, [body]).
func (s *scope) list(name string, args []any) (any, error) {
	if s.function {
		return nil, invalid("The template function '%s' is not expected in a function of the template.", name)
	}
	what, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	if s.rt == nil {
		return nil, needsRuntime(name)
	}
	_, id, version := s.target(what)
	if len(args) > 1 {
		if version, err = stringAt(args, 1); err != nil {
			return nil, err
		}
	}
	var body map[string]any
	if len(args) > 2 {
		if body, err = objectAt(args, 2); err != nil {
			return nil, err
		}
		body, _ = Plain(body).(map[string]any)
	}
	if !strings.HasPrefix(id, "/") || version == "" {
		return nil, wrong("expects the ID of a resource and an API version")
	}
	v, err := s.rt.List(s.ctx, name, id, version, body)
	return Normalize(v), err
}

func providersFunction(s *scope, name string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	if len(a) < 2 || s.env.Provider == nil {
		return nil, wrong("expects a namespace and a resource type")
	}
	if doc := s.env.Provider(a[0], a[1]); doc != nil {
		return Normalize(doc), nil
	}
	return nil, wrong("finds no resource type '%s' in the namespace '%s'", a[1], a[0])
}

// pickZones is pickZones(namespace, type, region, [count], [offset]): as many
// zones as asked for, or none where the region has none.
func pickZones(s *scope, _ string, args []any) (any, error) {
	a, err := stringsFrom(args[:3], 0)
	if err != nil {
		return nil, err
	}
	count, offset := int64(1), int64(0)
	if len(args) > 3 {
		if count, err = intAt(args, 3); err != nil {
			return nil, err
		}
	}
	if len(args) > 4 {
		if offset, err = intAt(args, 4); err != nil {
			return nil, err
		}
	}
	if s.env.Zones == nil {
		return nil, wrong("is not known here")
	}
	zones := s.env.Zones(a[0], a[1], a[2])
	if len(zones) == 0 {
		return []any{}, nil
	}
	if count < 1 || offset < 0 || count > int64(len(zones)) || offset > int64(len(zones))-count {
		return nil, wrong("was asked for %d zones from %d on, of the %d that '%s' has", count, offset, len(zones), a[2])
	}
	return anys(zones[offset : offset+count]), nil
}
