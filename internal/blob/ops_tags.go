package blob

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// tagDocument is the body of Set Blob Tags.
type tagDocument struct {
	XMLName xml.Name `xml:"Tags"`
	Tags    []struct {
		Key, Value string
	} `xml:"TagSet>Tag"`
}

// tags writes a set of tags.
func (x *xmlWriter) tags(tags map[string]string) {
	x.Raw("<Tags><TagSet>")
	for _, k := range sortedKeys(tags) {
		x.Raw("<Tag>")
		x.Element("Key", k)
		x.Element("Value", tags[k])
		x.Raw("</Tag>")
	}
	x.Raw("</TagSet></Tags>")
}

// mayTag checks, of a call that may do its operation otherwise, that it may also
// read or write tags.
func (s *Service) mayTag(c *call, what string) error {
	if c.acct.HNS {
		return notImplemented("blob tags with a hierarchical namespace")
	}
	if c.anonymous {
		return refuse("NoAuthenticationInformation")
	}
	if c.sas != nil && !strings.Contains(c.granted, "t") {
		return refuse("AuthorizationPermissionMismatch")
	}
	if c.as == nil || c.as.id == "" {
		return nil
	}
	scope := c.acct.ID + "/blobServices/default/containers/" + c.container
	ok, err := s.allowed(c, c.as.id, "containers/blobs/tags/"+what, true, scope)
	if err == nil && !ok {
		err = refuse("AuthorizationPermissionMismatch")
	}
	return err
}

// newTags reads the tags that a request gives what it writes.
func (s *Service) newTags(c *call) (map[string]string, error) {
	v := c.r.Header.Get("x-ms-tags")
	if v == "" {
		return nil, nil
	}
	if err := s.mayTag(c, "write"); err != nil {
		return nil, err
	}
	return parseTags(v)
}

// mayAskTags decides whether a call may make its operation depend on tags. That
// tells of them, so it takes the right to read them; Microsoft's references do
// not say.
func (s *Service) mayAskTags(c *call) error {
	if c.r.Header.Get("x-ms-if-tags") == "" {
		return nil
	}
	if !c.op.tagged {
		return notImplemented(c.op.name + " with a condition on tags")
	}
	return s.mayTag(c, "read")
}

func (s *Service) getBlobTags(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	b, err := s.eng.stat(c.r.Context(), c.ref())
	if err != nil {
		return err
	}
	if err := cond.of(reading, b); err != nil {
		return err
	}
	if err := s.holds(c, b, reading); err != nil {
		return err
	}
	x := startXML(c.w, http.StatusOK)
	x.tags(b.Tags)
	return x.end(s, c)
}

func (s *Service) setBlobTags(c *call) error {
	if c.acct.HNS {
		return notImplemented("blob tags with a hierarchical namespace")
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	tags, err := readTags(c.r)
	if err != nil {
		return err
	}
	if _, err := s.eng.mark(c.r.Context(), c.ref(), func(b *blobRec) error {
		if err := cond.of(writing, b); err != nil {
			return err
		}
		b.Tags = tags
		return s.holds(c, b, reading)
	}); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) findBlobsByTags(c *call) error {
	if c.acct.HNS {
		return notImplemented("blob tags with a hierarchical namespace")
	}
	limit, err := storage.PageSize(c.q)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.q)
	if err != nil {
		return err
	}
	if c.q.Get("include") != "" {
		return notImplemented("Find Blobs by Tags with include")
	}
	where := c.q.Get("where")
	if where == "" {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "where")
	}
	q, err := parseTagQuery(where)
	if err != nil {
		return err
	}
	blobs, next, err := s.eng.findByTags(c.r.Context(), c.acct.UID, c.container, q, after, limit)
	if err != nil {
		return err
	}
	x := startXML(c.w, http.StatusOK)
	x.Raw(`<EnumerationResults ServiceEndpoint="` + endpoint(c) + `">`)
	x.Element("Where", where)
	x.Raw("<Blobs>")
	for _, b := range blobs {
		x.Raw("<Blob>")
		x.Name("Name", b.name)
		x.Element("ContainerName", b.container)
		x.tags(b.tags)
		x.Raw("</Blob>")
	}
	x.Raw("</Blobs>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return x.end(s, c)
}

// setBlobTier serves Set Blob Tier for block blobs. Nothing takes time here, so
// that x-ms-rehydrate-priority has no meaning.
func (s *Service) setBlobTier(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	tier, err := parseTier(c)
	if err != nil {
		return err
	}
	if tier == "" {
		return missingHeader("x-ms-access-tier")
	}
	now := s.cfg.Clock.Now().UnixNano()
	if _, err := s.eng.mark(c.r.Context(), c.ref(), func(b *blobRec) error {
		if b.Type != BlockBlob || b.Dir != "" {
			return refuse("InvalidBlobType")
		}
		if err := cond.of(writing, b); err != nil {
			return err
		}
		b.Tier, b.TierChanged = tier, now
		return s.holds(c, b, reading)
	}); err != nil {
		return err
	}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// tagCount is the x-ms-tag-count of a blob.
func (b *blobRec) tagCount() string {
	if len(b.Tags) == 0 {
		return ""
	}
	return strconv.Itoa(len(b.Tags))
}
