package blob

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// maxPage is the most items of a page of any list.
const maxPage = 5000

// pageSize reads maxresults.
func pageSize(c *call) (int, error) {
	v := c.q.Get("maxresults")
	if v == "" {
		return maxPage, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, badQuery("maxresults", v, "")
	}
	if n < 1 {
		return 0, refuse("OutOfRangeQueryParameterValue").With("QueryParameterName", "maxresults").
			With("QueryParameterValue", v).With("MinimumAllowed", "1").With("MaximumAllowed", strconv.Itoa(maxPage))
	}
	return min(n, maxPage), nil
}

// Markers say where the next page begins. They are opaque to clients.

func encodeMarker(after string) string {
	if after == "" {
		return ""
	}
	return "1!" + base64.URLEncoding.EncodeToString([]byte(after))
}

func decodeMarker(c *call) (string, error) {
	v := c.q.Get("marker")
	if v == "" {
		return "", nil
	}
	body, ok := strings.CutPrefix(v, "1!")
	after, err := base64.URLEncoding.DecodeString(body)
	if !ok || err != nil {
		return "", badQuery("marker", v, "")
	}
	return string(after), nil
}

// includes reads the include parameter and refuses what is not in known.
func includes(c *call, known string) (map[string]bool, error) {
	set := map[string]bool{}
	for _, v := range c.q["include"] {
		for part := range strings.SplitSeq(v, ",") {
			part = strings.ToLower(strings.TrimSpace(part))
			if part == "" {
				continue
			}
			if !hasWord(known, part) {
				return nil, badQuery("include", v, "")
			}
			set[part] = true
		}
	}
	return set, nil
}

func endpoint(c *call) string {
	return "https://" + c.acct.Name + "." + c.service + hostSuffix + "/"
}

func (s *Service) listContainers(c *call) error {
	limit, err := pageSize(c)
	if err != nil {
		return err
	}
	after, err := decodeMarker(c)
	if err != nil {
		return err
	}
	include, err := includes(c, "metadata deleted system")
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
	x.raw(`<EnumerationResults ServiceEndpoint="` + endpoint(c) + `">`)
	x.optional("Prefix", prefix)
	x.optional("Marker", c.q.Get("marker"))
	if c.q.Has("maxresults") {
		x.element("MaxResults", strconv.Itoa(limit))
	}
	x.raw("<Containers>")
	for _, rec := range list {
		x.raw("<Container>")
		x.element("Name", rec.Name)
		if rec.Deleted != 0 {
			x.element("Deleted", "true")
			x.element("Version", rec.Version)
		}
		x.raw("<Properties>")
		x.element("Last-Modified", httpTime(rec.Modified))
		x.element("Etag", etagString(rec.ETag))
		x.lease(rec.Lease, now)
		if rec.Deleted != 0 {
			x.element("DeletedTime", httpTime(rec.Deleted))
			x.element("RemainingRetentionDays", daysLeft(rec.Until, now))
		}
		x.optional("PublicAccess", rec.Public)
		x.element("DefaultEncryptionScope", "$account-encryption-key")
		x.element("DenyEncryptionScopeOverride", "false")
		x.element("HasImmutabilityPolicy", "false")
		x.element("HasLegalHold", "false")
		x.element("ImmutableStorageWithVersioningEnabled", "false")
		x.raw("</Properties>")
		if include["metadata"] {
			x.metadata(rec.Metadata)
		}
		x.raw("</Container>")
	}
	x.raw("</Containers>")
	x.element("NextMarker", encodeMarker(next))
	x.raw("</EnumerationResults>")
	return x.end(s, c)
}

// end flushes a document whose status is already sent, so that a failure can
// only be noted: it is the client's connection.
func (x *xmlWriter) end(s *Service, c *call) error {
	if err := x.flush(); err != nil {
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

// keyInfo is the request of Get User Delegation Key.
type keyInfo struct {
	Start            string
	Expiry           string
	DelegatedUserTid string
}

func (s *Service) getUserDelegationKey(c *call) error {
	var in keyInfo
	if err := readXML(c.r, &in); err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	node := func(name, value, reason string) error {
		return refuse("InvalidXmlNodeValue").With("XmlNodeName", name).With("XmlNodeValue", value).With("Reason", reason)
	}
	start := now
	if in.Start != "" {
		var ok bool
		if start, ok = parseSASTime(in.Start); !ok {
			return node("Start", in.Start, "The value is not a time.")
		}
	}
	expiry, ok := parseSASTime(in.Expiry)
	switch {
	case in.Expiry == "":
		return refuse("MissingRequiredXmlNode").With("XmlNodeName", "Expiry")
	case !ok:
		return node("Expiry", in.Expiry, "The value is not a time.")
	case !expiry.After(start), !expiry.After(now):
		return node("Expiry", in.Expiry, "The key must expire after it starts and after now.")
	case expiry.Sub(now) > maxDelegation+time.Minute, start.Sub(now) > maxDelegation:
		return node("Expiry", in.Expiry, "The key must start and expire within seven days of now.")
	}
	if in.DelegatedUserTid != "" && c.version < sasDelegated {
		return refuse("UnsupportedXmlNode").With("XmlNodeName", "DelegatedUserTid")
	}
	principal, err := s.bearer(c)
	if err != nil {
		return err
	}
	secret, err := s.eng.secret(c.r.Context(), c.acct.UID)
	if err != nil {
		return err
	}
	skt, ske := start.Format(sasTimeForm), expiry.Format(sasTimeForm)
	key := delegationKey(secret, principal, s.cfg.TenantID, skt, ske, "b", c.version, in.DelegatedUserTid)
	x := startXML(c.w, http.StatusOK)
	x.raw("<UserDelegationKey>")
	x.element("SignedOid", principal)
	x.element("SignedTid", s.cfg.TenantID)
	x.element("SignedStart", skt)
	x.element("SignedExpiry", ske)
	x.element("SignedService", "b")
	x.element("SignedVersion", c.version)
	x.optional("SignedDelegatedUserTid", in.DelegatedUserTid)
	x.element("Value", base64.StdEncoding.EncodeToString(key))
	x.raw("</UserDelegationKey>")
	return x.end(s, c)
}

// secret returns the key that an account's user delegation keys derive from. It
// is made when it is first asked for.
func (e *engine) secret(ctx context.Context, uid string) (key []byte, err error) {
	read := func(tx store.Tx) error {
		v, err := load[[]byte](tx, bucketSecrets, uid)
		if v != nil {
			key = *v
		}
		return err
	}
	if err := e.store.View(ctx, read); err != nil || key != nil {
		return key, err
	}
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if err := read(tx); err != nil || key != nil {
			return err
		}
		key = []byte(randomHex(32))
		return save(tx, bucketSecrets, uid, key)
	})
	if err != nil {
		return nil, fmt.Errorf("make user delegation secret: %w", err)
	}
	return key, nil
}

// revokeKeys makes every user delegation key of an account void.
func (e *engine) revokeKeys(ctx context.Context, uid string) error {
	err := e.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(bucketSecrets, uid) })
	if err != nil {
		return fmt.Errorf("revoke user delegation keys: %w", err)
	}
	return nil
}
