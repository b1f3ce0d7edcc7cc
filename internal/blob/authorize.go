package blob

import (
	"context"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// challengeVersion is the first service version whose refusal of an anonymous
// request is a bearer challenge.
const challengeVersion = "2019-12-12"

// authorize decides whether a call may do its operation.
func (s *Service) authorize(c *call) error {
	var need *storage.Need
	if op := c.op; op != nil {
		need = &storage.Need{Level: byte(op.level), AnyLevel: op.name == "Get Account Information",
			SAS: op.sas, Account: op.account, Create: op.create, BearerOnly: op.bearerOnly}
	}
	g, err := s.auth.Authorize(c.request(), need, target{s, c})
	if err != nil {
		return err
	}
	c.sas, c.granted = g.SAS, g.Permissions
	c.addOnly = c.addOnly || g.CreateOnly
	return nil
}

func (c *call) request() *storage.Request {
	return &storage.Request{HTTP: c.r, Query: c.q, Version: c.version, Account: c.acct, Service: c.service}
}

// target is what a call is about.
type target struct {
	s *Service
	c *call
}

// SASResource implements storage.Target.
func (t target) SASResource(tok *storage.SAS) (string, error) {
	if t.c.service != "blob" && t.c.service != "dfs" {
		return "", notImplemented("a service SAS of the " + t.c.service + " service")
	}
	return storage.BlobSASResource(tok, t.c.acct, t.c.container, t.c.blob)
}

// Policy implements storage.Target.
func (t target) Policy(ctx context.Context, id string) (*storage.AccessPolicy, error) {
	rec, err := t.s.eng.container(ctx, t.c.acct.UID, t.c.container)
	if HasCode(err, "ContainerNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return storage.FindPolicy(rec.Policies, id), nil
}

// Allow implements storage.Target.
func (t target) Allow(_ context.Context, principal string) error { return t.s.allow(t.c, principal) }

// Anonymous implements storage.Target.
func (t target) Anonymous(context.Context) error { return t.s.authorizeAnonymous(t.c) }

// allow decides a call by the RBAC of a principal.
func (s *Service) allow(c *call, principal string) error {
	op := c.op
	scope := c.acct.ID
	if c.container != "" {
		scope += "/blobServices/default/containers/" + c.container
	}
	if err := s.keepTags(c); err != nil {
		return err
	}
	ok, err := s.allowed(c, principal, op.action, op.data, scope)
	if err != nil {
		return err
	}
	if !ok && op.addAction != "" {
		if ok, err = s.allowed(c, principal, op.addAction, true, scope); err != nil {
			return err
		}
		c.addOnly = c.addOnly || (ok && op.comp != "appendblock")
	}
	c.as = &actor{id: principal}
	if ok {
		return nil
	}
	if !c.acct.HNS || op.need == needNothing {
		return refuse("AuthorizationPermissionMismatch")
	}
	return s.bind(c)
}

// bind leaves what a call may do to the ACLs, where its path is looked up.
func (s *Service) bind(c *call) (err error) {
	c.as.bound = true
	if m, ok := s.cfg.Access.(memberships); ok {
		if c.as.groups, err = m.Groups(c.r.Context(), c.as.id); err != nil {
			return fmt.Errorf("find groups of %s: %w", c.as.id, err)
		}
	}
	return s.mayEnter(c)
}

// mayEnter refuses who could do nothing in a file system whatever the path's own
// ACL says, before anything else of the request is looked at: every path takes the
// right to traverse the root directory, and its list the right to read it, too.
// Where there is no file system there is no right, so that a stranger does not
// learn what exists.
func (s *Service) mayEnter(c *call) error {
	want := permX
	switch {
	case c.blob != "":
	case c.lists():
		want |= permR
	default:
		return nil // of the root itself
	}
	return s.cfg.Store.View(c.r.Context(), func(tx store.Tx) error {
		box, err := findContainer(tx, c.acct.UID, c.container)
		if HasCode(err, "ContainerNotFound") {
			return refuse("AuthorizationPermissionMismatch")
		}
		if err != nil || !box.Tree {
			return err
		}
		root, err := box.rootRec().Posix.rights(true)
		if err != nil {
			return err
		}
		if !root.allows(c.as, want) {
			return refuse("AuthorizationPermissionMismatch")
		}
		return nil
	})
}

// ActFor implements storage.Delegate.
func (t target) ActFor(_ context.Context, authorized, unauthorized string) error {
	if unauthorized != "" {
		t.c.as = &actor{id: unauthorized}
		return t.s.bind(t.c)
	}
	if !t.c.as.bound {
		t.c.as.id = authorized
	}
	return nil
}

// memberships is what an Access may tell besides: the object IDs of the groups
// that a principal is in. ACLs can name groups.
type memberships interface {
	Groups(ctx context.Context, principalID string) ([]string, error)
}

// allowed asks whether a principal may do an action for a call.
func (s *Service) allowed(c *call, principal, action string, data bool, scope string) (bool, error) {
	if !strings.HasPrefix(action, "Microsoft.") {
		action = rbacPrefix + action
	}
	return s.cfg.Access.Allowed(abac.With(c.r.Context(), s.facts(c)), principal, action, data, scope)
}

// authorizeAnonymous lets anyone do what the container's public access allows.
func (s *Service) authorizeAnonymous(c *call) error {
	refused := refuse("NoAuthenticationInformation")
	if c.version < challengeVersion {
		refused = refuse("ResourceNotFound")
		if !c.acct.AllowPublicAccess {
			refused = refuse("PublicAccessNotPermitted")
		}
	}
	if c.op == nil || c.op.public == "" || c.container == "" {
		return refused
	}
	if !c.acct.AllowPublicAccess {
		return refused
	}
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if HasCode(err, "ContainerNotFound") {
		return refused // a stranger does not learn what exists
	}
	if err != nil {
		return err
	}
	if rec.Public == "container" || (rec.Public == "blob" && c.op.public == "blob") {
		c.anonymous = true
		return nil
	}
	return refused
}
