package entra

import (
	"errors"
	"fmt"
	"slices"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// membership says that a principal is directly in a group.
type membership struct {
	Group  string `json:"group"`
	Member string `json:"member"`
}

// ErrNoGroup is wrapped when what should be a group is none.
var ErrNoGroup = errors.New("entra: not a group")

// CreateGroup adds a security group. Names need not be unique, as in Entra.
func (d *Directory) CreateGroup(tx store.Tx, displayName string) (*Principal, error) {
	if displayName == "" {
		return nil, errors.New("entra: a group needs a name")
	}
	p := &principal{ObjectID: newID(), Type: TypeGroup, DisplayName: displayName, MailNickname: nickname(displayName), Created: d.cfg.Clock.Now()}
	if err := d.tables.principals.Put(tx, p); err != nil {
		return nil, fmt.Errorf("create group %s: %w", displayName, err)
	}
	return d.public(p), nil
}

// nickname makes the mail alias of a name.
func nickname(name string) string {
	var out []rune
	for _, r := range name {
		if r < 128 && r > ' ' && !slices.Contains([]rune(`@()\[]";:<>,`), r) {
			out = append(out, r)
		}
	}
	return string(out)
}

func (d *Directory) group(tx store.Tx, id string) (*principal, error) {
	p, err := d.principal(tx, id)
	if err != nil {
		return nil, err
	}
	if p.Type != TypeGroup {
		return nil, fmt.Errorf("%w: %s", ErrNoGroup, id)
	}
	return p, nil
}

// AddMember puts a principal, which may be a group, into a group. Adding one that
// is there already changes nothing. Errors wrap ErrNoPrincipal or ErrNoGroup.
func (d *Directory) AddMember(tx store.Tx, groupID, memberID string) error {
	g, err := d.group(tx, groupID)
	if err != nil {
		return fmt.Errorf("add a member: %w", err)
	}
	m, err := d.principal(tx, memberID)
	if err != nil {
		return fmt.Errorf("add a member to %s: %w", g.DisplayName, err)
	}
	if err := d.tables.members.Put(tx, &membership{Group: g.ObjectID, Member: m.ObjectID}); err != nil {
		return fmt.Errorf("add a member to %s: %w", g.DisplayName, err)
	}
	return nil
}

// RemoveMember takes a principal out of a group and reports whether it was in it.
func (d *Directory) RemoveMember(tx store.Tx, groupID, memberID string) (bool, error) {
	m := &membership{Group: groupID, Member: memberID}
	_, err := d.tables.members.Get(tx, d.tables.members.Key(m))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = d.tables.members.Delete(tx, d.tables.members.Key(m))
	}
	if err != nil {
		return false, fmt.Errorf("remove a member: %w", err)
	}
	return true, nil
}

// members yields who is directly in a group.
func (d *Directory) membersOf(tx store.Tx, groupID string) ([]*principal, error) {
	var out []*principal
	for m, err := range d.tables.members.By(tx, byGroup, store.Range{Prefix: store.Exact(groupID)}) {
		if err != nil {
			return nil, err
		}
		p, err := d.principal(tx, m.Member)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Groups returns the object IDs of the groups that a principal is in, directly or
// through other groups. A principal that is not there is in none.
// The caller must not change the result.
func (d *Directory) Groups(tx store.Tx, objectID string) ([]string, error) {
	return store.Recall(tx, d.tables.members.Name, objectID, func() ([]string, error) { return d.groups(tx, objectID) })
}

func (d *Directory) groups(tx store.Tx, objectID string) ([]string, error) {
	var out []string
	for queue := []string{objectID}; len(queue) > 0; queue = queue[1:] {
		for m, err := range d.tables.members.By(tx, byMember, store.Range{Prefix: store.Exact(queue[0])}) {
			if err != nil {
				return nil, fmt.Errorf("groups of %s: %w", objectID, err)
			}
			if m.Group != objectID && !slices.Contains(out, m.Group) { // groups may go round in a circle
				out = append(out, m.Group)
				queue = append(queue, m.Group)
			}
		}
	}
	return out, nil
}

// leaveAll ends all memberships of a principal and, of a group, those in it.
func (d *Directory) leaveAll(tx store.Tx, id string) error {
	var keys []string
	for _, index := range []string{byMember, byGroup} {
		for m, err := range d.tables.members.By(tx, index, store.Range{Prefix: store.Exact(id)}) {
			if err != nil {
				return err
			}
			keys = append(keys, d.tables.members.Key(m))
		}
	}
	for _, key := range keys {
		if err := d.tables.members.Delete(tx, key); err != nil {
			return err
		}
	}
	return nil
}
