// Package home is the one directory in which an Azimuth keeps everything:
// state, keys, blobs, logs and the stacks it has applied.
package home

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

// Dir is a home directory.
type Dir string

// Find returns the home that flag or the environment names: flag, then
// $AZIMUTH_HOME, then ~/.azimuth. The path is absolute.
func Find(flag string) (Dir, error) {
	path := flag
	if path == "" {
		path = os.Getenv("AZIMUTH_HOME")
	}
	if path == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find home directory: %w; set AZIMUTH_HOME or --home", err)
		}
		path = filepath.Join(user, ".azimuth")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find home directory: %w", err)
	}
	return Dir(abs), nil
}

// Make creates the home and what is in it, private to the user, and checks that
// it can be written to.
func (d Dir) Make() error {
	for _, dir := range []string{"", "ca", "blobs", "nodes", "stacks", "tools", "run"} {
		if err := os.MkdirAll(filepath.Join(string(d), dir), 0o700); err != nil {
			return d.explain(err)
		}
	}
	f, err := os.CreateTemp(d.Run(), ".write-test-*")
	if err != nil {
		return d.explain(err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// explain says what can be done about a home that cannot be used.
func (d Dir) explain(err error) error {
	const other = "choose another with --home or AZIMUTH_HOME"
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("home %s cannot be written to: %w; %s", d, err, other)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("home %s is not a directory: %w; %s", d, err, other)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk that holds the home %s is full: %w; free some space, or %s", d, err, other)
	}
	return fmt.Errorf("make home %s: %w", d, err)
}

// The places in a home.
func (d Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}
func (d Dir) Database() string { return d.Path("azimuth.db") }
func (d Dir) CA() string       { return d.Path("ca") }
func (d Dir) Blobs() string    { return d.Path("blobs") }
func (d Dir) Nodes() string    { return d.Path("nodes") }
func (d Dir) Stacks() string   { return d.Path("stacks") }
func (d Dir) Tools() string    { return d.Path("tools") }
func (d Dir) Run() string      { return d.Path("run") }
func (d Dir) SealKey() string  { return d.Path("seal.key") }
func (d Dir) Log() string      { return d.Path("run", "server.log") }

func (d Dir) serverFile() string { return d.Path("run", "server.json") }

// Server is what a running server says of itself in its home.
type Server struct {
	// PID is its process and Address the host:port it listens on.
	PID     int    `json:"pid"`
	Address string `json:"address"`
	// Version is its build, Started when it began (machine time).
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Strict  bool      `json:"strict,omitempty"`
	// Runner is what jobs run in: local or container.
	Runner string `json:"runner,omitempty"`
}

// WriteServer records the running server.
func (d Dir) WriteServer(s Server) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("record server: %w", err)
	}
	_, err = atomicfile.Write(d.serverFile(), append(b, '\n'), 0o600)
	return err
}

// ErrNoServer is returned when no server runs for a home.
var ErrNoServer = errors.New("no server runs for this home")

// ReadServer returns the server that runs for this home, or ErrNoServer. The
// lock that a server holds decides, not the file it leaves.
func (d Dir) ReadServer() (Server, error) {
	var s Server
	locked, err := d.locked()
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoServer
	}
	if err != nil {
		return s, d.explain(err)
	}
	if !locked {
		return s, ErrNoServer
	}
	b, err := os.ReadFile(d.serverFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoServer // it is starting
	}
	if err != nil {
		return s, fmt.Errorf("read server record: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read server record: %w", err)
	}
	return s, nil
}

// AwaitServer is ReadServer, but waits for a server that is starting until ctx
// ends.
func (d Dir) AwaitServer(ctx context.Context) (Server, error) {
	for {
		s, err := d.ReadServer()
		if !errors.Is(err, ErrNoServer) {
			return s, err
		}
		if held, lockErr := d.locked(); lockErr != nil || !held {
			return s, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return s, fmt.Errorf("wait for the server to start: %w", ctx.Err())
		}
	}
}

// ErrLocked is returned by Lock when a server holds the home.
var ErrLocked = errors.New("another azimuth server runs for this home")
