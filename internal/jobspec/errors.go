package jobspec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotImplemented is wrapped by the error for a job that Azure Machine
// Learning accepts and Azimuth does not run yet (automl jobs, …).
var ErrNotImplemented = errors.New("not implemented by Azimuth yet")

// Position is a place in a job file. Line and Column count from 1; 0 means
// that they are not known.
type Position struct {
	// File is the name of the file as the caller gave it, or the --set argument
	// that the value came from.
	File string
	// Line and Column are where the key or value begins.
	Line, Column int
}

// String gives file:line:column, without the parts that are not known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing wrong with a job file.
type Problem struct {
	Position
	// Key is the dotted path of the key, such as "resources.instance_count".
	// Empty when the problem is the file itself.
	Key string
	// Message says what is wrong and, where known, what would be right.
	Message string
	// Err is ErrNotImplemented, an error of the file system, or nil.
	Err error
}

// Error gives "file:line:column: key: message".
func (p *Problem) Error() string {
	if p.Key == "" {
		return p.Position.String() + ": " + p.Message
	}
	return p.Position.String() + ": " + p.Key + ": " + p.Message
}

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// Problems is every problem of one job file in the order of its lines. It is
// the error that Parse and ParseFile return.
type Problems []*Problem

// Error gives one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look at each problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// nearest returns the word of words that s was probably meant to be, or "".
func nearest(s string, words []string) string {
	best, bestAt := "", len([]rune(s))/3+2
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w)); d < bestAt {
			best, bestAt = w, d
		}
	}
	return best
}

// distance is the Levenshtein distance in runes, with a swap of two neighbours
// counted as one edit.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	// A long word is never a typo of a key; this bounds the work.
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	var before, prev, row [65]int
	for j := range len(y) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(y)]
}

// hint adds ` (did you mean "x"?)` when there is a near word.
func hint(s string, words []string) string {
	if w := nearest(s, words); w != "" && w != s {
		return fmt.Sprintf(" (did you mean %q?)", w)
	}
	return ""
}
