package kql

import (
	"fmt"
	"slices"
	"strings"
)

// operator binds one operator and puts it at the end of p.
func (b *binder) operator(p *pipe, n *opNode, en *env) *env {
	if !b.spend(n.at) {
		return nil
	}
	if p.render != nil {
		b.fail(n.at, "", "nothing may follow render")
		return nil
	}
	if p.serial && b.inApply == 0 {
		b.window = &window{}
	}
	whole := p.whole
	p.whole = false
	switch n.name {
	case "where":
		b.where(p, n, en)
	case "extend":
		b.extend(p, n.args, en)
		p.whole = whole
	case "serialize":
		p.serial = true
		if b.inApply == 0 {
			b.window = &window{}
		}
		b.extend(p, n.args, en)
		p.whole = whole
	case "project":
		b.project(p, n, en)
		p.whole = whole
	case "project-away", "project-keep", "project-rename", "project-reorder":
		b.projectNames(p, n)
		p.whole = whole
	case "as":
		p.name = n.args[0].name()
		p.whole = whole
	case "render":
		p.render = n.render
		p.whole = whole
	case "take":
		b.take(p, n, en, whole)
	case "count":
		b.summarize(p, &opNode{at: n.at, name: "count", args: []argNode{{names: []string{"Count"}, e: &callExpr{at: n.at, fn: "count"}}}}, en)
	case "summarize":
		b.summarize(p, n, en)
	case "distinct":
		b.distinct(p, n, en)
	case "sort":
		b.sort(p, n, en, -1)
	case "top":
		if limit := b.constantInt(n.args[0].e, en); !b.failed() {
			b.sort(p, n, en, limit)
		}
	case "sample", "sample-distinct":
		b.sample(p, n, en)
	case "getschema":
		b.getschema(p)
	case "mv-expand":
		b.mvExpand(p, n, en)
	case "mv-apply":
		b.mvApply(p, n, en)
	case "parse", "parse-where":
		b.parseText(p, n, en)
	case "join", "lookup":
		b.join(p, n, en)
	case "union":
		*p = *b.union(p, n, en)
	case "search":
		*p = *b.search(p, n, en)
	case "make-series":
		b.makeSeries(p, n, en)
	case "print", "range":
		b.fail(n.at, "", "the operator must be the first of the query")
	default:
		b.fail(n.at, "", "unknown operator")
	}
	return nil
}

// streaming puts an operator on p that keeps the layout. Window functions that it
// uses get their rows from an operator before it.
func (p *pipe) streaming(b *binder, op operator) {
	if b.window != nil && b.window.used {
		p.ops = append(p.ops, &windowOp{w: b.window, lay: p.lay})
		p.open = false
	}
	p.ops = append(p.ops, op)
}

func (p *pipe) scope() *scope { return &scope{cols: p.cols, lay: p.lay} }

func mark(lay *layout, refs []int) {
	for _, r := range refs {
		lay.need[r] = true
	}
}

// constantInt binds an expression that must be a number known at once.
func (b *binder) constantInt(e exprNode, en *env) int64 {
	x := b.expr(e, nil, en)
	if b.failed() {
		return 0
	}
	if x.val == nil || !isInteger(x.typ) || x.val.k == kNull || x.val.n < 0 {
		b.fail(x.at, "", "a constant integer of at least 0 is expected here")
		return 0
	}
	return x.val.n
}

type whereOp struct {
	lay  *layout
	cond *expr
}

func (b *binder) where(p *pipe, n *opNode, en *env) {
	cond := b.condition(n.args[0].e, p.scope(), en)
	if b.failed() {
		return
	}
	p.streaming(b, &whereOp{lay: p.lay, cond: cond})
	for _, c := range cond.bounds {
		p.bound(c)
	}
}

func (o *whereOp) prune() { mark(o.lay, o.cond.refs) }

func (o *whereOp) start(_ *exec, next sink) sink { return &whereSink{test: o.cond.truth(), next: next} }

type whereSink struct {
	test func(f []Value) bool
	next sink
}

func (s *whereSink) push(f []Value) bool {
	if !s.test(f) {
		return true
	}
	return s.next.push(f)
}

func (s *whereSink) flush() { s.next.flush() }

// extendOp computes columns into slots of their own.
type extendOp struct {
	lay   *layout
	slots []int
	exprs []*expr
}

func (o *extendOp) prune() {
	var slots []int
	var exprs []*expr
	for i, s := range o.slots {
		if o.lay.need[s] { // what nobody reads is not computed
			slots, exprs = append(slots, s), append(exprs, o.exprs[i])
		}
	}
	o.slots, o.exprs = slots, exprs
	for _, e := range exprs {
		mark(o.lay, e.refs)
	}
}

func (o *extendOp) start(_ *exec, next sink) sink {
	if len(o.slots) == 0 {
		return next
	}
	return &extendSink{op: o, next: next}
}

type extendSink struct {
	op   *extendOp
	next sink
}

func (s *extendSink) push(f []Value) bool {
	for i, slot := range s.op.slots {
		f[slot] = s.op.exprs[i].eval(f)
	}
	return s.next.push(f)
}

func (s *extendSink) flush() { s.next.flush() }

// columnName is the name of a computed column.
func columnName(a argNode, e *expr, taken map[string]bool) string {
	if name := a.name(); name != "" {
		return name
	}
	if e.name != "" {
		return e.name
	}
	for i := 1; ; i++ {
		if name := fmt.Sprintf("Column%d", i); !taken[name] {
			return name
		}
	}
}

func (b *binder) single(a argNode) bool {
	if len(a.names) > 1 {
		b.fail(a.e.pos(), "", "the expression has one value, not %d", len(a.names))
		return false
	}
	return true
}

func (b *binder) extend(p *pipe, args []argNode, en *env) {
	sc := p.scope()
	op := &extendOp{lay: p.lay}
	taken := map[string]bool{}
	for _, c := range p.cols {
		taken[c.name] = true
	}
	cols := slices.Clone(p.cols)
	declared := map[string]bool{}
	for _, a := range args {
		x := b.expr(a.e, sc, en)
		if b.failed() || !b.single(a) {
			return
		}
		name := columnName(a, x, taken)
		if declared[name] {
			b.fail(a.e.pos(), "", "a column named '%s' is declared twice", name)
			return
		}
		declared[name], taken[name] = true, true
		c := col{name: name, typ: x.typ, slot: x.slot}
		if x.slot < 0 {
			c.slot = p.lay.add()
			op.slots, op.exprs = append(op.slots, c.slot), append(op.exprs, x)
		}
		// A column that is there already is removed, and the new one appended.
		cols = slices.DeleteFunc(cols, func(o col) bool { return o.name == name })
		cols = append(cols, c)
	}
	p.streaming(b, op)
	p.cols = cols
}

func (b *binder) printed(p *pipe, n *opNode, en *env) {
	op := &extendOp{lay: p.lay}
	taken := map[string]bool{}
	for i, a := range n.args {
		x := b.expr(a.e, nil, en)
		if b.failed() || !b.single(a) {
			return
		}
		name := a.name()
		if name == "" {
			name = fmt.Sprintf("print_%d", i)
		}
		c := col{name: uniqueName(name, taken), typ: x.typ, slot: p.lay.add()}
		op.slots, op.exprs = append(op.slots, c.slot), append(op.exprs, x)
		p.cols = append(p.cols, c)
	}
	p.ops = append(p.ops, op)
}

func (b *binder) project(p *pipe, n *opNode, en *env) {
	sc := p.scope()
	op := &extendOp{lay: p.lay}
	var cols []col
	taken := map[string]bool{}
	for _, a := range n.args {
		if _, ok := a.e.(*starExpr); ok && a.name() == "" {
			for _, c := range p.cols {
				c.name = uniqueName(c.name, taken)
				cols = append(cols, c)
			}
			continue
		}
		x := b.expr(a.e, sc, en)
		if b.failed() || !b.single(a) {
			return
		}
		name := columnName(a, x, taken)
		if a.name() != "" && taken[name] {
			b.fail(a.e.pos(), "", "a column named '%s' is declared twice", name)
			return
		}
		c := col{name: uniqueName(name, taken), typ: x.typ, slot: x.slot}
		if x.slot < 0 {
			c.slot = p.lay.add()
			op.slots, op.exprs = append(op.slots, c.slot), append(op.exprs, x)
		}
		cols = append(cols, c)
	}
	p.streaming(b, op)
	p.cols = cols
}

// projectNames is project-away, project-keep, project-rename and project-reorder:
// they change which columns are seen, and compute nothing.
func (b *binder) projectNames(p *pipe, n *opNode) {
	match := func(c columnPat) []col {
		var found []col
		for _, o := range p.cols {
			if matchPattern(c.pattern, o.name) {
				found = append(found, o)
			}
		}
		if len(found) == 0 && !strings.Contains(c.pattern, "*") {
			b.fail(c.at, "SEM0100", "Failed to resolve column named '%s'", c.pattern)
		}
		return found
	}
	picked := map[string]bool{}
	var order []col
	for _, c := range n.cols {
		found := match(c)
		switch c.order {
		case "asc", "granny-asc":
			slices.SortFunc(found, func(x, y col) int { return compareNames(x.name, y.name, c.order) })
		case "desc", "granny-desc":
			slices.SortFunc(found, func(x, y col) int { return -compareNames(x.name, y.name, c.order) })
		}
		for _, f := range found {
			if !picked[f.name] {
				picked[f.name] = true
				order = append(order, f)
			}
		}
	}
	if b.failed() {
		return
	}
	switch n.name {
	case "project-away":
		p.cols = slices.DeleteFunc(slices.Clone(p.cols), func(c col) bool { return picked[c.name] })
	case "project-keep":
		p.cols = slices.DeleteFunc(slices.Clone(p.cols), func(c col) bool { return !picked[c.name] })
	case "project-reorder":
		rest := slices.DeleteFunc(slices.Clone(p.cols), func(c col) bool { return picked[c.name] })
		p.cols = append(order, rest...)
	case "project-rename":
		b.rename(p, n)
	}
}

// compareNames orders names; in granny order the digits in them count as numbers.
func compareNames(x, y, order string) int {
	if !strings.HasPrefix(order, "granny") {
		return strings.Compare(x, y)
	}
	for x != "" && y != "" {
		if isDigit(x[0]) && isDigit(y[0]) {
			i, j := digitRun(x), digitRun(y)
			a, c := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if len(a) != len(c) {
				return len(a) - len(c)
			}
			if n := strings.Compare(a, c); n != 0 {
				return n
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	return len(x) - len(y)
}

func digitRun(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func (b *binder) rename(p *pipe, n *opNode) {
	cols := slices.Clone(p.cols)
	for _, a := range n.args {
		old, ok := a.e.(*nameExpr)
		if !ok || a.name() == "" {
			b.fail(a.e.pos(), "", "a renaming has the form new = old")
			return
		}
		i := slices.IndexFunc(p.cols, func(c col) bool { return c.name == old.name })
		if i < 0 {
			b.fail(old.at, "SEM0100", "Failed to resolve column named '%s'", old.name)
			return
		}
		cols[i].name = a.name()
	}
	seen := map[string]bool{}
	for _, c := range cols {
		if seen[c.name] {
			b.fail(n.at, "", "a column named '%s' is there already", c.name)
			return
		}
		seen[c.name] = true
	}
	p.cols = cols
}

// takeOp lets the first rows pass.
type takeOp struct{ n int64 }

func (b *binder) take(p *pipe, n *opNode, en *env, whole bool) {
	limit := b.constantInt(n.args[0].e, en)
	if b.failed() {
		return
	}
	if len(p.ops) > 0 {
		// After a sort, only so many rows need to be kept.
		if s, ok := p.ops[len(p.ops)-1].(*sortOp); ok && (s.limit < 0 || s.limit > limit) {
			s.limit = limit
			return
		}
	}
	if s, ok := p.src.(*scanLeaf); ok && whole && p.open && !s.spanned() && limit < 1<<31 {
		s.limit = int(limit)
	}
	p.ops = append(p.ops, &takeOp{n: limit})
	p.open = false
}

func (o *takeOp) prune() {}

func (o *takeOp) start(_ *exec, next sink) sink {
	left := o.n
	return &funcSink{onPush: func(f []Value) bool {
		if left <= 0 {
			return false
		}
		left--
		return next.push(f) && left > 0
	}, onFlush: next.flush}
}

// windowOp keeps the rows around the current one.
type windowOp struct {
	w   *window
	lay *layout
}

func (o *windowOp) prune() {}

func (o *windowOp) start(x *exec, next sink) sink {
	w := o.w
	w.at = -1
	if w.back == 0 && w.ahead == 0 {
		return &funcSink{onPush: func(f []Value) bool { w.at++; return next.push(f) }, onFlush: next.flush}
	}
	frame := make([]Value, o.lay.n)
	more := true
	emit := func() bool {
		w.at++
		copy(frame, w.rows[w.at-w.first])
		more = next.push(frame)
		if drop := w.at - w.back - w.first; drop > 0 {
			// Rows that no prev() reaches any more are used again.
			for range drop {
				old := w.rows[0]
				x.used -= int64(len(old)) * valueSize
				w.rows[0] = nil
				w.rows = w.rows[1:]
				w.first++
			}
		}
		return more
	}
	return &funcSink{onPush: func(f []Value) bool {
		if !x.grow(int64(len(f)) * valueSize) {
			return false
		}
		w.rows = append(w.rows, slices.Clone(f))
		if w.first+int64(len(w.rows))-1-w.ahead > w.at {
			return emit()
		}
		return true
	}, onFlush: func() {
		for more && w.at < w.first+int64(len(w.rows))-1 {
			emit()
		}
		next.flush()
	}}
}
