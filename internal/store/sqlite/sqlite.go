// Package sqlite is the default store: one SQLite database file in the home
// directory, written by one goroutine that commits many callers' transactions
// together, and read by any number of snapshots at once.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"strings"
	"sync"

	sqlite3 "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Store implements store.Store on one SQLite database.
type Store struct {
	write *sql.DB // one connection, used by the committer alone
	read  *sql.DB
	// the statements of Get, Put and Delete, prepared once for each database
	reads, writes statements

	queue chan *update
	quit  chan struct{}
	done  chan struct{}
	close sync.Once
}

type update struct {
	ctx    context.Context
	fn     func(store.Tx) error
	result chan error
}

// most callers that share one commit. It bounds how long the first one waits.
const batchLimit = 256

// Open opens the database at path, creating it if need be with mode 0600, and
// brings its schema up to date. A database written by a newer Azimuth is
// refused.
func Open(ctx context.Context, path string) (*Store, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	f.Close()
	write, err := open(path, "immediate")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := migrate(ctx, write); err != nil {
		write.Close()
		return nil, fmt.Errorf("open store %s: %w", path, classify(err))
	}
	read, err := open(path, "deferred")
	if err != nil {
		write.Close()
		return nil, err
	}
	read.SetMaxOpenConns(8)
	s := &Store{
		write: write,
		read:  read,
		queue: make(chan *update, batchLimit),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	if s.reads, err = prepare(ctx, read, false); err == nil {
		s.writes, err = prepare(ctx, write, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, classify(err)), read.Close(), write.Close())
	}
	go s.commitLoop()
	return s, nil
}

// statements are what nearly every transaction runs. Put and Delete are nil for
// the readers' database.
type statements struct{ get, put, delete *sql.Stmt }

func prepare(ctx context.Context, db *sql.DB, writes bool) (st statements, err error) {
	if st.get, err = db.PrepareContext(ctx, "SELECT value FROM entry WHERE bucket = ? AND key = ?"); err != nil || !writes {
		return st, err
	}
	st.put, err = db.PrepareContext(ctx, "INSERT INTO entry (bucket, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value")
	if err != nil {
		return st, err
	}
	st.delete, err = db.PrepareContext(ctx, "DELETE FROM entry WHERE bucket = ? AND key = ?")
	return st, err
}

func open(path, lock string) (*sql.DB, error) {
	q := url.Values{}
	q.Set("_txlock", lock)
	for _, p := range []string{
		"busy_timeout(10000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // an acknowledged write survives power loss too
		"cache_size(-8000)",
		"journal_size_limit(67108864)",
	} {
		q.Add("_pragma", p)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return db, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.close.Do(func() { close(s.quit) })
	<-s.done
	return errors.Join(s.read.Close(), s.write.Close())
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	select {
	case <-s.quit:
		return store.ErrClosed
	default:
	}
	sqlTx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: begin: %w", classify(err))
	}
	defer sqlTx.Rollback()
	return fn(&tx{ctx: ctx, sql: sqlTx, st: s.reads, readOnly: true})
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

// commit runs a batch in one SQL transaction, each caller in a savepoint of its
// own, so that one caller's error does not undo another's writes.
func (s *Store) commit(batch []*update) {
	errs := make([]error, len(batch))
	err := func() error {
		sqlTx, err := s.write.BeginTx(context.Background(), nil)
		if err != nil {
			return err
		}
		defer sqlTx.Rollback()
		for i, u := range batch {
			if errs[i] = u.ctx.Err(); errs[i] != nil {
				continue
			}
			if _, err := sqlTx.Exec("SAVEPOINT u"); err != nil {
				return err
			}
			t := &tx{ctx: context.Background(), sql: sqlTx, st: s.writes}
			errs[i] = run(u.fn, t)
			if errs[i] == nil {
				errs[i] = t.failed
			}
			if errs[i] != nil {
				if _, err := sqlTx.Exec("ROLLBACK TO u"); err != nil {
					return err
				}
			}
			if _, err := sqlTx.Exec("RELEASE u"); err != nil {
				return err
			}
		}
		return sqlTx.Commit()
	}()
	for i, u := range batch {
		switch {
		case errs[i] != nil:
			u.result <- errs[i]
		case err != nil:
			u.result <- fmt.Errorf("store: commit: %w", classify(err))
		default:
			u.result <- nil
		}
	}
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
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlitelib.SQLITE_FULL:
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
	}
	if errors.Is(err, sql.ErrConnDone) || (err != nil && strings.Contains(err.Error(), "database is closed")) {
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	}
	return err
}

type tx struct {
	ctx      context.Context
	sql      *sql.Tx
	st       statements
	readOnly bool
	failed   error // a write error that fn may have swallowed
}

func (t *tx) Get(bucket, key string) ([]byte, error) {
	var v []byte
	err := t.sql.StmtContext(t.ctx, t.st.get).QueryRowContext(t.ctx, bucket, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("store: get %s %q: %w", bucket, key, classify(err))
	}
	return v, nil
}

func (t *tx) Put(bucket, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return t.exec("put", bucket, key, t.st.put, bucket, key, value)
}

func (t *tx) Delete(bucket, key string) error {
	return t.exec("delete", bucket, key, t.st.delete, bucket, key)
}

func (t *tx) exec(verb, bucket, key string, st *sql.Stmt, args ...any) error {
	if t.readOnly {
		return fmt.Errorf("store: %s %s %q: the transaction is read-only", verb, bucket, key)
	}
	if _, err := t.sql.StmtContext(t.ctx, st).ExecContext(t.ctx, args...); err != nil {
		t.failed = fmt.Errorf("store: %s %s %q: %w", verb, bucket, key, classify(err))
		return t.failed
	}
	return nil
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
	query := "SELECT key, value FROM entry WHERE bucket = ?"
	args := []any{bucket}
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
	rows, err := t.sql.QueryContext(t.ctx, query+order+" LIMIT ?", append(args, n)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Entry
	for rows.Next() {
		var e store.Entry
		if err := rows.Scan(&e.Key, &e.Value); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
