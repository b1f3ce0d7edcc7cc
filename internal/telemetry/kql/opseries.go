package kql

import "slices"

// seriesOp is make-series: for each group, arrays of aggregates over bins of an
// axis.
type seriesOp struct {
	in, out        *layout // out has the keys, then results of aggregates, then the arrays
	keys           []*expr
	calls          []*aggCall
	on             *expr
	from, to, step *expr // known when the query runs; from and to may be nil
	inclusive      bool  // the older form: to counts, and bins start at multiples
	nonEmpty       bool
	values         []*expr // of the results
	defaults       []*expr
	slots          []int // of the arrays, one per value
	axis           int   // the slot of the axis' array
}

func (b *binder) makeSeries(p *pipe, n *opNode, en *env) {
	s := n.series
	if k := n.params["kind"]; k != "" && k != "nonempty" {
		b.fail(n.at, "", "unknown kind '%s'", k)
		return
	}
	g := b.aggregation(p, n.by, en)
	if b.failed() {
		return
	}
	op := &seriesOp{in: p.lay, out: g.out, keys: g.keys, inclusive: s.inRange, nonEmpty: n.params["kind"] == "nonempty"}
	cols := slices.Clone(g.cols)
	for i, a := range n.args {
		found, exprs := g.results(a, en)
		if b.failed() {
			return
		}
		if len(found) != 1 {
			b.fail(a.e.pos(), "", "an aggregate with one result is expected here")
			return
		}
		value := slotExpr(&found[0], a.e.pos())
		if exprs != nil {
			value = exprs[0]
		}
		def := constant(n.at, defaultOf(value.typ), value.typ)
		if s.defaults[i] != nil {
			if def = b.expr(s.defaults[i], nil, en); b.failed() {
				return
			}
			if isNumber(def.typ) && isNumber(value.typ) {
				def = castExpr(def, value.typ)
			}
		}
		op.values, op.defaults = append(op.values, value), append(op.defaults, def)
		slot := g.out.add()
		op.slots = append(op.slots, slot)
		cols = append(cols, col{name: found[0].name, typ: Dynamic, slot: slot})
	}
	op.calls = g.agg.calls
	op.on = b.expr(s.on.e, g.in, en)
	op.step = b.expr(s.step, nil, en)
	if s.from != nil {
		op.from = b.expr(s.from, nil, en)
	}
	if s.to != nil {
		op.to = b.expr(s.to, nil, en)
	}
	if b.failed() || !b.seriesTypes(op) {
		return
	}
	name := columnName(s.on, op.on, g.taken)
	op.axis = g.out.add()
	cols = append(cols, col{name: uniqueName(name, g.taken), typ: Dynamic, slot: op.axis})
	p.ops = append(p.ops, op)
	p.cols, p.lay = cols, g.out
	p.open, p.serial = false, false
}

// defaultOf is what stands where a bin has no rows: 0.
func defaultOf(t Type) Value {
	switch t {
	case Real:
		return RealValue(0)
	case TimeSpan:
		return Value{k: kTimeSpan}
	case Int, Long:
		return LongValue(0)
	}
	return Value{}
}

// seriesTypes checks the axis, and makes its numbers of one type.
func (b *binder) seriesTypes(op *seriesOp) bool {
	t := op.on.typ
	switch {
	case t == DateTime || t == TimeSpan:
		if op.step.typ != TimeSpan {
			b.fail(op.step.at, "", "the step must be a timespan, not %s", op.step.typ)
		}
	case isNumber(t):
		if !isNumber(op.step.typ) {
			b.fail(op.step.at, "", "the step must be a number, not %s", op.step.typ)
			return false
		}
		if t == Int || op.step.typ == Real {
			t = map[bool]Type{true: Real, false: Long}[op.step.typ == Real || t == Real]
			op.on = castExpr(op.on, t)
		}
		op.step = castExpr(op.step, t)
	default:
		b.fail(op.on.at, "", "the axis must be a number, datetime or timespan, not %s", t)
	}
	for _, p := range []**expr{&op.from, &op.to} {
		if *p == nil || b.failed() {
			continue
		}
		if isNumber(t) && isNumber((*p).typ) {
			*p = castExpr(*p, t)
		}
		if (*p).typ != t {
			b.fail((*p).at, "", "a value of type %s is expected here, not %s", t, (*p).typ)
		}
	}
	return !b.failed()
}

func (o *seriesOp) prune() {
	for _, v := range o.values {
		mark(o.out, v.refs)
	}
	for _, k := range o.keys {
		mark(o.in, k.refs)
	}
	for _, c := range o.calls {
		mark(o.in, c.refs)
	}
	mark(o.in, o.on.refs)
}

// series is one group: its aggregates by bin.
type series struct {
	bins      map[int64][]accumulator
	low, high int64 // the first and last bin that has rows
}

type seriesSink struct {
	op         *seriesOp
	x          *exec
	next       sink
	grouper    *grouper
	groups     []*series
	step, base Value
	from, to   Value
}

func (o *seriesOp) start(x *exec, next sink) sink {
	s := &seriesSink{op: o, x: x, next: next, step: o.step.eval(nil)}
	if o.from != nil {
		s.from = o.from.eval(nil)
		s.base = s.from
	}
	if o.to != nil {
		s.to = o.to.eval(nil)
	}
	if s.base.k == kNull || o.inclusive {
		s.base = Value{k: s.step.k}
		if o.on.typ == DateTime {
			s.base.k = kDateTime
		}
	}
	if o.inclusive {
		s.from = binValue(s.from, s.step)
	}
	if s.step.k == kNull || s.step.number() <= 0 && s.step.k == kReal || s.step.k != kReal && s.step.n <= 0 {
		x.fail(&Error{Kind: KindRuntime, Message: "make-series: the step must be positive"})
	}
	if o.from != nil && s.from.k == kNull || o.to != nil && s.to.k == kNull {
		x.fail(&Error{Kind: KindRuntime, Message: "make-series: the range must not be null"})
	}
	if len(o.keys) > 0 {
		s.grouper = newGrouper(x, o.keys)
	}
	return s
}

// bin returns the number of the bin that a value is in.
func (s *seriesSink) bin(v Value) int64 {
	if v.k == kReal {
		return int64((binValue(RealValue(v.Real()-s.base.Real()), s.step).Real() + s.step.Real()/2) / s.step.Real())
	}
	return binTicks(v.n-s.base.n, s.step.n, 0) / s.step.n
}

func (s *seriesSink) push(f []Value) bool {
	v := s.op.on.eval(f)
	if v.k == kNull {
		return true
	}
	if s.from.k != kNull {
		if n, ok := compareValues(v, s.from); !ok || n < 0 {
			return true
		}
	}
	if s.to.k != kNull {
		if n, ok := compareValues(v, s.to); !ok || n > 0 || n == 0 && !s.op.inclusive {
			return true
		}
	}
	at := 0
	if s.grouper != nil {
		at, _ = s.grouper.group(f)
		if at < 0 {
			return false
		}
	}
	for len(s.groups) <= at {
		s.groups = append(s.groups, &series{bins: map[int64][]accumulator{}})
	}
	g := s.groups[at]
	bin := s.bin(v)
	accs := g.bins[bin]
	if accs == nil {
		if !s.x.grow(64 + accumulatorSize*int64(1+len(s.op.calls))) {
			return false
		}
		accs = s.newBin()
		if len(g.bins) == 0 {
			g.low, g.high = bin, bin
		}
		g.low, g.high = min(g.low, bin), max(g.high, bin)
		g.bins[bin] = accs
	}
	for _, a := range accs {
		a.add(f)
	}
	return true
}

func (s *seriesSink) newBin() []accumulator {
	accs := make([]accumulator, len(s.op.calls))
	for i, c := range s.op.calls {
		accs[i] = c.make(s.x)
	}
	return accs
}

func (s *seriesSink) flush() {
	o := s.op
	if len(s.groups) == 0 && o.nonEmpty && s.grouper == nil && o.from != nil && o.to != nil {
		s.groups = append(s.groups, &series{})
	}
	frame := make([]Value, o.out.n)
	for i, g := range s.groups {
		if s.grouper != nil {
			copy(frame, s.grouper.rows[i])
		}
		if !s.fill(g, frame) || !s.x.tick() || !s.next.push(frame) {
			break
		}
	}
	if s.x.err == nil {
		s.next.flush()
	}
}

// fill makes the arrays of one group.
func (s *seriesSink) fill(g *series, frame []Value) bool {
	o := s.op
	first, last := g.low, g.high
	if s.from.k != kNull {
		first = s.bin(s.from)
	}
	if s.to.k != kNull {
		end := s.to
		if !o.inclusive {
			// The end itself is not part of the series.
			if end.k == kReal {
				end = RealValue(end.Real() - s.step.Real()*1e-9)
			} else {
				end.n--
			}
		}
		last = s.bin(end)
	}
	n := last - first + 1
	if n < 0 {
		n = 0
	}
	if n > maxItems {
		return s.x.fail(&Error{Kind: KindLimit, Message: "make-series: a series has more than 1,048,576 values"})
	}
	if !s.x.grow(n * valueSize * int64(1+len(o.values))) {
		return false
	}
	axis := make([]Value, n)
	arrays := make([][]Value, len(o.values))
	for i := range arrays {
		arrays[i] = make([]Value, n)
	}
	for k := range n {
		bin := first + k
		axis[k] = rangeItem(s.base, s.step, bin)
		accs := g.bins[bin]
		for j, c := range o.calls {
			if accs != nil {
				accs[j].result(frame[c.slot : c.slot+len(c.types)])
			}
		}
		for i, v := range o.values {
			if accs != nil {
				arrays[i][k] = v.eval(frame)
			} else {
				arrays[i][k] = o.defaults[i].eval(nil)
			}
		}
	}
	for i, a := range arrays {
		frame[o.slots[i]] = arrayValue(a)
	}
	frame[o.axis] = arrayValue(axis)
	return true
}
