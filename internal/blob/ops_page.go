package blob

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// parsePageRange reads the range of a request that writes pages.
func parsePageRange(c *call, limit int64) (rg byteRange, err error) {
	name := "x-ms-range"
	v := c.r.Header.Get(name)
	if v == "" {
		name = "Range"
		if v = c.r.Header.Get(name); v == "" {
			return rg, missingHeader(name)
		}
	}
	first, last, ok := splitRange(v)
	if !ok || last < 0 || last >= maxPageBlob {
		return rg, badHeader(name, v)
	}
	rg = byteRange{first, last - first + 1}
	if rg.offset%pageUnit != 0 || rg.length%pageUnit != 0 {
		return rg, refuse("InvalidPageRange")
	}
	if rg.length > limit {
		return rg, refuse("RequestBodyTooLarge").With("MaxLimit", strconv.FormatInt(limit, 10))
	}
	return rg, nil
}

// sequenceConditions reads the conditions on a page blob's sequence number.
func sequenceConditions(c *call) (check func(*blobRec) error, err error) {
	var limits [3]int64
	for i, op := range []string{"le", "lt", "eq"} {
		if limits[i], err = countHeader(c, "x-ms-if-sequence-number-"+op); err != nil {
			return nil, err
		}
	}
	return func(b *blobRec) error {
		if limits[0] >= 0 && b.Sequence > limits[0] || limits[1] >= 0 && b.Sequence >= limits[1] || limits[2] >= 0 && b.Sequence != limits[2] {
			return refuse("SequenceNumberConditionNotMet")
		}
		return nil
	}, nil
}

// putPage serves Put Page and Put Page From URL.
func (s *Service) putPage(c *call) error {
	h := c.r.Header
	fromURL := h.Get("x-ms-copy-source") != ""
	write := strings.ToLower(h.Get("x-ms-page-write"))
	limit := int64(maxPageWrite)
	switch {
	case write == "":
		return missingHeader("x-ms-page-write")
	case write == "clear" && !fromURL:
		limit = maxPageBlob
	case write != "update":
		return badHeader("x-ms-page-write", h.Get("x-ms-page-write"))
	}
	if err := contentLength(c); err != nil {
		return err
	}
	rg, err := parsePageRange(c, limit)
	if err != nil {
		return err
	}
	cond, err := parseConditions(h, "")
	if err != nil {
		return err
	}
	sequence, err := sequenceConditions(c)
	if err != nil {
		return err
	}
	if n := c.r.ContentLength; write == "update" && !fromURL && n != rg.length || (write == "clear" || fromURL) && n > 0 {
		return badHeader("Content-Length", strconv.FormatInt(n, 10))
	}
	check := func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		return sequence(b)
	}
	var in *intake
	var sums checksums
	if write == "update" {
		if rg.length > inlineLimit {
			b, err := s.eng.stat(c.r.Context(), c.ref())
			if err != nil {
				return err
			}
			if b.Type == pageBlob {
				if err := check(b); err != nil {
					return err
				}
			}
		}
		if in, sums, err = s.takeBlock(c, maxPageWrite); err != nil {
			return err
		}
		if in.size != rg.length {
			s.eng.files.drop(in)
			return badHeader("x-ms-source-range", h.Get("x-ms-source-range"))
		}
	}
	b, err := s.eng.writePages(c.r.Context(), c.ref(), rg, in, check)
	if err != nil {
		return err
	}
	out := c.w.Header()
	if in != nil {
		echoSums(out, in, sums)
	}
	out["x-ms-blob-sequence-number"] = []string{strconv.FormatInt(b.Sequence, 10)}
	notEncrypted(out)
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

// getPageRanges serves Get Page Ranges, also as a difference from a snapshot.
func (s *Service) getPageRanges(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	if c.r.Header.Get("x-ms-previous-snapshot-url") != "" {
		return notImplemented(c.op.name + " with x-ms-previous-snapshot-url, which is for managed disks")
	}
	limit := 10_000
	if c.q.Get("maxresults") != "" {
		n, err := strconv.Atoi(c.q.Get("maxresults"))
		if err != nil || n < 1 {
			return badQuery("maxresults", c.q.Get("maxresults"), "")
		}
		limit = min(n, limit)
	}
	var since *moment
	if v := c.q.Get("prevsnapshot"); v != "" {
		at, ok := parseTicks(v)
		if !ok {
			return badQuery("prevsnapshot", v, "")
		}
		since = &moment{at: at}
	}
	var rg *byteRange
	if v := c.r.Header.Get("x-ms-range"); v != "" || c.r.Header.Get("Range") != "" {
		if v == "" {
			v = c.r.Header.Get("Range")
		}
		first, last, ok := splitRange(v)
		if !ok {
			return badHeader("Range", v)
		}
		if last < 0 || last >= maxPageBlob {
			last = maxPageBlob - 1
		}
		rg = &byteRange{first, last - first + 1}
	}
	marker, err := storage.DecodeMarker(c.q)
	if err != nil {
		return err
	}
	if marker != "" {
		at, err := strconv.ParseInt(marker, 10, 64)
		if err != nil || at < 0 {
			return badQuery("marker", c.q.Get("marker"), "")
		}
		if rg == nil {
			rg = &byteRange{0, maxPageBlob}
		}
		rg.length -= at - rg.offset
		rg.offset = at
	}
	b, written, cleared, next, err := s.eng.pageRanges(c.r.Context(), c.ref(), rg, since, limit, func(b *blobRec) error {
		if err := cond.of(reading, b); err != nil {
			return err
		}
		return s.holds(c, b, reading)
	})
	if err != nil {
		return err
	}
	h := c.w.Header()
	h["ETag"] = []string{etagString(b.ETag)}
	h["Last-Modified"] = []string{httpTime(b.Modified)}
	h["x-ms-blob-content-length"] = []string{strconv.FormatInt(b.Size, 10)}
	x := startXML(c.w, http.StatusOK)
	x.Raw("<PageList>")
	for len(written)+len(cleared) > 0 {
		name, r := "PageRange", byteRange{}
		if len(cleared) == 0 || len(written) > 0 && written[0].offset < cleared[0].offset {
			r, written = written[0], written[1:]
		} else {
			name = "ClearRange"
			r, cleared = cleared[0], cleared[1:]
		}
		x.Raw("<" + name + ">")
		x.Element("Start", strconv.FormatInt(r.offset, 10))
		x.Element("End", strconv.FormatInt(r.offset+r.length-1, 10))
		x.Raw("</" + name + ">")
	}
	if next >= 0 {
		x.Element("NextMarker", storage.EncodeMarker(strconv.FormatInt(next, 10)))
	}
	x.Raw("</PageList>")
	return x.end(s, c)
}

// newPageBlob reads what Put Blob says of a page blob.
func newPageBlob(c *call) (b blobRec, err error) {
	if c.acct.HNS {
		return b, notImplemented("page blobs with a hierarchical namespace")
	}
	if c.r.ContentLength > 0 {
		return b, badHeader("Content-Length", strconv.FormatInt(c.r.ContentLength, 10))
	}
	if c.r.Header.Get("x-ms-access-tier") != "" {
		return b, notImplemented("the tiers of page blobs")
	}
	if b.Size, err = pageLength(c); err != nil {
		return b, err
	}
	if b.Size < 0 {
		return b, missingHeader("x-ms-blob-content-length")
	}
	b.Sequence, err = countHeader(c, "x-ms-blob-sequence-number")
	b.Sequence = max(b.Sequence, 0)
	return b, err
}

// pageLength reads x-ms-blob-content-length, -1 when it is missing.
func pageLength(c *call) (int64, error) {
	const name = "x-ms-blob-content-length"
	n, err := countHeader(c, name)
	if err == nil && (n > maxPageBlob || n%pageUnit != 0 && n >= 0) {
		err = badHeader(name, c.r.Header.Get(name))
	}
	return n, err
}

// sequenceAction reads what Set Blob Properties does to a sequence number.
func sequenceAction(c *call) (apply func(*blobRec), err error) {
	const name = "x-ms-sequence-number-action"
	action := strings.ToLower(c.r.Header.Get(name))
	n, err := countHeader(c, "x-ms-blob-sequence-number")
	if err != nil {
		return nil, err
	}
	switch {
	case action == "" && n >= 0:
		return nil, missingHeader(name)
	case action == "":
		return nil, nil
	case action == "increment" && n < 0:
		return func(b *blobRec) { b.Sequence++ }, nil
	case action == "increment":
		return nil, badHeader("x-ms-blob-sequence-number", c.r.Header.Get("x-ms-blob-sequence-number"))
	case action != "max" && action != "update":
		return nil, badHeader(name, action)
	case n < 0:
		return nil, missingHeader("x-ms-blob-sequence-number")
	case action == "max":
		return func(b *blobRec) { b.Sequence = max(b.Sequence, n) }, nil
	}
	return func(b *blobRec) { b.Sequence = n }, nil
}
