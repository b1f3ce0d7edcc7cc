// Package container runs commands in containers of podman or docker, whichever
// works on this machine.
//
// A container here is a way to bring a job's software along, not a wall around it:
// it has the machine's network and process IDs, and runs as the user of the server.
package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Engine is a container engine that works on this machine, and how it does. It is
// written down with each task, so that whoever finds the task can end its container.
type Engine struct {
	// Name is podman or docker; Version is what it says of itself.
	Name, Version string
	// Path is the client, Flags what comes before each of its commands, and Env its
	// environment.
	Path       string
	Flags, Env []string
	// User is whom commands run as, so that what they write belongs to the user of
	// this process.
	User string
	// Limited says that it can limit memory, CPU and processes.
	Limited bool
}

// String is such as "podman 4.3.1".
func (e *Engine) String() string { return e.Name + " " + e.Version }

// Find looks for an engine that starts containers and finds out which flags it
// needs for that. Its error says what to install. environ is the environment of
// this process, of which the engine gets what it is set up by.
func Find(ctx context.Context, environ []string) (*Engine, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("containers need Linux: elsewhere they run in a virtual machine, where this server is not")
	}
	var problems []error
	for _, name := range []string{"podman", "docker"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		e := &Engine{Name: name, Path: path, Env: engineEnv(environ)}
		if err = e.probe(ctx); err == nil {
			return e, nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", name, err))
	}
	if len(problems) == 0 {
		return nil, errors.New("neither podman nor docker is in the PATH: install one of them (Debian: apt-get install podman)")
	}
	return nil, fmt.Errorf("no container engine works here; install podman (Debian: apt-get install podman runc), or start docker: %w", errors.Join(problems...))
}

// engineEnv is what the engine's client is set up by, and no more: it is written
// down with each task.
func engineEnv(environ []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "DBUS_SESSION_BUS_ADDRESS", "REGISTRY_AUTH_FILE":
			out = append(out, kv)
			continue
		}
		for _, prefix := range []string{"XDG_", "DOCKER_", "CONTAINER", "STORAGE_"} {
			if strings.HasPrefix(name, prefix) {
				out = append(out, kv)
			}
		}
		if strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			out = append(out, kv)
		}
	}
	return out
}

// probe fills in how the engine works here. It starts a container of an empty
// image with a command that is not there: what comes as far as missing the command
// can start containers.
func (e *Engine) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := e.identify(ctx); err != nil {
		return err
	}
	// a name of its own, so that two servers that start do not meet
	image := fmt.Sprintf("localhost/azimuth-probe:%d", os.Getpid())
	load := e.client(ctx, "import", "-", image)
	load.Stdin = bytes.NewReader(make([]byte, 1024)) // a tar file of nothing
	if _, err := output(load); err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = e.client(ctx, "rmi", "-f", image).Run() // it is empty
	}()
	var first error
	for _, limited := range []bool{true, false} {
		for _, flags := range e.waysToStart() {
			try := *e
			try.Flags, try.Limited = flags, limited
			c := Container{Name: fmt.Sprintf("azimuth-probe-%d", os.Getpid()), Image: image, Argv: []string{"true"}, CPUs: 1, MemoryBytes: 64 << 20}
			_, err := output(try.client(ctx, try.run(c, "--rm")...))
			if exitCode(err) == codeNotFound {
				*e = try
				return nil
			}
			if first == nil {
				first = err
			}
		}
	}
	return fmt.Errorf("start a container: %w", first)
}

// waysToStart are the flags to try. Where podman does not find a systemd that makes
// control groups for it, it can make them itself; crun wants them of one version,
// runc takes what there is.
func (e *Engine) waysToStart() [][]string {
	if e.Name != "podman" {
		return [][]string{nil}
	}
	own := []string{"--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	return [][]string{nil, own, append([]string{"--runtime", "runc"}, own...)}
}

// identify asks for the version, and whom commands are to run as.
func (e *Engine) identify(ctx context.Context) error {
	format := "{{.Client.Version}}"
	if e.Name == "docker" {
		format = "{{.Server.Version}}" // fails without a daemon
	}
	version, err := output(e.client(ctx, "version", "--format", format))
	if err != nil {
		return err
	}
	e.Version, e.User = version, "0:0"
	if e.Name == "docker" && os.Getuid() != 0 {
		security, err := output(e.client(ctx, "info", "--format", "{{json .SecurityOptions}}"))
		if err != nil {
			return err
		}
		if !strings.Contains(security, "rootless") { // where root in a container is the user
			e.User = strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid())
		}
	}
	return nil
}

// client is a command of the engine's client.
func (e *Engine) client(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.Path, append(e.Flags[:len(e.Flags):len(e.Flags)], args...)...)
	cmd.Env, cmd.Dir = e.Env, "/"
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs a command. Its error has what the command said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			err = saidError{said, err}
		}
		return "", err
	}
	return strings.TrimSpace(stdout.String()), nil
}

// saidError is the failure of a command in the command's own words.
type saidError struct {
	said string
	err  error
}

func (e saidError) Error() string { return e.said }
func (e saidError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// State is how a container is.
type State struct {
	// Started says that its command was started, ever.
	Started bool
	Running bool
	// OutOfMemory says that something in it was killed for want of memory.
	OutOfMemory bool
}

// State says how a container is. Of one that is not there it returns the zero
// State and no error.
func (e *Engine) State(ctx context.Context, name string) (State, error) {
	out, err := output(e.client(ctx, "inspect", "--type", "container", "--format", "{{json .State}}", name))
	if err != nil {
		if noContainer(err) {
			return State{}, nil
		}
		return State{}, fmt.Errorf("inspect container: %w", err)
	}
	var s struct {
		StartedAt          time.Time
		Running, OOMKilled bool
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return State{}, fmt.Errorf("inspect container: %w", err)
	}
	return State{Started: s.StartedAt.Year() > 1, Running: s.Running, OutOfMemory: s.OOMKilled}, nil
}

// noContainer tells the answers of podman and docker for a name that is not there.
func noContainer(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "no such container")
}

// Remove kills what runs in a container and removes it. One that is not there is
// not an error.
func (e *Engine) Remove(ctx context.Context, name string) error {
	args := []string{"rm", "-f", "-v"}
	if e.Name == "podman" {
		args = append(args, "--time", "0") // docker does not wait
	}
	if _, err := output(e.client(ctx, append(args, name)...)); err != nil && !noContainer(err) {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// Labelled lists the names of the containers with the label key=value.
func (e *Engine) Labelled(ctx context.Context, key, value string) ([]string, error) {
	out, err := output(e.client(ctx, "ps", "-a", "--filter", "label="+key+"="+value, "--format", "{{.Names}}"))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return strings.Fields(out), nil
}
