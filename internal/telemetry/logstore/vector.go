package logstore

import (
	"encoding/binary"
	"math"
)

// Vector is one column of a Block.
type Vector struct {
	// Kind is the type of all values that there are.
	Kind Kind
	// valid has one bit for each row that has a value; nil when all have one.
	valid []uint64
	n     int
	// ints has the values of every kind but String and Dynamic: reals by their
	// bits.
	ints []int64
	// strings: either the text of each row is text[offsets[i]:offsets[i+1]], or
	// ints has the place of each row's string in dict.
	text    string
	offsets []uint32
	dict    []string
}

// Len is the number of rows.
func (v *Vector) Len() int { return v.n }

// Has reports whether row i has a value.
func (v *Vector) Has(i int) bool { return v.valid == nil || v.valid[i>>6]&(1<<(i&63)) != 0 }

// Int is row i's value as an integer: of an Int, a Time (nanoseconds), a Bool.
func (v *Vector) Int(i int) int64 { return v.ints[i] }

// Real is row i's value, of a Real.
func (v *Vector) Real(i int) float64 { return math.Float64frombits(uint64(v.ints[i])) }

// String is row i's text, of a String or Dynamic.
func (v *Vector) String(i int) string {
	if v.dict != nil {
		return v.dict[v.ints[i]]
	}
	return v.text[v.offsets[i]:v.offsets[i+1]]
}

// columnBuilder collects one column.
type columnBuilder struct {
	kind    Kind
	n       int // rows seen so far, with or without a value
	count   int // of them with a value
	valid   []uint64
	ints    []int64
	text    []byte
	offsets []uint32
}

func (c *columnBuilder) isText() bool { return c.kind == String || c.kind == Dynamic }

// pad adds rows without a value until there are n rows.
func (c *columnBuilder) pad(n int) {
	for c.n < n {
		c.add(false)
	}
}

func (c *columnBuilder) add(has bool) {
	if c.n&63 == 0 {
		c.valid = append(c.valid, 0)
	}
	if has {
		c.valid[c.n>>6] |= 1 << (c.n & 63)
		c.count++
	} else if !c.isText() {
		c.ints = append(c.ints, 0)
	}
	c.n++
	if c.isText() {
		c.offsets = append(c.offsets, uint32(len(c.text)))
	}
}

func (c *columnBuilder) addInt(v int64) { c.ints = append(c.ints, v); c.add(true) }

func (c *columnBuilder) addText(p []byte) { c.text = append(c.text, p...); c.add(true) }

func (c *columnBuilder) vector(rows int) *Vector {
	c.pad(rows)
	v := &Vector{Kind: c.kind, n: rows, ints: c.ints}
	if c.count < rows {
		v.valid = c.valid
	}
	if c.isText() {
		v.text = string(c.text)
		v.offsets = append([]uint32{0}, c.offsets...)
	}
	return v
}

// field is a column of one kind: a name can have had several.
type field struct {
	name string
	kind Kind
}

// Block is some rows of one resource in one table.
type Block struct {
	// Resource is what the rows are about.
	Resource string
	// Rows is how many there are.
	Rows int

	vectors map[field]*Vector
}

// The columns that every block has: a row's time, its number within the store,
// which never changes, and its size in bytes.
const (
	timeColumn = "\x00t"
	seqColumn  = "\x00s"
	sizeColumn = "\x00b"
)

// Times is the time of each row.
func (b *Block) Times() *Vector { return b.vectors[field{timeColumn, Time}] }

// Numbers is the number of each row, which is its own within the store.
func (b *Block) Numbers() *Vector { return b.vectors[field{seqColumn, Int}] }

// Sizes is the size of each row in bytes, as it came in.
func (b *Block) Sizes() *Vector { return b.vectors[field{sizeColumn, Int}] }

// Column is the column of a name with values of a kind, or nil.
func (b *Block) Column(name string, k Kind) *Vector { return b.vectors[field{name, k}] }

// builder makes a Block of rows.
type builder struct {
	want    map[string]bool // the columns wanted; nil for all
	columns map[field]*columnBuilder
	order   []field
	rows    int
	times   columnBuilder
	seqs    columnBuilder
	sizes   columnBuilder
}

func newBuilder(want map[string]bool) *builder {
	return &builder{want: want, columns: map[field]*columnBuilder{}, times: columnBuilder{kind: Time}, seqs: columnBuilder{kind: Int}, sizes: columnBuilder{kind: Int}}
}

// add takes in rows of a batch, from the row skip on, until the builder has limit
// rows or keep is done. It returns how many rows of the batch it has looked at.
func (b *builder) add(s *stored, skip, limit int, from, to int64) (int, error) {
	r := &reader{b: s.data}
	names, rows := r.header()
	// the column of each name and kind, found once per batch
	cache := make([]*columnBuilder, len(names)*int(maxKind+1))
	wanted := make([]bool, len(names))
	for i, n := range names {
		wanted[i] = b.want == nil || b.want[n]
	}
	i := 0
	for ; i < rows && r.err == nil; i++ {
		row := reader{b: r.take(r.uvarint())}
		size := len(row.b)
		if i < skip {
			continue
		}
		if b.rows >= limit {
			break
		}
		at := int64(row.uint64())
		if at < from || at >= to {
			continue
		}
		for len(row.b) > 0 && row.err == nil {
			tag := row.uvarint()
			col, kind := tag>>3, Kind(tag&7)
			if col >= uint64(len(names)) || kind == 0 || kind > maxKind {
				row.fail()
				break
			}
			if !wanted[col] {
				row.skip(kind)
				continue
			}
			c := cache[int(col)*int(maxKind+1)+int(kind)]
			if c == nil {
				c = b.column(field{names[col], kind})
				cache[int(col)*int(maxKind+1)+int(kind)] = c
			}
			if c.n > b.rows { // the column is there twice: the first stands
				row.skip(kind)
				continue
			}
			c.pad(b.rows)
			switch kind {
			case String, Dynamic:
				c.addText(row.take(row.uvarint()))
			case Int:
				c.addInt(row.varint())
			case Real, Time:
				c.addInt(int64(row.uint64()))
			case Bool:
				v := row.take(1)
				c.addInt(int64(len(v)))
				if len(v) == 1 {
					c.ints[len(c.ints)-1] = int64(v[0] & 1)
				}
			}
		}
		if row.err != nil {
			return i, row.err
		}
		b.times.addInt(at)
		b.seqs.addInt(int64(s.seq) + int64(i))
		b.sizes.addInt(int64(size))
		b.rows++
	}
	return i, r.err
}

// skip passes over a value.
func (r *reader) skip(k Kind) {
	switch k {
	case String, Dynamic:
		r.take(r.uvarint())
	case Int:
		r.uvarint()
	case Real, Time:
		r.take(8)
	case Bool:
		r.take(1)
	}
}

func (b *builder) column(f field) *columnBuilder {
	c := b.columns[f]
	if c == nil {
		c = &columnBuilder{kind: f.kind}
		b.columns[f] = c
		b.order = append(b.order, f)
	}
	return c
}

// block returns what was collected, and begins anew.
func (b *builder) block(resource string) *Block {
	out := &Block{Resource: resource, Rows: b.rows, vectors: make(map[field]*Vector, len(b.columns)+3)}
	for f, c := range b.columns {
		out.vectors[f] = c.vector(b.rows)
	}
	out.vectors[field{timeColumn, Time}] = b.times.vector(b.rows)
	out.vectors[field{seqColumn, Int}] = b.seqs.vector(b.rows)
	out.vectors[field{sizeColumn, Int}] = b.sizes.vector(b.rows)
	*b = *newBuilder(b.want)
	return out
}

// The encodings of a column chunk.
const (
	encodePlain = iota // values, one after another
	encodeDict         // the distinct strings, then the place of each
)

// encode writes a vector: validity, then values.
func (v *Vector) encode(out []byte) []byte {
	if v.valid == nil {
		out = append(out, 0)
	} else {
		out = append(out, 1)
		for _, w := range v.valid {
			out = binary.LittleEndian.AppendUint64(out, w)
		}
	}
	switch v.Kind {
	case String, Dynamic:
		return v.encodeText(out)
	case Int, Time:
		// differences are small where values are times, numbers or counts
		last := int64(0)
		for i := range v.n {
			if v.Has(i) {
				out = binary.AppendVarint(out, v.ints[i]-last)
				last = v.ints[i]
			}
		}
	case Real:
		for i := range v.n {
			if v.Has(i) {
				out = binary.LittleEndian.AppendUint64(out, uint64(v.ints[i]))
			}
		}
	case Bool:
		for i := range v.n {
			if v.Has(i) {
				out = append(out, byte(v.ints[i]))
			}
		}
	}
	return out
}

func (v *Vector) encodeText(out []byte) []byte {
	places, limit := map[string]uint64{}, v.n/4+1
	var dict []string
	for i := 0; i < v.n && len(dict) <= limit; i++ {
		if !v.Has(i) {
			continue
		}
		s := v.String(i)
		if _, ok := places[s]; !ok {
			places[s] = uint64(len(dict))
			dict = append(dict, s)
		}
	}
	if len(dict) > limit {
		out = append(out, encodePlain)
		for i := range v.n {
			if v.Has(i) {
				out = binary.AppendUvarint(out, uint64(v.offsets[i+1]-v.offsets[i]))
			}
		}
		// rows without a value have no text
		return append(out, v.text...)
	}
	out = append(out, encodeDict)
	out = binary.AppendUvarint(out, uint64(len(dict)))
	for _, s := range dict {
		out = appendString(out, s)
	}
	for i := range v.n {
		if v.Has(i) {
			out = binary.AppendUvarint(out, places[v.String(i)])
		}
	}
	return out
}

// decodeVector is the inverse of encode.
func decodeVector(p []byte, kind Kind, rows int) (*Vector, error) {
	r := &reader{b: p}
	v := &Vector{Kind: kind, n: rows}
	if flag := r.take(1); len(flag) == 1 && flag[0] == 1 {
		v.valid = make([]uint64, (rows+63)/64)
		for i := range v.valid {
			v.valid[i] = r.uint64()
		}
	}
	switch kind {
	case String, Dynamic:
		v.decodeText(r)
	case Int, Time:
		v.ints = make([]int64, rows)
		last := int64(0)
		for i := range rows {
			if v.Has(i) {
				last += r.varint()
				v.ints[i] = last
			}
		}
	case Real:
		v.ints = make([]int64, rows)
		for i := range rows {
			if v.Has(i) {
				v.ints[i] = int64(r.uint64())
			}
		}
	case Bool:
		v.ints = make([]int64, rows)
		for i := range rows {
			if v.Has(i) {
				if b := r.take(1); len(b) == 1 {
					v.ints[i] = int64(b[0])
				}
			}
		}
	default:
		r.fail()
	}
	return v, r.err
}

func (v *Vector) decodeText(r *reader) {
	mode := r.take(1)
	if len(mode) != 1 {
		return
	}
	if mode[0] == encodeDict {
		n := r.uvarint()
		if n > uint64(len(r.b)) {
			r.fail()
			return
		}
		v.dict = make([]string, n)
		for i := range v.dict {
			v.dict[i] = r.string()
		}
		v.ints = make([]int64, v.n)
		for i := range v.n {
			if v.Has(i) {
				at := r.uvarint()
				if at >= n {
					r.fail()
					return
				}
				v.ints[i] = int64(at)
			}
		}
		return
	}
	v.offsets = make([]uint32, v.n+1)
	total := uint64(0)
	for i := range v.n {
		if v.Has(i) {
			total += r.uvarint()
		}
		if total > math.MaxUint32 {
			r.fail()
			return
		}
		v.offsets[i+1] = uint32(total)
	}
	v.text = string(r.take(total))
}
