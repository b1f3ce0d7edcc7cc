// Package client is a small Azure Resource Manager client: what the command
// line and the built-in Terraform provider speak to Azimuth with, over the same
// wire as every other client.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/fault"
)

// Addresses of Azure's that this client knows.
const (
	// ManagementAudience is the token audience of Azure Resource Manager, and Host
	// its name.
	ManagementAudience = "https://management.azure.com/"
	Host               = "management.azure.com"
	// GraphURL is Microsoft Graph's address and token audience.
	GraphURL = "https://graph.microsoft.com"
)

// Config is how to reach a cloud.
type Config struct {
	// Address is the host:port of Azimuth's gateway.
	Address string
	// Place is the proxy credential of a place in the cloud's networks that the client
	// calls from; nil is the user's machine.
	Place *url.Userinfo
	// Roots are the authorities to trust.
	Roots *x509.CertPool
	// Tenant, ClientID and ClientSecret are a service principal's.
	Tenant, ClientID, ClientSecret string
	// Subscription is the subscription's ID.
	Subscription string
}

// Client makes authenticated requests. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex
	tokens map[string]token
}

type token struct {
	value   string
	expires time.Time
}

// New returns a client that reaches every Azure host through the gateway.
func New(cfg Config) *Client {
	proxy := &url.URL{Scheme: "http", User: cfg.Place, Host: cfg.Address}
	return &Client{
		cfg:    cfg,
		tokens: map[string]token{},
		http: &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyURL(proxy),
			DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
				if why := res.Header.Get("X-Azimuth-Error"); why != "" {
					return errors.New(why)
				}
				return nil
			},
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     30 * time.Second,
		}},
	}
}

// HTTP is the client's transport, without authentication.
func (c *Client) HTTP() *http.Client { return c.http }

// Subscription is the subscription's ID.
func (c *Client) Subscription() string { return c.cfg.Subscription }

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an error answer of an Azure service.
type Error struct {
	Status  int
	Code    string
	Message string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("HTTP %d: %s", e.Status, e.Message)
	}
	return e.Code + ": " + e.Message
}

// IsNotFound reports whether err is a 404.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Token returns an access token for an audience such as ManagementAudience.
func (c *Client) Token(ctx context.Context, audience string) (string, error) {
	c.mu.Lock()
	t, ok := c.tokens[audience]
	c.mu.Unlock()
	if ok && time.Until(t.expires) > time.Minute {
		return t.value, nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.cfg.ClientID}, "client_secret": {c.cfg.ClientSecret},
		"scope": {audience + ".default"},
	}
	if !strings.HasSuffix(audience, "/") {
		form.Set("scope", audience+"/.default")
	}
	u := "https://login.microsoftonline.com/" + c.cfg.Tenant + "/oauth2/v2.0/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(fault.Exempt, "1")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	defer resp.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", fmt.Errorf("sign in: HTTP %d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("sign in: %w", &Error{resp.StatusCode, body.Error, body.Description})
	}
	c.mu.Lock()
	c.tokens[audience] = token{body.AccessToken, time.Now().Add(time.Duration(body.ExpiresIn) * time.Second)}
	c.mu.Unlock()
	return body.AccessToken, nil
}

// Do makes one request to Azure Resource Manager. path begins at the root and
// may hold a query; in is encoded as JSON unless nil, the answer decoded into
// out unless nil. Long-running operations are waited for.
func (c *Client) Do(ctx context.Context, method, path, apiVersion string, in, out any) error {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return c.DoURL(ctx, method, "https://"+Host+path+sep+"api-version="+apiVersion, in, out)
}

// DoURL is Do for a whole URL, such as a nextLink.
func (c *Client) DoURL(ctx context.Context, method, target string, in, out any) error {
	resp, body, err := c.send(ctx, method, target, in)
	if err != nil {
		return err
	}
	if op := resp.Header.Get("Azure-AsyncOperation"); op != "" && method != http.MethodGet {
		if err := c.await(ctx, op, resp.Header.Get("Retry-After")); err != nil {
			return err
		}
		if out != nil && method != http.MethodDelete && method != http.MethodPost {
			return c.DoURL(ctx, http.MethodGet, target, nil, out)
		}
		return nil
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, target, err)
	}
	return nil
}

const maxAnswer = 64 << 20

func (c *Client) send(ctx context.Context, method, target string, in any) (*http.Response, []byte, error) {
	audience := ManagementAudience
	if strings.HasPrefix(target, GraphURL) {
		audience = GraphURL
	}
	tok, err := c.Token(ctx, audience)
	if err != nil {
		return nil, nil, err
	}
	var payload io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, nil, fmt.Errorf("%s %s: encode: %w", method, target, err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	req.Header.Set("Authorization", "Bearer "+tok)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: read answer: %w", method, target, err)
	}
	if resp.StatusCode >= 400 {
		return nil, nil, ParseError(resp.StatusCode, body)
	}
	return resp, body, nil
}

// ParseError reads an error answer in ARM's shape.
func ParseError(status int, body []byte) *Error {
	type inner struct {
		Message    string
		InnerError *inner
	}
	var doc struct {
		Error struct {
			Code, Message string
			InnerError    *inner
		}
	}
	if json.Unmarshal(body, &doc) == nil && doc.Error.Code != "" {
		e := &Error{status, doc.Error.Code, doc.Error.Message}
		// the query API says at the bottom what is wrong
		for i := doc.Error.InnerError; i != nil; i = i.InnerError {
			e.Message = i.Message
		}
		return e
	}
	text := strings.TrimSpace(string(body))
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	if text == "" {
		text = http.StatusText(status)
	}
	return &Error{Status: status, Message: text}
}

// await polls an operation until it is over.
func (c *Client) await(ctx context.Context, op, retryAfter string) error {
	for {
		var status struct {
			Status string
			Error  *Error
		}
		resp, body, err := c.send(ctx, http.MethodGet, op, nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &status); err != nil {
			return fmt.Errorf("operation status: %w", err)
		}
		switch status.Status {
		case "Succeeded":
			return nil
		case "Failed", "Canceled":
			if status.Error != nil {
				return status.Error
			}
			return fmt.Errorf("the operation ended as %s", status.Status)
		}
		if v := resp.Header.Get("Retry-After"); v != "" {
			retryAfter = v
		}
		wait, err := time.ParseDuration(retryAfter + "s")
		if err != nil || wait < 50*time.Millisecond {
			wait = 50 * time.Millisecond
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// List yields the items of a collection, page by page.
func List[T any](ctx context.Context, c *Client, path, apiVersion string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		next := "https://" + Host + path + sep + "api-version=" + apiVersion
		for next != "" {
			var page struct {
				Value    []T    `json:"value"`
				NextLink string `json:"nextLink"`
			}
			if err := c.DoURL(ctx, http.MethodGet, next, nil, &page); err != nil {
				yield(zero, err)
				return
			}
			for _, v := range page.Value {
				if !yield(v, nil) {
					return
				}
			}
			next = page.NextLink
		}
	}
}
