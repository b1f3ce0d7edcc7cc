//go:build unix

package terraform

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// start runs a shell script in a group of its own and returns once it has
// printed "ready".
func start(t *testing.T, script string) (*exec.Cmd, chan error) {
	t.Helper()
	w := &lineWaiter{text: "ready", seen: make(chan struct{})}
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdout = w
	setProcessGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	<-w.seen
	return cmd, waited
}

func TestSecondInterruptKills(t *testing.T) {
	cmd, waited := start(t, "trap '' INT; echo ready; sleep 600")
	signals := make(chan os.Signal, 2)
	signals <- os.Interrupt
	signals <- os.Interrupt
	var said bytes.Buffer
	code, err := exitStatus("terraform apply", supervise(t.Context(), &said, cmd, false, signals, waited))
	if code != -1 || err == nil || err.Error() != "terraform apply was killed" {
		t.Errorf("status %d, %v", code, err)
	}
	if !strings.Contains(said.String(), "killing") {
		t.Errorf("said %q", &said)
	}
}

func TestFirstInterruptAsks(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd, waited := start(t, "trap 'exit 7' INT; echo ready; while :; do sleep 0.01; done")
		signals := make(chan os.Signal, 1)
		signals <- s
		code, err := exitStatus("terraform apply", supervise(t.Context(), nil, cmd, false, signals, waited))
		if code != 7 {
			t.Errorf("%v: status %d, %v", s, code, err)
		}
	}
}

// The terminal interrupts an interactive program itself; a second one from here
// would make terraform drop everything.
func TestInteractiveProgramIsNotInterruptedTwice(t *testing.T) {
	cmd, waited := start(t, "trap 'exit 7' INT; trap 'exit 8' USR1; echo ready; while :; do sleep 0.01; done")
	signals := make(chan os.Signal)
	done := make(chan error, 1)
	go func() { done <- supervise(t.Context(), nil, cmd, true, signals, waited) }()
	signals <- os.Interrupt
	signals <- os.Interrupt // taken only after the first was dealt with
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if code, err := exitStatus("terraform console", <-done); code != 8 {
		t.Errorf("status %d, %v", code, err)
	}
}
