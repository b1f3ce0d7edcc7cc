//go:build !linux

package files

import (
	"fmt"
	"io"
	"os"
)

// dataRanges is all of the file where the disk cannot tell.
func dataRanges(_ *os.File, from, to int64) ([][2]int64, error) {
	if from >= to {
		return nil, nil
	}
	return [][2]int64{{from, to}}, nil
}

// clearRange makes a part of a file zeros.
func clearRange(f *os.File, at, n int64) error {
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
