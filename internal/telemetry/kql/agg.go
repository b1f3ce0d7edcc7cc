package kql

import (
	"math"
	"slices"
)

// An accumulator is the state of an aggregate in one group.
type accumulator interface {
	add(f []Value)
	// result writes the aggregate's results, one or more.
	result(out []Value)
}

// aggregate is an aggregate function.
type aggregate struct {
	least, most int // how many arguments, without the condition of …if
	condition   bool
	prefix      string // of the result's name: prefix_argument
	// bind checks the arguments and makes the call.
	bind func(b *binder, c *aggCall)
}

// aggCall is a call of an aggregate.
type aggCall struct {
	at    int
	fn    string
	args  []*expr
	star  bool // the second argument of arg_max, or the only one of take_any, is *
	when  func(f []Value) bool
	refs  []int
	make  func(x *exec) accumulator
	types []Type
	names []string // the names of the results, when there is more than one or they have a rule of their own
	slot  int      // of the first result
	scope *scope   // that the arguments see
	keys  []string // the names of the group keys
}

// aggScope is where aggregates stand: in are the rows that they read.
type aggScope struct {
	in    *scope
	lay   *layout // of the results
	calls []*aggCall
	keys  []string
}

// aggregates makes the table of aggregate functions.
func aggregates() map[string]*aggregate {
	all := map[string]*aggregate{
		"count":                {most: 1, prefix: "count", bind: bindCount},
		"sum":                  {least: 1, most: 1, prefix: "sum", bind: bindSum},
		"avg":                  {least: 1, most: 1, prefix: "avg", bind: bindAvg},
		"min":                  {least: 1, most: 1, prefix: "min", bind: bindExtreme(-1)},
		"max":                  {least: 1, most: 1, prefix: "max", bind: bindExtreme(1)},
		"dcount":               {least: 1, most: 2, prefix: "dcount", bind: bindDistinct},
		"count_distinct":       {least: 1, most: 1, prefix: "count_distinct", bind: bindDistinct},
		"stdev":                {least: 1, most: 1, prefix: "stdev", bind: bindVariance(true, true)},
		"stdevp":               {least: 1, most: 1, prefix: "stdevp", bind: bindVariance(false, true)},
		"variance":             {least: 1, most: 1, prefix: "variance", bind: bindVariance(true, false)},
		"variancep":            {least: 1, most: 1, prefix: "variancep", bind: bindVariance(false, false)},
		"make_list":            {least: 1, most: 2, prefix: "list", bind: bindMakeList(false)},
		"make_list_with_nulls": {least: 1, most: 2, prefix: "list", bind: bindMakeList(true)},
		"make_set":             {least: 1, most: 2, prefix: "set", bind: bindMakeSet},
		"make_bag":             {least: 1, most: 2, prefix: "bag", bind: bindMakeBag},
		"percentile":           {least: 2, most: 2, bind: bindPercentiles},
		"percentiles":          {least: 2, most: 65, bind: bindPercentiles},
		"percentiles_array":    {least: 2, most: 65, prefix: "percentiles", bind: bindPercentileArray},
		"arg_max":              {least: 1, most: 65, bind: bindArgExtreme(1)},
		"arg_min":              {least: 1, most: 65, bind: bindArgExtreme(-1)},
		"take_any":             {least: 1, most: 65, bind: bindTakeAny},
		"binary_all_and":       {least: 1, most: 1, bind: bindBinaryAll('&')},
		"binary_all_or":        {least: 1, most: 1, bind: bindBinaryAll('|')},
		"binary_all_xor":       {least: 1, most: 1, bind: bindBinaryAll('^')},
	}
	// …if takes a condition after the other arguments.
	for name, base := range map[string]string{
		"countif": "count", "sumif": "sum", "avgif": "avg", "minif": "min", "maxif": "max", "dcountif": "dcount",
		"count_distinctif": "count_distinct", "stdevif": "stdev", "varianceif": "variance", "variancepif": "variancep",
		"make_list_if": "make_list", "make_set_if": "make_set", "make_bag_if": "make_bag", "take_anyif": "take_any",
	} {
		a := *all[base]
		a.condition = true
		switch name {
		case "make_list_if", "make_set_if", "make_bag_if":
		case "countif":
			a.prefix, a.most = name, 0
		case "take_anyif":
			a.most = 1
		default:
			a.prefix = name
		}
		all[name] = &a
	}
	for alias, name := range map[string]string{"any": "take_any", "anyif": "take_anyif", "makelist": "make_list", "makeset": "make_set"} {
		all[alias] = all[name]
	}
	return all
}

// aggregate binds a call of an aggregate. Its value is read from the results.
func (b *binder) aggregate(e *callExpr, a *aggregate, sc *scope, en *env) *expr {
	c := b.aggCall(e, a, sc, en)
	if b.failed() {
		return constant(e.at, Value{}, Dynamic)
	}
	if len(c.types) != 1 {
		return b.fail(e.at, "", "'%s' has %d results and cannot be part of an expression", e.fn, len(c.types))
	}
	out := slotExpr(&col{typ: c.types[0], slot: c.slot}, e.at)
	out.slot = -1 // it has no name of its own
	out.name = c.resultName(a)
	return out
}

func (c *aggCall) resultName(a *aggregate) string {
	switch {
	case len(c.names) > 0:
		return c.names[0]
	case len(c.args) == 0 || a.prefix == "countif":
		return a.prefix + "_"
	}
	return a.prefix + "_" + c.args[0].name
}

func (b *binder) aggCall(e *callExpr, a *aggregate, sc *scope, en *env) *aggCall {
	agg := sc.agg
	c := &aggCall{at: e.at, fn: e.fn, scope: agg.in, keys: agg.keys}
	args := e.args
	least, most := a.least, a.most
	if a.condition {
		least, most = least+1, most+1
	}
	if len(args) < least || len(args) > most {
		b.fail(e.at, "", "the aggregate '%s' takes %d to %d arguments, not %d", e.fn, least, most, len(args))
		return c
	}
	if a.condition {
		// The condition is the second argument of those that take a limit too.
		at := len(args) - 1
		if a.most > 1 && len(args) > 2 {
			at = 1
		}
		cond := b.condition(args[at].e, agg.in, en)
		if b.failed() {
			return c
		}
		c.when = cond.truth()
		c.refs = append(c.refs, cond.refs...)
		args = slices.Delete(slices.Clone(args), at, at+1)
	}
	for _, n := range args {
		if _, ok := n.e.(*starExpr); ok {
			c.star = true
			continue
		}
		x := b.expr(n.e, agg.in, en)
		if b.failed() {
			return c
		}
		c.args = append(c.args, x)
		c.refs = append(c.refs, x.refs...)
	}
	if c.star && e.fn != "arg_max" && e.fn != "arg_min" && e.fn != "take_any" && e.fn != "any" {
		b.fail(e.at, "", "'*' is not allowed here")
		return c
	}
	a.bind(b, c)
	if b.failed() {
		return c
	}
	if c.when != nil {
		inner, when := c.make, c.when
		c.make = func(x *exec) accumulator { return &onlyIf{inner(x), when} }
	}
	for i := range c.types {
		slot := agg.lay.add()
		if i == 0 {
			c.slot = slot
		}
	}
	agg.calls = append(agg.calls, c)
	return c
}

// onlyIf leaves out the rows for which a condition does not hold.
type onlyIf struct {
	accumulator
	when func(f []Value) bool
}

func (a *onlyIf) add(f []Value) {
	if a.when(f) {
		a.accumulator.add(f)
	}
}

func (b *binder) summable(c *aggCall) *expr {
	x := c.args[0]
	switch {
	case isNumber(x.typ), x.typ == TimeSpan:
		return x
	case x.typ == Bool:
		return castExpr(x, Long)
	case x.typ == Dynamic:
		return castExpr(x, Real)
	}
	b.fail(x.at, "", "%s(): argument 1 must be a number or timespan, not %s", c.fn, x.typ)
	return x
}

type countAcc struct{ n int64 }

func (a *countAcc) add([]Value)        { a.n++ }
func (a *countAcc) result(out []Value) { out[0] = LongValue(a.n) }

func bindCount(_ *binder, c *aggCall) {
	c.types = []Type{Long}
	c.make = func(*exec) accumulator { return &countAcc{} }
}

type sumAcc struct {
	eval func(f []Value) Value
	kind kind
	n    int64
	f    float64
}

func (a *sumAcc) add(f []Value) {
	v := a.eval(f)
	switch v.k {
	case kNull:
	case kReal:
		a.f += math.Float64frombits(uint64(v.n))
	default:
		a.n += v.n
	}
}

func (a *sumAcc) result(out []Value) {
	if a.kind == kReal {
		out[0] = RealValue(a.f + float64(a.n))
		return
	}
	out[0] = Value{k: a.kind, n: a.n}
}

func bindSum(b *binder, c *aggCall) {
	x := b.summable(c)
	t, k := x.typ, kLong
	switch t {
	case Real:
		k = kReal
	case TimeSpan:
		k = kTimeSpan
	default:
		t = Long
	}
	c.types = []Type{t}
	c.make = func(*exec) accumulator { return &sumAcc{eval: x.eval, kind: k} }
}

type avgAcc struct {
	eval  func(f []Value) Value
	span  bool
	n     int64
	total float64
}

func (a *avgAcc) add(f []Value) {
	if v := a.eval(f); v.k != kNull {
		a.n++
		a.total += v.number()
	}
}

func (a *avgAcc) result(out []Value) {
	if a.span {
		out[0] = spanOf(a.total / float64(a.n))
		return
	}
	out[0] = RealValue(a.total / float64(a.n)) // NaN of nothing, as documented
}

func bindAvg(b *binder, c *aggCall) {
	x := b.summable(c)
	c.types = []Type{Real}
	span := x.typ == TimeSpan
	if span {
		c.types[0] = TimeSpan
	}
	c.make = func(*exec) accumulator { return &avgAcc{eval: x.eval, span: span} }
}

type extremeAcc struct {
	eval func(f []Value) Value
	sign int
	best Value
}

func (a *extremeAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull {
		return
	}
	if a.best.k == kNull {
		a.best = v
	} else if n, ok := compareValues(v, a.best); ok && n*a.sign > 0 {
		a.best = v
	}
}

func (a *extremeAcc) result(out []Value) { out[0] = a.best }

func bindExtreme(sign int) func(b *binder, c *aggCall) {
	return func(_ *binder, c *aggCall) {
		x := stringNotNull(c.args[0])
		c.types = []Type{x.typ}
		c.make = func(*exec) accumulator { return &extremeAcc{eval: x.eval, sign: sign} }
	}
}

// distinctAcc counts distinct values. It counts exactly, where the service's
// dcount() estimates.
type distinctAcc struct {
	x    *exec
	eval func(f []Value) Value
	seen map[setKey]struct{}
}

func (a *distinctAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull {
		return
	}
	k := keyOf(v)
	if _, ok := a.seen[k]; !ok {
		if a.x.grow(64 + int64(len(k.s))) {
			a.seen[k] = struct{}{}
		}
	}
}

func (a *distinctAcc) result(out []Value) { out[0] = LongValue(int64(len(a.seen))) }

func bindDistinct(_ *binder, c *aggCall) {
	x := stringNotNull(c.args[0])
	c.types = []Type{Long}
	c.make = func(run *exec) accumulator { return &distinctAcc{x: run, eval: x.eval, seen: map[setKey]struct{}{}} }
}

// varianceAcc is Welford's running variance.
type varianceAcc struct {
	eval         func(f []Value) Value
	sample, root bool
	n            int64
	mean, m2     float64
}

func (a *varianceAcc) add(f []Value) {
	v := a.eval(f)
	if v.k == kNull {
		return
	}
	a.n++
	x := v.number()
	d := x - a.mean
	a.mean += d / float64(a.n)
	a.m2 += d * (x - a.mean)
}

func (a *varianceAcc) result(out []Value) {
	n := float64(a.n)
	if a.sample {
		n--
	}
	v := 0.0
	if n > 0 {
		v = a.m2 / n
	}
	if a.root {
		v = math.Sqrt(v)
	}
	out[0] = RealValue(v)
}

func bindVariance(sample, root bool) func(b *binder, c *aggCall) {
	return func(b *binder, c *aggCall) {
		x := b.summable(c)
		c.types = []Type{Real}
		c.make = func(*exec) accumulator { return &varianceAcc{eval: x.eval, sample: sample, root: root} }
	}
}

type binaryAllAcc struct {
	eval func(f []Value) Value
	op   byte
	any  bool
	n    int64
}

func (a *binaryAllAcc) add(f []Value) {
	v := a.eval(f)
	switch {
	case v.k == kNull:
	case !a.any:
		a.any, a.n = true, v.n
	case a.op == '&':
		a.n &= v.n
	case a.op == '|':
		a.n |= v.n
	default:
		a.n ^= v.n
	}
}

func (a *binaryAllAcc) result(out []Value) {
	out[0] = Value{}
	if a.any {
		out[0] = LongValue(a.n)
	}
}

func bindBinaryAll(op byte) func(b *binder, c *aggCall) {
	return func(b *binder, c *aggCall) {
		x := b.argument(c.fn, 0, c.args[0], 'i')
		c.types = []Type{Long}
		c.names = []string{x.name}
		c.make = func(*exec) accumulator { return &binaryAllAcc{eval: x.eval, op: op} }
	}
}
