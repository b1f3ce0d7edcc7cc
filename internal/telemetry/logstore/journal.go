package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A journal file is records, one after another:
//
//	4 bytes length, 4 bytes CRC-32C, then the record: one byte what, then
//	recordRows: space, table, resource (strings), uvarint seq, 8 bytes received,
//	    8 bytes min, 8 bytes max, the batch
//	recordDrop: space
const (
	recordRows   = 1
	recordDrop   = 2
	recordHeader = 8
	journalExt   = ".journal"
)

// frame appends a record to out, whose body build appends.
func frame(out []byte, build func([]byte) []byte) []byte {
	start := len(out)
	out = append(out, make([]byte, recordHeader)...)
	out = build(out)
	body := out[start+recordHeader:]
	binary.LittleEndian.PutUint32(out[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(out[start+4:], crc32.Checksum(body, castagnoli()))
	return out
}

func frameRows(out []byte, b *Batch, seq uint64) []byte {
	return frame(out, func(out []byte) []byte {
		out = append(out, recordRows)
		out = appendString(out, b.key.Space)
		out = appendString(out, b.key.Table)
		out = appendString(out, b.key.Resource)
		out = binary.AppendUvarint(out, seq)
		for _, t := range []int64{b.received.UnixNano(), b.min, b.max} {
			out = binary.LittleEndian.AppendUint64(out, uint64(t))
		}
		return append(out, b.encode()...)
	})
}

func frameDrop(out []byte, space string) []byte {
	return frame(out, func(out []byte) []byte {
		return appendString(append(out, recordDrop), space)
	})
}

// replay calls rows and drop for the records of a journal's bytes, and returns
// how many bytes are whole records. What follows them was never acknowledged.
func replay(p []byte, rows func(Key, *stored), drop func(space string)) int64 {
	table, at := castagnoli(), 0
	for len(p)-at >= recordHeader {
		n := int(binary.LittleEndian.Uint32(p[at:]))
		if n == 0 || n > len(p)-at-recordHeader {
			break
		}
		body := p[at+recordHeader : at+recordHeader+n]
		if crc32.Checksum(body, table) != binary.LittleEndian.Uint32(p[at+4:]) {
			break
		}
		r := &reader{b: body[1:]}
		switch body[0] {
		case recordRows:
			key := Key{Space: r.string(), Table: r.string(), Resource: r.string()}
			s := &stored{resource: key.Resource, seq: r.uvarint(), received: int64(r.uint64()), min: int64(r.uint64()), max: int64(r.uint64())}
			s.data = slices.Clone(r.b)
			_, s.rows = (&reader{b: r.b}).header()
			if r.err == nil {
				rows(key, s)
			}
		case recordDrop:
			drop(r.string())
		}
		at += recordHeader + n
	}
	return int64(at)
}

// file is a journal's file: *os.File.
type file interface {
	WriteAt(p []byte, at int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// journal is the file that is being written.
type journal struct {
	number uint64
	f      file
	size   int64 // of what is durable
}

func journalPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d", number)+journalExt)
}

// journals returns the numbers of the journals there are, in order.
func journals(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), journalExt)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(base, 10, 64)
		if err != nil {
			continue
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// createJournal makes a journal, durably.
func createJournal(dir string, number uint64) (*journal, error) {
	f, err := os.OpenFile(journalPath(dir, number), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, noSpace(err)
	}
	if err := syncDir(dir); err != nil {
		f.Close()
		return nil, err
	}
	return &journal{number: number, f: f}, nil
}

// write adds p, durably or not at all.
func (j *journal) write(p []byte) error {
	_, err := j.f.WriteAt(p, j.size)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// whatever of it is there would not be cut off by itself
		if cut := j.f.Truncate(j.size); cut != nil {
			err = errors.Join(err, cut)
		}
		return fmt.Errorf("write journal: %w", noSpace(err))
	}
	j.size += int64(len(p))
	return nil
}

// noSpace marks the errors of a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
