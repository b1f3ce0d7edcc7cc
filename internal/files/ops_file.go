package files

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	http200 = http.StatusOK
	http201 = http.StatusCreated
	http202 = http.StatusAccepted
)

// The most bytes of a file and of one write.
const (
	maxFile  = 4 << 40
	maxRange = 4 << 20
)

func length(h http.Header, name string) (int64, error) {
	v := h.Get(name)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > maxFile {
		return 0, storage.BadHeader(name, v)
	}
	return n, nil
}

func (c *call) createFile() error {
	h := c.HTTP.Header
	if v := h.Get("x-ms-type"); !strings.EqualFold(v, "file") {
		return storage.BadHeader("x-ms-type", v)
	}
	if h.Get("x-ms-content-length") == "" {
		return storage.MissingHeader("x-ms-content-length")
	}
	size, err := length(h, "x-ms-content-length")
	if err != nil {
		return err
	}
	if c.HTTP.ContentLength > 0 {
		return storage.NotImplemented("Create File with data")
	}
	p, err := parseSMB(h)
	if err != nil {
		return err
	}
	fresh := &metaRec{}
	if err := contentHeaders(h, fresh); err != nil {
		return err
	}
	if fresh.Metadata, err = storage.ParseMetadata(h); err != nil {
		return err
	}
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	f, err := w.overwrite(size)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := resize(f, size); err != nil {
		return err
	}
	if w.at.info == nil {
		dir, _ := splitLast(w.at.path)
		if err := w.syncDir(dir); err != nil {
			return err
		}
	}
	if err := w.written(p, time.Time{}); err != nil {
		return err
	}
	m, err := w.keep(func(tx store.Tx, m *metaRec) error {
		now := c.s.base.Clock.Now()
		n := *fresh
		n.ETag, n.Modified, n.Changed, n.Seen, n.Size, n.Lease = m.ETag, m.Modified, m.Changed, m.Seen, m.Size, m.Lease
		n.Created = now.UnixNano()
		*m = n
		return p.apply(tx, w.rec.ID, m, now, false)
	})
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http201)
}

// overwrite opens the file at the path empty, made if need be, when the share has
// room for size bytes in it.
func (w *work) overwrite(size int64) (*os.File, error) {
	was := int64(0)
	if w.at.info != nil {
		if !w.at.info.Mode().IsRegular() {
			return nil, storage.Refuse("ResourceTypeMismatch")
		}
		if err := w.mayWrite(); err != nil {
			return nil, err
		}
		was = w.at.info.Size()
	}
	if err := w.c.s.eng.grow(w.rec, w.dir, size-was); err != nil {
		return nil, err
	}
	f, _, err := w.openFile(w.at.path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, asRefusal(err)
	}
	return f, nil
}

// resize sets the length of a file, durably.
func resize(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return asRefusal(err)
	}
	if err := f.Sync(); err != nil {
		return asRefusal(err)
	}
	return nil
}

// fileHeaders puts on an answer what there is to say about a file.
func (c *call) fileHeaders(w *work, m *metaRec, ranged bool) {
	storage.WriteMetadata(c.W.Header(), m.Metadata)
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-server-encrypted", "true")
	c.Set("x-ms-type", "File")
	c.Set("Accept-Ranges", "bytes")
	c.Set("Content-Type", m.ContentType)
	c.Set("Content-Encoding", m.ContentEncoding)
	c.Set("Content-Language", m.ContentLanguage)
	c.Set("Content-Disposition", m.ContentDisposition)
	c.Set("Cache-Control", m.CacheControl)
	name := "Content-MD5"
	if ranged {
		name = "x-ms-content-md5"
	}
	c.Set(name, base64.StdEncoding.EncodeToString(m.MD5))
	c.leaseHeaders(m.Lease)
	if m.Copy != nil {
		c.Set("x-ms-copy-id", m.Copy.ID)
		c.Set("x-ms-copy-source", m.Copy.Source)
		c.Set("x-ms-copy-status", "success")
		size := strconv.FormatInt(w.at.info.Size(), 10)
		c.Set("x-ms-copy-progress", size+"/"+size)
		c.Set("x-ms-copy-completion-time", storage.HTTPTime(m.Copy.Completed))
	}
	if c.Grant.SAS != nil {
		for k, v := range c.Grant.SAS.ResponseHeaders() {
			c.Set(k, v)
		}
	}
}

func (c *call) getFileProperties() error {
	w, err := c.openToRead()
	if err != nil {
		return err
	}
	defer w.close()
	c.fileHeaders(w, current(w.meta, w.at.info), false)
	c.Set("Content-Length", strconv.FormatInt(w.at.info.Size(), 10))
	c.W.WriteHeader(http200)
	return nil
}

func (c *call) getFileMetadata() error {
	w, err := c.openToRead()
	if err != nil {
		return err
	}
	defer w.close()
	m := current(w.meta, w.at.info)
	storage.WriteMetadata(c.W.Header(), m.Metadata)
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	c.Set("x-ms-server-encrypted", "true")
	return c.Empty(http200)
}

// byteRange reads x-ms-range or Range: the first and last byte, the last -1 when
// it is open. It is false when there is none.
func byteRange(h http.Header) (first, last int64, ok bool, err error) {
	name := "x-ms-range"
	v := h.Get(name)
	if v == "" {
		name = "Range"
		if v = h.Get(name); v == "" {
			return 0, 0, false, nil
		}
	}
	a, b, dash := strings.Cut(strings.TrimPrefix(strings.TrimSpace(v), "bytes="), "-")
	first, err = strconv.ParseInt(a, 10, 64)
	last = -1
	if err == nil && b != "" {
		last, err = strconv.ParseInt(b, 10, 64)
	}
	if !dash || err != nil || first < 0 || b != "" && last < first {
		return 0, 0, false, storage.BadHeader(name, v)
	}
	return first, last, true, nil
}

func (c *call) getFile() error {
	w, err := c.openToRead()
	if err != nil {
		return err
	}
	defer w.close()
	f, info, err := w.openFile(w.at.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	w.at.info = info
	size := info.Size()
	first, last, ranged, err := byteRange(c.HTTP.Header)
	if err != nil {
		return err
	}
	if ranged && first >= size {
		return storage.Refuse("InvalidRange")
	}
	if !ranged || last < 0 || last >= size {
		last = size - 1
	}
	n := last - first + 1
	c.fileHeaders(w, current(w.meta, info), ranged)
	if strings.EqualFold(c.HTTP.Header.Get("x-ms-range-get-content-md5"), "true") {
		if !ranged || n > maxRange {
			return storage.Refuse("OutOfRangeInput")
		}
		sum := md5.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, first, n)); err != nil {
			return fmt.Errorf("read file: %w", err)
		}
		c.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	}
	c.Set("Content-Length", strconv.FormatInt(n, 10))
	status := http200
	if ranged {
		status = http.StatusPartialContent
		c.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
	}
	c.W.WriteHeader(status)
	if _, err := io.Copy(c.W, io.NewSectionReader(f, first, n)); err != nil {
		c.s.base.Logger.Debug("response cut short", "request", c.ID, "error", err)
	}
	return nil
}

func (c *call) setFileProperties() error {
	h := c.HTTP.Header
	p, err := parseSMB(h)
	if err != nil {
		return err
	}
	fresh := &metaRec{}
	if err := contentHeaders(h, fresh); err != nil {
		return err
	}
	size := int64(-1)
	if h.Get("x-ms-content-length") != "" {
		if size, err = length(h, "x-ms-content-length"); err != nil {
			return err
		}
	}
	w, err := c.openRegular()
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	if err := w.mayUse(true); err != nil {
		return err
	}
	old := w.at.info.ModTime()
	if size >= 0 && size != w.at.info.Size() {
		if err := w.mayWrite(); err != nil {
			return err
		}
		if err := c.s.eng.grow(w.rec, w.dir, size-w.at.info.Size()); err != nil {
			return err
		}
		f, _, err := w.openFile(w.at.path, os.O_RDWR)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := resize(f, size); err != nil {
			return err
		}
	}
	if err := w.written(p, old); err != nil {
		return err
	}
	m, err := w.keep(func(tx store.Tx, m *metaRec) error {
		if fresh.ContentType+fresh.ContentEncoding+fresh.ContentLanguage+fresh.ContentDisposition+fresh.CacheControl+string(fresh.MD5) != "" {
			// who sets one of them sets them all
			m.ContentType, m.ContentEncoding, m.ContentLanguage = fresh.ContentType, fresh.ContentEncoding, fresh.ContentLanguage
			m.ContentDisposition, m.CacheControl, m.MD5 = fresh.ContentDisposition, fresh.CacheControl, fresh.MD5
		}
		return p.apply(tx, w.rec.ID, m, c.s.base.Clock.Now(), false)
	})
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http200)
}

func (c *call) setFileMetadata() error {
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	w, err := c.openRegular()
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	if err := w.mayUse(true); err != nil {
		return err
	}
	m, err := w.keep(func(_ store.Tx, m *metaRec) error {
		m.Metadata = meta
		return nil
	})
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http200)
}

func (c *call) putRange() error {
	h := c.HTTP.Header
	first, last, ok, err := byteRange(h)
	if err != nil {
		return err
	}
	if !ok || last < 0 {
		return storage.MissingHeader("x-ms-range")
	}
	n := last - first + 1
	clear := false
	switch v := strings.ToLower(h.Get("x-ms-write")); v {
	case "update":
		if n > maxRange {
			return storage.Refuse("RequestBodyTooLarge").With("MaxLimit", strconv.Itoa(maxRange))
		}
		if c.HTTP.ContentLength != n {
			return storage.BadHeader("x-ms-range", h.Get("x-ms-range"))
		}
	case "clear":
		clear = true
		if c.HTTP.ContentLength > 0 {
			return storage.BadHeader("Content-Length", strconv.FormatInt(c.HTTP.ContentLength, 10))
		}
	default:
		return storage.BadHeader("x-ms-write", v)
	}
	// All of it is here before any of it is written: the sum is checked, and a
	// slow client holds nothing up.
	var data []byte
	var sum [md5.Size]byte
	if !clear {
		data = make([]byte, n)
		if _, err := io.ReadFull(c.HTTP.Body, data); err != nil {
			return &storage.BodyError{Err: err}
		}
		sum = md5.Sum(data)
		if v := h.Get("Content-MD5"); v != "" {
			given, err := base64.StdEncoding.DecodeString(v)
			if err != nil || len(given) != md5.Size {
				return storage.Refuse("InvalidMd5")
			}
			if string(given) != string(sum[:]) {
				return storage.Refuse("Md5Mismatch").With("UserSpecifiedMd5", v).With("ServerCalculatedMd5", base64.StdEncoding.EncodeToString(sum[:]))
			}
		}
	}
	w, err := c.openRegular()
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	if err := w.mayWrite(); err != nil {
		return err
	}
	f, info, err := w.openFile(w.at.path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if last >= info.Size() {
		return storage.Refuse("InvalidRange")
	}
	if clear {
		err = clearRange(f, first, n)
	} else {
		_, err = f.WriteAt(data, first)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return asRefusal(err)
	}
	if err := w.written(&smb{written: h.Get("x-ms-file-last-write-time")}, info.ModTime()); err != nil {
		return err
	}
	m, err := w.keep(func(_ store.Tx, m *metaRec) error {
		m.MD5 = nil
		return nil
	})
	if err != nil {
		return err
	}
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	c.Set("x-ms-request-server-encrypted", "true")
	c.Set("x-ms-file-last-write-time", w.at.info.ModTime().UTC().Format(smbTimeForm))
	if !clear {
		c.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return c.Empty(http201)
}

func (c *call) listRanges() error {
	w, err := c.openToRead()
	if err != nil {
		return err
	}
	defer w.close()
	f, info, err := w.openFile(w.at.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	first, last, ranged, err := byteRange(c.HTTP.Header)
	if err != nil {
		return err
	}
	if !ranged || last < 0 || last >= info.Size() {
		last = info.Size() - 1
	}
	list, err := dataRanges(f, first, last+1)
	if err != nil {
		return err
	}
	m := current(w.meta, info)
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	c.Set("x-ms-content-length", strconv.FormatInt(info.Size(), 10))
	x := c.XML()
	x.Raw("<Ranges>")
	for _, r := range list {
		x.Raw("<Range>")
		x.Element("Start", strconv.FormatInt(r[0], 10))
		x.Element("End", strconv.FormatInt(r[1]-1, 10))
		x.Raw("</Range>")
	}
	x.Raw("</Ranges>")
	return c.End(x)
}

func (c *call) deleteFile() error {
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	switch {
	case w.at.info == nil:
		return storage.Refuse("ResourceNotFound")
	case w.at.info.IsDir():
		return storage.Refuse("ResourceTypeMismatch")
	}
	if err := w.mayWrite(); err != nil {
		return err
	}
	if err := w.unlink(); err != nil {
		return err
	}
	if err := w.forget(w.at.path); err != nil {
		return err
	}
	return c.Empty(http202)
}

func (c *call) leaseFile() error {
	a, err := storage.ParseLeaseAction(c.HTTP.Header)
	if err != nil {
		return err
	}
	if a.Name == "acquire" && a.Seconds != -1 {
		// A lease of a file has no end of its own.
		return storage.BadHeader("x-ms-lease-duration", c.HTTP.Header.Get("x-ms-lease-duration"))
	}
	w, err := c.openRegular()
	if err != nil {
		return err
	}
	defer w.close()
	defer w.lock().Unlock()
	var left time.Duration
	m := current(w.meta, w.at.info)
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		old, err := loadMeta(tx, w.rec.ID, w.at.path)
		if err != nil {
			return err
		}
		now := metaRec{ETag: m.ETag, Modified: m.Modified, Seen: w.at.info.ModTime().UnixNano(), Size: w.at.info.Size()}
		if old != nil {
			now = *old
		}
		if now.Lease, left, err = a.Apply(now.Lease, c.s.base.Clock.Now().UnixNano(), "file"); err != nil {
			return err
		}
		m.Lease = now.Lease
		return saveMeta(tx, w.rec.ID, w.at.path, &now)
	}); err != nil {
		return err
	}
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	return c.Empty(c.leaseAnswer(a, m.Lease, left))
}
