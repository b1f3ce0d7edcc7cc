package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
)

// A segment file is blocks, one after another, and each of them is
//
//	4 bytes magic, 4 bytes length of the directory, 4 bytes length of the chunks,
//	4 bytes CRC-32C of the directory
//	directory: see blockMeta
//	chunks: the columns, each compressed by itself, each with a CRC in the directory
const (
	blockMagic  = 0x315a4c41 // "ALZ1"
	blockHeader = 16
	segmentExt  = ".seg"
)

// castagnoli returns the polynomial that this machine computes fastest.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// segment is one file of a table.
type segment struct {
	path   string
	number int
	size   int64 // what is durable and known
	blocks []*blockMeta
	// damaged says that what follows in the file cannot be read, although nobody was
	// writing there. It is left alone, and the file gets no more blocks.
	damaged bool
}

// blockMeta says what is in a block without reading it.
type blockMeta struct {
	path     string
	journal  uint64 // the journal that its rows came from
	resource string
	rows     int
	min, max int64 // of the rows' times
	// first and last are when the rows came in.
	first, last int64
	columns     []chunkMeta
	offset      int64 // of the chunks in the file
	size        int64 // of the chunks
}

// chunkMeta is one column of a block.
type chunkMeta struct {
	field
	offset, size uint32 // within the chunks
	raw          uint32 // size before compression; 0: it is not compressed
	crc          uint32
}

// encodeBlock returns the bytes of a block and what they are, but for the place.
func encodeBlock(b *Block, journal uint64, first, last int64) ([]byte, *blockMeta, error) {
	m := &blockMeta{journal: journal, resource: b.Resource, rows: b.Rows, min: math.MaxInt64, max: math.MinInt64, first: first, last: last}
	for _, t := range b.Times().ints {
		m.min, m.max = min(m.min, t), max(m.max, t)
	}
	fields := make([]field, 0, len(b.vectors))
	for f := range b.vectors {
		fields = append(fields, f)
	}
	slices.SortFunc(fields, func(a, b field) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return int(a.kind) - int(b.kind)
	})
	table := castagnoli()
	var chunks, raw []byte
	for _, f := range fields {
		raw = b.vectors[f].encode(raw[:0])
		c := chunkMeta{field: f, offset: uint32(len(chunks))}
		packed := s2.Encode(nil, raw)
		if len(packed) < len(raw) {
			c.raw = uint32(len(raw))
			chunks = append(chunks, packed...)
		} else {
			chunks = append(chunks, raw...)
		}
		if len(chunks) > math.MaxInt32 {
			return nil, nil, fmt.Errorf("logstore: a block of %d rows has more than 2 GiB", b.Rows)
		}
		c.size = uint32(len(chunks)) - c.offset
		c.crc = crc32.Checksum(chunks[c.offset:], table)
		m.columns = append(m.columns, c)
	}
	m.size = int64(len(chunks))
	dir := m.encode()
	out := make([]byte, 0, blockHeader+len(dir)+len(chunks))
	out = binary.LittleEndian.AppendUint32(out, blockMagic)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(dir)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(chunks)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(dir, table))
	out = append(out, dir...)
	return append(out, chunks...), m, nil
}

func (m *blockMeta) encode() []byte {
	var out []byte
	out = binary.AppendUvarint(out, m.journal)
	out = appendString(out, m.resource)
	out = binary.AppendUvarint(out, uint64(m.rows))
	for _, t := range []int64{m.min, m.max, m.first, m.last} {
		out = binary.LittleEndian.AppendUint64(out, uint64(t))
	}
	out = binary.AppendUvarint(out, uint64(len(m.columns)))
	for _, c := range m.columns {
		out = appendString(out, c.name)
		out = append(out, byte(c.kind))
		out = binary.AppendUvarint(out, uint64(c.offset))
		out = binary.AppendUvarint(out, uint64(c.size))
		out = binary.AppendUvarint(out, uint64(c.raw))
		out = binary.LittleEndian.AppendUint32(out, c.crc)
	}
	return out
}

func decodeMeta(p []byte) (*blockMeta, error) {
	r := &reader{b: p}
	m := &blockMeta{journal: r.uvarint(), resource: r.string(), rows: int(r.uvarint())}
	for _, t := range []*int64{&m.min, &m.max, &m.first, &m.last} {
		*t = int64(r.uint64())
	}
	n := r.uvarint()
	if n > uint64(len(r.b)) || m.rows < 0 || m.rows > 1<<24 {
		return nil, errCorrupt
	}
	m.columns = make([]chunkMeta, n)
	for i := range m.columns {
		c := &m.columns[i]
		c.name = r.string()
		if k := r.take(1); len(k) == 1 {
			c.kind = Kind(k[0])
		}
		c.offset, c.size, c.raw = uint32(r.uvarint()), uint32(r.uvarint()), uint32(r.uvarint())
		if crc := r.take(4); len(crc) == 4 {
			c.crc = binary.LittleEndian.Uint32(crc)
		}
	}
	return m, r.err
}

// segmentPath is the file of a table with a number.
func segmentPath(dir, table string, number int) string {
	return filepath.Join(dir, table+"-"+fmt.Sprintf("%08d", number)+segmentExt)
}

// parseSegment is the inverse of segmentPath, for the file name.
func parseSegment(name string) (table string, number int, ok bool) {
	base, ok := strings.CutSuffix(name, segmentExt)
	if !ok {
		return "", 0, false
	}
	i := strings.LastIndexByte(base, '-')
	if i <= 0 {
		return "", 0, false
	}
	number, err := strconv.Atoi(base[i+1:])
	return base[:i], number, err == nil
}

// openSegment reads which blocks a file has. Blocks of the journals from pending on
// were not finished, and neither was, while a journal was being moved, a block that
// is torn: the file is cut there.
func openSegment(path string, number int, pending uint64, moving bool) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, number: number}
	table := castagnoli()
	var head [blockHeader]byte
	for s.size < info.Size() {
		if _, err := f.ReadAt(head[:], s.size); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		} else if err != nil {
			break
		}
		dirLen, chunkLen := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
		end := s.size + blockHeader + int64(dirLen) + int64(chunkLen)
		if binary.LittleEndian.Uint32(head[:]) != blockMagic || end > info.Size() {
			break
		}
		dir := make([]byte, dirLen)
		if _, err := f.ReadAt(dir, s.size+blockHeader); err != nil {
			return nil, err
		}
		if crc32.Checksum(dir, table) != binary.LittleEndian.Uint32(head[12:]) {
			break
		}
		m, err := decodeMeta(dir)
		if err != nil {
			break
		}
		if m.journal >= pending {
			moving = true // or was, when the server was killed
			break
		}
		m.path, m.offset, m.size = path, s.size+blockHeader+int64(dirLen), int64(chunkLen)
		s.blocks = append(s.blocks, m)
		s.size = end
	}
	switch {
	case s.size == info.Size():
	case !moving:
		s.damaged = true
	default:
		if err := f.Truncate(s.size); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// read reads the wanted columns of a block; nil wants all.
func (m *blockMeta) read(want map[string]bool) (*Block, error) {
	f, err := os.Open(m.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	table := castagnoli()
	out := &Block{Resource: m.resource, Rows: m.rows, vectors: map[field]*Vector{}}
	for _, c := range m.columns {
		if want != nil && !want[c.name] && c.name != timeColumn && c.name != seqColumn && c.name != sizeColumn {
			continue
		}
		p := make([]byte, c.size)
		if _, err := f.ReadAt(p, m.offset+int64(c.offset)); err != nil {
			return nil, fmt.Errorf("read %s: %w", m.path, err)
		}
		if crc32.Checksum(p, table) != c.crc {
			return nil, fmt.Errorf("read %s at %d: %w", m.path, m.offset, errCorrupt)
		}
		if c.raw > 0 {
			if n, err := s2.DecodedLen(p); err != nil || n != int(c.raw) {
				return nil, fmt.Errorf("read %s at %d: %w", m.path, m.offset, errCorrupt)
			}
			if p, err = s2.Decode(nil, p); err != nil {
				return nil, fmt.Errorf("read %s at %d: %w", m.path, m.offset, err)
			}
		}
		v, err := decodeVector(p, c.kind, m.rows)
		if err != nil {
			return nil, fmt.Errorf("read %s at %d: column %s: %w", m.path, m.offset, c.name, err)
		}
		out.vectors[c.field] = v
	}
	if out.Times() == nil || out.Numbers() == nil || out.Sizes() == nil {
		return nil, fmt.Errorf("read %s at %d: %w", m.path, m.offset, errCorrupt)
	}
	return out, nil
}

// isGone reports whether a file was removed.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
