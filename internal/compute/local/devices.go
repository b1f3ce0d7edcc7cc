package local

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// gpuVariable is how CUDA programs are told which GPUs are theirs.
const gpuVariable = "CUDA_VISIBLE_DEVICES"

// devices are the GPUs that this process may give to nodes, as values for
// gpuVariable: those that it was given itself, else all that the machine has.
func devices(ctx context.Context) []string {
	if list, ok := os.LookupEnv(gpuVariable); ok {
		var out []string
		for d := range strings.SplitSeq(list, ",") {
			if d = strings.TrimSpace(d); d != "" && d != "-1" {
				out = append(out, d)
			}
		}
		return out
	}
	out := make([]string, gpus(ctx))
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}

// freeDevices picks up to n GPUs that no node has. r.mu is held.
func (r *Runner) freeDevices(n int) []string {
	used := map[string]bool{}
	for _, other := range r.nodes {
		for _, d := range other.GPUs {
			used[d] = true
		}
	}
	var out []string
	for _, d := range r.devices() {
		if len(out) < n && !used[d] {
			out = append(out, d)
		}
	}
	return out
}

// withDevices adds the node's GPUs to a task's environment. On a machine with
// GPUs a task of a node without any sees none.
func (r *Runner) withDevices(spec compute.TaskSpec, n *node) compute.TaskSpec {
	if len(r.devices()) == 0 {
		return spec
	}
	env := make([]string, 0, len(spec.Env)+1)
	for _, kv := range spec.Env {
		if !strings.HasPrefix(kv, gpuVariable+"=") {
			env = append(env, kv)
		}
	}
	spec.Env = append(env, gpuVariable+"="+strings.Join(n.GPUs, ","))
	return spec
}
