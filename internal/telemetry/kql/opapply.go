package kql

import "slices"

// applyOp is mv-apply: a row is expanded as by mv-expand, a pipe of its own runs
// over what that makes, and its rows go on together with the row's own columns.
type applyOp struct {
	in, out *layout
	sub     *pipe
	leaf    *applyLeaf
	from    []applyCol // one per column of the output
}

// applyCol says where a column comes from: a slot of the input, or one of the
// inner pipe.
type applyCol struct {
	inner bool
	slot  int
}

// applyLeaf begins the inner pipe with the one row of the input.
type applyLeaf struct {
	in, lay *layout
	cols    []col // of the input; column i is in slot i
	row     []Value
	frame   []Value
}

func (l *applyLeaf) prune() {
	for i, c := range l.cols {
		if l.lay.need[i] {
			l.in.need[c.slot] = true
		}
	}
}

func (l *applyLeaf) run(x *exec, next sink) {
	if len(l.frame) < l.lay.n {
		l.frame = make([]Value, l.lay.n)
	}
	for i, c := range l.cols {
		if l.lay.need[i] {
			l.frame[i] = l.row[c.slot]
		}
	}
	if x.tick() {
		next.push(l.frame)
	}
}

func (b *binder) mvApply(p *pipe, n *opNode, en *env) {
	leaf := &applyLeaf{in: p.lay, lay: &layout{}, cols: p.cols}
	sub := &pipe{src: leaf, lay: leaf.lay}
	for _, c := range p.cols {
		sub.cols = append(sub.cols, col{name: c.name, typ: c.typ, slot: leaf.lay.add()})
	}
	b.mvExpand(sub, n, en)
	expanded := map[string]bool{}
	for _, a := range n.args {
		if e, ok := a.e.(*nameExpr); ok && a.name() == "" {
			expanded[e.name] = true
		}
	}
	b.inApply++
	b.operators(sub, n.sub.ops, en)
	b.inApply--
	b.op = n.name
	if b.failed() {
		return
	}
	op := &applyOp{in: p.lay, out: &layout{}, sub: sub, leaf: leaf}
	var cols []col
	rest := slices.Clone(sub.cols)
	for _, c := range p.cols {
		if i := slices.IndexFunc(rest, func(o col) bool { return o.name == c.name }); i >= 0 {
			cols = append(cols, rest[i])
			op.from = append(op.from, applyCol{inner: true, slot: rest[i].slot})
			rest = slices.Delete(rest, i, i+1)
		} else if !expanded[c.name] {
			cols = append(cols, c)
			op.from = append(op.from, applyCol{slot: c.slot})
		}
	}
	for _, c := range rest {
		cols = append(cols, c)
		op.from = append(op.from, applyCol{inner: true, slot: c.slot})
	}
	p.cols = cols
	p.rebase(op, op.out)
	p.serial = false
}

func (o *applyOp) prune() {
	for i, f := range o.from {
		switch {
		case !o.out.need[i]:
		case f.inner:
			o.sub.lay.need[f.slot] = true
		default:
			o.in.need[f.slot] = true
		}
	}
	o.sub.prune()
}

func (o *applyOp) start(x *exec, next sink) sink {
	frame := make([]Value, o.out.n)
	row := make([]Value, len(o.from))
	var rows [][]Value
	return &funcSink{onPush: func(f []Value) bool {
		// What the inner pipe holds is let go of when it has ended.
		before := x.used
		o.leaf.row = f
		rows = rows[:0]
		o.sub.run(x, &funcSink{onPush: func(g []Value) bool {
			for i, c := range o.from {
				if c.inner && o.out.need[i] {
					row[i] = g[c.slot]
				}
			}
			kept := x.keep(row)
			rows = append(rows, kept)
			return kept != nil && x.tick()
		}})
		if x.err != nil {
			return false
		}
		x.used = before
		for _, r := range rows {
			for i, c := range o.from {
				if c.inner {
					frame[i] = r[i]
				} else {
					frame[i] = f[c.slot]
				}
			}
			if !next.push(frame) {
				return false
			}
		}
		return true
	}, onFlush: next.flush}
}
