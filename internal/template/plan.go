package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Resource is one resource of a template with everything that is known before
// anything is deployed. Loops are unrolled.
type Resource struct {
	// Symbol is its symbolic name, or "".
	Symbol string
	// ID is its resource ID, Type its full type and Name its name with those of
	// its parents.
	ID, Type, Name, APIVersion string
	// Condition is false for what is not deployed, Existing true for what is only
	// referred to.
	Condition, Existing bool
	// DependsOn are the places in the plan of what is deployed before.
	DependsOn []int

	raw   map[string]any
	loops []loop
	loop  string // the name of its copy loop, or its symbol
}

// Deployed says whether a deployment writes the resource.
func (r *Resource) Deployed() bool { return r.Condition && !r.Existing }

// Plan is a template with its parameters.
type Plan struct {
	Resources []*Resource

	t      *Template
	scope  *scope
	byKey  map[string]int // lower-case ID, symbol
	byName map[string][]int
	byLoop map[string][]int
}

// maxResources is Azure's limit on the resources of a template.
const maxResources = 800

// Expand makes a plan. The error is an *Error.
func (t *Template) Expand(ctx context.Context, env *Env, params map[string]Value) (*Plan, error) {
	p := &Plan{t: t, scope: t.scope(ctx, env, params), byKey: map[string]int{}, byName: map[string][]int{}, byLoop: map[string][]int{}}
	p.scope.plan = p
	if err := p.expand(); err != nil {
		return nil, validation(err)
	}
	return p, nil
}

func (p *Plan) expand() error {
	if err := p.scope.withVariables(); err != nil {
		return err
	}
	v, _ := field(p.t.raw, "resources")
	switch list := v.(type) {
	case []any:
		for _, v := range list {
			if err := p.add("", v, nil, nil); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, symbol := range slices.Sorted(maps.Keys(list)) {
			if err := p.add(symbol, list[symbol], nil, nil); err != nil {
				return err
			}
		}
	default:
		return invalid("The template property 'resources' must be an array or an object.")
	}
	for i := range p.Resources {
		if err := p.depend(i); err != nil {
			return err
		}
	}
	return p.acyclic()
}

// in is the template's scope inside loops.
func (p *Plan) in(loops []loop) *scope {
	s := *p.scope
	s.loops = loops
	return &s
}

// add takes a resource of the template and those in it into the plan.
func (p *Plan) add(symbol string, v any, parent *Resource, loops []loop) error {
	raw, ok := v.(map[string]any)
	if !ok {
		return invalid("A resource of the template is not an object.")
	}
	copied := object(raw, "copy")
	if copied == nil {
		r, err := p.one(symbol, raw, parent, loops)
		if err != nil {
			return err
		}
		r.loop = symbol
		return p.children(raw, r, loops)
	}
	name := text(copied, "name")
	if name == "" {
		name = symbol
	}
	count, err := p.in(loops).count(copied, name)
	if err != nil {
		return err
	}
	batch := 0
	if strings.EqualFold(text(copied, "mode"), "serial") {
		batch = 1
		if n, ok := field(copied, "batchSize"); ok {
			size, err := p.in(loops).value(n)
			if err != nil {
				return err
			}
			if i, ok := size.(int64); ok && i > 0 {
				batch = int(min(i, maxCopies))
			}
		}
	}
	var all []int
	for i := range count {
		in := append(slices.Clone(loops), loop{name: name, index: i})
		sym := ""
		if symbol != "" {
			sym = fmt.Sprintf("%s[%d]", symbol, i)
		}
		r, err := p.one(sym, raw, parent, in)
		if err != nil {
			return err
		}
		at := len(p.Resources) - 1
		if batch > 0 {
			r.DependsOn = append(r.DependsOn, all[i/batch*batch-min(batch, i/batch*batch):i/batch*batch]...)
		}
		all = append(all, at)
		r.loop = name
		p.byLoop[strings.ToLower(name)] = append(p.byLoop[strings.ToLower(name)], at)
		if symbol != "" && !strings.EqualFold(symbol, name) {
			p.byLoop[strings.ToLower(symbol)] = append(p.byLoop[strings.ToLower(symbol)], at)
			r.loop = symbol
		}
		if err := p.children(raw, r, in); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) children(raw map[string]any, parent *Resource, loops []loop) error {
	v, _ := field(raw, "resources")
	switch list := v.(type) {
	case []any:
		for _, c := range list {
			if err := p.add("", c, parent, loops); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, symbol := range slices.Sorted(maps.Keys(list)) {
			if err := p.add(symbol, list[symbol], parent, loops); err != nil {
				return err
			}
		}
	}
	return nil
}

// evaluated is a property of a resource that must be a string, or "".
func (s *scope) evaluated(raw map[string]any, name string) (string, error) {
	v, ok := field(raw, name)
	if !ok || v == nil {
		return "", nil
	}
	v, err := s.value(v)
	if err != nil {
		return "", err
	}
	out, ok := v.(string)
	if !ok {
		return "", invalid("The property '%s' of a template resource must be a string. It is of type '%s'.", name, kind(v))
	}
	return out, nil
}

// one takes a single resource into the plan.
func (p *Plan) one(symbol string, raw map[string]any, parent *Resource, loops []loop) (*Resource, error) {
	if len(p.Resources) >= maxResources {
		return nil, invalid("The number of template resources exceeds the maximum of '%d'. Please see https://aka.ms/arm-syntax-resources for usage details.", maxResources)
	}
	s := p.in(loops)
	r := &Resource{Symbol: symbol, Condition: true, raw: raw, loops: loops}
	var err error
	for name, at := range map[string]*string{"type": &r.Type, "name": &r.Name, "apiVersion": &r.APIVersion} {
		if *at, err = s.evaluated(raw, name); err != nil {
			return nil, err
		}
		if *at == "" {
			return nil, invalid("The template resource '%s' is missing the required property '%s'. Please see https://aka.ms/arm-syntax-resources for usage details.", text(raw, "name"), name)
		}
	}
	if parent != nil {
		if !strings.HasPrefix(strings.ToLower(r.Type), strings.ToLower(parent.Type)+"/") {
			r.Type = parent.Type + "/" + r.Type
			r.Name = parent.Name + "/" + r.Name
		}
	}
	if v, ok := field(raw, "condition"); ok && v != nil {
		v, err := s.value(v)
		if err != nil {
			return nil, err
		}
		if r.Condition, ok = v.(bool); !ok {
			return nil, invalid("The condition of the template resource '%s' must be a boolean. It is of type '%s'.", r.Name, kind(v))
		}
	}
	if v, ok := field(raw, "existing"); ok {
		r.Existing = v == true
	}
	if err := p.identify(s, r); err != nil {
		return nil, err
	}
	key := strings.ToLower(r.ID)
	if j, ok := p.byKey[key]; ok && p.Resources[j].Condition && r.Condition && !r.Existing && !p.Resources[j].Existing {
		return nil, invalid("The resource '%s' is defined multiple times in a template. Please see https://aka.ms/arm-syntax-resources for usage details.", r.ID)
	}
	at := len(p.Resources)
	if j, ok := p.byKey[key]; !ok || !p.Resources[j].Condition {
		p.byKey[key] = at
	}
	if symbol != "" {
		p.byKey[strings.ToLower(symbol)] = at
	}
	low := strings.ToLower(r.Name)
	p.byName[low] = append(p.byName[low], at)
	p.Resources = append(p.Resources, r)
	return r, nil
}

// identify makes the ID of a resource.
func (p *Plan) identify(s *scope, r *Resource) error {
	base := "/subscriptions/" + text(s.env.Subscription, "subscriptionId")
	if g := text(s.env.Group, "name"); g != "" {
		base += "/resourceGroups/" + g
	}
	subscription, err := s.evaluated(r.raw, "subscriptionId")
	if err != nil {
		return err
	}
	group, err := s.evaluated(r.raw, "resourceGroup")
	if err != nil {
		return err
	}
	if subscription != "" {
		base = "/subscriptions/" + subscription
	}
	if group != "" {
		base = strings.SplitN(base, "/resourceGroups/", 2)[0] + "/resourceGroups/" + group
	}
	on, err := s.evaluated(r.raw, "scope")
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(on, "/"):
		base = strings.TrimSuffix(on, "/")
	case on != "":
		base += "/providers/" + on
	}
	types, names := strings.Split(r.Type, "/"), strings.Split(r.Name, "/")
	if strings.EqualFold(r.Type, "Microsoft.Resources/resourceGroups") && len(names) == 1 {
		r.ID = strings.SplitN(base, "/resourceGroups/", 2)[0] + "/resourceGroups/" + r.Name
		return nil
	}
	if len(types) != len(names)+1 {
		return invalid("The template resource '%s' for type '%s' has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name. A root resource type must have segment length one greater than its resource name. Please see https://aka.ms/arm-syntax-resources for usage details.", r.Name, r.Type)
	}
	var b strings.Builder
	b.WriteString(base + "/providers/" + types[0])
	for i, t := range types[1:] {
		// "A/b/providers/locks" named "b1/Microsoft.Authorization/l1" is a lock on b1
		b.WriteString("/" + t + "/" + names[i])
	}
	r.ID = b.String()
	return nil
}

// find is the place of the resource that a symbol, an ID or a name means, or -1.
func (p *Plan) find(what string) int {
	low := strings.ToLower(what)
	if i, ok := p.byKey[low]; ok {
		return i
	}
	if at := p.byName[low]; len(at) == 1 {
		return at[0]
	}
	return -1
}

// depend finds what a resource depends on: what it says, and what it refers to.
func (p *Plan) depend(i int) error {
	r := p.Resources[i]
	s := p.in(r.loops)
	on := map[int]bool{}
	for _, j := range r.DependsOn {
		on[j] = true
	}
	if raw, ok := field(r.raw, "dependsOn"); ok && raw != nil {
		v, err := s.value(raw)
		if err != nil {
			return err
		}
		list, ok := v.([]any)
		if !ok {
			return invalid("The property 'dependsOn' of the template resource '%s' must be an array.", r.Name)
		}
		for _, v := range list {
			what, _ := v.(string)
			found := p.named(what, s)
			if found == nil {
				return invalid("The resource '%s' is not defined in the template. Please see https://aka.ms/arm-syntax-resources for usage details.", what)
			}
			for _, j := range found {
				on[j] = true
			}
		}
	}
	p.implied(s, r.raw, "", func(j int) { on[j] = true })
	delete(on, i)
	r.DependsOn = nil
	for _, j := range slices.Sorted(maps.Keys(on)) {
		if p.Resources[j].Deployed() {
			r.DependsOn = append(r.DependsOn, j)
		}
	}
	return nil
}

// named are the places of what a dependency names: a resource, or all of a loop.
func (p *Plan) named(what string, s *scope) []int {
	low := strings.ToLower(what)
	if all, ok := p.byLoop[low]; ok {
		return all
	}
	if i := p.find(what); i >= 0 {
		return []int{i}
	}
	if i, ok := p.byKey[strings.ToLower(scopeOf(s.env))+"/providers/"+low]; ok {
		return []int{i}
	}
	// "TYPE/NAME", with all types before all names
	for i, r := range p.Resources {
		if strings.EqualFold(r.Type+"/"+r.Name, what) {
			return []int{i}
		}
	}
	return p.byName[low]
}

func scopeOf(env *Env) string {
	base := "/subscriptions/" + text(env.Subscription, "subscriptionId")
	if g := text(env.Group, "name"); g != "" {
		base += "/resourceGroups/" + g
	}
	return base
}

// implied visits what the expressions of a resource refer to.
func (p *Plan) implied(s *scope, v any, property string, visit func(int)) {
	switch v := v.(type) {
	case string:
		inner, _, ok := isExpression(v)
		if !ok {
			return
		}
		n, err := p.t.parse(inner)
		if err != nil {
			return // evaluating the resource says so
		}
		calls(n, func(c call) {
			name := strings.ToLower(c.name)
			if c.namespace != "" || len(c.args) == 0 || name != "reference" && name != "references" && !strings.HasPrefix(name, "list") {
				return
			}
			arg, err := s.eval(c.args[0])
			what, ok := arg.(string)
			if err != nil || !ok {
				return
			}
			if all, ok := p.byLoop[strings.ToLower(what)]; ok && name == "references" {
				for _, j := range all {
					visit(j)
				}
			} else if j := p.find(what); j >= 0 {
				visit(j)
			}
		})
	case []any:
		for _, x := range v {
			p.implied(s, x, property, visit)
		}
	case map[string]any:
		for k, x := range v {
			switch low := strings.ToLower(k); {
			case low == "dependson", low == "resources" && property == "":
			case low == "template" && property == "properties" && !p.outer(v):
			default:
				p.implied(s, x, low, visit)
			}
		}
	}
}

// acyclic refuses resources that wait for each other.
func (p *Plan) acyclic() error {
	state := make([]byte, len(p.Resources))
	var visit func(i int) error
	visit = func(i int) error {
		switch state[i] {
		case 1:
			return invalid("Circular dependency detected on resource: '%s'. Please see https://aka.ms/arm-template/#resources for usage details.", p.Resources[i].ID)
		case 2:
			return nil
		}
		state[i] = 1
		for _, j := range p.Resources[i].DependsOn {
			if err := visit(j); err != nil {
				return err
			}
		}
		state[i] = 2
		return nil
	}
	for i := range p.Resources {
		if err := visit(i); err != nil {
			return err
		}
	}
	return nil
}

// templateOnly are the properties of a resource that are the template's and not
// the request's.
func templateOnly(name string) bool {
	switch strings.ToLower(name) {
	case "type", "name", "apiversion", "dependson", "copy", "condition", "comments", "scope", "metadata", "resources",
		"existing", "subscriptionid", "resourcegroup", "import", "extension", "@options":
		return true
	}
	return false
}

// Body is the request body of resource i, evaluated with what rt knows. With a
// nil rt, expressions that need it stay as they are. The error is an *Error, or
// what rt returned.
func (p *Plan) Body(ctx context.Context, i int, rt Runtime) (map[string]any, error) {
	r := p.Resources[i]
	s := p.in(r.loops)
	budget := maxSteps
	s.ctx, s.rt, s.budget = ctx, rt, &budget
	nested := strings.EqualFold(r.Type, "Microsoft.Resources/deployments")
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(r.raw)) {
		if templateOnly(k) {
			continue
		}
		v := r.raw[k]
		if props, ok := v.(map[string]any); ok && nested && strings.EqualFold(k, "properties") {
			body, err := s.deployment(p, props)
			if err != nil {
				return nil, r.explain(err)
			}
			out[k] = body
			continue
		}
		v, err := s.known(v)
		if err != nil {
			return nil, r.explain(err)
		}
		out[k] = v
	}
	body, _ := Plain(out).(map[string]any)
	return body, nil
}

// known is value; without a runtime, what needs one stays as it is written.
func (s *scope) known(v any) (any, error) {
	if s.rt != nil {
		return s.value(v)
	}
	got, err := s.value(v)
	if e := (*runtimeError)(nil); !errors.As(err, &e) {
		return got, err
	}
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, x := range v {
			x, err := s.known(x)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			x, err := s.known(x)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	}
	return v, nil
}

// explain says which resource an expression that failed is in.
func (r *Resource) explain(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Code == "InvalidTemplate" {
		return invalid("Unable to process template language expressions for resource '%s'. '%s'", r.ID, e.Message)
	}
	return err
}

// Outputs are the template's outputs, after everything is deployed.
func (p *Plan) Outputs(ctx context.Context, rt Runtime) (map[string]Value, error) {
	s := p.in(nil)
	budget := maxSteps
	s.ctx, s.rt, s.budget = ctx, rt, &budget
	out := map[string]Value{}
	defs := object(p.t.raw, "outputs")
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		v, ok, err := p.output(s, name, defs[name])
		if err != nil {
			var e *Error
			if errors.As(err, &e) && e.Code == "InvalidTemplate" {
				err = invalid("The template output '%s' is not valid: %s", name, e.Message)
			}
			return nil, err
		}
		if ok {
			out[name] = v
		}
	}
	return out, nil
}

func (p *Plan) output(s *scope, name string, v any) (Value, bool, error) {
	def, ok := v.(map[string]any)
	if !ok {
		return Value{}, false, invalid("It is not an object.")
	}
	def, err := p.t.resolve(def)
	if err != nil {
		return Value{}, false, err
	}
	if c, ok := field(def, "condition"); ok {
		v, err := s.value(c)
		if err != nil {
			return Value{}, false, err
		}
		if yes, ok := v.(bool); !ok || !yes {
			return Value{}, false, nil
		}
	}
	typ, ok := typeName(text(def, "type"))
	if !ok {
		return Value{}, false, invalid("The type '%s' is not known.", text(def, "type"))
	}
	raw, _ := field(def, "value")
	var got any
	if c := object(def, "copy"); c != nil {
		one := maps.Clone(c)
		one["name"] = name
		list := map[string]any{}
		// copyIndex() without a name means the output's own loop
		count, err := s.count(one, name)
		if err != nil {
			return Value{}, false, err
		}
		values := make([]any, 0, count)
		input, _ := field(one, "input")
		for i := range count {
			in := *s
			in.loops = []loop{{name: name, index: i}}
			v, err := in.value(input)
			if err != nil {
				return Value{}, false, err
			}
			values = append(values, v)
		}
		list[name] = values
		got = values
	} else if got, err = s.value(raw); err != nil {
		return Value{}, false, err
	}
	if got == nil {
		if nullable, _ := field(def, "nullable"); nullable == true {
			return Value{}, false, nil
		}
	}
	if err := checkType(name, typ, got); err != nil {
		return Value{}, false, invalid("Template output JToken type is not valid. Expected '%s'. Actual '%s'. Please see https://aka.ms/arm-template/#outputs for usage details.", typ, kind(got))
	}
	return Value{typ, Plain(got)}, true, nil
}
