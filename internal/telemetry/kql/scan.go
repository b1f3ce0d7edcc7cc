package kql

import (
	"errors"
	"fmt"
	"time"
)

// scanLeaf reads a table. Its slots are the table's columns.
type scanLeaf struct {
	table  Table
	name   string
	lay    *layout
	time   int // the slot of the time column, or -1
	span   Timespan
	bounds []bound
	limit  int
	need   []int
}

func (b *binder) scan(t Table, name string) *pipe {
	cols := t.Columns()
	leaf := &scanLeaf{table: t, name: name, lay: &layout{}, time: -1, span: b.opt.Timespan}
	p := &pipe{src: leaf, lay: leaf.lay, name: name, open: true, whole: true}
	for _, c := range cols {
		slot := leaf.lay.add()
		p.cols = append(p.cols, col{name: c.Name, typ: c.Type, slot: slot})
		if c.Name == t.TimeColumn() && c.Type == DateTime {
			leaf.time = slot
		}
	}
	return p
}

func (s *scanLeaf) bound(c bound) {
	if c.slot == s.time && s.time >= 0 {
		s.bounds = append(s.bounds, c)
	}
}

// spanned reports whether rows outside of Options.Timespan must be left out.
func (s *scanLeaf) spanned() bool {
	return s.time >= 0 && (!s.span.From.IsZero() || !s.span.To.IsZero())
}

func (s *scanLeaf) prune() {
	if s.spanned() {
		s.lay.need[s.time] = true
	}
	s.need = []int{}
	for i := range len(s.table.Columns()) {
		if s.lay.need[i] {
			s.need = append(s.need, i)
		}
	}
}

// hint is known once the query runs, when what bounds the time is.
func (s *scanLeaf) hint() Hint {
	h := Hint{Columns: s.need, From: s.span.From, To: s.span.To, Limit: s.limit}
	if s.time < 0 {
		h.From, h.To = time.Time{}, time.Time{}
	}
	for _, c := range s.bounds {
		v := c.value.eval(nil)
		if v.k != kDateTime {
			continue
		}
		at := v.Time()
		if (c.op == cGe || c.op == cGt || c.op == cEq) && at.After(h.From) {
			h.From = at
		}
		if (c.op == cLe || c.op == cLt || c.op == cEq) && (h.To.IsZero() || at.Before(h.To)) {
			h.To = at
		}
	}
	return h
}

func (s *scanLeaf) run(x *exec, next sink) {
	frame := make([]Value, s.lay.n)
	need := s.need
	keep := func([]Value) bool { return true }
	if s.spanned() {
		from, to := int64(0), int64(maxDateTicks)+1
		if !s.span.From.IsZero() {
			from = DateTimeValue(s.span.From).n
		}
		if !s.span.To.IsZero() {
			to = DateTimeValue(s.span.To).n
		}
		at := s.time
		keep = func(row []Value) bool { v := &row[at]; return v.k == kDateTime && v.n >= from && v.n < to }
	}
	err := s.table.Scan(x.ctx, s.hint(), func(row []Value) bool {
		if !x.tick() {
			return false
		}
		if !keep(row) {
			return true
		}
		for _, i := range need {
			frame[i] = row[i]
		}
		return next.push(frame)
	})
	if err != nil {
		if ctx := x.ctx.Err(); ctx != nil && errors.Is(err, ctx) {
			x.fail(err)
			return
		}
		x.fail(fmt.Errorf("scan table %s: %w", s.name, err))
	}
}

// rowsLeaf delivers rows that are known: a datatable, or the one row of print.
type rowsLeaf struct {
	lay  *layout
	rows [][]Value
}

func (r *rowsLeaf) prune() {}

func (r *rowsLeaf) run(x *exec, next sink) {
	if r.lay == nil {
		return
	}
	frame := make([]Value, r.lay.n)
	for _, row := range r.rows {
		copy(frame, row)
		if !x.tick() || !next.push(frame) {
			return
		}
	}
}

func (b *binder) datatable(e *datatableExpr) *pipe {
	leaf := &rowsLeaf{lay: &layout{}}
	p := &pipe{src: leaf, lay: leaf.lay, open: true, whole: true}
	taken := map[string]bool{}
	for _, c := range e.cols {
		if taken[c.Name] {
			b.fail(e.at, "", "a column named '%s' is declared twice", c.Name)
			return p
		}
		taken[c.Name] = true
		p.cols = append(p.cols, col{name: c.Name, typ: c.Type, slot: leaf.lay.add()})
	}
	for i := 0; i+len(e.cols) <= len(e.rows); i += len(e.cols) {
		row := make([]Value, len(e.cols))
		for j, c := range e.cols {
			v := e.rows[i+j]
			if v.typ != c.Type {
				// A value of another type is converted, as in the documentation's
				// own examples (strings for datetimes, longs for reals).
				v.val = cast(v.val, c.Type)
			}
			row[j] = v.val
		}
		leaf.rows = append(leaf.rows, row)
	}
	return p
}

// rangeLeaf is the range operator.
type rangeLeaf struct {
	lay            *layout
	from, to, step *expr
}

func (r *rangeLeaf) prune() {}

func (r *rangeLeaf) run(x *exec, next sink) {
	from, step := r.from.eval(nil), r.step.eval(nil)
	n := rangeCount(from, r.to.eval(nil), step)
	frame := make([]Value, r.lay.n)
	for i := int64(0); i < n; i++ {
		frame[0] = rangeItem(from, step, i)
		if !x.tick() || !next.push(frame) {
			return
		}
	}
}

// source binds an operator that begins a pipe.
func (b *binder) source(n *opNode, en *env) *pipe {
	switch n.name {
	case "print":
		leaf := &rowsLeaf{lay: &layout{}}
		leaf.rows = [][]Value{nil}
		p := &pipe{src: leaf, lay: leaf.lay}
		b.printed(p, n, en)
		return p
	case "range":
		return b.rangeSource(n, en)
	case "union":
		return b.union(nil, n, en)
	case "search":
		return b.search(nil, n, en)
	}
	b.fail(n.at, "", "the operator cannot begin a query")
	return b.emptyPipe()
}

func (b *binder) rangeSource(n *opNode, en *env) *pipe {
	args := make([]*expr, 3)
	for i := range args {
		args[i] = b.expr(n.args[i+1].e, nil, en)
	}
	leaf := &rangeLeaf{lay: &layout{}}
	p := &pipe{src: leaf, lay: leaf.lay, serial: true}
	if b.failed() {
		return p
	}
	t := rangeType(b, args)
	if b.failed() {
		return p
	}
	leaf.from, leaf.to, leaf.step = args[0], args[1], args[2]
	p.cols = []col{{name: n.args[0].name(), typ: t, slot: leaf.lay.add()}}
	return p
}
