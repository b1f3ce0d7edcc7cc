package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// copy makes dst of the bytes of src. Files are shared, not copied, but for
// those of append blobs, which may grow. build makes the new record from the old
// one at dst and the one at src; it runs inside the transaction.
func (e *engine) copy(ctx context.Context, src, dst ref, build func(old, src *blobRec) (*blobRec, error)) (b *blobRec, err error) {
	for {
		b, err = e.tryCopy(ctx, src, dst, build)
		if !errors.Is(err, errReplaced) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("copy blob %s: %w", src.name, err)
	}
	return b, nil
}

func (e *engine) tryCopy(ctx context.Context, src, dst ref, build func(old, src *blobRec) (*blobRec, error)) (b *blobRec, err error) {
	from, rd, err := e.open(ctx, src)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	if from.Dir != "" {
		return nil, refuse("ResourceTypeMismatch")
	}
	var in *intake
	if from.Type == AppendBlob {
		if in, err = e.files.take(rd, from.Size, false); err != nil {
			return nil, err
		}
		if in.file == "" && in.size > 0 { // append blobs are never inline
			if in.file, _, err = e.extend("", 0, in, 0); err != nil {
				return nil, err
			}
		}
	}
	now, etag := e.stamp()
	var gone []string
	var old *blobRec
	err = e.store.Update(ctx, func(tx store.Tx) error {
		_, again, err := find(tx, src)
		if err != nil {
			return err
		}
		if again = visible(again); again == nil || again.ETag != from.ETag {
			return errReplaced
		}
		p, err := e.place(tx, dst)
		if err != nil {
			return err
		}
		old = p.rec
		if b, err = build(visible(old), from); err != nil {
			return err
		}
		if err := p.adopt(b, dst); err != nil {
			return err
		}
		b.Type, b.Size, b.Blocks = from.Type, from.Size, from.Blocks
		b.Created, b.Modified, b.ETag = now, now, etag
		if from.Type == pageBlob {
			b.Origin, b.Sequence = etag, from.Sequence
		}
		if v := visible(old); v != nil {
			b.Created = v.Created
		}
		if err := e.share(tx, from, in, b); err != nil {
			return err
		}
		if gone, err = e.supersede(tx, p, dst.uid, b); err != nil {
			return err
		}
		return storage.Save(tx, bucketBlobs, p.key, b)
	})
	if err != nil {
		if in != nil {
			e.undo(in, err)
		}
		return nil, err
	}
	e.settle(gone, old)
	return b, nil
}

// share gives b the bytes of from, which were read into in when they cannot be
// shared.
func (e *engine) share(tx store.Tx, from *blobRec, in *intake, b *blobRec) error {
	switch {
	case in != nil && in.size > 0:
		b.File = in.file
		return storage.Save(tx, bucketFiles, in.file, fileRec{Size: in.size, CRC: in.crc, Append: true})
	case in != nil:
		return nil
	case from.Inline != "":
		var err error
		b.Inline, err = cloneInline(tx, from.Inline)
		return err
	case from.Pages != "":
		b.Pages = storage.RandomHex(12)
		return sharePages(tx, from.Pages, b.Pages)
	case from.File != "":
		b.File = from.File
		return retainFile(tx, from.File)
	case from.List != "":
		var extents []extent
		if err := eachExtent(tx, from.List, func(x extent) error {
			if x.File != "" {
				extents = append(extents, x)
				return retainFile(tx, x.File)
			}
			var err error
			x.Inline, err = cloneInline(tx, x.Inline)
			extents = append(extents, x)
			return err
		}); err != nil {
			return err
		}
		b.List = storage.RandomHex(12)
		_, err := saveExtents(tx, b.List, 0, extents)
		return err
	}
	return nil
}

// copySource authorises the source of a copy and says where it is.
func (s *Service) copySource(c *call) (ref, error) {
	raw := c.r.Header.Get("x-ms-copy-source")
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ref{}, badHeader("x-ms-copy-source", raw)
	}
	name, service, err := storage.SplitHost(u.Host)
	if err != nil || service != "blob" {
		return ref{}, notImplemented(c.op.name + " from a source outside of this cloud's Blob service")
	}
	acct, err := s.cfg.Accounts.Account(c.r.Context(), name)
	if errors.Is(err, ErrNoAccount) {
		return ref{}, refuse("CannotVerifyCopySource")
	}
	if err != nil {
		return ref{}, err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return ref{}, badHeader("x-ms-copy-source", raw)
	}
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, TLS: c.r.TLS, RemoteAddr: c.r.RemoteAddr}
	src := &call{r: req.WithContext(c.r.Context()), q: q, id: c.id, version: c.version, acct: acct, service: "blob"}
	src.container, src.blob = splitPath(u)
	if src.blob == "" {
		return ref{}, badHeader("x-ms-copy-source", raw)
	}
	if src.op, err = s.ops.find(onBlob, req, url.Values{}); err != nil {
		return ref{}, err
	}
	if src.at, err = parseMoment(q); err != nil {
		return ref{}, err
	}
	own := c.r.Header.Get("Authorization")
	switch given := c.r.Header.Get("x-ms-copy-source-authorization"); {
	case given != "":
		req.Header.Set("Authorization", given)
	case !q.Has("sig") && acct.UID == c.acct.UID && c.sas == nil && storage.HasWord("Bearer", strings.SplitN(own, " ", 2)[0]):
		req.Header.Set("Authorization", own)
	case !q.Has("sig") && acct.UID == c.acct.UID && c.sas == nil && own != "":
		return src.ref(), nil // the account's own key reads all of it
	}
	src.r.Header = req.Header
	if !acct.PublicNetwork {
		return ref{}, refuse("CannotVerifyCopySource")
	}
	if err := s.authorize(src); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status < 500 {
			return ref{}, &Error{Status: e.Status, Code: "CannotVerifyCopySource", Message: e.Message, Details: e.Details}
		}
		return ref{}, err
	}
	return src.ref(), nil
}

// copyBlob serves Copy Blob, Copy Blob From URL and Put Blob From URL. The latter
// two are done when they answer.
func (s *Service) copyBlob(c *call) error {
	h := c.r.Header
	fromURL := h.Get("x-ms-blob-type") != ""
	if t := h.Get("x-ms-blob-type"); fromURL && Type(t) != BlockBlob {
		return badHeader("x-ms-blob-type", t)
	}
	for _, k := range []string{"x-ms-source-content-md5", "x-ms-source-content-crc64", "x-ms-source-range", "x-ms-source-lease-id"} {
		if h.Get(k) != "" {
			return notImplemented(c.op.name + " with " + k)
		}
	}
	cond, err := parseConditions(h, "")
	if err != nil {
		return err
	}
	source, err := parseConditions(h, "x-ms-source-")
	if err != nil {
		return err
	}
	props, err := parseHeaders(h)
	if err != nil {
		return err
	}
	meta, err := storage.ParseMetadata(h)
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
	if strings.EqualFold(h.Get("x-ms-copy-source-tag-option"), "COPY") {
		return notImplemented(c.op.name + " with the source's tags")
	}
	src, err := s.copySource(c)
	if err != nil {
		return err
	}
	shown, _, _ := strings.Cut(h.Get("x-ms-copy-source"), "?") // a SAS is not kept
	now := s.cfg.Clock.Now().UnixNano()
	id := storage.RequestID()
	build := func(old, from *blobRec) (*blobRec, error) {
		if err := source.of(writing, from); err != nil {
			return nil, &Error{Status: http.StatusPreconditionFailed, Code: "SourceConditionNotMet", Message: "The source condition specified using HTTP conditional header(s) is not met."}
		}
		if err := s.admit(c, cond, old); err != nil {
			return nil, err
		}
		if fromURL && from.Type != BlockBlob || !fromURL && old != nil && old.Type != from.Type {
			return nil, refuse("InvalidBlobType")
		}
		b := &blobRec{Headers: from.Headers, Tier: tier, TierChanged: now, Tags: tags}
		if meta != nil {
			b.Metadata = meta
		}
		if fromURL {
			if strings.EqualFold(h.Get("x-ms-copy-source-blob-properties"), "false") {
				b.Headers = Headers{ContentType: "application/octet-stream", Metadata: meta, ContentMD5: from.ContentMD5}
			}
			b.override(props)
		} else {
			b.Copy = &copyRec{ID: id, Source: shown, Completed: now}
		}
		return b, nil
	}
	b, err := s.copyNowOrLater(c, src, fromURL || strings.EqualFold(h.Get("x-ms-requires-sync"), "true"), build)
	if HasCode(err, "BlobNotFound") {
		return refuse("CannotVerifyCopySource")
	}
	if err != nil {
		return err
	}
	tellVersion(c.w.Header(), b)
	if fromURL {
		notEncrypted(c.w.Header())
		return answer(c, http.StatusCreated, b.ETag, b.Modified)
	}
	c.w.Header()["x-ms-copy-id"] = []string{id}
	c.w.Header()["x-ms-copy-status"] = []string{b.Copy.status()}
	return answer(c, http.StatusAccepted, b.ETag, b.Modified)
}

// copyNowOrLater copies a blob, or begins to.
func (s *Service) copyNowOrLater(c *call, src ref, now bool, build func(old, from *blobRec) (*blobRec, error)) (*blobRec, error) {
	if !now {
		from, err := s.eng.stat(c.r.Context(), src)
		if err != nil {
			return nil, err
		}
		if from.Dir != "" {
			return nil, refuse("ResourceTypeMismatch")
		}
		if takesLong(from, src, c.ref()) {
			return s.eng.beginCopy(c.r.Context(), src, c.ref(), from, build)
		}
	}
	return s.eng.copy(c.r.Context(), src, c.ref(), build)
}

// override sets the properties that p has.
func (b *blobRec) override(p Headers) {
	for _, f := range [][2]*string{
		{&b.ContentType, &p.ContentType}, {&b.ContentEncoding, &p.ContentEncoding}, {&b.ContentLanguage, &p.ContentLanguage},
		{&b.ContentDisposition, &p.ContentDisposition}, {&b.CacheControl, &p.CacheControl},
	} {
		if *f[1] != "" {
			*f[0] = *f[1]
		}
	}
	if p.ContentMD5 != nil {
		b.ContentMD5 = p.ContentMD5
	}
}
