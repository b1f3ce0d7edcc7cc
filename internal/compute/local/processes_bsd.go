//go:build unix && !linux

package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// recordGroup: the command's group is all that can be found here.
const recordGroup = true

// becomeReaper does nothing: this system has no reapers but the first process.
func becomeReaper() error { return nil }

// bootID changes whenever the machine starts.
func bootID() string {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return fmt.Sprint(t.Sec)
}

// killDescendants does nothing beyond the kill of the command's group, which
// its callers do: descendants that left it cannot be found.
func killDescendants() {}

// killLeftovers kills the command's group and returns when it is gone.
func killLeftovers(ctx context.Context, info supervisorInfo, _ string) error {
	if info.Group == 0 || info.BootID != bootID() {
		return nil
	}
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err := unix.Kill(-info.Group, unix.SIGKILL); errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EPERM) {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
