package files

import (
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// list serves List Directories and Files.
func (c *call) list() error {
	limit, err := storage.PageSize(c.Query)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.Query)
	if err != nil {
		return err
	}
	include, err := storage.Includes(c.Query, "timestamps etag attributes permissionkey")
	if err != nil {
		return err
	}
	w, err := c.openDir()
	if err != nil {
		return err
	}
	defer w.close()
	prefix := c.Query.Get("prefix")
	names, next, err := w.page(prefix, after, limit)
	if err != nil {
		return err
	}
	extended := len(include) > 0 || strings.EqualFold(c.HTTP.Header.Get("x-ms-file-extended-info"), "true")
	type entry struct {
		name string
		info fs.FileInfo
		meta *metaRec
	}
	var list []entry
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		list = nil
		for _, n := range names {
			path := inDir(w.at.path, n)
			info, err := w.stat(path)
			if err != nil {
				return err
			}
			if info == nil || !info.IsDir() && !info.Mode().IsRegular() {
				continue // a pipe, a device, or a link that leads out
			}
			e := entry{name: n, info: info}
			if extended {
				if e.meta, err = loadMeta(tx, w.rec.ID, path); err != nil {
					return err
				}
			}
			list = append(list, e)
		}
		return nil
	}); err != nil {
		return err
	}
	x := c.XML()
	x.Raw(`<EnumerationResults ServiceEndpoint="` + c.Endpoint() + `" ShareName="` + c.share + `" DirectoryPath="`)
	x.Text(c.path)
	x.Raw(`">`)
	if prefix != "" {
		x.Name("Prefix", prefix)
	}
	x.Optional("Marker", c.Query.Get("marker"))
	if c.Query.Has("maxresults") {
		x.Element("MaxResults", strconv.Itoa(limit))
	}
	x.Element("DirectoryId", fileID(w.at.info))
	x.Raw("<Entries>")
	for _, e := range list {
		kind := "File"
		if e.info.IsDir() {
			kind = "Directory"
		}
		x.Raw("<" + kind + ">")
		if extended {
			x.Element("FileId", fileID(e.info))
		}
		x.Name("Name", e.name)
		x.Raw("<Properties>")
		if kind == "File" {
			x.Element("Content-Length", strconv.FormatInt(e.info.Size(), 10))
		}
		m := current(e.meta, e.info)
		at := func(ns int64) string { return time.Unix(0, ns).UTC().Format(smbTimeForm) }
		if include["timestamps"] {
			x.Element("CreationTime", at(m.Created))
			x.Element("LastAccessTime", at(e.info.ModTime().UnixNano()))
			x.Element("LastWriteTime", at(e.info.ModTime().UnixNano()))
			x.Element("ChangeTime", at(m.Changed))
			x.Element("Last-Modified", storage.HTTPTime(m.Modified))
		}
		if include["etag"] {
			x.Element("Etag", storage.ETag(m.ETag))
		}
		x.Raw("</Properties>")
		if include["attributes"] {
			x.Element("Attributes", m.Attributes)
		}
		if include["permissionkey"] {
			x.Element("PermissionKey", m.Permission)
		}
		x.Raw("</" + kind + ">")
	}
	x.Raw("</Entries>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return c.End(x)
}

// page returns up to limit names of a directory behind after, in their order.
// Names are compared as bytes. Whether Azure's prefix knows case is not
// documented; this one does not, as names do not.
func (w *work) page(prefix, after string, limit int) (names []string, next string, err error) {
	d, err := w.Open(w.name(w.at.path))
	if err != nil {
		return nil, "", asRefusal(err)
	}
	defer d.Close()
	for {
		batch, err := d.Readdirnames(4096)
		for _, n := range batch {
			if n > after && len(n) >= len(prefix) && strings.EqualFold(n[:len(prefix)], prefix) {
				names = append(names, n)
			}
		}
		if err == io.EOF || err == nil && len(batch) == 0 {
			break
		}
		if err != nil {
			return nil, "", asRefusal(err)
		}
	}
	slices.Sort(names)
	if len(names) > limit {
		names = names[:limit]
		next = names[limit-1]
	}
	return names, next, nil
}
