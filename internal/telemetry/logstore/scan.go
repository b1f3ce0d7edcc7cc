package logstore

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Scan says which rows are wanted.
type Scan struct {
	Space, Table string
	// Resource, when set, wants the rows about this resource alone, lower case.
	Resource string
	// From and To bound the rows' times, both inclusive; a zero time is no bound.
	// Rows beyond them may be delivered.
	From, To time.Time
	// Since hides rows that came in before it, those of a whole day at once.
	Since time.Time
	// Columns are the names of the wanted columns; nil wants all.
	Columns map[string]bool
}

// window is the bounds of a scan in nanoseconds; to is exclusive.
func (q *Scan) window() (from, to, since int64) {
	from, to, since = math.MinInt64, math.MaxInt64, math.MinInt64
	if !q.From.IsZero() {
		from = q.From.UnixNano()
	}
	if !q.To.IsZero() {
		to = q.To.UnixNano() + 1
	}
	if !q.Since.IsZero() {
		since = q.Since.UnixNano()
	}
	return from, to, since
}

// Scan calls yield with the wanted rows, block by block, until it returns false.
// Rows that are added meanwhile are not among them.
func (s *Store) Scan(ctx context.Context, q Scan, yield func(*Block) bool) error {
	k := tableKey{q.Space, q.Table}
	from, to, since := q.window()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	var segments []*segment
	if have := s.series[k]; have != nil {
		segments = have.segments
	}
	var memory [][]*stored
	for _, g := range s.generations() {
		memory = append(memory, g.tables[k])
	}
	s.mu.Unlock()

	for _, seg := range segments {
		for _, m := range seg.blocks {
			if m.max < from || m.min >= to || m.last < since || q.Resource != "" && m.resource != q.Resource {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			b, err := m.read(q.Columns)
			if isGone(err) {
				break // it was removed meanwhile, and all of it is old, or of a space that is gone
			}
			if err != nil {
				return err
			}
			if !yield(b) {
				return nil
			}
		}
	}
	for _, rows := range memory {
		more, err := scanMemory(ctx, q, rows, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// scanMemory is Scan for the rows of a journal. It reports whether more are
// wanted.
func scanMemory(ctx context.Context, q Scan, rows []*stored, yield func(*Block) bool) (bool, error) {
	from, to, since := q.window()
	b, resource := newBuilder(q.Columns), ""
	emit := func() bool { return b.rows == 0 || yield(b.block(resource)) }
	for _, r := range rows {
		if r.max < from || r.min >= to || r.received < since || q.Resource != "" && r.resource != q.Resource {
			continue
		}
		if r.resource != resource {
			if !emit() {
				return false, nil
			}
			resource = r.resource
		}
		for done := 0; done < r.rows; {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			n, err := b.add(r, done, blockRows, from, to)
			if err != nil {
				return false, err
			}
			done = n
			if b.rows >= blockRows && !emit() {
				return false, nil
			}
		}
	}
	return emit(), nil
}

// Report is what Verify found.
type Report struct {
	// Rows and Bytes are what is in segment files.
	Rows, Bytes int64
	// Problems are what cannot be read, with the file and why.
	Problems []string
}

// Verify reads everything in segments.
func (s *Store) Verify(ctx context.Context) (Report, error) {
	var out Report
	var blocks []*blockMeta
	s.mu.Lock()
	for _, have := range s.series {
		for _, seg := range have.segments {
			blocks = append(blocks, seg.blocks...)
			if seg.damaged {
				out.Problems = append(out.Problems, fmt.Sprintf("%s is damaged at %d", seg.path, seg.size))
			}
		}
	}
	s.mu.Unlock()
	for _, m := range blocks {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		_, err := m.read(nil)
		switch {
		case err == nil:
			out.Rows += int64(m.rows)
			out.Bytes += m.size
		case !isGone(err):
			out.Problems = append(out.Problems, err.Error())
		}
	}
	return out, nil
}

// Column is a column that rows of a table have had.
type Column struct {
	Name string
	Kind Kind
}

// Columns returns the columns that the rows of a table have, in no order that
// means anything: for tables whose schema is what was sent.
func (s *Store) Columns(space, table string) ([]Column, error) {
	k := tableKey{space, table}
	seen := map[field]bool{}
	s.mu.Lock()
	if have := s.series[k]; have != nil {
		for _, seg := range have.segments {
			for _, m := range seg.blocks {
				for _, c := range m.columns {
					seen[c.field] = true
				}
			}
		}
	}
	var rows []*stored
	for _, g := range s.generations() {
		rows = append(rows, g.tables[k]...)
	}
	s.mu.Unlock()
	for _, r := range rows {
		b := newBuilder(nil)
		for done := 0; done < r.rows; {
			n, err := b.add(r, done, blockRows, math.MinInt64, math.MaxInt64)
			if err != nil {
				return nil, err
			}
			done = n
			for f := range b.columns {
				seen[f] = true
			}
			b = newBuilder(nil)
		}
	}
	var out []Column
	for f := range seen {
		if f.name[0] != timeColumn[0] {
			out = append(out, Column{f.name, f.kind})
		}
	}
	return out, nil
}
