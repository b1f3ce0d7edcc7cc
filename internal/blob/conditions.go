package blob

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// conditions are the conditional headers of a request.
type conditions struct {
	ifMatch, ifNoneMatch string
	ifModifiedSince      time.Time
	ifUnmodifiedSince    time.Time
	// ifTags is nil without such a condition.
	ifTags tagExpression
}

// use is what a conditional request wants to do.
type use int

const (
	reading use = iota
	writing
)

// parseConditions reads the four headers, whose names begin with prefix, and the
// condition on tags.
func parseConditions(h http.Header, prefix string) (c conditions, err error) {
	c.ifMatch = strings.TrimSpace(h.Get(prefix + "If-Match"))
	c.ifNoneMatch = strings.TrimSpace(h.Get(prefix + "If-None-Match"))
	for name, t := range map[string]*time.Time{"If-Modified-Since": &c.ifModifiedSince, "If-Unmodified-Since": &c.ifUnmodifiedSince} {
		v := h.Get(prefix + name)
		if v == "" {
			continue
		}
		if *t, err = http.ParseTime(v); err != nil {
			return c, badHeader(prefix+name, v)
		}
	}
	name := cmp.Or(prefix, "x-ms-") + "if-tags"
	if v := h.Get(name); v != "" {
		if c.ifTags, err = parseTagExpression(v); err != nil {
			return c, badHeader(name, v)
		}
	}
	return c, nil
}

// of decides the conditions for a blob that exists.
func (c conditions) of(u use, b *blobRec) error {
	if err := c.check(u, b.ETag, b.Modified); err != nil {
		return err
	}
	if c.ifTags != nil && !c.ifTags(b.Tags) {
		return refuse("ConditionNotMet")
	}
	return nil
}

// check decides the conditions for a resource that exists. As Azure documents, a
// date is not looked at beside an ETag condition of the same sense.
func (c conditions) check(u use, etag uint64, modified int64) error {
	failed := refuse("ConditionNotMet")
	if u == reading && c.ifNoneMatch == "*" {
		return refuse("UnsatisfiableCondition")
	}
	tag := etagString(etag)
	at := unixTime(modified).Truncate(time.Second)
	switch {
	case c.ifMatch != "":
		if !matches(c.ifMatch, tag) {
			return failed
		}
	case !c.ifUnmodifiedSince.IsZero() && at.After(c.ifUnmodifiedSince):
		return failed
	}
	if u == reading {
		// http.StatusNotModified has no body.
		failed = &Error{Status: http.StatusNotModified, Code: "ConditionNotMet", Message: failed.Message}
	}
	switch {
	case c.ifNoneMatch != "":
		if matches(c.ifNoneMatch, tag) {
			return failed
		}
	case !c.ifModifiedSince.IsZero() && !at.After(c.ifModifiedSince):
		return failed
	}
	return nil
}

// checkMissing decides the conditions for a resource that a write would create.
func (c conditions) checkMissing() error {
	if c.ifMatch != "" || c.ifTags != nil {
		return refuse("ConditionNotMet")
	}
	return nil
}

// forBlob decides the conditions of a write to old, which may be nil.
func (c conditions) forBlob(old *blobRec) error {
	if old == nil {
		return c.checkMissing()
	}
	if c.ifNoneMatch == "*" {
		return refuse("BlobAlreadyExists")
	}
	return c.of(writing, old)
}

// matches reports whether a header value, * or a list of ETags, names tag.
// Quotes may be missing, as some clients omit them.
func matches(header, tag string) bool {
	if header == "*" {
		return true
	}
	bare := strings.Trim(tag, `"`)
	for v := range strings.SplitSeq(header, ",") {
		v = strings.TrimPrefix(strings.TrimSpace(v), "W/")
		if strings.Trim(v, `"`) == bare {
			return true
		}
	}
	return false
}
