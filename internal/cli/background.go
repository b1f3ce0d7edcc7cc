package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/azimuth-ml/azimuth/internal/home"
)

// readLiveServer is d.ReadServer for who is about to talk to the server: one that
// was killed a moment ago may hold the home still and listen no more. It waits
// until one of the two is over, for some seconds.
func readLiveServer(ctx context.Context, d home.Dir) (home.Server, error) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		s, err := d.ReadServer()
		if err != nil || time.Now().After(deadline) {
			return s, err
		}
		if healthy(ctx, s.Address) {
			return s, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return s, fmt.Errorf("connect to the server: %w", ctx.Err())
		}
	}
}

// healthy reports whether a server answers. That it can be connected to says
// nothing: the system still takes connections for one that is being killed.
func healthy(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// startServer makes sure that a server runs for the home and returns it.
func (a *app) startServer(ctx context.Context, f serveFlags) (home.Server, error) {
	d, err := a.home()
	if err != nil {
		return home.Server{}, err
	}
	s, err := readLiveServer(ctx, d)
	if err == nil {
		if f.strict && !s.Strict {
			return s, hint(errors.New("a server that is not strict runs for this home"), "Stop it (azimuth stop) and try again, or leave --strict out.")
		}
		if f.listen != "" && f.listen != s.Address {
			return s, hint(fmt.Errorf("the server for this home listens on %s", s.Address), "Stop it (azimuth stop) and try again, or leave --listen out.")
		}
		if f.runner != "" && f.runner != s.Runner {
			return s, hint(fmt.Errorf("the server for this home has the runner %s", s.Runner), "Stop it (azimuth stop) and try again, or leave --runner out.")
		}
		return s, nil
	}
	if !errors.Is(err, home.ErrNoServer) {
		return s, err
	}
	if err := d.Make(); err != nil {
		return s, err
	}
	exe, err := os.Executable()
	if err != nil {
		return s, fmt.Errorf("start server: %w", err)
	}
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return s, fmt.Errorf("start server: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return s, fmt.Errorf("start server: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(exe, append(f.args(), "--home", string(d), "--ready-fd", "3")...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this terminal
	err = cmd.Start()
	w.Close()
	if err != nil {
		return s, fmt.Errorf("start server: %w", err)
	}
	go func() { // the read ends when the server is ready or gone; a signal ends it, too
		<-ctx.Done()
		r.Close()
	}()
	said := bufio.NewReader(r)
	line, err := said.ReadString('\n')
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if msg, ok := strings.CutPrefix(strings.TrimSpace(line), "error "); ok {
		cmd.Wait()
		// another `up` may have won the race for the home: wait for its server
		if s, again := d.AwaitServer(ctx); again == nil || ctx.Err() != nil {
			return s, again
		}
		advice, _ := said.Peek(said.Buffered()) // written at once with the first line
		return s, fmt.Errorf("the server did not start: %s", strings.TrimRight(msg+"\n"+string(advice), "\n"))
	}
	if strings.TrimSpace(line) != "ready" {
		return s, hint(fmt.Errorf("the server ended before it was ready: %v", err), "Its log is %s.", d.Log())
	}
	if err := cmd.Process.Release(); err != nil {
		return s, fmt.Errorf("start server: %w", err)
	}
	return d.ReadServer()
}
