package sqlite

// rows are values that the committer read or wrote lately: a write reads what it
// replaces, and what it stands in. Nobody else writes, so they are what a query
// would find. It is used by the committer alone.
type rows struct {
	newer, old map[place][]byte
	size       int // bytes in newer
}

const (
	rowsLimit = 4 << 20 // bytes in each half
	rowLimit  = 4 << 10 // a larger value is not kept
	rowCost   = 128     // bytes of a row besides its key and value, about
)

func (r *rows) get(at place) ([]byte, bool) {
	if v, ok := r.newer[at]; ok {
		return v, true
	}
	v, ok := r.old[at]
	if ok {
		r.put(at, v)
	}
	return v, ok
}

// put keeps a value, which must not be changed any more.
func (r *rows) put(at place, value []byte) {
	if len(value) > rowLimit {
		r.remove(at)
		return
	}
	if r.newer == nil || r.size >= rowsLimit {
		r.newer, r.old, r.size = map[place][]byte{}, r.newer, 0
	}
	if was, ok := r.newer[at]; ok {
		r.size += len(value) - len(was)
	} else {
		r.size += rowCost + len(at.key) + len(value)
	}
	r.newer[at] = value
}

func (r *rows) remove(at place) {
	if was, ok := r.newer[at]; ok {
		r.size -= rowCost + len(at.key) + len(was)
		delete(r.newer, at)
	}
	delete(r.old, at)
}

// clear forgets everything: what was written was undone.
func (r *rows) clear() { *r = rows{} }
