package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// FederatedCredential lets whoever holds a token of another issuer, for a
// subject, act as an application or a managed identity.
// https://learn.microsoft.com/entra/workload-id/workload-identity-federation
type FederatedCredential struct {
	ID      string `json:"id"`
	AppID   string `json:"appId"` // client ID of the application or identity
	Name    string `json:"name"`  // unique in it
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Audiences that the token may be for, one of which must be.
	Audiences   []string `json:"audiences"`
	Description string   `json:"description,omitempty"`
}

// assertionType is the client_assertion_type of RFC 7523.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// MaxFederatedCredentials is how many an application or identity may have.
const MaxFederatedCredentials = 20

// PutFederatedCredential creates or replaces the credential of its name. An
// error that wraps ErrFederated says what is wrong with it.
func (d *Directory) PutFederatedCredential(tx store.Tx, f FederatedCredential) error {
	f.AppID = strings.ToLower(f.AppID)
	if u, err := url.Parse(f.Issuer); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%w: the issuer %q is not an https address", ErrFederated, f.Issuer)
	}
	if f.Subject == "" || len(f.Audiences) != 1 || f.Audiences[0] == "" {
		return fmt.Errorf("%w: it needs a subject and exactly one audience", ErrFederated)
	}
	others, err := d.FederatedCredentials(tx, f.AppID)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(o FederatedCredential) bool { return strings.EqualFold(o.Name, f.Name) })
	if len(others) >= MaxFederatedCredentials {
		return fmt.Errorf("%w: there are %d, and no more are allowed", ErrFederated, len(others))
	}
	for _, o := range others {
		if o.Issuer == f.Issuer && o.Subject == f.Subject {
			return fmt.Errorf("%w: %s has the same issuer and subject", ErrFederated, o.Name)
		}
	}
	if f.ID == "" {
		f.ID = newID()
	}
	if err := d.tables.federated.Put(tx, &f); err != nil {
		return fmt.Errorf("federated credential %s: %w", f.Name, err)
	}
	return nil
}

// ErrFederated is wrapped when a federated credential cannot be as it is given.
var ErrFederated = errors.New("entra: federated credential")

// FederatedCredentials returns those of an application or identity, by name.
func (d *Directory) FederatedCredentials(tx store.Tx, appID string) ([]FederatedCredential, error) {
	var out []FederatedCredential
	for f, err := range d.tables.federated.All(tx, store.Range{Prefix: strings.ToLower(appID) + "|"}) {
		if err != nil {
			return nil, fmt.Errorf("federated credentials of %s: %w", appID, err)
		}
		out = append(out, *f)
	}
	return out, nil
}

// DeleteFederatedCredential removes one. Removing what is not there is not an
// error.
func (d *Directory) DeleteFederatedCredential(tx store.Tx, appID, name string) error {
	key := d.tables.federated.Key(&FederatedCredential{AppID: strings.ToLower(appID), Name: name})
	if err := d.tables.federated.Delete(tx, key); err != nil {
		return fmt.Errorf("federated credential %s: %w", name, err)
	}
	return nil
}

// assertion is what of a client's assertion decides.
type assertion struct {
	jwt.Claims
	token *jwt.JSONWebToken
	keyID string
}

func readAssertion(raw string) (*assertion, error) {
	if len(raw) > maxTokenSize {
		return nil, errAssertionMalformed()
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512})
	if err != nil || len(token.Headers) != 1 {
		return nil, errAssertionMalformed()
	}
	a := &assertion{token: token, keyID: token.Headers[0].KeyID}
	if err := token.UnsafeClaimsWithoutVerification(&a.Claims); err != nil {
		return nil, errAssertionMalformed()
	}
	return a, nil
}

// matchFederated finds the credential that the assertion is for, or says in
// Entra's words what none has.
func (d *Directory) matchFederated(tx store.Tx, appID string, a *assertion) error {
	all, err := d.FederatedCredentials(tx, appID)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errNoFederated()
	}
	all = slices.DeleteFunc(all, func(f FederatedCredential) bool { return f.Issuer != a.Issuer })
	if len(all) == 0 {
		return errFederated(700211, "issuer", a.Issuer)
	}
	all = slices.DeleteFunc(all, func(f FederatedCredential) bool { return f.Subject != a.Subject })
	if len(all) == 0 {
		return errFederated(700213, "subject", a.Subject)
	}
	for _, f := range all {
		if slices.ContainsFunc(f.Audiences, func(aud string) bool { return slices.Contains(a.Audience, aud) }) {
			return nil
		}
	}
	return errFederated(700212, "audience", strings.Join(a.Audience, ","))
}

// checkAssertion verifies the signature and the times of an assertion whose
// credential is there. Tokens of others go by the time of day, not by this
// cloud's clock.
func (d *Directory) checkAssertion(ctx context.Context, a *assertion) error {
	now := d.cfg.Wall()
	if a.Issuer == d.issuerV2() || a.Issuer == d.issuerV1() {
		now = d.cfg.Clock.Now()
		key := d.keys.find(a.keyID)
		if key == nil || a.token.Claims(&key.private.PublicKey, &jwt.Claims{}) != nil {
			return errAssertionSignature()
		}
	} else if err := d.issuers.verify(ctx, a, now); err != nil {
		return err
	}
	if a.Expiry == nil || a.ValidateWithLeeway(jwt.Expected{Time: now}, leeway) != nil {
		return errAssertionTime(now)
	}
	return nil
}

// issuers fetches and remembers the keys of other identity providers.
type issuers struct {
	client *http.Client

	mu   sync.Mutex
	keys map[string]issuerKeys
}

type issuerKeys struct {
	set     jose.JSONWebKeySet
	fetched time.Time
}

const (
	// keysLifetime is how long an issuer's keys are used without asking again,
	// keysRetry how soon after they are asked for again when one is missing.
	keysLifetime = time.Hour
	keysRetry    = 10 * time.Second
	maxKeys      = 1 << 20 // bytes of a document
	fetchTimeout = 10 * time.Second
)

func (s *issuers) verify(ctx context.Context, a *assertion, now time.Time) error {
	s.mu.Lock()
	known, ok := s.keys[a.Issuer]
	s.mu.Unlock()
	if !ok || now.Sub(known.fetched) > keysLifetime || len(known.set.Key(a.keyID)) == 0 && now.Sub(known.fetched) > keysRetry {
		set, err := s.fetch(ctx, a.Issuer)
		if err != nil {
			return errIssuer(a.Issuer, err)
		}
		known = issuerKeys{set, now}
		s.mu.Lock()
		if s.keys == nil {
			s.keys = map[string]issuerKeys{}
		}
		s.keys[a.Issuer] = known // issuers are those of credentials: few
		s.mu.Unlock()
	}
	candidates := known.set.Key(a.keyID)
	if a.keyID == "" {
		candidates = known.set.Keys
	}
	for _, key := range candidates {
		if a.token.Claims(key.Key, &jwt.Claims{}) == nil {
			return nil
		}
	}
	return errAssertionSignature()
}

// fetch reads an issuer's keys by OpenID Connect Discovery.
func (s *issuers) fetch(ctx context.Context, issuer string) (jose.JSONWebKeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var config struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	var set jose.JSONWebKeySet
	if err := s.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &config); err != nil {
		return set, err
	}
	if config.Issuer != issuer {
		return set, fmt.Errorf("its configuration is of the issuer %q", config.Issuer)
	}
	return set, s.get(ctx, config.JWKSURI, &set)
}

func (s *issuers) get(ctx context.Context, address string, v any) error {
	if !strings.HasPrefix(address, "https://") {
		return fmt.Errorf("%q is not an https address", address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", address, err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: HTTP %d", address, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxKeys)).Decode(v); err != nil {
		return fmt.Errorf("get %s: %w", address, err)
	}
	return nil
}
