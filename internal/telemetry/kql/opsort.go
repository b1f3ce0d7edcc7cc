package kql

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// sortOp is sort, and top when it has a limit.
type sortOp struct {
	in, out *layout
	cols    []col // of the input; column i is in slot i of the output
	keys    []*expr
	order   []orderNode
	limit   int64 // -1 for none
	live    []int // which columns are read
}

func (b *binder) sort(p *pipe, n *opNode, en *env, limit int64) {
	op := &sortOp{in: p.lay, out: &layout{}, cols: p.cols, order: n.order, limit: limit}
	sc := p.scope()
	for _, o := range n.order {
		x := b.expr(o.e.e, sc, en)
		if b.failed() {
			return
		}
		if x.typ == Dynamic {
			b.fail(x.at, "", "sort key is of a 'dynamic' type. Please use an explicit cast as sorting by a 'dynamic' type is not supported.")
			return
		}
		op.keys = append(op.keys, x)
	}
	p.rebase(op, op.out)
	p.serial = true
}

// rebase puts an operator on p whose output has a layout of its own, in which
// column i is in slot i.
func (p *pipe) rebase(op operator, out *layout) {
	p.ops = append(p.ops, op)
	p.lay = out
	p.cols = slices.Clone(p.cols)
	for i := range p.cols {
		p.cols[i].slot = out.add()
	}
	p.open = false
}

func (o *sortOp) prune() {
	o.live = nil
	for i, c := range o.cols {
		if o.out.need[i] {
			o.live = append(o.live, i)
			o.in.need[c.slot] = true
		}
	}
	for _, k := range o.keys {
		mark(o.in, k.refs)
	}
}

// sorted is a kept row: its keys, then the columns that are read.
type sorted struct {
	row   []Value
	seq   int
	order uint64 // of the first key: it never contradicts the key's own order
}

// orderOf maps the first key to a number that is in the same order, or equal.
func (o *sortOp) orderOf(v *Value) uint64 {
	var n uint64
	switch t := o.keys[0].typ; {
	case t == String:
		for i := range 8 {
			n <<= 8
			if i < len(v.s) {
				n |= uint64(v.s[i])
			}
		}
	case v.k == kNull:
		if o.order[0].nullsFirst {
			return 0
		}
		return 1<<64 - 1
	case t == GUID:
		return 1 << 63 // compare decides
	case t == Real:
		// NaN is before all numbers, as in compareReals, and -0 is 0.
		if f := v.number(); f == 0 {
			n = 1 << 63
		} else if n = math.Float64bits(f); f < 0 {
			n = ^n
		} else if f > 0 {
			n |= 1 << 63
		} else {
			n = 0
		}
	default:
		n = uint64(v.n) ^ 1<<63
	}
	if !o.order[0].asc {
		n = ^n
	}
	return n
}

// exact reports whether equal orders mean equal keys, but for the two ends, where
// null may be.
func (o *sortOp) exact() bool {
	return len(o.keys) == 1 && o.keys[0].typ != String && o.keys[0].typ != GUID
}

func (o *sortOp) compare(a, b *sorted) int {
	if a.order != b.order {
		if a.order < b.order {
			return -1
		}
		return 1
	}
	if o.exact() && a.order != 0 && a.order != 1<<64-1 {
		return a.seq - b.seq
	}
	for i := range o.keys {
		x, y := &a.row[i], &b.row[i]
		if n := o.compareKey(i, x, y); n != 0 {
			return n
		}
	}
	return a.seq - b.seq
}

func (o *sortOp) compareKey(i int, x, y *Value) int {
	isString := o.keys[i].typ == String
	if !isString && (x.k == kNull || y.k == kNull) {
		switch {
		case x.k == y.k:
			return 0
		case (x.k == kNull) == o.order[i].nullsFirst:
			return -1
		default:
			return 1
		}
	}
	n := 0
	if isString {
		n = strings.Compare(x.s, y.s)
	} else {
		n, _ = compareValues(*x, *y)
	}
	if !o.order[i].asc {
		n = -n
	}
	return n
}

// topHeap has the row at its root that goes first when there are too many.
type topHeap struct {
	op   *sortOp
	rows []sorted
}

func (h *topHeap) Len() int           { return len(h.rows) }
func (h *topHeap) Less(i, j int) bool { return h.op.compare(&h.rows[i], &h.rows[j]) > 0 }
func (h *topHeap) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *topHeap) Push(x any)         { h.rows = append(h.rows, x.(sorted)) }
func (h *topHeap) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows = h.rows[:len(h.rows)-1]
	return last
}

type sortSink struct {
	op   *sortOp
	x    *exec
	next sink
	heap topHeap
	buf  []Value
	seq  int
}

func (o *sortOp) start(x *exec, next sink) sink {
	return &sortSink{op: o, x: x, next: next, heap: topHeap{op: o}, buf: make([]Value, len(o.keys)+len(o.live))}
}

func (s *sortSink) push(f []Value) bool {
	o := s.op
	if o.limit == 0 {
		return false
	}
	for i, k := range o.keys {
		s.buf[i] = k.eval(f)
	}
	s.seq++
	order := o.orderOf(&s.buf[0])
	full := o.limit > 0 && int64(len(s.heap.rows)) >= o.limit
	if full {
		candidate := sorted{row: s.buf, seq: s.seq, order: order}
		if o.compare(&candidate, &s.heap.rows[0]) >= 0 {
			return true
		}
	}
	for i, c := range o.live {
		s.buf[len(o.keys)+i] = f[o.cols[c].slot]
	}
	if full {
		root := &s.heap.rows[0]
		for i := range root.row {
			s.x.used += s.buf[i].size() - root.row[i].size()
		}
		copy(root.row, s.buf)
		root.seq, root.order = s.seq, order
		heap.Fix(&s.heap, 0)
		return s.x.grow(0)
	}
	row := s.x.keep(s.buf)
	if row == nil {
		return false
	}
	if o.limit > 0 {
		heap.Push(&s.heap, sorted{row: row, seq: s.seq, order: order})
	} else {
		s.heap.rows = append(s.heap.rows, sorted{row: row, seq: s.seq, order: order})
	}
	return true
}

func (s *sortSink) flush() {
	o := s.op
	compared := 0
	slices.SortFunc(s.heap.rows, func(a, b sorted) int {
		if compared++; compared&0xffff == 0 {
			s.x.spend(1024) // looks at the context
		}
		if s.x.err != nil {
			return 0 // the order does not matter any more
		}
		return o.compare(&a, &b)
	})
	if s.x.err != nil {
		return
	}
	frame := make([]Value, o.out.n)
	for _, r := range s.heap.rows {
		for i, c := range o.live {
			frame[c] = r.row[len(o.keys)+i]
		}
		if !s.x.tick() || !s.next.push(frame) {
			break
		}
	}
	s.heap.rows = nil
	if s.x.err == nil {
		s.next.flush()
	}
}

// distinctOp lets the first row of each combination pass.
type distinctOp struct {
	in, out *layout
	keys    []*expr
}

func (b *binder) distinct(p *pipe, n *opNode, en *env) {
	sc := p.scope()
	op := &distinctOp{in: p.lay, out: &layout{}}
	var cols []col
	taken := map[string]bool{}
	add := func(x *expr, name string) {
		if x.typ == Dynamic {
			b.fail(x.at, "", "distinct key '%s' is of a 'dynamic' type. Please use an explicit cast as grouping by a 'dynamic' type is not supported.", name)
		}
		op.keys = append(op.keys, x)
		cols = append(cols, col{name: uniqueName(name, taken), typ: x.typ})
	}
	for _, a := range n.args {
		if _, ok := a.e.(*starExpr); ok {
			for i := range p.cols {
				add(slotExpr(&p.cols[i], a.e.pos()), p.cols[i].name)
			}
			continue
		}
		x := b.expr(a.e, sc, en)
		if b.failed() {
			return
		}
		add(x, columnName(a, x, taken))
	}
	p.cols = cols
	p.rebase(op, op.out)
	p.serial = false
}

func (o *distinctOp) prune() {
	for _, k := range o.keys {
		mark(o.in, k.refs)
	}
}

func (o *distinctOp) start(x *exec, next sink) sink {
	g := newGrouper(x, o.keys)
	frame := make([]Value, o.out.n)
	return &funcSink{onPush: func(f []Value) bool {
		if at, isNew := g.group(f); at < 0 {
			return false
		} else if !isNew {
			return true
		}
		copy(frame, g.vals)
		return next.push(frame)
	}, onFlush: next.flush}
}

// sampleOp keeps a random choice of rows.
type sampleOp struct {
	in, out *layout
	cols    []col
	n       int64
}

func (b *binder) sample(p *pipe, n *opNode, en *env) {
	limit := b.constantInt(n.args[0].e, en)
	if n.name == "sample-distinct" {
		b.distinct(p, &opNode{at: n.at, args: n.by}, en)
		p.ops = append(p.ops, &takeOp{n: limit})
		return
	}
	if b.failed() {
		return
	}
	op := &sampleOp{in: p.lay, out: &layout{}, cols: p.cols, n: limit}
	p.rebase(op, op.out)
	p.serial = false
}

func (o *sampleOp) prune() {
	for i, c := range o.cols {
		if o.out.need[i] {
			o.in.need[c.slot] = true
		}
	}
}

func (o *sampleOp) start(x *exec, next sink) sink {
	var rows [][]Value
	row := make([]Value, len(o.cols))
	seen := int64(0)
	return &funcSink{onPush: func(f []Value) bool {
		seen++
		at := seen - 1
		if at >= o.n {
			if at = rand.Int64N(seen); at >= o.n {
				return true
			}
		}
		for i, c := range o.cols {
			row[i] = f[c.slot]
		}
		kept := x.keep(row)
		if kept == nil {
			return false
		}
		if at < int64(len(rows)) {
			x.used -= 24 + int64(len(kept))*valueSize
			rows[at] = kept
		} else {
			rows = append(rows, kept)
		}
		return true
	}, onFlush: func() { deliver(x, rows, o.out, next) }}
}

// deliver pushes kept rows, of which column i goes into slot i, and flushes.
func deliver(x *exec, rows [][]Value, out *layout, next sink) {
	frame := make([]Value, out.n)
	for _, r := range rows {
		copy(frame, r)
		if !x.tick() || !next.push(frame) {
			break
		}
	}
	if x.err == nil {
		next.flush()
	}
}

// getschema replaces the table by its schema.
func (b *binder) getschema(p *pipe) {
	leaf := &rowsLeaf{lay: &layout{}}
	for i, c := range p.cols {
		leaf.rows = append(leaf.rows, []Value{
			StringValue(c.name), IntValue(int32(i)), StringValue(dotnetType(c.typ)), StringValue(c.typ.String()),
		})
	}
	*p = pipe{src: leaf, lay: leaf.lay}
	for _, c := range []Column{{"ColumnName", String}, {"ColumnOrdinal", Int}, {"DataType", String}, {"ColumnType", String}} {
		p.cols = append(p.cols, col{name: c.Name, typ: c.Type, slot: leaf.lay.add()})
	}
}

// dotnetType is the name of a type in the DataType column of getschema.
func dotnetType(t Type) string {
	switch t {
	case Bool:
		return "System.SByte"
	case Int:
		return "System.Int32"
	case Long:
		return "System.Int64"
	case Real:
		return "System.Double"
	case String:
		return "System.String"
	case DateTime:
		return "System.DateTime"
	case TimeSpan:
		return "System.TimeSpan"
	case GUID:
		return "System.Guid"
	}
	return "System.Object"
}
