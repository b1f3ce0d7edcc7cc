package blob

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func endpoint(c *call) string {
	return "https://" + c.acct.Name + "." + c.service + storage.HostSuffix + "/"
}

func (s *Service) listContainers(c *call) error {
	limit, err := storage.PageSize(c.q)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.q)
	if err != nil {
		return err
	}
	include, err := storage.Includes(c.q, "metadata deleted system")
	if err != nil {
		return err
	}
	prefix := c.q.Get("prefix")
	var list []*goneContainer
	var next string
	if include["deleted"] {
		list, next, err = s.eng.listWithGone(c.r.Context(), c.acct.UID, prefix, after, limit)
	} else {
		var live []*containerRec
		live, next, err = s.eng.listContainers(c.r.Context(), c.acct.UID, prefix, after, limit)
		for _, rec := range live {
			list = append(list, &goneContainer{containerRec: *rec})
		}
	}
	if err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	x := startXML(c.w, http.StatusOK)
	x.Raw(`<EnumerationResults ServiceEndpoint="` + endpoint(c) + `">`)
	x.Optional("Prefix", prefix)
	x.Optional("Marker", c.q.Get("marker"))
	if c.q.Has("maxresults") {
		x.Element("MaxResults", strconv.Itoa(limit))
	}
	x.Raw("<Containers>")
	for _, rec := range list {
		x.Raw("<Container>")
		x.Element("Name", rec.Name)
		if rec.Deleted != 0 {
			x.Element("Deleted", "true")
			x.Element("Version", rec.Version)
		}
		x.Raw("<Properties>")
		x.Element("Last-Modified", httpTime(rec.Modified))
		x.Element("Etag", etagString(rec.ETag))
		x.lease(rec.Lease, now)
		if rec.Deleted != 0 {
			x.Element("DeletedTime", httpTime(rec.Deleted))
			x.Element("RemainingRetentionDays", daysLeft(rec.Until, now))
		}
		x.Optional("PublicAccess", rec.Public)
		x.Element("DefaultEncryptionScope", "$account-encryption-key")
		x.Element("DenyEncryptionScopeOverride", "false")
		x.Element("HasImmutabilityPolicy", "false")
		x.Element("HasLegalHold", "false")
		x.Element("ImmutableStorageWithVersioningEnabled", "false")
		x.Raw("</Properties>")
		if include["metadata"] {
			x.Metadata(rec.Metadata)
		}
		x.Raw("</Container>")
	}
	x.Raw("</Containers>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return x.end(s, c)
}

// end flushes a document whose status is already sent, so that a failure can
// only be noted: it is the client's connection.
func (x *xmlWriter) end(s *Service, c *call) error {
	if err := x.Flush(); err != nil {
		s.log.Debug("response cut short", "request", c.id, "error", err)
	}
	return nil
}

func (s *Service) getAccountInfo(c *call) error {
	h := c.w.Header()
	h["x-ms-sku-name"] = []string{c.acct.SKU}
	h["x-ms-account-kind"] = []string{c.acct.Kind}
	h["x-ms-is-hns-enabled"] = []string{strconv.FormatBool(c.acct.HNS)}
	h["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) getUserDelegationKey(c *call) error {
	x, err := s.auth.UserDelegationKey(c.w, c.request())
	if err != nil {
		return err
	}
	return (&xmlWriter{x}).end(s, c)
}
