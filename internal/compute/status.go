package compute

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// NodeCounts is the number of nodes in each state.
type NodeCounts struct {
	Preparing, Idle, Running, Leaving, Preempted, Unusable int
}

// NodeError is a failure of a node or of starting one.
type NodeError struct {
	NodeID  string // "" for a node that never came up
	Message string
	At      time.Time
}

// PoolStatus is how a pool is.
type PoolStatus struct {
	Pool
	Deleting bool
	Counts   NodeCounts
	// Current is the number of nodes that the pool has, and Target the number
	// that it is, or was last, changed to.
	Current, Target int
	Allocation      AllocationState
	AllocationSince time.Time
	// Preemption is how nodes are taken away.
	Preemption Preemption
	Errors     []NodeError
}

// PoolStatus returns how a pool is, or ErrPoolNotFound.
func (m *Manager) PoolStatus(tx store.Tx, poolID string) (PoolStatus, error) {
	p, err := m.pools.Get(tx, poolID)
	if errors.Is(err, store.ErrNotFound) {
		return PoolStatus{}, fmt.Errorf("%w: %s", ErrPoolNotFound, poolID)
	}
	if err != nil {
		return PoolStatus{}, fmt.Errorf("pool status: %w", err)
	}
	s := PoolStatus{
		Pool: p.Pool, Deleting: p.Deleting, Target: p.Target,
		Allocation: p.Allocation, AllocationSince: p.AllocationSince, Preemption: p.Preemption,
	}
	if p.StartError != "" {
		s.Errors = append(s.Errors, NodeError{Message: p.StartError, At: p.StartErrorAt})
	}
	switch _, err := tx.Get(bucketShortages, sizeKey(p.VMSize)); {
	case err == nil:
		s.Errors = append(s.Errors, NodeError{Message: shortageText(p.VMSize)})
	case !errors.Is(err, store.ErrNotFound):
		return PoolStatus{}, fmt.Errorf("pool status: %w", err)
	}
	nodes, err := m.Nodes(tx, poolID)
	if err != nil {
		return PoolStatus{}, err
	}
	for _, n := range nodes {
		s.Current++
		switch n.State {
		case NodePreparing:
			s.Counts.Preparing++
		case NodeIdle:
			s.Counts.Idle++
		case NodeRunning:
			s.Counts.Running++
		case NodeLeaving:
			s.Counts.Leaving++
		case NodePreempted:
			s.Counts.Preempted++
		case NodeUnusable:
			s.Counts.Unusable++
			s.Errors = append(s.Errors, NodeError{NodeID: n.ID, Message: n.Error, At: n.Since})
		}
	}
	return s, nil
}

// Pools returns how the pools are whose IDs begin with prefix, in the order of the IDs.
func (m *Manager) Pools(tx store.Tx, prefix string) ([]PoolStatus, error) {
	var ids []string
	for p, err := range m.pools.All(tx, store.Range{Prefix: prefix}) {
		if err != nil {
			return nil, fmt.Errorf("list pools: %w", err)
		}
		ids = append(ids, p.ID)
	}
	out := make([]PoolStatus, len(ids))
	for i, id := range ids {
		var err error
		if out[i], err = m.PoolStatus(tx, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Nodes returns the nodes of a pool in the order of their IDs. A pool that does
// not exist has none.
func (m *Manager) Nodes(tx store.Tx, poolID string) ([]Node, error) {
	var out []Node
	for n, err := range m.nodes.By(tx, indexPool, store.Range{Prefix: store.Exact(poolID)}) {
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		out = append(out, *n)
	}
	return out, nil
}

// NodeAndPool returns a node and the pool that it is of, or ErrNodeNotFound.
func (m *Manager) NodeAndPool(tx store.Tx, nodeID string) (Node, Pool, error) {
	n, err := m.nodes.Get(tx, nodeID)
	if errors.Is(err, store.ErrNotFound) {
		return Node{}, Pool{}, fmt.Errorf("%w: %s", ErrNodeNotFound, nodeID)
	}
	if err != nil {
		return Node{}, Pool{}, fmt.Errorf("node: %w", err)
	}
	p, err := m.pools.Get(tx, n.PoolID)
	if errors.Is(err, store.ErrNotFound) {
		return Node{}, Pool{}, fmt.Errorf("%w: %s, of a pool that is gone", ErrNodeNotFound, nodeID)
	}
	if err != nil {
		return Node{}, Pool{}, fmt.Errorf("pool of a node: %w", err)
	}
	return *n, p.Pool, nil
}

// ItemStatus is how an item is.
type ItemStatus struct {
	Item
	Phase Phase
	// Since is when the item entered Phase.
	Since   time.Time
	NodeIDs []string
	// StartedAt is when its tasks ran, EndedAt when they had ended; zero before.
	StartedAt, EndedAt time.Time
	// Preemptions counts the attempts that ended because nodes were taken away.
	Preemptions int
	// Stop is set when the item is being ended.
	Stop *Stop
	// Outcome is set from PhaseFinalizing on.
	Outcome *Outcome
	// Waiting says in one sentence why a queued item waits.
	Waiting string
}

// ItemStatus returns how an item is, or ErrItemNotFound.
func (m *Manager) ItemStatus(tx store.Tx, itemID string) (ItemStatus, error) {
	it, err := m.items.Get(tx, itemID)
	if errors.Is(err, store.ErrNotFound) {
		return ItemStatus{}, fmt.Errorf("%w: %s", ErrItemNotFound, itemID)
	}
	if err != nil {
		return ItemStatus{}, fmt.Errorf("item status: %w", err)
	}
	return m.itemStatus(it), nil
}

// LiveItems returns the items of a pool that are not done, in the order of their
// IDs.
func (m *Manager) LiveItems(tx store.Tx, poolID string) ([]ItemStatus, error) {
	var out []ItemStatus
	for it, err := range m.items.By(tx, indexLive, store.Range{Prefix: store.Exact(poolID)}) {
		if err != nil {
			return nil, fmt.Errorf("list items: %w", err)
		}
		out = append(out, m.itemStatus(it))
	}
	return out, nil
}

func (m *Manager) itemStatus(it *itemRecord) ItemStatus {
	s := ItemStatus{
		Item: it.Item, Phase: it.Phase, Since: it.Since, NodeIDs: it.NodeIDs,
		StartedAt: it.StartedAt, EndedAt: it.EndedAt, Stop: it.Stop, Outcome: it.Outcome, Preemptions: it.Preemptions,
	}
	if it.Phase == PhaseQueued {
		s.Waiting = m.waitReason(it).String()
	}
	return s
}

// Capacity says what the runner has for all nodes together.
func (m *Manager) Capacity(ctx context.Context) (Capacity, error) { return m.runner.Capacity(ctx) }

func (m *Manager) waitReason(it *itemRecord) Reason {
	m.mu.Lock()
	l := m.waiting[it.PoolID]
	m.mu.Unlock()
	if l == nil {
		return Reason{}
	}
	r, _ := l.reason(it.ID)
	return r
}
