package kql

// window is what row_number(), prev() and the like see of the rows around the
// current one.
type window struct {
	used        bool
	back, ahead int64 // how far prev() and next() reach
	rows        [][]Value
	first       int64 // the index of rows[0]
	at          int64 // the index of the current row
}

// row returns the row at a distance, or nil.
func (w *window) row(by int64) []Value {
	i := w.at + by - w.first
	if i < 0 || i >= int64(len(w.rows)) {
		return nil
	}
	return w.rows[i]
}

// maxReach is how far prev() and next() may reach.
const maxReach = 100_000

func windowFunctions() map[string]*function {
	return map[string]*function{
		"row_number":         {special: bindRowNumber, usage: "row_number([integer [, bool]])"},
		"prev":               {special: bindNeighbour, usage: "prev(any [, integer [, any]])"},
		"next":               {special: bindNeighbour, usage: "next(any [, integer [, any]])"},
		"row_cumsum":         {special: bindCumsum, usage: "row_cumsum(any [, bool])"},
		"row_rank_dense":     {special: bindRank, usage: "row_rank_dense(any [, bool])"},
		"row_rank_min":       {special: bindRank, usage: "row_rank_min(any [, bool])"},
		"row_window_session": {special: bindSession, usage: "row_window_session(datetime, timespan, timespan [, bool])"},
	}
}

// rowWindow returns the window of the operator being bound.
func (b *binder) rowWindow(e *callExpr, sc *scope) *window {
	if b.window == nil || sc == nil || sc.lay == nil {
		// The words of the service; in mv-apply they are not supported.
		b.fail(e.at, "", "Function '%s' cannot be invoked in current context. Details: the row set must be serialized", e.fn)
		return nil
	}
	b.window.used = true
	return b.window
}

// windowArgs binds the arguments of a window function.
func (b *binder) windowArgs(e *callExpr, sc *scope, en *env, least, most int) ([]*expr, *window) {
	w := b.rowWindow(e, sc)
	if b.failed() {
		return nil, nil
	}
	if len(e.args) < least || len(e.args) > most {
		b.fail(e.at, "", "function '%s' takes %d to %d arguments, not %d", e.fn, least, most, len(e.args))
		return nil, nil
	}
	args := make([]*expr, len(e.args))
	for i, a := range e.args {
		args[i] = b.expr(a.e, sc, en)
	}
	return args, w
}

// perRow makes an expression that is new in every row.
func (b *binder) perRow(at int, t Type, eval func(f []Value) Value, args ...*expr) *expr {
	e := &expr{typ: t, slot: -1, at: at, eval: eval}
	b.combine(e, args)
	return e
}

func restartOf(args []*expr, i int) func(f []Value) bool {
	if len(args) > i {
		return args[i].truth()
	}
	return func([]Value) bool { return false }
}

func bindRowNumber(b *binder, e *callExpr, sc *scope, en *env) *expr {
	args, w := b.windowArgs(e, sc, en, 0, 2)
	if b.failed() {
		return constant(e.at, Value{}, Long)
	}
	start := int64(1)
	if len(args) > 0 {
		if args[0].val == nil || !isInteger(args[0].typ) {
			return b.fail(e.at, "", "row_number(): argument 1 must be a constant integer")
		}
		start = args[0].val.n
	}
	restart := restartOf(args, 1)
	var base int64
	return b.perRow(e.at, Long, func(f []Value) Value {
		if restart(f) {
			base = w.at
		}
		return LongValue(start + w.at - base)
	}, args...)
}

func bindNeighbour(b *binder, e *callExpr, sc *scope, en *env) *expr {
	args, w := b.windowArgs(e, sc, en, 1, 3)
	if b.failed() {
		return constant(e.at, Value{}, Dynamic)
	}
	offset := int64(1)
	if len(args) > 1 {
		if args[1].val == nil || !isInteger(args[1].typ) || args[1].val.n < 0 || args[1].val.n > maxReach {
			return b.fail(e.at, "", "%s(): argument 2 must be a constant integer from 0 to %d", e.fn, maxReach)
		}
		offset = args[1].val.n
	}
	def := Value{}
	if len(args) > 2 {
		if args[2].val == nil {
			return b.fail(e.at, "", "%s(): argument 3 must be a constant", e.fn)
		}
		def = *castExpr(args[2], args[0].typ).val
	}
	if e.fn == "prev" {
		w.back = max(w.back, offset)
		offset = -offset
	} else {
		w.ahead = max(w.ahead, offset)
	}
	eval := args[0].eval
	return b.perRow(e.at, args[0].typ, func([]Value) Value {
		if r := w.row(offset); r != nil {
			return eval(r)
		}
		return def
	}, args[0])
}

func bindCumsum(b *binder, e *callExpr, sc *scope, en *env) *expr {
	args, _ := b.windowArgs(e, sc, en, 1, 2)
	if b.failed() {
		return constant(e.at, Value{}, Long)
	}
	x := args[0]
	if !isNumber(x.typ) && x.typ != TimeSpan {
		return b.fail(e.at, "", "row_cumsum(): argument 1 must be a number or timespan, not %s", x.typ)
	}
	if x.typ == Int {
		x = castExpr(x, Long)
	}
	restart := restartOf(args, 1)
	var sum Value
	return b.perRow(e.at, x.typ, func(f []Value) Value {
		if restart(f) {
			sum = Value{}
		}
		if v := x.eval(f); sum.k == kNull {
			sum = v
		} else if v.k != kNull {
			sum = arith('+', sum, v)
		}
		return sum
	}, args...)
}

func bindRank(b *binder, e *callExpr, sc *scope, en *env) *expr {
	args, w := b.windowArgs(e, sc, en, 1, 2)
	if b.failed() {
		return constant(e.at, Value{}, Long)
	}
	x := args[0]
	restart := restartOf(args, 1)
	dense := e.fn == "row_rank_dense"
	var last setKey
	var rank, base int64
	begun := false
	return b.perRow(e.at, Long, func(f []Value) Value {
		key := keyOf(x.eval(f))
		switch again := restart(f); {
		case again || !begun:
			rank, base = 1, w.at
		case key == last:
		case dense:
			rank++
		default:
			rank = w.at - base + 1
		}
		begun, last = true, key
		return LongValue(rank)
	}, args...)
}

// bindSession binds row_window_session(time, max distance from first, max distance
// from the one before, restart).
func bindSession(b *binder, e *callExpr, sc *scope, en *env) *expr {
	args, _ := b.windowArgs(e, sc, en, 3, 4)
	if b.failed() {
		return constant(e.at, Value{}, DateTime)
	}
	if args[0].typ != DateTime || args[1].typ != TimeSpan || args[2].typ != TimeSpan || args[1].val == nil || args[2].val == nil {
		return b.fail(e.at, "", "row_window_session() takes a datetime and two constant timespans")
	}
	whole, gap := args[1].val.n, args[2].val.n
	restart := restartOf(args, 3)
	var first, last Value
	return b.perRow(e.at, DateTime, func(f []Value) Value {
		v := args[0].eval(f)
		if v.k == kNull {
			return Value{}
		}
		if restart(f) || first.k == kNull || v.n-first.n > whole || v.n-last.n > gap {
			first = v
		}
		last = v
		return first
	}, args...)
}
