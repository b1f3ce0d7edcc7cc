package table

import (
	"context"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// bounds are what a filter says about the keys of the entities it lets through,
// so that the others need not be read.
type bounds struct{ partition, row interval }

// interval is a range of strings. An empty low bound is none.
type interval struct {
	low, high         string
	lowOpen, highOpen bool // the bound itself is not in it
	hasHigh           bool
}

func (v *interval) narrow(op, s string) {
	switch op {
	case "eq":
		v.narrow("ge", s)
		v.narrow("le", s)
	case "ge", "gt":
		open := op == "gt"
		if s > v.low || s == v.low && open {
			v.low, v.lowOpen = s, open
		}
	case "le", "lt":
		open := op == "lt"
		if !v.hasHigh || s < v.high || s == v.high && open {
			v.high, v.highOpen, v.hasHigh = s, open, true
		}
	}
}

// above reports whether s and all behind it are outside.
func (v *interval) above(s string) bool {
	return v.hasHigh && (s > v.high || s == v.high && v.highOpen)
}

// single is the only string in it, if there is but one.
func (v *interval) single() (string, bool) {
	return v.low, v.hasHigh && v.low == v.high && !v.lowOpen && !v.highOpen
}

// boundsOf reads the bounds from the conditions that must all hold.
func boundsOf(x expr) bounds {
	var b bounds
	b.add(x)
	return b
}

func (b *bounds) add(x expr) {
	switch x := x.(type) {
	case andExpr:
		b.add(x.a)
		b.add(x.b)
	case compareExpr:
		op, name, lit := x.op, x.a.name, x.b
		if name == "" {
			op, name, lit = flipped(op), x.b.name, x.a
		}
		if lit.name != "" || lit.lit.kind() != kindString {
			return
		}
		switch name {
		case "PartitionKey":
			b.partition.narrow(op, lit.lit.Text)
		case "RowKey":
			b.row.narrow(op, lit.lit.Text)
		}
	}
}

// start is the range of keys of a table where the scan begins. Keys hold no byte
// 0 and, being UTF-8, no byte 255.
func (b *bounds) start(table string) store.Range {
	prefix := table + "/"
	r := store.Range{Prefix: prefix}
	if pk, ok := b.partition.single(); ok {
		r.Prefix = prefix + pk + keySep
		r.After = before(r.Prefix, &b.row, "")
		return r
	}
	r.After = before(prefix, &b.partition, keySep)
	return r
}

// before is a key behind which the strings of v begin. sep ends a string.
func before(prefix string, v *interval, sep string) string {
	switch {
	case v.low == "":
		if v.lowOpen && sep != "" {
			return prefix + sep + "\xff"
		}
		return ""
	case v.lowOpen && sep != "":
		return prefix + v.low + sep + "\xff"
	case v.lowOpen:
		return prefix + v.low
	}
	// the least of the strings that begin so, less a little
	last := len(v.low) - 1
	if v.low[last] == 0 {
		return prefix + v.low[:last]
	}
	return prefix + v.low[:last] + string([]byte{v.low[last] - 1, 0xff})
}

// The most rows that one query reads, and the most entities that it returns.
const (
	maxScan = 20_000
	maxPage = 1000
)

// query is a search for entities.
type query struct {
	filter expr
	top    int // the most entities of the answer
	// after is the key of the last entity of the page before, without the table.
	after string
	// within are the keys that a SAS lets its holder see.
	within *keyRange
}

// query returns the entities that a query finds, in the order of their keys, and
// where the next page begins, "" if there is none.
func (e *engine) query(ctx context.Context, t *tableRec, q query) (list []*entity, next string, err error) {
	b := bounds{}
	if q.filter != nil {
		b = boundsOf(q.filter)
	}
	if q.within != nil {
		q.within.narrow(&b)
	}
	err = e.store.View(ctx, func(tx store.Tx) error {
		list, next = nil, ""
		r := b.start(t.ID)
		if q.after != "" && t.ID+"/"+q.after > r.After {
			r.After = t.ID + "/" + q.after
		}
		last, read := "", 0
		for row, err := range tx.Scan(bucketEntities, r) {
			if err != nil {
				return err
			}
			key := strings.TrimPrefix(row.Key, t.ID+"/")
			pk, rk, _ := strings.Cut(key, keySep)
			if b.partition.above(pk) {
				return nil
			}
			if _, one := b.partition.single(); one && b.row.above(rk) {
				return nil
			}
			if read++; read > maxScan {
				next = last
				return nil
			}
			ent, err := decodeEntity(row.Key, row.Value)
			if err != nil {
				return err
			}
			ent.pk, ent.rk = pk, rk
			if (q.filter == nil || q.filter.holds(ent)) && (q.within == nil || q.within.has(pk, rk)) {
				if len(list) == q.top {
					next = list[len(list)-1].key()
					return nil
				}
				list = append(list, ent)
			}
			last = key
		}
		return nil
	})
	return list, next, err
}

// keyRange is the range of keys of a SAS: from one key to another, both in it.
type keyRange struct {
	startPK, startRK, endPK, endRK string
	hasStartRK, hasEnd, hasEndRK   bool
}

func (k *keyRange) has(pk, rk string) bool {
	if pk < k.startPK || pk == k.startPK && k.hasStartRK && rk < k.startRK {
		return false
	}
	return !k.hasEnd || pk < k.endPK || pk == k.endPK && (!k.hasEndRK || rk <= k.endRK)
}

func (k *keyRange) narrow(b *bounds) {
	b.partition.narrow("ge", k.startPK)
	if k.hasEnd {
		b.partition.narrow("le", k.endPK)
	}
}
