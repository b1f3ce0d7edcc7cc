package logstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A batch on the disk and in memory is the same bytes:
//
//	uvarint columns, each: uvarint length, name
//	uvarint rows, each: uvarint length of what follows, and
//	    8 bytes time (nanoseconds since 1970), then fields: uvarint column<<3|kind, value
//
// A string or dynamic value is its length and bytes; an int a zigzag varint; a
// real and a time are 8 bytes; a bool is one.

// Batch collects rows of one Key for Append. The zero value is not usable; call
// NewBatch. It is not safe for concurrent use.
type Batch struct {
	key      Key
	names    []string
	index    map[string]int
	rows     []byte // each: uvarint length, body
	row      []byte // the row in progress
	n        int
	min, max int64
	received time.Time
	encoded  []byte
}

// NewBatch returns an empty batch for rows that came in at received, on the
// injected clock.
func NewBatch(key Key, received time.Time) *Batch {
	return &Batch{key: key, index: make(map[string]int, 32), received: received, min: math.MaxInt64, max: math.MinInt64}
}

// Len is the number of rows.
func (b *Batch) Len() int { return b.n }

// Size is the number of bytes of the rows, which is what is billed.
func (b *Batch) Size() int { return len(b.rows) }

// Key is where the rows go.
func (b *Batch) Key() Key { return b.key }

// Begin starts a row. t is its time, by which queries prune.
func (b *Batch) Begin(t time.Time) {
	ns := t.UnixNano()
	b.row = binary.LittleEndian.AppendUint64(b.row[:0], uint64(ns))
	b.min, b.max = min(b.min, ns), max(b.max, ns)
}

// End finishes the row.
func (b *Batch) End() {
	b.rows = binary.AppendUvarint(b.rows, uint64(len(b.row)))
	b.rows = append(b.rows, b.row...)
	b.n++
}

func (b *Batch) tag(name string, k Kind) {
	i, ok := b.index[name]
	if !ok {
		i = len(b.names)
		b.index[name] = i
		b.names = append(b.names, name)
	}
	b.row = binary.AppendUvarint(b.row, uint64(i)<<3|uint64(k))
}

// String sets a column of the row. An empty string is a value like another;
// leave the column out for none.
func (b *Batch) String(name, v string) {
	b.tag(name, String)
	b.row = binary.AppendUvarint(b.row, uint64(len(v)))
	b.row = append(b.row, v...)
}

// Bytes is String without a copy on the way.
func (b *Batch) Bytes(name string, v []byte) {
	b.tag(name, String)
	b.row = binary.AppendUvarint(b.row, uint64(len(v)))
	b.row = append(b.row, v...)
}

// Dynamic sets a column to a JSON text.
func (b *Batch) Dynamic(name string, v []byte) {
	b.tag(name, Dynamic)
	b.row = binary.AppendUvarint(b.row, uint64(len(v)))
	b.row = append(b.row, v...)
}

// Int sets a column of the row.
func (b *Batch) Int(name string, v int64) {
	b.tag(name, Int)
	b.row = binary.AppendVarint(b.row, v)
}

// Real sets a column of the row.
func (b *Batch) Real(name string, v float64) {
	b.tag(name, Real)
	b.row = binary.LittleEndian.AppendUint64(b.row, math.Float64bits(v))
}

// Bool sets a column of the row.
func (b *Batch) Bool(name string, v bool) {
	b.tag(name, Bool)
	if v {
		b.row = append(b.row, 1)
	} else {
		b.row = append(b.row, 0)
	}
}

// Time sets a column of the row.
func (b *Batch) Time(name string, v time.Time) {
	b.tag(name, Time)
	b.row = binary.LittleEndian.AppendUint64(b.row, uint64(v.UnixNano()))
}

// encode returns the batch's bytes.
func (b *Batch) encode() []byte {
	if b.encoded != nil {
		return b.encoded
	}
	size := len(b.rows) + 16
	for _, n := range b.names {
		size += len(n) + 2
	}
	out := make([]byte, 0, size)
	out = binary.AppendUvarint(out, uint64(len(b.names)))
	for _, n := range b.names {
		out = appendString(out, n)
	}
	out = binary.AppendUvarint(out, uint64(b.n))
	b.encoded = append(out, b.rows...)
	return b.encoded
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// stored is a batch that is durable, in memory.
type stored struct {
	resource string
	seq      uint64 // of its first row, within the store
	received int64  // nanoseconds
	min, max int64
	rows     int
	data     []byte
}

// reader takes apart what encode made. Its err sticks; a reader that has failed
// gives zeros.
type reader struct {
	b   []byte
	err error
}

var errCorrupt = fmt.Errorf("logstore: the bytes make no sense")

func (r *reader) fail() { r.b, r.err = nil, errCorrupt }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint64() uint64 {
	p := r.take(8)
	if p == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}

func (r *reader) string() string { return string(r.take(r.uvarint())) }

// header reads the column names and the number of rows of a batch.
func (r *reader) header() (names []string, rows int) {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil, 0
	}
	names = make([]string, n)
	for i := range names {
		names[i] = r.string()
	}
	rows64 := r.uvarint()
	if rows64 > uint64(len(r.b)) {
		r.fail()
		return nil, 0
	}
	return names, int(rows64)
}
