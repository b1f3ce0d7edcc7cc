package queue

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The buckets of the store. The ID is of an instance of a queue, so that a queue
// made again under a name starts empty at once. A time is 16 hex digits of Unix
// nanoseconds.
const (
	bucketQueues  = "queue.queue"   // <account uid>/<name> → queueRec
	bucketVisible = "queue.visible" // <queue ID>/<time visible>/<sequence> → messageRec
	bucketByID    = "queue.id"      // <queue ID>/<message ID> → key in bucketVisible
	bucketExpiry  = "queue.expiry"  // <queue ID>/<time of expiry>/<message ID>: of what expires
	bucketGarbage = "queue.garbage" // <queue ID>: its messages are to go
)

type queueRec struct {
	Name     string                 `json:"name"`
	ID       string                 `json:"id"`
	Metadata map[string]string      `json:"meta,omitempty"`
	Policies []storage.AccessPolicy `json:"policies,omitempty"`
	// Messages counts those that are not deleted, Sequence those ever put.
	Messages int    `json:"n"`
	Sequence uint64 `json:"seq"`
}

type messageRec struct {
	ID       string `json:"id"`
	Text     string `json:"text"`
	Inserted int64  `json:"in"`            // Unix nanoseconds
	Expires  int64  `json:"exp,omitempty"` // Unix nanoseconds; 0 is never
	Visible  int64  `json:"vis"`           // Unix nanoseconds
	Receipt  string `json:"pop"`
	Dequeued int    `json:"deq,omitempty"`
	Sequence uint64 `json:"seq"`
}

// engine keeps the queues.
type engine struct {
	store  store.Store
	clock  clock.Clock
	reaper *storage.Reaper
}

func newEngine(st store.Store, c clock.Clock) *engine {
	return &engine{store: st, clock: c, reaper: storage.NewReaper(c)}
}

func timeKey(ns int64) string { return fmt.Sprintf("%016x", ns) }

func visibleKey(queue string, m *messageRec) string {
	return fmt.Sprintf("%s/%016x/%016x", queue, m.Visible, m.Sequence)
}

func find(tx store.Tx, uid, name string) (*queueRec, error) {
	q, err := storage.Load[queueRec](tx, bucketQueues, uid+"/"+name)
	if err == nil && q == nil {
		err = storage.Refuse("QueueNotFound")
	}
	return q, err
}

func (e *engine) queue(ctx context.Context, uid, name string) (q *queueRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		q, err = find(tx, uid, name)
		return err
	})
	return q, err
}

// createIn makes a queue. It reports false when one of the same metadata is there.
func createIn(tx store.Tx, uid, name string, meta map[string]string) (made bool, err error) {
	old, err := storage.Load[queueRec](tx, bucketQueues, uid+"/"+name)
	if err != nil {
		return false, err
	}
	if old != nil {
		if maps.Equal(old.Metadata, meta) {
			return false, nil
		}
		return false, storage.Refuse("QueueAlreadyExists")
	}
	return true, storage.Save(tx, bucketQueues, uid+"/"+name, &queueRec{Name: name, ID: storage.RandomHex(12), Metadata: meta})
}

// change applies f to a queue.
func (e *engine) change(ctx context.Context, uid, name string, f func(store.Tx, *queueRec) error) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		q, err := find(tx, uid, name)
		if err != nil {
			return err
		}
		if err := f(tx, q); err != nil {
			return err
		}
		return storage.Save(tx, bucketQueues, uid+"/"+name, q)
	})
}

// removeIn removes a queue. Its messages are gone at once; their space comes back
// in the background.
func removeIn(tx store.Tx, uid, name string) error {
	q, err := find(tx, uid, name)
	if err != nil {
		return err
	}
	if err := tx.Put(bucketGarbage, q.ID, nil); err != nil {
		return err
	}
	return tx.Delete(bucketQueues, uid+"/"+name)
}

// list returns up to limit queues behind after, and where the next page begins.
func listIn(tx store.Tx, uid, prefix, after string, limit int) (list []*queueRec, next string, err error) {
	r := store.Range{Prefix: uid + "/" + prefix, Limit: limit + 1}
	if after != "" {
		r.After = uid + "/" + after
	}
	for row, err := range tx.Scan(bucketQueues, r) {
		if err != nil {
			return nil, "", err
		}
		q, err := storage.Decode[queueRec](bucketQueues, row.Key, row.Value)
		if err != nil {
			return nil, "", err
		}
		if len(list) == limit {
			return list, list[limit-1].Name, nil
		}
		list = append(list, q)
	}
	return list, "", nil
}

// purgeBatch is how many messages one transaction removes in passing.
const purgeBatch = 64

// purge removes messages that have expired.
func purge(tx store.Tx, q *queueRec, now int64) (n int, err error) {
	var keys []string
	end := q.ID + "/" + timeKey(now+1)
	for row, err := range tx.Scan(bucketExpiry, store.Range{Prefix: q.ID + "/", Limit: purgeBatch}) {
		if err != nil {
			return 0, err
		}
		if row.Key >= end {
			break
		}
		keys = append(keys, row.Key)
	}
	for _, k := range keys {
		id := k[strings.LastIndexByte(k, '/')+1:]
		key, m, err := message(tx, q, id)
		if err != nil {
			return 0, err
		}
		if m == nil {
			return 0, fmt.Errorf("queue %s: message %s expires and is not there", q.ID, id)
		}
		if err := drop(tx, q, key, m); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// message returns a message and the key of its row, nil if there is none.
func message(tx store.Tx, q *queueRec, id string) (key string, m *messageRec, err error) {
	b, err := tx.Get(bucketByID, q.ID+"/"+id)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	m, err = storage.Load[messageRec](tx, bucketVisible, string(b))
	return string(b), m, err
}

func drop(tx store.Tx, q *queueRec, key string, m *messageRec) error {
	q.Messages--
	if m.Expires != 0 {
		if err := tx.Delete(bucketExpiry, q.ID+"/"+timeKey(m.Expires)+"/"+m.ID); err != nil {
			return err
		}
	}
	if err := tx.Delete(bucketByID, q.ID+"/"+m.ID); err != nil {
		return err
	}
	return tx.Delete(bucketVisible, key)
}

func keep(tx store.Tx, q *queueRec, m *messageRec) error {
	key := visibleKey(q.ID, m)
	if err := storage.Save(tx, bucketVisible, key, m); err != nil {
		return err
	}
	return tx.Put(bucketByID, q.ID+"/"+m.ID, []byte(key))
}

// add puts a message that is visible after delay and expires after ttl, never if
// that is 0.
func (e *engine) add(ctx context.Context, uid, name, text string, delay, ttl time.Duration) (m *messageRec, err error) {
	err = e.change(ctx, uid, name, func(tx store.Tx, q *queueRec) error {
		now := e.clock.Now()
		if _, err := purge(tx, q, now.UnixNano()); err != nil {
			return err
		}
		q.Sequence++
		q.Messages++
		m = &messageRec{ID: storage.RequestID(), Text: text, Inserted: now.UnixNano(), Visible: now.Add(delay).UnixNano(),
			Receipt: newReceipt(), Sequence: q.Sequence}
		if ttl > 0 {
			m.Expires = now.Add(ttl).UnixNano()
			if err := tx.Put(bucketExpiry, q.ID+"/"+timeKey(m.Expires)+"/"+m.ID, nil); err != nil {
				return err
			}
		}
		return keep(tx, q, m)
	})
	return m, err
}

func newReceipt() string { return base64.StdEncoding.EncodeToString([]byte(storage.RandomHex(9))) }

// visible returns up to n messages that can be had now, oldest first.
func visible(tx store.Tx, q *queueRec, now int64, n int) (keys []string, list []*messageRec, err error) {
	end := q.ID + "/" + timeKey(now+1)
	for row, err := range tx.Scan(bucketVisible, store.Range{Prefix: q.ID + "/"}) {
		if err != nil {
			return nil, nil, err
		}
		if row.Key >= end || len(list) == n {
			break
		}
		m, err := storage.Decode[messageRec](bucketVisible, row.Key, row.Value)
		if err != nil {
			return nil, nil, err
		}
		if m.Expires != 0 && m.Expires <= now {
			continue
		}
		keys, list = append(keys, row.Key), append(list, m)
	}
	return keys, list, nil
}

// take gives up to n messages to a reader, from whom on they are invisible for
// hidden.
func (e *engine) take(ctx context.Context, uid, name string, n int, hidden time.Duration) (list []*messageRec, err error) {
	err = e.change(ctx, uid, name, func(tx store.Tx, q *queueRec) error {
		now := e.clock.Now()
		if _, err := purge(tx, q, now.UnixNano()); err != nil {
			return err
		}
		var keys []string
		if keys, list, err = visible(tx, q, now.UnixNano(), n); err != nil {
			return err
		}
		for i, m := range list {
			m.Dequeued++
			if err := e.hide(tx, q, keys[i], m, now.Add(hidden)); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// hide makes a message visible at a time, behind those that wait for it already.
func (e *engine) hide(tx store.Tx, q *queueRec, key string, m *messageRec, until time.Time) error {
	if err := tx.Delete(bucketVisible, key); err != nil {
		return err
	}
	q.Sequence++
	m.Visible, m.Receipt, m.Sequence = until.UnixNano(), newReceipt(), q.Sequence
	return keep(tx, q, m)
}

// peek returns up to n messages and changes nothing.
func (e *engine) peek(ctx context.Context, uid, name string, n int) (list []*messageRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		q, err := find(tx, uid, name)
		if err != nil {
			return err
		}
		_, list, err = visible(tx, q, e.clock.Now().UnixNano(), n)
		return err
	})
	return list, err
}

// owned returns a message to whom has its receipt.
func (e *engine) owned(tx store.Tx, q *queueRec, id, receipt string) (string, *messageRec, error) {
	key, m, err := message(tx, q, id)
	switch {
	case err != nil:
		return "", nil, err
	case m == nil, m.Expires != 0 && m.Expires <= e.clock.Now().UnixNano():
		return "", nil, storage.Refuse("MessageNotFound")
	case m.Receipt != receipt:
		return "", nil, storage.Refuse("PopReceiptMismatch")
	}
	return key, m, nil
}

func (e *engine) update(ctx context.Context, uid, name, id, receipt string, hidden time.Duration, text *string) (m *messageRec, err error) {
	err = e.change(ctx, uid, name, func(tx store.Tx, q *queueRec) error {
		var key string
		if key, m, err = e.owned(tx, q, id, receipt); err != nil {
			return err
		}
		until := e.clock.Now().Add(hidden)
		if m.Expires != 0 && until.UnixNano() > m.Expires {
			return storage.BadQuery("visibilitytimeout", fmt.Sprint(int(hidden/time.Second)), "The message expires before.")
		}
		if text != nil {
			m.Text = *text
		}
		return e.hide(tx, q, key, m, until)
	})
	return m, err
}

func (e *engine) remove(ctx context.Context, uid, name, id, receipt string) error {
	return e.change(ctx, uid, name, func(tx store.Tx, q *queueRec) error {
		key, m, err := e.owned(tx, q, id, receipt)
		if err != nil {
			return err
		}
		return drop(tx, q, key, m)
	})
}

// clear removes all messages at once, by giving the queue a new ID.
func (e *engine) clear(ctx context.Context, uid, name string) error {
	err := e.change(ctx, uid, name, func(tx store.Tx, q *queueRec) error {
		if err := tx.Put(bucketGarbage, q.ID, nil); err != nil {
			return err
		}
		q.ID, q.Messages = storage.RandomHex(12), 0
		return nil
	})
	e.reaper.Kick()
	return err
}
