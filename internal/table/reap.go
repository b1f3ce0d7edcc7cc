package table

import (
	"context"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// reapBatch is how many entities one transaction removes.
const reapBatch = 256

// reap frees the space of tables that are deleted, until ctx ends.
func (e *engine) reap(ctx context.Context, report func(error)) {
	e.reaper.Run(ctx, report, e.reapGarbage, nil)
}

// reapGarbage removes the entities of all tables that are gone.
func (e *engine) reapGarbage(ctx context.Context) error {
	return storage.Sweep(ctx, e.store, reapBatch, bucketGarbage, bucketEntities)
}

// ForgetIn removes the tables of an account instance that is no more. Reclaim
// frees their space once that is durable.
func (s *Service) ForgetIn(tx store.Tx, account string) error {
	var names []string
	for row, err := range tx.Scan(bucketTables, store.Range{Prefix: account + "/"}) {
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

// Check reads every entity in the store and says what is wrong with some.
func Check(ctx context.Context, st store.Store) (tables, entities int, problems []string, err error) {
	err = st.View(ctx, func(tx store.Tx) error {
		known := map[string]bool{}
		for row, err := range tx.Scan(bucketTables, store.Range{}) {
			if err != nil {
				return err
			}
			t, err := decodeTable(row.Key, row.Value)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			known[t.ID] = true
			tables++
		}
		for row, err := range tx.Scan(bucketGarbage, store.Range{}) {
			if err != nil {
				return err
			}
			known[row.Key] = true
		}
		for row, err := range tx.Scan(bucketEntities, store.Range{}) {
			if err != nil {
				return err
			}
			entities++
			id, key, _ := strings.Cut(row.Key, "/")
			if !known[id] || !strings.Contains(key, keySep) {
				problems = append(problems, fmt.Sprintf("entity %q is of no table", row.Key))
			}
			if _, err := decodeEntity(row.Key, row.Value); err != nil {
				problems = append(problems, err.Error())
			}
		}
		return nil
	})
	return tables, entities, problems, err
}
