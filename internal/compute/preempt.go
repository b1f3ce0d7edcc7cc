package compute

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// LowPriority is the priority of pools whose nodes can be preempted.
const LowPriority = "LowPriority"

// DefaultNotice is how long a node's tasks have between the warning and the end
// of the node. It is in real time, as every grace period is: a process that
// saves its work needs real seconds, however fast the server's clock is moved.
const DefaultNotice = 30 * time.Second

// Preemption is how nodes of a low-priority pool are taken away. Chance and
// schedule go by the server's clock; the zero value takes none.
type Preemption struct {
	// Chance is how likely a node is to be preempted within Per, from 0 to less
	// than 1, at any time of its life.
	Chance float64       `json:",omitempty"`
	Per    time.Duration `json:",omitempty"`
	// Every and Nodes take that many nodes at that interval.
	Every time.Duration `json:",omitempty"`
	Nodes int           `json:",omitempty"`
	// Notice is the time between the polite signal and the kill. 0 means
	// DefaultNotice.
	Notice time.Duration `json:",omitempty"`
	// Fail ends an item whose node was preempted as failed, instead of queuing it
	// again.
	Fail bool `json:",omitempty"`
}

func (p *Preemption) validate() error {
	switch {
	case p.Chance < 0 || p.Chance >= 1 || math.IsNaN(p.Chance):
		return &InvalidError{"chance", "is not at least 0 and less than 1"}
	case p.Chance > 0 && p.Per <= 0:
		return &InvalidError{"chance", "needs the time that it is about"}
	case p.Every < 0 || p.Notice < 0 || p.Nodes < 0:
		return &InvalidError{"preemption", "has a negative value"}
	case (p.Every > 0) != (p.Nodes > 0):
		return &InvalidError{"schedule", "needs both an interval and a number of nodes"}
	}
	return nil
}

func (p *Preemption) notice() time.Duration {
	if p.Notice > 0 {
		return p.Notice
	}
	return DefaultNotice
}

// draw is how long a node lives until chance takes it; ok is false for ever. The
// rate is the same at every moment of a node's life, so drawing again is never
// unfair to it.
func (p *Preemption) draw(random float64) (after time.Duration, ok bool) {
	if p.Chance <= 0 {
		return 0, false
	}
	after = time.Duration(float64(p.Per) * math.Log1p(-random) / math.Log1p(-p.Chance))
	return max(after, 0), true
}

// canPreempt finds a pool whose nodes can be preempted.
func (m *Manager) canPreempt(tx store.Tx, poolID string) (*poolRecord, error) {
	p, err := m.pools.Get(tx, poolID)
	if errors.Is(err, store.ErrNotFound) || err == nil && p.Deleting {
		return nil, fmt.Errorf("%w: %s", ErrPoolNotFound, poolID)
	}
	if err != nil {
		return nil, fmt.Errorf("read pool: %w", err)
	}
	if !strings.EqualFold(p.Priority, LowPriority) {
		return nil, &InvalidError{"cluster " + lastSegment(poolID), "is Dedicated; only nodes of LowPriority clusters are preempted"}
	}
	return p, nil
}

// SetPreemption changes how nodes of a pool are preempted. It is part of the
// caller's transaction. Errors: ErrPoolNotFound, *InvalidError.
func (m *Manager) SetPreemption(tx store.Tx, poolID string, pre Preemption) error {
	if err := pre.validate(); err != nil {
		return err
	}
	p, err := m.canPreempt(tx, poolID)
	if err != nil {
		return err
	}
	p.Preemption, p.PreemptAt = pre, time.Time{}
	now := m.clock.Now()
	if pre.Every > 0 {
		p.PreemptAt = now.Add(pre.Every)
	}
	if err := m.pools.Put(tx, p); err != nil {
		return fmt.Errorf("set preemption: %w", err)
	}
	for n, err := range m.nodes.By(tx, indexPool, store.Range{Prefix: store.Exact(poolID)}) {
		if err != nil {
			return fmt.Errorf("set preemption: %w", err)
		}
		n.PreemptAt = m.drawn(pre, now)
		if err := m.nodes.Put(tx, n); err != nil {
			return fmt.Errorf("set preemption: %w", err)
		}
		if err := m.changed(tx, changeNode, n.ID); err != nil {
			return err
		}
	}
	return m.changed(tx, changePool, poolID)
}

func (m *Manager) drawn(pre Preemption, now time.Time) time.Time {
	after, ok := pre.draw(m.random())
	if !ok {
		return time.Time{}
	}
	return now.Add(after)
}

// Preempt takes nodes of a low-priority pool away now, those that run something
// first, and returns their IDs. There may be fewer than were asked for. It is
// part of the caller's transaction. Errors: ErrPoolNotFound, *InvalidError.
func (m *Manager) Preempt(tx store.Tx, poolID string, nodes int) ([]string, error) {
	if nodes < 1 {
		return nil, &InvalidError{"number of nodes", "must be at least 1"}
	}
	if _, err := m.canPreempt(tx, poolID); err != nil {
		return nil, err
	}
	all, err := m.Nodes(tx, poolID)
	if err != nil {
		return nil, err
	}
	order := []NodeState{NodeRunning, NodeIdle, NodePreparing}
	slices.SortStableFunc(all, func(a, b Node) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	var out []string
	for i := range all {
		n := &all[i]
		if len(out) == nodes {
			break
		}
		if !n.evictable() {
			continue
		}
		n.Evict = "on request"
		if err := m.nodes.Put(tx, n); err != nil {
			return nil, fmt.Errorf("preempt: %w", err)
		}
		if err := m.changed(tx, changeNode, n.ID); err != nil {
			return nil, err
		}
		out = append(out, n.ID)
	}
	return out, nil
}

func (n *Node) evictable() bool {
	return n.Evict == "" && (n.State == NodeRunning || n.State == NodeIdle || n.State == NodePreparing)
}

// schedule takes the nodes that are due by their pool's schedule.
func (t *turn) schedule() error {
	for _, p := range t.world.pools {
		if p.PreemptAt.IsZero() || t.now.Before(p.PreemptAt) {
			continue
		}
		due := make([]*Node, 0, len(t.world.inPool[p.ID]))
		for _, n := range t.world.inPool[p.ID] {
			if n.evictable() {
				due = append(due, n)
			}
		}
		slices.SortFunc(due, func(a, b *Node) int { return strings.Compare(a.ID, b.ID) })
		for range min(p.Preemption.Nodes, len(due)) {
			i := int(t.m.random() * float64(len(due)))
			if err := t.evict(due[i], "by its schedule"); err != nil {
				return err
			}
			due = slices.Delete(due, i, i+1)
		}
		// The clock may have been moved over several of them: they are one.
		late := t.now.Sub(p.PreemptAt)
		p.PreemptAt = p.PreemptAt.Add((late/p.Preemption.Every + 1) * p.Preemption.Every)
		if err := t.putPool(p); err != nil {
			return err
		}
	}
	return nil
}

// evict warns a node: it goes once nothing runs on it.
func (t *turn) evict(n *Node, how string) error {
	n.Evict = how
	t.wrote = true
	return t.m.nodes.Put(t.tx, n)
}

// preempted takes a node away that was warned, when nothing runs on it any more,
// and reports whether it did.
func (t *turn) preempted(n *Node) (bool, error) {
	if n.Evict == "" && !n.PreemptAt.IsZero() && !t.now.Before(n.PreemptAt) && n.evictable() {
		if err := t.evict(n, "by chance"); err != nil {
			return false, err
		}
	}
	if n.Evict == "" || n.State != NodeIdle && n.State != NodePreparing {
		return false, nil
	}
	n.Reason = "preempted " + n.Evict
	t.info("node preempted", logPool, n.PoolID, logNode, n.ID, logReason, n.Evict)
	return true, t.moveNode(n, NodeEventPreempt)
}

// Shortages: while a VM size is short, no node of it can be started.

func sizeKey(size string) string { return strings.ToLower(size) }

// SetShortage declares that there is no capacity for a VM size, or that there is
// again. It is part of the caller's transaction.
func (m *Manager) SetShortage(tx store.Tx, size string, short bool) error {
	if size == "" {
		return &InvalidError{"VM size", "is empty"}
	}
	var err error
	if short {
		err = tx.Put(bucketShortages, sizeKey(size), []byte(size))
	} else {
		err = tx.Delete(bucketShortages, sizeKey(size))
	}
	if err != nil {
		return fmt.Errorf("set shortage: %w", err)
	}
	return m.changed(tx, changeShortage, sizeKey(size))
}

// Shortages returns the VM sizes that are short, as they were declared.
func (m *Manager) Shortages(tx store.Tx) ([]string, error) {
	out := []string{}
	for e, err := range tx.Scan(bucketShortages, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("list shortages: %w", err)
		}
		out = append(out, string(e.Value))
	}
	return out, nil
}

func shortageText(size string) string {
	return fmt.Sprintf("There is no capacity for %s at the moment, so no node of that size can be started.", size)
}
