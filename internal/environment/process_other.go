//go:build !unix

package environment

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

var errLocked = errors.New("locked by another")

func tryLock(*os.File) error { return errors.New("files cannot be locked on this system") }

func command(ctx context.Context, argv []string) *exec.Cmd {
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}
