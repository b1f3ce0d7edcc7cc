package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// conn is a client's connection with what was read ahead of it and what is
// known about it.
type conn struct {
	net.Conn
	ahead []byte // read already, to be read again first
	info  connInfo
}

type connInfo struct {
	serving     *serving
	tls         bool
	connectHost string // the host of the CONNECT that it came through, lower case, without the port
	credential  credential
}

type credential struct {
	user, password string
	given          bool
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite passes a half-close on.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

type writeCloser interface{ CloseWrite() error }

func closeWrite(c net.Conn) error {
	if w, ok := c.(writeCloser); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// peek waits for the first byte, at most for timeout, and leaves it to be read.
func (c *conn) peek(timeout time.Duration) (byte, error) {
	if len(c.ahead) > 0 {
		return c.ahead[0], nil
	}
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	var b [1]byte
	if _, err := io.ReadFull(c.Conn, b[:]); err != nil {
		return 0, err
	}
	c.ahead = b[:]
	return b[0], c.SetReadDeadline(time.Time{})
}

// infoOf returns what is known about a connection that the HTTP server was
// given.
func infoOf(c net.Conn) (connInfo, bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if own, ok := c.(*conn); ok {
		return own.info, true
	}
	return connInfo{}, false
}

type connInfoKey struct{}

func infoFrom(ctx context.Context) connInfo {
	info, _ := ctx.Value(connInfoKey{}).(connInfo)
	return info
}

// connListener hands connections that were looked at to the HTTP server.
type connListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newConnListener(addr net.Addr) *connListener {
	return &connListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

func (l *connListener) Addr() net.Addr { return l.addr }

// push gives c to the server, or closes it when the server is shutting down.
func (l *connListener) push(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		c.Close()
	}
}

// tracker knows the connections that the HTTP server does not: those being
// looked at and the tunnels.
type tracker struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	wg     sync.WaitGroup
}

// add reports false, and the caller must give up, when the server is closing.
// Otherwise the caller calls remove when it has let go of c.
func (t *tracker) add(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.conns == nil {
		t.conns = map[net.Conn]struct{}{}
	}
	t.conns[c] = struct{}{}
	t.wg.Add(1)
	return true
}

func (t *tracker) remove(c net.Conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	t.wg.Done()
}

// closeAll closes every tracked connection and waits until they are let go of.
func (t *tracker) closeAll() {
	t.mu.Lock()
	t.closed = true
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// splice copies both ways between a and b until both directions have ended,
// passing on half-closes, and closes both.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	oneWay := func(dst, src net.Conn) {
		_, err := relay(dst, src)
		if err != nil && !errors.Is(err, io.EOF) {
			// A reset or a failed write: the other direction has no use either.
			a.Close()
			b.Close()
			return
		}
		if closeWrite(dst) != nil {
			dst.Close()
		}
	}
	wg.Go(func() { oneWay(a, b) })
	oneWay(b, a)
	wg.Wait()
	a.Close()
	b.Close()
}

// relay copies src to dst. What was read ahead goes first; the rest is copied
// between the bare sockets, which the kernel can do by itself on Linux.
func relay(dst, src net.Conn) (int64, error) {
	if c, ok := dst.(*conn); ok {
		dst = c.Conn
	}
	c, ok := src.(*conn)
	if !ok {
		return io.Copy(dst, src)
	}
	n, err := io.Copy(dst, bytes.NewReader(c.ahead))
	c.ahead = nil
	if err != nil {
		return n, err
	}
	m, err := io.Copy(dst, c.Conn)
	return n + m, err
}
