package entra

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const maxForm = 64 << 10

// LoginHosts are the host names that LoginHandler serves.
func LoginHosts() []string { return []string{loginHost, "login.windows.net", stsHost} }

// LoginHandler serves the token service and its discovery documents.
func (d *Directory) LoginHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("Client-Request-Id"); isUUID(id) && strings.EqualFold(r.Header.Get("Return-Client-Request-Id"), "true") {
			w.Header().Set("Client-Request-Id", id)
		}
		if err := d.serveLogin(w, r); err != nil {
			var refusal *stsError
			if !errors.As(err, &refusal) {
				d.log.Error("the token service failed", keyPath, r.URL.Path, keyError, err)
				refusal = &stsError{90033, http.StatusServiceUnavailable, "temporarily_unavailable",
					"A transient error has occurred. Please try again."}
			}
			d.writeSTSError(w, r, refusal)
		}
	})
}

// Keys of log records.
const (
	keyError = "error"
	keyPath  = "path"
)

func (d *Directory) serveLogin(w http.ResponseWriter, r *http.Request) error {
	// Clients put a slash behind the login endpoint, with which it may end.
	tenant, rest, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	rest = strings.ToLower(strings.TrimSuffix(rest, "/"))
	if rest == "discovery/instance" {
		return d.discoverInstance(w, r)
	}
	if !d.isTenant(tenant) {
		return errTenant(tenant)
	}
	if name, ok := strings.CutPrefix(rest, "userrealm/"); ok {
		d.userRealm(w, name)
		return nil
	}
	switch rest {
	case ".well-known/openid-configuration":
		writeJSON(w, http.StatusOK, d.openIDConfiguration(tenant, ""))
	case "v2.0/.well-known/openid-configuration":
		writeJSON(w, http.StatusOK, d.openIDConfiguration(tenant, "/v2.0"))
	case "discovery/keys":
		writeJSON(w, http.StatusOK, map[string]any{"keys": d.keys.public("")})
	case "discovery/v2.0/keys":
		writeJSON(w, http.StatusOK, map[string]any{"keys": d.keys.public(d.issuerV2())})
	case "oauth2/v2.0/token":
		return d.serveToken(w, r, tenant, 2)
	case "oauth2/token":
		return d.serveToken(w, r, tenant, 1)
	default:
		return errNotImplemented(r.Method + " " + r.URL.Path)
	}
	return nil
}

// discoverInstance answers the question of which clouds there are, and which
// names each has.
func (d *Directory) discoverInstance(w http.ResponseWriter, r *http.Request) error {
	authority, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || authority.Scheme != "https" {
		return errParameter("authorization_endpoint")
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(authority.Path, "/"), "/")
	known := false
	for _, h := range LoginHosts() {
		known = known || strings.EqualFold(authority.Host, h)
	}
	if !known || tenant == "" {
		return errInstance()
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + loginHost + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": loginHost,
			"preferred_cache":   "login.windows.net",
			"aliases":           []string{loginHost, "login.windows.net", "login.microsoft.com", stsHost},
		}},
	})
	return nil
}

// openIDConfiguration describes the tenant's endpoints, for version "" (1) or
// "/v2.0".
func (d *Directory) openIDConfiguration(tenant, version string) map[string]any {
	issuerTenant := d.cfg.TenantID
	if t := strings.ToLower(tenant); t == "common" || t == "organizations" {
		issuerTenant = "{tenantid}" // what Entra says: the caller is to fill it in
	} else {
		tenant = d.cfg.TenantID
	}
	base := "https://" + loginHost + "/" + tenant
	issuer, keys := "https://"+stsHost+"/"+issuerTenant+"/", "/discovery/keys"
	if version != "" {
		issuer, keys = "https://"+loginHost+"/"+issuerTenant+"/v2.0", "/discovery/v2.0/keys"
	}
	return map[string]any{
		"token_endpoint":                        base + "/oauth2" + version + "/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              base + keys,
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{string(algorithm)},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                issuer,
		"request_uri_parameter_supported":       false,
		"authorization_endpoint":                base + "/oauth2" + version + "/authorize",
		"device_authorization_endpoint":         base + "/oauth2" + version + "/devicecode",
		"end_session_endpoint":                  base + "/oauth2" + version + "/logout",
		"tenant_region_scope":                   nil,
		"cloud_instance_name":                   "microsoftonline.com",
		"cloud_graph_host_name":                 "graph.windows.net",
		"msgraph_host":                          "graph.microsoft.com",
	}
}

// serveToken is the token endpoint, of version 1 (resource=) or 2 (scope=).
func (d *Directory) serveToken(w http.ResponseWriter, r *http.Request, tenant string, version int) error {
	if r.Method != http.MethodPost {
		return errMethod(r.Method)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return errRequest()
	}
	req := tokenRequest{form: r.PostForm, tenant: tenant, version: version, clientID: r.PostForm.Get("client_id"), secret: r.PostForm.Get("client_secret")}
	if user, password, ok := r.BasicAuth(); ok {
		// RFC 6749, 2.3.1: both are form-encoded within the header.
		id, idErr := url.QueryUnescape(user)
		secret, secretErr := url.QueryUnescape(password)
		if idErr != nil || secretErr != nil {
			return errRequest()
		}
		req.clientID, req.secret = id, secret
	}
	switch grantType := req.form.Get("grant_type"); grantType {
	case "":
		return errParameter("grant_type")
	case "client_credentials":
		return d.clientCredentials(w, r, req)
	case "refresh_token":
		return d.refreshGrant(w, r, req)
	case "password":
		return d.passwordGrant(w, r, req)
	case "authorization_code", "device_code", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:jwt-bearer":
		return errNotImplemented("the grant type " + grantType)
	default:
		return errGrantType(grantType)
	}
}

type tokenRequest struct {
	assertion *assertion // set by client
	form      url.Values
	tenant    string
	version   int
	clientID  string
	secret    string
}

// audience returns the resource that a request is for.
func (q *tokenRequest) audience(appOnly bool) (string, error) {
	if q.version == 1 {
		resource := q.form.Get("resource")
		if resource == "" {
			// Entra has a default of old, the Azure AD Graph, which no client wants.
			return "", errParameter("resource")
		}
		return resource, nil
	}
	scope := q.form.Get("scope")
	if strings.TrimSpace(scope) == "" {
		return "", errParameter("scope")
	}
	audience := ""
	for _, s := range strings.Fields(scope) {
		// MSAL for Go names these for applications, too.
		if s == "openid" || s == "profile" || s == "email" || s == "offline_access" {
			continue
		}
		i := strings.LastIndex(s, "/")
		if i <= 0 || appOnly && s[i+1:] != ".default" || audience != "" && audience != s[:i] {
			return "", errScope(scope)
		}
		audience = s[:i]
	}
	if audience == "" {
		return "", errScope(scope)
	}
	return audience, nil
}

// client returns the client ID of the application that asks, once it has proved
// itself with a secret or a token of another issuer. Managed identities have no
// secrets, but may have federated credentials. The signature of such a token is
// left in q for checkProof, which no transaction should wait for.
func (d *Directory) client(tx store.Tx, q *tokenRequest) (string, error) {
	if q.secret == "" && q.form.Get("client_assertion") != "" {
		return d.assertedClient(tx, q)
	}
	app, err := d.tables.applications.Get(tx, strings.ToLower(q.clientID))
	if errors.Is(err, store.ErrNotFound) {
		return "", errApplication(q.clientID, q.tenant)
	}
	if err != nil {
		return "", err
	}
	if q.secret == "" {
		return "", errNoSecret()
	}
	switch v, err := d.checkSecret(app, q.secret); {
	case err != nil:
		return "", err
	case v == secretExpired:
		return "", errSecretExpired(app.AppID)
	case v != secretRight:
		return "", errSecret(app.AppID)
	}
	return app.AppID, nil
}

// assertedClient is client for a client_assertion.
func (d *Directory) assertedClient(tx store.Tx, q *tokenRequest) (string, error) {
	if q.form.Get("client_assertion_type") != assertionType {
		return "", errParameter("client_assertion_type")
	}
	p, err := first(&d.tables.principals, tx, byAppID, q.clientID)
	if errors.Is(err, store.ErrNotFound) {
		return "", errApplication(q.clientID, q.tenant)
	}
	if err != nil {
		return "", err
	}
	if q.assertion, err = readAssertion(q.form.Get("client_assertion")); err != nil {
		return "", err
	}
	if strings.EqualFold(q.assertion.Issuer, q.clientID) {
		return "", errNotImplemented("a client assertion signed with a certificate")
	}
	return p.AppID, d.matchFederated(tx, p.AppID, q.assertion)
}

// checkProof checks what of the client's proof was left.
func (d *Directory) checkProof(ctx context.Context, q *tokenRequest) error {
	if q.assertion == nil {
		return nil
	}
	return d.checkAssertion(ctx, q.assertion)
}

func (d *Directory) clientCredentials(w http.ResponseWriter, r *http.Request, q tokenRequest) error {
	if q.clientID == "" {
		return errParameter("client_id")
	}
	var token Token
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		appID, err := d.client(tx, &q)
		if err != nil {
			return err
		}
		audience, err := q.audience(true)
		if err != nil {
			return err
		}
		p, err := first(&d.tables.principals, tx, byAppID, appID)
		if errors.Is(err, store.ErrNotFound) {
			return errApplication(q.clientID, q.tenant)
		}
		if err != nil {
			return err
		}
		token, err = d.issue(tx, p, audience)
		return err
	})
	if err == nil {
		err = d.checkProof(r.Context(), &q)
	}
	if err != nil {
		return d.tokenRefusal(err, &q)
	}
	writeJSON(w, http.StatusOK, d.tokenResponse(token, q.version))
	return nil
}

func (d *Directory) refreshGrant(w http.ResponseWriter, r *http.Request, q tokenRequest) error {
	switch {
	case q.form.Get("refresh_token") == "":
		return errParameter("refresh_token")
	case q.clientID == "":
		return errParameter("client_id")
	}
	var token Token
	var principalID string
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		// A client that is an application of the tenant with secrets must prove
		// itself; others, such as the Azure CLI, are public.
		app, err := d.tables.applications.Get(tx, strings.ToLower(q.clientID))
		if err == nil && len(app.Secrets) > 0 {
			_, err = d.client(tx, &q)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		audience, err := q.audience(false)
		if err != nil {
			return err
		}
		p, err := d.redeem(tx, q.form.Get("refresh_token"), q.clientID)
		if err != nil {
			return err
		}
		principalID = p.ObjectID
		token, err = d.issue(tx, p, audience)
		return err
	})
	if err == nil {
		err = d.checkProof(r.Context(), &q)
	}
	if err != nil {
		return d.tokenRefusal(err, &q)
	}
	next, err := d.IssueRefreshToken(r.Context(), principalID, q.clientID)
	if err != nil {
		return err
	}
	body := d.tokenResponse(token, q.version)
	body["refresh_token"] = next
	if q.version == 2 {
		body["scope"] = q.form.Get("scope")
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// tokenRefusal gives the errors of the directory Entra's words.
func (d *Directory) tokenRefusal(err error, q *tokenRequest) error {
	var refresh *refreshError
	switch {
	case errors.Is(err, ErrUnknownAudience):
		audience, _ := q.audience(false)
		return errResource(audience, d.cfg.Domain)
	case errors.As(err, &refresh) && refresh.expired:
		return errRefreshExpired(refresh)
	case errors.Is(err, ErrRefresh):
		return errGrant()
	case errors.Is(err, ErrNoPrincipal):
		return errRevoked()
	}
	return err
}

// tokenResponse writes a token as the endpoint of a version does: version 1
// writes numbers as strings.
func (d *Directory) tokenResponse(t Token, version int) map[string]any {
	// Entra says a second less than the token has.
	seconds := int64(t.ExpiresOn.Sub(d.cfg.Clock.Now())/time.Second) - 1
	if version == 2 {
		return map[string]any{
			"token_type":     "Bearer",
			"expires_in":     seconds,
			"ext_expires_in": seconds,
			"access_token":   t.AccessToken,
		}
	}
	return map[string]any{
		"token_type":     "Bearer",
		"expires_in":     strconv.FormatInt(seconds, 10),
		"ext_expires_in": strconv.FormatInt(seconds, 10),
		"expires_on":     strconv.FormatInt(t.ExpiresOn.Unix(), 10),
		"not_before":     strconv.FormatInt(t.NotBefore.Unix(), 10),
		"resource":       t.Audience,
		"access_token":   t.AccessToken,
	}
}
