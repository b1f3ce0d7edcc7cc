package terraform

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Position returns where the block of a resource address stands in the user's
// files. It takes the addresses of plans and states, with module paths and
// instance keys ("module.net[0].azurerm_subnet.a[\"x.y\"]", "data.…"), as well
// as "module.x", "var.x", "output.x" and "provider.x". It reports false for what
// is not in the stack's own files, such as a module from a registry.
func (c *Config) Position(address string) (Pos, bool) {
	b := c.find(address)
	if b == nil {
		return Pos{}, false
	}
	return b.Pos, true
}

// AttributePosition returns where an argument of a block stands; path may name
// an argument of a nested block ("scale_settings.min_node_count"). It falls back
// to the nearest enclosing block that is written down.
func (c *Config) AttributePosition(address, path string) (Pos, bool) {
	b := c.find(address)
	if b == nil {
		return Pos{}, false
	}
	pos := b.Pos
	body, ok := b.body.(*hclsyntax.Body)
	if !ok {
		if attrs, _ := b.body.JustAttributes(); attrs != nil {
			name, _, _ := strings.Cut(path, ".")
			if a := attrs[name]; a != nil {
				return posOf(a.NameRange), true
			}
		}
		return pos, true
	}
	for {
		name, rest, more := strings.Cut(path, ".")
		if a := body.Attributes[name]; a != nil {
			return posOf(a.NameRange), true
		}
		var next *hclsyntax.Block
		for _, nested := range body.Blocks {
			if nested.Type == name || (nested.Type == "dynamic" && len(nested.Labels) > 0 && nested.Labels[0] == name) {
				next = nested
				break
			}
		}
		if next == nil {
			return pos, true
		}
		pos = posOf(hcl.Range(next.DefRange()))
		if !more {
			return pos, true
		}
		body, path = next.Body, rest
	}
}

func (c *Config) find(address string) *Block {
	bare := stripKeys(address)
	for _, m := range c.Modules {
		rest, ok := bare, true
		if m.Address != "" {
			rest, ok = strings.CutPrefix(bare, m.Address+".")
		}
		if !ok {
			continue
		}
		for i := range m.Blocks {
			if m.Blocks[i].Address == rest {
				return &m.Blocks[i]
			}
		}
	}
	return nil
}

// stripKeys removes the instance keys from an address: `a.b["x.y]"].c[0]`
// becomes `a.b.c`.
func stripKeys(address string) string {
	var b strings.Builder
	inKey, inString := false, false
	for i := 0; i < len(address); i++ {
		ch := address[i]
		switch {
		case inString && ch == '\\':
			i++
		case inString:
			inString = ch != '"'
		case inKey:
			inString = ch == '"'
			inKey = ch != ']'
		case ch == '[':
			inKey = true
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}
