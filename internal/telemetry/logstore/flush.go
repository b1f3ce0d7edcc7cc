package logstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

// flushes moves frozen journals to segments.
func (s *Store) flushes() {
	defer s.done.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		}
		if err := s.flush(); err != nil {
			s.cfg.Log.Error("move telemetry from the journal to its files", "error", err)
		}
	}
}

// flush moves the frozen journal, if there is one. What a failed attempt left is
// overwritten by the next, and is cut off when a server starts.
func (s *Store) flush() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock()
	g := s.frozen
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	added, err := s.writeSegments(g)
	if err == nil {
		err = s.saveState(g)
	}
	s.mu.Lock()
	s.flushErr = err
	if err == nil {
		// rows are never seen twice, or not at all: this is one step
		for k, segments := range added {
			if s.series[k] == nil {
				s.series[k] = &series{}
			}
			s.series[k].replace(segments)
		}
		for k, u := range g.usage {
			s.usage.add(k, u)
		}
		s.frozen = nil
		s.through = g.journal.number
	}
	s.flushed.Broadcast()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return errors.Join(g.journal.f.Close(), os.Remove(journalPath(s.journals(), g.journal.number)))
}

// replace takes in segments that are new or have new blocks.
func (s *series) replace(changed []*segment) {
	out := slices.Clone(s.segments)
	for _, c := range changed {
		if n := len(out); n > 0 && out[n-1].number == c.number {
			out[n-1] = c
		} else {
			out = append(out, c)
		}
	}
	s.segments = out
}

// writeSegments writes the rows of g behind what is in the segments, durably,
// and returns the segments that changed. Nothing sees them yet.
func (s *Store) writeSegments(g *generation) (map[tableKey][]*segment, error) {
	s.mu.Lock()
	tables := make(map[tableKey][]*stored, len(g.tables))
	maps.Copy(tables, g.tables)
	s.mu.Unlock()
	added := map[tableKey][]*segment{}
	for _, k := range slices.SortedFunc(maps.Keys(tables), func(a, b tableKey) int {
		return strings.Compare(a.space+"/"+a.table, b.space+"/"+b.table)
	}) {
		w, err := s.tableWriter(k, g.journal.number)
		if err != nil {
			return nil, err
		}
		err = w.writeAll(tables[k])
		if err = errors.Join(err, w.close()); err != nil {
			return nil, fmt.Errorf("write %s of %s: %w", k.table, k.space, noSpace(err))
		}
		added[k] = w.changed
	}
	return added, nil
}

// tableWriter adds blocks to the segments of one table.
type tableWriter struct {
	dir, table string
	journal    uint64
	next       int      // number of the next new segment
	current    *segment // a copy, or nil
	changed    []*segment
	f          *os.File
}

func (s *Store) tableWriter(k tableKey, journal uint64) (*tableWriter, error) {
	w := &tableWriter{dir: filepath.Join(s.spaces(), k.space), table: k.table, journal: journal, next: 1}
	if _, err := os.Stat(w.dir); err != nil {
		if err := os.MkdirAll(w.dir, 0o700); err != nil {
			return nil, noSpace(err)
		}
		if err := syncDir(s.spaces()); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.series[k]; have != nil && len(have.segments) > 0 {
		last := *have.segments[len(have.segments)-1]
		w.next = last.number + 1
		last.blocks = slices.Clip(last.blocks)
		if !last.damaged {
			w.current = &last
		}
	}
	return w, nil
}

// segmentSpan is from how much time the rows of one file are. Retention removes
// whole files.
const segmentSpan = 7 * 24 * time.Hour

// writeAll writes rows, those of each resource and day in blocks of their own.
func (w *tableWriter) writeAll(rows []*stored) error {
	type group struct {
		resource string
		day      int64
	}
	groups := map[group][]*stored{}
	var order []group
	for _, r := range rows {
		g := group{r.resource, r.received / int64(24*time.Hour)}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], r)
	}
	for _, g := range order {
		b := newBuilder(nil)
		first, last := int64(math.MaxInt64), int64(math.MinInt64)
		emit := func() error {
			if b.rows == 0 {
				return nil
			}
			err := w.write(b.block(g.resource), first, last)
			first, last = math.MaxInt64, math.MinInt64
			return err
		}
		for _, r := range groups[g] {
			for done := 0; done < r.rows; {
				n, err := b.add(r, done, blockRows, math.MinInt64, math.MaxInt64)
				if err != nil {
					return err
				}
				done = n
				first, last = min(first, r.received), max(last, r.received)
				if b.rows >= blockRows {
					if err := emit(); err != nil {
						return err
					}
				}
			}
		}
		if err := emit(); err != nil {
			return err
		}
	}
	return nil
}

func (w *tableWriter) write(b *Block, first, last int64) error {
	p, meta, err := encodeBlock(b, w.journal, first, last)
	if err != nil {
		return err
	}
	if c := w.current; c == nil || c.size >= maxSegment || len(c.blocks) > 0 && last-c.blocks[0].first > int64(segmentSpan) {
		if err := w.close(); err != nil {
			return err
		}
		w.current = &segment{path: segmentPath(w.dir, w.table, w.next), number: w.next}
		w.next++
	}
	if w.f == nil {
		if w.f, err = os.OpenFile(w.current.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
		// what an attempt that failed has left
		if err := w.f.Truncate(w.current.size); err != nil {
			return err
		}
		w.changed = append(w.changed, w.current)
	}
	if _, err := w.f.WriteAt(p, w.current.size); err != nil {
		return err
	}
	meta.path = w.current.path
	meta.offset = w.current.size + int64(len(p)) - meta.size
	w.current.size += int64(len(p))
	w.current.blocks = append(w.current.blocks, meta)
	return nil
}

// close makes what was written durable.
func (w *tableWriter) close() error {
	if w.f == nil {
		return nil
	}
	err := errors.Join(w.f.Sync(), w.f.Close(), syncDir(w.dir))
	w.f = nil
	return err
}

// saveState is the moment from which on the rows of g are in segments.
func (s *Store) saveState(g *generation) error {
	s.mu.Lock()
	st := state{Through: g.journal.number, Seq: s.seq}
	sum, today := maps.Clone(s.usage), day(s.cfg.Clock.Now())
	for k, u := range g.usage {
		sum.add(k, u)
	}
	s.mu.Unlock()
	for k, u := range sum {
		if !u.Day.Before(today) {
			st.Usage = append(st.Usage, usageState{k.space, k.resource, u})
		}
	}
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(filepath.Join(s.cfg.Dir, stateFile), b, 0o600)
	return noSpace(err)
}

// schedule looks after old rows every hour of the injected clock.
func (s *Store) schedule() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.timer = s.cfg.Clock.AfterFunc(housekeeping, func() {
		s.age()
		s.schedule()
	})
}

// age moves rows of yesterday out of the journal, so that retention reaches them.
func (s *Store) age() {
	s.mu.Lock()
	g := s.active
	old := !g.since.IsZero() && s.cfg.Clock.Now().Sub(g.since) > journalAge
	s.mu.Unlock()
	if !old {
		return
	}
	if err := s.Checkpoint(); err != nil && !errors.Is(err, ErrClosed) {
		s.cfg.Log.Error("move old telemetry out of the journal", "error", err)
	}
}

// Checkpoint moves all rows to segments and returns when that is done.
func (s *Store) Checkpoint() error {
	if err := s.commit(&commit{rotate: true, done: make(chan error, 1)}); err != nil {
		return err
	}
	return s.flush()
}

// Expire removes the segment files of a space of which all rows came in before
// the cutoff. Rows that came in before it are to be hidden with Scan.Since.
func (s *Store) Expire(space string, cutoff time.Time) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	var gone []string
	s.mu.Lock()
	for k, have := range s.series {
		if k.space != space {
			continue
		}
		keep := make([]*segment, 0, len(have.segments))
		for _, seg := range have.segments {
			if n := len(seg.blocks); n > 0 && !slices.ContainsFunc(seg.blocks, func(m *blockMeta) bool { return m.last >= cutoff.UnixNano() }) {
				gone = append(gone, seg.path)
				continue
			}
			keep = append(keep, seg)
		}
		if len(keep) == 0 {
			delete(s.series, k)
		} else {
			have.segments = keep
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, path := range gone {
		if err := os.Remove(path); err != nil && !isGone(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
