package kql

import (
	"context"
	"fmt"
	"unsafe"
)

// exec is one run of a plan. It is used by one goroutine.
type exec struct {
	ctx  context.Context
	err  error // the first failure; once set, nothing is delivered any more
	used int64 // bytes of state, estimated
	max  int64
	work int // since the context was last looked at

	slab     []Value // what is left of the last one
	slabSize int
}

// fail notes the first failure and returns false, for sinks to return.
func (x *exec) fail(err error) bool {
	if x.err == nil {
		x.err = err
	}
	return false
}

// grow accounts for n bytes of state and reports whether there is room.
func (x *exec) grow(n int64) bool {
	x.used += n
	if x.used <= x.max {
		return true
	}
	return x.fail(&Error{Kind: KindLimit, Message: fmt.Sprintf(
		"the query's intermediate results take more than %d MiB of memory; filter earlier or aggregate more", x.max>>20)})
}

// tick is called for every row that a source delivers or an operator makes. It
// looks at the context now and then.
func (x *exec) tick() bool { return x.spend(1) }

// spend counts work, in the cost of a row.
func (x *exec) spend(n int) bool {
	if x.work += n; x.work < 1024 {
		return x.err == nil
	}
	x.work = 0
	if err := x.ctx.Err(); err != nil {
		return x.fail(err)
	}
	return x.err == nil
}

const valueSize = int64(unsafe.Sizeof(Value{}))

// maxValue is how many bytes one value may take: an array of as many numbers as
// range() makes fits. It stops expressions that double their value again and
// again.
const maxValue = 64 << 20

// size estimates the bytes that v keeps alive beyond the Value itself.
func (v *Value) size() int64 {
	n := int64(len(v.s))
	if v.d != nil {
		n += v.d.weight
	}
	return n
}

// checked passes on a value that is not too large.
func (x *exec) checked(v Value) Value {
	if size := v.size(); size > 4096 {
		x.spend(int(size >> 12))
	}
	if len(v.s) > maxValue || v.d != nil && v.d.weight > maxValue {
		x.fail(&Error{Kind: KindLimit, Message: fmt.Sprintf("a value takes more than %d MiB", maxValue>>20)})
		return Value{}
	}
	return v
}

// maxSlab is how many values are allocated at once for rows that are kept.
const maxSlab = 8192

// keep copies a row and accounts for it. It is nil when there is no room.
func (x *exec) keep(row []Value) []Value {
	n := 24 + int64(len(row))*valueSize
	for i := range row {
		n += row[i].size()
	}
	if !x.grow(n) {
		return nil
	}
	if len(row) == 0 {
		return []Value{}
	}
	// Rows are cut from slabs: a million of them are few objects to the collector.
	if len(x.slab) < len(row) {
		x.slabSize = max(len(row), min(2*x.slabSize, maxSlab))
		x.slab = make([]Value, x.slabSize)
	}
	out := x.slab[:len(row):len(row)]
	x.slab = x.slab[len(row):]
	copy(out, row)
	return out
}

// A sink takes rows. push returns false when it wants no more; flush says that
// there are none, and is called once unless the run has failed. A pushed row is
// the caller's and may change after push returns.
type sink interface {
	push(f []Value) bool
	flush()
}

// layout is a frame of slots that the operators between two materialisations
// share. Every computed column has a slot of its own, so an operator writes what
// it adds and leaves the rest in place.
type layout struct {
	n    int
	need []bool // which slots are read; set by prune
}

func (l *layout) add() int {
	l.n++
	l.need = append(l.need, false)
	return l.n - 1
}

// col is a column in scope.
type col struct {
	name string
	typ  Type
	slot int
}

// An operator is one step of a pipe.
type operator interface {
	// prune marks in the input's layout what the operator reads, given what is
	// needed of its output.
	prune()
	// start returns the sink for its input, given the one for its output.
	start(x *exec, next sink) sink
}

// A leaf is what a pipe begins with.
type leaf interface {
	prune()
	// run pushes all rows into s until it returns false.
	run(x *exec, s sink)
}

// pipe is a bound tabular expression.
type pipe struct {
	src    leaf
	ops    []operator
	cols   []col
	lay    *layout // of the output
	name   string  // of the table, for union's withsource
	serial bool    // the order of rows is defined: after sort, top, range, serialize
	open   bool    // conditions may be applied earlier: only filters and projections so far
	whole  bool    // no row of the source was left out yet
	render *Render
}

// bound hands a condition on a column to what it may prune.
func (p *pipe) bound(c bound) {
	if !p.open {
		return
	}
	if src, ok := p.src.(interface{ bound(c bound) }); ok {
		src.bound(c)
	}
}

// needAll marks every visible column of the output as read.
func (p *pipe) needAll() {
	for _, c := range p.cols {
		p.lay.need[c.slot] = true
	}
}

// prune walks backwards and marks what is read.
func (p *pipe) prune() {
	for i := len(p.ops) - 1; i >= 0; i-- {
		p.ops[i].prune()
	}
	p.src.prune()
}

// run delivers all rows into s, and flushes it.
func (p *pipe) run(x *exec, s sink) {
	for i := len(p.ops) - 1; i >= 0; i-- {
		s = p.ops[i].start(x, s)
	}
	if x.err != nil {
		return
	}
	p.src.run(x, s)
	if x.err == nil {
		s.flush()
	}
}

// funcSink is a sink of two functions.
type funcSink struct {
	onPush  func(f []Value) bool
	onFlush func()
}

func (s *funcSink) push(f []Value) bool { return s.onPush(f) }

func (s *funcSink) flush() {
	if s.onFlush != nil {
		s.onFlush()
	}
}
