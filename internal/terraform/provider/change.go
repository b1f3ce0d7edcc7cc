package provider

import (
	"errors"
	"fmt"
	"sort"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// change is a plan in the making. Hooks of types read and change planned.
type change struct {
	major                  int
	typ                    *resourceType
	kind                   *kind
	prior, config, planned map[string]any
	replace                []*tftypes.AttributePath
	diags                  []*tfprotov5.Diagnostic
}

// create reports whether there is no resource yet, or a new one is to take its
// place.
func (c *change) create() bool { return c.prior == nil }

// differs reports whether an argument changes on an existing resource.
func (c *change) differs(name string) bool {
	a := c.kind.Attributes[name]
	return a != nil && c.prior != nil && !a.same(c.prior[name], c.planned[name])
}

// forceNew asks for a new resource because of an argument.
func (c *change) forceNew(name string) {
	c.replace = append(c.replace, tftypes.NewAttributePath().WithAttributeName(name))
}

// refuse makes the plan fail because of an argument; name may be "".
func (c *change) refuse(name, format string, args ...any) {
	var at *tftypes.AttributePath
	if name != "" {
		at = tftypes.NewAttributePath().WithAttributeName(name)
	}
	c.diags = append(c.diags, problem(fmt.Errorf(format, args...), at))
}

func (c *change) run() {
	c.planned = planObject(c.kind.Attributes, c.prior, c.config)
	planAliases(c.typ.aliases, c.major, c.config, c.planned, c.create())
	if c.typ.plan != nil {
		c.typ.plan(c)
	}
	c.refuseUnmapped()
	if c.prior != nil {
		for name, a := range c.kind.Attributes {
			if a.same(c.prior[name], c.planned[name]) {
				c.planned[name] = c.prior[name]
			}
		}
		c.replace = append(c.replace, replacements(c.kind.Attributes, c.prior, c.planned, tftypes.NewAttributePath())...)
		if len(c.replace) == 0 && c.typ.update == updateNone && c.typ.store == nil && c.kind.HasUpdate {
			c.refuseUpdate()
		}
	}
}

// refuseUpdate refuses in-place changes of a type whose mapping has no update.
func (c *change) refuseUpdate() {
	if changed(c.kind.Attributes, c.prior, c.planned) {
		c.refuse("", "%s: changing it in place is not implemented by Azimuth's built-in provider yet; use --provider registry", c.typ.name)
	}
}

// refuseUnmapped refuses arguments that the mapping does not know, so that none is
// accepted and then ignored.
func (c *change) refuseUnmapped() {
	for _, path := range unmapped(c.typ.fields, c.typ.managed(), c.kind.Attributes, c.config, c.major, "") {
		c.diags = append(c.diags, problem(
			errors.New(path+": this argument of "+c.typ.name+" is not implemented by Azimuth's built-in provider yet; use --provider registry"), nil))
	}
}

// managed are the arguments that the type handles without a field: those of its
// ID and its aliases.
func (rt *resourceType) managed() map[string]bool {
	out := map[string]bool{"id": true, "timeouts": true}
	for _, al := range rt.aliases {
		out[al.name], out[al.old] = true, true
	}
	if rt.id.parent != "" {
		out[rt.id.parent] = true
	}
	if args, err := rt.id.parse(rt.id.pattern); err == nil {
		for name := range args {
			out[name] = true
		}
	}
	return out
}

// unmapped lists the configured arguments that no field covers.
func unmapped(fields []field, managed map[string]bool, as attributes, config map[string]any, major int, prefix string) []string {
	known := mappedAttributes(fields, major)
	var out []string
	for name, a := range as {
		v := config[name]
		f := known[name]
		if managed[name] || v == nil || f != nil && f.fields == nil {
			continue
		}
		if f == nil {
			if !isZero(v) {
				out = append(out, prefix+name)
			}
			continue
		}
		for _, e := range asList(v) {
			out = append(out, unmapped(f.fields, nil, a.Attributes, asObject(e), major, prefix+name+".")...)
		}
	}
	sort.Strings(out)
	return out
}
