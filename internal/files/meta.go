package files

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// metaRec is what Azure keeps of a file or directory beside its bytes. It is of
// what clients wrote over REST; a program that changes the file knows nothing of
// it.
type metaRec struct {
	ContentType        string            `json:"ct,omitempty"`
	ContentEncoding    string            `json:"ce,omitempty"`
	ContentLanguage    string            `json:"cl,omitempty"`
	ContentDisposition string            `json:"cd,omitempty"`
	CacheControl       string            `json:"cc,omitempty"`
	MD5                []byte            `json:"md5,omitempty"`
	Metadata           map[string]string `json:"meta,omitempty"`
	Attributes         string            `json:"attr,omitempty"`
	Permission         string            `json:"perm,omitempty"` // key
	Created            int64             `json:"new,omitempty"`  // Unix nanoseconds
	Changed            int64             `json:"chg,omitempty"`  // Unix nanoseconds
	ETag               uint64            `json:"etag"`
	Modified           int64             `json:"mod"` // Unix nanoseconds
	// Seen and Size are the file's time and length when this was written. Where
	// they differ, a program has changed the file since.
	Seen  int64          `json:"seen,omitempty"`
	Size  int64          `json:"size,omitempty"`
	Lease *storage.Lease `json:"lease,omitempty"`
	Copy  *copyRec       `json:"copy,omitempty"`
}

type copyRec struct {
	ID        string `json:"id"`
	Source    string `json:"src"`
	Completed int64  `json:"done"` // Unix nanoseconds
}

// metaKey is the key of what is kept of a path.
func metaKey(share, path string) string { return share + "/" + strings.ToLower(path) }

func loadMeta(tx store.Tx, share, path string) (*metaRec, error) {
	b, err := tx.Get(bucketMeta, metaKey(share, path))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &metaRec{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("decode what is kept of file %q: %w", path, err)
	}
	return m, nil
}

func saveMeta(tx store.Tx, share, path string, m *metaRec) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode what is kept of file %q: %w", path, err)
	}
	return tx.Put(bucketMeta, metaKey(share, path), b)
}

// current is what holds of a file now: m, which may be nil, less what a program's
// change made untrue.
func current(m *metaRec, info fs.FileInfo) *metaRec {
	out := &metaRec{}
	if m != nil {
		*out = *m
	}
	mtime := info.ModTime().UnixNano()
	if m == nil || !info.IsDir() && (m.Seen != mtime || m.Size != info.Size()) {
		out.MD5 = nil
		out.Modified = mtime
		out.ETag = storage.UnixTicks + uint64(mtime/100)
		out.Changed = mtime
	}
	if out.ContentType == "" && !info.IsDir() {
		out.ContentType = "application/octet-stream"
	}
	if out.Created == 0 {
		out.Created = mtime
	}
	if out.Attributes == "" {
		out.Attributes = "Archive"
		if info.IsDir() {
			out.Attributes = "Directory"
		}
	}
	if out.Permission == "" {
		out.Permission = permissionKey(inherited)
	}
	return out
}

// touch gives a change of what is at a path a time and an ETag of its own.
func (e *engine) touch(m *metaRec, info fs.FileInfo) {
	m.Modified, m.ETag = e.stamp()
	m.Changed = m.Modified
	if info != nil {
		m.Seen, m.Size = info.ModTime().UnixNano(), info.Size()
	}
}

// inherited is the permission of what nobody gave one. The permissions of the
// root of a share are not documented; this lets everyone in, as a new share does.
const inherited = "O:SYG:SYD:AI(A;OICIID;FA;;;WD)"

// permissionKey is the key of a permission in the descriptor language of Windows,
// in Azure's form.
func permissionKey(sddl string) string {
	h := fnv.New128a()
	h.Write([]byte(sddl))
	sum := h.Sum(nil)
	var a, b uint64
	for i := range 8 {
		a, b = a<<8|uint64(sum[i]), b<<8|uint64(sum[8+i])
	}
	return fmt.Sprintf("%d*%d", a, b)
}

// maxPermission is the most bytes of a permission.
const maxPermission = 8 << 10

func savePermission(tx store.Tx, share, sddl string) (string, error) {
	if len(sddl) > maxPermission {
		return "", storage.Refuse("InvalidHeaderValue").With("HeaderName", "x-ms-file-permission")
	}
	key := permissionKey(sddl)
	return key, tx.Put(bucketPermissions, share+"/"+key, []byte(sddl))
}

// smb is what the headers of a request say about the properties that SMB has.
type smb struct {
	attributes, created, written, changed, permission, permissionKey string
}

// attributeWords are the attributes of files.
const attributeWords = "ReadOnly Hidden System None Directory Archive Temporary Offline NotContentIndexed NoScrubData"

func parseSMB(h http.Header) (*smb, error) {
	p := &smb{attributes: h.Get("x-ms-file-attributes"), created: h.Get("x-ms-file-creation-time"), written: h.Get("x-ms-file-last-write-time"),
		changed: h.Get("x-ms-file-change-time"), permission: h.Get("x-ms-file-permission"), permissionKey: h.Get("x-ms-file-permission-key")}
	if p.permission != "" && p.permissionKey != "" {
		return nil, storage.Refuse("InvalidHeaderValue").With("HeaderName", "x-ms-file-permission-key")
	}
	if p.attributes != "" && !strings.EqualFold(p.attributes, "preserve") {
		var out []string
		for w := range strings.SplitSeq(p.attributes, "|") {
			found := ""
			for known := range strings.FieldsSeq(attributeWords) {
				if strings.EqualFold(known, strings.TrimSpace(w)) {
					found = known
				}
			}
			if found == "" {
				return nil, storage.BadHeader("x-ms-file-attributes", p.attributes)
			}
			out = append(out, found)
		}
		p.attributes = strings.Join(out, " | ")
	}
	for name, v := range map[string]string{"x-ms-file-creation-time": p.created, "x-ms-file-last-write-time": p.written, "x-ms-file-change-time": p.changed} {
		if _, ok := smbTime(v, time.Time{}); !ok {
			return nil, storage.BadHeader(name, v)
		}
	}
	return p, nil
}

// smbTime reads a time; the zero time is to leave it as it is.
func smbTime(v string, now time.Time) (time.Time, bool) {
	switch strings.ToLower(v) {
	case "", "preserve":
		return time.Time{}, true
	case "now":
		return now, true
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	return t.UTC(), err == nil
}

// apply puts the properties on m, which is of something new or not.
func (p *smb) apply(tx store.Tx, share string, m *metaRec, now time.Time, isDir bool) error {
	if a := p.attributes; a != "" && !strings.EqualFold(a, "preserve") {
		switch {
		case isDir && !strings.Contains(a, "Directory"):
			a = strings.TrimPrefix(a+" | Directory", "None | ")
		case !isDir && a == "None":
			a = "Archive"
		}
		m.Attributes = a
	}
	if t, _ := smbTime(p.created, now); !t.IsZero() {
		m.Created = t.UnixNano()
	}
	if t, _ := smbTime(p.changed, now); !t.IsZero() {
		m.Changed = t.UnixNano()
	}
	switch {
	case p.permissionKey != "":
		if p.permissionKey != permissionKey(inherited) {
			if _, err := tx.Get(bucketPermissions, share+"/"+p.permissionKey); errors.Is(err, store.ErrNotFound) {
				return storage.BadHeader("x-ms-file-permission-key", p.permissionKey)
			} else if err != nil {
				return err
			}
		}
		m.Permission = p.permissionKey
	case strings.EqualFold(p.permission, "inherit"):
		m.Permission = ""
	case p.permission != "" && !strings.EqualFold(p.permission, "preserve"):
		key, err := savePermission(tx, share, p.permission)
		if err != nil {
			return err
		}
		m.Permission = key
	}
	return nil
}

// contentHeaders puts on m what a request says about the content, and nothing
// where it says nothing.
func contentHeaders(h http.Header, m *metaRec) error {
	m.ContentType, m.ContentEncoding, m.ContentLanguage = h.Get("x-ms-content-type"), h.Get("x-ms-content-encoding"), h.Get("x-ms-content-language")
	m.ContentDisposition, m.CacheControl, m.MD5 = h.Get("x-ms-content-disposition"), h.Get("x-ms-cache-control"), nil
	if v := h.Get("x-ms-content-md5"); v != "" {
		sum, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(sum) != 16 {
			return storage.Refuse("InvalidMd5")
		}
		m.MD5 = sum
	}
	return nil
}

const smbTimeForm = "2006-01-02T15:04:05.0000000Z"

// show puts the properties that SMB has on an answer.
func (c *call) show(m *metaRec, info fs.FileInfo, parent fs.FileInfo) {
	at := func(ns int64) string { return time.Unix(0, ns).UTC().Format(smbTimeForm) }
	c.Set("ETag", storage.ETag(m.ETag))
	c.Set("Last-Modified", storage.HTTPTime(m.Modified))
	c.Set("x-ms-file-attributes", m.Attributes)
	c.Set("x-ms-file-creation-time", at(m.Created))
	c.Set("x-ms-file-last-write-time", at(info.ModTime().UnixNano()))
	c.Set("x-ms-file-change-time", at(m.Changed))
	c.Set("x-ms-file-permission-key", m.Permission)
	c.Set("x-ms-file-id", fileID(info))
	if parent != nil {
		c.Set("x-ms-file-parent-id", fileID(parent))
	} else {
		c.Set("x-ms-file-parent-id", "0")
	}
}
