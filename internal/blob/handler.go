package blob

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// hostSuffix ends the host names of all storage endpoints. The label before it
// names the service, with the zone of a static website between the two.
const hostSuffix = ".core.windows.net"

// call is one request to one account on its way through the service.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	q       url.Values
	id      string // x-ms-request-id
	version string // x-ms-version, "" when the client sent none
	acct    *Account
	service string // "blob", "queue", "table", "file"

	container, blob string
	op              *operation
	sas             *sasToken // set when a SAS authorised the request
	as              *actor    // on whose behalf; nil is the superuser
	at              *moment   // of the blob's past; nil is the blob itself
	granted         string    // the permissions of the SAS
	anonymous       bool      // public access lets the caller read, and no more
	// addOnly tells that the caller may write the blob only if it is new.
	addOnly bool
}

func (c *call) ref() ref {
	return ref{uid: c.acct.UID, container: c.container, name: c.blob, as: c.as, need: c.op.need, at: c.at}
}

// parseMoment reads which snapshot or version a request is about.
func parseMoment(q url.Values) (*moment, error) {
	snapshot, version := q.Get("snapshot"), q.Get("versionid")
	name, v := "snapshot", snapshot
	switch {
	case snapshot == "" && version == "":
		return nil, nil
	case snapshot != "" && version != "":
		return nil, badQuery("versionid", version, "It is given beside snapshot.")
	case version != "":
		name, v = "versionid", version
	}
	at, ok := parseTicks(v)
	if !ok {
		return nil, badQuery(name, v, "")
	}
	return &moment{version: version != "", at: at}, nil
}

// isVersion reports whether v has the form of a service version, a date.
func isVersion(v string) bool {
	_, err := time.Parse(time.DateOnly, v)
	return err == nil
}

// ServeHTTP serves the hosts {account}.{blob,dfs,queue,table,file}.core.windows.net
// and {account}.z{n}.web.core.windows.net.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.run(&call{w: w, r: r, id: requestID(), version: r.Header.Get("x-ms-version")})
}

// run serves one call and answers it.
func (s *Service) run(c *call) {
	h := c.w.Header()
	h["Server"] = []string{"Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"}
	h["Date"] = []string{s.cfg.Clock.Now().UTC().Format(http.TimeFormat)}
	h.Del("x-ms-request-id") // the gateway's, in Go's spelling
	h["x-ms-request-id"] = []string{c.id}
	if v := c.r.Header.Get("x-ms-client-request-id"); v != "" && len(v) <= 1024 {
		h["x-ms-client-request-id"] = []string{v}
	}
	if err := s.serve(c); err != nil {
		s.fail(c, err)
	}
}

// requestID is a GUID in the form of Azure's.
func requestID() string {
	x := randomHex(16)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func (s *Service) serve(c *call) error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return refuse("InvalidUri")
	}
	c.q = query
	if c.version != "" {
		if !isVersion(c.version) {
			return badHeader("x-ms-version", c.version)
		}
		c.w.Header()["x-ms-version"] = []string{c.version}
	} else if v := query.Get("sv"); isVersion(v) {
		c.w.Header()["x-ms-version"] = []string{v}
	}
	name, service, err := splitHost(c.r.Host)
	if err != nil {
		return err
	}
	c.service = service
	c.acct, err = s.cfg.Accounts.Account(c.r.Context(), name)
	if errors.Is(err, ErrNoAccount) {
		// In Azure the name would not resolve.
		return refuse("ResourceNotFound").With("Reason", "There is no storage account "+name+".")
	}
	if err != nil {
		return err
	}
	if c.acct.HTTPSOnly && c.r.TLS == nil {
		return refuse("AccountRequiresHttps").With("AccountName", c.acct.Name)
	}
	if !c.acct.PublicNetwork {
		return refuse("AuthorizationFailure")
	}
	switch service {
	case "blob":
	case "dfs":
		return s.serveDFS(c)
	default:
		return s.serveOther(c)
	}
	c.container, c.blob = splitPath(c.r.URL)
	l := onService
	switch {
	case c.blob != "":
		l = onBlob
		err = checkBlobName(c.blob)
	case c.container != "":
		l = onContainer
	}
	if err != nil {
		return err
	}
	if c.container != "" {
		if err := checkContainerName(c.container); err != nil {
			return err
		}
	}
	if c.op, err = s.ops.find(l, c.r, c.q); err != nil {
		return err
	}
	if err := s.authorize(c); err != nil {
		return err
	}
	if c.op.do == nil {
		return notImplemented(c.op.name)
	}
	if err := refuseUnsupported(c); err != nil {
		return err
	}
	return c.op.do(s, c)
}

// refuseUnsupported names features of a request that would change its meaning
// and are not there.
func refuseUnsupported(c *call) error {
	h := c.r.Header
	for header, feature := range map[string]string{
		"x-ms-encryption-key":                 "customer-provided encryption keys",
		"x-ms-encryption-scope":               "encryption scopes",
		"x-ms-structured-body":                "structured message bodies",
		"x-ms-if-tags":                        "conditions on blob tags",
		"x-ms-immutability-policy-mode":       "immutability policies",
		"x-ms-legal-hold":                     "legal holds",
		"x-ms-default-encryption-scope":       "encryption scopes",
		"x-ms-deny-encryption-scope-override": "encryption scopes",
	} {
		if v := h.Get(header); v != "" && !strings.EqualFold(v, "false") {
			return notImplemented(c.op.name + " with " + feature)
		}
	}
	var err error
	if c.at, err = parseMoment(c.q); err != nil {
		return err
	}
	if c.at != nil && !c.op.past {
		return refuse("UnsupportedQueryParameter")
	}
	return nil
}

// splitHost takes an Azure host name apart.
func splitHost(host string) (account, service string, err error) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rest, ok := strings.CutSuffix(strings.ToLower(host), hostSuffix)
	account, rest, dot := strings.Cut(rest, ".")
	if !ok || !dot || account == "" {
		return "", "", refuse("InvalidUri")
	}
	switch rest {
	case "blob", "dfs", "queue", "table", "file":
		return account, rest, nil
	}
	if zone, ok := strings.CutSuffix(rest, ".web"); ok && strings.HasPrefix(zone, "z") {
		return account, "web", nil
	}
	return "", "", refuse("InvalidUri")
}

// fail answers with an error document. It is the one place that logs.
func (s *Service) fail(c *call, err error) {
	var e *Error
	var body *bodyError
	switch {
	case errors.As(err, &e):
	case isFull(err):
		e = diskFull()
	case errors.As(err, &body):
		// The client went away or sent less than it said.
		e = refuse("InvalidInput")
	default:
		e = refuse("InternalError")
	}
	if c.service == "dfs" {
		e = dfsError(e)
	}
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		s.log.Error("storage request failed", "account", accountName(c), "method", c.r.Method,
			"path", c.r.URL.Path, "request", c.id, "error", err)
	}
	h := c.w.Header()
	for _, k := range []string{"Content-Length", "Content-MD5", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "ETag", "Last-Modified"} {
		delete(h, k) // as they were set, not in the form of net/http
	}
	h["x-ms-error-code"] = []string{e.Code}
	if e.Status == http.StatusUnauthorized {
		h["WWW-Authenticate"] = []string{"Bearer authorization_uri=https://login.microsoftonline.com/" +
			s.cfg.TenantID + "/oauth2/authorize resource_id=https://storage.azure.com"}
	}
	if e.Status == http.StatusNotModified || c.r.Method == http.MethodHead {
		c.w.WriteHeader(e.Status)
		return
	}
	if c.service == "dfs" {
		h["Content-Type"] = []string{"application/json;charset=utf-8"}
		c.w.WriteHeader(e.Status)
		writeDFSError(c.w, e, c.id, s.cfg.Clock.Now())
		return
	}
	h["Content-Type"] = []string{"application/xml"}
	c.w.WriteHeader(e.Status)
	writeErrorDocument(c.w, e, c.id, s.cfg.Clock.Now())
}

func accountName(c *call) string {
	if c.acct == nil {
		return ""
	}
	return c.acct.Name
}

// httpTime formats a time for a header.
func httpTime(ns int64) string { return unixTime(ns).Format(http.TimeFormat) }

// fullTime formats a time with all of Azure's digits.
func fullTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
