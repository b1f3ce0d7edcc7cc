package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// credential is a service principal's secret from a provider block.
type credential struct {
	s          *session
	url        string
	id, secret string

	mu     sync.Mutex
	tokens map[string]cachedToken
}

type cachedToken struct {
	text  string
	until time.Time
}

// token asks Entra for a token, or gives the last one for the audience while it
// has at least five minutes to go.
func (c *credential) token(ctx context.Context, audience string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.s.clock.Now()
	if t, ok := c.tokens[audience]; ok && now.Before(t.until) {
		return t.text, nil
	}
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {c.id},
		"client_secret": {c.secret},
		"scope":         {strings.TrimSuffix(audience, "/") + "/.default"},
	}
	status, _, raw, err := c.s.send(ctx, http.MethodPost, c.url+"/"+c.s.tenant+"/oauth2/v2.0/token", []byte(form.Encode()), func(r *http.Request) error {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("ask Entra for a token: %w", err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("read Entra's answer (status %d): %w", status, err)
	}
	if status != http.StatusOK || answer.AccessToken == "" {
		return "", fmt.Errorf("%s: %s", answer.Error, answer.Description)
	}
	if c.tokens == nil {
		c.tokens = map[string]cachedToken{}
	}
	life := time.Duration(answer.ExpiresIn)*time.Second - 5*time.Minute
	c.tokens[audience] = cachedToken{answer.AccessToken, now.Add(life)}
	return answer.AccessToken, nil
}

// verify asks for a token and returns its claims.
func (c *credential) verify(ctx context.Context) (map[string]any, error) {
	token, err := c.token(ctx, managementAudience)
	if err != nil {
		return nil, err
	}
	return tokenClaims(token)
}

// tokenClaims reads the claims of a token that Entra has just given; it does not
// verify it.
func tokenClaims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("read the claims of a token: it has not three parts")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("read the claims of a token: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, fmt.Errorf("read the claims of a token: %w", err)
	}
	return claims, nil
}
