package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// Audiences of the tokens that the provider asks for.
const (
	managementAudience = "https://management.azure.com/"
	storageAudience    = "https://storage.azure.com/"
)

const (
	// maxBody is the largest answer that is read: an ARM document or a page.
	maxBody = 16 << 20
	// serviceRetries is how often an answer of 429 or 5xx is tried again.
	serviceRetries = 4
	// A server that does not answer is tried again for twenty seconds, so that an
	// apply survives its restart.
	reconnects     = 100
	reconnectPause = 200 * time.Millisecond
	pollFloor      = 5 * time.Millisecond
	pollCeiling    = time.Second
)

// client sends requests to Azure Resource Manager.
type client struct {
	http *http.Client
	// base is the address of Azure Resource Manager, without a slash at the end.
	base  string
	token func(ctx context.Context, audience string) (string, error)
	clock clock.Clock
}

// azureError is an error that an Azure service answered.
type azureError struct {
	Status  int
	Code    string
	Message string
	Target  string
	// Details are the codes and messages nested in the error.
	Details []string
}

// Error says it as azurerm's own client does.
func (e *azureError) Error() string {
	s := fmt.Sprintf("unexpected status %d (%d %s)", e.Status, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		s += " with error: " + e.Code + ": " + e.Message
	}
	for _, d := range e.Details {
		s += "\n" + d
	}
	return s
}

func isNotFound(err error) bool {
	var e *azureError
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

func hasCode(err error, code string) bool {
	var e *azureError
	return errors.As(err, &e) && strings.EqualFold(e.Code, code)
}

// reply is what a service answered.
type reply struct {
	status int
	header http.Header
	doc    map[string]any
}

// get reads a document.
func (c *client) get(ctx context.Context, path, version string) (map[string]any, error) {
	r, err := c.do(ctx, http.MethodGet, path, version, nil)
	if err != nil {
		return nil, err
	}
	return r.doc, nil
}

// getAll reads every page of a list.
func (c *client) getAll(ctx context.Context, path, version string) ([]any, error) {
	var out []any
	next := path
	for next != "" {
		doc, err := c.get(ctx, next, version)
		if err != nil {
			return nil, err
		}
		out = append(out, asList(doc["value"])...)
		next = asString(doc["nextLink"])
	}
	return out, nil
}

// put, patch and remove change a resource and wait for the operation to end.
func (c *client) put(ctx context.Context, path, version string, body any) error {
	return c.change(ctx, http.MethodPut, path, version, body)
}

func (c *client) patch(ctx context.Context, path, version string, body any) error {
	return c.change(ctx, http.MethodPatch, path, version, body)
}

func (c *client) remove(ctx context.Context, path, version string) error {
	return c.change(ctx, http.MethodDelete, path, version, nil)
}

func (c *client) change(ctx context.Context, method, path, version string, body any) error {
	r, err := c.do(ctx, method, path, version, body)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, path, version, method, r); err != nil {
		return &acceptedError{err}
	}
	return nil
}

// acceptedError is a failure of an operation that the service had accepted, so
// that something of the resource may exist.
type acceptedError struct{ error }

func (e *acceptedError) Unwrap() error { return e.error }

// do sends a request to a path of Azure Resource Manager, or to a whole address
// that it gave.
func (c *client) do(ctx context.Context, method, path, version string, body any) (*reply, error) {
	target := path
	if !strings.Contains(path, "://") {
		target = c.base + escapePath(path)
	} else if err := c.trusts(path); err != nil {
		return nil, err
	}
	if version != "" && !strings.Contains(target, "api-version=") {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + "api-version=" + version
	}
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	prepare := func(req *http.Request) error {
		token, err := c.token(ctx, managementAudience)
		if err != nil {
			return fmt.Errorf("obtain a token for Azure Resource Manager: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", "application/json")
		if body != nil {
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
		}
		return nil
	}
	status, header, raw, err := c.send(ctx, method, target, payload, prepare)
	if err != nil {
		return nil, err
	}
	r := &reply{status: status, header: header}
	if status >= 300 {
		return nil, parseError(status, raw)
	}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &r.doc); err != nil {
			return nil, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
		}
	}
	return r, nil
}

// trusts refuses to send a token to an address outside Azure Resource Manager.
func (c *client) trusts(address string) error {
	to, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("follow %q: %w", address, err)
	}
	base, err := url.Parse(c.base)
	if err != nil {
		return fmt.Errorf("address of Azure Resource Manager: %w", err)
	}
	if !strings.EqualFold(to.Host, base.Host) && !strings.EqualFold(to.Host, "management.azure.com") {
		return fmt.Errorf("follow %q: it is not an address of Azure Resource Manager", address)
	}
	return nil
}

// escapePath escapes the spaces of names in a path; its query is as the caller
// wrote it.
func escapePath(path string) string {
	p, query, ok := strings.Cut(path, "?")
	p = (&url.URL{Path: p}).EscapedPath()
	if ok {
		return p + "?" + query
	}
	return p
}

// send sends one request, again where that is safe and may help: after 429 and
// 5xx answers, and while the server cannot be reached.
func (c *client) send(ctx context.Context, method, target string, payload []byte, prepare func(*http.Request) error) (int, http.Header, []byte, error) {
	lost := 0
	for try := 0; ; {
		req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(payload))
		if err != nil {
			return 0, nil, nil, fmt.Errorf("%s %s: %w", method, target, err)
		}
		if err := prepare(req); err != nil {
			return 0, nil, nil, err
		}
		status, header, raw, err := c.once(req)
		if err != nil {
			if lost++; lost > reconnects || ctx.Err() != nil || !mayReconnect(repeatable(req), err) {
				return 0, nil, nil, err
			}
			if err := clock.Sleep(ctx, c.clock, reconnectPause); err != nil {
				return 0, nil, nil, err
			}
			continue
		}
		lost = 0
		if !mayRetry(repeatable(req), status) || try >= serviceRetries {
			return status, header, raw, nil
		}
		d := 100 * time.Millisecond << try
		if after, ok := retryAfter(header); ok {
			d = min(after, 30*time.Second)
		}
		try++
		if err := clock.Sleep(ctx, c.clock, d); err != nil {
			return 0, nil, nil, err
		}
	}
}

func (c *client) once(req *http.Request) (int, http.Header, []byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	if len(raw) > maxBody {
		return 0, nil, nil, fmt.Errorf("the answer to %s %s is larger than %d MiB", req.Method, req.URL.Path, maxBody>>20)
	}
	return resp.StatusCode, resp.Header, raw, nil
}

// repeatable reports whether a request does the same when it arrives twice.
// The POSTs that do are those that only read, and purging.
func repeatable(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return true
	}
	switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:] {
	case "token", "listKeys", "listCredentials", "sharedKeys", "checkNameAvailability", "purge":
		return true
	}
	return false
}

func mayRetry(repeatable bool, status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return repeatable
	}
	return false
}

// mayReconnect reports whether the same request may succeed once the server is
// there again. What is not repeatable is repeated only if it cannot have arrived.
func mayReconnect(repeatable bool, err error) bool {
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &certificate), errors.As(err, &name):
		return false
	case errors.Is(err, syscall.ECONNREFUSED):
		return true
	case !repeatable:
		return false
	}
	// The errors of a lost HTTP/2 connection have no type.
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "connection")
}

func retryAfter(h http.Header) (time.Duration, bool) {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0, false
	}
	return time.Duration(s) * time.Second, true
}

// wait follows a long-running operation to its end.
func (c *client) wait(ctx context.Context, path, version, method string, r *reply) error {
	delay := pollFloor
	for {
		if err := operationError(r); err != nil {
			return err
		}
		var next string
		switch {
		case r.header.Get("Azure-AsyncOperation") != "":
			next = r.header.Get("Azure-AsyncOperation")
		case r.status == http.StatusAccepted && r.header.Get("Location") != "":
			next = r.header.Get("Location")
		case method != http.MethodDelete && method != http.MethodPost && !settled(r.doc):
			next = path
		default:
			return nil
		}
		status, done := operationStatus(r)
		if done {
			return nil
		}
		if after, ok := retryAfter(r.header); ok && after > 0 {
			delay = after
		}
		if err := clock.Sleep(ctx, c.clock, delay); err != nil {
			return fmt.Errorf("waiting for the operation, which is %s: %w", status, err)
		}
		delay = min(2*delay, pollCeiling)
		polled, err := c.do(ctx, http.MethodGet, next, version, nil)
		if err != nil {
			return err
		}
		// The status document does not repeat where it is to be found.
		for _, h := range []string{"Azure-AsyncOperation", "Location"} {
			if polled.header.Get(h) == "" && r.header.Get(h) != "" {
				polled.header.Set(h, r.header.Get(h))
			}
		}
		if polled.header.Get("Azure-AsyncOperation") == "" && polled.status != http.StatusAccepted {
			polled.header.Del("Location")
		}
		r = polled
	}
}

// operationStatus reads the state of an operation from the answer of its status
// address. The first answer, to the change itself, has none.
func operationStatus(r *reply) (status string, done bool) {
	s := asString(r.doc["status"])
	if r.header.Get("Azure-AsyncOperation") == "" {
		return "in progress", false
	}
	return s, strings.EqualFold(s, "Succeeded")
}

// operationError is the error of an operation that ended without success.
func operationError(r *reply) error {
	s := asString(r.doc["status"])
	if s == "" {
		s = asString(getPath(r.doc, "properties.provisioningState"))
	}
	if !strings.EqualFold(s, "Failed") && !strings.EqualFold(s, "Canceled") {
		return nil
	}
	e := readError(r.status, r.doc)
	if e.Code == "" {
		e.Code, e.Message = s, "the operation ended as "+s
	}
	return fmt.Errorf("the operation failed: %w", &azureError{Status: e.Status, Code: e.Code, Message: e.Message, Target: e.Target, Details: e.Details})
}

// settled reports whether a resource's document says that it is ready.
func settled(doc map[string]any) bool {
	s := asString(getPath(doc, "properties.provisioningState"))
	switch strings.ToLower(s) {
	case "", "succeeded", "ready", "failed", "canceled":
		return true
	}
	return false
}

func parseError(status int, raw []byte) error {
	var doc map[string]any
	if json.Unmarshal(raw, &doc) != nil {
		text := strings.TrimSpace(string(raw))
		if len(text) > 400 {
			text = text[:400] + "…"
		}
		return &azureError{Status: status, Code: http.StatusText(status), Message: text}
	}
	return readError(status, doc)
}

// readError reads the error of an ARM document, which some services do not wrap
// in "error".
func readError(status int, doc map[string]any) *azureError {
	body := doc
	if inner := asObject(doc["error"]); inner != nil {
		body = inner
	}
	e := &azureError{Status: status, Code: asString(body["code"]), Message: asString(body["message"]), Target: asString(body["target"])}
	for _, d := range asList(body["details"]) {
		if o := asObject(d); o != nil {
			if e.Target == "" {
				e.Target = asString(o["target"])
			}
			text := asString(o["code"]) + ": " + asString(o["message"])
			if text != e.Code+": "+e.Message && text != ": " {
				e.Details = append(e.Details, text)
			}
		}
	}
	return e
}

// statusOf is the HTTP status of an Azure error, or 0.
func statusOf(err error) int {
	var e *azureError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}
