package oci

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/distribution/distribution/v3/registry/api/errcode"
)

const maxForm = 64 << 10

// exchange gives a refresh token of the registry for an access token of the
// directory:
// https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md#calling-post-oauth2exchange-to-get-an-acr-refresh-token
func (c *call) exchange() error {
	form, err := c.form()
	if err != nil {
		return err
	}
	switch grant := form.Get("grant_type"); grant {
	case "access_token", "access_token_refresh_token":
	case "refresh_token": // a refresh token of the directory; how Azure treats one is not known
		return notImplemented("POST /oauth2/exchange with grant_type=refresh_token")
	default:
		return oauthError("unsupported_grant_type", "grant_type is access_token.")
	}
	if err := c.service(form); err != nil {
		return err
	}
	id, err := c.cfg.Access.Principal(c.ctx, form.Get("access_token"), c.reg.ManagementTokens)
	if errors.Is(err, ErrBadCredential) {
		return c.unauthorized(c, need{}, "")
	}
	if err != nil {
		return err
	}
	who, some := identity{ObjectID: id}, false
	c.tell(who)
	for _, action := range []string{actPull, actPush, actDelete, actMetadataRead} {
		if some, err = c.may(c.ctx, c.reg, who, action); err != nil {
			return err
		}
		if some {
			break
		}
	}
	if !some { // who may do nothing is denied here already, as az tells of Azure
		return c.unauthorized(c, need{}, "")
	}
	token, err := c.tokens.issue(c.reg, who, kindRefresh, nil)
	if err != nil {
		return err
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]string{"refresh_token": token})
	return nil
}

// token gives an access token for scopes: by GET for a user name and password, by
// POST for those in a form or for a refresh token.
func (c *call) token() error {
	form := c.r.URL.Query()
	var who identity
	var err error
	user, password, basic := c.r.BasicAuth()
	if c.r.Method == http.MethodPost {
		if form, err = c.form(); err != nil {
			return err
		}
		switch grant := form.Get("grant_type"); grant {
		case "refresh_token":
			user, password, basic = nobody, form.Get("refresh_token"), true
		case "password":
			user, password, basic = form.Get("username"), form.Get("password"), true
		default:
			return oauthError("unsupported_grant_type", "grant_type is refresh_token or password.")
		}
	}
	if err := c.service(form); err != nil {
		return err
	}
	switch {
	case basic:
		who, err = c.basic(c.ctx, c.reg, user, password)
	case c.r.Header.Get("Authorization") != "" || !c.reg.AnonymousPull:
		err = tokenError{}
	}
	if errors.Is(err, tokenError{}) {
		return c.unauthorized(c, need{}, "")
	}
	if err != nil {
		return err
	}
	c.tell(who)
	granted, err := c.grant(who, form["scope"])
	if err != nil {
		return err
	}
	token, err := c.tokens.issue(c.reg, who, kindAccess, granted)
	if err != nil {
		return err
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]string{"access_token": token})
	return nil
}

// most scopes that are asked for at once: a client that mounts layers asks for one
// of each repository that it knows of.
const maxScopes = 64

// grant is as much of the scopes as the caller may have. Who may have nothing of
// what is asked is refused.
func (c *call) grant(who identity, asked []string) ([]scope, error) {
	var out []scope
	named := false
	held := map[string]bool{}
	for _, param := range asked {
		for _, text := range strings.Fields(param) {
			sc, ok := parseScope(text)
			if !ok {
				return nil, oauthError("invalid_scope", "A scope is TYPE:NAME:ACTIONS.")
			}
			named = true
			if len(out) == maxScopes {
				continue
			}
			got := sc.Actions[:0]
			for _, a := range sc.Actions {
				if !grantable(sc, a) {
					continue
				}
				yes, known := held[a]
				if !known {
					var err error
					if yes, err = c.may(c.ctx, c.reg, who, a); err != nil {
						return nil, err
					}
					held[a] = yes
				}
				if yes {
					got = append(got, a)
				}
			}
			if len(got) > 0 {
				out = append(out, scope{sc.Type, sc.Name, got})
			}
		}
	}
	if named && len(out) == 0 {
		return nil, c.unauthorized(c, need{}, "")
	}
	if !named && who.anonymous() && !c.reg.AnonymousPull {
		return nil, c.unauthorized(c, need{}, "")
	}
	return out, nil
}

// grantable reports whether there is such an action on such a thing.
func grantable(sc scope, action string) bool {
	if sc.Type == typeRegistry {
		return sc.Name == nameCatalog && action == actCatalog
	}
	return sc.Type == typeRepository && action != actCatalog
}

// parseScope reads TYPE:NAME:ACTION,ACTION. Names have colons only in hosts, which
// no name of a registry has.
func parseScope(text string) (scope, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || len(parts[1]) > maxName {
		return scope{}, false
	}
	typ, _, _ := strings.Cut(parts[0], "(") // as in repository(plugin)
	actions := strings.Split(parts[2], ",")
	if typ == typeRepository && slices.Contains(actions, actAll) {
		actions = []string{actPull, actPush, actDelete, actMetadataRead, actMetadataWrite}
	}
	slices.Sort(actions)
	return scope{typ, parts[1], slices.Compact(actions)}, true
}

// form reads a form of the body.
func (c *call) form() (url.Values, error) {
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxForm)
	if err := c.r.ParseForm(); err != nil {
		return nil, oauthError("invalid_request", "The body is not a form.")
	}
	return c.r.PostForm, nil
}

// service refuses requests that name another registry than the one they are sent to.
func (c *call) service(form url.Values) error {
	if name := form.Get("service"); name != "" && !strings.EqualFold(name, c.reg.host()) {
		return oauthError("invalid_request", "The service is "+c.reg.host()+".")
	}
	return nil
}

func oauthError(code, message string) error {
	e := known(errcode.ErrorCodeUnknown, nil)
	e.Status, e.Code, e.Message = http.StatusBadRequest, strings.ToUpper(code), message
	return e
}
