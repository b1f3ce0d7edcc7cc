package storage

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxMetadata is the most bytes of metadata names and values of a resource.
const MaxMetadata = 8 << 10

// ParseMetadata reads the x-ms-meta- headers. Azure keeps the case of names,
// which net/http does not tell; they are kept in lower case, in which they mean
// the same.
func ParseMetadata(h http.Header) (map[string]string, error) {
	var meta map[string]string
	total := 0
	for k, vs := range h {
		name, ok := strings.CutPrefix(strings.ToLower(k), "x-ms-meta-")
		if !ok {
			continue
		}
		if name == "" {
			return nil, Refuse("EmptyMetadataKey")
		}
		if !ValidMetadataName(name) {
			return nil, Refuse("InvalidMetadata").With("HeaderName", k)
		}
		v := strings.Join(vs, ",")
		for i := range len(v) {
			if v[i] >= 0x7f || v[i] < ' ' {
				return nil, Refuse("InvalidMetadata").With("HeaderName", k)
			}
		}
		if meta == nil {
			meta = map[string]string{}
		}
		meta[name] = v
		total += len(name) + len(v)
	}
	if total > MaxMetadata {
		return nil, Refuse("MetadataTooLarge")
	}
	return meta, nil
}

// ValidMetadataName holds names to the rules of C# identifiers, as Azure does.
func ValidMetadataName(name string) bool {
	for i, r := range name {
		letter := r == '_' || (r < utf8.RuneSelf && unicode.IsLetter(r))
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// WriteMetadata puts metadata on a response without changing the case of names.
func WriteMetadata(h http.Header, meta map[string]string) {
	for k, v := range meta {
		h["x-ms-meta-"+k] = []string{v}
	}
}

// MaxPage is the most items of a page of any list.
const MaxPage = 5000

// PageSize reads maxresults.
func PageSize(q url.Values) (int, error) {
	v := q.Get("maxresults")
	if v == "" {
		return MaxPage, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, BadQuery("maxresults", v, "")
	}
	if n < 1 {
		return 0, Refuse("OutOfRangeQueryParameterValue").With("QueryParameterName", "maxresults").
			With("QueryParameterValue", v).With("MinimumAllowed", "1").With("MaximumAllowed", strconv.Itoa(MaxPage))
	}
	return min(n, MaxPage), nil
}

// Markers say where the next page begins. They are opaque to clients.
// EncodeMarker makes the marker of the page behind after; "" is none.
func EncodeMarker(after string) string {
	if after == "" {
		return ""
	}
	return "1!" + base64.URLEncoding.EncodeToString([]byte(after))
}

// DecodeMarker reads the parameter marker.
func DecodeMarker(q url.Values) (string, error) {
	v := q.Get("marker")
	if v == "" {
		return "", nil
	}
	body, ok := strings.CutPrefix(v, "1!")
	after, err := base64.URLEncoding.DecodeString(body)
	if !ok || err != nil {
		return "", BadQuery("marker", v, "")
	}
	return string(after), nil
}

// Includes reads the include parameter and refuses what is not in known.
func Includes(q url.Values, known string) (map[string]bool, error) {
	set := map[string]bool{}
	for _, v := range q["include"] {
		for part := range strings.SplitSeq(v, ",") {
			part = strings.ToLower(strings.TrimSpace(part))
			if part == "" {
				continue
			}
			if !HasWord(known, part) {
				return nil, BadQuery("include", v, "")
			}
			set[part] = true
		}
	}
	return set, nil
}

// ETag formats an ETag.
func ETag(v uint64) string { return fmt.Sprintf("\"0x%X\"", v) }

// HTTPTime formats a time, Unix nanoseconds, for a header.
func HTTPTime(ns int64) string { return time.Unix(0, ns).UTC().Format(http.TimeFormat) }
