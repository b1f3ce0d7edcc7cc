package blob

import (
	"context"
	"net/http"
	"strings"
)

// names is what an Access may tell besides: the user principal name of an object
// ID, or "" when it has none.
type names interface {
	UserPrincipalName(ctx context.Context, objectID string) (string, error)
}

// named shows rights with the names of users, as upn=true asks for. Objects
// without such a name stay as they are, as Azure documents.
func (s *Service) named(c *call, r rights) (rights, error) {
	want, err := flagQuery(c, "upn")
	if err != nil || !want {
		return r, err
	}
	dir, ok := s.cfg.Access.(names)
	if !ok {
		return r, nil
	}
	name := func(id string) string {
		if id == "" || id == superuser || err != nil {
			return id
		}
		var upn string
		if upn, err = dir.UserPrincipalName(c.r.Context(), id); err != nil || upn == "" {
			return id
		}
		return upn
	}
	r.owner = name(r.owner)
	shown := make(acl, len(r.acl))
	for i, e := range r.acl {
		if e.Kind == aceUser {
			e.ID = name(e.ID)
		}
		shown[i] = e
	}
	r.acl = shown
	return r, err
}

func (c *call) showRights(r rights, withACL bool) {
	h := c.w.Header()
	h["x-ms-owner"] = []string{r.owner}
	h["x-ms-group"] = []string{r.group}
	h["x-ms-permissions"] = []string{r.mode()}
	if withACL {
		h["x-ms-acl"] = []string{r.acl.String()}
	}
}

// status reads a path for the actions of Path Get Properties that tell about it
// without its properties.
func (s *Service) status(c *call) (*blobRec, rights, error) {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return nil, rights{}, err
	}
	b, r, err := s.eng.inspect(c.r.Context(), c.ref())
	if err != nil {
		return nil, r, err
	}
	if err := cond.of(reading, b); err != nil {
		return nil, r, err
	}
	if err := s.holds(c, b, reading); err != nil {
		return nil, r, err
	}
	r, err = s.named(c, r)
	return b, r, err
}

func (s *Service) getAccessControl(c *call) error {
	if err := needsTree(c); err != nil {
		return err
	}
	b, r, err := s.status(c)
	if err != nil {
		return err
	}
	c.showRights(r, true)
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

func resourceType(b *blobRec) string {
	if b.isDirectory() {
		return "directory"
	}
	return "file"
}

func (s *Service) getStatus(c *call) error {
	b, r, err := s.status(c)
	if err != nil {
		return err
	}
	if c.acct.HNS {
		c.showRights(r, false)
	}
	c.w.Header()["x-ms-resource-type"] = []string{resourceType(b)}
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

// parseRights reads what a request says about owner, group, permissions and ACL.
func parseRights(c *call) (*birth, error) {
	h := c.r.Header
	b := &birth{acl: h.Get("x-ms-acl"), owner: h.Get("x-ms-owner"), group: h.Get("x-ms-group")}
	for _, name := range []string{"x-ms-owner", "x-ms-group"} {
		if v := h.Get(name); len(v) > 256 || strings.ContainsAny(v, ",: ") {
			return nil, badHeader(name, v)
		}
	}
	if v := h.Get("x-ms-permissions"); v != "" {
		if b.acl != "" {
			return nil, refuse("InvalidInput").With("Reason", "x-ms-permissions and x-ms-acl are both given.")
		}
		mode, sticky, ok := parseMode(v)
		if !ok {
			return nil, badHeader("x-ms-permissions", v)
		}
		b.mode, b.sticky = &mode, sticky
	}
	if v := h.Get("x-ms-umask"); v != "" {
		umask, ok := parseUmask(v)
		if !ok {
			return nil, badHeader("x-ms-umask", v)
		}
		b.umask = &umask
	}
	return b, nil
}

func (s *Service) setAccessControl(c *call) error {
	if err := needsTree(c); err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	want, err := parseRights(c)
	if err != nil {
		return err
	}
	if !want.says() {
		return missingHeader("x-ms-acl")
	}
	if err := s.mayOwn(c, want); err != nil {
		return err
	}
	b, err := s.eng.amend(c.r.Context(), c.ref(), func(p *spot, b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if !p.c.Tree {
			return notImplemented("access control of a container that is older than its account's namespace")
		}
		own, err := p.rights()
		if err != nil {
			return err
		}
		if want.mode != nil {
			own.acl = own.acl.withMode(*want.mode)
		}
		if err := want.apply(&own); err != nil {
			return err
		}
		b.Posix = own.record()
		return nil
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

// mayOwn decides who gives paths away: the superuser, and principals with the
// right to. An owner may also pass a path to a group that they are in.
func (s *Service) mayOwn(c *call, want *birth) error {
	if c.as == nil && c.sas == nil {
		return nil
	}
	if c.sas != nil && (want.owner != "" || want.group != "") && !strings.Contains(c.sas.Permissions(), "o") {
		return refuse("AuthorizationPermissionMismatch")
	}
	if c.as == nil || c.as.id == "" {
		return nil
	}
	if want.owner == "" && (want.group == "" || c.as.in(want.group)) {
		return nil
	}
	if c.as.bound {
		return refuse("AuthorizationPermissionMismatch")
	}
	scope := c.acct.ID + "/blobServices/default/containers/" + c.container
	ok, err := s.allowed(c, c.as.id, "containers/blobs/manageOwnership/action", true, scope)
	if err != nil {
		return err
	}
	if !ok {
		return refuse("AuthorizationPermissionMismatch")
	}
	return nil
}
