//go:build unix

package local

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// capacity is what this process may use of the machine, GPUs aside.
func capacity() (compute.Capacity, error) {
	mem, err := memoryBytes()
	if err != nil {
		return compute.Capacity{}, err
	}
	return compute.Capacity{
		CPUs:      runtime.NumCPU(),
		MemoryGiB: float64(mem) / (1 << 30),
	}, nil
}

// gpus counts NVIDIA devices, by their device files or else, where there are
// none (WSL), by asking nvidia-smi.
func gpus(ctx context.Context) int {
	if devices, _ := filepath.Glob("/dev/nvidia[0-9]*"); len(devices) > 0 {
		return len(devices)
	}
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, smi, "-L").Output()
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "GPU ") {
			n++
		}
	}
	return n
}

// diskFree is how many bytes the disk of a directory has left for this user.
func diskFree(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
