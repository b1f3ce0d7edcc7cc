package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Resource is one stored ARM resource.
type Resource struct {
	// ID in Azure's casing for types and the creator's for names.
	ID string `json:"id"`
	// UID tells this resource from an earlier one of the same ID.
	UID string `json:"uid"`
	// Body is the document as clients see it, without id, name and type.
	Body Doc `json:"body"`
	// Private is what the service knows and no client sees.
	Private Doc `json:"-"`
	// Sealed is Private, encrypted.
	Sealed []byte `json:"sealed,omitempty"`
	// Created and Modified are times on the injected clock, with who did it.
	Created    time.Time `json:"created"`
	CreatedBy  Author    `json:"createdBy"`
	Modified   time.Time `json:"modified"`
	ModifiedBy Author    `json:"modifiedBy"`
	// ETag changes with every write.
	ETag string `json:"etag"`
	// ReadyAt is when a --realistic operation is over; until then the resource
	// is in State.
	ReadyAt time.Time `json:"readyAt,omitzero"`
	State   string    `json:"state,omitempty"`
	// Operation is the ID of the long-running operation under way or last done.
	Operation string `json:"operation,omitempty"`

	// filled in when put, so that indexes need no type registry
	IndexEntries []string `json:"index,omitempty"`
	Sort         string   `json:"sort,omitempty"`
	Tracked      bool     `json:"tracked,omitempty"`
}

// Author is who created or changed a resource.
type Author struct {
	Name string `json:"name"`
	Type string `json:"type"` // "User", "Application"
}

// ParsedID is the resource's ID, parsed.
func (r *Resource) ParsedID() ID {
	id, err := ParseID(r.ID)
	if err != nil {
		return ID{} // stored IDs were parsed before they were stored
	}
	return id
}

// Name is the resource's own name.
func (r *Resource) Name() string { return r.ParsedID().Name() }

// Sealer encrypts what must not lie on disk in the clear.
type Sealer interface {
	// Seal encrypts and authenticates plain.
	Seal(plain []byte) ([]byte, error)
	// Open is the inverse of Seal. It fails on anything Seal did not make.
	Open(sealed []byte) ([]byte, error)
}

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seal.Place {
	sealed := func(r *Resource) []*[]byte { return []*[]byte{&r.Sealed} }
	return []seal.Place{seal.In(resourceBucket, sealed), seal.In(asideBucket, sealed)}
}

const (
	resourceBucket = "resource"
	memoryBucket   = "memory/" // and the name of a Memory
)

// Resources is the resources as the store keeps them. It knows no hooks: use
// Kernel for changes that clients ask for, and Resources for what a service
// does to its own.
type Resources struct {
	types  *registry
	sealer Sealer
	c      store.Collection[Resource]
	aside  store.Collection[Resource]
}

func newResources(types *registry, sealer Sealer) *Resources {
	s := &Resources{types: types, sealer: sealer, aside: asideCollection()}
	s.c = store.Collection[Resource]{
		Name: resourceBucket,
		Key:  func(r *Resource) string { return Key(r.ID) },
		Indexes: map[string]func(*Resource) []string{
			// the collection a resource is listed in: parent and type
			"collection": func(r *Resource) []string {
				id := r.ParsedID()
				return []string{collectionEntry(id.Parent(), id.Type()) + r.Sort}
			},
			// top-level resources of a type in a subscription
			"type": func(r *Resource) []string {
				id := r.ParsedID()
				if id.ResourceGroup == "" || len(id.Providers) != 1 || len(id.Providers[0].Types) != 1 {
					return nil
				}
				return []string{typeEntry(id.Subscription, id.Type())}
			},
			// tracked resources of a resource group
			"group": func(r *Resource) []string {
				g, ok := r.ParsedID().Group()
				if !r.Tracked || !ok {
					return nil
				}
				return []string{g.Key()}
			},
			"find": func(r *Resource) []string {
				typ := strings.ToLower(r.ParsedID().Type())
				var out []string
				for _, e := range r.IndexEntries {
					out = append(out, typ+"|"+strings.ToLower(e))
				}
				return out
			},
		},
	}
	return s
}

func collectionEntry(parent ID, typ string) string {
	return parent.Key() + "|" + strings.ToLower(typ) + "|"
}

func typeEntry(subscription, typ string) string {
	return strings.ToLower(subscription + "|" + typ)
}

// Get returns the resource with the given ID, or store.ErrNotFound.
func (s *Resources) Get(tx store.Tx, id string) (*Resource, error) {
	r, err := s.c.Get(tx, Key(id))
	if err != nil {
		return nil, err
	}
	return r, s.open(r)
}

// seen is Get for a reader that does not change what it gets.
func (s *Resources) seen(tx store.Tx, id string) (*Resource, error) {
	key := Key(id)
	return store.RecallKey(tx, s.c.Name, key, func() (*Resource, error) { return s.Get(tx, key) })
}

// Exists reports whether a resource with the given ID is stored.
func (s *Resources) Exists(tx store.Tx, id string) (bool, error) {
	_, err := tx.Get(s.c.Name, Key(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Put stores r. It does not run hooks.
func (s *Resources) Put(tx store.Tx, r *Resource) error {
	id, err := ParseID(r.ID)
	if err != nil {
		return fmt.Errorf("put resource: %w", err)
	}
	r.Sort, r.IndexEntries, r.Tracked = "", nil, false
	if t := s.types.lookup(id.Type()); t != nil {
		if t.SortKey != nil {
			r.Sort = t.SortKey(r)
		}
		if t.Index != nil {
			r.IndexEntries = t.Index(r)
		}
		r.Tracked = t.Tracked
	}
	r.Sealed = nil
	if len(r.Private) > 0 {
		b, err := json.Marshal(r.Private)
		if err != nil {
			return fmt.Errorf("put %s: %w", r.ID, err)
		}
		if r.Sealed, err = s.sealer.Seal(b); err != nil {
			return fmt.Errorf("put %s: seal: %w", r.ID, err)
		}
	}
	if err := s.c.Put(tx, r); err != nil {
		return err
	}
	return s.forget(tx, id)
}

// forget makes RecallOf forget what was made of resources of the type.
func (s *Resources) forget(tx store.Tx, id ID) error {
	if t := s.types.lookup(id.Type()); t != nil && t.Memory != "" {
		return tx.Put(memoryBucket+t.Memory, "changed", nil)
	}
	return nil
}

// Update changes the stored resource in place, without hooks and without a new
// author: what a service does to its own resources. It returns
// store.ErrNotFound when there is none.
func (s *Resources) Update(tx store.Tx, id string, change func(r *Resource) error) error {
	r, err := s.Get(tx, id)
	if err != nil {
		return err
	}
	if err := change(r); err != nil {
		return err
	}
	return s.Put(tx, r)
}

// Remove removes the resource itself, without hooks or cascade.
func (s *Resources) Remove(tx store.Tx, id string) error {
	parsed, err := ParseID(id)
	if err != nil {
		return fmt.Errorf("remove resource: %w", err)
	}
	if err := s.c.Delete(tx, Key(id)); err != nil {
		return err
	}
	return s.forget(tx, parsed)
}

// Find yields the resources of a type that have the given entry in their Index,
// in no particular order.
func (s *Resources) Find(tx store.Tx, typ, entry string) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "find", store.Range{Prefix: store.Exact(strings.ToLower(typ + "|" + entry))}))
}

// Recall is store.Recall for what load makes of resources, and of nothing else.
// The keys of different uses must differ.
func Recall[T any](tx store.Tx, s *Resources, key string, load func() (T, error)) (T, error) {
	return store.Recall(tx, s.c.Name, key, load)
}

// RecallOf is store.Recall for what load makes of resources whose types have the
// given Memory, and of nothing else. It outlives changes of all other resources.
func RecallOf[T any](tx store.Tx, memory, key string, load func() (T, error)) (T, error) {
	return store.Recall(tx, memoryBucket+memory, key, load)
}

// FindFrom yields the resources of a type with an Index entry that begins with
// prefix, in the order of their entries.
func (s *Resources) FindFrom(tx store.Tx, typ, prefix string, reverse bool) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "find", store.Range{Prefix: strings.ToLower(typ + "|" + prefix), Reverse: reverse}))
}

// FindPage is FindFrom from behind a position that an earlier call's
// FindPosition gave; "" begins at the start.
func (s *Resources) FindPage(tx store.Tx, typ, prefix, after string) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "find", store.Range{Prefix: strings.ToLower(typ + "|" + prefix), After: after}))
}

// FindPosition is the place of r's entry for FindPage.
func (s *Resources) FindPosition(r *Resource, typ, entry string) string {
	return s.c.Position(strings.ToLower(typ+"|"+entry), r)
}

// Children yields the resources of a type directly in parent, in list order.
func (s *Resources) Children(tx store.Tx, parent ID, typ string) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "collection", store.Range{Prefix: collectionEntry(parent, typ)}))
}

// OfType yields the top-level resources of a type in a subscription.
func (s *Resources) OfType(tx store.Tx, subscription, typ string) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "type", store.Range{Prefix: store.Exact(typeEntry(subscription, typ))}))
}

// InGroup yields the tracked resources of a resource group.
func (s *Resources) InGroup(tx store.Tx, group ID) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "group", store.Range{Prefix: store.Exact(group.Key())}))
}

// Tracked yields the tracked resources of all groups of a subscription.
func (s *Resources) Tracked(tx store.Tx, subscription string) iter.Seq2[*Resource, error] {
	return s.opened(s.c.By(tx, "group", store.Range{Prefix: ID{Subscription: subscription}.Key() + "/"}))
}

// Below yields everything inside id, deepest last, id itself not included.
func (s *Resources) Below(tx store.Tx, id ID) iter.Seq2[*Resource, error] {
	prefix := id.Key() + "/"
	if id.IsZero() {
		prefix = "/"
	}
	return s.opened(s.c.All(tx, store.Range{Prefix: prefix}))
}

func (s *Resources) opened(seq iter.Seq2[*Resource, error]) iter.Seq2[*Resource, error] {
	return func(yield func(*Resource, error) bool) {
		for r, err := range seq {
			if err == nil {
				err = s.open(r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (s *Resources) open(r *Resource) error {
	if r.Body == nil {
		r.Body = Doc{}
	}
	r.Private = Doc{}
	if len(r.Sealed) == 0 {
		return nil
	}
	b, err := s.sealer.Open(r.Sealed)
	if err != nil {
		return fmt.Errorf("read %s: open sealed properties: %w", r.ID, err)
	}
	return json.Unmarshal(b, &r.Private)
}

func sameValue(a, b any) bool {
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return strings.EqualFold(x, y)
		}
	}
	return reflect.DeepEqual(a, b)
}
