package kql

import "slices"

// expr reads a scalar expression: or, and, equality, comparison, sum, product,
// string operators, sign, in the order of how tightly they bind.
func (p *parser) expr() exprNode {
	if !p.enter() {
		p.leave()
		return &starExpr{}
	}
	defer p.leave()
	return p.chain("or", func() exprNode { return p.chain("and", p.equality) })
}

func (p *parser) chain(word string, next func() exprNode) exprNode {
	first := next()
	if !p.isWord(word) {
		return first
	}
	n := &logicExpr{at: p.tok().at, op: word, terms: []exprNode{first}}
	for p.err == nil && p.acceptWord(word) {
		n.terms = append(n.terms, next())
	}
	return n
}

func (p *parser) equality() exprNode {
	l := p.relational()
	t := p.tok()
	switch {
	case t.kind == tPunct && (t.text == "==" || t.text == "!=" || t.text == "<>"):
		p.i++
		op := t.text
		if op == "<>" {
			op = "!="
		}
		return &binaryExpr{at: t.at, op: op, l: l, r: p.relational()}
	case isInOperator(t):
		p.i++
		n := &inExpr{at: t.at, op: t.text, l: l}
		p.expect("(")
		for p.err == nil && !p.accept(")") {
			n.list = append(n.list, p.pipe())
			if !p.isPunct(")") {
				p.expect(",")
			}
		}
		return n
	case t.kind == tName && t.text == "between", t.kind == tPunct && t.text == "!between":
		p.i++
		n := &betweenExpr{at: t.at, not: t.text[0] == '!', x: l}
		p.expect("(")
		n.lo = p.additive()
		p.expect("..")
		n.hi = p.additive()
		p.expect(")")
		return n
	}
	return l
}

func isInOperator(t *token) bool {
	switch t.text {
	case "in", "has_any", "has_all":
		return t.kind == tName
	case "in~", "!in", "!in~":
		return t.kind == tPunct
	}
	return false
}

func (p *parser) relational() exprNode {
	l := p.additive()
	if t := p.tok(); t.kind == tPunct {
		switch t.text {
		case "<", ">", "<=", ">=":
			p.i++
			return &binaryExpr{at: t.at, op: t.text, l: l, r: p.additive()}
		}
	}
	return l
}

func (p *parser) additive() exprNode {
	return p.binary(p.multiplicative, "+", "-")
}

func (p *parser) multiplicative() exprNode {
	return p.binary(p.stringOp, "*", "/", "%")
}

func (p *parser) binary(next func() exprNode, ops ...string) exprNode {
	l := next()
	for n := 0; p.err == nil; n++ {
		t := p.tok()
		if t.kind != tPunct || !slices.Contains(ops, t.text) {
			break
		}
		if n >= maxChain {
			p.failHere("the expression is too long")
			break
		}
		p.i++
		l = &binaryExpr{at: t.at, op: t.text, l: l, r: next()}
	}
	return l
}

func (p *parser) stringOp() exprNode {
	l := p.unary()
	t := p.tok()
	op := ""
	switch {
	case t.kind == tPunct && (t.text == "=~" || t.text == "!~" || len(t.text) > 3 && t.text[0] == '!' && t.text != "!between" && t.text != "!in~"):
		op = t.text
	case p.inSearch && t.kind == tPunct && t.text == ":":
		op = ":"
	case t.kind == tName && t.text == "matches" && p.peek(1).text == "regex":
		p.i++
		op = "matches regex"
	case t.kind == tName && t.text != "in" && t.text != "between" && isWordOperator(t.text):
		op = t.text
	default:
		return l
	}
	p.i++
	return &binaryExpr{at: t.at, op: op, l: l, r: p.unary()}
}

func (p *parser) unary() exprNode {
	if t := p.tok(); t.kind == tPunct && (t.text == "-" || t.text == "+") {
		p.i++
		return &unaryExpr{at: t.at, op: t.text, x: p.postfix()}
	}
	return p.postfix()
}

func (p *parser) postfix() exprNode {
	e := p.primary()
	for n := 0; p.err == nil; n++ {
		t := p.tok()
		if n >= maxDepth {
			p.failHere("the path is too long")
		}
		switch {
		case t.kind == tPunct && t.text == ".":
			p.i++
			switch {
			case p.tok().kind == tQuoted:
				e = &pathExpr{at: p.tok().at, x: e, name: p.name()}
			case p.accept("["):
				e = &indexExpr{at: t.at, x: e, i: p.expr()}
				p.expect("]")
			default:
				at := p.tok().at
				name := p.name()
				if p.isPunct("(") { // database("x").Table and the like
					p.failAt(at, at+len(name), "functions are not called on values")
				}
				e = &pathExpr{at: at, x: e, name: name}
			}
		case t.kind == tPunct && t.text == "[":
			p.i++
			e = &indexExpr{at: t.at, x: e, i: p.expr()}
			p.expect("]")
		case t.kind == tQuoted: // a['name']
			p.i++
			e = &pathExpr{at: t.at, x: e, name: t.text}
		default:
			return e
		}
	}
	return e
}

// literal reads a literal, or returns nil.
func (p *parser) literal() *litExpr {
	t := p.tok()
	switch t.kind {
	case tLiteral:
		p.i++
		return &litExpr{at: t.at, val: t.val, typ: t.typ}
	case tDynamic:
		v, err := parseDynamicLiteral(t.text, 0)
		if err != nil {
			p.failAt(t.at, t.end, "not a dynamic literal: "+err.Error())
			return nil
		}
		p.i++
		return &litExpr{at: t.at, val: v, typ: Dynamic}
	}
	return nil
}

func (p *parser) primary() exprNode {
	t := p.tok()
	if lit := p.literal(); lit != nil {
		return lit
	}
	switch {
	case t.kind == tPunct && t.text == "(":
		p.i++
		e := p.pipe()
		p.expect(")")
		return e
	case t.kind == tPunct && t.text == "*":
		p.i++
		return &starExpr{at: t.at}
	case t.kind == tQuoted:
		p.i++
		return &nameExpr{at: t.at, name: t.text}
	case t.kind == tName:
		p.i++
		if t.text == "datatable" && p.isPunct("(") {
			return p.datatable(t.at)
		}
		if t.text == "typeof" && p.accept("(") {
			e := &typeExpr{at: t.at, typ: p.typeName()}
			p.expect(")")
			return e
		}
		if p.isPunct("(") {
			return p.call(t)
		}
		return &nameExpr{at: t.at, name: t.text}
	}
	if p.err == nil {
		p.failHere("")
	}
	return &starExpr{at: t.at}
}

func (p *parser) call(t *token) exprNode {
	n := &callExpr{at: t.at, fn: t.text}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		a := argNode{}
		if nt := p.tok(); (nt.kind == tName || nt.kind == tQuoted) && p.peek(1).kind == tPunct && p.peek(1).text == "=" {
			p.skip(2)
			a.names = []string{nt.text}
		}
		a.e = p.pipe()
		n.args = append(n.args, a)
		if !p.isPunct(")") {
			p.expect(",")
		}
	}
	return n
}

func (p *parser) datatable(at int) exprNode {
	n := &datatableExpr{at: at}
	p.expect("(")
	n.cols = p.schema()
	if len(n.cols) == 0 && p.err == nil {
		p.failHere("a datatable needs columns")
	}
	if p.tok().kind == tQuoted { // ["text"] reads as one token
		t := p.advance()
		n.rows = append(n.rows, litExpr{at: t.at, val: StringValue(t.text), typ: String})
	} else {
		p.expect("[")
		for p.err == nil && !p.accept("]") {
			neg := p.accept("-")
			if !neg {
				p.accept("+")
			}
			lit := p.literal()
			if lit == nil {
				if p.err == nil {
					p.failHere("expected a literal")
				}
				break
			}
			if neg {
				lit.val = negate(lit.val)
			}
			n.rows = append(n.rows, *lit)
			if !p.isPunct("]") {
				p.expect(",")
			}
		}
	}
	if p.err == nil && len(n.rows)%len(n.cols) != 0 {
		p.failAt(at, at+len("datatable"), "the number of values is not a multiple of the number of columns")
	}
	return n
}

// negate turns the sign of a number or timespan.
func negate(v Value) Value {
	switch v.k {
	case kReal:
		return RealValue(-v.Real())
	case kInt, kLong, kTimeSpan:
		v.n = -v.n
	}
	return v
}
