package files

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// source makes a call of a URL in a header, of a file or directory of this cloud,
// and authorises it to do the operation.
func (c *call) source(header string, operation string, level string) (*call, error) {
	raw := c.HTTP.Header.Get(header)
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, storage.BadHeader(header, raw)
	}
	name, service, err := storage.SplitHost(u.Host)
	if err != nil || service != "file" {
		return nil, storage.NotImplemented(c.row.Name + " from a source outside of this cloud's File service")
	}
	acct, err := c.s.base.Accounts.Account(c.Context(), name)
	if errors.Is(err, storage.ErrNoAccount) {
		return nil, storage.Refuse("CannotVerifyCopySource")
	}
	if err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, storage.BadHeader(header, raw)
	}
	if q.Get("sharesnapshot") != "" {
		return nil, storage.NotImplemented(c.row.Name + " from a snapshot of a share")
	}
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, TLS: c.HTTP.TLS, RemoteAddr: c.HTTP.RemoteAddr}).WithContext(c.Context())
	if v := c.HTTP.Header.Get("x-ms-source-allow-trailing-dot"); v != "" {
		req.Header.Set("x-ms-allow-trailing-dot", v)
	}
	base := *c.Call
	base.Request = &storage.Request{HTTP: req, Query: q, Version: c.Version, Account: acct, Service: "file"}
	src := &call{Call: &base, s: c.s}
	if _, err := src.address(); err != nil || src.path == "" {
		return nil, storage.BadHeader(header, raw)
	}
	for i := range c.s.rows {
		if r := &c.s.rows[i]; r.Name == operation && r.Level == level {
			src.row = r
		}
	}
	own := c.HTTP.Header.Get("Authorization")
	switch given := c.HTTP.Header.Get("x-ms-copy-source-authorization"); {
	case given != "":
		req.Header.Set("Authorization", given)
	case !q.Has("sig") && acct.UID == c.Account.UID && c.Grant.Key:
		src.Grant = c.Grant
		return src, nil // the account's own key reads all of it
	case !q.Has("sig") && acct.UID == c.Account.UID && c.Grant.SAS == nil:
		req.Header.Set("Authorization", own)
	}
	if v := c.HTTP.Header.Get("x-ms-file-request-intent"); v != "" {
		req.Header.Set("x-ms-file-request-intent", v)
	}
	if !acct.PublicNetwork {
		return nil, storage.Refuse("CannotVerifyCopySource")
	}
	if src.Grant, err = c.s.base.Auth.Authorize(src.Request, &src.row.Need, src); err != nil {
		var e *storage.Error
		if errors.As(err, &e) && e.Status < 500 {
			return nil, &storage.Error{Status: e.Status, Code: "CannotVerifyCopySource", Message: e.Message, Details: e.Details}
		}
		return nil, err
	}
	return src, nil
}

// copyFile serves Copy File, which is done when it answers.
func (c *call) copyFile() error {
	h := c.HTTP.Header
	meta, err := storage.ParseMetadata(h)
	if err != nil {
		return err
	}
	for _, name := range []string{"x-ms-file-permission-copy-mode", "x-ms-file-copy-ignore-readonly", "x-ms-file-copy-set-archive"} {
		if v := h.Get(name); v != "" && !strings.EqualFold(v, "false") {
			return storage.NotImplemented("Copy File with " + name)
		}
	}
	src, err := c.source("x-ms-copy-source", "Get File", onFile)
	if err != nil {
		return err
	}
	from, err := src.openRegular()
	if storage.HasCode(err, "ResourceNotFound") || storage.HasCode(err, "ParentNotFound") || storage.HasCode(err, "ShareNotFound") {
		return storage.Refuse("CannotVerifyCopySource")
	}
	if err != nil {
		return err
	}
	defer from.close()
	in, info, err := from.openFile(from.at.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	if w.rec.ID == from.rec.ID && w.at.path == from.at.path {
		return storage.Refuse("InvalidInput")
	}
	defer w.lock().Unlock()
	out, err := w.overwrite(info.Size())
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return asRefusal(err)
	}
	if err := out.Sync(); err != nil {
		return asRefusal(err)
	}
	dir, _ := splitLast(w.at.path)
	if err := w.syncDir(dir); err != nil {
		return err
	}
	shown, _, _ := strings.Cut(h.Get("x-ms-copy-source"), "?") // a SAS is not kept
	now := c.s.base.Clock.Now().UnixNano()
	id := storage.RequestID()
	of := current(from.meta, info)
	m, err := w.keep(func(_ store.Tx, m *metaRec) error {
		n := metaRec{ContentType: of.ContentType, ContentEncoding: of.ContentEncoding, ContentLanguage: of.ContentLanguage,
			ContentDisposition: of.ContentDisposition, CacheControl: of.CacheControl, MD5: of.MD5, Metadata: of.Metadata,
			ETag: m.ETag, Modified: m.Modified, Changed: m.Changed, Seen: m.Seen, Size: m.Size, Lease: m.Lease, Created: now,
			Copy: &copyRec{ID: id, Source: shown, Completed: now}}
		if meta != nil {
			n.Metadata = meta
		}
		*m = n
		return nil
	})
	if err != nil {
		return err
	}
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	c.Set("x-ms-copy-id", id)
	c.Set("x-ms-copy-status", "success")
	return c.Empty(http202)
}

// abortCopy finds no copy to abort: each is done when it answers.
func (c *call) abortCopy() error {
	w, err := c.openRegular()
	if err != nil {
		return err
	}
	defer w.close()
	return &storage.Error{Status: http.StatusConflict, Code: "NoPendingCopyOperation", Message: "There is currently no pending copy operation."}
}

// rename serves Rename File and Rename Directory.
func (c *call) rename() error {
	h := c.HTTP.Header
	p, err := parseSMB(h)
	if err != nil {
		return err
	}
	isDir := c.row.Level == onDirectory
	operation, level := "Delete File", onFile
	if isDir {
		operation, level = "Delete Directory", onDirectory
	}
	replace, err := flag(h, "x-ms-file-rename-replace-if-exists")
	if err != nil {
		return err
	}
	ignore, err := flag(h, "x-ms-file-rename-ignore-readonly")
	if err != nil {
		return err
	}
	src, err := c.source("x-ms-file-rename-source", operation, level)
	if err != nil {
		return err
	}
	if src.share != c.share || src.Account.UID != c.Account.UID {
		return storage.BadHeader("x-ms-file-rename-source", h.Get("x-ms-file-rename-source"))
	}
	if v := h.Get("x-ms-source-lease-id"); v != "" {
		src.HTTP.Header.Set("x-ms-lease-id", v)
	}
	w, err := c.open(c.path)
	if err != nil {
		return err
	}
	defer w.close()
	from, err := src.open(src.path)
	if err != nil {
		return err
	}
	defer from.close()
	switch {
	case from.at.info == nil:
		return storage.Refuse("ResourceNotFound")
	case from.at.info.IsDir() != isDir, c.path == "":
		return storage.Refuse("ResourceTypeMismatch")
	case isDir && strings.HasPrefix(w.at.path+"/", from.at.path+"/"):
		return storage.Refuse("InvalidInput")
	}
	if err := from.mayUse(true); err != nil {
		return err
	}
	same := strings.EqualFold(w.at.path, from.at.path)
	target := w.at.path
	if same { // the case of a name changes
		dir, _ := splitLast(w.at.path)
		_, name := splitLast(c.path)
		target = inDir(dir, name)
	} else if w.at.info != nil {
		if !replace || isDir || !w.at.info.Mode().IsRegular() {
			return storage.Refuse("ResourceAlreadyExists")
		}
		if err := w.mayUse(true); err != nil {
			return err
		}
		if w.meta != nil && strings.Contains(w.meta.Attributes, "ReadOnly") && !ignore {
			return storage.Refuse("ReadOnlyAttribute")
		}
	}
	if err := w.Root.Rename(from.at.path, target); err != nil {
		return asRefusal(err)
	}
	w.at.path = target
	fromDir, _ := splitLast(from.at.path)
	toDir, _ := splitLast(target)
	if err := errors.Join(w.syncDir(fromDir), w.syncDir(toDir)); err != nil {
		return err
	}
	if err := w.written(p, from.at.info.ModTime()); err != nil {
		return err
	}
	if err := c.move(w, from.at.path, target); err != nil {
		return err
	}
	meta, err := storage.ParseMetadata(h)
	if err != nil {
		return err
	}
	m, err := w.keep(func(tx store.Tx, m *metaRec) error {
		if meta != nil {
			m.Metadata = meta
		}
		if v := h.Get("x-ms-content-type"); v != "" {
			m.ContentType = v
		}
		return p.apply(tx, w.rec.ID, m, c.s.base.Clock.Now(), isDir)
	})
	if err != nil {
		return err
	}
	c.show(m, w.at.info, w.parent())
	c.Set("x-ms-request-server-encrypted", "true")
	return c.Empty(http200)
}

func flag(h http.Header, name string) (bool, error) {
	v := h.Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		return false, storage.BadHeader(name, v)
	}
	return b, nil
}

// move takes what is kept of a path, and of all below it, to another.
func (c *call) move(w *work, from, to string) error {
	old, fresh := metaKey(w.rec.ID, from), metaKey(w.rec.ID, to)
	if old == fresh {
		return nil
	}
	if err := w.forgetBelow(to); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
			var rows []store.Entry
			for row, err := range tx.Scan(bucketMeta, store.Range{Prefix: old + "/", Limit: reapBatch}) {
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
			done = len(rows) < reapBatch
			if done {
				b, err := tx.Get(bucketMeta, old)
				if err == nil {
					rows = append(rows, store.Entry{Key: old, Value: b})
				} else if !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			for _, row := range rows {
				if err := tx.Put(bucketMeta, fresh+strings.TrimPrefix(row.Key, old), row.Value); err != nil {
					return err
				}
				if err := tx.Delete(bucketMeta, row.Key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
