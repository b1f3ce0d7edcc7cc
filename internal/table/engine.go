package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The buckets of the store. The ID is of an instance of a table, so that a table
// made again under a name starts empty at once.
const (
	bucketTables   = "table.table"   // <account uid>/<name in lower case> → tableRec
	bucketEntities = "table.entity"  // <table ID>/<PartitionKey>\0<RowKey> → entity
	bucketGarbage  = "table.garbage" // <table ID>: its entities are to go
)

// keySep stands between the keys of an entity. No key has it.
const keySep = "\x00"

type tableRec struct {
	Name     string                 `json:"name"`
	ID       string                 `json:"id"`
	Policies []storage.AccessPolicy `json:"policies,omitempty"`
}

// entity is a row of a table.
type entity struct {
	pk, rk string
	// Stamp is when it was last changed, in units of 100 ns since 1970. No two
	// changes have the same.
	Stamp      int64      `json:"at"`
	Properties []property `json:"p,omitempty"`
}

func (e *entity) key() string { return e.pk + keySep + e.rk }

// get returns a property, also those that every entity has.
func (e *entity) get(name string) (value, bool) {
	switch name {
	case "PartitionKey":
		return value{Text: e.pk}, true
	case "RowKey":
		return value{Text: e.rk}, true
	case "Timestamp":
		return value{Kind: kindDateTime, Text: e.timestamp()}, true
	}
	for i := range e.Properties {
		if e.Properties[i].Name == name {
			return e.Properties[i].value, true
		}
	}
	return value{}, false
}

func (e *entity) time() time.Time { return time.Unix(e.Stamp/1e7, e.Stamp%1e7*100).UTC() }

func (e *entity) timestamp() string { return e.time().Format("2006-01-02T15:04:05.0000000Z") }

func (e *entity) etag() string {
	return `W/"datetime'` + strings.ReplaceAll(e.timestamp(), ":", "%3A") + `'"`
}

// merge takes over the properties that n has.
func (e *entity) merge(n *entity) {
	for _, p := range n.Properties {
		found := false
		for i := range e.Properties {
			if e.Properties[i].Name == p.Name {
				e.Properties[i], found = p, true
			}
		}
		if !found {
			e.Properties = append(e.Properties, p)
		}
	}
}

func decodeEntity(key string, b []byte) (*entity, error) {
	e := &entity{}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("decode entity %q: %w", key, err)
	}
	return e, nil
}

// engine keeps the tables.
type engine struct {
	store  store.Store
	clock  clock.Clock
	last   atomic.Int64
	reaper *storage.Reaper
}

func newEngine(st store.Store, c clock.Clock) *engine {
	return &engine{store: st, clock: c, reaper: storage.NewReaper(c)}
}

// stamp returns the present, later than any it returned before.
func (e *engine) stamp() int64 {
	want := e.clock.Now().UnixNano() / 100
	for {
		last := e.last.Load()
		next := max(want, last+1)
		if e.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

func tableKey(uid, name string) string { return uid + "/" + strings.ToLower(name) }

func findTable(tx store.Tx, uid, name string) (*tableRec, error) {
	t, err := loadTable(tx, uid, name)
	if err == nil && t == nil {
		err = storage.Refuse("TableNotFound")
	}
	return t, err
}

// loadTable returns a table, nil if there is none of the name.
func loadTable(tx store.Tx, uid, name string) (*tableRec, error) {
	b, err := tx.Get(bucketTables, tableKey(uid, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeTable(name, b)
}

func decodeTable(key string, b []byte) (*tableRec, error) {
	t := &tableRec{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("decode table %q: %w", key, err)
	}
	return t, nil
}

func saveTable(tx store.Tx, uid string, t *tableRec) error {
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode table %s: %w", t.Name, err)
	}
	return tx.Put(bucketTables, tableKey(uid, t.Name), b)
}

func (e *engine) table(ctx context.Context, uid, name string) (t *tableRec, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		t, err = findTable(tx, uid, name)
		return err
	})
	return t, err
}

func createIn(tx store.Tx, uid, name string) error {
	old, err := loadTable(tx, uid, name)
	if err != nil {
		return err
	}
	if old != nil {
		return storage.Refuse("TableAlreadyExists")
	}
	return saveTable(tx, uid, &tableRec{Name: name, ID: storage.RandomHex(12)})
}

// removeIn removes a table. Its entities are gone at once; their space comes back
// in the background.
func removeIn(tx store.Tx, uid, name string) error {
	t, err := loadTable(tx, uid, name)
	if err != nil {
		return err
	}
	if t == nil {
		return storage.Refuse("ResourceNotFound")
	}
	if err := tx.Put(bucketGarbage, t.ID, nil); err != nil {
		return err
	}
	return tx.Delete(bucketTables, tableKey(uid, name))
}

// listIn returns up to limit tables behind the name after.
func listIn(tx store.Tx, uid, after string, limit int) (list []*tableRec, next string, err error) {
	r := store.Range{Prefix: uid + "/"}
	if after != "" {
		r.After = tableKey(uid, after)
	}
	for row, err := range tx.Scan(bucketTables, r) {
		if err != nil {
			return nil, "", err
		}
		t, err := decodeTable(row.Key, row.Value)
		if err != nil {
			return nil, "", err
		}
		if len(list) == limit {
			return list, list[limit-1].Name, nil
		}
		list = append(list, t)
	}
	return list, "", nil
}

// The ways to write an entity.
type writeMode int

const (
	insert writeMode = iota
	replace
	merge
	insertOrReplace
	insertOrMerge
	remove
)

// write is a change of one entity.
type write struct {
	mode writeMode
	ent  *entity
	// match is the ETag that the entity must have, "*" for any, of the modes that
	// change what is there.
	match string
}

// maxEntity is the most bytes of an entity.
const maxEntity = 1 << 20

// apply does a write in a transaction and returns the entity as it is then.
func (e *engine) apply(tx store.Tx, t *tableRec, w write) (*entity, error) {
	key := t.ID + "/" + w.ent.key()
	var old *entity
	b, err := tx.Get(bucketEntities, key)
	switch {
	case err == nil:
		if old, err = decodeEntity(key, b); err != nil {
			return nil, err
		}
		old.pk, old.rk = w.ent.pk, w.ent.rk
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	switch w.mode {
	case insert:
		if old != nil {
			return nil, storage.Refuse("EntityAlreadyExists")
		}
	case replace, merge, remove:
		if old == nil {
			return nil, storage.Refuse("ResourceNotFound")
		}
		if w.match != "*" && w.match != old.etag() {
			return nil, storage.Refuse("UpdateConditionNotSatisfied")
		}
	}
	if w.mode == remove {
		return old, tx.Delete(bucketEntities, key)
	}
	now := *w.ent
	if old != nil && (w.mode == merge || w.mode == insertOrMerge) {
		now = *old
		now.merge(w.ent)
	}
	// a change cannot have the time of the one before, even of an earlier process
	now.Stamp = e.stamp()
	if old != nil && now.Stamp <= old.Stamp {
		now.Stamp = old.Stamp + 1
	}
	if err := now.check(); err != nil {
		return nil, err
	}
	if b, err = json.Marshal(&now); err != nil {
		return nil, fmt.Errorf("encode entity %q: %w", key, err)
	}
	return &now, tx.Put(bucketEntities, key, b)
}

// check holds an entity to the limits of its size.
func (e *entity) check() error {
	if len(e.Properties) > 252 {
		return storage.Refuse("TooManyProperties")
	}
	n := 4 + utf16Size(e.pk) + utf16Size(e.rk)
	for i := range e.Properties {
		n += e.Properties[i].size()
	}
	if n > maxEntity {
		return storage.Refuse("EntityTooLarge")
	}
	return nil
}

// find returns an entity.
func (e *engine) find(ctx context.Context, uid, table, pk, rk string) (ent *entity, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		t, err := findTable(tx, uid, table)
		if err != nil {
			return err
		}
		key := t.ID + "/" + pk + keySep + rk
		b, err := tx.Get(bucketEntities, key)
		if errors.Is(err, store.ErrNotFound) {
			return storage.Refuse("ResourceNotFound")
		}
		if err != nil {
			return err
		}
		if ent, err = decodeEntity(key, b); err == nil {
			ent.pk, ent.rk = pk, rk
		}
		return err
	})
	return ent, err
}
