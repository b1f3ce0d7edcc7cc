package oci

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/azimuth-ml/azimuth/internal/diagnostic"
)

func (r *Registry) host() string { return strings.ToLower(r.Name) + Suffix }

// identity is who calls: a principal of the directory, the admin user, or nobody.
type identity struct {
	ObjectID string
	// Password is the mark of the admin user's password.
	Password string
}

func (i identity) anonymous() bool { return i == identity{} }

// Actions of tokens' scopes.
const (
	actPull          = "pull"
	actPush          = "push"
	actDelete        = "delete"
	actMetadataRead  = "metadata_read"
	actMetadataWrite = "metadata_write"
	actCatalog       = "*" // of registry:catalog
	// actAll is whatever the caller may do with a repository: skopeo asks for it
	// to delete.
	actAll = "*"

	typeRepository = "repository"
	typeRegistry   = "registry"
	nameCatalog    = "catalog"
)

const permission = "Microsoft.ContainerRegistry/registries/"

// permissions are the actions of role definitions, any one of which stands for an
// action of a scope. What Azure's roles say of pull, push and delete is documented
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/containers);
// that who may pull may also see what there is, and who may push may set attributes,
// is how its tools behave.
func permissions(action string) []string {
	switch action {
	case actPull:
		return []string{permission + "pull/read"}
	case actPush:
		return []string{permission + "push/write"}
	case actDelete:
		return []string{permission + "artifacts/delete"}
	case actMetadataRead, actCatalog:
		return []string{permission + "metadata/read", permission + "pull/read"}
	case actMetadataWrite:
		return []string{permission + "metadata/write", permission + "push/write"}
	}
	return nil
}

// may reports whether who calls holds an action at this moment.
func (s *Service) may(ctx context.Context, reg *Registry, who identity, action string) (bool, error) {
	wanted := permissions(action)
	switch {
	case len(wanted) == 0:
		return false, nil
	case who.Password != "":
		return slices.ContainsFunc(reg.Passwords, func(p string) bool {
			return reg.Admin != "" && s.tokens.mark(reg, p) == who.Password
		}), nil
	case who.anonymous():
		return reg.AnonymousPull && (action == actPull || action == actMetadataRead), nil
	}
	for _, p := range wanted {
		ok, err := s.cfg.Access.Allowed(ctx, who.ObjectID, p, reg.ID)
		if err != nil {
			return false, fmt.Errorf("authorize %s: %w", p, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// nobody is the user name that goes with a token in the place of a password.
const nobody = "00000000-0000-0000-0000-000000000000"

// basic finds out who shows a user name and password: the admin user, a service
// principal, or the bearer of a refresh token.
func (s *Service) basic(ctx context.Context, reg *Registry, user, password string) (identity, error) {
	if user == nobody {
		who, _, err := s.tokens.verify(reg, password, kindRefresh)
		return who, err
	}
	if reg.Admin != "" && strings.EqualFold(user, reg.Admin) {
		for _, p := range reg.Passwords {
			if p != "" && subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 1 {
				return identity{Password: s.tokens.mark(reg, p)}, nil
			}
		}
		return identity{}, tokenError{}
	}
	id, err := s.cfg.Access.Client(ctx, user, password)
	if errors.Is(err, ErrBadCredential) {
		return identity{}, tokenError{}
	}
	return identity{ObjectID: id}, err
}

// need is what an operation takes: one of the actions on the thing.
type need struct {
	Type, Name string
	Actions    []string
	// From is another repository, to be pulled from.
	From string
}

// asked is the need as a scope of a challenge.
func (n need) asked() string {
	if n.Type == "" {
		return ""
	}
	actions := n.Actions[0]
	if actions == actPush { // clients that push also ask what is there
		actions = actPull + "," + actPush
	}
	asked := n.Type + ":" + n.Name + ":" + actions
	if n.From != "" {
		asked += " " + n.Type + ":" + n.From + ":" + actPull
	}
	return asked
}

// authorize finds out who calls and refuses those who may not do what is needed.
// A token must name it, and whom it speaks for must still be allowed to.
func (s *Service) authorize(c *call, n need) error {
	scheme, value, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	value = strings.TrimSpace(value)
	var err error
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		c.who, c.acts, err = s.tokens.verify(c.reg, value, kindAccess)
		c.scoped = true
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := c.r.BasicAuth()
		if !ok {
			return s.unauthorized(c, n, "invalid_token")
		}
		c.who, err = s.basic(c.ctx, c.reg, user, password)
	case scheme != "":
		return s.unauthorized(c, n, "invalid_token")
	default:
		// ACR gives tokens to nobody in particular where anybody may pull; a
		// request without one is always challenged
		return s.unauthorized(c, n, "")
	}
	if errors.Is(err, tokenError{}) {
		return s.unauthorized(c, n, "invalid_token")
	}
	if err != nil {
		return err
	}
	c.tell(c.who)
	if n.Type == "" {
		return nil
	}
	ok, err := c.mayOne(n)
	if err != nil {
		return err
	}
	if !ok {
		return s.unauthorized(c, n, "insufficient_scope")
	}
	return nil
}

// tell notes who calls, for logs.
func (c *call) tell(who identity) {
	if n := diagnostic.NoteOf(c.ctx); n != nil {
		if n.ObjectID = who.ObjectID; who.Password != "" {
			n.ObjectID = c.reg.Admin
		}
	}
}

// mayOne reports whether the caller may do one of what is needed.
func (c *call) mayOne(n need) (bool, error) {
	for _, action := range n.Actions {
		if c.scoped && !slices.ContainsFunc(c.acts, func(a scope) bool {
			return a.Type == n.Type && a.Name == n.Name && slices.Contains(a.Actions, action)
		}) {
			continue
		}
		ok, err := c.may(c.ctx, c.reg, c.who, action)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// unauthorized is the challenge from which clients learn where to get a token, and
// for what.
func (s *Service) unauthorized(c *call, n need, problem string) error {
	host := c.reg.host()
	e := &apiError{Status: http.StatusUnauthorized, Code: errcode.ErrorCodeUnauthorized.String(),
		Message:   "authentication required, visit https://aka.ms/acr/authorization for more information.",
		Challenge: `Bearer realm="https://` + host + `/oauth2/token",service="` + host + `"`}
	if asked := n.asked(); asked != "" {
		e.Challenge += `,scope="` + asked + `"`
		e.Detail = []any{map[string]string{"Type": n.Type, "Name": n.Name, "Action": n.Actions[0]}}
	}
	if problem != "" {
		e.Challenge += `,error="` + problem + `"`
	}
	return e
}
