package kql

// The tree that the parser makes. Every node knows its offset in the text.

type exprNode interface{ pos() int }

type (
	nameExpr struct {
		at   int
		name string
	}
	litExpr struct {
		at  int
		val Value
		typ Type
	}
	typeExpr struct { // typeof(long)
		at  int
		typ Type
	}
	callExpr struct {
		at   int
		fn   string
		args []argNode
	}
	unaryExpr struct {
		at int
		op string
		x  exprNode
	}
	binaryExpr struct {
		at   int
		op   string
		l, r exprNode
	}
	// logicExpr is a chain of `and` or of `or`.
	logicExpr struct {
		at    int
		op    string
		terms []exprNode
	}
	inExpr struct {
		at   int
		op   string // in, !in, in~, !in~, has_any, has_all
		l    exprNode
		list []exprNode
	}
	betweenExpr struct {
		at     int
		not    bool
		x      exprNode
		lo, hi exprNode
	}
	pathExpr struct { // x.name
		at   int
		x    exprNode
		name string
	}
	indexExpr struct { // x[i]
		at int
		x  exprNode
		i  exprNode
	}
	starExpr struct{ at int }
	// pipeExpr is a tabular expression: a source and the operators after it.
	pipeExpr struct {
		at  int
		src exprNode // nil when the first operator is a source itself
		ops []opNode
	}
	datatableExpr struct {
		at   int
		cols []Column
		rows []litExpr
	}
	wildcardExpr struct { // a table name with *
		at      int
		pattern string
	}
)

func (e *nameExpr) pos() int      { return e.at }
func (e *litExpr) pos() int       { return e.at }
func (e *typeExpr) pos() int      { return e.at }
func (e *callExpr) pos() int      { return e.at }
func (e *unaryExpr) pos() int     { return e.at }
func (e *binaryExpr) pos() int    { return e.at }
func (e *logicExpr) pos() int     { return e.at }
func (e *inExpr) pos() int        { return e.at }
func (e *betweenExpr) pos() int   { return e.at }
func (e *pathExpr) pos() int      { return e.at }
func (e *indexExpr) pos() int     { return e.at }
func (e *starExpr) pos() int      { return e.at }
func (e *pipeExpr) pos() int      { return e.at }
func (e *datatableExpr) pos() int { return e.at }
func (e *wildcardExpr) pos() int  { return e.at }

// argNode is an expression that may have a name or, for functions with several
// results, a list of them.
type argNode struct {
	names []string
	e     exprNode
}

func (a argNode) name() string {
	if len(a.names) > 0 {
		return a.names[0]
	}
	return ""
}

type orderNode struct {
	e          argNode
	asc        bool
	nullsFirst bool
}

// opNode is one tabular operator.
type opNode struct {
	at   int
	name string
	// params are name=value pairs such as kind=inner.
	params map[string]string
	args   []argNode   // expressions of project, extend, where, …; aggregates of summarize
	by     []argNode   // group keys, columns of join
	order  []orderNode // sort, top
	table  exprNode    // join, lookup
	tables []exprNode  // union, search
	cols   []columnPat // project-away, -keep, -reorder
	parse  []parsePart // parse, parse-where
	series *seriesNode // make-series
	types  []Type      // mv-expand: one per argument, 0 where there is none
	limit  exprNode    // mv-expand
	render *Render
	sub    *pipeExpr // mv-apply
}

type columnPat struct {
	at      int
	pattern string
	order   string // project-reorder: "", asc, desc, granny-asc, granny-desc
}

type parsePart struct {
	at   int
	star bool
	text string
	col  string
	typ  Type
}

type seriesNode struct {
	on             argNode
	from, to, step exprNode
	defaults       []exprNode // one per aggregate, nil where there is none
	inRange        bool
}

// letNode is `let name = …`.
type letNode struct {
	at    int
	name  string
	value exprNode
	fn    *funcNode
}

type funcNode struct {
	view   bool // declared with `view`: wildcards include it
	params []paramNode
	lets   []letNode
	body   exprNode
}

type paramNode struct {
	at     int
	name   string
	typ    Type // 0 for a table
	schema []Column
	open   bool // (*)
	def    *litExpr
}
