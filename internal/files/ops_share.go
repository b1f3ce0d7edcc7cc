package files

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// maxQuota is the largest quota of a share, in GiB, of an account with large
// shares.
const maxQuota = 102400

func (c *call) quota() (int, error) {
	v := c.HTTP.Header.Get("x-ms-share-quota")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxQuota {
		return 0, storage.BadHeader("x-ms-share-quota", v)
	}
	return n, nil
}

func (c *call) tier() (string, error) {
	v := c.HTTP.Header.Get("x-ms-access-tier")
	if v == "" {
		return "", nil
	}
	for _, t := range []string{standardTier, "Hot", "Cool", "Premium"} {
		if strings.EqualFold(t, v) && (t == "Premium") == (c.Account.Kind == "FileStorage") {
			return t, nil
		}
	}
	return "", storage.BadHeader("x-ms-access-tier", v)
}

// standardTier is that of a share of a standard account that was given none.
const standardTier = "TransactionOptimized"

// tierOf is the tier of a share that was given none.
func tierOf(a *storage.Account, rec *shareRec) string {
	switch {
	case rec.Tier != "":
		return rec.Tier
	case a.Kind == "FileStorage":
		return "Premium"
	}
	return standardTier
}

func (c *call) listShares() error {
	limit, err := storage.PageSize(c.Query)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.Query)
	if err != nil {
		return err
	}
	include, err := storage.Includes(c.Query, "metadata snapshots deleted")
	if err != nil {
		return err
	}
	prefix := c.Query.Get("prefix")
	names, err := c.s.eng.dirs.List(c.Account.UID)
	if err != nil {
		return err
	}
	slices.Sort(names)
	now := c.s.base.Clock.Now().UnixNano()
	var list []*shareRec
	next := ""
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		list, next = nil, ""
		for _, n := range names {
			if n <= after || !strings.HasPrefix(n, prefix) {
				continue
			}
			rec, err := c.s.eng.find(tx, c.Account.UID, n)
			if storage.HasCode(err, "ShareNotFound") {
				if rec, err = load(tx, c.Account.UID, n); err == nil && (rec == nil || !include["deleted"] || !rec.kept(now)) {
					continue
				}
			}
			if err != nil {
				return err
			}
			if len(list) == limit {
				next = list[limit-1].Name
				return nil
			}
			list = append(list, rec)
		}
		return nil
	}); err != nil {
		return err
	}
	x := c.XML()
	x.Raw(`<EnumerationResults ServiceEndpoint="` + c.Endpoint() + `">`)
	x.Optional("Prefix", prefix)
	x.Optional("Marker", c.Query.Get("marker"))
	if c.Query.Has("maxresults") {
		x.Element("MaxResults", strconv.Itoa(limit))
	}
	x.Raw("<Shares>")
	for _, rec := range list {
		x.Raw("<Share>")
		x.Element("Name", rec.Name)
		if rec.Removed {
			x.Element("Deleted", "true")
			x.Element("Version", rec.Version)
		}
		x.Raw("<Properties>")
		x.Element("Last-Modified", storage.HTTPTime(rec.Modified))
		x.Element("Etag", storage.ETag(rec.ETag))
		x.Element("Quota", strconv.Itoa(rec.Quota))
		x.Element("AccessTier", tierOf(c.Account, rec))
		if rec.Tiered != 0 {
			x.Element("AccessTierChangeTime", storage.HTTPTime(rec.Tiered))
		}
		status, duration := rec.Lease.Status(now)
		x.Element("LeaseStatus", status)
		x.Element("LeaseState", rec.Lease.State(now))
		x.Optional("LeaseDuration", duration)
		x.Element("EnabledProtocols", "SMB")
		if rec.Removed {
			x.Element("DeletedTime", storage.HTTPTime(rec.Deleted))
			x.Element("RemainingRetentionDays", strconv.Itoa(int(time.Duration(rec.Until-now)/(24*time.Hour))))
		}
		x.Raw("</Properties>")
		if include["metadata"] {
			x.Metadata(rec.Metadata)
		}
		x.Raw("</Share>")
	}
	x.Raw("</Shares>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return c.End(x)
}

// answerShare answers with the ETag and time of a share.
func (c *call) answerShare(status int, rec *shareRec) error {
	c.Set("ETag", storage.ETag(rec.ETag))
	c.Set("Last-Modified", storage.HTTPTime(rec.Modified))
	return c.Empty(status)
}

func (c *call) createShare() error {
	if v := c.HTTP.Header.Get("x-ms-enabled-protocols"); v != "" && !strings.EqualFold(v, "SMB") {
		return storage.NotImplemented("Create Share with the protocol " + v)
	}
	for _, name := range []string{"x-ms-share-provisioned-iops", "x-ms-share-provisioned-bandwidth-mibps"} {
		if c.HTTP.Header.Get(name) != "" {
			return storage.NotImplemented("Create Share with " + name)
		}
	}
	rec := &shareRec{Name: c.share}
	var err error
	if rec.Metadata, err = storage.ParseMetadata(c.HTTP.Header); err != nil {
		return err
	}
	if rec.Quota, err = c.quota(); err != nil {
		return err
	}
	if rec.Tier, err = c.tier(); err != nil {
		return err
	}
	if rec.Tier != "" {
		rec.Tiered = c.s.base.Clock.Now().UnixNano()
	}
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error { return c.s.eng.createIn(tx, c.Account.UID, rec) }); err != nil {
		return err
	}
	return c.answerShare(http.StatusCreated, rec)
}

// held decides about a share by its lease.
func (c *call) held(rec *shareRec, write bool) error {
	clear, err := rec.Lease.Held(c.HTTP.Header.Get("x-ms-lease-id"), "Share", write, c.s.base.Clock.Now().UnixNano())
	if clear {
		rec.Lease = nil
	}
	return err
}

func (c *call) deleteShare() error {
	switch v := strings.ToLower(c.HTTP.Header.Get("x-ms-delete-snapshots")); v {
	case "", "include", "include-leased": // there are none
	default:
		return storage.BadHeader("x-ms-delete-snapshots", v)
	}
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		return c.s.eng.removeIn(tx, c.Account.UID, c.share, func(rec *shareRec) error { return c.held(rec, true) })
	}); err != nil {
		return err
	}
	c.s.eng.reaper.Kick()
	return c.Empty(http.StatusAccepted)
}

// restoreShare serves Restore Share.
func (c *call) restoreShare() error {
	name, version := c.HTTP.Header.Get("x-ms-deleted-share-name"), c.HTTP.Header.Get("x-ms-deleted-share-version")
	switch {
	case name == "":
		return storage.MissingHeader("x-ms-deleted-share-name")
	case version == "":
		return storage.MissingHeader("x-ms-deleted-share-version")
	case name != c.share:
		return storage.NotImplemented("Restore Share under another name")
	}
	var rec *shareRec
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) (err error) {
		rec, err = c.s.eng.restoreIn(tx, c.Account.UID, c.share, version)
		return err
	}); err != nil {
		return err
	}
	return c.answerShare(http.StatusCreated, rec)
}

func (c *call) getShare() error {
	rec, err := c.s.eng.share(c.Context(), c.Account.UID, c.share)
	if err != nil {
		return err
	}
	if err := c.held(rec, false); err != nil {
		return err
	}
	storage.WriteMetadata(c.W.Header(), rec.Metadata)
	if !strings.EqualFold(c.Query.Get("comp"), "metadata") {
		c.Set("x-ms-share-quota", strconv.Itoa(rec.Quota))
		c.Set("x-ms-access-tier", tierOf(c.Account, rec))
		if rec.Tiered != 0 {
			c.Set("x-ms-access-tier-change-time", storage.HTTPTime(rec.Tiered))
		}
		c.Set("x-ms-enabled-protocols", "SMB")
		c.leaseHeaders(rec.Lease)
	}
	return c.answerShare(http.StatusOK, rec)
}

func (c *call) leaseHeaders(l *storage.Lease) {
	now := c.s.base.Clock.Now().UnixNano()
	status, duration := l.Status(now)
	c.Set("x-ms-lease-status", status)
	c.Set("x-ms-lease-state", l.State(now))
	c.Set("x-ms-lease-duration", duration)
}

func (c *call) changeShare(f func(*shareRec) error) error {
	rec, err := c.s.eng.change(c.Context(), c.Account.UID, c.share, func(rec *shareRec) error {
		if err := c.held(rec, false); err != nil {
			return err
		}
		return f(rec)
	})
	if err != nil {
		return err
	}
	return c.answerShare(http.StatusOK, rec)
}

func (c *call) setShareProperties() error {
	quota, err := c.quota()
	if err != nil {
		return err
	}
	tier, err := c.tier()
	if err != nil {
		return err
	}
	if v := c.HTTP.Header.Get("x-ms-root-squash"); v != "" {
		return storage.NotImplemented("Set Share Properties with x-ms-root-squash")
	}
	return c.changeShare(func(rec *shareRec) error {
		if quota != 0 {
			rec.Quota = quota
		}
		if tier != "" {
			rec.Tier, rec.Tiered = tier, c.s.base.Clock.Now().UnixNano()
		}
		return nil
	})
}

func (c *call) setShareMetadata() error {
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	return c.changeShare(func(rec *shareRec) error {
		rec.Metadata = meta
		return nil
	})
}

func (c *call) getShareACL() error {
	rec, err := c.s.eng.share(c.Context(), c.Account.UID, c.share)
	if err != nil {
		return err
	}
	c.Set("ETag", storage.ETag(rec.ETag))
	c.Set("Last-Modified", storage.HTTPTime(rec.Modified))
	x := c.XML()
	x.Policies(rec.Policies)
	return c.End(x)
}

func (c *call) setShareACL() error {
	policies, err := storage.ReadPolicies(c.HTTP, "rcwdl")
	if err != nil {
		return err
	}
	return c.changeShare(func(rec *shareRec) error {
		rec.Policies = policies
		return nil
	})
}

func (c *call) getShareStats() error {
	rec, err := c.s.eng.share(c.Context(), c.Account.UID, c.share)
	if err != nil {
		return err
	}
	dir, _, err := c.s.eng.dirs.Path(c.Account.UID, c.share)
	if err != nil {
		return err
	}
	n, err := measure(dir)
	if err != nil {
		return err
	}
	c.Set("ETag", storage.ETag(rec.ETag))
	c.Set("Last-Modified", storage.HTTPTime(rec.Modified))
	x := c.XML()
	x.Raw("<ShareStats>")
	if c.Version < "2019-02-02" {
		x.Element("ShareUsage", strconv.FormatInt((n+1<<30-1)>>30, 10))
	} else {
		x.Element("ShareUsageBytes", strconv.FormatInt(n, 10))
	}
	x.Raw("</ShareStats>")
	return c.End(x)
}

func (c *call) leaseShare() error {
	a, err := storage.ParseLeaseAction(c.HTTP.Header)
	if err != nil {
		return err
	}
	var left time.Duration
	var rec *shareRec
	err = c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		if rec, err = c.s.eng.find(tx, c.Account.UID, c.share); err != nil {
			return err
		}
		if rec.Lease, left, err = a.Apply(rec.Lease, c.s.base.Clock.Now().UnixNano(), "share"); err != nil {
			return err
		}
		return saveShare(tx, c.Account.UID, rec)
	})
	if err != nil {
		return err
	}
	return c.answerShare(c.leaseAnswer(a, rec.Lease, left), rec)
}

// leaseAnswer puts on an answer what a lease is now, and returns the status.
func (c *call) leaseAnswer(a *storage.LeaseAction, l *storage.Lease, left time.Duration) int {
	status := http.StatusOK
	switch a.Name {
	case "acquire":
		status = http.StatusCreated
	case "break":
		status = http.StatusAccepted
		c.Set("x-ms-lease-time", strconv.Itoa(int((left+time.Second-1)/time.Second)))
	}
	if l != nil && a.Name != "break" {
		c.Set("x-ms-lease-id", l.ID)
	}
	return status
}

func (c *call) createPermission() error {
	var in struct{ Permission string }
	raw, err := io.ReadAll(io.LimitReader(c.HTTP.Body, 64<<10))
	if err != nil {
		return &storage.BodyError{Err: err}
	}
	if err := json.Unmarshal(raw, &in); err != nil || in.Permission == "" || len(in.Permission) > maxPermission {
		return storage.Refuse("InvalidInput")
	}
	key := ""
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		rec, err := c.s.eng.find(tx, c.Account.UID, c.share)
		if err != nil {
			return err
		}
		key, err = savePermission(tx, rec.ID, in.Permission)
		return err
	}); err != nil {
		return err
	}
	c.Set("x-ms-file-permission-key", key)
	return c.Empty(http.StatusCreated)
}

func (c *call) getPermission() error {
	key := c.HTTP.Header.Get("x-ms-file-permission-key")
	if key == "" {
		return storage.MissingHeader("x-ms-file-permission-key")
	}
	sddl := inherited
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		rec, err := c.s.eng.find(tx, c.Account.UID, c.share)
		if err != nil || key == permissionKey(inherited) {
			return err
		}
		b, err := tx.Get(bucketPermissions, rec.ID+"/"+key)
		if errors.Is(err, store.ErrNotFound) {
			return storage.Refuse("ResourceNotFound")
		}
		sddl = string(b)
		return err
	}); err != nil {
		return err
	}
	doc, err := json.Marshal(map[string]string{"permission": sddl})
	if err != nil {
		return err
	}
	c.Set("Content-Type", "application/json")
	c.W.WriteHeader(http.StatusOK)
	_, _ = c.W.Write(doc) // the client may be gone
	return nil
}
