package logstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// tableKey names a table of a space.
type tableKey struct{ space, table string }

// generation is the rows of one journal.
type generation struct {
	journal *journal
	since   time.Time // when its first rows came in
	tables  map[tableKey][]*stored
	usage   usages // of its rows
}

// usages is how many bytes came in last, by who sent them.
type usages map[usageKey]Usage

func (u usages) add(k usageKey, more Usage) {
	have := u[k]
	switch {
	case more.Day.After(have.Day):
		u[k] = more
	case more.Day.Equal(have.Day):
		have.Bytes += more.Bytes
		u[k] = have
	}
}

func (u usages) drop(space string) {
	for k := range u {
		if k.space == space {
			delete(u, k)
		}
	}
}

// used sums what came in on a day.
func (u usages) used(space, resource string, today time.Time) (sum int64) {
	if resource != "" {
		if v := u[usageKey{space, resource}]; v.Day.Equal(today) {
			return v.Bytes
		}
		return 0
	}
	for k, v := range u {
		if k.space == space && v.Day.Equal(today) {
			sum += v.Bytes
		}
	}
	return sum
}

// series is the segment files of a table.
type series struct{ segments []*segment }

// Store keeps rows. It is safe for concurrent use: reads never wait for writes.
type Store struct {
	cfg   Config
	names *regexp.Regexp

	queueMu sync.Mutex
	queue   []*commit
	wake    chan struct{} // there is something in queue

	mu      sync.Mutex
	active  *generation
	frozen  *generation // on its way to segments; nil when none is
	series  map[tableKey]*series
	usage   usages // of what is in segments
	seq     uint64
	closed  bool
	flushed *sync.Cond // frozen has become nil, or flushErr was set
	// flushErr is why frozen could not be moved last time.
	flushErr error

	flushMu sync.Mutex // held while segment files change
	through uint64     // journals up to this one are in segments
	kick    chan struct{}
	timer   clock.Timer
	stop    chan struct{}
	done    sync.WaitGroup
}

type usageKey struct{ space, resource string }

// commit is one Append, or one drop, on its way to the journal.
type commit struct {
	batches []*Batch
	drop    string
	rotate  bool // begin another journal
	done    chan error
}

// state is what the store knows beside the rows themselves. Writing it is the
// moment at which a journal has become segments.
type state struct {
	Through uint64       `json:"through"`
	Seq     uint64       `json:"seq"`
	Usage   []usageState `json:"usage,omitempty"`
}

type usageState struct {
	Space    string `json:"space"`
	Resource string `json:"resource"`
	Usage
}

const (
	stateFile  = "state.json"
	journalDir = "journal"
	spaceDir   = "spaces"
)

// Open opens the store in cfg.Dir, and cuts off what a crash left half-written.
func Open(cfg Config) (*Store, error) {
	if cfg.JournalSize == 0 {
		cfg.JournalSize = defaultJournalSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		cfg: cfg, names: regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`), wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		series: map[tableKey]*series{}, usage: usages{}, stop: make(chan struct{}),
	}
	s.flushed = sync.NewCond(&s.mu)
	for _, dir := range []string{s.journals(), s.spaces()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open telemetry store: %w", err)
		}
	}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open telemetry store %s: %w", cfg.Dir, err)
	}
	s.done.Add(2)
	go s.commits()
	go s.flushes()
	s.schedule()
	if s.frozen != nil {
		s.kick <- struct{}{}
	}
	return s, nil
}

func (s *Store) journals() string { return filepath.Join(s.cfg.Dir, journalDir) }
func (s *Store) spaces() string   { return filepath.Join(s.cfg.Dir, spaceDir) }

// recover reads what there is.
func (s *Store) recover() error {
	numbers, err := journals(s.journals())
	if err != nil {
		return err
	}
	var st state
	pending := ^uint64(0)
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, stateFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &st); err != nil {
			return fmt.Errorf("read %s: %w", stateFile, err)
		}
		pending = st.Through + 1
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case len(numbers) > 0:
		pending = numbers[0]
		st.Through = pending - 1
	}
	s.through, s.seq = st.Through, st.Seq
	for _, u := range st.Usage {
		s.usage[usageKey{u.Space, u.Resource}] = u.Usage
	}
	moving := 0
	for _, n := range numbers {
		if n > s.through {
			moving++
		}
	}
	if err := s.openSeries(pending, moving > 1); err != nil {
		return err
	}
	var open []*generation
	for _, n := range numbers {
		if n <= s.through {
			if err := os.Remove(journalPath(s.journals(), n)); err != nil {
				return err
			}
			continue
		}
		g, err := s.openJournal(n)
		if err != nil {
			return err
		}
		open = append(open, g)
	}
	err = nil // of a state that there was none of yet
	switch len(open) {
	case 0:
		s.active, err = s.newGeneration(s.through + 1)
	case 1:
		s.active = open[0]
	default:
		// the first was on its way to segments; there are never more than two
		s.frozen, s.active = open[0], open[1]
	}
	return err
}

func (s *Store) newGeneration(number uint64) (*generation, error) {
	j, err := createJournal(s.journals(), number)
	if err != nil {
		return nil, fmt.Errorf("make journal: %w", err)
	}
	g := emptyGeneration()
	g.journal = j
	return g, nil
}

func emptyGeneration() *generation {
	return &generation{tables: map[tableKey][]*stored{}, usage: usages{}}
}

// drop forgets the rows of a space.
func (g *generation) drop(space string) {
	for k := range g.tables {
		if k.space == space {
			delete(g.tables, k)
		}
	}
	g.usage.drop(space)
}

// generations are those that there are.
func (s *Store) generations() []*generation {
	if s.frozen == nil {
		return []*generation{s.active}
	}
	return []*generation{s.frozen, s.active}
}

// openJournal reads a journal's rows, and cuts off what is torn.
func (s *Store) openJournal(number uint64) (*generation, error) {
	path := journalPath(s.journals(), number)
	p, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := emptyGeneration()
	whole := replay(p, func(k Key, r *stored) {
		if s.names.MatchString(k.Space) && s.names.MatchString(k.Table) {
			s.admit(g, k, r)
		}
	}, func(space string) {
		s.forget(space)
		g.drop(space)
		if s.names.MatchString(space) {
			if err := os.RemoveAll(filepath.Join(s.spaces(), space)); err != nil {
				s.cfg.Log.Warn("remove telemetry of what was deleted", "space", space, "error", err)
			}
		}
	})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if whole < int64(len(p)) {
		s.cfg.Log.Info("cut a telemetry journal behind its last whole record", "journal", number, "bytes", int64(len(p))-whole)
		err = errors.Join(f.Truncate(whole), f.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	g.journal = &journal{number: number, f: f, size: whole}
	return g, nil
}

// admit makes rows visible in g. s.mu is held, or nobody else is there yet.
func (s *Store) admit(g *generation, k Key, r *stored) {
	t := tableKey{k.Space, k.Table}
	g.tables[t] = append(g.tables[t], r)
	received := time.Unix(0, r.received).UTC()
	if g.since.IsZero() || received.Before(g.since) {
		g.since = received
	}
	s.seq = max(s.seq, r.seq+uint64(r.rows))
	g.usage.add(usageKey{k.Space, k.Resource}, Usage{day(received), int64(len(r.data))})
}

// forget removes what is known of a space but its rows in memory. s.mu is held.
func (s *Store) forget(space string) {
	for k := range s.series {
		if k.space == space {
			delete(s.series, k)
		}
	}
	s.usage.drop(space)
}

// openSeries reads which segments there are.
func (s *Store) openSeries(pending uint64, moving bool) error {
	spaces, err := os.ReadDir(s.spaces())
	if err != nil {
		return err
	}
	for _, sp := range spaces {
		dir := filepath.Join(s.spaces(), sp.Name())
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			table, number, ok := parseSegment(f.Name())
			if !ok {
				continue
			}
			seg, err := openSegment(filepath.Join(dir, f.Name()), number, pending, moving)
			if err != nil {
				return err
			}
			if seg.damaged {
				s.cfg.Log.Error("a file of telemetry is damaged: the rows from there on are not shown", "file", seg.path, "offset", seg.size)
			}
			k := tableKey{sp.Name(), table}
			if s.series[k] == nil {
				s.series[k] = &series{}
			}
			// ReadDir sorts, and numbers have leading zeros
			s.series[k].segments = append(s.series[k].segments, seg)
		}
	}
	return nil
}

// Append adds batches. When it returns nil, their rows are on the disk and every
// Scan that begins later sees them; when it returns an error, none of them is.
// The error wraps ErrFull when the disk is full.
func (s *Store) Append(batches ...*Batch) error {
	batches = slices.DeleteFunc(slices.Clone(batches), func(b *Batch) bool { return b.n == 0 })
	if len(batches) == 0 {
		return nil
	}
	for _, b := range batches {
		if !s.names.MatchString(b.key.Space) || !s.names.MatchString(b.key.Table) {
			return fmt.Errorf("logstore: %q of %q is no table's name", b.key.Table, b.key.Space)
		}
	}
	return s.commit(&commit{batches: batches, done: make(chan error, 1)})
}

func (s *Store) commit(c *commit) error {
	if s.isClosed() {
		return ErrClosed
	}
	s.queueMu.Lock()
	s.queue = append(s.queue, c)
	s.queueMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-c.done:
		return err
	case <-s.stop:
		select {
		case err := <-c.done:
			return err
		default:
			return ErrClosed
		}
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// maxCommit is how many bytes go into one write of the journal, about.
const maxCommit = 8 << 20

// commits writes what is queued, all of it with one fsync.
func (s *Store) commits() {
	defer s.done.Done()
	var buf []byte
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		s.queueMu.Lock()
		todo := s.queue
		s.queue = nil
		s.queueMu.Unlock()
		for len(todo) > 0 {
			var n int
			n, buf = s.commitSome(todo, buf[:0])
			todo = todo[n:]
		}
		if cap(buf) > 2*maxCommit {
			buf = nil
		}
	}
}

// commitSome commits the first of todo and returns how many.
func (s *Store) commitSome(todo []*commit, buf []byte) (int, []byte) {
	s.mu.Lock()
	seq, g := s.seq, s.active
	s.mu.Unlock()
	n, first := 0, seq
	for ; n < len(todo) && len(buf) < maxCommit; n++ {
		c := todo[n]
		if c.drop != "" {
			buf = frameDrop(buf, c.drop)
		}
		for _, b := range c.batches {
			buf = frameRows(buf, b, seq)
			seq += uint64(b.n)
		}
	}
	var err error
	if g.journal.size >= s.cfg.JournalSize || slices.ContainsFunc(todo[:n], func(c *commit) bool { return c.rotate }) {
		err = s.rotate(&g)
	}
	if err == nil && len(buf) > 0 {
		err = g.journal.write(buf)
	}
	if err == nil {
		s.mu.Lock()
		for _, c := range todo[:n] {
			if c.drop != "" {
				s.dropRows(c.drop)
			}
			for _, b := range c.batches {
				s.admit(g, b.key, &stored{
					resource: b.key.Resource, seq: first, received: b.received.UnixNano(), min: b.min, max: b.max, rows: b.n, data: b.encode(),
				})
				first += uint64(b.n)
			}
		}
		s.mu.Unlock()
	}
	for _, c := range todo[:n] {
		c.done <- err
	}
	return n, buf
}

// rotate begins another journal, once the one before has become segments.
func (s *Store) rotate(g **generation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil && s.flushErr != nil {
		// it is tried again, but nobody waits for a disk that stays full
		s.flushErr = nil
		s.kickFlush()
	}
	for s.frozen != nil && s.flushErr == nil && !s.closed {
		s.flushed.Wait()
	}
	switch {
	case s.closed:
		return ErrClosed
	case s.frozen != nil:
		return s.flushErr
	}
	next, err := s.newGeneration(s.active.journal.number + 1)
	if err != nil {
		return err
	}
	s.frozen, s.active = s.active, next
	*g = next
	s.kickFlush()
	return nil
}

func (s *Store) kickFlush() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// dropRows forgets a space's rows. s.mu is held.
func (s *Store) dropRows(space string) {
	for _, g := range s.generations() {
		g.drop(space)
	}
	s.forget(space)
}

// Drop removes everything in a space, for good.
func (s *Store) Drop(space string) error {
	if !s.names.MatchString(space) {
		return fmt.Errorf("logstore: %q is no space", space)
	}
	if err := s.commit(&commit{drop: space, done: make(chan error, 1)}); err != nil {
		return fmt.Errorf("drop telemetry: %w", err)
	}
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock()
	s.forget(space) // what was being moved meanwhile
	s.mu.Unlock()
	if err := os.RemoveAll(filepath.Join(s.spaces(), space)); err != nil {
		return fmt.Errorf("drop telemetry: %w", err)
	}
	return nil
}

// Spaces returns the spaces that have rows.
func (s *Store) Spaces() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for k := range s.series {
		seen[k.space] = true
	}
	for _, g := range s.generations() {
		for k := range g.tables {
			seen[k.space] = true
		}
	}
	out := make([]string, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Tables returns the tables of a space that have rows, sorted.
func (s *Store) Tables(space string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for k := range s.series {
		if k.space == space {
			seen[k.table] = true
		}
	}
	for _, g := range s.generations() {
		for k := range g.tables {
			if k.space == space {
				seen[k.table] = true
			}
		}
	}
	out := make([]string, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// Used is how many bytes have come in for a resource of a space since the start
// of now's UTC day; for all of the space when resource is "".
func (s *Store) Used(space, resource string, now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.usage.used(space, resource, day(now))
	for _, g := range s.generations() {
		sum += g.usage.used(space, resource, day(now))
	}
	return sum
}

// Close ends the store. Rows that are in the journal are read from there next
// time.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.timer.Stop()
	s.flushed.Broadcast()
	s.mu.Unlock()
	close(s.stop)
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, g := range s.generations() {
		errs = append(errs, g.journal.f.Close())
	}
	return errors.Join(errs...)
}
