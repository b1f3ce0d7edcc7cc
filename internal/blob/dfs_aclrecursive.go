package blob

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// maxRecursive is the most paths whose ACLs one request changes, Azure's limit.
const maxRecursive = 2000

// aclEdit changes the ACL of many paths alike.
type aclEdit struct {
	mode    string // "set", "modify" or "remove"
	entries acl
}

func parseACLEdit(c *call) (*aclEdit, error) {
	e := &aclEdit{mode: strings.ToLower(c.q.Get("mode"))}
	v := c.r.Header.Get("x-ms-acl")
	if v == "" {
		return nil, missingHeader("x-ms-acl")
	}
	var err error
	switch e.mode {
	case "set":
		e.entries, err = parseACL(v, true)
	case "modify":
		e.entries, err = parseEntries(v, true)
	case "remove":
		e.entries, err = parseEntries(v, false)
	case "":
		return nil, refuse("MissingRequiredQueryParameter").With("QueryParameterName", "mode")
	default:
		return nil, badQuery("mode", c.q.Get("mode"), "")
	}
	return e, err
}

// apply edits the rights of one path. A file has no default ACL, so what is said
// about one passes it by.
func (e *aclEdit) apply(r *rights) (err error) {
	entries := e.entries
	if !r.isDir {
		entries = slices.DeleteFunc(slices.Clone(entries), func(x ace) bool { return x.Default })
	}
	if e.mode == "set" {
		r.acl, err = entries.complete(r.isDir)
		return err
	}
	out := slices.Clone(r.acl)
	var masked [2]bool
	for _, x := range entries {
		at := slices.IndexFunc(out, func(y ace) bool { return x.Default == y.Default && x.Kind == y.Kind && x.ID == y.ID })
		switch {
		case e.mode == "remove" && at >= 0:
			out = slices.Delete(out, at, at+1)
		case e.mode == "remove":
		case at >= 0:
			out[at] = x
		default:
			out = append(out, x)
		}
		if x.Kind == aceMask && e.mode == "modify" {
			masked[side(x.Default)] = true
		}
	}
	// Unless it was said, the mask is made anew of what it limits.
	for i := range out {
		if m := &out[i]; m.Kind == aceMask && !masked[side(m.Default)] && out.named(m.Default) {
			m.Perm = out.union(m.Default)
		}
	}
	r.acl, err = out.complete(r.isDir)
	return err
}

func side(isDefault bool) int {
	if isDefault {
		return 1
	}
	return 0
}

// failedEntry is a path whose ACL could not be changed.
type failedEntry struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Message string `json:"errorMessage"`
}

// editResult is the answer of Path Update with setAccessControlRecursive.
type editResult struct {
	Directories int           `json:"directoriesSuccessful"`
	Files       int           `json:"filesSuccessful"`
	Failures    int           `json:"failureCount"`
	Failed      []failedEntry `json:"failedEntries"`

	next string
}

// editACLs changes the ACLs of a path and of all below it, behind after, in one
// transaction. Without force it ends at the first path that is not the actor's.
func (e *engine) editACLs(ctx context.Context, r ref, edit *aclEdit, after string, limit int, force bool) (res *editResult, err error) {
	now, etag := e.stamp()
	err = e.store.Update(ctx, func(tx store.Tx) error {
		res = &editResult{Failed: []failedEntry{}}
		p, err := look(tx, r)
		if err != nil {
			return err
		}
		b := visible(p.rec)
		if b == nil {
			return refuse("BlobNotFound")
		}
		room := limit
		if after == "" {
			room--
			b.ETag, b.Modified = etag, now
			stop, err := edit.path(r.as, strings.Join(p.segs, "/"), b, res, force, func() error { return p.save(tx, r.uid, b) })
			if stop || err != nil {
				return err
			}
		}
		if b.Dir == "" {
			return nil
		}
		if room == 0 {
			res.next = "/" // the path itself is done
			return nil
		}
		q := listQuery{Max: room, After: strings.Trim(after, "/")}
		if !p.root {
			q.Prefix = strings.Join(p.segs, "/") + "/"
		}
		items, next, err := listTree(tx, p.c, q, nil)
		if err != nil {
			return err
		}
		for _, it := range items {
			it.Blob.ETag, it.Blob.Modified = etag, now
			stop, err := edit.path(r.as, it.Name, it.Blob, res, force, func() error { return storage.Save(tx, bucketBlobs, it.key, it.Blob) })
			if stop || err != nil {
				return err // Azure gives no continuation then
			}
		}
		res.next = next
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("change access control below %s: %w", r.name, err)
	}
	return res, nil
}

// path edits one path and notes how that went. It reports whether to stop.
func (e *aclEdit) path(as *actor, name string, b *blobRec, res *editResult, force bool, save func() error) (stop bool, err error) {
	own, err := b.Posix.rights(b.Dir != "")
	if err != nil {
		return true, err
	}
	refused := error(nil)
	if !as.super() && own.owner != as.id {
		refused = refuse("AuthorizationPermissionMismatch")
	} else {
		refused = e.apply(&own)
	}
	if refused != nil {
		kind := "FILE"
		if b.Dir != "" {
			kind = "DIRECTORY"
		}
		res.Failures++
		res.Failed = append(res.Failed, failedEntry{name, kind, refused.Error()})
		return !force, nil
	}
	b.Posix = own.record()
	if b.Dir != "" {
		res.Directories++
	} else {
		res.Files++
	}
	return false, save()
}

func (s *Service) setAccessControlRecursive(c *call) error {
	if err := needsTree(c); err != nil {
		return err
	}
	edit, err := parseACLEdit(c)
	if err != nil {
		return err
	}
	after, err := dfsContinuation(c)
	if err != nil {
		return err
	}
	force, err := flagQuery(c, "forceFlag")
	if err != nil {
		return err
	}
	limit := maxRecursive
	if v := c.q.Get("maxRecords"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return badQuery("maxRecords", v, "")
		}
		limit = min(n, maxRecursive)
	}
	res, err := s.eng.editACLs(c.r.Context(), c.ref(), edit, after, limit, force)
	if err != nil {
		return err
	}
	c.setContinuation(res.next)
	return s.writeJSON(c, res)
}

// checkAccess serves Path Get Properties with the action checkAccess: whether the
// caller has the permissions that fsAction names.
func (s *Service) checkAccess(c *call) error {
	if err := needsTree(c); err != nil {
		return err
	}
	var wanted perm
	v := strings.ReplaceAll(c.q.Get("fsAction"), "-", "")
	for _, r := range v {
		i := strings.IndexRune("rwx", r)
		if i < 0 {
			return badQuery("fsAction", c.q.Get("fsAction"), "")
		}
		wanted |= permR >> i
	}
	if wanted == 0 {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "fsAction")
	}
	b, own, err := s.status(c)
	if err != nil {
		return err
	}
	if c.as != nil && c.as.id != "" {
		// RBAC to read covers reading and traversing, RBAC to write covers writing.
		byRole := !c.as.bound
		if byRole && wanted&permW != 0 {
			scope := c.acct.ID + "/blobServices/default/containers/" + c.container
			if byRole, err = s.allowed(c, c.as.id, "containers/blobs/write", true, scope); err != nil {
				return err
			}
		}
		if !byRole {
			who := *c.as
			who.bound = true
			if !own.allows(&who, wanted) {
				return refuse("AuthorizationPermissionMismatch")
			}
		}
	}
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}
