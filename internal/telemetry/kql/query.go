package kql

import (
	"context"
	"errors"
)

const (
	defaultMaxRows  = 500_000
	defaultMaxBytes = 512 << 20
)

// Query is a query that has been parsed. It can be compiled any number of times,
// also at once.
type Query struct {
	text string
	lets []letNode
	main exprNode
}

// Parse reads the text of a query. The error is an *Error.
func Parse(text string) (*Query, error) {
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{text: text, toks: toks}
	lets, main := p.statements()
	if p.err != nil {
		return nil, p.err
	}
	return &Query{text: text, lets: lets, main: main}, nil
}

// Plan is a query that was checked against a Source. It runs once.
type Plan struct {
	columns []Column
	pipe    *pipe
	pre     []func(x *exec)
	x       *exec
	ran     bool
}

// Compile resolves names and types against the tables of src without reading a
// row. The error is an *Error, or what src failed with.
func (q *Query) Compile(ctx context.Context, src Source, opt Options) (*Plan, error) {
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = defaultMaxBytes
	}
	x := &exec{ctx: ctx, max: opt.MaxBytes}
	b := &binder{ctx: ctx, src: src, opt: opt, text: q.text, x: x,
		tables: map[string]Table{}, functions: functions(), aggregates: aggregates(), tabular: map[*funcNode]bool{}}
	var en *env
	for _, l := range q.lets {
		if en = b.let(l, en); b.failed() {
			return nil, b.err
		}
	}
	p := b.pipe(q.main, en)
	switch {
	case b.err != nil:
		return nil, b.err
	case x.err != nil: // a constant was too large
		return nil, x.err
	}
	p.needAll()
	p.prune()
	plan := &Plan{pipe: p, pre: b.pre, x: x}
	for _, c := range p.cols {
		plan.columns = append(plan.columns, Column{Name: c.name, Type: c.typ})
	}
	return plan, nil
}

// Columns returns the schema of the answer.
func (p *Plan) Columns() []Column { return p.columns }

// Render returns what `render` asked for, or nil.
func (p *Plan) Render() *Render { return p.pipe.render }

// Run calls yield for each row of the answer until it returns false. The slice is
// reused after yield returns. The error is an *Error, ctx.Err(), or what a table
// failed with.
func (p *Plan) Run(ctx context.Context, yield func(row []Value) bool) error {
	if p.ran {
		return errors.New("a plan runs once")
	}
	p.ran = true
	x := p.x
	x.ctx = ctx
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range p.pre {
		if f(x); x.err != nil {
			return x.err
		}
	}
	row := make([]Value, len(p.pipe.cols))
	p.pipe.run(x, &funcSink{onPush: func(f []Value) bool {
		for i, c := range p.pipe.cols {
			row[i] = f[c.slot]
		}
		return x.err == nil && yield(row)
	}})
	return x.err
}

// Run compiles q and collects its answer.
func (q *Query) Run(ctx context.Context, src Source, opt Options) (*Result, error) {
	p, err := q.Compile(ctx, src, opt)
	if err != nil {
		return nil, err
	}
	most := opt.MaxRows
	if most <= 0 {
		most = defaultMaxRows
	}
	res := &Result{Columns: p.columns, Render: p.Render()}
	err = p.Run(ctx, func(row []Value) bool {
		if len(res.Rows) >= most {
			res.Truncated = true
			return false
		}
		kept := p.x.keep(row)
		if kept == nil {
			return false
		}
		res.Rows = append(res.Rows, kept)
		return true
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}
