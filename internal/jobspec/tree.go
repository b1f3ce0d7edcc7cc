package jobspec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds how many YAML nodes one file may make the reader visit, so
// that aliases of aliases cannot blow up.
const maxNodes = 100_000

// document is one parsed YAML file.
type document struct {
	// name is how problems call the file, dir what its relative paths start
	// from; dir is empty when paths are not to be checked.
	name, dir string
	text      []byte
	root      *yaml.Node
}

// decoder reads documents and collects what is wrong with them.
type decoder struct {
	problems  Problems
	warnings  Problems
	visited   int
	positions map[string]Position
	// inStep says that a step of a pipeline is being read, whose inputs and outputs
	// can be bound.
	inStep bool
	// depth is how many component files are being read, each named by the one before.
	depth int
	// overrides holds the --set argument that a node came from.
	overrides map[*yaml.Node]string
}

// yamlLine finds the line in the messages of the YAML library.
var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n\s*)?(?:line (\d+): )?`)

// parse reads one YAML document. It returns nil after noting a problem.
func (d *decoder) parse(name, dir string, text []byte) *document {
	doc := &document{name: name, dir: dir, text: text}
	in := yaml.NewDecoder(bytes.NewReader(text))
	var root, second yaml.Node
	if err := in.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			d.problem(Position{File: name}, "", "the file is empty")
			return nil
		}
		msg := err.Error()
		pos := Position{File: name}
		if m := yamlLine.FindStringSubmatch(msg); m != nil {
			pos.Line, _ = strconv.Atoi(m[1]) // no line in the message leaves 0
			msg = msg[len(m[0]):]
		}
		d.problem(pos, "", "not valid YAML: "+msg)
		return nil
	}
	if err := in.Decode(&second); !errors.Is(err, io.EOF) {
		d.problem(Position{File: name, Line: second.Line, Column: second.Column}, "",
			"a job file holds one YAML document; this one goes on after ---")
		return nil
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		d.problem(Position{File: name}, "", "the file is empty")
		return nil
	}
	doc.root = root.Content[0]
	return doc
}

func (d *decoder) problem(pos Position, key, message string) {
	d.problems = append(d.problems, &Problem{Position: pos, Key: key, Message: message})
}

// failf notes a problem at a node.
func (d *decoder) failf(doc *document, n *yaml.Node, key, format string, args ...any) {
	d.problem(d.at(doc, n), key, fmt.Sprintf(format, args...))
}

// warnf notes something that is accepted but probably not meant.
func (d *decoder) warnf(doc *document, n *yaml.Node, key, format string, args ...any) {
	d.warnings = append(d.warnings, &Problem{Position: d.at(doc, n), Key: key, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) at(doc *document, n *yaml.Node) Position {
	if arg, ok := d.overrides[n]; ok {
		return Position{File: "--set " + arg}
	}
	return Position{File: doc.name, Line: n.Line, Column: n.Column}
}

// follow resolves aliases. It returns nil after noting a problem.
func (d *decoder) follow(doc *document, n *yaml.Node, key string) *yaml.Node {
	for range 100 {
		if d.visited++; d.visited > maxNodes {
			if d.visited == maxNodes+1 {
				d.failf(doc, n, key, "the file is too large, or its aliases repeat too much")
			}
			return nil
		}
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	d.failf(doc, n, key, "aliases nest too deeply")
	return nil
}

// object is a YAML mapping being read. Keys that nobody takes are unknown.
type object struct {
	d     *decoder
	doc   *document
	node  *yaml.Node
	path  string
	keys  map[string]*yaml.Node
	value map[string]*yaml.Node
	order []string
	taken map[string]bool
}

// object reads n as a mapping. It returns nil after noting a problem.
func (d *decoder) object(doc *document, n *yaml.Node, path string) *object {
	if n = d.follow(doc, n, path); n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.failf(doc, n, path, "expected an object (key: value), found %s", describe(n))
		return nil
	}
	o := &object{d: d, doc: doc, node: n, path: path,
		keys: map[string]*yaml.Node{}, value: map[string]*yaml.Node{}, taken: map[string]bool{}}
	o.add(n, 0)
	return o
}

func (o *object) add(n *yaml.Node, depth int) {
	seen := map[string]*yaml.Node{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := o.d.follow(o.doc, n.Content[i], o.path)
		if k == nil {
			return
		}
		v := n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			o.d.failf(o.doc, k, o.path, "a key must be a string, found %s", describe(k))
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if first, dup := seen[k.Value]; dup {
			o.d.failf(o.doc, k, o.key(k.Value), "this key is here twice; the first is in line %d", first.Line)
			continue
		}
		seen[k.Value] = k
		if _, have := o.keys[k.Value]; have {
			continue // what the mapping says itself wins over what it merges
		}
		o.keys[k.Value], o.value[k.Value] = k, v
		o.order = append(o.order, k.Value)
		o.d.note(o.key(k.Value), o.d.at(o.doc, k))
	}
	for _, m := range merges {
		if m = o.d.follow(o.doc, m, o.path); m == nil {
			return
		}
		from := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			from = m.Content
		}
		for _, s := range from {
			if s = o.d.follow(o.doc, s, o.path); s == nil {
				return
			}
			if s.Kind != yaml.MappingNode || depth > 20 {
				o.d.failf(o.doc, s, o.path, "<< needs an object, found %s", describe(s))
				return
			}
			o.add(s, depth+1)
		}
	}
}

func (d *decoder) note(key string, pos Position) {
	if _, have := d.positions[key]; !have {
		d.positions[key] = pos
	}
}

func (o *object) key(k string) string {
	if o.path == "" {
		return k
	}
	return o.path + "." + k
}

// take returns the value of a key, or nil when the file has none.
func (o *object) take(k string) *yaml.Node {
	o.taken[k] = true
	return o.value[k]
}

// has reports whether the mapping has the key, without taking it.
func (o *object) has(k string) bool { return o.value[k] != nil }

// missing notes that a required key is not there.
func (o *object) missing(k, why string) {
	o.d.failf(o.doc, o.node, o.key(k), "this key is required%s", why)
}

// at returns the node of a key, for problems about the key itself.
func (o *object) at(k string) *yaml.Node {
	if n := o.keys[k]; n != nil {
		return n
	}
	return o.node
}

// close notes every key that was not taken.
func (o *object) close() {
	known := slices.Sorted(maps.Keys(o.taken))
	for _, k := range o.order {
		if o.taken[k] {
			continue
		}
		near := hint(k, known)
		if near == "" {
			near = "; known here: " + strings.Join(known, ", ")
		}
		o.d.failf(o.doc, o.keys[k], o.key(k), "unknown key%s", near)
	}
}

// str reads a string. Other scalars are refused as the CLI refuses them, unless
// they come from --set, whose values have no types.
func (d *decoder) str(doc *document, n *yaml.Node, key string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n = d.follow(doc, n, key); n == nil {
		return "", false
	}
	_, set := d.overrides[n]
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
		d.failf(doc, n, key, "expected a string, found %s", describe(n))
	case scalarTag(n) != "!!str" && !set:
		d.failf(doc, n, key, "expected a string, found %s; write it in quotes: %q", describe(n), n.Value)
	default:
		return n.Value, true
	}
	return "", false
}

func (o *object) str(k string) string {
	s, _ := o.d.str(o.doc, o.take(k), o.key(k))
	return s
}

// name reads a string that must not be empty.
func (o *object) name(k string) string {
	s, ok := o.d.str(o.doc, o.take(k), o.key(k))
	if ok && strings.TrimSpace(s) == "" {
		o.d.failf(o.doc, o.value[k], o.key(k), "must not be empty")
	}
	return s
}

// enum reads one of a few words, in any case as the CLI does.
func (o *object) enum(k string, words ...string) string {
	s, ok := o.d.str(o.doc, o.take(k), o.key(k))
	if !ok {
		return ""
	}
	for _, w := range words {
		if strings.EqualFold(s, w) {
			return w
		}
	}
	o.d.failf(o.doc, o.value[k], o.key(k), "%q is not one of %s%s", s, strings.Join(words, ", "), hint(s, words))
	return ""
}

// integer reads a whole number between low and high. It returns nil when the
// key is absent or wrong.
func (o *object) integer(k string, low, high int64) *int64 {
	n := o.take(k)
	if n == nil {
		return nil
	}
	if n = o.d.follow(o.doc, n, o.key(k)); n == nil {
		return nil
	}
	v, ok := wholeNumber(n)
	switch {
	case !ok:
		o.d.failf(o.doc, n, o.key(k), "expected a whole number, found %s", describe(n))
	case v < low:
		o.d.failf(o.doc, n, o.key(k), "must be at least %d, found %d", low, v)
	case v > high:
		o.d.failf(o.doc, n, o.key(k), "must be at most %d, found %d", high, v)
	default:
		return &v
	}
	return nil
}

func (o *object) count(k string, low int64) int {
	if v := o.integer(k, low, 1<<31-1); v != nil {
		return int(*v)
	}
	return 0
}

func (o *object) boolean(k string) *bool {
	n := o.take(k)
	if n == nil {
		return nil
	}
	if n = o.d.follow(o.doc, n, o.key(k)); n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode && scalarTag(n) == "!!bool" {
		b := truth(n.Value)
		return &b
	}
	o.d.failf(o.doc, n, o.key(k), "expected true or false, found %s", describe(n))
	return nil
}

// stringMap reads an object whose values are strings. A null is "" where
// nulls are allowed.
func (o *object) stringMap(k string, nulls bool) map[string]string {
	n := o.take(k)
	if n == nil {
		return nil
	}
	m := o.d.object(o.doc, n, o.key(k))
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m.order))
	for _, name := range m.order {
		v := o.d.follow(o.doc, m.value[name], m.key(name))
		if v == nil {
			return out
		}
		if nulls && v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null" {
			out[name] = ""
			continue
		}
		if s, ok := o.d.str(o.doc, v, m.key(name)); ok {
			out[name] = s
		}
	}
	return out
}

// strings reads a list of strings.
func (o *object) strings(k string) []string {
	n := o.take(k)
	if n == nil {
		return nil
	}
	if n = o.d.follow(o.doc, n, o.key(k)); n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		o.d.failf(o.doc, n, o.key(k), "expected a list, found %s", describe(n))
		return nil
	}
	var out []string
	for i, e := range n.Content {
		if s, ok := o.d.str(o.doc, e, fmt.Sprintf("%s[%d]", o.key(k), i)); ok {
			out = append(out, s)
		}
	}
	return out
}

// maxDepth bounds how deeply free-form values nest; an object that contains
// itself through an alias nests without end.
const maxDepth = 100

// anything turns a node into what encoding/json can write.
func (d *decoder) anything(doc *document, n *yaml.Node, key string, depth int) any {
	if n = d.follow(doc, n, key); n == nil {
		return nil
	}
	if depth > maxDepth {
		if d.visited <= maxNodes {
			d.visited = maxNodes + 1 // one such problem is enough
			d.failf(doc, n, "", "objects and lists nest more than %d deep", maxDepth)
		}
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		o := d.object(doc, n, key)
		if o == nil {
			return nil
		}
		m := make(map[string]any, len(o.order))
		for _, k := range o.order {
			m[k] = d.anything(doc, o.value[k], o.key(k), depth+1)
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for i, e := range n.Content {
			l = append(l, d.anything(doc, e, fmt.Sprintf("%s[%d]", key, i), depth+1))
		}
		return l
	}
	switch scalarTag(n) {
	case "!!null":
		return nil
	case "!!bool":
		return truth(n.Value)
	case "!!int":
		if v, ok := wholeNumber(n); ok {
			return v
		}
	case "!!float":
		var f float64
		if err := n.Decode(&f); err == nil && f-f == 0 {
			return f
		}
	}
	return n.Value
}

// describe says what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	short := n.Value
	if r := []rune(short); len(r) > 40 {
		short = string(r[:40]) + "…"
	}
	switch scalarTag(n) {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "the boolean " + short
	case "!!int", "!!float":
		return "the number " + short
	case "!!timestamp":
		return "the date " + short
	}
	return strconv.Quote(short)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
