package kql

import "slices"

// joinOp joins the rows of a pipe with those of another. The right side is read
// first and kept; the left side streams past it.
type joinOp struct {
	in, out   *layout
	right     *pipe
	leftCols  []col // of the input, in the first slots of the output …
	rightCols []col // … and of the right side, in those after them
	leftKeys  []*expr
	rightKeys []*expr
	kind      string
	liveLeft  []int
	liveRight []int
}

// joinKinds are the kinds of join, the default first.
func joinKinds() []string {
	return []string{
		"innerunique", "inner", "leftouter", "rightouter", "fullouter", "leftsemi", "rightsemi",
		"leftanti", "anti", "leftantisemi", "rightanti", "rightantisemi",
	}
}

func (b *binder) join(p *pipe, n *opNode, en *env) {
	kind := n.params["kind"]
	if kind == "" {
		kind = "innerunique"
		if n.name == "lookup" {
			kind = "leftouter"
		}
	}
	if !slices.Contains(joinKinds(), kind) || n.name == "lookup" && kind != "leftouter" && kind != "inner" {
		b.fail(n.at, "", "unknown kind '%s'", kind)
		return
	}
	switch kind {
	case "anti", "leftantisemi":
		kind = "leftanti"
	case "rightantisemi":
		kind = "rightanti"
	}
	window := b.window
	right := b.pipe(n.table, en)
	b.op, b.window = n.name, window
	if b.failed() {
		return
	}
	op := &joinOp{in: p.lay, out: &layout{}, right: right, kind: kind}
	var dropped []string // key columns that lookup shows once
	if len(n.by) == 0 {
		b.fail(n.at, "", "'on' with a condition is expected")
		return
	}
	for _, a := range n.by {
		dropped = append(dropped, b.joinCondition(p, op, a.e)...)
	}
	if b.failed() {
		return
	}
	var cols []col
	taken := map[string]bool{}
	if kind != "rightsemi" && kind != "rightanti" {
		op.leftCols = p.cols
		for _, c := range p.cols {
			cols = append(cols, col{name: uniqueName(c.name, taken), typ: c.typ})
		}
	}
	if kind != "leftsemi" && kind != "leftanti" {
		for _, c := range right.cols {
			if n.name == "lookup" && slices.Contains(dropped, c.name) {
				continue
			}
			op.rightCols = append(op.rightCols, c)
			cols = append(cols, col{name: uniqueName(c.name, taken), typ: c.typ})
		}
	}
	p.cols = cols
	p.rebase(op, op.out)
	p.serial = false
}

// joinCondition adds the keys of one condition: a column that both sides have, or
// an equality of one of each. It returns the names of the right side's keys.
func (b *binder) joinCondition(p *pipe, op *joinOp, e exprNode) []string {
	var l, r *expr
	switch e := e.(type) {
	case *logicExpr:
		if e.op == "and" {
			var names []string
			for _, t := range e.terms {
				names = append(names, b.joinCondition(p, op, t)...)
			}
			return names
		}
	case *nameExpr:
		lc, rc := p.scope().find(e.name), op.right.scope().find(e.name)
		if lc == nil || rc == nil {
			b.fail(e.at, "SEM0100", "Failed to resolve column named '%s': it must be on both sides", e.name)
			return nil
		}
		l, r = slotExpr(lc, e.at), slotExpr(rc, e.at)
	case *binaryExpr:
		lp, ok1 := e.l.(*pathExpr)
		rp, ok2 := e.r.(*pathExpr)
		if e.op != "==" || !ok1 || !ok2 {
			break
		}
		if isSide(lp, "$right") && isSide(rp, "$left") {
			lp, rp = rp, lp
		}
		if !isSide(lp, "$left") || !isSide(rp, "$right") {
			break
		}
		sc := &scope{left: p.scope(), right: op.right.scope()}
		l, r = b.pathExpr(lp, sc, nil), b.pathExpr(rp, sc, nil)
	}
	if b.failed() {
		return nil
	}
	if l == nil {
		b.fail(e.pos(), "", "a condition is the name of a column of both sides, or $left.column == $right.column")
		return nil
	}
	for _, x := range []*expr{l, r} {
		if x.typ == Dynamic {
			b.fail(e.pos(), "", "join key '%s' is of a 'dynamic' type. Please use an explicit cast using extend operator in the join legs as join on a 'dynamic' type is not supported.", x.name)
			return nil
		}
	}
	if l.typ != r.typ && !(isNumber(l.typ) && isNumber(r.typ)) {
		b.fail(e.pos(), "", "the keys are of different types, %s and %s", l.typ, r.typ)
		return nil
	}
	op.leftKeys, op.rightKeys = append(op.leftKeys, l), append(op.rightKeys, r)
	return []string{r.name}
}

func isSide(e *pathExpr, side string) bool {
	n, ok := e.x.(*nameExpr)
	return ok && n.name == side
}

func (o *joinOp) prune() {
	o.liveLeft, o.liveRight = nil, nil
	for i, c := range o.leftCols {
		if o.out.need[i] {
			o.liveLeft = append(o.liveLeft, i)
			o.in.need[c.slot] = true
		}
	}
	for i, c := range o.rightCols {
		if o.out.need[len(o.leftCols)+i] {
			o.liveRight = append(o.liveRight, i)
			o.right.lay.need[c.slot] = true
		}
	}
	for i := range o.leftKeys {
		mark(o.in, o.leftKeys[i].refs)
		mark(o.right.lay, o.rightKeys[i].refs)
	}
	o.right.prune()
}

// joined are the rows of the right side with one key.
type joined struct {
	rows    [][]Value
	matched bool
}

type joinSink struct {
	op     *joinOp
	x      *exec
	next   sink
	byKey  map[string]*joined
	order  []*joined // in which they came, for what is delivered at the end
	lost   [][]Value // right rows with a null key, which match nothing
	seen   map[string]bool
	frame  []Value
	keyBuf []byte
	stop   bool
}

func (o *joinOp) start(x *exec, next sink) sink {
	s := &joinSink{op: o, x: x, next: next, byKey: map[string]*joined{}, frame: make([]Value, o.out.n)}
	if o.kind == "innerunique" {
		s.seen = map[string]bool{}
	}
	keepsAll := o.kind == "rightouter" || o.kind == "fullouter" || o.kind == "rightanti"
	row := make([]Value, len(o.liveRight))
	o.right.run(x, &funcSink{onPush: func(f []Value) bool {
		for i, c := range o.liveRight {
			row[i] = f[o.rightCols[c].slot]
		}
		null := !s.key(o.rightKeys, f)
		if null && !keepsAll {
			return x.tick()
		}
		kept := x.keep(row)
		if kept == nil {
			return false
		}
		if null {
			s.lost = append(s.lost, kept)
			return x.tick()
		}
		j := s.byKey[string(s.keyBuf)]
		if j == nil {
			if !x.grow(96 + int64(len(s.keyBuf))) {
				return false
			}
			j = &joined{}
			s.byKey[string(s.keyBuf)] = j
			s.order = append(s.order, j)
		}
		j.rows = append(j.rows, kept)
		return x.tick()
	}})
	return s
}

// key encodes the keys of a row. It reports whether none is null: null is equal
// to nothing.
func (s *joinSink) key(keys []*expr, f []Value) bool {
	s.keyBuf = s.keyBuf[:0]
	for _, k := range keys {
		v := k.eval(f)
		if v.k == kNull && k.typ != String {
			return false
		}
		s.keyBuf = appendKey(s.keyBuf, v)
	}
	return true
}

func (s *joinSink) setLeft(f []Value) {
	for _, i := range s.op.liveLeft {
		if f == nil {
			s.frame[i] = Value{}
		} else {
			s.frame[i] = f[s.op.leftCols[i].slot]
		}
	}
}

func (s *joinSink) setRight(row []Value) {
	base := len(s.op.leftCols)
	for n, i := range s.op.liveRight {
		if row == nil {
			s.frame[base+i] = Value{}
		} else {
			s.frame[base+i] = row[n]
		}
	}
}

func (s *joinSink) emit() bool {
	if !s.x.tick() || !s.next.push(s.frame) {
		s.stop = true
		return false
	}
	return true
}

func (s *joinSink) push(f []Value) bool {
	var j *joined
	if s.key(s.op.leftKeys, f) {
		j = s.byKey[string(s.keyBuf)]
	}
	switch s.op.kind {
	case "leftsemi", "leftanti":
		if (j != nil) == (s.op.kind == "leftsemi") {
			s.setLeft(f)
			return s.emit()
		}
		return true
	case "rightsemi", "rightanti":
		if j != nil {
			j.matched = true
		}
		return true
	case "innerunique":
		if j == nil || s.seen[string(s.keyBuf)] {
			return true
		}
		if !s.x.grow(32 + int64(len(s.keyBuf))) {
			return false
		}
		s.seen[string(s.keyBuf)] = true
	}
	if j == nil {
		if s.op.kind == "leftouter" || s.op.kind == "fullouter" {
			s.setLeft(f)
			s.setRight(nil)
			return s.emit()
		}
		return true
	}
	j.matched = true
	s.setLeft(f)
	for _, r := range j.rows {
		s.setRight(r)
		if !s.emit() {
			return false
		}
	}
	return true
}

func (s *joinSink) flush() {
	want := map[string]bool{"rightsemi": true, "rightanti": false, "rightouter": false, "fullouter": false}
	if matched, ok := want[s.op.kind]; ok && !s.stop {
		s.setLeft(nil)
		s.flushRight(matched)
	}
	if s.x.err == nil {
		s.next.flush()
	}
}

func (s *joinSink) flushRight(matched bool) {
	for _, j := range s.order {
		if j.matched != matched {
			continue
		}
		for _, r := range j.rows {
			if s.setRight(r); !s.emit() {
				return
			}
		}
	}
	if matched {
		return
	}
	for _, r := range s.lost {
		if s.setRight(r); !s.emit() {
			return
		}
	}
}
