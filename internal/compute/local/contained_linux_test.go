package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/container"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/compute/runnertest"
)

const testImage = "localhost/azimuth-test:1"

// engine is podman with a store of images of the test's own, which holds testImage:
// busybox and nothing else.
func engine(t *testing.T) *container.Engine {
	t.Helper()
	busybox := need(t, "busybox")
	podman := need(t, "podman")
	dir, err := os.MkdirTemp("", "azimuth-podman-") // not below t.TempDir: paths of podman's sockets are short
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "storage.conf")
	text := "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + dir + "/images\"\nrunroot = \"" + dir + "/run\"\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "CONTAINERS_STORAGE_CONF="+conf)
	run := func(stdin []byte, args ...string) string {
		cmd := exec.CommandContext(context.Background(), podman, args...)
		cmd.Env, cmd.Stdin = environ, bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if left := run(nil, "ps", "-a", "-q"); left != "" {
			t.Errorf("containers are left: %s", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	header := &tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}
	for _, name := range []string{"sh", "sleep", "cat", "touch"} {
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + name, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	run(image.Bytes(), "import", "-", testImage)
	// A machine may have podman and not let it start anything: a container without
	// privileges, for one. That is no fault of what is tested here.
	plain := []string{"run", "--rm", "--network", "host", "--pid", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", testImage, "sh", "-c", "exit 0"}
	var said []byte
	for _, flags := range [][]string{nil, {"--cgroup-manager", "cgroupfs"}, {"--cgroup-manager", "cgroupfs", "--runtime", "runc"}} {
		cmd := exec.CommandContext(t.Context(), podman, append(flags, plain...)...)
		cmd.Env = environ
		if said, err = cmd.CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		t.Skipf("podman starts no container on this machine: %s", said)
	}
	e, err := container.Find(t.Context(), environ)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// need finds a program, and fails the test in CI when it is missing. Elsewhere the
// test is skipped.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: .ci/run installs it", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// inContainers gives every task the image.
type inContainers struct{ *local.Runner }

func (r inContainers) StartTask(ctx context.Context, spec compute.TaskSpec) error {
	spec.Image = testImage
	return r.Runner.StartTask(ctx, spec)
}

func openContainers(t *testing.T, dir string, e *container.Engine) inContainers {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The race detector has each supervisor wait a second before it exits.
	supervisor := []string{"env", "GORACE=atexit_sleep_ms=0", exe, "supervise"}
	r, err := local.Open(local.Options{Dir: dir, Clock: clock.NewManual(epoch), Supervisor: supervisor, Containers: e})
	if err != nil {
		t.Fatal(err)
	}
	return inContainers{r}
}

func TestContainersKeepTheContract(t *testing.T) {
	e := engine(t)
	runnertest.Run(t, func(t *testing.T) runnertest.Open {
		dir := t.TempDir()
		return func(t *testing.T) (compute.Runner, func()) {
			r := openContainers(t, dir, e)
			return r, r.Close
		}
	})
}

// TestContainers covers what the contract does not.
func TestContainers(t *testing.T) {
	e := engine(t)
	for _, tt := range []struct {
		name   string
		node   compute.NodeSpec
		env    []string
		script string
		log    string
		ok     func(compute.TaskResult) bool
	}{
		{name: "values of variables", script: `printf '%s|' "$HOME" "$A" "$HTTPS_PROXY"; busybox env | busybox grep AZIMUTH_VALUE || echo none`,
			env: []string{"HOME=/nowhere", "A=it's \"two\"\nlines", "HTTPS_PROXY=http://127.0.0.1:1"},
			log: "/nowhere|it's \"two\"\nlines|http://127.0.0.1:1|none\n", ok: compute.TaskResult.OK},
		{name: "no memory left", script: `a=x; while :; do a=$a$a; done`, node: compute.NodeSpec{MemoryGiB: 0.0625},
			ok: func(r compute.TaskResult) bool { return r.OutOfMemory && r.Signal == "SIGKILL" || !e.Limited }},
		{name: "the engine's own codes", script: "exit 125", ok: func(r compute.TaskResult) bool { return r.ExitCode == 125 && r.Error == "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.node.MemoryGiB > 0 && !e.Limited {
				t.Skip("the engine cannot limit memory here")
			}
			dir, files := t.TempDir(), t.TempDir()
			r := openContainers(t, dir, e)
			defer r.Close()
			tt.node.ID = "node"
			if _, err := r.StartNode(t.Context(), tt.node); err != nil {
				t.Fatal(err)
			}
			ends := follow(t, r.Runner)
			spec := script(files, tt.script)
			spec.Env = append([]string{"PATH=/bin"}, tt.env...)
			if err := r.StartTask(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			res := endOf(t, ends)
			b, err := os.ReadFile(spec.LogPath)
			if !tt.ok(res) || err != nil || tt.log != "" && string(b) != tt.log {
				t.Errorf("ended %+v, log %q, %v", res, b, err)
			}
			if err := r.StopNode(t.Context(), "node"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLostSupervisorLeavesNoContainer kills the supervisor and the engine's client.
// engine's clean-up sees that no container is left.
func TestLostSupervisorLeavesNoContainer(t *testing.T) {
	e := engine(t)
	files := t.TempDir()
	r := openContainers(t, t.TempDir(), e)
	defer r.Close()
	startNode(t, r.Runner)
	ends := follow(t, r.Runner)
	fifo, gone := fifo(t, files)
	spec := script(files, "(busybox setsid sleep 600 &) ; echo up >up; sleep 700")
	spec.ID = "lost-" + strconv.Itoa(os.Getpid())
	spec.Argv[2] = "exec 9>" + fifo + "; " + spec.Argv[2]
	if err := r.StartTask(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(files, "up"))
	killParentOfEngine(t, spec.ID)
	if res := endOf(t, ends); !res.Lost {
		t.Errorf("ended %+v", res)
	}
	gone()
	if err := r.StopNode(t.Context(), "node"); err != nil {
		t.Error(err)
	}
}

// killParentOfEngine kills the supervisor of a task: the parent of the first of its
// processes that has the task's variable and is podman.
func killParentOfEngine(t *testing.T, task string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		environ, _ := os.ReadFile(f)
		dir := filepath.Dir(f)
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		if strings.TrimSpace(string(name)) != "podman" || !bytes.Contains(environ, []byte("AZIMUTH_TASK="+task+"\x00")) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		_, rest, ok := strings.Cut(string(status), "\nPPid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		pid, perr := strconv.Atoi(line)
		if err != nil || !ok || perr != nil || pid <= 1 {
			t.Fatalf("parent of %s: %v %v", dir, err, perr)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no podman runs the task")
}

func TestImagesNeedContainers(t *testing.T) {
	r := open(t, t.TempDir())
	defer r.Close()
	startNode(t, r)
	spec := script(t.TempDir(), "exit 0")
	spec.Image = testImage
	if err := r.StartTask(t.Context(), spec); err == nil {
		t.Error("a task with an image was started as a process")
	}
	if err := r.StopNode(t.Context(), "node"); err != nil {
		t.Error(err)
	}
}
