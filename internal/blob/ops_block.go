package blob

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"hash"
	"io"
	"net/http"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// checkBlockID holds block IDs to Base64 of at most 64 bytes.
func checkBlockID(id string) error {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) == 0 || len(raw) > 64 {
		return refuse("InvalidBlockId")
	}
	return nil
}

// takeBlock takes in what Put Block and Append Block write: the body, which cannot
// be empty, or a range of another blob.
func (s *Service) takeBlock(c *call, limit int64) (*intake, checksums, error) {
	if c.r.Header.Get("x-ms-copy-source") != "" {
		return s.takeSource(c, limit)
	}
	return s.take(c, limit, false)
}

// takeSource takes in a range of the blob that x-ms-copy-source names.
func (s *Service) takeSource(c *call, limit int64) (*intake, checksums, error) {
	h := c.r.Header
	var sums checksums
	if c.r.ContentLength > 0 {
		return nil, sums, badHeader("Content-Length", strconv.FormatInt(c.r.ContentLength, 10))
	}
	if h.Get("x-ms-source-lease-id") != "" {
		return nil, sums, notImplemented(c.op.name + " with x-ms-source-lease-id")
	}
	claims := http.Header{}
	claims.Set("Content-MD5", h.Get("x-ms-source-content-md5"))
	claims.Set("x-ms-content-crc64", h.Get("x-ms-source-content-crc64"))
	sums, err := parseChecksums(claims)
	if err != nil {
		return nil, sums, err
	}
	cond, err := parseConditions(h, "x-ms-source-")
	if err != nil {
		return nil, sums, err
	}
	src, err := s.copySource(c)
	if err != nil {
		return nil, sums, err
	}
	from, rd, err := s.eng.open(c.r.Context(), src)
	if HasCode(err, "BlobNotFound") {
		err = refuse("CannotVerifyCopySource")
	}
	if err != nil {
		return nil, sums, err
	}
	defer rd.Close()
	if err := cond.of(writing, from); err != nil {
		return nil, sums, refuse("SourceConditionNotMet")
	}
	part := byteRange{0, from.Size}
	if v := h.Get("x-ms-source-range"); v != "" {
		rg, err := parseRange(http.Header{"X-Ms-Range": {v}}, from.Size)
		if err != nil {
			return nil, sums, err
		}
		part = *rg
	}
	switch {
	case part.length == 0:
		return nil, sums, refuse("InvalidInput").With("Reason", "The source is empty.")
	case part.length > limit:
		return nil, sums, refuse("RequestBodyTooLarge").With("MaxLimit", strconv.FormatInt(limit, 10))
	}
	in, err := s.eng.files.take(io.NewSectionReader(rd, part.offset, part.length), limit, sums.md5 != nil)
	if err != nil {
		return nil, sums, err
	}
	if err := sums.verify(in); err != nil {
		s.eng.files.drop(in)
		return nil, sums, err
	}
	return in, sums, nil
}

func (s *Service) putBlock(c *call) error {
	id := c.q.Get("blockid")
	if id == "" {
		return refuse("MissingRequiredQueryParameter").With("QueryParameterName", "blockid")
	}
	if err := checkBlockID(id); err != nil {
		return err
	}
	if err := blockLength(c); err != nil {
		return err
	}
	if c.r.ContentLength > inlineLimit {
		if _, err := s.eng.container(c.r.Context(), c.acct.UID, c.container); err != nil {
			return err
		}
	}
	in, sums, err := s.takeBlock(c, maxPutBlock)
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
	if c.r.ContentLength > storage.MaxXML {
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
	if props.Metadata, err = storage.ParseMetadata(c.r.Header); err != nil {
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
	body := newSummed(io.LimitReader(c.r.Body, storage.MaxXML))
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
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	b, committed, uncommitted, err := s.eng.blockLists(c.r.Context(), c.ref())
	if err != nil {
		return err
	}
	if b == nil && kind == "committed" {
		return refuse("BlobNotFound")
	}
	if b != nil {
		if err := cond.of(reading, b); err != nil {
			return err
		}
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
	x.Raw("<BlockList>")
	section := func(name string, blocks []block) {
		x.Raw("<" + name + ">")
		for _, b := range blocks {
			x.Raw("<Block>")
			x.Element("Name", b.ID)
			x.Element("Size", strconv.FormatInt(b.Size, 10))
			x.Raw("</Block>")
		}
		x.Raw("</" + name + ">")
	}
	if kind != "uncommitted" {
		section("CommittedBlocks", committed)
	}
	if kind != "committed" {
		section("UncommittedBlocks", uncommitted)
	}
	x.Raw("</BlockList>")
	return x.end(s, c)
}

// blockLength is the length that a request with a block must tell.
func blockLength(c *call) error {
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength == 0 && c.r.Header.Get("x-ms-copy-source") == "" {
		return badHeader("Content-Length", "0")
	}
	return nil
}

func (s *Service) appendBlock(c *call) error {
	if err := blockLength(c); err != nil {
		return err
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
	size := c.r.ContentLength
	check := func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if position >= 0 && position != b.Size {
			return refuse("AppendPositionConditionNotMet")
		}
		if limit >= 0 && b.Size+size > limit {
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
	in, sums, err := s.takeBlock(c, maxAppendBlock)
	if err != nil {
		return err
	}
	size = in.size
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
