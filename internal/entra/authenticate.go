package entra

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Reason is why a request was not authenticated.
type Reason int

// Reasons.
const (
	ReasonMissing   Reason = iota + 1 // no Authorization header
	ReasonHeader                      // not "Bearer" and a token
	ReasonMalformed                   // not a token
	ReasonSignature                   // not signed by this tenant
	ReasonIssuer                      // of another tenant
	ReasonAudience                    // meant for another service
	ReasonTime                        // expired, or not yet valid
	ReasonPrincipal                   // its principal is no more
	ReasonSecret                      // a client's secret that is not right
)

// AuthError is why a request was not authenticated. Code and Message are the
// words of Azure Resource Manager, to be answered with status 401.
type AuthError struct {
	Reason  Reason
	Code    string
	Message string

	tenant string
	err    error
}

// Error implements error.
func (e *AuthError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s: %s (%v)", e.Code, e.Message, e.err)
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause, which is not for the client.
func (e *AuthError) Unwrap() error { return e.err }

// ARMChallenge is the WWW-Authenticate header of Azure Resource Manager, from
// which clients learn the tenant.
func (e *AuthError) ARMChallenge() string {
	return fmt.Sprintf("Bearer authorization_uri=\"https://login.windows.net/%s\", error=\"invalid_token\", error_description=\"%s\"",
		e.tenant, strings.ReplaceAll(e.Message, `"`, "'"))
}

// Challenge is the WWW-Authenticate header of services that name the resource to
// get a token for, as Key Vault does.
func (e *AuthError) Challenge(resource string) string {
	return fmt.Sprintf("Bearer authorization=\"https://%s/%s\", resource=\"%s\"", loginHost, e.tenant, resource)
}

// Authenticate returns the principal that the request's bearer token speaks for.
// The token must be meant for one of audiences, with or without a final slash.
// A refusal is an *AuthError; any other error is the server's own trouble.
func (d *Directory) Authenticate(ctx context.Context, r *http.Request, audiences ...string) (*Principal, error) {
	token, err := d.bearer(r)
	if err != nil {
		return nil, err
	}
	p, err := d.verify(ctx, token, audiences)
	if err != nil {
		return nil, err
	}
	return d.public(p), nil
}

// AuthenticateClient returns the service principal of the application that a client
// ID and secret are of. A refusal is an *AuthError; any other error is the server's
// own trouble.
func (d *Directory) AuthenticateClient(ctx context.Context, clientID, secret string) (*Principal, error) {
	var p *principal
	err := d.cfg.Store.View(ctx, func(tx store.Tx) error {
		appID, err := d.client(tx, &tokenRequest{tenant: d.cfg.TenantID, clientID: clientID, secret: secret})
		if err != nil {
			return err
		}
		p, err = first(&d.tables.principals, tx, byAppID, appID)
		return noPrincipal(err, clientID)
	})
	refused := (*stsError)(nil)
	if errors.As(err, &refused) || errors.Is(err, ErrNoPrincipal) {
		return nil, d.refuse(ReasonSecret, "AuthenticationFailed", "The client ID or secret is invalid.", err)
	}
	if err != nil {
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	return d.public(p), nil
}

func (d *Directory) bearer(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", d.refuse(ReasonMissing, "AuthenticationFailed",
			"Authentication failed. The 'Authorization' header is missing.", nil)
	}
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", d.refuse(ReasonHeader, "AuthenticationFailedInvalidHeader",
			"Authentication failed. The 'Authorization' header is provided in an invalid format.", nil)
	}
	return token, nil
}

func (d *Directory) refuse(reason Reason, code, message string, err error) *AuthError {
	return &AuthError{Reason: reason, Code: code, Message: message, tenant: d.cfg.TenantID, err: err}
}

// verify checks a token and returns its principal. The signature is checked
// once per token; everything else every time.
func (d *Directory) verify(ctx context.Context, token string, audiences []string) (*principal, error) {
	key := sha256.Sum256([]byte(token))
	c, ok := d.verified.get(key)
	if !ok || d.keys.find(c.keyID) == nil {
		var err error
		c, err = d.keys.parse(token)
		switch {
		case errors.Is(err, errSignature):
			// What ARM says of a wrong signature in particular is not known.
			return nil, d.refuse(ReasonSignature, "InvalidAuthenticationToken", "The access token is invalid.", err)
		case err != nil:
			return nil, d.refuse(ReasonMalformed, "InvalidAuthenticationToken", "The access token is invalid.", err)
		}
		d.verified.put(key, c)
	}
	if err := d.checkClaims(c, audiences); err != nil {
		return nil, err
	}
	p, err := d.view(ctx, c.ObjectID)
	if errors.Is(err, ErrNoPrincipal) {
		return nil, d.refuse(ReasonPrincipal, "InvalidAuthenticationToken", "The access token is invalid.", err)
	}
	if err != nil {
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	return p, nil
}

func (d *Directory) checkClaims(c *claims, audiences []string) error {
	issuer := d.issuerV1()
	if c.Version == "2.0" {
		issuer = d.issuerV2()
	}
	if c.Issuer != issuer || c.TenantID != d.cfg.TenantID {
		return d.refuse(ReasonIssuer, "InvalidAuthenticationTokenTenant", fmt.Sprintf(
			"The access token is from the wrong issuer '%s'. It must match the tenant '%s' associated with this subscription. "+
				"Please use the authority (URL) '%s' to get the token.", c.Issuer, d.issuerV1(), d.Authority()), nil)
	}
	if !matchAudience(c.Audience, audiences) {
		return d.refuse(ReasonAudience, "InvalidAuthenticationTokenAudience", fmt.Sprintf(
			"The access token has been obtained for wrong audience or resource '%s'. "+
				"It should exactly match (including forward slash) with one of the allowed audiences '%s'.",
			c.Audience, strings.Join(audiences, "','")), nil)
	}
	now := d.cfg.Clock.Now()
	const usTime = "1/2/2006 3:04:05 PM"
	if expires := time.Unix(c.Expires, 0).UTC(); !now.Before(expires.Add(leeway)) {
		return d.refuse(ReasonTime, "ExpiredAuthenticationToken", fmt.Sprintf(
			"The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			expires.Format(usTime), now.Format(usTime)), nil)
	}
	if now.Add(leeway).Before(time.Unix(c.NotBefore, 0)) {
		return d.refuse(ReasonTime, "InvalidAuthenticationToken", "The access token is invalid.",
			fmt.Errorf("not valid before %s", time.Unix(c.NotBefore, 0).UTC()))
	}
	return nil
}

func matchAudience(have string, want []string) bool {
	have = strings.TrimSuffix(have, "/")
	for _, w := range want {
		if have != "" && have == strings.TrimSuffix(w, "/") {
			return true
		}
	}
	return false
}
