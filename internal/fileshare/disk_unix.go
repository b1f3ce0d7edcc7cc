//go:build unix

package fileshare

import "golang.org/x/sys/unix"

// Total is how many bytes the disk of the shares has, 0 if that is not known.
func (s *Shares) Total() int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0
	}
	return int64(st.Blocks) * int64(st.Bsize)
}
