package jobspec

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// expression is ${{…}} in a command.
var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// singleBrace is the deprecated {inputs.x}; Go has no look-behind, so the
// character before is captured.
var singleBrace = regexp.MustCompile(`(^|[^{])\{((?:inputs|outputs)\.[^{}]*)\}`)

// expressions checks that a command refers only to what the job declares.
func (d *decoder) expressions(o *object, n *yaml.Node, j *Job) {
	if n = d.follow(o.doc, n, o.key("command")); n == nil {
		return
	}
	nth := map[string]int{}
	for _, m := range expression.FindAllStringSubmatch(j.Command, -1) {
		whole, expr := m[0], m[1]
		pos := d.locate(o.doc, n, whole, nth[whole])
		nth[whole]++
		kind, name, _ := strings.Cut(expr, ".")
		var declared []string
		switch kind {
		case "inputs":
			declared = sortedKeys(j.Inputs)
			if _, ok := j.Inputs[name]; ok {
				continue
			}
		case "outputs":
			declared = sortedKeys(j.Outputs)
			if _, ok := j.Outputs[name]; ok {
				continue
			}
		case "search_space", "parent":
			if j.Sweep != nil && kind == "search_space" {
				if _, ok := j.Sweep.SearchSpace[name]; !ok {
					d.problem(pos, o.key("command"), whole+": search_space declares no "+name+hint(name, sortedKeys(j.Sweep.SearchSpace)))
				}
				continue
			}
			d.problem(pos, o.key("command"), whole+" has a meaning only in "+map[string]string{
				"search_space": "sweep", "parent": "pipeline"}[kind]+" jobs")
			continue
		default:
			d.problem(pos, o.key("command"), whole+" is not known: ${{inputs.<name>}} and ${{outputs.<name>}} are"+
				hint(kind, []string{"inputs", "outputs"}))
			continue
		}
		// A problem with the declarations themselves has been noted already.
		if j.Sweep == nil && o.has(kind) && len(declared) < len(mappingKeys(o.value[kind])) {
			continue
		}
		d.problem(pos, o.key("command"), whole+": "+kind+" declares no "+name+hint(name, declared))
	}
	for _, m := range singleBrace.FindAllStringSubmatch(j.Command, -1) {
		whole := "{" + m[2] + "}"
		d.warnings = append(d.warnings, &Problem{Position: d.locate(o.doc, n, whole, 0), Key: o.key("command"),
			Message: whole + " is deprecated and is not expanded here; write ${{" + m[2] + "}}"})
	}
}

func mappingKeys(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	keys := make([]*yaml.Node, 0, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i])
	}
	return keys
}

// locate finds the nth occurrence of text in the source of a node, and falls
// back to where the node begins (folded text may be broken over lines).
func (d *decoder) locate(doc *document, n *yaml.Node, text string, nth int) Position {
	pos := d.at(doc, n)
	if _, set := d.overrides[n]; set || n.Line == 0 {
		return pos
	}
	line, rest := 1, doc.text
	for line < n.Line {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return pos
		}
		rest, line = rest[i+1:], line+1
	}
	for len(rest) > 0 {
		row, after, _ := bytes.Cut(rest, []byte("\n"))
		from := 0
		if line == n.Line {
			from = min(max(n.Column-1, 0), len(row))
		}
		for {
			i := bytes.Index(row[from:], []byte(text))
			if i < 0 {
				break
			}
			if nth == 0 {
				// Columns count characters, as the YAML library's do.
				return Position{File: pos.File, Line: line, Column: len([]rune(string(row[:from+i]))) + 1}
			}
			nth--
			from += i + len(text)
		}
		rest, line = after, line+1
	}
	return pos
}
