package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// conn is one connection to the database, used by one goroutine at a time. It
// speaks to the driver itself: what database/sql does around a statement costs
// more than a look-up.
type conn struct {
	driver.Conn
	stmts map[string]driver.Stmt // prepared once, by their text
}

func (c *conn) stmt(query string) (driver.Stmt, error) {
	if st := c.stmts[query]; st != nil {
		return st, nil
	}
	st, err := c.Prepare(query)
	if err == nil {
		c.stmts[query] = st
	}
	return st, err
}

// named are the arguments of a statement.
func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

var errDriver = errors.New("the driver cannot run statements with a context")

// exec runs a statement that returns no rows.
func (c *conn) exec(query string, args ...driver.Value) error {
	st, err := c.stmt(query)
	if err != nil {
		return err
	}
	x, ok := st.(driver.StmtExecContext)
	if !ok {
		return errDriver
	}
	_, err = x.ExecContext(context.Background(), named(args))
	return err
}

// query calls f with each row. The values are f's to keep.
func (c *conn) query(query string, columns int, f func(row []driver.Value) error, args ...driver.Value) (err error) {
	st, err := c.stmt(query)
	if err != nil {
		return err
	}
	q, ok := st.(driver.StmtQueryContext)
	if !ok {
		return errDriver
	}
	rows, err := q.QueryContext(context.Background(), named(args))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	row := make([]driver.Value, columns)
	for {
		if err := rows.Next(row); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

// pool is the connections of readers.
type pool struct {
	open  func() (*conn, error)
	slots chan struct{} // one for each connection that may be in use

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// take returns a connection, once there is one.
func (p *pool) take(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.slots
		return nil, store.ErrClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	c, err := p.open()
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// put gives a connection back, or closes it when it is broken.
func (p *pool) put(c *conn, broken bool) {
	defer func() { <-p.slots }()
	p.mu.Lock()
	defer p.mu.Unlock()
	if broken || p.closed {
		_ = c.close() // what is wrong with it was told already
		return
	}
	p.idle = append(p.idle, c)
}

// close waits for the connections in use and closes all.
func (p *pool) close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	for range cap(p.slots) {
		<-p.slots // take then finds the pool closed
	}
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

func text(v driver.Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("a key is a %T", v)
}

func blob(v driver.Value) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		if v != nil {
			return v, nil
		}
		return []byte{}, nil
	case nil:
		return []byte{}, nil
	}
	return nil, fmt.Errorf("a value is a %T", v)
}
