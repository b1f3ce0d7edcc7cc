package jobspec

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrEmptySnapshot is wrapped when a directory to upload has no files, or all
// of them are ignored. The CLI refuses it too.
var ErrEmptySnapshot = errors.New("there are no files to upload")

// SnapshotFile is one file of a code directory.
type SnapshotFile struct {
	// Path is the file on this machine.
	Path string
	// Name is its path in the snapshot, with slashes.
	Name string
	// Size is in bytes.
	Size int64
}

// Snapshot lists the files that are uploaded for a local path: the file
// itself, or everything below a directory that its .amlignore (else .gitignore)
// does not exclude. Links are followed, and their targets appear under the name
// of the link, wherever they are. The list is in the order that Hash wants.
//
// The CLI sets no limit on the size, and neither does Snapshot.
func Snapshot(ctx context.Context, root string) ([]SnapshotFile, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("list files to upload: %w", err)
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("list files to upload: %s is not a regular file", root)
		}
		return []SnapshotFile{{Path: root, Name: filepath.Base(root), Size: info.Size()}}, nil
	}
	rules, err := readIgnore(root)
	if err != nil {
		return nil, fmt.Errorf("list files to upload: %w", err)
	}
	w := &walker{rules: rules}
	if err := w.dir(ctx, root, "", []os.FileInfo{info}); err != nil {
		return nil, fmt.Errorf("list files to upload: %w", err)
	}
	if len(w.files) == 0 {
		return nil, fmt.Errorf("%s: %w", root, ErrEmptySnapshot)
	}
	slices.SortFunc(w.files, func(a, b SnapshotFile) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return w.files, nil
}

type walker struct {
	rules ignoreRules
	files []SnapshotFile
}

// dir adds what is below a directory. above are the directories on the way to
// it, for finding links that lead back up.
func (w *walker) dir(ctx context.Context, dir, name string, above []os.FileInfo) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, n := filepath.Join(dir, e.Name()), path.Join(name, e.Name())
		if w.rules.ignored(n, e.IsDir()) {
			continue
		}
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link to nothing; remove it or name it in .amlignore", p)
		case err != nil:
			return err
		case info.IsDir():
			if e.Type()&fs.ModeSymlink != 0 && w.rules.ignored(n, true) {
				continue
			}
			for _, a := range above {
				if os.SameFile(a, info) {
					return fmt.Errorf("%s is a link to a directory above it; remove it or name it in .amlignore", p)
				}
			}
			if err := w.dir(ctx, p, n, append(above[:len(above):len(above)], info)); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			w.files = append(w.files, SnapshotFile{Path: p, Name: n, Size: info.Size()})
		default:
			return fmt.Errorf("%s is neither a file nor a directory; remove it or name it in .amlignore", p)
		}
	}
	return nil
}

// Hash is the content hash of a snapshot, in hex. It is the one that the CLI
// keeps with a code version (its version 202208): SHA-256 over the number of
// files, then "#name#size" of each, then the contents, in the order of Snapshot.
// Files are streamed. A file whose size is no longer the listed one is an error.
func Hash(ctx context.Context, files []SnapshotFile) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d", len(files))
	for _, f := range files {
		fmt.Fprintf(h, "#%s#%d", f.Name, f.Size)
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("hash files to upload: %w", err)
		}
		if err := hashFile(h, f); err != nil {
			return "", fmt.Errorf("hash files to upload: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(h io.Writer, f SnapshotFile) error {
	in, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(h, io.LimitReader(in, f.Size+1))
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("%s changed while it was read", f.Path)
	}
	return nil
}
