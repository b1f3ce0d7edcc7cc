package blob

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
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
	meta, err := storage.ParseMetadata(c.r.Header)
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
	storage.WriteMetadata(h, rec.Metadata)
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
	meta, err := storage.ParseMetadata(c.r.Header)
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
	x.Policies(rec.Policies)
	return x.end(s, c)
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
	policies, err := storage.ReadPolicies(c.r, "racwdxltfmeopi")
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
	limit, err := storage.PageSize(c.q)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.q)
	if err != nil {
		return err
	}
	// Of some of these there are none, so that including them adds nothing.
	include, err := storage.Includes(c.q, "snapshots metadata uncommittedblobs copy deleted tags versions deletedwithversions immutabilitypolicy legalhold permissions")
	if err != nil {
		return err
	}
	switch v := c.q.Get("showonly"); {
	case v == "":
	case strings.EqualFold(v, "deleted") && c.acct.HNS:
	default:
		return notImplemented("List Blobs with showonly=" + v)
	}
	for _, p := range []string{"startFrom", "endBefore"} {
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
	find := s.eng.list
	if c.q.Get("showonly") != "" {
		find = s.eng.listGone
	}
	items, next, err := find(c.r.Context(), c.ref(), q)
	if err != nil {
		return err
	}
	x := startXML(c.w, http.StatusOK)
	x.Raw(`<EnumerationResults ServiceEndpoint="` + endpoint(c) + `" ContainerName="` + c.container + `">`)
	if q.Prefix != "" {
		x.Name("Prefix", q.Prefix)
	}
	x.Optional("Marker", c.q.Get("marker"))
	if c.q.Has("maxresults") {
		x.Element("MaxResults", strconv.Itoa(limit))
	}
	x.Optional("Delimiter", q.Delimiter)
	x.Raw("<Blobs>")
	for _, it := range items {
		if it.Prefix {
			x.Raw("<BlobPrefix>")
			x.prefix(it)
			x.Raw("</BlobPrefix>")
			continue
		}
		if c.q.Get("showonly") != "" {
			x.gone(s, it)
			continue
		}
		if err := x.blob(s, c, it, include); err != nil {
			return err
		}
	}
	x.Raw("</Blobs>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return x.end(s, c)
}

// prefix writes one prefix of a list, with what there is to say about a directory.
func (x *xmlWriter) prefix(it listItem) {
	if it.Blob == nil {
		x.Name("Name", it.Name)
		return
	}
	x.Name("Name", it.Name+"/")
	x.Raw("<Properties>")
	x.Element("Creation-Time", httpTime(it.Blob.Created))
	x.Element("Last-Modified", httpTime(it.Blob.Modified))
	x.Element("Etag", strings.Trim(etagString(it.Blob.ETag), `"`))
	x.Element("ResourceType", "directory")
	x.Raw("</Properties>")
}

// daysLeft is how many whole days there are until a time, Unix nanoseconds.
func daysLeft(until int64, now time.Time) string {
	return strconv.Itoa(max(int(unixTime(until).Sub(now)/(24*time.Hour)), 0))
}

// moment writes which of the states of a blob an item of a list is.
func (x *xmlWriter) moment(it listItem, include map[string]bool) {
	past := it.Past
	if past != nil && past.Deleted != 0 {
		x.Element("Deleted", "true")
	}
	if past != nil && past.Kind == pastSnapshot {
		x.Element("Snapshot", it.at)
	}
	if include["versions"] && it.Blob.Version != 0 {
		x.Element("VersionId", tickTime(it.Blob.Version))
		if past == nil {
			x.Element("IsCurrentVersion", "true")
		}
	}
}

// blob writes one blob of a list.
func (x *xmlWriter) blob(s *Service, c *call, it listItem, include map[string]bool) error {
	now := s.cfg.Clock.Now()
	b := it.Blob
	x.Raw("<Blob>")
	x.Name("Name", it.Name)
	x.moment(it, include)
	x.Raw("<Properties>")
	x.Element("Creation-Time", httpTime(b.Created))
	x.Element("Last-Modified", httpTime(b.Modified))
	x.Element("Etag", strings.Trim(etagString(b.ETag), `"`))
	x.Element("Content-Length", strconv.FormatInt(b.Size, 10))
	x.Element("Content-Type", b.ContentType)
	x.Element("Content-Encoding", b.ContentEncoding)
	x.Element("Content-Language", b.ContentLanguage)
	x.Raw("<Content-CRC64 />")
	x.Element("Content-MD5", base64.StdEncoding.EncodeToString(b.ContentMD5))
	x.Element("Cache-Control", b.CacheControl)
	x.Element("Content-Disposition", b.ContentDisposition)
	x.Element("BlobType", string(b.Type))
	if b.Type == pageBlob {
		x.Element("x-ms-blob-sequence-number", strconv.FormatInt(b.Sequence, 10))
	}
	if b.Type == BlockBlob {
		x.Element("AccessTier", b.tier())
		if b.Tier == "" {
			x.Element("AccessTierInferred", "true")
		} else {
			x.Element("AccessTierChangeTime", httpTime(b.TierChanged))
		}
	}
	x.lease(b.Lease, now)
	x.Element("ServerEncrypted", "false")
	if c.acct.HNS {
		x.Element("ResourceType", resourceType(b))
	}
	if include["permissions"] && c.acct.HNS {
		own, err := b.Posix.rights(b.Dir != "")
		if err != nil {
			return err
		}
		x.Element("Owner", own.owner)
		x.Element("Group", own.group)
		x.Element("Permissions", own.mode())
		x.Element("Acl", own.acl.String())
	}
	x.Optional("TagCount", b.tagCount())
	if include["copy"] && b.Copy != nil {
		x.Element("CopyId", b.Copy.ID)
		x.Element("CopySource", b.Copy.Source)
		x.Element("CopyStatus", b.Copy.status())
		x.Element("CopyProgress", s.eng.progress(b))
		if b.Copy.Completed != 0 {
			x.Element("CopyCompletionTime", httpTime(b.Copy.Completed))
		}
		x.Optional("CopyStatusDescription", b.Copy.Why)
	}
	if it.Past != nil && it.Past.Deleted != 0 {
		x.Element("DeletedTime", httpTime(it.Past.Deleted))
		x.Element("RemainingRetentionDays", daysLeft(it.Past.Until, now))
	}
	x.Raw("</Properties>")
	if include["metadata"] {
		x.Metadata(b.shown())
	}
	if include["tags"] && len(b.Tags) > 0 {
		x.tags(b.Tags)
	}
	x.Raw("<OrMetadata /></Blob>")
	return nil
}
