package blob

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"hash"
	"io"
	"net/http"
	"strconv"
)

// checkBlockID holds block IDs to Base64 of at most 64 bytes.
func checkBlockID(id string) error {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) == 0 || len(raw) > 64 {
		return refuse("InvalidBlockId")
	}
	return nil
}

func (s *Service) putBlock(c *call) error {
	id := c.q.Get("blockid")
	if id == "" {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "blockid")
	}
	if err := checkBlockID(id); err != nil {
		return err
	}
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength == 0 {
		return badHeader("Content-Length", "0")
	}
	if c.r.ContentLength > inlineLimit {
		if _, err := s.eng.container(c.r.Context(), c.acct.UID, c.container); err != nil {
			return err
		}
	}
	in, sums, err := s.take(c, maxPutBlock, false)
	if err != nil {
		return err
	}
	if err := s.eng.stage(c.r.Context(), c.ref(), id, in, func(b *blobRec) error { return s.holds(c, b, writing) }); err != nil {
		return err
	}
	h := c.w.Header()
	echoSums(h, in, sums)
	notEncrypted(h)
	h["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// parseBlockList reads the request of Put Block List. The order of the three
// kinds of elements matters, so it is read token by token.
func parseBlockList(r io.Reader) ([]blockChoice, error) {
	d := xml.NewDecoder(r)
	d.Strict = true
	var out []blockChoice
	depth := 0
	for {
		tok, err := d.Token()
		if err == io.EOF && depth == 0 && out != nil {
			return out, nil
		}
		if err != nil {
			return nil, refuse("InvalidXmlDocument")
		}
		switch el := tok.(type) {
		case xml.StartElement:
			name := el.Name.Local
			if depth == 0 {
				if name != "BlockList" || out != nil {
					return nil, refuse("InvalidXmlDocument")
				}
				depth, out = 1, []blockChoice{}
				continue
			}
			if name != "Latest" && name != "Committed" && name != "Uncommitted" {
				return nil, refuse("UnsupportedXmlNode").With("XmlNodeName", name)
			}
			var id string
			if err := d.DecodeElement(&id, &el); err != nil {
				return nil, refuse("InvalidXmlDocument")
			}
			if err := checkBlockID(id); err != nil {
				return nil, err
			}
			if out = append(out, blockChoice{ID: id, From: name}); len(out) > maxCommittedBlocks {
				return nil, refuse("BlockListTooLong")
			}
		case xml.EndElement:
			depth = 0
		}
	}
}

func (s *Service) putBlockList(c *call) error {
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength > maxXML {
		return refuse("RequestBodyTooLarge")
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	props, err := parseHeaders(c.r.Header)
	if err != nil {
		return err
	}
	if props.Metadata, err = parseMetadata(c.r.Header); err != nil {
		return err
	}
	if props.ContentType == "" {
		props.ContentType = "application/octet-stream"
	}
	tier, err := parseTier(c)
	if err != nil {
		return err
	}
	tags, err := s.newTags(c)
	if err != nil {
		return err
	}
	sums, err := parseChecksums(c.r.Header)
	if err != nil {
		return err
	}
	// The checksums of this request are of its document.
	body := newSummed(io.LimitReader(c.r.Body, maxXML))
	choices, err := parseBlockList(body)
	if err != nil {
		return err
	}
	if err := sums.verify(body.intake()); err != nil {
		return err
	}
	now := s.cfg.Clock.Now().UnixNano()
	b, err := s.eng.commit(c.r.Context(), c.ref(), choices, func(old *blobRec) (*blobRec, error) {
		if err := s.admit(c, cond, old); err != nil {
			return nil, err
		}
		return &blobRec{Type: BlockBlob, Headers: props, Tier: tier, TierChanged: now, Tags: tags}, nil
	})
	if err != nil {
		return err
	}
	echoSums(c.w.Header(), body.intake(), sums)
	notEncrypted(c.w.Header())
	tellVersion(c.w.Header(), b)
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

func (s *Service) getBlockList(c *call) error {
	kind := c.q.Get("blocklisttype")
	switch kind {
	case "":
		kind = "committed"
	case "committed", "uncommitted", "all":
	default:
		return badQuery("blocklisttype", kind, "")
	}
	b, committed, uncommitted, err := s.eng.blockLists(c.r.Context(), c.ref())
	if err != nil {
		return err
	}
	if b == nil && kind == "committed" {
		return refuse("BlobNotFound")
	}
	if err := s.holds(c, b, reading); err != nil {
		return err
	}
	h := c.w.Header()
	size := int64(0)
	if b != nil {
		size = b.Size
		h["ETag"] = []string{etagString(b.ETag)}
		h["Last-Modified"] = []string{httpTime(b.Modified)}
	}
	h["x-ms-blob-content-length"] = []string{strconv.FormatInt(size, 10)}
	x := startXML(c.w, http.StatusOK)
	x.raw("<BlockList>")
	section := func(name string, blocks []block) {
		x.raw("<" + name + ">")
		for _, b := range blocks {
			x.raw("<Block>")
			x.element("Name", b.ID)
			x.element("Size", strconv.FormatInt(b.Size, 10))
			x.raw("</Block>")
		}
		x.raw("</" + name + ">")
	}
	if kind != "uncommitted" {
		section("CommittedBlocks", committed)
	}
	if kind != "committed" {
		section("UncommittedBlocks", uncommitted)
	}
	x.raw("</BlockList>")
	return x.end(s, c)
}

func (s *Service) appendBlock(c *call) error {
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength == 0 {
		return badHeader("Content-Length", "0")
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	position, err := countHeader(c, "x-ms-blob-condition-appendpos")
	if err != nil {
		return err
	}
	limit, err := countHeader(c, "x-ms-blob-condition-maxsize")
	if err != nil {
		return err
	}
	check := func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if position >= 0 && position != b.Size {
			return refuse("AppendPositionConditionNotMet")
		}
		if limit >= 0 && b.Size+c.r.ContentLength > limit {
			return refuse("MaxBlobSizeConditionNotMet")
		}
		if b.Blocks >= maxCommittedBlocks {
			return refuse("BlockCountExceedsLimit")
		}
		return nil
	}
	if c.r.ContentLength > inlineLimit {
		b, err := s.eng.stat(c.r.Context(), c.ref())
		if err != nil {
			return err
		}
		if b.Type == AppendBlob {
			if err := check(b); err != nil {
				return err
			}
		}
	}
	in, sums, err := s.take(c, maxAppendBlock, false)
	if err != nil {
		return err
	}
	b, offset, err := s.eng.append(c.r.Context(), c.ref(), in, check)
	if err != nil {
		return err
	}
	h := c.w.Header()
	echoSums(h, in, sums)
	notEncrypted(h)
	h["x-ms-blob-append-offset"] = []string{strconv.FormatInt(offset, 10)}
	h["x-ms-blob-committed-block-count"] = []string{strconv.Itoa(b.Blocks)}
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

// summed computes the checksums of what is read through it.
type summed struct {
	r   io.Reader
	crc uint64
	md5 hash.Hash
}

func newSummed(r io.Reader) *summed { return &summed{r: r, md5: md5.New()} }

// Read implements io.Reader.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.crc = crcUpdate(s.crc, p[:n])
	s.md5.Write(p[:n])
	return n, err
}

func (s *summed) intake() *intake { return &intake{crc: s.crc, md5: s.md5.Sum(nil)} }

// countHeader reads a header that is a number of bytes, -1 when it is missing.
func countHeader(c *call, name string) (int64, error) {
	v := c.r.Header.Get(name)
	if v == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, badHeader(name, v)
	}
	return n, nil
}
