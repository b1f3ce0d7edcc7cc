// Package kql runs a documented subset of the Kusto Query Language over tables
// that its caller provides. It is pure: it reads no clock, file or network, and
// rows stream through it. What it knows is listed in docs/kql.md; every other
// operator or function is an error that names it and says where it stands.
//
// Semantics follow the public language reference
// (https://learn.microsoft.com/azure/data-explorer/kusto/query/). Where that is
// silent, a comment says what was chosen.
package kql

import (
	"context"
	"time"
)

// Type is the static type of a column or scalar expression.
type Type uint8

// The types of the language. Decimal is not among them: a query that uses it is
// refused.
const (
	Bool Type = iota + 1
	Int       // 32 bits, signed
	Long      // 64 bits, signed
	Real      // IEEE 754 double
	String
	DateTime // UTC, ticks of 100 ns, years 1 to 9999
	TimeSpan // ticks of 100 ns
	Dynamic  // any scalar, array or property bag
	GUID
)

// String returns the type's name in the language, which is also its name in
// answers of the query API ("datetime", "real" …).
func (t Type) String() string {
	switch t {
	case Bool:
		return "bool"
	case Int:
		return "int"
	case Long:
		return "long"
	case Real:
		return "real"
	case String:
		return "string"
	case DateTime:
		return "datetime"
	case TimeSpan:
		return "timespan"
	case Dynamic:
		return "dynamic"
	case GUID:
		return "guid"
	default:
		return "unknown"
	}
}

// Column is a named, typed column.
type Column struct {
	Name string
	Type Type
}

// Source is what the engine reads tables from. Implementations are safe for
// concurrent use.
type Source interface {
	// Table returns the table with that name (names are case-sensitive), or an
	// *UnknownTableError.
	Table(ctx context.Context, name string) (Table, error)
	// Tables returns the names of all tables, for `union *` and wildcards. The
	// order is that in which a union delivers them.
	Tables(ctx context.Context) ([]string, error)
}

// Table is one table of a Source.
type Table interface {
	// Columns returns the schema. It must not change while a query runs.
	Columns() []Column
	// TimeColumn returns the name of the datetime column that Hint.From and
	// Hint.To are about, or "" when there is none.
	TimeColumn() string
	// Scan calls yield for each row until yield returns false (then Scan returns
	// nil) or ctx is done (then it returns ctx.Err()). A row has one value per
	// column of Columns, in that order; a value is null or of its column's type.
	// The slice may be reused as soon as yield returns; strings in it must stay
	// unchanged.
	Scan(ctx context.Context, hint Hint, yield func(row []Value) bool) error
}

// Hint tells a Table what of it a query can use. It is for pruning alone: rows
// and values beyond the hint may be delivered.
type Hint struct {
	// From and To bound the time column, both inclusive. A zero time is no bound.
	// They cover the query's own conditions and Options.Timespan.
	From, To time.Time
	// Columns are the indices, ascending, of the columns that are read. Values of
	// others may be left null. It is never nil; it is empty when only the number
	// of rows matters.
	Columns []int
	// Limit is how many rows are read at most, or 0 when that is not known.
	Limit int
}

// UnknownTableError says that a Source has no such table.
type UnknownTableError struct{ Name string }

// Error implements error.
func (e *UnknownTableError) Error() string { return "no table named '" + e.Name + "'" }

// Timespan is a range of times, From inclusive and To exclusive. A zero time is
// no bound.
type Timespan struct{ From, To time.Time }

// Options are the conditions under which a query runs.
type Options struct {
	// Now is what now() and ago() go by. It is required.
	Now time.Time
	// Timespan restricts every table that has a time column, in addition to what
	// the query says (the API's `timespan` parameter).
	Timespan Timespan
	// MaxRows is how many rows a Result holds at most; 0 is 500,000. More are cut
	// off, and Result.Truncated is set.
	MaxRows int
	// MaxBytes bounds the memory that one query's state takes (hash tables, sorts,
	// joins, the Result), estimated; 0 is 512 MiB. Beyond it the query fails with
	// an *Error of KindLimit.
	MaxBytes int64
}

// Result is a whole answer.
type Result struct {
	Columns []Column
	Rows    [][]Value
	// Truncated says that there were more than Options.MaxRows rows.
	Truncated bool
	// Render is what `render` asked for, or nil.
	Render *Render
}

// Render is the `render` operator: how the caller wants the answer to be shown.
type Render struct {
	Visualization string            // such as "timechart"
	Properties    map[string]string // such as title, kind, xcolumn
}

// ErrorKind is the class of an Error.
type ErrorKind uint8

// Classes of errors. All but KindLimit and KindRuntime are found before any row
// is read.
const (
	KindSyntax   ErrorKind = iota + 1 // the text is not in the language, or beyond the subset
	KindSemantic                      // a name that is not known, or a wrong type
	KindLimit                         // too much memory, or too deep
	KindRuntime                       // a value that an operator cannot take
)

// Error says why a query is refused or failed.
type Error struct {
	Kind ErrorKind
	// Code is Kusto's own code, such as SYN0002 or SEM0100, where its meaning is
	// documented or seen in public; else it is empty.
	Code    string
	Message string
	// Line and Pos say where: Line counts from 1, Pos is the offset in
	// characters in that line from 0. Line is 0 when the place is not known.
	Line, Pos int
	// Token is the text at that place, if any.
	Token string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 || e.Kind == KindSyntax { // which has its place in the message
		return e.Message
	}
	return e.Message + " " + lineAndPos(e.Line, e.Pos)
}
