package compute

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// world is the Manager's copy of the records that matter: pools, nodes, and
// items that are not done. The loop alone touches it, inside the transactions
// that write the same changes to the store, so that the two agree whenever no
// transaction runs. After one that failed it is thrown away and read again.
type world struct {
	pools  map[string]*poolRecord
	nodes  map[string]*Node
	inPool map[string]map[string]*Node // nodes by pool
	items  map[string]*itemRecord
	// active are the items that need more than a place in the queue.
	active map[string]*itemRecord
	queues map[string][]QueuedItem // by pool, in the order of CompareQueued
	held   map[string]int          // items that are not done, by pool
	// short are the VM sizes that no node can be started of.
	short map[string]bool
	// quotas are the cores of the core quotas that are limited, by name.
	quotas map[string]int
	// dirty are the pools to plan.
	dirty map[string]bool
}

func (m *Manager) readWorld(tx store.Tx) (*world, error) {
	w := &world{
		pools:  map[string]*poolRecord{},
		nodes:  map[string]*Node{},
		inPool: map[string]map[string]*Node{},
		items:  map[string]*itemRecord{},
		active: map[string]*itemRecord{},
		queues: map[string][]QueuedItem{},
		held:   map[string]int{},
		short:  map[string]bool{},
		dirty:  map[string]bool{},
	}
	for p, err := range m.pools.All(tx, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("read pools: %w", err)
		}
		w.pools[p.ID] = p
		w.dirty[p.ID] = true
	}
	for n, err := range m.nodes.All(tx, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("read nodes: %w", err)
		}
		w.setNode(n)
	}
	for it, err := range m.items.By(tx, indexLive, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
		w.items[it.ID] = it
		w.held[it.PoolID]++
		w.file(it)
	}
	for e, err := range tx.Scan(bucketShortages, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("read shortages: %w", err)
		}
		w.short[e.Key] = true
	}
	var err error
	if w.quotas, err = m.Quotas(tx); err != nil {
		return nil, err
	}
	for id, q := range w.queues {
		slices.SortFunc(q, CompareQueued)
		w.queues[id] = q
	}
	return w, nil
}

// readChanges brings in what others wrote since the last time.
func (m *Manager) readChanges(tx store.Tx, w *world) error {
	for e, err := range tx.Scan(bucketChanges, store.Range{}) {
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		kind, id := splitChange(e.Key)
		if err := m.readChange(tx, w, kind, id); err != nil {
			return fmt.Errorf("read changed %s %s: %w", kind, id, err)
		}
		if err := tx.Delete(bucketChanges, e.Key); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) readChange(tx store.Tx, w *world, kind changeKind, id string) error {
	switch kind {
	case changePool:
		p, err := m.pools.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		w.pools[id] = p
		w.dirty[id] = true
	case changeNode:
		n, err := m.nodes.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		w.setNode(n)
		w.dirty[n.PoolID] = true
	case changeShortage:
		_, err := tx.Get(bucketShortages, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if delete(w.short, id); err == nil {
			w.short[id] = true
		}
		for _, p := range w.pools {
			if sizeKey(p.VMSize) == id {
				w.dirty[p.ID] = true
			}
		}
	case changeQuota:
		w.quotaChanged() // those that the old limit held back
		quotas, err := m.Quotas(tx)
		if err != nil {
			return err
		}
		w.quotas = quotas
		w.quotaChanged()
	case changeItem:
		it, err := m.items.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if it.Phase == PhaseDone {
			return nil
		}
		if old := w.items[id]; old != nil {
			w.unfile(old)
		} else {
			w.held[it.PoolID]++
		}
		w.items[id] = it
		w.insert(it)
	}
	return nil
}

func (w *world) setNode(n *Node) {
	w.nodes[n.ID] = n
	if w.inPool[n.PoolID] == nil {
		w.inPool[n.PoolID] = map[string]*Node{}
	}
	w.inPool[n.PoolID][n.ID] = n
}

func (w *world) dropNode(n *Node) {
	delete(w.nodes, n.ID)
	delete(w.inPool[n.PoolID], n.ID)
	if len(w.inPool[n.PoolID]) == 0 {
		delete(w.inPool, n.PoolID)
	}
}

// file puts an item where its phase belongs, at the end of the queue if queued.
func (w *world) file(it *itemRecord) {
	if it.Phase == PhaseQueued && it.Stop == nil {
		w.queues[it.PoolID] = append(w.queues[it.PoolID], it.queued())
		w.dirty[it.PoolID] = true
		return
	}
	w.active[it.ID] = it
}

// insert is file, but finds the place in the queue.
func (w *world) insert(it *itemRecord) {
	if it.Phase == PhaseQueued && it.Stop == nil {
		q := w.queues[it.PoolID]
		i, found := slices.BinarySearchFunc(q, it.queued(), CompareQueued)
		if !found {
			w.queues[it.PoolID] = slices.Insert(q, i, it.queued())
		}
		w.dirty[it.PoolID] = true
		return
	}
	w.active[it.ID] = it
}

func (w *world) unfile(it *itemRecord) {
	delete(w.active, it.ID)
	q := w.queues[it.PoolID]
	if i, found := slices.BinarySearchFunc(q, it.queued(), CompareQueued); found {
		q = slices.Delete(q, i, i+1)
		if len(q) == 0 {
			delete(w.queues, it.PoolID)
		} else {
			w.queues[it.PoolID] = q
		}
		w.dirty[it.PoolID] = true
	}
}

func (w *world) dropItem(it *itemRecord) {
	w.unfile(it)
	delete(w.items, it.ID)
	if w.held[it.PoolID]--; w.held[it.PoolID] == 0 {
		delete(w.held, it.PoolID)
	}
	w.dirty[it.PoolID] = true
}

// poolState is what the planner sees of a pool.
func (w *world) poolState(p *poolRecord, retryAt time.Time) PoolState {
	s := PoolState{
		ID: p.ID, Min: p.Min, Max: p.Max, IdleTime: p.IdleTime,
		Queue:   w.queues[p.ID],
		RetryAt: retryAt, StartError: p.StartError,
	}
	if w.short[sizeKey(p.VMSize)] {
		s.Short = p.VMSize
	}
	if p.Deleting {
		s.Min = 0
	}
	s.Quota = w.quotaRoom(p)
	s.Nodes = make([]NodeView, 0, len(w.inPool[p.ID]))
	for _, n := range w.inPool[p.ID] {
		s.Nodes = append(s.Nodes, NodeView{ID: n.ID, State: n.State, ItemID: n.ItemID, IdleSince: n.Since, Drain: n.Drain})
	}
	return s
}
