// Package sqlite is the default store: one SQLite database file in the home
// directory, written by one goroutine that commits many callers' transactions
// together, and read by any number of snapshots at once.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/url"
	"os"
	"sync"
	"sync/atomic"

	sqlite3 "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Store implements store.Store on one SQLite database.
type Store struct {
	write *conn // used by the committer alone
	rows  rows  // likewise
	read  *pool

	queue chan *update
	quit  chan struct{}
	done  chan struct{}
	close sync.Once

	seq     atomic.Uint64 // counts commits
	buckets sync.Map      // name → *bucket
	seed    maphash.Seed  // of the hash that parts are found by
}

// bucket is what is remembered of a bucket.
type bucket struct {
	changed atomic.Uint64 // the commit that last changed it
	read    store.Memory  // by version changed
	draft   uint64        // counts, for the committer alone, what it has put there
	written store.Memory  // by version draft
	parts   [parts]part   // of the keys, by their hash
}

// part is what is remembered of some keys of a bucket.
type part struct {
	changed atomic.Uint64 // the commit that last changed one of them
	read    store.Memory  // by version changed
}

// parts is of how many a bucket is. More keep more values: 16 of each.
const parts = 256

func (s *Store) part(b *bucket, key string) *part {
	return &b.parts[maphash.String(s.seed, key)%parts]
}

type update struct {
	ctx    context.Context
	fn     func(store.Tx) error
	result chan error
}

// most callers that share one commit. It bounds how long the first one waits.
const batchLimit = 256

// readers is how many snapshots are read at once.
const readers = 8

// Open opens the database at path, creating it if need be with mode 0600, and
// brings its schema up to date. A database written by a newer Azimuth is
// refused.
func Open(ctx context.Context, path string) (*Store, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	f.Close()
	db, err := sql.Open("sqlite", dsn(path, "immediate"))
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	err = migrate(ctx, db)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, classify(err))
	}
	open := func() (*conn, error) {
		c, err := db.Driver().Open(dsn(path, "deferred"))
		if err != nil {
			return nil, fmt.Errorf("open store %s: %w", path, classify(err))
		}
		return &conn{Conn: c, stmts: map[string]driver.Stmt{}}, nil
	}
	write, err := open()
	if err != nil {
		return nil, err
	}
	s := &Store{
		write: write,
		read:  &pool{open: open, slots: make(chan struct{}, readers)},
		seed:  maphash.MakeSeed(),
		queue: make(chan *update, batchLimit),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go s.commitLoop()
	return s, nil
}

// Compact writes the database at path anew, so that nothing of what was overwritten
// or deleted is left in its files. A Store may have it open, and must not be in use.
func Compact(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", dsn(path, "immediate"))
	if err != nil {
		return fmt.Errorf("compact store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	for _, do := range []string{"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.ExecContext(ctx, do); err != nil {
			return fmt.Errorf("compact store: %w", classify(err))
		}
	}
	return nil
}

func dsn(path, lock string) string {
	q := url.Values{}
	q.Set("_txlock", lock)
	for _, p := range []string{
		"busy_timeout(10000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // an acknowledged write survives power loss too
		"cache_size(-8000)",
		// The log is copied into the database once it has 16 MiB: each time costs
		// two more syncs, and pages that changed often are copied once.
		"wal_autocheckpoint(4096)",
		"journal_size_limit(67108864)",
	} {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.close.Do(func() { close(s.quit) })
	<-s.done
	err := s.read.close()
	if s.write != nil {
		err = errors.Join(err, s.write.close())
		s.write = nil
	}
	return err
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	select {
	case <-s.quit:
		return store.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// The snapshot is that of the first read, which so has all commits up to seq. A
	// function that recalls all it needs takes none.
	t := &tx{ctx: ctx, s: s, readOnly: true, began: s.seq.Load()}
	defer t.end()
	return fn(t)
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	u := &update{ctx: ctx, fn: fn, result: make(chan error, 1)}
	select {
	case s.queue <- u:
	case <-s.quit:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	// The result is awaited even when ctx ends: the caller must learn whether
	// the write happened.
	select {
	case err := <-u.result:
		return err
	case <-s.done:
		select {
		case err := <-u.result:
			return err
		default:
			return store.ErrClosed
		}
	}
}

func (s *Store) commitLoop() {
	defer close(s.done)
	for {
		var batch []*update
		select {
		case u := <-s.queue:
			batch = append(batch, u)
		case <-s.quit:
			for {
				select {
				case u := <-s.queue:
					u.result <- store.ErrClosed
				default:
					return
				}
			}
		}
	more:
		for len(batch) < batchLimit {
			select {
			case u := <-s.queue:
				batch = append(batch, u)
			default:
				break more
			}
		}
		s.commit(batch)
	}
}

// commit runs a batch in one SQL transaction. One caller's error does not undo
// another's writes; an error of the database itself fails them all.
func (s *Store) commit(batch []*update) {
	errs := make([]error, len(batch))
	changed, keys := map[*bucket]bool{}, map[*part]bool{}
	err := func() (err error) {
		if err := s.write.exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				_ = s.write.exec("ROLLBACK") // SQLite may have done so itself
			}
		}()
		for i, u := range batch {
			if errs[i] = u.ctx.Err(); errs[i] != nil {
				continue
			}
			t := &tx{ctx: context.Background(), s: s, conn: s.write}
			errs[i] = run(u.fn, t)
			if err := t.finish(errs[i] == nil); err != nil {
				return err
			}
			for b := range t.touched {
				changed[b] = true
			}
			if errs[i] == nil {
				for _, p := range t.parts {
					keys[p] = true
				}
			}
		}
		return s.write.exec("COMMIT")
	}()
	if err != nil {
		for b := range changed {
			b.draft++ // they are as they were
		}
		s.rows.clear()
		err = fmt.Errorf("store: commit: %w", classify(err))
	} else if len(changed) > 0 {
		// Before any caller learns of the commit, so that none of them finds in a
		// cache what it has changed.
		seq := s.seq.Add(1)
		for b := range changed {
			b.changed.Store(seq)
		}
		for p := range keys {
			p.changed.Store(seq)
		}
	}
	for i, u := range batch {
		if errs[i] == nil {
			errs[i] = err
		}
		u.result <- errs[i]
	}
}

func (s *Store) bucket(name string) *bucket {
	v, ok := s.buckets.Load(name)
	if !ok {
		v, _ = s.buckets.LoadOrStore(name, new(bucket))
	}
	return v.(*bucket)
}

// run keeps a panic of one caller from stopping the committer: the caller gets
// it as an error and its writes are undone.
func run(fn func(store.Tx) error, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in update: %v", p)
		}
	}()
	return fn(t)
}

// classify names the SQLite errors that callers branch on.
func classify(err error) error {
	var e *sqlite3.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_FULL {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// largeValue is the most bytes of a value that is kept beside its key. A row of
// more than about 1,000 bytes flows over.
const largeValue = 640

const (
	columns   = "SELECT key, coalesce(large.value, entry.value) FROM entry LEFT JOIN large ON large.id = entry.large WHERE bucket = ?"
	getRow    = columns + " AND key = ?"
	putRow    = "INSERT INTO entry (bucket, key, value, large) VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET value = excluded.value, large = NULL"
	putLarge  = "INSERT INTO large (value) VALUES (?)"
	putRef    = "INSERT INTO entry (bucket, key, value, large) VALUES (?, ?, x'', last_insert_rowid()) ON CONFLICT DO UPDATE SET value = x'', large = excluded.large"
	deleteRow = "DELETE FROM entry WHERE bucket = ? AND key = ?"
)

// tx is a transaction. What an update puts is kept here until its function has
// returned, so that one that fails costs nothing; a scan needs it in the
// database, and from then on it goes there at once, behind a savepoint.
type tx struct {
	ctx      context.Context
	s        *Store
	conn     *conn
	readOnly bool
	began    uint64 // of a reader, the commits that it sees at least

	pending map[place][]byte // nil values are deletions
	order   []place
	direct  bool
	failed  error // a write that the database refused
	touched map[*bucket]bool
	parts   []*part // of the keys that were changed
}

type place struct{ bucket, key string }

var _ store.Remembering = (*tx)(nil)

// Memory implements store.Remembering.
func (t *tx) Memory(name string) (m *store.Memory, version uint64, fresh bool) {
	b := t.s.bucket(name)
	if !t.readOnly {
		return &b.written, b.draft, true
	}
	version = b.changed.Load()
	return &b.read, version, version <= t.began
}

// KeyMemory implements store.Remembering.
func (t *tx) KeyMemory(name, key string) (m *store.Memory, version uint64, fresh bool) {
	if !t.readOnly {
		return nil, 0, false
	}
	p := t.s.part(t.s.bucket(name), key)
	version = p.changed.Load()
	return &p.read, version, version <= t.began
}

// start begins the snapshot of a reader.
func (t *tx) start() error {
	if t.conn != nil {
		return nil
	}
	c, err := t.s.read.take(t.ctx)
	if err != nil {
		return err
	}
	if err := c.exec("BEGIN"); err != nil {
		t.s.read.put(c, true)
		return fmt.Errorf("begin: %w", err)
	}
	t.conn = c
	return nil
}

// end gives a reader's connection back.
func (t *tx) end() {
	if t.conn != nil {
		t.s.read.put(t.conn, t.conn.exec("ROLLBACK") != nil)
		t.conn = nil
	}
}

func (t *tx) Get(bucket, key string) ([]byte, error) {
	if len(t.pending) > 0 {
		if v, ok := t.pending[place{bucket, key}]; ok {
			if v == nil {
				return nil, store.ErrNotFound
			}
			return append([]byte{}, v...), nil
		}
	}
	if !t.readOnly {
		if v, ok := t.s.rows.get(place{bucket, key}); ok {
			return append([]byte{}, v...), nil
		}
	}
	if err := t.start(); err != nil {
		return nil, fmt.Errorf("store: get %s %q: %w", bucket, key, classify(err))
	}
	var out []byte
	err := t.conn.query(getRow, 2, func(row []driver.Value) (err error) {
		out, err = blob(row[1])
		return err
	}, bucket, key)
	if err != nil {
		return nil, fmt.Errorf("store: get %s %q: %w", bucket, key, classify(err))
	}
	if out == nil {
		return nil, store.ErrNotFound
	}
	if !t.readOnly {
		t.s.rows.put(place{bucket, key}, append([]byte{}, out...))
	}
	return out, nil
}

func (t *tx) Put(bucket, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return t.change(place{bucket, key}, value)
}

func (t *tx) Delete(bucket, key string) error { return t.change(place{bucket, key}, nil) }

// change puts a value, or deletes the row when it is nil.
func (t *tx) change(at place, value []byte) error {
	if t.readOnly {
		return fmt.Errorf("store: change %s %q: the transaction is read-only", at.bucket, at.key)
	}
	if t.touched == nil {
		t.touched, t.pending = map[*bucket]bool{}, map[place][]byte{}
	}
	b := t.s.bucket(at.bucket)
	t.touched[b] = true
	t.parts = append(t.parts, t.s.part(b, at.key))
	b.draft++
	if t.direct {
		return t.apply(at, value)
	}
	if _, ok := t.pending[at]; !ok {
		t.order = append(t.order, at)
	}
	t.pending[at] = value
	return nil
}

func (t *tx) apply(at place, value []byte) error {
	var err error
	switch {
	case value == nil:
		err = t.conn.exec(deleteRow, at.bucket, at.key)
	case len(value) <= largeValue:
		err = t.conn.exec(putRow, at.bucket, at.key, value)
	default:
		if err = t.conn.exec(putLarge, value); err == nil {
			err = t.conn.exec(putRef, at.bucket, at.key)
		}
	}
	if err != nil {
		t.failed = fmt.Errorf("store: change %s %q: %w", at.bucket, at.key, classify(err))
		return t.failed
	}
	if value == nil {
		t.s.rows.remove(at)
	} else {
		t.s.rows.put(at, value)
	}
	return nil
}

// flush applies what is pending.
func (t *tx) flush() error {
	for _, at := range t.order {
		if err := t.apply(at, t.pending[at]); err != nil {
			return err
		}
	}
	t.order = nil
	clear(t.pending)
	return nil
}

// finish keeps or undoes what an update did. An error is the database's.
func (t *tx) finish(keep bool) error {
	if t.failed != nil {
		return t.failed
	}
	if !keep {
		for b := range t.touched {
			b.draft++
		}
		t.touched = nil
		if !t.direct {
			return nil
		}
		t.s.rows.clear()
		if err := t.conn.exec("ROLLBACK TO u"); err != nil {
			return err
		}
	}
	if !t.direct {
		return t.flush()
	}
	return t.conn.exec("RELEASE u")
}

// page is how many rows one query of a scan reads: rows are read ahead so that
// the loop body may use the transaction, which has a single connection.
const page = 256

func (t *tx) Scan(bucket string, r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		after, left := r.After, r.Limit
		for {
			n := page
			if r.Limit > 0 && left < n {
				n = left
			}
			entries, err := t.page(bucket, r, after, n)
			if err != nil {
				yield(store.Entry{}, fmt.Errorf("store: scan %s %q: %w", bucket, r.Prefix, classify(err)))
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			left -= len(entries)
			if len(entries) < n || (r.Limit > 0 && left == 0) {
				return
			}
			after = entries[len(entries)-1].Key
		}
	}
}

func (t *tx) page(bucket string, r store.Range, after string, n int) ([]store.Entry, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.start(); err != nil {
		return nil, err
	}
	if len(t.touched) > 0 && t.touched[t.s.bucket(bucket)] && !t.direct {
		if err := t.conn.exec("SAVEPOINT u"); err != nil {
			return nil, err
		}
		t.direct = true
		if err := t.flush(); err != nil {
			return nil, err
		}
	}
	query := columns
	args := []driver.Value{bucket}
	cond := func(c, v string) {
		query += " AND key " + c + " ?"
		args = append(args, v)
	}
	// One bound for each end: with two, SQLite seeks to one of them and filters
	// by the other, row by row.
	low, high := r.Prefix, store.PrefixEnd(r.Prefix)
	order := " ORDER BY key"
	if r.Reverse {
		order += " DESC"
	}
	switch {
	case !r.Reverse && after != "" && after >= low:
		cond(">", after)
		low = ""
	case r.Reverse && after != "" && (high == "" || after < high):
		cond("<", after)
		high = ""
	}
	if low != "" {
		cond(">=", low)
	}
	if high != "" {
		cond("<", high)
	}
	var out []store.Entry
	err := t.conn.query(query+order+" LIMIT ?", 2, func(row []driver.Value) (err error) {
		var e store.Entry
		if e.Key, err = text(row[0]); err != nil {
			return err
		}
		e.Value, err = blob(row[1])
		out = append(out, e)
		return err
	}, append(args, int64(n))...)
	return out, err
}
