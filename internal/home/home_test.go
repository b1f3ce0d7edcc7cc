package home_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/home"
)

func TestOneServerAtATime(t *testing.T) {
	d := home.Dir(filepath.Join(t.TempDir(), "home"))
	if _, err := d.ReadServer(); !errors.Is(err, home.ErrNoServer) {
		t.Errorf("no home: %v", err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteServer(home.Server{PID: 7, Address: "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if s, err := d.ReadServer(); err != nil || s.PID != 7 {
		t.Errorf("running: %+v, %v", s, err)
	}
	if _, err := d.Lock(); !errors.Is(err, home.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	if err := d.Released(); err != nil {
		t.Error(err)
	}
	// the record of a dead server does not count
	if _, err := d.ReadServer(); !errors.Is(err, home.ErrNoServer) {
		t.Errorf("after unlock: %v", err)
	}
	if fi, err := os.Stat(string(d)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("home is %v, %v", fi.Mode(), err)
	}
}

// TestAwaitServer waits for one that is starting, whatever a dead one left.
func TestAwaitServer(t *testing.T) {
	d := home.Dir(filepath.Join(t.TempDir(), "home"))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteServer(home.Server{PID: 7}); err != nil { // it was killed
		t.Fatal(err)
	}
	if _, err := d.AwaitServer(t.Context()); !errors.Is(err, home.ErrNoServer) {
		t.Errorf("no server: %v", err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.ReadServer(); !errors.Is(err, home.ErrNoServer) {
		t.Errorf("starting: %+v, %v", s, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.AwaitServer(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	found := make(chan home.Server)
	go func() {
		s, err := d.AwaitServer(t.Context())
		if err != nil {
			t.Error(err)
		}
		found <- s
	}()
	if err := d.WriteServer(home.Server{PID: 8}); err != nil {
		t.Fatal(err)
	}
	if s := <-found; s.PID != 8 {
		t.Errorf("found %+v", s)
	}
	unlock()
}

// TestUnusable checks that a home which cannot be one is explained.
func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := home.Dir(file)
	if err := d.Make(); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("make: %v", err)
	}
	if _, err := d.ReadServer(); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("read: %v", err)
	}
	if free, err := home.Dir(t.TempDir()).Free(); err != nil || free == 0 {
		t.Errorf("free: %d, %v", free, err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("AZIMUTH_HOME", "/from/env")
	if d, _ := home.Find(""); d != "/from/env" {
		t.Errorf("env: %s", d)
	}
	if d, _ := home.Find("/from/flag"); d != "/from/flag" {
		t.Errorf("flag: %s", d)
	}
}
