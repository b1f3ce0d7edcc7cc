package ml

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/compute"
)

// "Azure Machine Learning constructs the full MPI launch command (mpirun) behind the
// scenes", says its documentation. Here, mpirun starts all processes of the job at once on
// its first node, which is on the same machine as the others; each process then goes to
// the directory and the log of its own node. Where there is no mpirun, and in containers,
// they are started one by one.

// mpirun is the path of mpirun for a job that uses it, or "".
func (s *Service) mpirun(x *execution) string {
	if x.spec.Distribution != "Mpi" || x.image != "" {
		return ""
	}
	if x.prepared != nil {
		if p := lookPath([]string{"PATH=" + x.prepared.Bin}, "mpirun"); p != "" {
			return p
		}
	}
	return lookPath(s.cfg.BaseEnv, "mpirun")
}

// mpiLine says at the top of an MPI job's log how it is started.
func (s *Service) mpiLine(x *execution) string {
	if p := s.mpirun(x); p != "" {
		return fmt.Sprintf("The processes of this MPI job are started by %s, all on the first node, whose limits they share.", p)
	}
	return "The processes of this MPI job are started one by one with the rank variables of Open MPI, not by mpirun: a program that calls MPI_Init itself finds itself alone. Jobs use mpirun where it is in the server's PATH and they do not run in containers."
}

// mpiTask makes one task, mpirun, of the tasks of all processes.
func mpiTask(mpirun string, specs []compute.TaskSpec, tasks []task) (compute.TaskSpec, error) {
	dir := filepath.Join(tasks[0].Root, "mpi")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return compute.TaskSpec{}, fmt.Errorf("make the files of mpirun: %w", err)
	}
	shared := environ{}
	shared.add(specs[0].Env)
	// what tells one process from the others; mpirun gives the ranks itself, and counts
	// all as local
	maps.DeleteFunc(shared, func(name, _ string) bool { return strings.HasPrefix(name, "OMPI_COMM_WORLD_") })
	for i, spec := range specs {
		own := environ{}
		own.add(spec.Env)
		delete(own, "OMPI_COMM_WORLD_RANK")
		delete(own, "OMPI_COMM_WORLD_SIZE")
		var b strings.Builder
		fmt.Fprintf(&b, "cd %s || exit 127\n", quoteShell(spec.Dir))
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if own[name] != shared[name] && shellName(name) {
				fmt.Fprintf(&b, "export %s=%s\n", name, quoteShell(own[name]))
			}
		}
		if i > 0 { // the first one's is mpirun's own
			fmt.Fprintf(&b, "exec >>%s 2>&1\n", quoteShell(spec.LogPath))
		}
		b.WriteString("exec")
		for _, arg := range spec.Argv {
			b.WriteString(" " + quoteShell(arg))
		}
		b.WriteString("\n")
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte(b.String()), 0o600); err != nil {
			return compute.TaskSpec{}, fmt.Errorf("make the files of mpirun: %w", err)
		}
	}
	out := specs[0]
	out.Env = shared.list()
	out.Argv = []string{mpirun}
	if os.Geteuid() == 0 {
		out.Argv = append(out.Argv, "--allow-run-as-root")
	}
	out.Argv = append(out.Argv, "--oversubscribe", "--bind-to", "none", "-np", strconv.Itoa(len(specs)),
		"sh", "-c", `exec sh "$0/$OMPI_COMM_WORLD_RANK"`, dir)
	return out, nil
}

// quoteShell is a text as one word of a shell.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellName reports whether a shell can have a variable of that name.
func shellName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
