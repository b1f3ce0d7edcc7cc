package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// reap frees the space of what is deleted and of what has expired, until ctx ends:
// queues that nobody uses are looked at every hour for messages that have.
func (e *engine) reap(ctx context.Context, report func(error)) {
	e.reaper.Run(ctx, report, e.reapGarbage, e.expire)
}

// reapGarbage removes the messages of all queues that are gone.
func (e *engine) reapGarbage(ctx context.Context) error {
	return storage.Sweep(ctx, e.store, purgeBatch, bucketGarbage, bucketVisible, bucketByID, bucketExpiry)
}

// expire removes the messages of all queues that have expired, a batch to a
// transaction.
func (e *engine) expire(ctx context.Context) error {
	after := ""
	for {
		done := false
		err := e.store.Update(ctx, func(tx store.Tx) error {
			key := ""
			var q *queueRec
			for row, err := range tx.Scan(bucketQueues, store.Range{After: after, Limit: 1}) {
				if err != nil {
					return err
				}
				if q, err = storage.Decode[queueRec](bucketQueues, row.Key, row.Value); err != nil {
					return err
				}
				key = row.Key
			}
			if done = q == nil; done {
				return nil
			}
			n, err := purge(tx, q, e.clock.Now().UnixNano())
			if err != nil {
				return err
			}
			if n == 0 {
				after = key
				return nil
			}
			return storage.Save(tx, bucketQueues, key, q)
		})
		if err != nil {
			return fmt.Errorf("remove expired messages: %w", err)
		}
		if done {
			return nil
		}
	}
}

// ForgetIn removes the queues of an account instance that is no more. Reclaim
// frees their space once that is durable.
func (s *Service) ForgetIn(tx store.Tx, account string) error {
	var names []string
	for row, err := range tx.Scan(bucketQueues, store.Range{Prefix: account + "/"}) {
		if err != nil {
			return err
		}
		names = append(names, strings.TrimPrefix(row.Key, account+"/"))
	}
	for _, n := range names {
		if err := removeIn(tx, account, n); err != nil {
			return err
		}
	}
	return nil
}

// Reclaim tells that a transaction which removed something is durable.
func (s *Service) Reclaim() { s.eng.reaper.Kick() }

// Check finds what is not as it must be in the queues of the store.
func Check(ctx context.Context, st store.Store) (queues, messages int, problems []string, err error) {
	err = st.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketQueues, store.Range{}) {
			if err != nil {
				return err
			}
			q, err := storage.Decode[queueRec](bucketQueues, row.Key, row.Value)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			queues++
			n := 0
			for row, err := range tx.Scan(bucketVisible, store.Range{Prefix: q.ID + "/"}) {
				if err != nil {
					return err
				}
				n++
				m, err := storage.Decode[messageRec](bucketVisible, row.Key, row.Value)
				if err != nil {
					problems = append(problems, err.Error())
					continue
				}
				at, err := tx.Get(bucketByID, q.ID+"/"+m.ID)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				if string(at) != row.Key || visibleKey(q.ID, m) != row.Key {
					problems = append(problems, fmt.Sprintf("queue %s: message %s is not where its ID says", q.Name, m.ID))
				}
			}
			if n != q.Messages {
				problems = append(problems, fmt.Sprintf("queue %s: has %d messages and counts %d", q.Name, n, q.Messages))
			}
			messages += n
		}
		return nil
	})
	return queues, messages, problems, err
}
