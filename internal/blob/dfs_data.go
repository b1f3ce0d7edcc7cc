package blob

import (
	"encoding/base64"
	"net/http"
	"strconv"
)

// parsePathHeaders reads the properties that a request to the dfs endpoint sets.
func parsePathHeaders(h http.Header) (Headers, error) {
	p := Headers{
		ContentType:        h.Get("x-ms-content-type"),
		ContentEncoding:    h.Get("x-ms-content-encoding"),
		ContentLanguage:    h.Get("x-ms-content-language"),
		ContentDisposition: h.Get("x-ms-content-disposition"),
		CacheControl:       h.Get("x-ms-cache-control"),
	}
	var err error
	p.ContentMD5, err = parseMD5(h, "x-ms-content-md5")
	return p, err
}

// refuseLeases names what is not there of requests that would lease.
func refuseLeases(c *call) error {
	if given(c, "x-ms-lease-action", "x-ms-proposed-lease-id", "x-ms-lease-duration") {
		return notImplemented(c.op.name + " with leases")
	}
	return nil
}

// positionQuery reads the position parameter.
func positionQuery(c *call) (int64, error) {
	v := c.q.Get("position")
	if v == "" {
		return 0, refuse("MissingRequiredQueryParameter").With("QueryParameterName", "position")
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, badQuery("position", v, "")
	}
	return n, nil
}

// appendable decides whether data can be appended to a file at a position.
func appendable(b *blobRec, position int64) error {
	switch {
	case b == nil:
		return refuse("BlobNotFound")
	case b.Dir != "":
		return refuse("ResourceTypeMismatch")
	case b.Type != BlockBlob:
		return refuse("InvalidBlobType")
	case position < b.Size:
		return refuse("InvalidFlushPosition")
	}
	return nil
}

// appendPath serves Path Update with the action append: it stages data, and
// flushes it at once when asked to.
func (s *Service) appendPath(c *call) error {
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength == 0 {
		return badHeader("Content-Length", "0")
	}
	if err := refuseLeases(c); err != nil {
		return err
	}
	position, err := positionQuery(c)
	if err != nil {
		return err
	}
	flush, err := flagQuery(c, "flush")
	if err != nil {
		return err
	}
	if c.r.ContentLength > inlineLimit {
		b, _, err := s.eng.inspect(c.r.Context(), c.ref())
		if err != nil {
			return err
		}
		if err := appendable(b, position); err != nil {
			return err
		}
	}
	in, sums, err := s.take(c, maxPutBlock, false)
	if err != nil {
		return err
	}
	size := in.size
	admit := func(b *blobRec) error {
		if err := appendable(b, position); err != nil {
			return err
		}
		return s.holds(c, b, writing)
	}
	if err := s.eng.stage(c.r.Context(), c.ref(), appendedID(position), in, admit); err != nil {
		return err
	}
	h := c.w.Header()
	if flush {
		b, err := s.eng.flush(c.r.Context(), c.ref(), position+size, false, func(b *blobRec) error {
			b.ContentMD5 = nil // it is not of the longer file
			return nil
		})
		if err != nil {
			return err
		}
		h["ETag"] = []string{etagString(b.ETag)}
		h["Last-Modified"] = []string{httpTime(b.Modified)}
	}
	echoSums(h, in, sums)
	notEncrypted(h)
	h["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// flushPath serves Path Update with the action flush. The close parameter is for
// change notifications, which there are none of.
func (s *Service) flushPath(c *call) error {
	if c.r.ContentLength > 0 {
		return &Error{Status: http.StatusBadRequest, Code: "ContentLengthMustBeZero", Message: "The Content-Length request header must be zero."}
	}
	if err := refuseLeases(c); err != nil {
		return err
	}
	position, err := positionQuery(c)
	if err != nil {
		return err
	}
	retain, err := flagQuery(c, "retainUncommittedData")
	if err != nil {
		return err
	}
	if _, err := flagQuery(c, "close"); err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	props, err := parsePathHeaders(c.r.Header)
	if err != nil {
		return err
	}
	b, err := s.eng.flush(c.r.Context(), c.ref(), position, retain, func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if position != b.Size {
			b.ContentMD5 = nil
		}
		b.override(props)
		return nil
	})
	if err != nil {
		return err
	}
	notEncrypted(c.w.Header())
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

// describePath writes the headers that Path Read and Path Get Properties share.
func (s *Service) describePath(c *call, b *blobRec, own rights) {
	h := c.w.Header()
	set := func(k, v string) {
		if v != "" {
			h[k] = []string{v}
		}
	}
	set("ETag", etagString(b.ETag))
	set("Last-Modified", httpTime(b.Modified))
	set("x-ms-creation-time", httpTime(b.Created))
	set("x-ms-resource-type", resourceType(b))
	s.leaseHeaders(h, b.Lease)
	set("x-ms-server-encrypted", "false")
	set("Accept-Ranges", "bytes")
	set("Content-Type", b.ContentType)
	set("Content-Encoding", b.ContentEncoding)
	set("Content-Language", b.ContentLanguage)
	set("Content-Disposition", b.ContentDisposition)
	set("Cache-Control", b.CacheControl)
	set("x-ms-properties", formatProperties(b.Metadata))
	if c.acct.HNS {
		c.showRights(own, false)
	}
}

func (s *Service) getPathProperties(c *call) error {
	b, own, err := s.status(c)
	if err != nil {
		return err
	}
	s.describePath(c, b, own)
	h := c.w.Header()
	if b.ContentMD5 != nil {
		h["Content-MD5"] = []string{base64.StdEncoding.EncodeToString(b.ContentMD5)}
	}
	h["Content-Length"] = []string{strconv.FormatInt(b.Size, 10)}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) setPathProperties(c *call) error {
	if err := refuseLeases(c); err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	props, err := parsePathHeaders(c.r.Header)
	if err != nil {
		return err
	}
	meta, err := parseProperties(c.r.Header)
	if err != nil {
		return err
	}
	b, err := s.eng.amend(c.r.Context(), c.ref(), func(p *spot, b *blobRec) error {
		if p.root {
			return notImplemented("Path Update (setProperties) of the root directory")
		}
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		b.override(props)
		if meta != nil {
			marked := b.Dir == "" && b.isDirectory()
			b.Metadata = meta
			if marked {
				b.Metadata = b.marked()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}
