package jobspec

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// override applies one --set argument to the tree.
func (d *decoder) override(doc *document, arg string) {
	pos := Position{File: "--set " + arg}
	path, text, ok := strings.Cut(arg, "=")
	if !ok || path == "" {
		d.problem(pos, "", "write --set key=value, or key.key=value for a key inside an object")
		return
	}
	value, problem := overrideValue(text)
	if problem != "" {
		d.problem(pos, path, problem)
		return
	}
	d.mark(value, arg)
	if doc.root.Kind != yaml.MappingNode {
		return // reported when the file is read
	}
	keys := strings.Split(path, ".")
	n := doc.root
	for i, k := range keys {
		if k == "" {
			d.problem(pos, path, "a part of the key is empty")
			return
		}
		here := strings.Join(keys[:i], ".")
		last := i == len(keys)-1
		var slot **yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			slot = mappingSlot(n, k)
			if slot == nil {
				key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k}
				d.overrides[key] = arg
				child := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
				d.overrides[child] = arg
				n.Content = append(n.Content, key, child)
				slot = &n.Content[len(n.Content)-1]
			}
		case yaml.SequenceNode:
			at, err := strconv.Atoi(k)
			if err != nil || at < 0 || at >= len(n.Content) {
				d.problem(pos, path, here+" is a list of "+strconv.Itoa(len(n.Content))+"; "+strconv.Quote(k)+" is not an index into it")
				return
			}
			slot = &n.Content[at]
		default:
			d.problem(pos, path, here+" is not an object")
			return
		}
		if last {
			*slot = value
			return
		}
		n = *slot
		if n.Kind == yaml.AliasNode {
			// Change this place alone, not everything that shares the anchor.
			n = clone(n.Alias, 0)
			*slot = n
		}
		// inputs.lr.value=1 also works where the file says `lr: 0.1`.
		literalInput := i == 1 && keys[0] == "inputs" && len(keys) == 3 && keys[2] == "value"
		if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || literalInput) {
			n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
			*slot = n
		}
	}
}

// overrideValue reads the text after the equals sign.
func overrideValue(text string) (value *yaml.Node, problem string) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 {
			return nil, "the value begins like a YAML object or list and is none"
		}
		return doc.Content[0], ""
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if n.Tag = n.ShortTag(); text == "" || n.Tag == "!!merge" {
		n.Tag = "!!str"
	}
	return n, ""
}

func mappingSlot(n *yaml.Node, key string) **yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return &n.Content[i+1]
		}
	}
	return nil
}

func (d *decoder) mark(n *yaml.Node, arg string) {
	d.overrides[n] = arg
	for _, c := range n.Content {
		d.mark(c, arg)
	}
}

// clone copies a node without following the aliases inside it.
func clone(n *yaml.Node, depth int) *yaml.Node {
	c := *n
	c.Anchor = ""
	if depth < 1000 {
		c.Content = make([]*yaml.Node, len(n.Content))
		for i, child := range n.Content {
			c.Content[i] = clone(child, depth+1)
		}
	}
	return &c
}
