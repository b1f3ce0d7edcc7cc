package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGPUs runs a job on a cluster of a GPU size, on a machine without a GPU and
// on one that has two. The GPUs are made up: what a job gets is their numbers.
func TestGPUs(t *testing.T) {
	for _, tt := range []struct{ machine, first, sees string }{
		{"", "There is no GPU for the job, so it runs on CPU.", "sees nothing"},
		{"4,7", "This machine is smaller than Standard_NC6s_v3", "sees 4"},
	} {
		t.Run("machine with "+tt.machine, func(t *testing.T) {
			t.Setenv("CUDA_VISIBLE_DEVICES", tt.machine)
			e, _ := smallEnv(t)
			e.run("ml", "compute", "create", "-n", "gpu", "--type", "AmlCompute", "--size", "Standard_NC6s_v3", "--min-instances", "0", "--max-instances", "1")
			file := jobFile(t, "echo \"sees ${CUDA_VISIBLE_DEVICES:-nothing}\"", "name: gpu\n", nil)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "azureml:cpu-cluster", "azureml:gpu")), 0o600); err != nil {
				t.Fatal(err)
			}
			e.run("ml", "job", "create", "-f", file)
			if j := e.end("gpu"); j.Properties.Status != "Completed" {
				t.Fatalf("the job is %+v", j)
			}
			dir := t.TempDir()
			e.run("ml", "job", "download", "-n", "gpu", "-p", dir)
			b, err := os.ReadFile(filepath.Join(dir, "artifacts", "user_logs", "std_log.txt"))
			first, _, _ := strings.Cut(string(b), "\n")
			if err != nil || !strings.Contains(first, tt.first) || !strings.Contains(string(b), tt.sees) {
				t.Errorf("log is %q, %v", b, err)
			}
			if strings.Contains(first, "runs on CPU") != (tt.machine == "") {
				t.Errorf("the first line is %q", first)
			}
		})
	}
}
