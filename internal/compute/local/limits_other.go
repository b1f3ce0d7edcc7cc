//go:build !linux

package local

import (
	"context"
	"errors"
	"os/exec"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// limiter does nothing: this system has no control groups.
type limiter struct{}

func openLimiter(_, _ string) (*limiter, error) {
	return nil, errors.New("this system has no control groups")
}

func (l *limiter) limits(compute.NodeSpec) nodeLimits    { return nodeLimits{} }
func (l *limiter) release(context.Context, string) error { return nil }
func (l *limiter) sweep()                                {}

func startWithin(_ nodeLimits, command func() *exec.Cmd) (*exec.Cmd, error) {
	cmd := command()
	return cmd, cmd.Start()
}

func enter(nodeLimits) func(*exec.Cmd) error { return nil }

func memoryKills([]string) int { return 0 }
