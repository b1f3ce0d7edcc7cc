package kql

import (
	"encoding/binary"
	"math"
)

// grouper finds the number of the group that a row belongs to, by the values of
// keys. Groups are numbered as they come.
type grouper struct {
	x    *exec
	keys []*expr
	vals []Value   // the keys of the current row
	rows [][]Value // the keys of each group

	single  kind // the kind of a sole key, where there is a fast way
	numbers map[int64]int
	last    int64 // the number that was looked up last …
	lastAt  int   // … and its group, or -1
	strings map[string]int
	byBytes map[string]int
	buf     []byte
}

func newGrouper(x *exec, keys []*expr) *grouper {
	g := &grouper{x: x, keys: keys, vals: make([]Value, len(keys)), lastAt: -1, byBytes: map[string]int{}}
	if len(keys) == 1 {
		switch keys[0].typ {
		case DateTime, TimeSpan, Long, Int:
			g.single, g.numbers = kLong, map[int64]int{}
		case String:
			g.single, g.strings = kString, map[string]int{}
		}
	}
	return g
}

// group returns the group of a row, and whether it is new.
func (g *grouper) group(f []Value) (int, bool) {
	for i, k := range g.keys {
		g.vals[i] = k.eval(f)
	}
	return g.groupOf(g.vals)
}

func (g *grouper) groupOf(vals []Value) (int, bool) {
	switch g.single {
	case kLong:
		if v := &vals[0]; v.k != kNull {
			if g.lastAt >= 0 && v.n == g.last {
				return g.lastAt, false
			}
			at, ok := g.numbers[v.n]
			if !ok {
				if at = g.add(vals, 0); at < 0 {
					return at, false
				}
				g.numbers[v.n] = at
			}
			g.last, g.lastAt = v.n, at
			return at, !ok
		}
	case kString:
		at, ok := g.strings[vals[0].s]
		if !ok {
			if at = g.add(vals, 0); at < 0 {
				return at, false
			}
			g.strings[vals[0].s] = at
		}
		return at, !ok
	}
	g.buf = g.buf[:0]
	for i := range vals {
		g.buf = appendKey(g.buf, vals[i])
	}
	at, ok := g.byBytes[string(g.buf)]
	if !ok {
		if at = g.add(vals, int64(len(g.buf))); at < 0 {
			return at, false
		}
		g.byBytes[string(g.buf)] = at
	}
	return at, !ok
}

// add keeps the keys of a new group. It returns -1 when there is no room.
func (g *grouper) add(vals []Value, extra int64) int {
	if !g.x.grow(48 + extra) {
		return -1
	}
	kept := g.x.keep(vals)
	if kept == nil {
		return -1
	}
	g.rows = append(g.rows, kept)
	return len(g.rows) - 1
}

// appendKey appends a value so that equal values have equal bytes, and no key is
// the beginning of another.
func appendKey(dst []byte, v Value) []byte {
	switch v.k {
	case kNull:
		// The null of a string is the empty string.
		return append(dst, byte(kString), 0)
	case kString, kGUID:
		dst = append(dst, byte(kString))
		dst = binary.AppendUvarint(dst, uint64(len(v.s)))
		return append(dst, v.s...)
	case kReal:
		f := v.Real()
		if f == 0 {
			f = 0 // not -0
		}
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			dst = append(dst, byte(kLong))
			return binary.LittleEndian.AppendUint64(dst, uint64(int64(f)))
		}
		dst = append(dst, byte(kReal))
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	case kInt, kLong:
		dst = append(dst, byte(kLong))
		return binary.LittleEndian.AppendUint64(dst, uint64(v.n))
	case kArray, kBag, kJSON:
		text := v.appendDynamic(nil)
		dst = append(dst, byte(kJSON))
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		return append(dst, text...)
	}
	dst = append(dst, byte(v.k))
	return binary.LittleEndian.AppendUint64(dst, uint64(v.n))
}
