package blob

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// bearerVersion is the first service version that takes bearer tokens.
const bearerVersion = "2017-11-09"

// challengeVersion is the first service version whose refusal of an anonymous
// request is a bearer challenge.
const challengeVersion = "2019-12-12"

// authorize decides whether a call may do its operation.
func (s *Service) authorize(c *call) error {
	header := c.r.Header.Get("Authorization")
	scheme, credential, _ := strings.Cut(header, " ")
	tok, err := parseSAS(c.q)
	if err != nil {
		return err
	}
	if tok != nil && (header == "" || tok.delegatedUser != "") {
		return s.authorizeSAS(c, tok)
	}
	switch {
	case header == "":
		return s.authorizeAnonymous(c)
	case strings.EqualFold(scheme, "Bearer"):
		if c.version < bearerVersion {
			return authFailed("Authentication scheme Bearer is not supported in this version.")
		}
		principal, err := s.bearer(c)
		if err != nil {
			return err
		}
		return s.allow(c, principal)
	case strings.EqualFold(scheme, "SharedKey"), strings.EqualFold(scheme, "SharedKeyLite"):
		if c.op != nil && c.op.bearerOnly {
			return authFailed("Only authentication scheme Bearer is supported")
		}
		return s.authorizeKey(c, scheme, strings.TrimSpace(credential))
	}
	return &Error{Status: http.StatusBadRequest, Code: "InvalidAuthenticationInfo",
		Message: "Authentication information is not given in the correct format. Check the value of Authorization header."}
}

// bearer returns the principal of the request's token.
func (s *Service) bearer(c *call) (string, error) {
	principal, err := s.cfg.Access.Authorize(c.r.Context(), c.r)
	if errors.Is(err, ErrBadToken) {
		return "", refuse("InvalidAuthenticationInfo").With("AuthenticationErrorDetail", err.Error())
	}
	return principal, err
}

// allow decides a call by the RBAC of a principal.
func (s *Service) allow(c *call, principal string) error {
	op := c.op
	scope := c.acct.ID
	if c.container != "" {
		scope += "/blobServices/default/containers/" + c.container
	}
	ok, err := s.allowed(c.r.Context(), principal, op.action, op.data, scope)
	if err != nil {
		return err
	}
	if !ok && op.addAction != "" {
		if ok, err = s.allowed(c.r.Context(), principal, op.addAction, true, scope); err != nil {
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
	// The ACLs decide, where the path is looked up.
	c.as.bound = true
	if m, ok := s.cfg.Access.(memberships); ok {
		if c.as.groups, err = m.Groups(c.r.Context(), principal); err != nil {
			return fmt.Errorf("find groups of %s: %w", principal, err)
		}
	}
	return nil
}

// memberships is what an Access may tell besides: the object IDs of the groups
// that a principal is in. ACLs can name groups.
type memberships interface {
	Groups(ctx context.Context, principalID string) ([]string, error)
}

func (s *Service) allowed(ctx context.Context, principal, action string, data bool, scope string) (bool, error) {
	if !strings.HasPrefix(action, "Microsoft.") {
		action = rbacPrefix + action
	}
	return s.cfg.Access.Allowed(ctx, principal, action, data, scope)
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

// requestSkew is how far a signed request's date may be off.
const requestSkew = 15 * time.Minute

// checkDate refuses signed requests that are too old or too far ahead.
func (s *Service) checkDate(value string) error {
	at, err := http.ParseTime(value)
	if err != nil {
		return authFailed("Date header in the request is incorrect.")
	}
	now, wall := s.cfg.Clock.Now(), s.cfg.Wall()
	for _, t := range []time.Time{now, wall} {
		if d := t.Sub(at); d <= requestSkew && d >= -requestSkew {
			return nil
		}
	}
	return authFailed("Request date header too old: '%s'", value)
}

// clientIP is the address that the request comes from.
func clientIP(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, _ := netip.ParseAddr(host)
	return a.Unmap()
}
