package kql

import "strings"

// operatorNames lists the tabular operators, with their other spellings.
func operatorNames() []string {
	return []string{
		"as", "count", "distinct", "extend", "filter", "getschema", "invoke", "join", "limit", "lookup", "make-series",
		"mv-apply", "mv-expand", "mvexpand", "order", "parse", "parse-where", "print", "project", "project-away", "project-keep",
		"project-rename", "project-reorder", "range", "render", "sample", "sample-distinct", "search", "serialize", "sort", "summarize",
		"take", "top", "union", "where",
	}
}

// operator reads one tabular operator with everything that belongs to it.
func (p *parser) operator() opNode {
	t := p.tok()
	n := opNode{at: t.at}
	if t.kind != tName {
		if p.err == nil {
			p.failHere("expected an operator")
		}
		return n
	}
	p.i++
	n.name = t.text
	end := t.end
	for p.isPunct("-") && p.tok().at == end && p.peek(1).kind == tName && p.peek(1).at == p.tok().end {
		n.name += "-" + p.peek(1).text
		end = p.peek(1).end
		p.skip(2)
	}
	switch n.name {
	case "where", "filter":
		n.name = "where"
		p.params(&n)
		n.args = []argNode{{e: p.expr()}}
	case "extend", "project", "print":
		if n.name == "project" && p.atOperatorEnd() {
			break
		}
		n.args = p.args()
	case "serialize":
		if !p.atOperatorEnd() {
			n.args = p.args()
		}
	case "project-away", "project-keep", "project-reorder":
		p.columnPats(&n)
	case "project-rename":
		if !p.atOperatorEnd() {
			n.args = p.args()
		}
	case "summarize":
		p.params(&n)
		if !p.isWord("by") {
			n.args = p.args()
		}
		if p.acceptWord("by") {
			n.by = p.args()
		}
	case "distinct":
		p.params(&n)
		n.args = p.args()
	case "count":
		p.params(&n)
	case "getschema":
	case "invoke":
		n.args = []argNode{{e: p.postfix()}}
	case "as":
		p.params(&n)
		n.args = []argNode{{names: []string{p.name()}}}
	case "take", "limit", "sample":
		p.params(&n)
		n.args = []argNode{{e: p.expr()}}
		if n.name == "limit" {
			n.name = "take"
		}
	case "sample-distinct":
		n.args = []argNode{{e: p.expr()}}
		p.expectWord("of")
		n.by = []argNode{p.arg()}
	case "sort", "order":
		n.name = "sort"
		p.params(&n)
		p.expectWord("by")
		p.orderBy(&n)
	case "top":
		p.params(&n)
		n.args = []argNode{{e: p.expr()}}
		p.expectWord("by")
		p.orderBy(&n)
	case "join", "lookup":
		p.params(&n)
		n.table = p.postfix()
		if p.acceptWord("on") {
			n.by = p.args()
		}
	case "union":
		p.params(&n)
		p.tableList(&n)
	case "search":
		p.search(&n)
	case "range":
		n.args = []argNode{{names: []string{p.name()}}}
		p.expectWord("from")
		n.args = append(n.args, argNode{e: p.expr()})
		p.expectWord("to")
		n.args = append(n.args, argNode{e: p.expr()})
		p.expectWord("step")
		n.args = append(n.args, argNode{e: p.expr()})
	case "mv-expand", "mvexpand":
		n.name = "mv-expand"
		p.params(&n)
		p.expansions(&n)
	case "mv-apply":
		p.params(&n)
		p.expansions(&n)
		p.expectWord("on")
		p.expect("(")
		n.sub = &pipeExpr{at: p.tok().at}
		if p.enter() {
			for p.err == nil {
				n.sub.ops = append(n.sub.ops, p.operator())
				if !p.accept("|") {
					break
				}
			}
			p.expect(")")
		}
		p.leave()
	case "parse", "parse-where":
		p.params(&n)
		n.args = []argNode{{e: p.expr()}}
		p.expectWord("with")
		p.parsePattern(&n)
	case "make-series":
		p.params(&n)
		p.makeSeries(&n)
	case "render":
		p.renderWith(&n)
	default:
		p.failAt(t.at, end, "unknown operator '"+n.name+"'")
	}
	return n
}

// atOperatorEnd reports whether nothing of the operator follows.
func (p *parser) atOperatorEnd() bool {
	t := p.tok()
	return t.kind == tEnd || t.kind == tPunct && (t.text == "|" || t.text == ";" || t.text == ")" || t.text == "}")
}

// params reads name=value pairs. Hints are read and have no effect: they change
// how the service works, not what it answers.
func (p *parser) params(n *opNode) {
	for p.err == nil {
		t := p.tok()
		if t.kind != tName {
			return
		}
		name := t.text
		switch {
		case name == "hint" && p.peek(1).text == "." && p.peek(2).kind == tName && p.peek(3).text == "=":
			p.skip(4)
			if p.literal() == nil {
				p.name()
			}
			continue
		case p.peek(1).kind != tPunct || p.peek(1).text != "=":
			return
		case !isParam(n.name, name):
			return
		}
		p.skip(2)
		v := p.tok()
		value := v.text
		if v.kind == tLiteral {
			value = v.val.String()
		}
		if v.kind != tLiteral && v.kind != tName && v.kind != tQuoted {
			p.failHere("expected a value of " + name)
			return
		}
		p.i++
		if n.params == nil {
			n.params = map[string]string{}
		}
		n.params[name] = value
	}
}

func isParam(op, name string) bool {
	switch op {
	case "join", "lookup", "make-series", "search", "as":
		return name == "kind"
	case "union":
		return name == "kind" || name == "withsource" || name == "with_source" || name == "isfuzzy"
	case "mv-apply":
		return name == "with_itemindex"
	case "mv-expand", "mvexpand":
		return name == "kind" || name == "bagexpansion" || name == "with_itemindex"
	case "parse", "parse-where":
		return name == "kind" || name == "flags"
	}
	return false
}

func (p *parser) columnPats(n *opNode) {
	if p.atOperatorEnd() {
		return
	}
	for p.err == nil {
		c := p.pattern()
		if n.name == "project-reorder" {
			switch t := p.tok(); {
			case t.kind == tName && (t.text == "asc" || t.text == "desc"):
				c.order = t.text
				p.i++
			case t.kind == tName && t.text == "granny" && p.peek(1).text == "-" && (p.peek(2).text == "asc" || p.peek(2).text == "desc"):
				c.order = "granny-" + p.peek(2).text
				p.skip(3)
			}
		}
		n.cols = append(n.cols, c)
		if !p.accept(",") {
			return
		}
	}
}

func (p *parser) orderBy(n *opNode) {
	for p.err == nil {
		o := orderNode{e: p.arg()}
		if p.acceptWord("asc") {
			o.asc = true
		} else {
			p.acceptWord("desc")
		}
		// Nulls come first in ascending and last in descending order.
		o.nullsFirst = o.asc
		if p.acceptWord("nulls") {
			o.nullsFirst = p.isWord("first")
			if !p.acceptWord("first") {
				p.expectWord("last")
			}
		}
		n.order = append(n.order, o)
		if !p.accept(",") {
			return
		}
	}
}

// tableList reads the tables of a union: names, names with wildcards, and
// expressions in parentheses.
func (p *parser) tableList(n *opNode) {
	for p.err == nil {
		if t := p.tok(); t.kind == tName && p.peek(1).text == "*" && p.peek(1).at == t.end || t.kind == tPunct && t.text == "*" {
			c := p.pattern()
			n.tables = append(n.tables, &wildcardExpr{at: c.at, pattern: c.pattern})
		} else {
			n.tables = append(n.tables, p.postfix())
		}
		if !p.accept(",") {
			return
		}
	}
}

func (p *parser) search(n *opNode) {
	p.params(n)
	if p.isWord("in") && p.peek(1).text == "(" {
		p.skip(2)
		p.tableList(n)
		p.expect(")")
	}
	if p.isPunct("*") && p.peek(1).kind != tEnd && p.peek(1).text == "and" {
		p.skip(2)
	}
	before := p.inSearch
	p.inSearch = true
	n.args = []argNode{{e: p.expr()}}
	p.inSearch = before
}

func (p *parser) expansions(n *opNode) {
	for p.err == nil {
		n.args = append(n.args, p.arg())
		typ := Type(0)
		if p.acceptWord("to") {
			p.expectWord("typeof")
			p.expect("(")
			typ = p.typeName()
			p.expect(")")
		}
		n.types = append(n.types, typ)
		if !p.accept(",") {
			break
		}
	}
	if p.acceptWord("limit") {
		n.limit = p.primary()
	}
}

func (p *parser) parsePattern(n *opNode) {
	for p.err == nil && !p.atOperatorEnd() {
		t := p.tok()
		part := parsePart{at: t.at}
		switch {
		case p.accept("*"):
			part.star = true
		case t.kind == tLiteral && t.typ == String:
			p.i++
			part.text = t.val.s
		default:
			part.col = p.name()
			part.typ = String
			if p.accept(":") {
				part.typ = p.typeName()
			}
		}
		n.parse = append(n.parse, part)
	}
	if p.err == nil && len(n.parse) == 0 {
		p.failHere("expected a pattern")
	}
}

func (p *parser) makeSeries(n *opNode) {
	s := &seriesNode{}
	n.series = s
	for p.err == nil {
		n.args = append(n.args, p.arg())
		var def exprNode
		if p.isWord("default") && p.peek(1).text == "=" {
			p.skip(2)
			def = p.expr()
		}
		s.defaults = append(s.defaults, def)
		if !p.accept(",") {
			break
		}
	}
	p.expectWord("on")
	if t := p.tok(); (t.kind == tName || t.kind == tQuoted) && p.peek(1).text == "=" {
		p.skip(2)
		s.on.names = []string{t.text}
	}
	s.on.e = p.postfix()
	if p.isWord("in") && p.peek(1).text == "range" {
		p.skip(2)
		s.inRange = true
		p.expect("(")
		s.from = p.expr()
		p.expect(",")
		s.to = p.expr()
		p.expect(",")
		s.step = p.expr()
		p.expect(")")
	} else {
		if p.acceptWord("from") {
			s.from = p.expr()
		}
		if p.acceptWord("to") {
			s.to = p.expr()
		}
		p.expectWord("step")
		s.step = p.expr()
	}
	if p.acceptWord("by") {
		n.by = p.args()
	}
}

func (p *parser) renderWith(n *opNode) {
	n.render = &Render{Visualization: p.name(), Properties: map[string]string{}}
	if !p.acceptWord("with") {
		// The older form: title="x" kind=stacked, without parentheses.
		for p.err == nil && p.tok().kind == tName && p.peek(1).text == "=" {
			p.property(n.render)
		}
		return
	}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		p.property(n.render)
		if !p.isPunct(")") {
			p.expect(",")
		}
	}
}

// property reads name=value or name=a,b,c.
func (p *parser) property(r *Render) {
	name := p.name()
	p.expect("=")
	var values []string
	for p.err == nil {
		neg := ""
		if p.accept("-") {
			neg = "-"
		}
		t := p.tok()
		switch t.kind {
		case tLiteral:
			values = append(values, neg+t.val.String())
		case tName, tQuoted:
			values = append(values, t.text)
		default:
			p.failHere("expected a value of " + name)
			return
		}
		p.i++
		// In a list of columns, the next item is not followed by =.
		if !p.isPunct(",") || p.peek(2).text == "=" {
			break
		}
		p.i++
	}
	r.Properties[strings.ToLower(name)] = strings.Join(values, ",")
}
