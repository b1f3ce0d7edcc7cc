//go:build unix && !linux

package local

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// memoryBytes is the machine's memory. The name is macOS's; other systems say
// that they do not know it.
func memoryBytes() (uint64, error) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, fmt.Errorf("find the size of memory: %w", err)
	}
	return n, nil
}
