package blob

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// parseHeaders reads the blob's properties from the x-ms-blob- headers.
func parseHeaders(h http.Header) (Headers, error) {
	p := Headers{
		ContentType:        h.Get("x-ms-blob-content-type"),
		ContentEncoding:    h.Get("x-ms-blob-content-encoding"),
		ContentLanguage:    h.Get("x-ms-blob-content-language"),
		ContentDisposition: h.Get("x-ms-blob-content-disposition"),
		CacheControl:       h.Get("x-ms-blob-cache-control"),
	}
	var err error
	p.ContentMD5, err = parseMD5(h, "x-ms-blob-content-md5")
	return p, err
}

// parsePutHeaders is parseHeaders for Put Blob, which falls back on the standard
// headers of the request.
func parsePutHeaders(h http.Header) (Headers, error) {
	p, err := parseHeaders(h)
	if err != nil {
		return p, err
	}
	for _, f := range []struct {
		field *string
		name  string
	}{
		{&p.ContentType, "Content-Type"},
		{&p.ContentEncoding, "Content-Encoding"},
		{&p.ContentLanguage, "Content-Language"},
		{&p.CacheControl, "Cache-Control"},
	} {
		if *f.field == "" {
			*f.field = h.Get(f.name)
		}
	}
	if p.ContentType == "" {
		p.ContentType = "application/octet-stream"
	}
	p.Metadata, err = storage.ParseMetadata(h)
	return p, err
}

func parseMD5(h http.Header, name string) ([]byte, error) {
	v := h.Get(name)
	if v == "" {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(sum) != md5.Size {
		return nil, refuse("InvalidMd5")
	}
	return sum, nil
}

// checksums are what a request claims of its body.
type checksums struct{ md5, crc []byte }

func parseChecksums(h http.Header) (c checksums, err error) {
	if c.md5, err = parseMD5(h, "Content-MD5"); err != nil {
		return c, err
	}
	if v := h.Get("x-ms-content-crc64"); v != "" {
		c.crc, err = base64.StdEncoding.DecodeString(v)
		if err != nil || len(c.crc) != 8 {
			return c, badHeader("x-ms-content-crc64", v)
		}
		if c.md5 != nil {
			// Azure takes one of the two.
			return c, refuse("InvalidInput").With("Reason", "Content-MD5 and x-ms-content-crc64 are both given.")
		}
	}
	return c, nil
}

// verify compares the claims with what arrived.
func (c checksums) verify(in *intake) error {
	if c.md5 != nil && string(c.md5) != string(in.md5) {
		return refuse("Md5Mismatch").
			With("UserSpecifiedMd5", base64.StdEncoding.EncodeToString(c.md5)).
			With("ServerCalculatedMd5", base64.StdEncoding.EncodeToString(in.md5))
	}
	if c.crc != nil && string(c.crc) != string(crcBytes(in.crc)) {
		return refuse("Crc64Mismatch").
			With("UserSpecifiedCrc64", base64.StdEncoding.EncodeToString(c.crc)).
			With("ServerCalculatedCrc64", base64.StdEncoding.EncodeToString(crcBytes(in.crc)))
	}
	return nil
}

// byteRange is a part of a blob: offset and length.
type byteRange struct{ offset, length int64 }

// parseRange reads x-ms-range, or Range when that is not there. It returns nil
// when the whole blob is meant: without either, or with a Range of a form that
// the Blob service does not know (suffixes, several ranges, other units), which
// like any unknown Range is ignored.
func parseRange(h http.Header, size int64) (*byteRange, error) {
	name := "x-ms-range"
	v := h.Get(name)
	if v == "" {
		name = "Range"
		v = h.Get(name)
	}
	if v == "" {
		return nil, nil
	}
	first, last, ok := splitRange(v)
	if !ok {
		if name == "Range" {
			return nil, nil
		}
		return nil, badHeader(name, v)
	}
	if first >= size {
		return nil, refuse("InvalidRange")
	}
	if last < 0 || last >= size {
		last = size - 1
	}
	return &byteRange{first, last - first + 1}, nil
}

// splitRange parses bytes=first- and bytes=first-last; last is -1 when it is not
// given.
func splitRange(v string) (first, last int64, ok bool) {
	v, ok = strings.CutPrefix(strings.TrimSpace(v), "bytes=")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(v, "-")
	if !ok {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(a, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, false
	}
	if b == "" {
		return first, -1, true
	}
	last, err = strconv.ParseInt(b, 10, 64)
	return first, last, err == nil && last >= first
}

// checkContainerName holds a container's name to Microsoft's "Naming and
// Referencing Containers, Blobs, and Metadata".
func checkContainerName(name string) error {
	switch name {
	case "$root", "$web", "$logs", "$blobchangefeed":
		return nil
	}
	if len(name) < 3 || len(name) > 63 {
		return &Error{Status: http.StatusBadRequest, Code: "OutOfRangeInput", Message: "The specified resource name length is not within the permissible limits."}
	}
	for i, r := range name {
		alnum := (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9')
		if !alnum && (r != '-' || i == 0 || i == len(name)-1 || name[i-1] == '-') {
			return refuse("InvalidResourceName")
		}
	}
	return nil
}

// checkBlobName holds a blob's name to the same rules.
func checkBlobName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > 1024 || strings.Count(name, "/") > 254 {
		return &Error{Status: http.StatusBadRequest, Code: "OutOfRangeInput", Message: "The specified resource name length is not within the permissible limits."}
	}
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return refuse("InvalidUri")
	}
	return nil
}

// splitPath takes a request path apart. A path of one segment is a container,
// or a blob of $root when the request is not about a container.
func splitPath(u *url.URL) (container, blob string) {
	p := strings.TrimPrefix(u.Path, "/")
	container, blob, found := strings.Cut(p, "/")
	// Azure takes a backslash for a slash.
	blob = strings.ReplaceAll(blob, `\`, "/")
	if !found || blob == "" {
		q := u.Query()
		if container != "" && !strings.EqualFold(q.Get("restype"), "container") && !strings.EqualFold(q.Get("restype"), "account") {
			return "$root", container
		}
		return container, ""
	}
	return container, blob
}
