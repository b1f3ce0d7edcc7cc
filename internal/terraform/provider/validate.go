package provider

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// checker validates a configuration as azurerm's schema and its validation
// functions do, with their words.
type checker struct {
	major  int
	config map[string]any
	diags  []*tfprotov5.Diagnostic
}

// refuse adds an error about the argument at a path; nil is the whole resource.
func (c *checker) refuse(at *tftypes.AttributePath, summary, detail string) {
	c.diags = append(c.diags, &tfprotov5.Diagnostic{Severity: tfprotov5.DiagnosticSeverityError, Summary: summary, Detail: detail, Attribute: at})
}

func (c *checker) warn(at *tftypes.AttributePath, summary, detail string) {
	c.diags = append(c.diags, &tfprotov5.Diagnostic{Severity: tfprotov5.DiagnosticSeverityWarning, Summary: summary, Detail: detail, Attribute: at})
}

// check validates the whole configuration against its schema.
func (c *checker) check(as attributes) {
	if c.config == nil {
		return
	}
	c.object(as, c.config, "", tftypes.NewAttributePath())
}

func (c *checker) object(as attributes, obj map[string]any, prefix string, at *tftypes.AttributePath) {
	for _, name := range as.names() {
		a, v := as[name], obj[name]
		key, path := prefix+name, at.WithAttributeName(name)
		configured := v != nil && !(a.nested() && len(asList(v)) == 0 && a.Block && !isUnknown(v))
		c.relations(a, key, path, configured)
		if !configured || isUnknown(v) || a.Type == "object" {
			continue
		}
		if a.Deprecated != "" {
			c.warn(path, "Argument is deprecated", a.Deprecated)
		}
		c.value(a, v, key, path)
	}
}

func (c *checker) value(a *attribute, v any, key string, path *tftypes.AttributePath) {
	if l, ok := v.([]any); ok {
		// Terraform counts blocks itself where the protocol gives it the limits.
		if n := int64(len(l)); a.MaxItems > 0 && n > a.MaxItems && a.BlockMax == 0 {
			c.refuse(path, "Too many list items", fmt.Sprintf("Attribute %s supports %d item maximum, but config has %d declared.", key, a.MaxItems, n))
		} else if n < a.MinItems && a.BlockMin == 0 && !hasUnknown(v) {
			c.refuse(path, "Not enough list items", fmt.Sprintf("Attribute %s requires %d item minimum, but config has only %d declared.", key, a.MinItems, n))
		}
		for i, e := range l {
			inner := path
			if a.Type == "list" {
				inner = path.WithElementKeyInt(i)
			}
			switch {
			case a.nested() && a.Type == "set":
				// A set's elements have no path that Terraform could show.
				c.objectInSet(a.Attributes, asObject(e), key+"."+strconv.Itoa(i)+".", path)
			case a.nested():
				c.object(a.Attributes, asObject(e), key+"."+strconv.Itoa(i)+".", inner)
			case a.Each != nil && e != nil && !isUnknown(e):
				c.test(a.Each, a.Elem, e, key+"."+strconv.Itoa(i), inner)
			}
		}
	}
	c.test(&a.check, a.Type, v, key, path)
}

// objectInSet checks an element of a set and reports everything at the set.
func (c *checker) objectInSet(as attributes, obj map[string]any, prefix string, at *tftypes.AttributePath) {
	inner := &checker{major: c.major, config: c.config}
	inner.object(as, obj, prefix, tftypes.NewAttributePath())
	for _, d := range inner.diags {
		d.Attribute = at
		c.diags = append(c.diags, d)
	}
}

// relations checks what arguments ask of each other.
func (c *checker) relations(a *attribute, key string, path *tftypes.AttributePath, configured bool) {
	if configured {
		for _, other := range a.ConflictsWith {
			if c.has(other) {
				c.refuse(path, "Conflicting configuration arguments", fmt.Sprintf("%q: conflicts with %s", key, other))
			}
		}
		var missing []string
		for _, other := range a.RequiredWith {
			if !c.has(other) {
				missing = append(missing, other)
			}
		}
		if len(missing) > 0 {
			c.refuse(path, "Missing required argument", fmt.Sprintf("%q: all of `%s` must be specified", key, join(a.RequiredWith)))
		}
	}
	if n := c.count(a.ExactlyOneOf); len(a.ExactlyOneOf) > 0 && n != 1 && !c.anyUnknown(a.ExactlyOneOf) {
		if n == 0 {
			c.refuse(path, "Invalid combination of arguments", fmt.Sprintf("%q: one of `%s` must be specified", key, join(a.ExactlyOneOf)))
		} else if configured {
			c.refuse(path, "Invalid combination of arguments", fmt.Sprintf("%q: only one of `%s` can be specified, but `%s` were specified.", key, join(a.ExactlyOneOf), join(c.present(a.ExactlyOneOf))))
		}
	}
	if len(a.AtLeastOneOf) > 0 && c.count(a.AtLeastOneOf) == 0 {
		c.refuse(path, "Missing required argument", fmt.Sprintf("%q: one of `%s` must be specified", key, join(a.AtLeastOneOf)))
	}
}

func join(keys []string) string {
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	return strings.Join(sorted, ",")
}

func (c *checker) present(keys []string) []string {
	var out []string
	for _, k := range keys {
		if c.has(k) {
			out = append(out, k)
		}
	}
	return out
}

func (c *checker) count(keys []string) int { return len(c.present(keys)) }

func (c *checker) anyUnknown(keys []string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return isUnknown(c.lookup(k)) })
}

// has reports whether an argument, named as "a.0.b", is configured. One that is
// not known yet counts, since it may be.
func (c *checker) has(key string) bool {
	v := c.lookup(key)
	if l, ok := v.([]any); ok {
		return len(l) > 0
	}
	return v != nil
}

func (c *checker) lookup(key string) any {
	var v any = c.config
	for part := range strings.SplitSeq(key, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return v
		}
	}
	return v
}

// test checks one value.
func (c *checker) test(k *check, typ string, v any, key string, path *tftypes.AttributePath) {
	if len(k.Any) > 0 {
		tries := &checker{major: c.major, config: c.config}
		for i := range k.Any {
			before := len(tries.diags)
			tries.test(&k.Any[i], typ, v, key, path)
			if len(tries.diags) == before {
				return
			}
		}
		c.diags = append(c.diags, tries.diags...)
		return
	}
	if len(k.Enum) > 0 && !slices.Contains(k.Enum, v) {
		c.refuse(path, fmt.Sprintf("expected %s to be one of %s, got %s", key, enumText(k.Enum), plain(v)), "")
		return
	}
	if n, ok := v.(float64); ok {
		switch {
		case k.Min != nil && k.Max != nil && (n < *k.Min || n > *k.Max):
			c.refuse(path, fmt.Sprintf("expected %s to be in the range (%s - %s), got %s", key, formatNumber(*k.Min), formatNumber(*k.Max), formatNumber(n)), "")
		case k.Min != nil && n < *k.Min:
			c.refuse(path, fmt.Sprintf("expected %s to be at least (%s), got %s", key, formatNumber(*k.Min), formatNumber(n)), "")
		case k.Max != nil && n > *k.Max:
			c.refuse(path, fmt.Sprintf("expected %s to be at most (%s), got %s", key, formatNumber(*k.Max), formatNumber(n)), "")
		case typ == "int" && n != float64(int64(n)):
			c.refuse(path, "Attribute must be a whole number, got "+formatNumber(n), "")
		}
		return
	}
	s, isText := v.(string)
	if k.ID != "" && isText && !matchPattern(k.ID, s) {
		c.refuse(path, fmt.Sprintf("parsing %q: expected a resource ID that matches %s", s, k.ID), "")
		return
	}
	if k.Rule == "" {
		return
	}
	if message := applyRule(k, v, key, c.major); message != "" {
		c.refuse(path, message, "")
	}
}

func enumText(enum []any) string {
	out := make([]string, len(enum))
	for i, e := range enum {
		if s, ok := e.(string); ok {
			out[i] = strconv.Quote(s)
		} else {
			out[i] = plain(e)
		}
	}
	return "[" + strings.Join(out, " ") + "]"
}

func plain(v any) string {
	if f, ok := v.(float64); ok {
		return formatNumber(f)
	}
	return fmt.Sprint(v)
}
