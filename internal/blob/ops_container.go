package blob

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// publicAccess reads x-ms-blob-public-access.
func publicAccess(c *call) (string, error) {
	v := strings.ToLower(c.r.Header.Get("x-ms-blob-public-access"))
	switch v {
	case "":
		return "", nil
	case "blob", "container":
		if !c.acct.AllowPublicAccess {
			return "", refuse("PublicAccessNotPermitted")
		}
		return v, nil
	}
	return "", badHeader("x-ms-blob-public-access", v)
}

// answer writes ETag and Last-Modified and an empty body.
func answer(c *call, status int, etag uint64, modified int64) error {
	h := c.w.Header()
	h["ETag"] = []string{etagString(etag)}
	h["Last-Modified"] = []string{httpTime(modified)}
	h["Content-Length"] = []string{"0"}
	c.w.WriteHeader(status)
	return nil
}

func (s *Service) createContainer(c *call) error {
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	public, err := publicAccess(c)
	if err != nil {
		return err
	}
	rec, err := s.eng.createContainer(c.r.Context(), c.acct.UID,
		&containerRec{Name: c.container, Public: public, Metadata: meta, Tree: c.acct.HNS})
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, rec.ETag, rec.Modified)
}

func (s *Service) deleteContainer(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	err = s.eng.deleteContainer(c.r.Context(), c.acct.UID, c.container, func(rec *containerRec) error {
		if err := cond.check(writing, rec.ETag, rec.Modified); err != nil {
			return err
		}
		return s.held(c, &rec.Lease, writing, "Container")
	})
	if err != nil {
		return err
	}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Service) getContainer(c *call) error {
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if err != nil {
		return err
	}
	if err := s.held(c, &rec.Lease, reading, "Container"); err != nil {
		return err
	}
	h := c.w.Header()
	writeMetadata(h, rec.Metadata)
	if !strings.EqualFold(c.q.Get("comp"), "metadata") {
		s.leaseHeaders(h, rec.Lease)
		h["x-ms-has-immutability-policy"] = []string{"false"}
		h["x-ms-has-legal-hold"] = []string{"false"}
		h["x-ms-immutable-storage-with-versioning-enabled"] = []string{"false"}
		h["x-ms-default-encryption-scope"] = []string{"$account-encryption-key"}
		h["x-ms-deny-encryption-scope-override"] = []string{"false"}
		if rec.Public != "" {
			h["x-ms-blob-public-access"] = []string{rec.Public}
		}
	}
	return answer(c, http.StatusOK, rec.ETag, rec.Modified)
}

func (s *Service) setContainerMetadata(c *call) error {
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	rec, err := s.eng.changeContainer(c.r.Context(), c.acct.UID, c.container, func(rec *containerRec) error {
		if err := cond.check(writing, rec.ETag, rec.Modified); err != nil {
			return err
		}
		if err := s.held(c, &rec.Lease, reading, "Container"); err != nil {
			return err
		}
		rec.Metadata = meta
		return nil
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, rec.ETag, rec.Modified)
}

func (s *Service) getContainerACL(c *call) error {
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h["ETag"] = []string{etagString(rec.ETag)}
	h["Last-Modified"] = []string{httpTime(rec.Modified)}
	if rec.Public != "" {
		h["x-ms-blob-public-access"] = []string{rec.Public}
	}
	x := startXML(c.w, http.StatusOK)
	x.raw("<SignedIdentifiers>")
	for _, p := range rec.Policies {
		x.raw("<SignedIdentifier>")
		x.element("Id", p.ID)
		x.raw("<AccessPolicy>")
		x.optional("Start", p.Start)
		x.optional("Expiry", p.Expiry)
		x.optional("Permission", p.Permissions)
		x.raw("</AccessPolicy></SignedIdentifier>")
	}
	x.raw("</SignedIdentifiers>")
	return x.end(s, c)
}

// signedIdentifiers is the request of Set Container ACL.
type signedIdentifiers struct {
	XMLName    xml.Name `xml:"SignedIdentifiers"`
	Identifier []struct {
		ID     string `xml:"Id"`
		Policy struct {
			Start, Expiry, Permission string
		} `xml:"AccessPolicy"`
	} `xml:"SignedIdentifier"`
}

// readPolicies reads up to five stored access policies.
func readPolicies(c *call) ([]accessPolicy, error) {
	if c.r.ContentLength == 0 {
		return nil, nil
	}
	var in signedIdentifiers
	if err := readXML(c.r, &in); err != nil {
		return nil, err
	}
	if len(in.Identifier) > 5 {
		return nil, refuse("InvalidXmlDocument").With("Reason", "A container has at most five stored access policies.")
	}
	var out []accessPolicy
	seen := map[string]bool{}
	for _, id := range in.Identifier {
		p := accessPolicy{ID: id.ID, Start: id.Policy.Start, Expiry: id.Policy.Expiry, Permissions: id.Policy.Permission}
		if p.ID == "" || len(p.ID) > 64 || seen[p.ID] {
			return nil, refuse("InvalidXmlNodeValue").With("XmlNodeName", "Id").With("XmlNodeValue", p.ID)
		}
		seen[p.ID] = true
		for name, v := range map[string]string{"Start": p.Start, "Expiry": p.Expiry} {
			if _, ok := parseSASTime(v); v != "" && !ok {
				return nil, refuse("InvalidXmlNodeValue").With("XmlNodeName", name).With("XmlNodeValue", v)
			}
		}
		for _, r := range p.Permissions {
			if !strings.ContainsRune("racwdxltfmeopi", r) {
				return nil, refuse("InvalidXmlNodeValue").With("XmlNodeName", "Permission").With("XmlNodeValue", p.Permissions)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func (s *Service) setContainerACL(c *call) error {
	public, err := publicAccess(c)
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	policies, err := readPolicies(c)
	if err != nil {
		return err
	}
	rec, err := s.eng.changeContainer(c.r.Context(), c.acct.UID, c.container, func(rec *containerRec) error {
		if err := cond.check(writing, rec.ETag, rec.Modified); err != nil {
			return err
		}
		if err := s.held(c, &rec.Lease, reading, "Container"); err != nil {
			return err
		}
		rec.Public, rec.Policies = public, policies
		return nil
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, rec.ETag, rec.Modified)
}

func (s *Service) listBlobs(c *call) error {
	limit, err := pageSize(c)
	if err != nil {
		return err
	}
	after, err := decodeMarker(c)
	if err != nil {
		return err
	}
	// Of some of these there are none, so that including them adds nothing.
	include, err := includes(c, "snapshots metadata uncommittedblobs copy deleted tags versions deletedwithversions immutabilitypolicy legalhold permissions")
	if err != nil {
		return err
	}
	for _, p := range []string{"startFrom", "endBefore", "showonly"} {
		if c.q.Get(p) != "" {
			return notImplemented("List Blobs with " + p)
		}
	}
	q := listQuery{Prefix: c.q.Get("prefix"), Delimiter: c.q.Get("delimiter"), After: after, Max: limit,
		Uncommitted: include["uncommittedblobs"],
		Snapshots:   include["snapshots"], Versions: include["versions"], Deleted: include["deleted"],
		VersionsOnly: include["deletedwithversions"]}
	if include["tags"] && !c.acct.HNS {
		if err := s.mayTag(c, "read"); err != nil {
			return err
		}
	}
	if q.Snapshots && q.Delimiter != "" {
		return badQuery("include", "snapshots", "Snapshots are listed without a delimiter only.")
	}
	items, next, err := s.eng.list(c.r.Context(), c.ref(), q)
	if err != nil {
		return err
	}
	x := startXML(c.w, http.StatusOK)
	x.raw(`<EnumerationResults ServiceEndpoint="` + endpoint(c) + `" ContainerName="` + c.container + `">`)
	if q.Prefix != "" {
		x.name("Prefix", q.Prefix)
	}
	x.optional("Marker", c.q.Get("marker"))
	if c.q.Has("maxresults") {
		x.element("MaxResults", strconv.Itoa(limit))
	}
	x.optional("Delimiter", q.Delimiter)
	x.raw("<Blobs>")
	for _, it := range items {
		if it.Prefix {
			x.raw("<BlobPrefix>")
			x.prefix(it)
			x.raw("</BlobPrefix>")
			continue
		}
		if err := x.blob(c, it, include, s.cfg.Clock.Now()); err != nil {
			return err
		}
	}
	x.raw("</Blobs>")
	x.element("NextMarker", encodeMarker(next))
	x.raw("</EnumerationResults>")
	return x.end(s, c)
}

// prefix writes one prefix of a list, with what there is to say about a directory.
func (x *xmlWriter) prefix(it listItem) {
	if it.Blob == nil {
		x.name("Name", it.Name)
		return
	}
	x.name("Name", it.Name+"/")
	x.raw("<Properties>")
	x.element("Creation-Time", httpTime(it.Blob.Created))
	x.element("Last-Modified", httpTime(it.Blob.Modified))
	x.element("Etag", strings.Trim(etagString(it.Blob.ETag), `"`))
	x.element("ResourceType", "directory")
	x.raw("</Properties>")
}

// daysLeft is how many whole days there are until a time, Unix nanoseconds.
func daysLeft(until int64, now time.Time) string {
	return strconv.Itoa(max(int(unixTime(until).Sub(now)/(24*time.Hour)), 0))
}

// moment writes which of the states of a blob an item of a list is.
func (x *xmlWriter) moment(it listItem, include map[string]bool) {
	past := it.Past
	if past != nil && past.Deleted != 0 {
		x.element("Deleted", "true")
	}
	if past != nil && past.Kind == pastSnapshot {
		x.element("Snapshot", it.at)
	}
	if include["versions"] && it.Blob.Version != 0 {
		x.element("VersionId", tickTime(it.Blob.Version))
		if past == nil {
			x.element("IsCurrentVersion", "true")
		}
	}
}

// blob writes one blob of a list.
func (x *xmlWriter) blob(c *call, it listItem, include map[string]bool, now time.Time) error {
	b := it.Blob
	x.raw("<Blob>")
	x.name("Name", it.Name)
	x.moment(it, include)
	x.raw("<Properties>")
	x.element("Creation-Time", httpTime(b.Created))
	x.element("Last-Modified", httpTime(b.Modified))
	x.element("Etag", strings.Trim(etagString(b.ETag), `"`))
	x.element("Content-Length", strconv.FormatInt(b.Size, 10))
	x.element("Content-Type", b.ContentType)
	x.element("Content-Encoding", b.ContentEncoding)
	x.element("Content-Language", b.ContentLanguage)
	x.raw("<Content-CRC64 />")
	x.element("Content-MD5", base64.StdEncoding.EncodeToString(b.ContentMD5))
	x.element("Cache-Control", b.CacheControl)
	x.element("Content-Disposition", b.ContentDisposition)
	x.element("BlobType", string(b.Type))
	if b.Type == BlockBlob {
		x.element("AccessTier", b.tier())
		if b.Tier == "" {
			x.element("AccessTierInferred", "true")
		} else {
			x.element("AccessTierChangeTime", httpTime(b.TierChanged))
		}
	}
	x.lease(b.Lease, now)
	x.element("ServerEncrypted", "false")
	if c.acct.HNS {
		x.element("ResourceType", resourceType(b))
	}
	if include["permissions"] && c.acct.HNS {
		own, err := b.Posix.rights(b.Dir != "")
		if err != nil {
			return err
		}
		x.element("Owner", own.owner)
		x.element("Group", own.group)
		x.element("Permissions", own.mode())
		x.element("Acl", own.acl.String())
	}
	x.optional("TagCount", b.tagCount())
	if include["copy"] && b.Copy != nil {
		x.element("CopyId", b.Copy.ID)
		x.element("CopySource", b.Copy.Source)
		x.element("CopyStatus", "success")
		x.element("CopyProgress", b.progress())
		x.element("CopyCompletionTime", httpTime(b.Copy.Completed))
	}
	if it.Past != nil && it.Past.Deleted != 0 {
		x.element("DeletedTime", httpTime(it.Past.Deleted))
		x.element("RemainingRetentionDays", daysLeft(it.Past.Until, now))
	}
	x.raw("</Properties>")
	if include["metadata"] {
		x.metadata(b.shown())
	}
	if include["tags"] && len(b.Tags) > 0 {
		x.tags(b.Tags)
	}
	x.raw("<OrMetadata /></Blob>")
	return nil
}
