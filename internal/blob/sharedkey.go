package blob

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

// sign is the Base64 of the HMAC-SHA256 of text.
func sign(key []byte, text string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// signed reports, in constant time, whether signature is text signed with one of
// the account's keys.
func signed(a *Account, text, signature string) bool {
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
func (s *Service) authorizeKey(c *call, scheme, credential string) error {
	name, signature, ok := strings.Cut(credential, ":")
	if !ok || !strings.EqualFold(name, c.acct.Name) {
		return authFailed("The account in the Authorization header is not the account of the request.")
	}
	if !c.acct.AllowSharedKey {
		return refuse("KeyBasedAuthenticationNotPermitted")
	}
	date := c.r.Header.Get("x-ms-date")
	if date == "" {
		date = c.r.Header.Get("Date")
	}
	if date == "" {
		return authFailed("x-ms-date or Date header is missing.")
	}
	if err := s.checkDate(date); err != nil {
		return err
	}
	lite := strings.EqualFold(scheme, "SharedKeyLite")
	// The order of headers that differ by a hyphen, digit or underscore follows
	// a culture in Azure's and some clients' sorting and plain bytes in others.
	for _, order := range []func(a, b string) int{cmp.Compare[string], compareCultural} {
		if signed(c.acct, stringToSign(c, lite, order), signature) {
			return nil
		}
	}
	return authFailed("The MAC signature found in the HTTP request is not the same as any computed signature. Server used following string to sign: '%s'.",
		stringToSign(c, lite, cmp.Compare[string]))
}

// stringToSign is what the client signed, by Microsoft's "Authorize with Shared
// Key".
func stringToSign(c *call, lite bool, order func(a, b string) int) string {
	h := c.r.Header
	xDate := h.Get("x-ms-date")
	date := h.Get("Date")
	if c.service == "table" {
		if xDate != "" {
			date = xDate
		}
		if lite {
			return date + "\n" + liteResource(c)
		}
		return strings.Join([]string{c.r.Method, h.Get("Content-MD5"), h.Get("Content-Type"), date, liteResource(c)}, "\n")
	}
	if xDate != "" {
		date = ""
	}
	if lite {
		return strings.Join([]string{c.r.Method, h.Get("Content-MD5"), h.Get("Content-Type"), date,
			canonicalHeaders(h, order) + liteResource(c)}, "\n")
	}
	length := ""
	if c.r.ContentLength > 0 || (c.r.ContentLength == 0 && c.version < "2015-02-21" && c.r.Method != http.MethodGet && c.r.Method != http.MethodHead) {
		length = strconv.FormatInt(c.r.ContentLength, 10)
	}
	return strings.Join([]string{
		c.r.Method,
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
		canonicalHeaders(h, order) + canonicalResource(c),
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
func canonicalResource(c *call) string {
	path := c.r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString("/" + c.acct.Name + path)
	values := map[string][]string{}
	names := []string{}
	for k, vs := range c.q {
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
func liteResource(c *call) string {
	path := c.r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	res := "/" + c.acct.Name + path
	if comp := c.q.Get("comp"); comp != "" {
		res += "?comp=" + comp
	}
	return res
}

// compareCultural orders header names as word sort does: hyphens count only
// between names that are otherwise equal, and an underscore is before digits.
func compareCultural(a, b string) int {
	weight := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "-", ""), "_", "!")
	}
	if n := cmp.Compare(weight(a), weight(b)); n != 0 {
		return n
	}
	return cmp.Compare(a, b)
}
