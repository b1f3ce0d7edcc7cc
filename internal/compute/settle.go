package compute

import (
	"context"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Load is how much there is of everything.
type Load struct {
	// Nodes is the number of nodes of all pools. Waiting and Running are the
	// items in the queues, and those that have nodes.
	Nodes, Waiting, Running int
}

// Load counts nodes and the items that have not ended, as the loop last saw
// them: a long queue is not read to count it. Before Run has taken stock they
// are counted in tx.
func (m *Manager) Load(tx store.Tx) (Load, error) {
	m.mu.Lock()
	seen := m.load
	m.mu.Unlock()
	if seen != nil {
		return *seen, nil
	}
	var out Load
	for _, err := range m.nodes.All(tx, store.Range{}) {
		if err != nil {
			return Load{}, fmt.Errorf("count nodes: %w", err)
		}
		out.Nodes++
	}
	for it, err := range m.items.By(tx, indexLive, store.Range{}) {
		if err != nil {
			return Load{}, fmt.Errorf("count items: %w", err)
		}
		if it.Phase == PhaseQueued {
			out.Waiting++
		} else {
			out.Running++
		}
	}
	return out, nil
}

// load is the Load of the loop's own records.
func (w *world) load() *Load {
	l := &Load{Nodes: len(w.nodes)}
	for _, q := range w.queues {
		l.Waiting += len(q)
	}
	l.Running = len(w.items) - l.Waiting
	return l
}

// Settle returns once everything that was due when it was called has been
// decided and no node is on its way up or down, or when ctx ends. Items may run
// on. It needs Run to be running.
func (m *Manager) Settle(ctx context.Context) error {
	for {
		news := m.Changes()
		if err := m.afterStep(ctx); err != nil {
			return err
		}
		moving := false
		err := m.store.View(ctx, func(tx store.Tx) error {
			for n, err := range m.nodes.All(tx, store.Range{}) {
				if err != nil {
					return fmt.Errorf("look at nodes: %w", err)
				}
				moving = moving || n.State == NodePreparing || n.State == NodeLeaving
			}
			return nil
		})
		if err != nil || !moving {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// afterStep returns once a step that began after the call is over.
func (m *Manager) afterStep(ctx context.Context) error {
	done := make(chan struct{})
	// The first runs before a step, the second after it.
	m.post(func() { m.post(func() { close(done) }) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
