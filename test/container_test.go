package test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// podmanStore gives podman a store of images of the test's own, with one image that
// holds busybox and nothing else. The test's end sees that no container is left.
func podmanStore(t *testing.T) (image string) {
	t.Helper()
	image = "localhost/azimuth-test:1"
	podman, busybox := need(t, "podman"), need(t, "busybox")
	dir, err := os.MkdirTemp("", "azimuth-podman-") // short, for podman's sockets
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "storage.conf")
	text := "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + dir + "/images\"\nrunroot = \"" + dir + "/run\"\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_STORAGE_CONF", conf)
	run := func(stdin []byte, args ...string) string {
		cmd := exec.Command(podman, args...)
		cmd.Env, cmd.Stdin = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+conf), bytes.NewReader(stdin)
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
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "bin/sh", Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink},
		{Name: "bin/busybox", Size: int64(len(program)), Mode: 0o755, Typeflag: tar.TypeReg},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	run(b.Bytes(), "import", "-", image)
	// A machine may have podman and not let it start anything: a container without
	// privileges, for one. That is no fault of what is tested here.
	plain := []string{"run", "--rm", "--network", "host", "--pid", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", image, "sh", "-c", "exit 0"}
	var said []byte
	for _, flags := range [][]string{nil, {"--cgroup-manager", "cgroupfs"}, {"--cgroup-manager", "cgroupfs", "--runtime", "runc"}} {
		if said, err = exec.CommandContext(t.Context(), podman, append(flags, plain...)...).CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		t.Skipf("podman starts no container on this machine: %s", said)
	}
	return image
}

// TestContainers runs jobs in containers: through a crash of the server, with an
// output, of an image that cannot be had, and of images that are built.
func TestContainers(t *testing.T) {
	needTerraform(t)
	image := podmanStore(t)
	e := newEnv(t)
	text, err := os.ReadFile("testdata/small.tf")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"main.tf": string(text)})
	e.run("up", "--runner", "container", dir)
	e.fails(1, "has the runner container", "up", "--runner", "local", dir)
	if out := e.run("status"); !strings.Contains(out, "container") {
		t.Errorf("status is %s", out)
	}
	job := func(image, command, name string) string {
		file := jobFile(t, command, "name: "+name+"\n", nil)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(b, []byte("library/python:3.12-slim"), []byte(image), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	e.run("ml", "job", "create", "-f", job(image, "echo begun\nuntil [ -e $HOME/go ]; do busybox sleep 0.05; done\necho weights > outputs/w.txt", "survivor"))
	e.awaitStatus("survivor", "Running")
	var homes []string
	e.await("the job has a home", func() bool {
		homes, err = filepath.Glob(filepath.Join(e.home, "nodes", "nodes", "*", "work", "cr", "j", "*", "home"))
		return err == nil && len(homes) == 1
	})
	e.kill()
	if err := os.WriteFile(filepath.Join(homes[0], "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.run("up", "--runner", "container", dir)
	if j := e.end("survivor"); j.Properties.Status != "Completed" {
		t.Fatalf("the job is %+v", j)
	}
	to := t.TempDir()
	e.run("ml", "job", "download", "-n", "survivor", "-p", to)
	log, err := os.ReadFile(filepath.Join(to, "artifacts", "user_logs", "std_log.txt"))
	if err != nil || !strings.Contains(string(log), "The job runs in a container of the image "+image) ||
		!strings.HasSuffix(string(log), "begun\n") {
		t.Errorf("log is %q, %v", log, err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "artifacts", "outputs", "w.txt")); err != nil || string(b) != "weights\n" {
		t.Errorf("output is %q, %v", b, err)
	}
	e.run("ml", "job", "create", "-f", job("mine.azurecr.io/a:1", "exit 0", "foreign"))
	if j := e.end("foreign"); j.Properties.Status != "Failed" || !strings.Contains(j.Properties.Error.Message, "there is no container registry mine") {
		t.Errorf("the job is %+v", j)
	}
	// images that are built: of a context, and with what a conda file asks for
	built := write(t, map[string]string{
		"context/Dockerfile": "FROM " + image + "\nCOPY conda hello /bin/\nRUN busybox chmod 755 /bin/conda\n",
		"context/hello":      "hello from the context\n",
		// stands in for conda: conda env create -p DIR -f FILE
		"context/conda": "#!/bin/sh\nbusybox mkdir -p $4/bin && busybox cp $6 $4/bin/asked\n",
		"conda.yml":     "name: x\ndependencies: [python=3.12]\n",
		"built.yml":     "name: built\ncommand: busybox cat /bin/hello\ncompute: azureml:cpu-cluster\nenvironment: {build: {path: context}}\n",
	})
	out := e.run("ml", "job", "create", "-f", filepath.Join(built, "built.yml"), "--stream")
	base := regexp.MustCompile(`localhost/azimuth-environment:[0-9a-f]{32}`).FindString(out)
	if !strings.Contains(out, "hello from the context") || base == "" {
		t.Errorf("stream:\n%s", out)
	}
	conda := "name: conda\ncommand: echo $CONDA_PREFIX; busybox cat /azureml-envs/azimuth/bin/asked\ncompute: azureml:cpu-cluster\nenvironment: {image: '" + base + "', conda_file: conda.yml}\n"
	if err := os.WriteFile(filepath.Join(built, "conda.job"), []byte(conda), 0o600); err != nil {
		t.Fatal(err)
	}
	if out = e.run("ml", "job", "create", "-f", filepath.Join(built, "conda.job"), "--stream"); !strings.Contains(out, "/azureml-envs/azimuth") || !strings.Contains(out, "dependencies:") {
		t.Errorf("stream:\n%s", out)
	}
	// what runs ends with the home
	e.run("ml", "job", "create", "-f", job(image, "busybox sleep 600", "forever"))
	e.awaitStatus("forever", "Running")
}
