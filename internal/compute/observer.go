package compute

import (
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Observer is told what becomes of nodes.
type Observer interface {
	// NodeMoved says what has happened to a node, in the transaction that makes it
	// so: all but that it got an item, or that one released it. n.State is what it
	// is in now, "" for one that is gone; priority is that of its pool.
	NodeMoved(tx store.Tx, n Node, e NodeEvent, priority string) error
}

// tell tells the observer of an event of a node.
func (m *Manager) tell(tx store.Tx, n *Node, e NodeEvent, pool *poolRecord) error {
	if m.observer == nil || e == NodeEventPlace || e == NodeEventRelease {
		return nil
	}
	priority := ""
	if pool != nil {
		priority = pool.Priority
	}
	if err := m.observer.NodeMoved(tx, *n, e, priority); err != nil {
		return fmt.Errorf("tell of node %s: %w", n.ID, err)
	}
	return nil
}
