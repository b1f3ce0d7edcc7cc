package blob

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// The most bytes of one request, of service versions from 2019-12-12 and, for
// Append Block, 2022-11-02.
const (
	maxPutBlob     = 5000 << 20
	maxPutBlock    = 4000 << 20
	maxAppendBlock = 100 << 20
	// maxRangeSum is the longest range whose checksum Get Blob computes.
	maxRangeSum = 4 << 20
)

// tier is the access tier of a block blob. The account's own default tier is
// Hot unless ARM says otherwise, which is not looked at.
func (b *blobRec) tier() string {
	if b.Tier == "" {
		return "Hot"
	}
	return b.Tier
}

// parseTier reads x-ms-access-tier.
func parseTier(c *call) (string, error) {
	v := c.r.Header.Get("x-ms-access-tier")
	switch {
	case v == "":
		return "", nil
	case strings.EqualFold(v, "Hot"):
		return "Hot", nil
	case strings.EqualFold(v, "Cool"):
		return "Cool", nil
	case strings.EqualFold(v, "Cold"):
		return "Cold", nil
	case strings.EqualFold(v, "Archive"):
		return "", notImplemented("the Archive tier")
	}
	return "", badHeader("x-ms-access-tier", v)
}

// contentLength is the length that a request with a body must tell.
func contentLength(c *call) error {
	if c.r.ContentLength < 0 {
		return refuse("MissingContentLengthHeader")
	}
	return nil
}

// take takes in the body of a request and verifies its checksums.
func (s *Service) take(c *call, limit int64, alwaysMD5 bool) (*intake, checksums, error) {
	sums, err := parseChecksums(c.r.Header)
	if err != nil {
		return nil, sums, err
	}
	if c.r.ContentLength > limit {
		return nil, sums, refuse("RequestBodyTooLarge").With("MaxLimit", strconv.FormatInt(limit, 10))
	}
	in, err := s.eng.files.take(c.r.Body, limit, alwaysMD5 || sums.md5 != nil)
	if err != nil {
		return nil, sums, err
	}
	if in.size != c.r.ContentLength {
		err = refuse("InvalidInput").With("Reason", "The body is not as long as Content-Length says.")
	} else {
		err = sums.verify(in)
	}
	if err != nil {
		s.eng.files.drop(in)
		return nil, sums, err
	}
	return in, sums, nil
}

// echoSums answers with the checksums of what was taken in: the one that the
// client gave, or else CRC64.
func echoSums(h http.Header, in *intake, sums checksums) {
	if sums.md5 != nil {
		h["Content-MD5"] = []string{base64.StdEncoding.EncodeToString(in.md5)}
		return
	}
	h["x-ms-content-crc64"] = []string{base64.StdEncoding.EncodeToString(crcBytes(in.crc))}
}

// notEncrypted says that the data is not encrypted by the service.
func notEncrypted(h http.Header) { h["x-ms-request-server-encrypted"] = []string{"false"} }

// admit decides whether a write may replace old.
func (s *Service) admit(c *call, cond conditions, old *blobRec) error {
	if err := cond.forBlob(old); err != nil {
		return err
	}
	if err := s.holds(c, old, writing); err != nil {
		return err
	}
	if err := settled(old); err != nil {
		return err
	}
	if old != nil && c.addOnly {
		if c.sas != nil {
			return refuse("UnauthorizedBlobOverwrite")
		}
		return refuse("AuthorizationPermissionMismatch")
	}
	return nil
}

// precheck refuses a long upload before it is read.
func (s *Service) precheck(c *call, cond conditions) error {
	if c.r.ContentLength <= inlineLimit {
		return nil
	}
	old, err := s.eng.stat(c.r.Context(), c.ref())
	if err != nil && !HasCode(err, "BlobNotFound") {
		return err
	}
	return s.admit(c, cond, old)
}

func (s *Service) putBlob(c *call) error {
	kind := Type(c.r.Header.Get("x-ms-blob-type"))
	switch kind {
	case "":
		return missingHeader("x-ms-blob-type")
	case BlockBlob, AppendBlob, pageBlob:
	default:
		return badHeader("x-ms-blob-type", string(kind))
	}
	if err := contentLength(c); err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	props, err := parsePutHeaders(c.r.Header)
	if err != nil {
		return err
	}
	tier, err := parseTier(c)
	if err != nil {
		return err
	}
	tags, err := s.newTags(c)
	if err != nil {
		return err
	}
	limit := int64(maxPutBlob)
	if kind != BlockBlob {
		limit = 0
	}
	var pages blobRec
	if kind == pageBlob {
		if pages, err = newPageBlob(c); err != nil {
			return err
		}
	}
	if err := s.precheck(c, cond); err != nil {
		return err
	}
	in, sums, err := s.take(c, limit, kind == BlockBlob)
	if err != nil {
		return err
	}
	if kind == BlockBlob {
		if props.ContentMD5 != nil && string(props.ContentMD5) != string(in.md5) {
			s.eng.files.drop(in)
			return checksums{md5: props.ContentMD5}.verify(in)
		}
		props.ContentMD5 = in.md5
	}
	if c.acct.HNS && in.size == 0 && strings.EqualFold(props.Metadata[folderMark], "true") {
		return s.putFolder(c, cond, props)
	}
	now := s.cfg.Clock.Now().UnixNano()
	b, err := s.eng.put(c.r.Context(), c.ref(), in, func(old *blobRec) (*blobRec, error) {
		if err := s.admit(c, cond, old); err != nil {
			return nil, err
		}
		return &blobRec{Type: kind, Headers: props, Tier: tier, TierChanged: now, Tags: tags, Size: pages.Size, Sequence: pages.Sequence}, nil
	})
	if err != nil {
		return err
	}
	if kind == BlockBlob {
		if sums.md5 == nil && sums.crc == nil {
			// Azure returns the MD5 it stored.
			sums.md5 = in.md5
		}
		echoSums(c.w.Header(), in, sums)
	}
	notEncrypted(c.w.Header())
	tellVersion(c.w.Header(), b)
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

// putFolder makes a directory for a client of the Blob service, which writes an
// empty blob with a mark for it.
func (s *Service) putFolder(c *call, cond conditions, props Headers) error {
	delete(props.Metadata, folderMark)
	d, err := s.eng.makeDirectory(c.r.Context(), c.ref(), func(old, d *blobRec) error {
		d.Headers = props
		return s.admit(c, cond, old)
	})
	if err != nil {
		return err
	}
	notEncrypted(c.w.Header())
	return answer(c, http.StatusCreated, d.ETag, d.Modified)
}

// describe writes the headers that Get Blob and Get Blob Properties share.
func (s *Service) describeBlob(c *call, b *blobRec) error {
	if c.service == "dfs" {
		own, err := b.Posix.rights(b.Dir != "")
		s.describePath(c, b, own)
		return err
	}
	h := c.w.Header()
	set := func(k, v string) {
		if v != "" {
			h[k] = []string{v}
		}
	}
	set("ETag", etagString(b.ETag))
	set("Last-Modified", httpTime(b.Modified))
	set("x-ms-creation-time", httpTime(b.Created))
	set("x-ms-blob-type", string(b.Type))
	s.leaseHeaders(h, b.Lease)
	set("x-ms-server-encrypted", "false")
	set("Accept-Ranges", "bytes")
	set("Content-Type", b.ContentType)
	set("Content-Encoding", b.ContentEncoding)
	set("Content-Language", b.ContentLanguage)
	set("Content-Disposition", b.ContentDisposition)
	set("Cache-Control", b.CacheControl)
	if b.Type == pageBlob {
		set("x-ms-blob-sequence-number", strconv.FormatInt(b.Sequence, 10))
	}
	if b.Type == AppendBlob {
		set("x-ms-blob-committed-block-count", strconv.Itoa(b.Blocks))
	}
	s.describeCopy(h, b)
	storage.WriteMetadata(h, b.shown())
	set("x-ms-tag-count", b.tagCount())
	tellVersion(h, b)
	if b.Version != 0 && !b.former {
		set("x-ms-is-current-version", "true")
	}
	if c.acct.HNS {
		set("x-ms-resource-type", resourceType(b))
		own, err := b.Posix.rights(b.Dir != "")
		if err != nil {
			return err
		}
		c.showRights(own, true)
	}
	if c.sas != nil {
		for k, v := range c.sas.ResponseHeaders() {
			set(k, v)
		}
	}
	return nil
}

func (s *Service) getBlobProperties(c *call) error {
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
	h := c.w.Header()
	if strings.EqualFold(c.q.Get("comp"), "metadata") {
		storage.WriteMetadata(h, b.shown())
		return answer(c, http.StatusOK, b.ETag, b.Modified)
	}
	if err := s.describeBlob(c, b); err != nil {
		return err
	}
	if b.Type == BlockBlob {
		h["x-ms-access-tier"] = []string{b.tier()}
		if b.Tier == "" {
			h["x-ms-access-tier-inferred"] = []string{"true"}
		} else {
			h["x-ms-access-tier-change-time"] = []string{httpTime(b.TierChanged)}
		}
	}
	if b.ContentMD5 != nil {
		h["Content-MD5"] = []string{base64.StdEncoding.EncodeToString(b.ContentMD5)}
	}
	h["Content-Length"] = []string{strconv.FormatInt(b.Size, 10)}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) getBlob(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	b, rd, err := s.eng.open(c.r.Context(), c.ref())
	if err != nil {
		return err
	}
	defer rd.Close()
	if c.service == "dfs" && b.isDirectory() {
		return refuse("ResourceTypeMismatch")
	}
	if err := cond.of(reading, b); err != nil {
		return err
	}
	if err := s.holds(c, b, reading); err != nil {
		return err
	}
	rg, err := parseRange(c.r.Header, b.Size)
	if err != nil {
		if HasCode(err, "InvalidRange") {
			c.w.Header()["Content-Range"] = []string{"bytes */" + strconv.FormatInt(b.Size, 10)}
		}
		return err
	}
	part := byteRange{0, b.Size}
	if rg != nil {
		part = *rg
	}
	if err := rangeSums(c, b, rd, rg); err != nil {
		return err
	}
	if err := s.describeBlob(c, b); err != nil {
		return err
	}
	h := c.w.Header()
	h["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	status := http.StatusOK
	if rg != nil {
		status = http.StatusPartialContent
		h["Content-Range"] = []string{"bytes " + strconv.FormatInt(part.offset, 10) + "-" +
			strconv.FormatInt(part.offset+part.length-1, 10) + "/" + strconv.FormatInt(b.Size, 10)}
	}
	c.w.WriteHeader(status)
	bp := s.eng.files.buffers.Get().(*[]byte)
	defer s.eng.files.buffers.Put(bp)
	// The wrapper hides ReadFrom, which would bring a buffer of its own.
	src := &diskReader{r: io.NewSectionReader(rd, part.offset, part.length)}
	if _, err := io.CopyBuffer(struct{ io.Writer }{c.w}, src, *bp); err != nil {
		// The status is sent. As less follows than Content-Length says, the
		// client does not take the part for the whole.
		if src.err != nil {
			s.log.Error("blob cannot be read", "account", c.acct.Name, "container", c.container, "blob", c.blob, "request", c.id, "error", src.err)
		}
	}
	return nil
}

// diskReader remembers that it was reading that failed, not writing.
type diskReader struct {
	r   io.Reader
	err error
}

func (d *diskReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = err
	}
	return n, err
}

// rangeSums sets the checksum headers of a download: the stored MD5 for a whole
// blob, and the computed ones of a short range that asks for them.
func rangeSums(c *call, b *blobRec, rd io.ReaderAt, rg *byteRange) error {
	h := c.w.Header()
	stored := base64.StdEncoding.EncodeToString(b.ContentMD5)
	wantMD5 := strings.EqualFold(c.r.Header.Get("x-ms-range-get-content-md5"), "true")
	wantCRC := strings.EqualFold(c.r.Header.Get("x-ms-range-get-content-crc64"), "true")
	if rg == nil {
		if wantMD5 || wantCRC {
			return missingHeader("Range")
		}
		if stored != "" {
			h["Content-MD5"] = []string{stored}
		}
		return nil
	}
	if stored != "" {
		if c.service == "dfs" {
			h["x-ms-content-md5"] = []string{stored}
		} else {
			h["x-ms-blob-content-md5"] = []string{stored}
		}
	}
	switch {
	case !wantMD5 && !wantCRC:
		return nil
	case wantMD5 && wantCRC:
		return refuse("InvalidInput").With("Reason", "x-ms-range-get-content-md5 and x-ms-range-get-content-crc64 are both given.")
	case rg.length > maxRangeSum:
		return refuse("OutOfRangeInput").With("Reason", "A checksum is computed of at most 4 MiB.")
	}
	data := make([]byte, rg.length)
	if _, err := rd.ReadAt(data, rg.offset); err != nil && err != io.EOF {
		return err
	}
	if wantMD5 {
		sum := md5.Sum(data)
		h["Content-MD5"] = []string{base64.StdEncoding.EncodeToString(sum[:])}
	} else {
		h["x-ms-content-crc64"] = []string{base64.StdEncoding.EncodeToString(crcBytes(crcUpdate(0, data)))}
	}
	return nil
}

func (s *Service) setBlobProperties(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	props, err := parseHeaders(c.r.Header)
	if err != nil {
		return err
	}
	size, err := pageLength(c)
	if err != nil {
		return err
	}
	number, err := sequenceAction(c)
	if err != nil {
		return err
	}
	// Given none of them nothing changes; given any, the others are cleared.
	none := props.ContentType == "" && props.ContentEncoding == "" && props.ContentLanguage == "" &&
		props.ContentDisposition == "" && props.CacheControl == "" && props.ContentMD5 == nil
	b, err := s.eng.update(c.r.Context(), c.ref(), false, func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if size >= 0 || number != nil {
			if b.Type != pageBlob {
				return refuse("InvalidBlobType")
			}
			if size >= 0 {
				b.Size = size
			}
			if number != nil {
				number(b)
			}
		}
		if !none {
			props.Metadata = b.Metadata
			b.Headers = props
		}
		b.Copy = nil // as Azure says of x-ms-copy-id and its like
		return nil
	})
	if err != nil {
		return err
	}
	if b.Type == pageBlob {
		c.w.Header()["x-ms-blob-sequence-number"] = []string{strconv.FormatInt(b.Sequence, 10)}
	}
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

func (s *Service) setBlobMetadata(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	meta, err := storage.ParseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	b, err := s.eng.update(c.r.Context(), c.ref(), true, func(b *blobRec) error {
		if err := s.mayChange(c, cond, b); err != nil {
			return err
		}
		if b.Dir != "" {
			delete(meta, folderMark) // it says what is so anyway
		}
		b.Metadata = meta
		return nil
	})
	if err != nil {
		return err
	}
	notEncrypted(c.w.Header())
	tellVersion(c.w.Header(), b)
	return answer(c, http.StatusOK, b.ETag, b.Modified)
}

func (s *Service) deleteBlob(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	var too snapshotsToo
	switch v := c.r.Header.Get("x-ms-delete-snapshots"); v {
	case "":
	case "include":
		too = includeSnapshots
	case "only":
		too = onlySnapshots
	default:
		return badHeader("x-ms-delete-snapshots", v)
	}
	if c.at != nil && too != refuseSnapshots {
		return badHeader("x-ms-delete-snapshots", c.r.Header.Get("x-ms-delete-snapshots"))
	}
	if v := c.q.Get("deletetype"); v != "" {
		return notImplemented("Delete Blob with deletetype")
	}
	check := func(b *blobRec) error { return s.mayChange(c, cond, b) }
	kept, err := s.eng.remove(c.r.Context(), c.ref(), too, check)
	if err != nil {
		return err
	}
	c.w.Header()["x-ms-delete-type-permanent"] = []string{strconv.FormatBool(!kept)}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}
