package blob

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// creation reads what requests that make a path have in common.
func creation(c *call) (cond conditions, props Headers, b *birth, err error) {
	if c.r.ContentLength > 0 {
		return cond, props, nil, &Error{Status: http.StatusBadRequest, Code: "ContentLengthMustBeZero", Message: "The Content-Length request header must be zero."}
	}
	if err := refuseLeases(c); err != nil {
		return cond, props, nil, err
	}
	if given(c, "x-ms-expiry-option", "x-ms-expiry-time", "x-ms-encryption-context") {
		return cond, props, nil, notImplemented(c.op.name + " with an expiry time or encryption context")
	}
	if cond, err = parseConditions(c.r.Header, ""); err != nil {
		return cond, props, nil, err
	}
	if props, err = parsePathHeaders(c.r.Header); err != nil {
		return cond, props, nil, err
	}
	if props.Metadata, err = parseProperties(c.r.Header); err != nil {
		return cond, props, nil, err
	}
	if b, err = parseRights(c); err != nil {
		return cond, props, nil, err
	}
	if b.says() || b.umask != nil {
		if err := needsTree(c); err != nil {
			return cond, props, nil, err
		}
	}
	return cond, props, b, mayGive(c, b)
}

// mayGive refuses to make a path that belongs to someone else, but for the
// superuser.
func mayGive(c *call, b *birth) error {
	if b.owner == "" && b.group == "" || c.as == nil || c.as.id == "" {
		return nil
	}
	if b.owner != "" && b.owner != c.as.id || b.group != "" && !c.as.in(b.group) {
		return refuse("AuthorizationPermissionMismatch")
	}
	return nil
}

// made is the ref of what a request makes.
func (c *call) made(b *birth) ref {
	r := c.ref()
	r.birth = b
	return r
}

func (s *Service) createFile(c *call) error {
	cond, props, how, err := creation(c)
	if err != nil {
		return err
	}
	if c.blob == "" {
		return refuse("PathConflict")
	}
	if props.ContentType == "" {
		props.ContentType = "application/octet-stream"
	}
	b, err := s.eng.put(c.r.Context(), c.made(how), &intake{}, func(old *blobRec) (*blobRec, error) {
		if old != nil && old.isDirectory() {
			return nil, refuse("ResourceTypeMismatch")
		}
		return &blobRec{Type: BlockBlob, Headers: props}, s.admit(c, cond, old)
	})
	if err != nil {
		return err
	}
	notEncrypted(c.w.Header())
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

func (s *Service) createDirectory(c *call) error {
	cond, props, how, err := creation(c)
	if err != nil {
		return err
	}
	d, err := s.eng.makeDirectory(c.r.Context(), c.made(how), func(old, d *blobRec) error {
		if props.Metadata == nil && old != nil {
			props.Metadata = old.Metadata
		}
		d.Headers = props
		return s.admit(c, cond, old)
	})
	if err != nil {
		return err
	}
	notEncrypted(c.w.Header())
	return answer(c, http.StatusCreated, d.ETag, d.Modified)
}

func (s *Service) deletePath(c *call) error {
	recursive, err := flagQuery(c, "recursive")
	if err != nil {
		return err
	}
	if _, err := flagQuery(c, "paginated"); err != nil {
		return err
	}
	after, err := dfsContinuation(c)
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	var gone *blobRec
	check := func(b *blobRec) error {
		gone = b
		return s.mayChange(c, cond, b)
	}
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if err != nil {
		return err
	}
	switch {
	case c.blob == "":
		err = refuse("PathConflict")
	case recursive && rec.Tree:
		err = s.eng.removeTree(c.r.Context(), c.ref(), check)
	case rec.Tree:
		_, err = s.eng.remove(c.r.Context(), c.ref(), refuseSnapshots, check)
	default:
		err = s.deleteFlat(c, recursive, after, check)
	}
	if err != nil {
		return err
	}
	if gone != nil && gone.deletion != 0 {
		c.w.Header()["x-ms-deletion-id"] = []string{deletionID(gone.deletion)}
	}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// deleteFlat deletes a path of a flat container.
func (s *Service) deleteFlat(c *call, recursive bool, after string, check func(*blobRec) error) error {
	b, err := s.eng.stat(c.r.Context(), c.ref())
	switch {
	case HasCode(err, "BlobNotFound"):
	case err != nil:
		return err
	case !b.isDirectory():
		_, err := s.eng.remove(c.r.Context(), c.ref(), refuseSnapshots, check)
		return err
	default:
		if err := check(b); err != nil {
			return err
		}
	}
	next, err := s.eng.removeFlat(c.r.Context(), c.ref(), recursive, after)
	if err != nil {
		return err
	}
	c.setContinuation(next)
	return nil
}

// renameSource authorises the source of a rename and says where it is.
func (s *Service) renameSource(c *call) (ref, error) {
	raw := c.r.Header.Get("x-ms-rename-source")
	bad := &Error{Status: http.StatusBadRequest, Code: "InvalidSourceUri", Message: "The source URI is invalid."}
	path, query, _ := strings.Cut(raw, "?")
	path, err := url.PathUnescape(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return ref{}, bad
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return ref{}, bad
	}
	u := &url.URL{Path: path, RawQuery: query}
	src := &call{r: &http.Request{Method: http.MethodPut, URL: u, Host: c.r.Host, Header: http.Header{}, TLS: c.r.TLS, RemoteAddr: c.r.RemoteAddr},
		q: q, id: c.id, version: c.version, acct: c.acct, service: "dfs",
		op: &operation{name: "Path Create (rename source)", level: onBlob, sas: "md", account: "d",
			action: "containers/blobs/move/action", data: true, need: needDelete}}
	src.r = src.r.WithContext(c.r.Context())
	src.container, src.blob = dfsPath(u)
	if err := checkContainerName(src.container); err != nil {
		return ref{}, bad
	}
	if src.blob == "" || checkBlobName(src.blob) != nil {
		return ref{}, bad
	}
	own := c.r.Header.Get("Authorization")
	if !q.Has("sig") && c.sas == nil {
		if scheme, _, _ := strings.Cut(own, " "); !strings.EqualFold(scheme, "Bearer") {
			return src.ref(), nil // the account's own key may do all of it
		}
		src.r.Header.Set("Authorization", own)
	}
	if err := s.authorize(src); err != nil {
		return ref{}, err
	}
	return src.ref(), nil
}

func (s *Service) renamePath(c *call) error {
	// How the modes differ is not documented. Both are POSIX here; all of Azure's
	// SDKs ask for legacy.
	if mode := strings.ToLower(c.q.Get("mode")); !storage.HasWord("posix legacy", mode) && mode != "" {
		return badQuery("mode", mode, "")
	}
	if given(c, "x-ms-permissions", "x-ms-umask", "x-ms-acl", "x-ms-owner", "x-ms-group") {
		return refuse("UnsupportedHeader")
	}
	cond, _, _, err := creation(c)
	if err != nil {
		return err
	}
	meta, err := parseProperties(c.r.Header)
	if err != nil {
		return err
	}
	source, err := parseConditions(c.r.Header, "x-ms-source-")
	if err != nil {
		return err
	}
	src, err := s.renameSource(c)
	if err != nil {
		return err
	}
	now := s.cfg.Clock.Now().UnixNano()
	b, err := s.eng.move(c.r.Context(), src, c.ref(), func(from, old *blobRec) error {
		if err := source.of(writing, from); err != nil {
			return refuse("SourceConditionNotMet")
		}
		switch given := c.r.Header.Get("x-ms-source-lease-id"); {
		case given == "" && from.Lease.Active(now):
			return &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMissing",
				Message: "There is currently a lease on the source and no lease ID was specified in the request."}
		case given != "" && (from.Lease == nil || !strings.EqualFold(from.Lease.ID, given) || !from.Lease.Active(now)):
			return &Error{Status: http.StatusPreconditionFailed, Code: "LeaseIdMismatchWithBlobOperation",
				Message: "The lease ID specified did not match the lease ID for the source."}
		}
		if meta != nil {
			from.Metadata = meta
		}
		return s.admit(c, cond, old)
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

// pathItem is one path of a list. Azure writes numbers and flags as strings.
type pathItem struct {
	Name         string `json:"name"`
	IsDirectory  string `json:"isDirectory,omitempty"`
	Length       string `json:"contentLength"`
	LastModified string `json:"lastModified,omitempty"`
	ETag         string `json:"etag,omitempty"`
	Created      string `json:"creationTime,omitempty"`
	Owner        string `json:"owner,omitempty"`
	Group        string `json:"group,omitempty"`
	Permissions  string `json:"permissions,omitempty"`
}

// fileTime is a time as Windows counts it: units of 100 ns since 1601.
func fileTime(ns int64) string {
	const since1601 = 11644473600 * 10_000_000
	return strconv.FormatInt(ns/100+since1601, 10)
}

func (s *Service) listPaths(c *call) error {
	if c.q.Get("recursive") == "" {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "recursive")
	}
	recursive, err := flagQuery(c, "recursive")
	if err != nil {
		return err
	}
	if c.q.Get("beginFrom") != "" {
		return notImplemented("Path List with beginFrom")
	}
	limit, after, err := dfsPage(c)
	if err != nil {
		return err
	}
	q := listQuery{Max: limit, After: after}
	if !recursive {
		q.Delimiter = "/"
	}
	dir := strings.Join(segments(c.blob), "/")
	if dir != "" {
		q.Prefix = dir + "/"
		b, _, err := s.eng.inspect(c.r.Context(), c.ref())
		switch {
		case err == nil && !b.isDirectory():
			return refuse("BlobNotFound")
		case err != nil && (!HasCode(err, "BlobNotFound") || c.acct.HNS):
			return err
		}
	}
	items, next, err := s.eng.list(c.r.Context(), c.ref(), q)
	if err != nil {
		return err
	}
	paths := make([]pathItem, 0, len(items))
	for _, it := range items {
		p, err := s.pathItem(c, it)
		if err != nil {
			return err
		}
		paths = append(paths, p)
	}
	c.setContinuation(next)
	return s.writeJSON(c, map[string]any{"paths": paths})
}

func (s *Service) pathItem(c *call, it listItem) (pathItem, error) {
	if it.Blob == nil {
		return pathItem{Name: strings.TrimSuffix(it.Name, "/"), IsDirectory: "true", Length: "0"}, nil
	}
	b := it.Blob
	p := pathItem{Name: it.Name, Length: strconv.FormatInt(b.Size, 10), LastModified: httpTime(b.Modified),
		ETag: strings.Trim(etagString(b.ETag), `"`), Created: fileTime(b.Created)}
	if b.isDirectory() {
		p.IsDirectory = "true"
	}
	if !c.acct.HNS {
		return p, nil
	}
	own, err := b.Posix.rights(b.Dir != "")
	if err != nil {
		return p, err
	}
	if own, err = s.named(c, own); err != nil {
		return p, err
	}
	p.Owner, p.Group, p.Permissions = own.owner, own.group, own.mode()
	return p, nil
}
