package kql

import (
	"math"
	"slices"
	"strings"
)

// listLimit reads the largest number of elements, the optional second argument of
// make_list() and the like.
func (b *binder) listLimit(c *aggCall) int {
	if len(c.args) < 2 {
		if c.fn == "makelist" || c.fn == "makeset" { // the older names keep their own default
			return 128
		}
		return maxItems
	}
	v := c.args[1].val
	if v == nil || !isInteger(c.args[1].typ) || v.n < 0 {
		b.fail(c.args[1].at, "", "%s(): argument 2 must be a constant integer", c.fn)
		return 0
	}
	return int(min(v.n, maxItems))
}

type listAcc struct {
	x     *exec
	eval  func(f []Value) Value
	most  int
	nulls bool
	items []Value
}

func (a *listAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull && !a.nulls || len(a.items) >= a.most {
		return
	}
	if a.x.grow(2*valueSize + v.size()) {
		a.items = append(a.items, v)
	}
}

func (a *listAcc) result(out []Value) { out[0] = arrayValue(a.items) }

func bindMakeList(nulls bool) func(b *binder, c *aggCall) {
	return func(b *binder, c *aggCall) {
		x, most := stringNotNull(c.args[0]), b.listLimit(c)
		c.types = []Type{Dynamic}
		c.make = func(run *exec) accumulator { return &listAcc{x: run, eval: x.eval, most: most, nulls: nulls} }
	}
}

type setAcc struct {
	x    *exec
	eval func(f []Value) Value
	most int
	set  *orderedSet
}

func (a *setAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull {
		return
	}
	// The elements of an array count one by one.
	for _, it := range elements(v) {
		if len(a.set.items) < a.most && a.set.add(it) && !a.x.grow(4*valueSize+2*it.size()) {
			return
		}
	}
}

func (a *setAcc) result(out []Value) { out[0] = arrayValue(a.set.items) }

func bindMakeSet(b *binder, c *aggCall) {
	x, most := stringNotNull(c.args[0]), b.listLimit(c)
	c.types = []Type{Dynamic}
	c.make = func(run *exec) accumulator { return &setAcc{x: run, eval: x.eval, most: most, set: newSet()} }
}

type bagAcc struct {
	x     *exec
	eval  func(f []Value) Value
	most  int
	seen  map[string]struct{}
	keys  []string
	items []Value
}

func (a *bagAcc) add(f []Value) {
	v := a.eval(f).expand()
	if v.k != kBag {
		return
	}
	for i, k := range v.d.keys {
		if _, ok := a.seen[k]; ok || len(a.keys) >= a.most {
			continue
		}
		if !a.x.grow(2*valueSize + int64(len(k)) + v.d.items[i].size()) {
			return
		}
		a.seen[k] = struct{}{}
		a.keys, a.items = append(a.keys, k), append(a.items, v.d.items[i])
	}
}

func (a *bagAcc) result(out []Value) { out[0] = bagValue(a.keys, a.items) }

func bindMakeBag(b *binder, c *aggCall) {
	x, most := b.argument(c.fn, 0, c.args[0], 'y'), b.listLimit(c)
	c.types = []Type{Dynamic}
	c.make = func(run *exec) accumulator {
		return &bagAcc{x: run, eval: x.eval, most: most, seen: map[string]struct{}{}}
	}
}

// percentileAcc keeps all values. It answers with a value of the group, by nearest
// rank, where the service estimates.
type percentileAcc struct {
	x      *exec
	eval   func(f []Value) Value
	ranks  []float64
	kind   kind
	values []int64 // bits of reals, or the numbers themselves
	array  bool
}

func (a *percentileAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull || v.k == kReal && math.IsNaN(v.Real()) {
		return
	}
	a.kind = v.k
	if a.x.grow(16) {
		a.values = append(a.values, v.n)
	}
}

func (a *percentileAcc) result(out []Value) {
	if a.kind == kReal {
		slices.SortFunc(a.values, func(x, y int64) int {
			return compareReals(math.Float64frombits(uint64(x)), math.Float64frombits(uint64(y)))
		})
	} else {
		slices.Sort(a.values)
	}
	n := len(a.values)
	found := make([]Value, len(a.ranks))
	for i, r := range a.ranks {
		if n > 0 {
			at := int(math.Ceil(r/100*float64(n))) - 1
			found[i] = Value{k: a.kind, n: a.values[max(0, min(at, n-1))]}
		}
	}
	if a.array {
		out[0] = arrayValue(found)
		return
	}
	copy(out, found)
}

// bindRanks reads the percentiles that are asked for.
func (b *binder) bindRanks(c *aggCall) (*expr, []float64) {
	x := c.args[0]
	switch {
	case isNumber(x.typ), x.typ == TimeSpan, x.typ == DateTime:
	case x.typ == Dynamic:
		x = castExpr(x, Real)
	default:
		b.fail(x.at, "", "%s(): argument 1 must be a number, timespan or datetime, not %s", c.fn, x.typ)
	}
	var ranks []float64
	for _, r := range c.args[1:] {
		if r.val == nil {
			b.fail(r.at, "", "%s(): percentiles must be constant", c.fn)
			return x, nil
		}
		for _, it := range elements(*r.val) {
			n := cast(it, Real)
			if n.k == kNull || !(n.Real() >= 0 && n.Real() <= 100) {
				b.fail(r.at, "", "%s(): a percentile must be a number from 0 to 100", c.fn)
				return x, nil
			}
			ranks = append(ranks, n.Real())
		}
	}
	return x, ranks
}

func bindPercentiles(b *binder, c *aggCall) {
	x, ranks := b.bindRanks(c)
	if len(ranks) != len(c.args)-1 {
		b.fail(c.at, "", "%s(): a percentile must be a number", c.fn)
		return
	}
	for _, r := range ranks {
		c.types = append(c.types, x.typ)
		c.names = append(c.names, "percentile_"+x.name+"_"+strings.ReplaceAll(RealValue(r).String(), ".", "_"))
	}
	c.make = func(run *exec) accumulator { return &percentileAcc{x: run, eval: x.eval, ranks: ranks} }
}

func bindPercentileArray(b *binder, c *aggCall) {
	x, ranks := b.bindRanks(c)
	c.types = []Type{Dynamic}
	c.make = func(run *exec) accumulator {
		return &percentileAcc{x: run, eval: x.eval, ranks: ranks, array: true}
	}
}

// argAcc keeps values of the row that has the extreme one.
type argAcc struct {
	x    *exec
	sign int
	of   func(f []Value) Value
	also []*expr
	any  bool
	best []Value
}

func (a *argAcc) add(f []Value) {
	v := a.of(f)
	if a.any {
		old := a.best[0]
		switch {
		case v.k == kNull:
			return
		case old.k == kNull:
		default:
			if n, ok := compareValues(v, old); !ok || n*a.sign <= 0 {
				return
			}
		}
	} else {
		// A group in which all are null has its first row.
		a.any = true
		a.best = make([]Value, 1+len(a.also))
		a.x.grow(int64(len(a.best)) * valueSize)
	}
	a.best[0] = v
	for i, e := range a.also {
		a.best[i+1] = e.eval(f)
	}
}

func (a *argAcc) result(out []Value) {
	clear(out)
	copy(out, a.best)
}

// starColumns are the columns that * stands for: all but the group keys and those
// in not.
func (c *aggCall) starColumns(not ...string) []*expr {
	var list []*expr
	for i := range c.scope.cols {
		x := &c.scope.cols[i]
		if !slices.Contains(c.keys, x.name) && !slices.Contains(not, x.name) {
			list = append(list, slotExpr(x, c.at))
		}
	}
	return list
}

func bindArgExtreme(sign int) func(b *binder, c *aggCall) {
	return func(b *binder, c *aggCall) {
		if len(c.args) == 0 {
			b.fail(c.at, "", "%s(): argument 1 must be an expression", c.fn)
			return
		}
		of := stringNotNull(c.args[0])
		also := c.args[1:]
		if c.star {
			also = append(also, c.starColumns(of.name)...)
		}
		c.types, c.names = []Type{of.typ}, []string{of.name}
		if of.name == "" {
			// An expression has the function's name: max_, min_.
			c.names[0] = map[int]string{1: "max_", -1: "min_"}[sign]
		}
		c.refs = append(c.refs, of.refs...)
		for _, e := range also {
			c.types, c.names = append(c.types, e.typ), append(c.names, e.name)
			c.refs = append(c.refs, e.refs...)
		}
		c.make = func(run *exec) accumulator { return &argAcc{x: run, sign: sign, of: of.eval, also: also} }
	}
}

// anyAcc takes the first row; of one expression, the first value that is not
// empty.
type anyAcc struct {
	of    []*expr
	done  bool
	taken []Value
}

func (a *anyAcc) add(f []Value) {
	if a.done {
		return
	}
	if a.taken == nil {
		a.taken = make([]Value, len(a.of))
	}
	for i, e := range a.of {
		a.taken[i] = e.eval(f)
	}
	a.done = len(a.of) > 1 || !isEmpty(a.taken[0])
}

func (a *anyAcc) result(out []Value) {
	clear(out)
	copy(out, a.taken)
}

func bindTakeAny(_ *binder, c *aggCall) {
	of := c.args
	if c.star {
		of = append(of, c.starColumns()...)
	}
	for _, e := range of {
		c.types, c.names = append(c.types, e.typ), append(c.names, e.name)
		if e.name == "" {
			c.names[len(c.names)-1] = "any_"
		}
		c.refs = append(c.refs, e.refs...)
	}
	if c.fn == "any" || c.fn == "anyif" {
		for i, e := range of {
			c.names[i] = c.fn + "_" + e.name
		}
	}
	c.make = func(*exec) accumulator { return &anyAcc{of: of} }
}
