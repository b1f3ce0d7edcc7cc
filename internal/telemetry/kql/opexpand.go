package kql

import (
	"regexp"
	"slices"
	"strings"
)

// quoteRegex makes text match itself.
func quoteRegex(s string) string { return regexp.QuoteMeta(s) }

// expandOp is mv-expand: a row becomes one for each element.
type expandOp struct {
	lay   *layout
	exprs []*expr
	types []Type // 0 leaves dynamic
	slots []int
	index int // the slot of the index, or -1
	pairs bool
	limit int64
}

func (b *binder) mvExpand(p *pipe, n *opNode, en *env) {
	b.window = nil
	sc := p.scope()
	op := &expandOp{lay: p.lay, types: n.types, index: -1, limit: 1<<31 - 1}
	mode := n.params["kind"]
	if mode == "" {
		mode = n.params["bagexpansion"]
	}
	if mode != "" && mode != "bag" && mode != "array" {
		b.fail(n.at, "", "unknown kind '%s'", mode)
		return
	}
	op.pairs = mode == "array"
	if n.limit != nil {
		op.limit = b.constantInt(n.limit, en)
	}
	cols := slices.Clone(p.cols)
	taken := map[string]bool{}
	for _, c := range cols {
		taken[c.name] = true
	}
	for i, a := range n.args {
		x := b.expr(a.e, sc, en)
		if b.failed() || !b.single(a) {
			return
		}
		if x.typ != Dynamic {
			b.fail(x.at, "", "a value of type dynamic is expected here, not %s", x.typ)
			return
		}
		t := n.types[i]
		if t == 0 {
			t = Dynamic
		}
		name := columnName(a, x, taken)
		c := col{name: name, typ: t, slot: p.lay.add()}
		op.exprs, op.slots = append(op.exprs, x), append(op.slots, c.slot)
		if at := slices.IndexFunc(cols, func(o col) bool { return o.name == name }); at >= 0 {
			cols[at] = c
		} else {
			taken[name] = true
			cols = append(cols, c)
		}
	}
	if name := n.params["with_itemindex"]; name != "" {
		op.index = p.lay.add()
		cols = append(cols, col{name: uniqueName(name, taken), typ: Long, slot: op.index})
	}
	p.ops = append(p.ops, op)
	p.cols = cols
}

func (o *expandOp) prune() {
	for _, e := range o.exprs {
		mark(o.lay, e.refs)
	}
}

// castElement gives an element the declared type. Numbers and booleans are not
// read out of strings.
func castElement(v Value, t Type) Value {
	switch {
	case t == 0 || t == Dynamic:
		return v
	case v.k == kString && (isNumber(t) || t == Bool):
		return Value{}
	}
	return cast(v, t)
}

func (o *expandOp) start(x *exec, next sink) sink {
	lists := make([][]Value, len(o.exprs))
	return &funcSink{onPush: func(f []Value) bool {
		n := 0
		for i, e := range o.exprs {
			lists[i] = o.list(e.eval(f))
			n = max(n, len(lists[i]))
		}
		n = int(min(int64(n), o.limit))
		for row := range n {
			for i, l := range lists {
				var v Value
				if row < len(l) {
					v = castElement(l[row], o.types[i])
				}
				f[o.slots[i]] = v
			}
			if o.index >= 0 {
				f[o.index] = LongValue(int64(row))
			}
			if !x.tick() || !next.push(f) {
				return false
			}
		}
		return true
	}, onFlush: next.flush}
}

// list returns what a value expands to.
func (o *expandOp) list(v Value) []Value {
	v = v.expand()
	switch v.k {
	case kArray:
		return v.d.items
	case kBag:
		out := make([]Value, len(v.d.items))
		for i, k := range v.d.keys {
			if o.pairs {
				out[i] = arrayValue([]Value{StringValue(k), v.d.items[i]})
			} else {
				out[i] = bagValue([]string{k}, []Value{v.d.items[i]})
			}
		}
		return out
	}
	return []Value{v}
}

// parseOp is parse and parse-where.
type parseOp struct {
	lay    *layout
	expr   *expr
	re     *regexp.Regexp
	groups []int // of the expression, one per column
	types  []Type
	slots  []int
	strict bool // a value that is not of its type spoils all
	where  bool // rows that do not match are left out
}

func (b *binder) parseText(p *pipe, n *opNode, en *env) {
	kind := n.params["kind"]
	if kind == "" {
		kind = "simple"
	}
	if kind != "simple" && kind != "regex" && kind != "relaxed" {
		b.fail(n.at, "", "unknown kind '%s'", kind)
		return
	}
	x := b.expr(n.args[0].e, p.scope(), en)
	if b.failed() {
		return
	}
	op := &parseOp{lay: p.lay, expr: castExpr(x, String), strict: kind != "relaxed", where: n.name == "parse-where"}
	pattern := b.parseRegex(n, kind, op)
	if b.failed() {
		return
	}
	flags := ""
	if f := n.params["flags"]; f != "" {
		flags = "(?" + f + ")"
	}
	re, err := regexp.Compile(flags + pattern)
	if err != nil {
		b.fail(n.at, "", "the pattern is not a regular expression: %v", err)
		return
	}
	op.re = re
	cols := slices.Clone(p.cols)
	i := 0
	for _, part := range n.parse {
		if part.col == "" {
			continue
		}
		op.groups = append(op.groups, re.SubexpIndex(groupName(i)))
		c := col{name: part.col, typ: part.typ, slot: p.lay.add()}
		op.types, op.slots = append(op.types, c.typ), append(op.slots, c.slot)
		if at := slices.IndexFunc(cols, func(o col) bool { return o.name == c.name }); at >= 0 {
			cols[at] = c
		} else {
			cols = append(cols, c)
		}
		i++
	}
	p.ops = append(p.ops, op)
	p.open = p.open && !op.where
	p.cols = cols
}

func groupName(i int) string { return "kqlcolumn" + string(rune('a'+i/26)) + string(rune('a'+i%26)) }

// parseRegex translates a pattern, as the documentation says of regex mode; the
// other modes are done the same way, with their text quoted and, as they must
// match as a whole, both ends held.
func (b *binder) parseRegex(n *opNode, kind string, op *parseOp) string {
	var re strings.Builder
	re.WriteString(`\A`)
	if kind != "regex" {
		re.WriteString("(?s)")
	}
	cols := 0
	for i, part := range n.parse {
		switch {
		case part.star:
			if i > 0 && n.parse[i-1].col != "" && n.parse[i-1].typ == String {
				b.fail(part.at, "", "'*' cannot follow a column of type string")
				return ""
			}
			re.WriteString(".*?")
		case part.col != "":
			if cols >= 26*26 {
				b.fail(part.at, "", "too many columns")
				return ""
			}
			loose := i+1 < len(n.parse) && n.parse[i+1].text != "" || i+1 == len(n.parse)
			re.WriteString("(?P<" + groupName(cols) + ">" + columnRegex(part.typ, kind, loose) + ")")
			cols++
		case kind == "regex":
			re.WriteString("(?:" + part.text + ")")
		default:
			re.WriteString(quoteRegex(part.text))
		}
	}
	if last := n.parse[len(n.parse)-1]; kind != "regex" && !last.star {
		re.WriteString(`\z`)
	}
	return re.String()
}

// columnRegex matches the text of a column. When what follows is known (loose),
// anything up to it may be the text; else only what looks like the type.
func columnRegex(t Type, kind string, loose bool) string {
	switch {
	case kind == "regex" && t == String:
		return ".*"
	case loose && (kind == "relaxed" || kind == "simple" && !isInteger(t)):
		return ".*?"
	case isInteger(t) && kind == "relaxed":
		return `[-+]?\d*`
	case isInteger(t):
		return `\s*[-+]?\d+\s*`
	case t == Real:
		return `\s*[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?\s*`
	case t == Bool:
		return `\s*(?i:true|false|0|1)\s*`
	case t == GUID:
		return `[0-9a-fA-F-]+`
	case t == TimeSpan:
		return `[-\d.:]+`
	case t == DateTime:
		return `[-\d/.:TZ+ ]+`
	}
	return ".*?"
}

func (o *parseOp) prune() { mark(o.lay, o.expr.refs) }

func (o *parseOp) start(_ *exec, next sink) sink {
	return &funcSink{onPush: func(f []Value) bool {
		if !o.parse(f) {
			if o.where {
				return true
			}
			for _, s := range o.slots {
				f[s] = Value{}
			}
		}
		return next.push(f)
	}, onFlush: next.flush}
}

// parse sets the columns of a row, and reports whether it matched.
func (o *parseOp) parse(f []Value) bool {
	s := o.expr.eval(f).s
	m := o.re.FindStringSubmatchIndex(s)
	if m == nil {
		return false
	}
	vals := make([]Value, len(o.slots))
	for i, g := range o.groups {
		if m[2*g] < 0 {
			continue
		}
		text := s[m[2*g]:m[2*g+1]]
		vals[i] = cast(StringValue(text), o.types[i])
		if vals[i].k == kNull && o.strict {
			return false
		}
	}
	for i, s := range o.slots {
		f[s] = vals[i]
	}
	return true
}
