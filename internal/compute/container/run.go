package container

import (
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// What the engines exit with when it is not the command's own: 125 for a failure of
// their own, 126 and 127 for a command that cannot be started or is not there. A
// command may exit with these, too.
const (
	codeEngine   = 125
	codeNotFound = 127
)

// EngineCode reports whether an exit code may be the engine's and not the command's.
func EngineCode(code int) bool { return code >= codeEngine && code <= codeNotFound }

// Container is a command to run in a container.
type Container struct {
	// Name is unique on this machine.
	Name   string
	Labels map[string]string
	Image  string
	// Argv is looked up in the container. The image needs a POSIX shell.
	Argv []string
	// Env is added to what the image sets, as "KEY=value". HOME is what it says
	// there or not set at all.
	Env []string
	// Mark is one more variable, which all processes of the container have.
	Mark string
	Dir  string
	// LogPath is the file to which the command's output is appended, on this machine
	// and in the container.
	LogPath string
	Mounts  []Mount
	// PIDFile is a file to which the process ID of the command is written, as this
	// machine has it. Its directory must be among Mounts.
	PIDFile string
	// CPUs, MemoryBytes and PIDs limit the container, where the engine can. 0 is no
	// limit.
	CPUs        int
	MemoryBytes int64
	PIDs        int
	// Files is how many files a process may have open at most, 0 for the engine's
	// default.
	Files uint64
	// GPUs gives it the machine's NVIDIA GPUs.
	GPUs bool
}

// Mount is a file or directory that is in the container under the same path.
type Mount struct {
	Path     string
	ReadOnly bool
}

// NotStarted begins the line that the engine's output has when the command was not
// found in the container.
const NotStarted = "azimuth: the command was not started: "

// variable is under what name the engine gets a value of Container.Env. Its client
// reads HOME, PATH, proxies and many more itself, and arguments are seen by every
// user of the machine; so the values come under names that mean nothing, and a shell
// in the container gives them their own.
func variable(i int) string { return "AZIMUTH_VALUE_" + strconv.Itoa(i) }

// script is what the shell in the container does. The command's output goes to the
// log directly: through the engine, standard output and error would lose their order.
func (c Container) script() string {
	var b strings.Builder
	b.WriteString("unset HOME\n")
	for i, kv := range c.Env {
		if key, _, ok := strings.Cut(kv, "="); ok && identifier(key) {
			fmt.Fprintf(&b, "export %s=\"$%s\"\nunset %s\n", key, variable(i), variable(i))
		}
	}
	b.WriteString("command -v \"$3\" >/dev/null 2>&1 || { echo '" + NotStarted + "'\"\\\"$3\\\" was not found in PATH ($PATH)\" >&2; exit 127; }\n")
	b.WriteString("echo $$ >\"$2\"\n")
	b.WriteString("log=$1; shift 2\n")
	b.WriteString(`exec "$@" >>"$log" 2>&1`)
	return b.String()
}

// args are the engine's for a mount. --volume takes no colon in a path, and --mount
// no comma.
func (m Mount) args() []string {
	if !strings.Contains(m.Path, ":") {
		v := m.Path + ":" + m.Path
		if m.ReadOnly {
			v += ":ro"
		}
		return []string{"--volume", v}
	}
	v := "type=bind,source=" + m.Path + ",destination=" + m.Path
	if m.ReadOnly {
		v += ",ro"
	}
	return []string{"--mount", v}
}

// identifier reports whether a shell can set a variable of that name.
func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9' || i == 0) {
			return false
		}
	}
	return s != ""
}

// Command is the client's command that runs a container and ends when it does, with
// its exit code. The container stays until it is removed. Signals are for the
// process in Container.PIDFile and not for the client: podman 4.3 passes them on only
// some time after the command has started, and ends by them with code 0 before that.
func (e *Engine) Command(c Container) *exec.Cmd {
	env := slices.Clone(e.Env)
	for i, kv := range c.Env {
		if key, value, ok := strings.Cut(kv, "="); ok && identifier(key) {
			env = append(env, variable(i)+"="+value)
		}
	}
	return &exec.Cmd{Path: e.Path, Args: append([]string{e.Path}, append(slices.Clone(e.Flags), e.run(c)...)...), Env: env, Dir: "/"}
}

// run is the arguments that run a container.
func (e *Engine) run(c Container, more ...string) []string {
	args := append([]string{
		"run", "--name", c.Name, "--pull", "never", "--log-driver", "none",
		// The server, other tasks and what the system knows of them are to be where
		// they are for a process; and a signal must end what has no handler for it,
		// which the first process of a PID namespace ignores.
		"--network", "host", "--pid", "host", "--uts", "host",
		"--sig-proxy=false", "--security-opt", "label=disable", "--user", e.User,
		"--shm-size", "2g", // Azure ML's default for shm_size
	}, more...)
	if e.Name == "docker" {
		args = append(args, "--userns", "host")
	} else {
		args = append(args, "--http-proxy=false")
	}
	// Without these an engine sets limits above its own, which it may not be allowed.
	args = append(args, "--ulimit", fmt.Sprintf("nproc=%d:%d", MaxProcesses, MaxProcesses))
	if c.Files > 0 {
		args = append(args, "--ulimit", fmt.Sprintf("nofile=%d:%d", c.Files, c.Files))
	} else {
		args = append(args, "--ulimit", "nofile=1024:1024")
	}
	if e.Limited {
		if c.MemoryBytes > 0 {
			memory := strconv.FormatInt(c.MemoryBytes, 10)
			args = append(args, "--memory", memory, "--memory-swap", memory) // Azure's sizes have no swap
		}
		if c.CPUs > 0 {
			args = append(args, "--cpus", strconv.Itoa(min(c.CPUs, runtime.NumCPU())))
		}
		if c.PIDs > 0 {
			args = append(args, "--pids-limit", strconv.Itoa(c.PIDs))
		}
	}
	if c.GPUs {
		// which of them are the task's says CUDA_VISIBLE_DEVICES
		if e.Name == "docker" {
			args = append(args, "--gpus", "all")
		} else {
			args = append(args, "--device", "nvidia.com/gpu=all")
		}
	}
	for k, v := range c.Labels {
		args = append(args, "--label", k+"="+v)
	}
	for _, m := range c.Mounts {
		args = append(args, m.args()...)
	}
	if c.Mark != "" {
		args = append(args, "--env", c.Mark)
	}
	for i, kv := range c.Env {
		switch key, _, ok := strings.Cut(kv, "="); {
		case !ok:
		case identifier(key):
			args = append(args, "--env", variable(i))
		default:
			args = append(args, "--env", kv) // it has no meaning for the engine; many shells drop it
		}
	}
	if c.Dir != "" {
		args = append(args, "--workdir", c.Dir)
	}
	return append(append(args, "--entrypoint", "sh", c.Image, "-c", c.script(), "sh", c.LogPath, c.PIDFile), c.Argv...)
}

// MaxProcesses is the limit of processes and threads of a container: the same that a
// node has.
const MaxProcesses = 8192

// Memory is a size in GiB in bytes.
func Memory(gib float64) int64 { return int64(math.Round(gib * (1 << 30))) }
