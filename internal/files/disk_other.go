//go:build !unix

package files

import "io/fs"

// fileID is 0 where the disk has no numbers for files.
func fileID(fs.FileInfo) string { return "0" }
