package compute

import (
	"context"
	"errors"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// PutPool creates a pool, or changes one in place: running items go on, and the
// number of nodes follows the new bounds. Nodes of another VM size are replaced
// as they become free. It is part of the caller's transaction. Errors:
// *InvalidError, *QuotaError.
func (m *Manager) PutPool(tx store.Tx, p Pool) error {
	if err := p.validate(); err != nil {
		return err
	}
	rec, err := m.pools.Get(tx, p.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if err := withinQuotas(tx, &p, max(1, p.Min)); err != nil {
			return err
		}
		rec = &poolRecord{Allocation: Steady, AllocationSince: m.clock.Now()}
	case err != nil:
		return fmt.Errorf("put pool: %w", err)
	case rec.VMSize != p.VMSize:
		if err := m.drain(tx, p.ID); err != nil {
			return fmt.Errorf("put pool: %w", err)
		}
	}
	rec.Pool = p
	rec.Deleting = false
	if err := m.pools.Put(tx, rec); err != nil {
		return fmt.Errorf("put pool: %w", err)
	}
	return m.changed(tx, changePool, p.ID)
}

// DeletePool ends the pool's items, as failed, and stops its nodes. PoolStatus
// shows the pool until that is done. PutPool makes a new pool of that name at any
// time. Deleting what is not there is not an error. It is part of the caller's
// transaction.
func (m *Manager) DeletePool(tx store.Tx, poolID string) error {
	rec, err := m.pools.Get(tx, poolID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete pool: %w", err)
	}
	for it, err := range m.items.By(tx, indexLive, store.Range{Prefix: store.Exact(poolID)}) {
		if err != nil {
			return fmt.Errorf("delete pool: %w", err)
		}
		if err := m.stopItem(tx, it, Stop{Cause: StopPool, Reason: "The compute was deleted."}); err != nil {
			return fmt.Errorf("delete pool: %w", err)
		}
	}
	if err := m.drain(tx, poolID); err != nil {
		return fmt.Errorf("delete pool: %w", err)
	}
	rec.Deleting = true
	if err := m.pools.Put(tx, rec); err != nil {
		return fmt.Errorf("delete pool: %w", err)
	}
	return m.changed(tx, changePool, poolID)
}

func (m *Manager) drain(tx store.Tx, poolID string) error {
	for n, err := range m.nodes.By(tx, indexPool, store.Range{Prefix: store.Exact(poolID)}) {
		if err != nil {
			return err
		}
		n.Drain = true
		if err := m.nodes.Put(tx, n); err != nil {
			return err
		}
		if err := m.changed(tx, changeNode, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// Submit puts an item in its pool's queue. It is part of the caller's
// transaction: the item is there when that commits, and never otherwise. Errors:
// ErrPoolNotFound, ErrItemExists, *TooManyNodesError, *QuotaError, *InvalidError.
func (m *Manager) Submit(tx store.Tx, item Item) error {
	pool, err := m.pools.Get(tx, item.PoolID)
	if errors.Is(err, store.ErrNotFound) || (err == nil && pool.Deleting) {
		return fmt.Errorf("%w: %s", ErrPoolNotFound, item.PoolID)
	}
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	if err := item.validate(&pool.Pool); err != nil {
		return err
	}
	if err := withinQuotas(tx, &pool.Pool, item.Nodes); err != nil {
		return err
	}
	switch _, err := m.items.Get(tx, item.ID); {
	case err == nil:
		return fmt.Errorf("%w: %s", ErrItemExists, item.ID)
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("submit: %w", err)
	}
	seq, err := nextItemSeq(tx)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	now := m.clock.Now()
	if item.SubmittedAt.IsZero() {
		item.SubmittedAt = now
	}
	item.Attempt = 0
	if err := m.items.Put(tx, &itemRecord{Item: item, Seq: seq, Phase: PhaseQueued, Since: now}); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	return m.changed(tx, changeItem, item.ID)
}

// Cancel asks that an item end and returns once the request is durable. What it
// does depends on the phase: a queued item leaves the queue; preparing stops;
// running tasks get a polite signal and are killed after the grace period; an
// item that is finalizing has ended by itself and keeps its outcome. In the
// first three cases the item ends as Canceled. Errors: ErrItemNotFound,
// ErrItemDone.
func (m *Manager) Cancel(ctx context.Context, itemID string) error {
	return m.store.Update(ctx, func(tx store.Tx) error { return m.CancelIn(tx, itemID) })
}

// CancelIn is Cancel as part of the caller's transaction.
func (m *Manager) CancelIn(tx store.Tx, itemID string) error {
	it, err := m.items.Get(tx, itemID)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s", ErrItemNotFound, itemID)
	}
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	if it.Phase == PhaseDone {
		return fmt.Errorf("%w: %s", ErrItemDone, itemID)
	}
	if err := m.stopItem(tx, it, Stop{Cause: StopCanceled, Reason: "The job was canceled."}); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	return nil
}

// stopItem records why an item must end, unless it is ending already. An item
// that only waits to be queued again after a preemption ends for the new cause.
func (m *Manager) stopItem(tx store.Tx, it *itemRecord, why Stop) error {
	if it.Phase == PhaseFinalizing || (it.Stop != nil && it.Stop.Cause != StopPreempted) {
		return nil
	}
	it.Stop = &why
	if err := m.items.Put(tx, it); err != nil {
		return err
	}
	return m.changed(tx, changeItem, it.ID)
}

// Forget removes the record of an item that is done, so that its ID may be
// used again. An unknown item is not an error; one that is not done is.
func (m *Manager) Forget(tx store.Tx, itemID string) error {
	it, err := m.items.Get(tx, itemID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if it.Phase != PhaseDone {
		return &InvalidError{"item", "has not ended"}
	}
	return m.items.Delete(tx, itemID)
}

// changed wakes the loop. The transaction may not have committed by then, but
// the loop reads changes in a write transaction of its own, and those run one
// after another: it sees this one's writes or they never happened.
func (m *Manager) changed(tx store.Tx, kind changeKind, id string) error {
	if err := markChanged(tx, kind, id); err != nil {
		return err
	}
	m.kick()
	return nil
}
