package kql

import "strings"

const (
	// maxDepth is how deep expressions may nest. It bounds the stack of every
	// later walk.
	maxDepth = 200
	// maxChain is how many operators may follow each other, in a pipe or in a
	// chain of arithmetic.
	maxChain = 1000
)

// parser is a recursive descent over the tokens. The first error stands; after it
// every method returns at once.
type parser struct {
	text  string
	toks  []token
	i     int
	depth int
	err   error
	// inSearch allows column:"term".
	inSearch bool
}

// statements reads the whole query.
func (p *parser) statements() ([]letNode, exprNode) {
	var lets []letNode
	var main exprNode
	for p.err == nil && p.tok().kind != tEnd {
		switch {
		case p.accept(";"):
		case p.isWord("let") && p.peek(1).kind != tPunct:
			if main != nil {
				p.failHere("a let statement after the query's expression")
				break
			}
			lets = append(lets, p.let())
		case main != nil:
			p.failHere("only one tabular expression is supported")
		case p.isWord("set") && p.peek(1).kind == tName, p.isWord("declare") && p.peek(1).kind == tName,
			p.isWord("alias") && p.peek(1).kind == tName, p.isWord("restrict") && p.peek(1).kind == tName:
			p.failHere("the statement '" + p.tok().text + "' is not supported")
		default:
			main = p.pipe()
		}
		if p.err == nil && p.tok().kind != tEnd && !p.accept(";") {
			p.failHere("")
		}
	}
	if p.err == nil && main == nil {
		p.failHere("the query has no tabular expression")
	}
	return lets, main
}

func (p *parser) tok() *token { return &p.toks[p.i] }

func (p *parser) peek(n int) *token { return &p.toks[min(p.i+n, len(p.toks)-1)] }

func (p *parser) advance() *token {
	t := &p.toks[p.i]
	if t.kind != tEnd {
		p.i++
	}
	return t
}

// skip passes over n tokens, at most to the end.
func (p *parser) skip(n int) { p.i = min(p.i+n, len(p.toks)-1) }

func (p *parser) failHere(detail string) {
	t := p.tok()
	p.failAt(t.at, t.end, detail)
}

func (p *parser) failAt(at, end int, detail string) {
	if p.err == nil {
		p.err = syntaxError(p.text, at, end, detail)
	}
	p.i = len(p.toks) - 1 // the end token: every loop stops
}

func (p *parser) isPunct(s string) bool { t := p.tok(); return t.kind == tPunct && t.text == s }

func (p *parser) isWord(s string) bool { t := p.tok(); return t.kind == tName && t.text == s }

func (p *parser) accept(s string) bool {
	if p.isPunct(s) {
		p.i++
		return true
	}
	return false
}

func (p *parser) acceptWord(s string) bool {
	if p.isWord(s) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) && p.err == nil {
		p.failHere("expected '" + s + "'")
	}
}

func (p *parser) expectWord(s string) {
	if !p.acceptWord(s) && p.err == nil {
		p.failHere("expected '" + s + "'")
	}
}

// name reads an identifier, a keyword used as one, or a bracketed name.
func (p *parser) name() string {
	t := p.tok()
	if t.kind != tName && t.kind != tQuoted {
		if p.err == nil {
			p.failHere("expected a name")
		}
		return ""
	}
	p.i++
	return t.text
}

func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		if p.err == nil {
			p.failHere("")
			line, pos := place(p.text, p.tok().at)
			p.err = &Error{Kind: KindLimit, Message: "the query is nested too deeply", Line: line, Pos: pos}
		}
		return false
	}
	return true
}

func (p *parser) leave() { p.depth-- }

// let reads `let name = value`.
func (p *parser) let() letNode {
	n := letNode{at: p.advance().at}
	if p.enter() {
		n.name = p.name()
		p.expect("=")
		view := p.isWord("view") && p.peek(1).text == "(" && p.acceptWord("view")
		if p.isFunction() {
			n.fn = p.function()
			n.fn.view = view
		} else {
			n.value = p.pipe()
		}
	}
	p.leave()
	return n
}

// isFunction reports whether a lambda starts here: () { or (name: .
func (p *parser) isFunction() bool {
	if !p.isPunct("(") {
		return false
	}
	if t := p.peek(1); t.kind == tPunct && t.text == ")" {
		return p.peek(2).text == "{"
	}
	return (p.peek(1).kind == tName || p.peek(1).kind == tQuoted) && p.peek(2).kind == tPunct && p.peek(2).text == ":"
}

func (p *parser) function() *funcNode {
	f := &funcNode{}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		f.params = append(f.params, p.param())
		if !p.isPunct(")") {
			p.expect(",")
		}
	}
	p.expect("{")
	for p.err == nil && p.isWord("let") {
		f.lets = append(f.lets, p.let())
		p.expect(";")
	}
	f.body = p.pipe()
	p.accept(";")
	p.expect("}")
	return f
}

func (p *parser) param() paramNode {
	n := paramNode{at: p.tok().at, name: p.name()}
	p.expect(":")
	if p.accept("(") {
		if p.accept("*") {
			n.open = true
			p.expect(")")
		} else {
			n.schema = p.schema()
		}
		return n
	}
	n.typ = p.typeName()
	if p.accept("=") {
		neg := p.accept("-")
		lit := p.literal()
		if lit == nil {
			p.failHere("expected a literal")
			return n
		}
		if neg {
			lit.val = negate(lit.val)
		}
		n.def = lit
	}
	return n
}

// schema reads `name: type, …)`.
func (p *parser) schema() []Column {
	var cols []Column
	for p.err == nil && !p.accept(")") {
		name := p.name()
		p.expect(":")
		cols = append(cols, Column{Name: name, Type: p.typeName()})
		if !p.isPunct(")") {
			p.expect(",")
		}
	}
	return cols
}

func (p *parser) typeName() Type {
	t := p.tok()
	typ := Type(0)
	if t.kind == tName {
		typ = typeNamed(t.text)
	}
	if typ == 0 {
		if p.err == nil {
			p.failHere("expected a type")
		}
		return String
	}
	p.i++
	return typ
}

// pipe reads an expression and the operators after it. Without operators it is
// the expression itself.
func (p *parser) pipe() exprNode {
	if !p.enter() {
		p.leave()
		return &starExpr{}
	}
	defer p.leave()
	n := &pipeExpr{at: p.tok().at}
	if p.isSourceOperator() {
		n.ops = append(n.ops, p.operator())
	} else {
		n.src = p.expr()
	}
	for p.err == nil && p.accept("|") {
		n.ops = append(n.ops, p.operator())
		if len(n.ops) > maxChain {
			p.failHere("too many operators")
		}
	}
	if n.src != nil && len(n.ops) == 0 {
		return n.src
	}
	return n
}

func (p *parser) isSourceOperator() bool {
	t := p.tok()
	if t.kind != tName {
		return false
	}
	next := p.peek(1)
	switch t.text {
	case "print":
		return next.kind != tEnd && !(next.kind == tPunct && (next.text == "|" || next.text == ";"))
	case "range":
		return next.kind == tName || next.kind == tQuoted
	case "evaluate", "find":
		return next.kind == tName
	case "union", "search":
		return next.kind != tEnd && !(next.kind == tPunct && (next.text == "|" || next.text == ";" || next.text == "," || next.text == ")"))
	}
	return false
}

// args reads expressions with optional names, at least one.
func (p *parser) args() []argNode {
	var list []argNode
	for p.err == nil {
		list = append(list, p.arg())
		if !p.accept(",") {
			break
		}
	}
	return list
}

func (p *parser) arg() argNode {
	t := p.tok()
	if (t.kind == tName || t.kind == tQuoted) && p.peek(1).kind == tPunct && p.peek(1).text == "=" {
		p.skip(2)
		return argNode{names: []string{t.text}, e: p.expr()}
	}
	if names := p.nameList(); names != nil {
		return argNode{names: names, e: p.expr()}
	}
	return argNode{e: p.expr()}
}

// nameList reads `(a, b) =`, or nothing.
func (p *parser) nameList() []string {
	if !p.isPunct("(") {
		return nil
	}
	var names []string
	for i := 1; ; i += 2 {
		t, sep := p.peek(i), p.peek(i+1)
		if t.kind != tName && t.kind != tQuoted || sep.kind != tPunct {
			return nil
		}
		names = append(names, t.text)
		if sep.text == "," {
			continue
		}
		if eq := p.peek(i + 2); sep.text != ")" || eq.kind != tPunct || eq.text != "=" {
			return nil
		}
		p.skip(i + 3)
		return names
	}
}

// pattern reads a name with wildcards, such as req*.
func (p *parser) pattern() columnPat {
	c := columnPat{at: p.tok().at}
	end := c.at
	var b strings.Builder
	for p.err == nil {
		t := p.tok()
		if b.Len() > 0 && t.at != end || t.kind != tName && t.kind != tQuoted && !(t.kind == tPunct && t.text == "*") {
			break
		}
		b.WriteString(t.text)
		end = t.end
		p.i++
	}
	if b.Len() == 0 && p.err == nil {
		p.failHere("expected a name")
	}
	c.pattern = b.String()
	return c
}
