//go:build unix

package files

import (
	"io/fs"
	"strconv"
	"syscall"
)

// fileID is the number that the disk has for a file.
func fileID(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return strconv.FormatUint(uint64(st.Ino), 10)
	}
	return "0"
}
