// Package environment prepares what Azure ML environments with a conda file ask
// for, with the package manager that this machine has: micromamba, mamba, conda,
// uv or, else, Python's own venv and pip. An environment is prepared once and
// kept, under the hash of what it is made of and with:
//
//	DIR/<key>/                          the environment
//	DIR/<key>/azimuth-environment.json  written last: without it there is none
//	DIR/<key>.work/                     files of the package manager meanwhile
//	DIR/<key>.log                       what the package manager said
//	DIR/<key>.lock                      held while one is being prepared, also by
//	                                    the package manager: should the server
//	                                    die, the next waits until that has ended
package environment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// Options say how a Preparer works. Dir and Clock must be set.
type Options struct {
	// Dir keeps the environments. It is made when the first one is.
	Dir   string
	Clock clock.Clock
	// Env is the environment of package managers; they are looked up in its PATH.
	Env []string
	Log *slog.Logger
}

// Preparer prepares environments. It is safe for concurrent use.
type Preparer struct{ o Options }

// New returns a Preparer.
func New(o Options) *Preparer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Preparer{o}
}

// Environment is one that is ready.
type Environment struct {
	// Bin is the directory of its programs, to be first in PATH.
	Bin string
	// Vars are variables that its programs expect, as "KEY=value".
	Vars []string
	// Summary says in one sentence what it is and where it came from.
	Summary string
}

// ErrNoTool says that this machine has no program to prepare environments with.
var ErrNoTool = errors.New("this machine has none of micromamba, mamba, conda, uv and python3 (with venv), one of which is needed to prepare a conda file")

// record is azimuth-environment.json.
type record struct {
	Tool     string
	Prepared time.Time
}

// Prepare returns the environment of a conda file, given as its text. Unless it
// is there, it is prepared now. All that there is to say goes to log, also what
// was said when it was prepared earlier. Errors are fit for the job's owner.
func (p *Preparer) Prepare(ctx context.Context, text string, log io.Writer) (*Environment, error) {
	file, err := parseConda(text)
	if err != nil {
		return nil, err
	}
	tool, err := p.choose(ctx, file)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare environment: %w", err)
	}
	at := place{filepath.Join(p.o.Dir, key(tool, file))}
	lock, err := p.lock(ctx, at, log)
	if err != nil {
		return nil, fmt.Errorf("prepare environment: %w", err)
	}
	defer lock.Close()
	if e, err := at.ready(tool); err == nil {
		fmt.Fprintln(log, e.Summary)
		if b, err := os.ReadFile(at.log()); err == nil {
			fmt.Fprintf(log, "This is what was said then:\n%s", b)
		}
		return e, nil
	}
	if err := p.make(ctx, at, tool, file, text, lock, log); err != nil {
		_ = removeTree(at.prefix)
		return nil, err
	}
	return at.ready(tool)
}

// key is the same for conda files that ask for the same.
func key(t tool, f *condaFile) string {
	b, _ := json.Marshal([]any{1, t.name, t.python, f.channels, f.packages, f.pip}) // strings only
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// place is where an environment is kept.
type place struct{ prefix string }

func (p place) log() string    { return p.prefix + ".log" }
func (p place) work() string   { return p.prefix + ".work" }
func (p place) lock() string   { return p.prefix + ".lock" }
func (p place) record() string { return filepath.Join(p.prefix, "azimuth-environment.json") }

// ready returns the environment if it is there.
func (p place) ready(t tool) (*Environment, error) {
	b, err := os.ReadFile(p.record())
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	bin := filepath.Join(p.prefix, "bin")
	// The interpreter is a link to one of the machine's, which may have gone.
	if _, err := os.Stat(filepath.Join(bin, "python")); t.needsPython() && err != nil {
		return nil, err
	}
	return &Environment{
		Bin: bin, Vars: []string{t.variable() + "=" + p.prefix},
		Summary: fmt.Sprintf("The environment was prepared with %s on %s and is kept in %s.", r.Tool, r.Prepared.Format(time.RFC3339), p.prefix),
	}, nil
}

// lock waits until nobody else prepares the environment.
func (p *Preparer) lock(ctx context.Context, at place, log io.Writer) (*os.File, error) {
	f, err := os.OpenFile(at.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for waited := false; ; waited = true {
		if err = tryLock(f); err == nil {
			return f, nil
		}
		if !errors.Is(err, errLocked) {
			f.Close()
			return nil, err
		}
		if !waited {
			fmt.Fprintln(log, "Another job is having this environment prepared; waiting for it.")
		}
		select {
		case <-time.After(50 * time.Millisecond): // for a process, in real time
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

// make prepares the environment. lock is held, and passed on to what it starts.
func (p *Preparer) make(ctx context.Context, at place, t tool, f *condaFile, text string, lock *os.File, log io.Writer) error {
	if err := removeTree(at.prefix); err != nil { // what an interrupted one left
		return fmt.Errorf("prepare environment: %w", err)
	}
	kept, err := os.OpenFile(at.log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("prepare environment: %w", err)
	}
	defer kept.Close()
	last := &tail{}
	out := io.MultiWriter(kept, log, last)
	for _, note := range t.notes {
		fmt.Fprintln(out, note)
	}
	if err := errors.Join(removeTree(at.work()), os.Mkdir(at.work(), 0o700)); err != nil {
		return fmt.Errorf("prepare environment: %w", err)
	}
	defer removeTree(at.work())
	steps, err := t.steps(f, text, at.prefix, at.work(), out)
	if err != nil {
		return fmt.Errorf("prepare environment: %w", err)
	}
	for _, argv := range steps {
		fmt.Fprintf(out, "+ %s\n", strings.Join(argv, " "))
		cmd := command(ctx, argv)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = at.work(), p.o.Env, out, out
		cmd.ExtraFiles = []*os.File{lock}
		if err := cmd.Run(); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("prepare environment: %w", ctx.Err())
			}
			fmt.Fprintf(out, "%s: %v\n", filepath.Base(argv[0]), err)
			return fmt.Errorf("the environment could not be prepared with %s (%w): %s", t.name, err, last)
		}
	}
	b, err := json.Marshal(record{Tool: t.name, Prepared: p.o.Clock.Now().UTC()})
	if err != nil {
		return fmt.Errorf("prepare environment: %w", err)
	}
	tmp := at.record() + ".new"
	if err := errors.Join(os.WriteFile(tmp, b, 0o600), os.Rename(tmp, at.record())); err != nil {
		return fmt.Errorf("prepare environment: %w", err)
	}
	fmt.Fprintln(out, "The environment is ready.")
	p.o.Log.Info("environment prepared", "prefix", at.prefix, "tool", t.name)
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const most = 8 << 10
	t.b = append(t.b, b...)
	if len(t.b) > 2*most {
		t.b = append(t.b[:0], t.b[len(t.b)-most:]...)
	}
	return len(b), nil
}

// String is the errors among the last lines, or else the last lines.
func (t *tail) String() string {
	var errs, all []string
	for line := range bytes.Lines(t.b) {
		s := strings.TrimSpace(string(line))
		if s == "" {
			continue
		}
		all = append(all, s)
		if strings.HasPrefix(strings.ToLower(s), "error") {
			errs = append(errs, s)
		}
	}
	if len(errs) == 0 {
		errs = all
	}
	return strings.Join(errs[max(0, len(errs)-4):], " ")
}

// removeTree removes a directory, even if permissions were taken away in it.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil // what stays fails below
	})
	return os.RemoveAll(dir)
}
