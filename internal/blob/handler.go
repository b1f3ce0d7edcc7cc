package blob

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// call is one request to one account on its way through the service.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	q       url.Values
	id      string // x-ms-request-id
	version string // x-ms-version, "" when the client sent none
	acct    *Account
	service string // "blob", "dfs", "queue", "table", "file", "web"
	// secondary says that the request is to the account's secondary endpoint.
	secondary bool

	container, blob string
	op              *operation
	sas             *storage.SAS // set when a SAS authorised the request
	as              *actor       // on whose behalf; nil is the superuser
	at              *moment      // of the blob's past; nil is the blob itself
	granted         string       // the permissions of the SAS
	anonymous       bool         // public access lets the caller read, and no more
	tagBody         []byte       // of Set Blob Tags, once it was read
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

// ServeHTTP serves the hosts {account}.{blob,dfs,queue,table,file}.core.windows.net
// and {account}.z{n}.web.core.windows.net.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, done := s.patient(w, r)
	defer done()
	s.run(&call{w: w, r: r, id: storage.RequestID(), version: r.Header.Get("x-ms-version")})
}

// run serves one call and answers it.
func (s *Service) run(c *call) {
	c.w.Header()["Server"] = []string{"Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"}
	err := s.serve(c)
	if n := diagnostic.NoteOf(c.r.Context()); n != nil {
		c.tell(n)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// tell notes what the call was, for logs.
func (c *call) tell(n *diagnostic.Note) {
	if c.op != nil {
		n.Operation = c.op.name
	}
	if c.as != nil {
		n.ObjectID = c.as.id
	}
}

func (s *Service) serve(c *call) error {
	// A request of a batch has the version of the batch, which it does not sign.
	q, err := storage.Arrive(c.w, c.r, c.id, c.version, s.cfg.Accounts, s.cfg.Clock.Now())
	c.q, c.service, c.acct, c.secondary = q.Query, q.Service, q.Account, q.Secondary
	if err != nil {
		return err
	}
	if answered, err := storage.CrossOrigin(c.w, q, s.cfg.Store); answered || err != nil {
		return err
	}
	if c.version == "" && !c.q.Has("sv") && c.service == "blob" {
		p, err := s.properties(c.r.Context(), c.acct.UID)
		if err != nil {
			return err
		}
		if p != nil && p.DefaultServiceVersion != "" {
			c.version = p.DefaultServiceVersion
			c.w.Header()["x-ms-version"] = []string{c.version}
		}
	}
	switch c.service {
	case "blob":
	case "dfs":
		return s.serveDFS(c)
	case "web":
		return s.serveWeb(c)
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
	if err := s.refuseUnsupported(c); err != nil {
		return err
	}
	return c.op.do(s, c)
}

// refuseUnsupported names features of a request that would change its meaning
// and are not there.
func (s *Service) refuseUnsupported(c *call) error {
	h := c.r.Header
	for _, f := range [...]struct{ header, feature string }{ // as net/http spells them
		{"X-Ms-Encryption-Key", "customer-provided encryption keys"},
		{"X-Ms-Encryption-Scope", "encryption scopes"},
		{"X-Ms-Structured-Body", "structured message bodies"},
		{"X-Ms-Immutability-Policy-Mode", "immutability policies"},
		{"X-Ms-Legal-Hold", "legal holds"},
		{"X-Ms-Default-Encryption-Scope", "encryption scopes"},
		{"X-Ms-Deny-Encryption-Scope-Override", "encryption scopes"},
	} {
		if v := h[f.header]; len(v) > 0 && v[0] != "" && !strings.EqualFold(v[0], "false") {
			return notImplemented(c.op.name + " with " + f.feature)
		}
	}
	if err := s.mayAskTags(c); err != nil {
		return err
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

// fail answers with an error document. It is the one place that logs.
func (s *Service) fail(c *call, err error) {
	e := storage.AsError(err)
	if c.service == "dfs" {
		e = dfsError(e)
	}
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		s.log.Error("storage request failed", "account", accountName(c), "method", c.r.Method,
			"path", c.r.URL.Path, "request", c.id, "error", err)
	}
	h := c.w.Header()
	storage.RefusalHeaders(h, e, s.cfg.TenantID)
	if e.Status == http.StatusNotModified || c.r.Method == http.MethodHead {
		c.w.WriteHeader(e.Status)
		return
	}
	if c.service == "web" {
		writeWebError(c.w, e, c.id)
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
	storage.WriteErrorDocument(c.w, e, c.id, s.cfg.Clock.Now())
}

func accountName(c *call) string {
	if c.acct == nil {
		return ""
	}
	return c.acct.Name
}

// httpTime formats a time for a header.
func httpTime(ns int64) string { return unixTime(ns).Format(http.TimeFormat) }
