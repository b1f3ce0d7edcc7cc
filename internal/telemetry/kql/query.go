package kql

import "context"

// Query is a query that has been parsed. It can be compiled any number of times,
// also at once.
type Query struct {
	text string
}

// Parse reads the text of a query. The error is an *Error.
func Parse(text string) (*Query, error) {
	if text == "" {
		return nil, &Error{Kind: KindSyntax, Message: "the query is empty", Line: 1}
	}
	return &Query{text: text}, nil
}

// Plan is a query that was checked against a Source. It runs once.
type Plan struct {
	columns []Column
	render  *Render
}

// Compile resolves names and types against the tables of src without reading a
// row. The error is an *Error, or what src failed with.
func (q *Query) Compile(ctx context.Context, src Source, opt Options) (*Plan, error) {
	return nil, &Error{Kind: KindSyntax, Message: "the query engine is not built yet"}
}

// Columns returns the schema of the answer.
func (p *Plan) Columns() []Column { return p.columns }

// Render returns what `render` asked for, or nil.
func (p *Plan) Render() *Render { return p.render }

// Run calls yield for each row of the answer until it returns false. The slice is
// reused after yield returns. The error is an *Error, ctx.Err(), or what a table
// failed with.
func (p *Plan) Run(ctx context.Context, yield func(row []Value) bool) error {
	return ctx.Err()
}

// Run compiles q and collects its answer.
func (q *Query) Run(ctx context.Context, src Source, opt Options) (*Result, error) {
	p, err := q.Compile(ctx, src, opt)
	if err != nil {
		return nil, err
	}
	res := &Result{Columns: p.columns, Render: p.render}
	err = p.Run(ctx, func(row []Value) bool {
		res.Rows = append(res.Rows, append([]Value(nil), row...))
		return true
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}
