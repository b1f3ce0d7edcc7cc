package kql

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// unionLeaf delivers the rows of several pipes, one after the other.
type unionLeaf struct {
	lay    *layout
	legs   []unionLeg
	source int // the slot of the withsource column, or -1
}

type unionLeg struct {
	p     *pipe
	slots []int // for each slot of the output, the leg's own, or -1
	name  Value
}

func (u *unionLeaf) prune() {
	for _, l := range u.legs {
		for out, in := range l.slots {
			if in >= 0 && u.lay.need[out] {
				l.p.lay.need[in] = true
			}
		}
		l.p.prune()
	}
}

func (u *unionLeaf) bound(c bound) {
	for _, l := range u.legs {
		if c.slot < len(l.slots) && l.slots[c.slot] >= 0 {
			l.p.bound(bound{slot: l.slots[c.slot], op: c.op, value: c.value})
		}
	}
}

func (u *unionLeaf) run(x *exec, next sink) {
	frame := make([]Value, u.lay.n)
	for _, l := range u.legs {
		more := true
		type pair struct{ out, in int }
		var live []pair
		for out, in := range l.slots {
			if in >= 0 && u.lay.need[out] {
				live = append(live, pair{out, in})
			}
		}
		clear(frame)
		if u.source >= 0 {
			frame[u.source] = l.name
		}
		l.p.run(x, &funcSink{onPush: func(f []Value) bool {
			for _, m := range live {
				frame[m.out] = f[m.in]
			}
			more = next.push(frame)
			return more
		}})
		if !more || x.err != nil {
			return
		}
	}
}

// union binds union, with what comes before it as the first leg.
func (b *binder) union(before *pipe, n *opNode, en *env) *pipe {
	kind := n.params["kind"]
	if kind != "" && kind != "inner" && kind != "outer" {
		b.fail(n.at, "", "unknown kind '%s'", kind)
		return b.emptyPipe()
	}
	var legs []*pipe
	if before != nil {
		first := *before
		legs = append(legs, &first)
	}
	more := b.unionTables(n.tables, n.params["isfuzzy"] == "true", en)
	b.op = n.name
	legs = append(legs, more...)
	if b.failed() {
		return b.emptyPipe()
	}
	if len(legs) == 0 {
		b.fail(n.at, "SEM0100", "Failed to resolve any of the tables")
		return b.emptyPipe()
	}
	source := n.params["withsource"]
	if source == "" {
		source = n.params["with_source"]
	}
	return unite(legs, source, kind == "inner")
}

// unionTables binds the legs of a union.
func (b *binder) unionTables(tables []exprNode, fuzzy bool, en *env) []*pipe {
	var legs []*pipe
	for _, t := range tables {
		if w, ok := t.(*wildcardExpr); ok {
			names := b.matchTables(w.pattern, en)
			if len(names) == 0 && !fuzzy && !b.failed() {
				b.fail(w.at, "SEM0100", "Failed to resolve table or column expression named '%s'", w.pattern)
			}
			for _, name := range names {
				legs = append(legs, b.pipe(&nameExpr{at: w.at, name: name}, en))
			}
			continue
		}
		if fuzzy && b.unresolved(t, en) {
			continue
		}
		legs = append(legs, b.pipe(t, en))
	}
	return legs
}

// matchTables lists the tables and tabular variables that a pattern is for.
func (b *binder) matchTables(pattern string, en *env) []string {
	var names []string
	var vars []string
	for e := en; e != nil; e = e.up {
		if e.fn != nil && e.fn.view && len(e.fn.params) == 0 && matchPattern(pattern, e.name) {
			vars = append(vars, e.name)
		}
	}
	slices.Reverse(vars)
	all, err := b.src.Tables(b.ctx)
	if err != nil {
		if b.err == nil {
			b.err = err
		}
		return nil
	}
	for _, t := range all {
		if matchPattern(pattern, t) {
			names = append(names, t)
		}
	}
	return append(names, vars...)
}

// unresolved reports whether a leg reads a table that is not there.
func (b *binder) unresolved(e exprNode, en *env) bool {
	switch e := e.(type) {
	case *pipeExpr:
		return e.src != nil && b.unresolved(e.src, en)
	case *nameExpr:
		if en.find(e.name) != nil {
			return false
		}
		_, err := b.table(e.name)
		var unknown *UnknownTableError
		return errors.As(err, &unknown)
	}
	return false
}

// unite makes one pipe of several. Columns of one name and several types become
// several columns, named after the types.
func unite(legs []*pipe, source string, inner bool) *pipe {
	leaf := &unionLeaf{lay: &layout{}, source: -1}
	p := &pipe{src: leaf, lay: leaf.lay, open: true}
	type key struct {
		name string
		typ  Type
	}
	types := map[string][]Type{}
	seen := map[key]int{}
	var order []key
	for _, l := range legs {
		for _, c := range l.cols {
			k := key{c.name, c.typ}
			if seen[k] == 0 {
				order = append(order, k)
				types[c.name] = append(types[c.name], c.typ)
			}
			seen[k]++
		}
	}
	if inner {
		order = slices.DeleteFunc(order, func(k key) bool { return seen[k] < len(legs) })
	}
	names := map[string]bool{}
	if source != "" {
		names[source] = true
		leaf.source = leaf.lay.add()
		p.cols = append(p.cols, col{name: source, typ: String, slot: leaf.source})
	}
	suffixed := func(k key) bool { return !inner && len(types[k.name]) > 1 }
	for _, k := range order {
		if !suffixed(k) {
			names[k.name] = true
		}
	}
	slots := map[key]int{}
	for _, k := range order {
		slots[k] = leaf.lay.add()
		name := k.name
		if suffixed(k) {
			name = uniqueName(k.name+"_"+k.typ.String(), names)
		}
		p.cols = append(p.cols, col{name: name, typ: k.typ, slot: slots[k]})
	}
	for i, l := range legs {
		leg := unionLeg{p: l, slots: slices.Repeat([]int{-1}, leaf.lay.n), name: StringValue(l.name)}
		if l.name == "" {
			leg.name = StringValue("union_arg" + strconv.Itoa(i))
		}
		for _, c := range l.cols {
			if s, ok := slots[key{c.name, c.typ}]; ok {
				leg.slots[s] = c.slot
			}
		}
		leaf.legs = append(leaf.legs, leg)
	}
	return p
}

// search binds search: the rows of tables in which a predicate holds, where a
// plain string is a term of any column.
func (b *binder) search(before *pipe, n *opNode, en *env) *pipe {
	kind := n.params["kind"]
	if kind != "" && kind != "default" && kind != "case_insensitive" && kind != "case_sensitive" {
		b.fail(n.at, "", "unknown kind '%s'", kind)
		return b.emptyPipe()
	}
	var legs []*pipe
	switch {
	case before != nil && len(n.tables) > 0:
		b.fail(n.at, "", "tables are named before search or in it, not both")
	case before != nil:
		first := *before
		legs = []*pipe{&first}
	case len(n.tables) > 0:
		legs = b.unionTables(n.tables, false, en)
	default:
		legs = b.unionTables([]exprNode{&wildcardExpr{at: n.at, pattern: "*"}}, true, en)
	}
	b.op = n.name
	if b.failed() {
		return b.emptyPipe()
	}
	for _, l := range legs {
		cond := b.searchExpr(n.args[0].e, l, kind == "case_sensitive")
		b.window = nil
		b.where(l, &opNode{at: n.at, args: []argNode{{e: cond}}}, en)
	}
	if b.failed() || len(legs) == 0 {
		return b.emptyPipe()
	}
	return unite(legs, "$table", false)
}

// searchExpr rewrites a predicate for the columns of one table. A condition on a
// column that the table does not have is false.
func (b *binder) searchExpr(e exprNode, p *pipe, cs bool) exprNode {
	no := &litExpr{at: e.pos(), val: BoolValue(false), typ: Bool}
	switch e := e.(type) {
	case *starExpr:
		return &litExpr{at: e.at, val: BoolValue(true), typ: Bool}
	case *litExpr:
		if e.typ != String {
			return e
		}
		out := &logicExpr{at: e.at, op: "or", terms: []exprNode{no}}
		for _, c := range p.cols {
			if c.typ == String || c.typ == Dynamic {
				out.terms = append(out.terms, termExpr(e, &nameExpr{at: e.at, name: c.name}, cs))
			}
		}
		return out
	case *logicExpr:
		out := &logicExpr{at: e.at, op: e.op}
		for _, t := range e.terms {
			out.terms = append(out.terms, b.searchExpr(t, p, cs))
		}
		return out
	case *callExpr:
		if e.fn == "not" && len(e.args) == 1 {
			return &callExpr{at: e.at, fn: "not", args: []argNode{{e: b.searchExpr(e.args[0].e, p, cs)}}}
		}
	case *binaryExpr:
		if n, ok := e.l.(*nameExpr); ok && p.scope().find(n.name) == nil {
			return no
		}
		if _, ok := e.l.(*starExpr); ok {
			out := &logicExpr{at: e.at, op: "or", terms: []exprNode{no}}
			for _, c := range p.cols {
				if c.typ == String {
					out.terms = append(out.terms, &binaryExpr{at: e.at, op: e.op, l: &nameExpr{at: e.at, name: c.name}, r: e.r})
				}
			}
			return out
		}
		if lit, ok := e.r.(*litExpr); ok && e.op == ":" {
			return termExpr(lit, e.l, cs)
		}
	case *inExpr:
		if n, ok := e.l.(*nameExpr); ok && p.scope().find(n.name) == nil {
			return no
		}
	case *betweenExpr:
		if n, ok := e.x.(*nameExpr); ok && p.scope().find(n.name) == nil {
			return no
		}
	}
	return e
}

// termExpr looks for a search term in a column. An asterisk in it says how.
func termExpr(term *litExpr, in exprNode, cs bool) exprNode {
	text := term.val.s
	op := "has"
	head, tail := strings.HasPrefix(text, "*"), strings.HasSuffix(text, "*")
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "*"), "*")
	switch {
	case strings.Contains(inner, "*"):
		op = "matches regex"
		parts := strings.Split(inner, "*")
		for i, s := range parts {
			parts[i] = quoteRegex(s)
		}
		inner = strings.Join(parts, ".*")
		if !head {
			inner = `\b` + inner
		}
		if !tail {
			inner += `\b`
		}
		if !cs {
			inner = "(?i)" + inner
		}
	case head && tail:
		op = "contains"
	case head:
		op = "hassuffix"
	case tail:
		op = "hasprefix"
	}
	if cs && op != "matches regex" {
		op += "_cs"
	}
	return &binaryExpr{at: term.at, op: op, l: in, r: &litExpr{at: term.at, val: StringValue(inner), typ: String}}
}
