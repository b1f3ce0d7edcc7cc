// Package fileshare keeps the file shares of storage accounts as directories:
//
//	DIR/<account's UID>/<share>/…
//
// What is in one is ordinary files, so that programs on this machine work on the
// same bytes as any service that shows them over a network.
package fileshare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Shares is the file shares of all accounts. It is safe for concurrent use.
type Shares struct{ dir string }

// removedPrefix marks what is being removed. No UID begins so.
const removedPrefix = ".removed-"

// Open returns the shares kept in dir, which it makes if need be.
func Open(dir string) (*Shares, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open file shares: %w", err)
	}
	return &Shares{dir}, nil
}

// Share returns the directory of a share of the account instance with the UID,
// and makes it if need be.
func (s *Shares) Share(account, share string) (string, error) {
	if err := usable(account, share); err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, account, share)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("open file share: %w", err)
	}
	return dir, nil
}

// usable refuses names that lead elsewhere.
func usable(names ...string) error {
	for _, name := range names {
		if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`+"\x00") {
			return fmt.Errorf("open file share: %q is not a usable name", name)
		}
	}
	return nil
}

// Reclaim removes the shares of accounts that are no more. exists is asked for
// all accounts found, after they were found.
func (s *Shares) Reclaim(exists func(accounts []string) (map[string]bool, error)) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("reclaim file shares: %w", err)
	}
	var found, remove []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			remove = append(remove, e.Name()) // a crash stopped this before
		} else {
			found = append(found, e.Name())
		}
	}
	var errs []error
	if len(found) > 0 {
		keep, err := exists(found)
		if err != nil {
			return fmt.Errorf("reclaim file shares: %w", err)
		}
		for _, name := range found {
			if keep[name] {
				continue
			}
			// gone in one step, however much there is
			err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, removedPrefix+name))
			switch {
			case errors.Is(err, fs.ErrNotExist): // another call was quicker
			case err != nil:
				errs = append(errs, err)
			default:
				remove = append(remove, removedPrefix+name)
			}
		}
	}
	for _, name := range remove {
		errs = append(errs, os.RemoveAll(filepath.Join(s.dir, name)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("reclaim file shares: %w", err)
	}
	return nil
}
