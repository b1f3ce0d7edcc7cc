//go:build !unix

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// errUnsupported is what Open says here: a supervisor needs sessions, process
// groups and inherited locks.
var errUnsupported = fmt.Errorf("running jobs as processes needs Linux or macOS: %w", errors.ErrUnsupported)

func supported() error { return errUnsupported }

type aliveness interface {
	wait(ctx context.Context) error
	close()
}

func watchAlive(string) (aliveness, error) { return nil, errUnsupported }

// maxReady is how many supervisors wait for tasks at most.
const maxReady = 0

// ready is a supervisor that waits for a task: there is none here.
type ready struct{}

func startReady([]string, string, nodeLimits) (*ready, error) { return nil, errUnsupported }

func (r *ready) close() {}

func spawn(taskDir, []string, compute.TaskSpec, *contained, nodeLimits, *ready) (aliveness, *exec.Cmd, error) {
	return nil, nil, errUnsupported
}

func (d taskDir) lockHeld() (bool, error) { return false, errUnsupported }

func signalStop(*os.Process) error { return errUnsupported }

func killLeftovers(context.Context, supervisorInfo, string) error { return errUnsupported }

func gpus(context.Context) int { return 0 }

func openFiles() uint64 { return 0 }

func capacity() (compute.Capacity, error) { return compute.Capacity{}, errUnsupported }

// SuperviseMain says that supervisors do not work on this system.
func SuperviseMain(_ context.Context, _ []string, stderr io.Writer) int {
	fmt.Fprintln(stderr, "azimuth supervise:", errUnsupported)
	return 1
}

func diskFree(string) (uint64, error) { return 0, errUnsupported }
