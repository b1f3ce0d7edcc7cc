package terraform

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// overrideName is the file that puts the local backend in place of the user's.
// Override files merge in order of name, so it must come after any of the
// user's own.
const overrideName = "zzz_azimuth_override.tf"

const overrideText = `# Written by azimuth: this copy of the stack keeps its state beside it,
# in place of the backend or cloud block of your files.
terraform {
  backend "local" {}
}
`

// lockFileName is terraform's dependency lock file.
const lockFileName = ".terraform.lock.hcl"

// Stack is a user's directory of Terraform files and Azimuth's working copy of
// it. In the copy the directory stands at its absolute path below a root of its
// own, made of links: each of its entries, and at every level above it the
// entries beside it, so that relative paths in the files mean what they mean in
// the original. What terraform writes into its working directory (state, lock
// file) it writes into the copy.
//
// A configuration that itself writes over one of its own existing files, as
// local_file can, writes through the link.
type Stack struct {
	// Dir is the user's directory: absolute, without symbolic links.
	Dir string
	// Root is the stack's folder under $AZIMUTH_HOME/stacks.
	Root string

	home string
}

// OpenStack returns the stack of a user's directory. The same directory gives
// the same stack by whatever path it is named. Nothing is written.
func OpenStack(home, dir string) (*Stack, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("locate stack: %w", err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("open stack: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("open stack: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open stack: %s is not a directory", abs)
	}
	if home, err = filepath.Abs(home); err != nil {
		return nil, fmt.Errorf("locate home: %w", err)
	}
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	return &Stack{Dir: abs, Root: filepath.Join(home, "stacks", stackID(abs)), home: home}, nil
}

// stackID is a readable name that is unique to the directory.
func stackID(abs string) string {
	sum := sha256.Sum256([]byte(abs))
	base := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, filepath.Base(abs))
	if len(base) > 40 {
		base = base[:40]
	}
	return base + "-" + hex.EncodeToString(sum[:6])
}

func (s *Stack) mirrorRoot() string { return filepath.Join(s.Root, "mirror") }

// components are the names on the path from the file system's root to Dir.
func (s *Stack) components() (volume string, names []string) {
	volume = filepath.VolumeName(s.Dir)
	rest := strings.Trim(s.Dir[len(volume):], string(filepath.Separator))
	if rest == "" {
		return volume, nil
	}
	return volume, strings.Split(rest, string(filepath.Separator))
}

// WorkDir is the directory that terraform runs in.
func (s *Stack) WorkDir() string {
	_, names := s.components()
	return filepath.Join(append([]string{s.mirrorRoot()}, names...)...)
}

// DataDir is terraform's data directory (TF_DATA_DIR): modules, providers and
// the record of the backend.
func (s *Stack) DataDir() string { return filepath.Join(s.Root, "data") }

// StatePath is the state of the default workspace.
func (s *Stack) StatePath() string { return filepath.Join(s.WorkDir(), "terraform.tfstate") }

// refresh makes the working copy agree with the user's directory: links for what
// was added, none for what is gone. What terraform keeps there stays.
func (s *Stack) refresh(override bool) error {
	if err := os.MkdirAll(s.WorkDir(), 0o700); err != nil {
		return fmt.Errorf("create working copy: %w", err)
	}
	if err := os.MkdirAll(s.DataDir(), 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	volume, names := s.components()
	user, mirror := volume+string(filepath.Separator), s.mirrorRoot()
	for _, next := range names {
		if err := s.link(user, mirror, func(name string) bool { return name != next }); err != nil {
			return err
		}
		user, mirror = filepath.Join(user, next), filepath.Join(mirror, next)
	}
	if err := s.link(user, mirror, linkedName); err != nil {
		return err
	}
	return errors.Join(s.setOverride(override), s.copyLockFile(), s.protectState())
}

// linkedName reports whether an entry of the user's directory belongs in the
// working copy. The rest is what terraform itself leaves in a directory.
func linkedName(name string) bool {
	switch {
	case name == ".terraform", name == lockFileName, name == overrideName,
		name == "terraform.tfstate.d", name == ".terraform.tfstate.lock.info", name == "crash.log":
		return false
	case strings.HasSuffix(name, ".tfstate"), strings.Contains(name, ".tfstate."):
		return false
	case strings.HasPrefix(name, "crash.") && strings.HasSuffix(name, ".log"):
		return false
	}
	return true
}

// link makes a real directory hold a link to each wanted entry of another, and
// no other links. Entries that are not links are left alone.
func (s *Stack) link(from, into string, want func(name string) bool) error {
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read %s: %w", from, err)
	}
	// A directory above the stack may be closed for listing: then nothing beside
	// the path can be reached by a relative path in the original either, unless
	// it is named exactly.
	wanted := make(map[string]string, len(entries))
	for _, e := range entries {
		target := filepath.Join(from, e.Name())
		if want(e.Name()) && target != s.home {
			wanted[e.Name()] = target
		}
	}
	present, err := os.ReadDir(into)
	if err != nil {
		return fmt.Errorf("read working copy: %w", err)
	}
	for _, e := range present {
		path := filepath.Join(into, e.Name())
		if e.Type()&fs.ModeSymlink == 0 {
			delete(wanted, e.Name())
			continue
		}
		target, known := wanted[e.Name()]
		if old, err := os.Readlink(path); known && err == nil && old == target {
			delete(wanted, e.Name())
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove from working copy: %w", err)
		}
	}
	for name, target := range wanted {
		if err := os.Symlink(target, filepath.Join(into, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link into working copy: %w", err)
		}
	}
	return nil
}

func (s *Stack) setOverride(on bool) error {
	path := filepath.Join(s.WorkDir(), overrideName)
	if on {
		if old, err := os.ReadFile(path); err == nil && string(old) == overrideText {
			return nil
		}
		if err := os.WriteFile(path, []byte(overrideText), 0o600); err != nil {
			return fmt.Errorf("write backend override: %w", err)
		}
		return nil
	}
	// Without the override there is no backend, and terraform wants init if the
	// data directory remembers one.
	for _, stale := range []string{path, filepath.Join(s.DataDir(), "terraform.tfstate")} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove backend override: %w", err)
		}
	}
	return nil
}

// copyLockFile copies the user's dependency lock file whenever it has changed
// since it was last copied. In between, init may add to the copy.
func (s *Stack) copyLockFile() error {
	text, err := os.ReadFile(filepath.Join(s.Dir, lockFileName))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("read lock file: %w", err)
	}
	sum := sha256.Sum256(text)
	now := hex.EncodeToString(sum[:])
	mark := filepath.Join(s.Root, "lockfile.sha256")
	before, err := os.ReadFile(mark)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read lock file's mark: %w", err)
	}
	if string(before) == now || (before == nil && text == nil) {
		return nil
	}
	copied := filepath.Join(s.WorkDir(), lockFileName)
	if text == nil {
		if err := os.Remove(copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove lock file: %w", err)
		}
	} else if err := os.WriteFile(copied, text, 0o600); err != nil {
		return fmt.Errorf("copy lock file: %w", err)
	}
	if err := os.WriteFile(mark, []byte(now), 0o600); err != nil {
		return fmt.Errorf("mark lock file: %w", err)
	}
	return nil
}

// protectState makes the state files readable by their owner alone: they hold
// secrets, and terraform keeps the mode of files that exist. It reads an empty
// file as no state.
func (s *Stack) protectState() error {
	for _, path := range []string{s.StatePath(), s.StatePath() + ".backup"} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("create state file: %w", err)
		}
		if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
			return fmt.Errorf("protect state file: %w", err)
		}
	}
	return nil
}
