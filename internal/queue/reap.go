package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// reapEvery is how often queues that nobody uses are looked at for messages that
// have expired.
const reapEvery = time.Hour

// reap frees the space of what is deleted and of what has expired, until ctx ends.
func (e *engine) reap(ctx context.Context, report func(error)) {
	due := make(chan struct{}, 1)
	timer := e.clock.AfterFunc(reapEvery, func() { due <- struct{}{} })
	defer func() { timer.Stop() }()
	for {
		if err := e.reapGarbage(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-due:
			if err := e.expire(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
			timer = e.clock.AfterFunc(reapEvery, func() { due <- struct{}{} })
		}
	}
}

// reapGarbage removes the messages of all queues that are gone.
func (e *engine) reapGarbage(ctx context.Context) error {
	for {
		left := false
		err := e.store.Update(ctx, func(tx store.Tx) error {
			left = false
			id := ""
			for row, err := range tx.Scan(bucketGarbage, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				id, left = row.Key, true
			}
			if !left {
				return nil
			}
			n := 0
			for _, bucket := range []string{bucketVisible, bucketByID, bucketExpiry} {
				var keys []string
				for row, err := range tx.Scan(bucket, store.Range{Prefix: id + "/", Limit: purgeBatch}) {
					if err != nil {
						return err
					}
					keys = append(keys, row.Key)
				}
				for _, k := range keys {
					if err := tx.Delete(bucket, k); err != nil {
						return err
					}
				}
				n += len(keys)
			}
			if n > 0 {
				return nil
			}
			return tx.Delete(bucketGarbage, id)
		})
		if err != nil {
			return fmt.Errorf("free space of queues: %w", err)
		}
		if !left {
			return nil
		}
	}
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
				if q, err = decode[queueRec](bucketQueues, row.Key, row.Value); err != nil {
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
			return put(tx, bucketQueues, key, q)
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
func (s *Service) Reclaim() { s.eng.kick() }

// Check finds what is not as it must be in the queues of the store.
func Check(ctx context.Context, st store.Store) (queues, messages int, problems []string, err error) {
	err = st.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketQueues, store.Range{}) {
			if err != nil {
				return err
			}
			q, err := decode[queueRec](bucketQueues, row.Key, row.Value)
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
				m, err := decode[messageRec](bucketVisible, row.Key, row.Value)
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
