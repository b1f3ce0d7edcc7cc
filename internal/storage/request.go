package storage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// HostSuffix ends the host names of all storage endpoints. The label before it
// names the service, with the zone of a static website between the two.
const HostSuffix = ".core.windows.net"

// Request is a request to one service of an account, as far as deciding who may
// make it needs to know it.
type Request struct {
	HTTP    *http.Request
	Query   url.Values
	Version string // x-ms-version, "" when the client sent none
	Account *Account
	Service string // "blob", "dfs", "queue", "table", "file" or "web"
	// Secondary says that the request is to the secondary endpoint. What is
	// written is there at once, so that it never lags.
	Secondary bool
}

// SplitHost takes an Azure host name apart.
func SplitHost(host string) (account, service string, err error) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rest, ok := strings.CutSuffix(strings.ToLower(host), HostSuffix)
	account, rest, dot := strings.Cut(rest, ".")
	if !ok || !dot || account == "" {
		return "", "", Refuse("InvalidUri")
	}
	switch rest {
	case "blob", "dfs", "queue", "table", "file":
		return account, rest, nil
	}
	if zone, ok := strings.CutSuffix(rest, ".web"); ok && strings.HasPrefix(zone, "z") {
		return account, "web", nil
	}
	return "", "", Refuse("InvalidUri")
}

// Arrive does what comes first for every request: it notes the request's IDs on
// the response, checks the service version and finds the account and service of the host,
// and that the account may be spoken to in this way. The request is returned, as
// far as it is known, beside an error, too.
func Arrive(w http.ResponseWriter, r *http.Request, id, version string, accounts Accounts, now time.Time) (*Request, error) {
	h := w.Header()
	h["Date"] = []string{now.UTC().Format(http.TimeFormat)}
	h.Del("x-ms-request-id") // the gateway's, in Go's spelling
	h["x-ms-request-id"] = []string{id}
	if v := r.Header.Get("x-ms-client-request-id"); v != "" && len(v) <= 1024 {
		h["x-ms-client-request-id"] = []string{v}
	}
	q := &Request{HTTP: r, Version: version}
	var err error
	if q.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return q, Refuse("InvalidUri")
	}
	if q.Version != "" {
		if !IsVersion(q.Version) {
			return q, BadHeader("x-ms-version", q.Version)
		}
		h["x-ms-version"] = []string{q.Version}
	} else if v := q.Query.Get("sv"); IsVersion(v) {
		h["x-ms-version"] = []string{v}
	}
	name, service, err := SplitHost(r.Host)
	if err != nil {
		return q, err
	}
	q.Service = service
	name, q.Secondary = strings.CutSuffix(name, "-secondary") // which no account's own name has in it
	q.Account, err = accounts.Account(r.Context(), name)
	if err == nil && q.Secondary && (!strings.Contains(q.Account.SKU, "RAG") || service == "file") {
		err = ErrNoAccount // only accounts with read access to it have this endpoint
	}
	if errors.Is(err, ErrNoAccount) {
		// In Azure the name would not resolve.
		return q, Refuse("ResourceNotFound").With("Reason", "There is no storage account "+name+".")
	}
	if err != nil {
		return q, fmt.Errorf("find storage account %s: %w", name, err)
	}
	if q.Account.HTTPSOnly && r.TLS == nil {
		return q, Refuse("AccountRequiresHttps").With("AccountName", q.Account.Name)
	}
	if !q.Account.PublicNetwork {
		return q, Refuse("AuthorizationFailure")
	}
	if q.Secondary && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		return q, Refuse("InsufficientAccountPermissions")
	}
	return q, nil
}

// BodyError is a failure to read what the client sends, as opposed to a failure
// to keep it.
type BodyError struct{ Err error }

// Error implements error.
func (e *BodyError) Error() string { return "read request body: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// AsError is the refusal that a client is told for any error.
func AsError(err error) *Error {
	var e *Error
	var body *BodyError
	switch {
	case errors.As(err, &e):
		return e
	case IsFull(err):
		return DiskFull()
	case errors.As(err, &body):
		// The client went away or sent less than it said.
		return Refuse("InvalidInput")
	}
	return Refuse("InternalError")
}

// RefusalHeaders makes the headers of a response those of a refusal, without the
// ones that describe what was to be answered.
func RefusalHeaders(h http.Header, e *Error, tenantID string) {
	for _, k := range []string{"Content-Length", "Content-MD5", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "ETag", "Last-Modified"} {
		delete(h, k) // as they were set, not in the form of net/http
	}
	h["x-ms-error-code"] = []string{e.Code}
	if e.Status == http.StatusUnauthorized {
		h["WWW-Authenticate"] = []string{"Bearer authorization_uri=https://login.microsoftonline.com/" +
			tenantID + "/oauth2/authorize resource_id=https://storage.azure.com"}
	}
}

// RandomHex is 2n random digits.
func RandomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// RequestID is a GUID in the form of Azure's.
func RequestID() string {
	x := RandomHex(16)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// IsVersion reports whether v has the form of a service version, a date.
func IsVersion(v string) bool {
	_, err := time.Parse(time.DateOnly, v)
	return err == nil
}

// FullTime formats a time with all of Azure's digits.
func FullTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// ClientIP is the address that the request comes from.
func ClientIP(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, _ := netip.ParseAddr(host)
	return a.Unmap()
}

// HasWord reports whether word is one of the words of list.
func HasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}
