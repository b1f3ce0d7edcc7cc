package storage

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Sign is the Base64 of the HMAC-SHA256 of text.
func Sign(key []byte, text string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Signed reports, in constant time, whether signature is text signed with one of
// the account's keys.
func Signed(a *Account, text, signature string) bool {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	ok := false
	for _, key := range a.Keys {
		if len(key) == 0 {
			continue
		}
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		ok = hmac.Equal(m.Sum(nil), given) || ok
	}
	return ok
}

// authorizeKey verifies a SharedKey or SharedKeyLite signature.
func (a *Authorizer) key(q *Request, scheme, credential string) error {
	name, signature, ok := strings.Cut(credential, ":")
	if !ok || !strings.EqualFold(name, q.Account.Name) {
		return AuthFailed("The account in the Authorization header is not the account of the request.")
	}
	if !q.Account.AllowSharedKey {
		return Refuse("KeyBasedAuthenticationNotPermitted")
	}
	date := q.HTTP.Header.Get("x-ms-date")
	if date == "" {
		date = q.HTTP.Header.Get("Date")
	}
	if date == "" {
		return AuthFailed("x-ms-date or Date header is missing.")
	}
	if err := a.checkDate(date); err != nil {
		return err
	}
	lite := strings.EqualFold(scheme, "SharedKeyLite")
	// The order of headers that differ by a hyphen, digit or underscore follows
	// a culture in Azure's and some clients' sorting and plain bytes in others.
	for _, order := range []func(a, b string) int{cmp.Compare[string], CompareCultural} {
		if Signed(q.Account, StringToSign(q, lite, order), signature) {
			return nil
		}
	}
	return AuthFailed("The MAC signature found in the HTTP request is not the same as any computed signature. Server used following string to sign: '%s'.",
		StringToSign(q, lite, cmp.Compare[string]))
}

// StringToSign is what the client signed, by Microsoft's "Authorize with Shared
// Key".
func StringToSign(q *Request, lite bool, order func(a, b string) int) string {
	h := q.HTTP.Header
	xDate := h.Get("x-ms-date")
	date := h.Get("Date")
	if q.Service == "table" {
		if xDate != "" {
			date = xDate
		}
		if lite {
			return date + "\n" + liteResource(q)
		}
		return strings.Join([]string{q.HTTP.Method, h.Get("Content-MD5"), h.Get("Content-Type"), date, liteResource(q)}, "\n")
	}
	if xDate != "" {
		date = ""
	}
	if lite {
		return strings.Join([]string{q.HTTP.Method, h.Get("Content-MD5"), h.Get("Content-Type"), date,
			canonicalHeaders(h, order) + liteResource(q)}, "\n")
	}
	length := ""
	if q.HTTP.ContentLength > 0 || (q.HTTP.ContentLength == 0 && q.Version < "2015-02-21" && q.HTTP.Method != http.MethodGet && q.HTTP.Method != http.MethodHead) {
		length = strconv.FormatInt(q.HTTP.ContentLength, 10)
	}
	return strings.Join([]string{
		q.HTTP.Method,
		h.Get("Content-Encoding"),
		h.Get("Content-Language"),
		length,
		h.Get("Content-MD5"),
		h.Get("Content-Type"),
		date,
		h.Get("If-Modified-Since"),
		h.Get("If-Match"),
		h.Get("If-None-Match"),
		h.Get("If-Unmodified-Since"),
		h.Get("Range"),
		canonicalHeaders(h, order) + canonicalResource(q),
	}, "\n")
}

// canonicalHeaders are the x-ms- headers, each on a line.
func canonicalHeaders(h http.Header, order func(a, b string) int) string {
	names := make([]string, 0, len(h))
	for k := range h {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-ms-") {
			names = append(names, k)
		}
	}
	slices.SortFunc(names, order)
	var b strings.Builder
	for _, k := range names {
		b.WriteString(k)
		b.WriteByte(':')
		for i, v := range h.Values(k) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.TrimSpace(v))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// canonicalResource is the account, the path as it was sent, and the query.
func canonicalResource(q *Request) string {
	path := q.HTTP.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString("/" + q.Account.Name + path)
	values := map[string][]string{}
	names := []string{}
	for k, vs := range q.Query {
		k = strings.ToLower(k)
		if values[k] == nil {
			names = append(names, k)
		}
		values[k] = append(values[k], vs...)
	}
	slices.Sort(names)
	for _, k := range names {
		slices.Sort(values[k])
		b.WriteString("\n" + k + ":" + strings.Join(values[k], ","))
	}
	return b.String()
}

// liteResource is the resource of SharedKeyLite and of the Table service, which
// has no query but comp.
func liteResource(q *Request) string {
	path := q.HTTP.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	res := "/" + q.Account.Name + path
	if comp := q.Query.Get("comp"); comp != "" {
		res += "?comp=" + comp
	}
	return res
}

// CompareCultural orders header names as word sort does: hyphens count only
// between names that are otherwise equal, and an underscore is before digits.
func CompareCultural(a, b string) int {
	weight := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "-", ""), "_", "!")
	}
	if n := cmp.Compare(weight(a), weight(b)); n != 0 {
		return n
	}
	return cmp.Compare(a, b)
}
