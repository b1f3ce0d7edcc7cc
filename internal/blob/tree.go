package blob

import (
	"context"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Containers of accounts with a hierarchical namespace are trees. The key of a
// blob's row is then "<directory ID>/<last segment of the name>", and a directory
// is a row with an ID of its own, under which its children are. The root
// directory has the ID of the container. So a rename of a directory changes one
// row, whatever is in it, a deletion leaves its inside to the reaper, and a look
// at a path costs one row for each of its segments.

// need is what an operation needs ACLs to allow.
type need byte

// The needs of operations. Every one of them but needNothing includes that the
// directories above the path can be traversed.
const (
	needNothing  need = iota // ACLs cannot allow the operation
	needTraverse             // to see that the path is there
	needRead                 // to read the file
	needWrite                // to change what is there
	needAppend               // to read and change what is there
	needCreate               // to change what is there, or to add it to its directory
	needList                 // to list the directory
	needDelete               // to remove it from its directory
	needOwner                // to own it
)

// maxDepth is the most segments of a path: Microsoft's "Naming and Referencing
// Containers, Blobs, and Metadata" allows 63, including account and container.
const maxDepth = 61

// segments are the names on the way to a path. Slashes around and beside each
// other count for nothing.
func segments(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// spot is where a path is in a container.
type spot struct {
	c    *containerRec
	segs []string
	// dirs are the directories above the path that exist, the root first.
	dirs []dirAt
	// key is of the path's row. It is "" for the root, or when a directory above
	// is missing.
	key string
	// rec is the path's row, or nil. That of the root is made up.
	rec  *blobRec
	root bool
	// blocked tells that there is a file where the path has a directory.
	blocked bool
}

type dirAt struct {
	id    string
	posix *posix
}

// rootRec shows the root directory of a tree as a row.
func (c *containerRec) rootRec() *blobRec {
	return &blobRec{Type: BlockBlob, ETag: c.ETag, Created: c.Modified, Modified: c.Modified, Dir: c.ID, Posix: c.Posix}
}

// walk finds a path in a tree.
func walk(tx store.Tx, c *containerRec, name string) (*spot, error) {
	p := &spot{c: c, segs: segments(name), dirs: []dirAt{{c.ID, c.Posix}}}
	if len(p.segs) == 0 {
		p.root, p.rec = true, c.rootRec()
		return p, nil
	}
	if len(p.segs) > maxDepth {
		return nil, refuse("PathIsTooDeep")
	}
	for i, seg := range p.segs {
		key := blobKey(p.parent().id, seg)
		rec, err := storage.Load[blobRec](tx, bucketBlobs, key)
		if err != nil {
			return nil, err
		}
		if i == len(p.segs)-1 {
			p.key, p.rec = key, rec
			break
		}
		if rec == nil {
			break
		}
		if rec.Dir == "" {
			p.blocked = true
			break
		}
		p.dirs = append(p.dirs, dirAt{rec.Dir, rec.Posix})
	}
	return p, nil
}

// look finds a path in a container of either kind and checks that its user may
// do what the ref needs.
func look(tx store.Tx, r ref) (*spot, error) {
	c, err := findContainer(tx, r.uid, r.container)
	if err != nil {
		return nil, err
	}
	if !c.Tree {
		if !r.as.super() {
			return nil, refuse("AuthorizationPermissionMismatch")
		}
		p := &spot{c: c, key: blobKey(c.ID, r.name)}
		if r.name == "" {
			p.root, p.rec = true, c.rootRec()
			return p, nil
		}
		p.rec, err = storage.Load[blobRec](tx, bucketBlobs, p.key)
		return p, err
	}
	p, err := walk(tx, c, r.name)
	if err != nil {
		return nil, err
	}
	return p, p.permit(r.as, r.need)
}

func (p *spot) parent() dirAt { return p.dirs[len(p.dirs)-1] }

// rights are those of what is there.
func (p *spot) rights() (rights, error) { return p.rec.Posix.rights(p.rec.Dir != "") }

// permit checks by ACL that an actor may do what an operation needs.
func (p *spot) permit(as *actor, n need) error {
	if as.super() {
		return nil
	}
	denied := refuse("AuthorizationPermissionMismatch")
	if n == needNothing {
		return denied
	}
	var parent rights
	if !p.root {
		for _, d := range p.dirs {
			var err error
			if parent, err = d.posix.rights(true); err != nil {
				return err
			}
			if !parent.allows(as, permX) {
				return denied
			}
		}
	}
	rec := visible(p.rec)
	if rec == nil {
		if n == needCreate && !parent.allows(as, permW|permX) {
			return denied
		}
		return nil // what else there is to say, the operation says
	}
	own, err := p.rights()
	if err != nil {
		return err
	}
	ok := true
	switch n {
	case needTraverse:
	case needRead:
		ok = own.allows(as, permR)
	case needWrite, needCreate:
		ok = own.allows(as, permW)
	case needAppend:
		ok = own.allows(as, permR|permW)
	case needList:
		ok = own.allows(as, permR|permX)
	case needOwner:
		ok = own.owner == as.id
	case needDelete:
		ok = !p.root && parent.allows(as, permW|permX) &&
			(!parent.sticky || parent.owner == as.id || own.owner == as.id)
	}
	if !ok {
		return denied
	}
	return nil
}

// save stores a changed record of what is there. Of the root, only what a file
// system keeps for it is stored.
func (p *spot) save(tx store.Tx, uid string, rec *blobRec) error {
	if !p.root {
		return storage.Save(tx, bucketBlobs, p.key, rec)
	}
	p.c.Posix, p.c.ETag, p.c.Modified = rec.Posix, rec.ETag, rec.Modified
	return storage.Save(tx, bucketContainers, containerKey(uid, p.c.Name), p.c)
}

// birth is what a request says about the permissions of what it makes.
type birth struct {
	mode         *uint16
	sticky       bool
	umask        *uint16
	acl          string
	owner, group string
}

// says reports whether the request says more than a umask, which is for new
// paths only.
func (b *birth) says() bool {
	return b != nil && (b.mode != nil || b.acl != "" || b.owner != "" || b.group != "")
}

// apply changes rights to what the request says.
func (b *birth) apply(r *rights) (err error) {
	if b == nil {
		return nil
	}
	if b.mode != nil {
		r.sticky = b.sticky
	}
	if b.acl != "" {
		if r.acl, err = parseACL(b.acl, r.isDir); err != nil {
			return err
		}
	}
	if b.owner != "" {
		r.owner = b.owner
	}
	if b.group != "" {
		r.group = b.group
	}
	return nil
}

// inherit is the rights of something new at the spot, whose directory exists.
func (p *spot) inherit(as *actor, isDir bool, b *birth) (*posix, error) {
	parent, err := p.parent().posix.rights(true)
	if err != nil {
		return nil, err
	}
	umask := uint16(defaultUmask)
	var mode *uint16
	if b != nil {
		mode = b.mode
		if b.umask != nil {
			umask = *b.umask
		}
	}
	r := parent.child(as.owner(), isDir, mode, umask)
	if err := b.apply(&r); err != nil {
		return nil, err
	}
	plain, err := (*posix)(nil).rights(isDir)
	if err != nil {
		return nil, err
	}
	if r.owner == plain.owner && r.group == plain.group && !r.sticky && r.acl.String() == plain.acl.String() {
		return nil, nil
	}
	return r.record(), nil
}

// adopt gives a new record the rights of what it replaces, or of what is new.
func (p *spot) adopt(b *blobRec, r ref) (err error) {
	if !p.c.Tree {
		return nil
	}
	old := visible(p.rec)
	if old == nil {
		b.Posix, err = p.inherit(r.as, b.Dir != "", r.birth)
		return err
	}
	b.Posix = old.Posix
	if !r.birth.says() {
		return nil
	}
	own, err := p.rights()
	if err != nil {
		return err
	}
	if !r.as.super() && own.owner != r.as.id {
		return refuse("AuthorizationPermissionMismatch")
	}
	if r.birth.mode != nil {
		own.acl = own.acl.withMode(*r.birth.mode)
	}
	if err := r.birth.apply(&own); err != nil {
		return err
	}
	b.Posix = own.record()
	return nil
}

// place finds where a write puts a file, and makes the directories on the way.
func (e *engine) place(tx store.Tx, r ref) (*spot, error) {
	p, err := look(tx, r)
	if err != nil || !p.c.Tree {
		return p, err
	}
	if p.root || p.rec != nil && p.rec.Dir != "" {
		return nil, refuse("ResourceTypeMismatch")
	}
	return p, e.makeParents(tx, p, r.as)
}

// makeParents makes the missing directories above a spot.
func (e *engine) makeParents(tx store.Tx, p *spot, as *actor) error {
	if p.blocked {
		return refuse("PathConflict")
	}
	for len(p.dirs) < len(p.segs) {
		d, err := e.newDirectory(p, as)
		if err != nil {
			return err
		}
		if err := storage.Save(tx, bucketBlobs, blobKey(p.parent().id, p.segs[len(p.dirs)-1]), d); err != nil {
			return err
		}
		p.dirs = append(p.dirs, dirAt{d.Dir, d.Posix})
	}
	if len(p.segs) > 0 {
		p.key = blobKey(p.parent().id, p.segs[len(p.segs)-1])
	}
	return nil
}

// newDirectory makes the first missing directory of a spot.
func (e *engine) newDirectory(p *spot, as *actor) (d *blobRec, err error) {
	now, etag := e.stamp()
	d = &blobRec{Type: BlockBlob, ETag: etag, Created: now, Modified: now, Dir: storage.RandomHex(12)}
	d.Posix, err = p.inherit(as, true, nil)
	return d, err
}

// folderMark is the metadata by which clients of the Blob service know a
// directory. In a flat container it is all there is of one.
const folderMark = "hdi_isfolder"

// shown is the metadata that clients of the Blob service see.
func (b *blobRec) shown() map[string]string {
	if b.Dir == "" {
		return b.Metadata
	}
	out := map[string]string{folderMark: "true"}
	for k, v := range b.Metadata {
		out[k] = v
	}
	return out
}

// isDirectory reports whether b is one, of a tree or of a flat container.
func (b *blobRec) isDirectory() bool {
	return b.Dir != "" || strings.EqualFold(b.Metadata[folderMark], "true")
}

// inspect returns what is at a path, which may be the root, and its rights.
func (e *engine) inspect(ctx context.Context, r ref) (b *blobRec, own rights, err error) {
	err = e.store.View(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		own, err = p.rights()
		return err
	})
	return b, own, err
}

// amend changes what is at a path, which may be the root.
func (e *engine) amend(ctx context.Context, r ref, change func(*spot, *blobRec) error) (b *blobRec, err error) {
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if b = visible(p.rec); b == nil {
			return refuse("BlobNotFound")
		}
		if err := change(p, b); err != nil {
			return err
		}
		b.ETag, b.Modified = etag, now
		return p.save(tx, r.uid, b)
	})
	if err != nil {
		return nil, fmt.Errorf("change path %s: %w", r.name, err)
	}
	return b, nil
}

// makeDirectory makes a directory, or changes the one that is there. build gets
// the old one or nil, and changes the new record.
func (e *engine) makeDirectory(ctx context.Context, r ref, build func(old, d *blobRec) error) (d *blobRec, err error) {
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		if p.root {
			return refuse("PathAlreadyExists")
		}
		if p.rec != nil && (!p.c.Tree || p.rec.Dir == "") && !p.rec.isDirectory() {
			return refuse("PathConflict")
		}
		old := p.rec
		switch {
		case old != nil:
			kept := *old
			d = &kept
		case p.c.Tree:
			if err := e.makeParents(tx, p, r.as); err != nil {
				return err
			}
			d = &blobRec{Type: BlockBlob, Created: now, Dir: storage.RandomHex(12)}
		default:
			d = &blobRec{Type: BlockBlob, Created: now}
		}
		if err := build(old, d); err != nil {
			return err
		}
		if err := p.adopt(d, r); err != nil {
			return err
		}
		if !p.c.Tree {
			d.Metadata = d.marked()
		}
		d.ETag, d.Modified = etag, now
		return storage.Save(tx, bucketBlobs, p.key, d)
	})
	if err != nil {
		return nil, fmt.Errorf("make directory %s: %w", r.name, err)
	}
	return d, nil
}

// marked is the metadata of a directory of a flat container.
func (b *blobRec) marked() map[string]string {
	out := map[string]string{}
	for k, v := range b.Metadata {
		out[k] = v
	}
	out[folderMark] = "true"
	return out
}

// isEmpty reports whether a directory of a tree has no children.
func isEmpty(tx store.Tx, id string) (bool, error) {
	for _, err := range tx.Scan(bucketBlobs, store.Range{Prefix: id + "/", Limit: 1}) {
		return false, err
	}
	return true, nil
}
