//go:build unix

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
)

// TestGPUs hands out made-up GPUs: no two nodes get the same one, and what a node
// had is free again with it.
func TestGPUs(t *testing.T) {
	dir := t.TempDir()
	openWith := func(devices ...string) *local.Runner {
		r, err := local.Open(local.Options{Dir: dir, Clock: clock.NewManual(epoch), Devices: devices})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := openWith("0", "1", "GPU-aa")
	node := func(id string, gpus, want int) {
		t.Helper()
		info, err := r.StartNode(t.Context(), compute.NodeSpec{ID: id, GPUs: gpus})
		if err != nil || info.GPUs != want {
			t.Fatalf("%s has %d GPUs, %v", id, info.GPUs, err)
		}
	}
	// visible is what a task on a node sees, whatever its environment said.
	visible := func(id string) string {
		t.Helper()
		ends := follow(t, r)
		task := script(dir, "echo ${CUDA_VISIBLE_DEVICES-unset}")
		task.ID, task.NodeID, task.LogPath = "on-"+id, id, filepath.Join(t.TempDir(), "log")
		task.Env = append(task.Env, "CUDA_VISIBLE_DEVICES=7")
		if err := r.StartTask(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		for {
			if end := <-ends; end.ID == task.ID {
				b, err := os.ReadFile(task.LogPath)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(b))
			}
		}
	}
	if c, err := r.Capacity(t.Context()); err != nil || c.GPUs != 3 {
		t.Errorf("capacity = %+v, %v", c, err)
	}
	node("a", 2, 2)
	r.Close()
	r = openWith("0", "1", "GPU-aa")
	node("a", 2, 2)
	node("b", 2, 1)
	node("c", 1, 0)
	node("cpu", 0, 0)
	for id, want := range map[string]string{"a": "0,1", "b": "GPU-aa", "c": "", "cpu": ""} {
		if got := visible(id); got != want {
			t.Errorf("%s sees %q, want %q", id, got, want)
		}
	}
	if err := r.StopNode(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	node("d", 1, 1)
	if got := visible("d"); got != "0" {
		t.Errorf("d sees %q", got)
	}
	for _, id := range []string{"b", "c", "d", "cpu"} {
		if err := r.StopNode(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	r.Close()
}

// TestGPUsOfThisProcess: what the server itself was given is all that it gives.
func TestGPUsOfThisProcess(t *testing.T) {
	for list, want := range map[string]int{"": 0, "-1": 0, "3": 1, "0, GPU-1f": 2} {
		t.Run(list, func(t *testing.T) {
			t.Setenv("CUDA_VISIBLE_DEVICES", list)
			r := open(t, t.TempDir())
			defer r.Close()
			if c, err := r.Capacity(t.Context()); err != nil || c.GPUs != want {
				t.Errorf("capacity = %+v, %v", c, err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	const subnet = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/Training"
	start := func(id, subnet, prefix string) (compute.NodeInfo, error) {
		return r.StartNode(t.Context(), compute.NodeSpec{ID: id, SubnetID: subnet, SubnetPrefix: prefix})
	}
	hosts := map[string]bool{}
	// Of a /29 Azure keeps five addresses, so three nodes fit. Two pools may share it.
	for i, id := range []string{"a", "b", "c"} {
		info, err := start(id, []string{subnet, strings.ToLower(subnet)}[i%2], "10.2.1.8/29")
		if want := fmt.Sprintf("10.2.1.%d", 12+i); err != nil || info.PrivateIP != want {
			t.Fatalf("%s: %+v, %v", id, info, err)
		}
		hosts[info.Host] = true
	}
	if _, err := start("d", subnet, "10.2.1.8/29"); err == nil || !strings.Contains(err.Error(), "Subnet Training with address prefix 10.2.1.8/29 does not have enough capacity") {
		t.Errorf("error = %v", err)
	}
	if info, err := start("other", subnet+"2", "10.2.1.8/29"); err != nil || info.PrivateIP != "10.2.1.12" {
		t.Errorf("in another network: %+v, %v", info, err)
	}
	if _, err := start("bad", subnet, "nonsense"); err == nil {
		t.Error("a range that is none was taken")
	}
	// They come back with their nodes, also after a restart.
	if err := r.StopNode(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r = open(t, dir)
	defer r.Close()
	if info, err := start("d", subnet, "10.2.1.8/29"); err != nil || info.PrivateIP != "10.2.1.13" {
		t.Errorf("d: %+v, %v", info, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "nodes"))
	if names := fmt.Sprint(entries); err != nil || len(entries) != 4 {
		t.Errorf("nodes: %s, %v", names, err)
	}
	// On a system with one loopback address only, all nodes share it.
	if len(hosts) != 3 && !hosts["127.0.0.1"] {
		t.Errorf("hosts = %v", hosts)
	}
}
