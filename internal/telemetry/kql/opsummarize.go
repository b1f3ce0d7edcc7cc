package kql

import "slices"

// summarizeOp groups rows by keys and computes aggregates of each group. The
// output's slots are the keys, the results of the aggregates, and what is computed
// of those.
type summarizeOp struct {
	in, out *layout
	keys    []*expr
	calls   []*aggCall
	exprs   []*expr // computed of keys and results …
	slots   []int   // … into these slots
}

// aggregation is the part that summarize and make-series share: keys and
// aggregates, bound to a layout of results.
type aggregation struct {
	b     *binder
	in    *scope
	out   *layout
	keys  []*expr
	cols  []col // of the keys
	agg   *aggScope
	taken map[string]bool
}

func (b *binder) aggregation(p *pipe, by []argNode, en *env) *aggregation {
	g := &aggregation{b: b, in: p.scope(), out: &layout{}, taken: map[string]bool{}}
	for _, a := range by {
		x := b.expr(a.e, g.in, en)
		if b.failed() || !b.single(a) {
			return g
		}
		name := columnName(a, x, g.taken)
		if x.typ == Dynamic {
			b.fail(x.at, "", "Summarize group key '%s' is of a 'dynamic' type. Please use an explicit cast as grouping by a 'dynamic' type is not supported.", name)
			return g
		}
		g.keys = append(g.keys, x)
		g.cols = append(g.cols, col{name: uniqueName(name, g.taken), typ: x.typ, slot: g.out.add()})
	}
	g.agg = &aggScope{in: g.in, lay: g.out}
	for _, c := range g.cols {
		g.agg.keys = append(g.agg.keys, c.name)
	}
	return g
}

// results binds one aggregate expression, and returns its columns. Those that are
// computed of aggregates have an expression; results of an aggregate itself have
// none.
func (g *aggregation) results(a argNode, en *env) (cols []col, exprs []*expr) {
	b := g.b
	sc := &scope{cols: g.cols, lay: g.out, agg: g.agg}
	if e, ok := a.e.(*callExpr); ok {
		if v := en.find(e.fn); v == nil || v.fn == nil {
			if agg, isAgg := b.aggregates[e.fn]; isAgg {
				c := b.aggCall(e, agg, sc, en)
				if b.failed() {
					return nil, nil
				}
				return g.columnsOf(a, c, agg), nil
			}
		}
	}
	x := b.expr(a.e, sc, en)
	if b.failed() || !b.single(a) {
		return nil, nil
	}
	name := columnName(a, x, g.taken)
	return []col{{name: uniqueName(name, g.taken), typ: x.typ}}, []*expr{x}
}

func (g *aggregation) columnsOf(a argNode, c *aggCall, agg *aggregate) []col {
	if len(a.names) > len(c.types) {
		g.b.fail(c.at, "", "'%s' has %d results, not %d", c.fn, len(c.types), len(a.names))
		return nil
	}
	var cols []col
	for i, t := range c.types {
		name := ""
		switch {
		case i < len(a.names):
			name = a.names[i]
		case len(c.types) == 1:
			name = c.resultName(agg)
		default:
			name = c.names[i]
		}
		if name == "" {
			name = columnName(argNode{}, &expr{}, g.taken)
		}
		cols = append(cols, col{name: uniqueName(name, g.taken), typ: t, slot: c.slot + i})
	}
	return cols
}

func (b *binder) summarize(p *pipe, n *opNode, en *env) {
	g := b.aggregation(p, n.by, en)
	if b.failed() {
		return
	}
	op := &summarizeOp{in: p.lay, out: g.out, keys: g.keys}
	cols := slices.Clone(g.cols)
	for _, a := range n.args {
		found, exprs := g.results(a, en)
		if b.failed() {
			return
		}
		if exprs != nil {
			found[0].slot = g.out.add()
			op.exprs, op.slots = append(op.exprs, exprs[0]), append(op.slots, found[0].slot)
		}
		cols = append(cols, found...)
	}
	if len(cols) == 0 {
		b.fail(n.at, "", "summarize needs an aggregate or a group key")
		return
	}
	op.calls = g.agg.calls
	p.ops = append(p.ops, op)
	p.cols, p.lay = cols, g.out
	p.open, p.serial = false, false
}

func (o *summarizeOp) prune() {
	for i, s := range o.slots {
		if o.out.need[s] {
			mark(o.out, o.exprs[i].refs)
		}
	}
	for _, k := range o.keys {
		mark(o.in, k.refs)
	}
	o.calls = slices.DeleteFunc(slices.Clone(o.calls), func(c *aggCall) bool {
		for i := range c.types {
			if o.out.need[c.slot+i] {
				mark(o.in, c.refs)
				return false
			}
		}
		return true
	})
}

func (o *summarizeOp) start(x *exec, next sink) sink {
	s := &summarizeSink{op: o, x: x, next: next}
	if len(o.keys) > 0 {
		s.grouper = newGrouper(x, o.keys)
	} else {
		s.sole = s.newGroup()
	}
	return s
}

type summarizeSink struct {
	op      *summarizeOp
	x       *exec
	next    sink
	grouper *grouper
	groups  [][]accumulator
	sole    []accumulator // without keys there is one group, also of no rows
}

// accumulatorSize estimates the bytes of one accumulator.
const accumulatorSize = 96

func (s *summarizeSink) newGroup() []accumulator {
	accs := make([]accumulator, len(s.op.calls))
	for i, c := range s.op.calls {
		accs[i] = c.make(s.x)
	}
	return accs
}

func (s *summarizeSink) push(f []Value) bool {
	accs := s.sole
	if s.grouper != nil {
		at, isNew := s.grouper.group(f)
		if at < 0 {
			return false
		}
		if isNew {
			if !s.x.grow(accumulatorSize * int64(1+len(s.op.calls))) {
				return false
			}
			s.groups = append(s.groups, s.newGroup())
		}
		accs = s.groups[at]
	}
	for _, a := range accs {
		a.add(f)
	}
	return true
}

func (s *summarizeSink) flush() {
	if s.grouper == nil {
		s.groups = [][]accumulator{s.sole}
	}
	o := s.op
	frame := make([]Value, o.out.n)
	for i, accs := range s.groups {
		if s.grouper != nil {
			copy(frame, s.grouper.rows[i])
		}
		for j, c := range o.calls {
			accs[j].result(frame[c.slot : c.slot+len(c.types)])
		}
		for j, e := range o.exprs {
			frame[o.slots[j]] = e.eval(frame)
		}
		s.groups[i] = nil
		if !s.x.tick() || !s.next.push(frame) {
			break
		}
	}
	if s.x.err == nil {
		s.next.flush()
	}
}
