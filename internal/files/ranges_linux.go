package files

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// dataRanges lists the parts of a file between from and to that hold data; the
// rest reads as zeros and takes no room.
func dataRanges(f *os.File, from, to int64) (list [][2]int64, err error) {
	for at := from; at < to; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return list, nil // nothing but a hole
		}
		if err != nil {
			return [][2]int64{{from, to}}, nil //nolint:nilerr // a disk that cannot tell has data everywhere
		}
		if start >= to {
			return list, nil
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("find ranges of a file: %w", err)
		}
		end = min(end, to)
		list = append(list, [2]int64{start, end})
		at = end
	}
	return list, nil
}

// clearRange makes a part of a file zeros, and frees its room where the disk can.
func clearRange(f *os.File, at, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return writeZeros(f, at, n)
	}
	if err != nil {
		return fmt.Errorf("clear a range of a file: %w", err)
	}
	return nil
}

func writeZeros(f *os.File, at, n int64) error {
	if _, err := io.CopyN(io.NewOffsetWriter(f, at), zeros{}, n); err != nil {
		return fmt.Errorf("clear a range of a file: %w", err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
