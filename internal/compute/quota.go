package compute

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// QuotaError refuses nodes that a core quota can never hold.
type QuotaError struct {
	// Quota is its name, Limit its cores.
	Quota string
	Limit int
	// Nodes is how many were asked for, Cores what they have together.
	Nodes, Cores int
}

// Error implements error.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("the vCPU quota %s is %d, less than the %d vCPUs of %s", e.Quota, e.Limit, e.Cores, count(e.Nodes, "node"))
}

// QuotaRoom is what the core quotas leave to a pool.
type QuotaRoom struct {
	// Name is the quota that leaves the least, and Limit its cores.
	Name  string
	Limit int
	// Cores is what one node counts.
	Cores int
	// Nodes is how many more nodes the pool may have now, and Most how many it
	// may ever have.
	Nodes, Most int
}

// SetQuota limits the cores of all nodes of the pools that name the quota, or
// lifts the limit when cores is negative. Nodes that are there stay. It is part
// of the caller's transaction.
func (m *Manager) SetQuota(tx store.Tx, name string, cores int) error {
	if name == "" {
		return &InvalidError{"quota", "has no name"}
	}
	var err error
	if cores < 0 {
		err = tx.Delete(bucketQuotas, name)
	} else {
		err = tx.Put(bucketQuotas, name, strconv.AppendInt(nil, int64(cores), 10))
	}
	if err != nil {
		return fmt.Errorf("set quota: %w", err)
	}
	return m.changed(tx, changeQuota, name)
}

// Quotas returns the cores of the quotas that are limited, by name.
func (m *Manager) Quotas(tx store.Tx) (map[string]int, error) {
	out := map[string]int{}
	for e, err := range tx.Scan(bucketQuotas, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("list quotas: %w", err)
		}
		if out[e.Key], err = strconv.Atoi(string(e.Value)); err != nil {
			return nil, fmt.Errorf("list quotas: %s: %w", e.Key, err)
		}
	}
	return out, nil
}

// withinQuotas refuses so many nodes of a pool if no state of the others would
// let it have them.
func withinQuotas(tx store.Tx, p *Pool, nodes int) error {
	for _, name := range p.Quotas {
		b, err := tx.Get(bucketQuotas, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read quota: %w", err)
		}
		limit, err := strconv.Atoi(string(b))
		if err != nil {
			return fmt.Errorf("read quota %s: %w", name, err)
		}
		if cores := nodes * p.VCPUs; cores > limit {
			return &QuotaError{Quota: lastSegment(name), Limit: limit, Nodes: nodes, Cores: cores}
		}
	}
	return nil
}

// quotaRoom is what the quotas leave to a pool, or nil when none limits it. A
// preempted node is only shown, and has no cores any more.
func (w *world) quotaRoom(p *poolRecord) *QuotaRoom {
	var room *QuotaRoom
	for _, name := range p.Quotas {
		limit, ok := w.quotas[name]
		if !ok || p.VCPUs < 1 {
			continue
		}
		used := 0
		for _, other := range w.pools {
			if !other.counts(name) {
				continue
			}
			for _, n := range w.inPool[other.ID] {
				if n.State != NodePreempted {
					used += other.VCPUs
				}
			}
		}
		nodes := max(0, limit-used) / p.VCPUs
		if room == nil || nodes < room.Nodes {
			room = &QuotaRoom{Name: name, Limit: limit, Cores: p.VCPUs, Nodes: nodes, Most: limit / p.VCPUs}
		}
	}
	return room
}

func (p *Pool) counts(quota string) bool {
	for _, name := range p.Quotas {
		if strings.EqualFold(name, quota) {
			return true
		}
	}
	return false
}

// quotaChanged has the pools planned that may have more or fewer nodes now.
func (w *world) quotaChanged() {
	if len(w.quotas) == 0 {
		return
	}
	for id, p := range w.pools {
		if len(p.Quotas) > 0 {
			w.dirty[id] = true
		}
	}
}
