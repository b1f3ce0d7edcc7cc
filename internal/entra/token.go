package entra

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	appTokenLifetime      = time.Hour
	identityTokenLifetime = 24 * time.Hour // as Azure gives managed identities
	// Entra dates tokens back, so that a service whose clock is behind takes
	// them.
	backdate = 5 * time.Minute
	leeway   = time.Minute
)

// ErrUnknownAudience is wrapped when a token is asked for a resource that the
// tenant does not know.
var ErrUnknownAudience = errors.New("entra: unknown audience")

// Token is an access token. Times are of the injected clock.
type Token struct {
	AccessToken string
	Audience    string // as it was asked for
	ClientID    string // of the principal it speaks for; empty for users
	NotBefore   time.Time
	ExpiresOn   time.Time
}

// Token issues a token for a principal, who need not prove anything: it is for
// the server's own use. Errors wrap ErrNoPrincipal or ErrUnknownAudience.
func (d *Directory) Token(ctx context.Context, objectID, audience string) (t Token, err error) {
	err = d.cfg.Store.View(ctx, func(tx store.Tx) error {
		p, err := d.principal(tx, objectID)
		if err != nil {
			return err
		}
		t, err = d.issue(tx, p, audience)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("issue a token for %s: %w", audience, err)
	}
	return t, nil
}

func (d *Directory) issue(tx store.Tx, p *principal, audience string) (Token, error) {
	version, known, err := d.tokenVersion(tx, audience)
	if err != nil {
		return Token{}, err
	}
	if !known {
		return Token{}, fmt.Errorf("%w: %s", ErrUnknownAudience, audience)
	}
	now := d.cfg.Clock.Now().Truncate(time.Second)
	lifetime := appTokenLifetime
	if p.Kind == kindManagedIdentity {
		lifetime = identityTokenLifetime
	}
	t := Token{Audience: audience, ClientID: p.AppID, NotBefore: now.Add(-backdate), ExpiresOn: now.Add(lifetime)}
	id := make([]byte, 16)
	rand.Read(id)
	c := &claims{
		Audience:  audience,
		IssuedAt:  t.NotBefore.Unix(),
		NotBefore: t.NotBefore.Unix(),
		Expires:   t.ExpiresOn.Unix(),
		ObjectID:  p.ObjectID,
		Subject:   p.ObjectID,
		TenantID:  d.cfg.TenantID,
		TokenID:   base64.RawURLEncoding.EncodeToString(id),
	}
	proof := "1" // a secret
	if p.Kind == kindManagedIdentity {
		proof = "2" // a certificate, which Azure keeps for it
		c.ResourceID = p.ResourceID
	}
	switch p.Type {
	case TypeUser:
		c.IDType, c.Name, c.UPN, c.Scopes = "user", p.DisplayName, p.UPN, "user_impersonation"
	default:
		c.IDType = "app"
	}
	if version == 2 {
		// A version 2 audience is always named by the application's ID.
		c.Audience = strings.ToLower(strings.TrimPrefix(strings.TrimSuffix(audience, "/"), "api://"))
		c.Issuer, c.Version = d.issuerV2(), "2.0"
		c.Azp, c.AzpAuth = p.AppID, proof
	} else {
		c.Issuer, c.Version, c.IDP = d.issuerV1(), "1.0", d.issuerV1()
		c.AppID, c.AppIDAuth = p.AppID, proof
		c.UniqueName = p.UPN
	}
	if t.AccessToken, err = d.keys.sign(c); err != nil {
		return Token{}, err
	}
	return t, nil
}

func (d *Directory) issuerV1() string { return "https://" + stsHost + "/" + d.cfg.TenantID + "/" }
func (d *Directory) issuerV2() string { return d.Authority() + "/v2.0" }
