package arm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// A service that lets what was deleted be recovered has the kernel set it aside: the
// resource and what it keeps of its children lie in a bucket of their own, where
// nobody finds them, until they are restored or purged.

const asideBucket = "resource.aside"

func asideCollection() store.Collection[Resource] {
	return store.Collection[Resource]{Name: asideBucket, Key: func(r *Resource) string { return Key(r.ID) }}
}

// setAside copies a stored resource to where deleted ones are.
func (s *Resources) setAside(tx store.Tx, id string) error {
	r, err := s.c.Get(tx, Key(id))
	if err != nil {
		return err
	}
	return s.aside.Put(tx, r)
}

// Aside returns the resource that was deleted and set aside under an ID, or
// store.ErrNotFound.
func (s *Resources) Aside(tx store.Tx, id string) (*Resource, error) {
	r, err := s.aside.Get(tx, Key(id))
	if err != nil {
		return nil, err
	}
	return r, s.open(r)
}

// asideBelow are the IDs of what was set aside with a resource, itself not included.
func (s *Resources) asideBelow(tx store.Tx, id string) ([]string, error) {
	var out []string
	for r, err := range s.aside.All(tx, store.Range{Prefix: Key(id) + "/"}) {
		if err != nil {
			return nil, err
		}
		out = append(out, r.ID)
	}
	return out, nil
}

// RestoreChildren brings back what was set aside with a resource, and forgets what was
// set aside of the resource itself, which is written anew. It runs no hooks.
func (s *Resources) RestoreChildren(tx store.Tx, id string) error {
	below, err := s.asideBelow(tx, id)
	if err != nil {
		return err
	}
	for _, child := range below {
		r, err := s.Aside(tx, child)
		if err != nil {
			return fmt.Errorf("restore %s: %w", child, err)
		}
		if err := s.Put(tx, r); err != nil {
			return fmt.Errorf("restore %s: %w", child, err)
		}
		if err := s.aside.Delete(tx, Key(child)); err != nil {
			return fmt.Errorf("restore %s: %w", child, err)
		}
	}
	return s.aside.Delete(tx, Key(id))
}

// PurgeAside removes what was set aside under an ID, with the Delete hooks of the
// children that it has not run yet. It returns the resource itself, and store.ErrNotFound
// where there is none. What the hooks have to do once the transaction is durable is
// given to after.
func (k *Kernel) PurgeAside(ctx context.Context, tx store.Tx, req *Request, id string, after func(func())) (*Resource, error) {
	root, err := k.res.Aside(tx, id)
	if err != nil {
		return nil, err
	}
	below, err := k.res.asideBelow(tx, id)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(below, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	var later []func()
	for _, child := range below {
		r, err := k.res.Aside(tx, child)
		if errors.Is(err, store.ErrNotFound) {
			continue // it went with another
		}
		if err != nil {
			return nil, err
		}
		if t := k.types.lookup(r.ParsedID().Type()); t != nil && t.Delete != nil {
			sub := *req
			sub.ID, sub.Type = r.ParsedID(), t
			if err := t.Delete(ctx, &Delete{Request: &sub, Tx: tx, Resource: r, Cascade: true, Root: root.ParsedID(), after: &later}); err != nil {
				return nil, err
			}
		}
		if err := k.res.aside.Delete(tx, Key(child)); err != nil {
			return nil, err
		}
	}
	for _, f := range later {
		after(f)
	}
	return root, k.res.aside.Delete(tx, Key(id))
}
