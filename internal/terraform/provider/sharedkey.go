package provider

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// storageVersion is the data plane version that azurerm's containers and file
// systems use.
const storageVersion = "2020-08-04"

// account is a storage account whose data is to be worked on.
type account struct {
	name, id string
	key      []byte // nil: tokens are used
}

// findAccount looks a storage account up by its name.
func (s *session) findAccount(ctx context.Context, name string) (string, error) {
	all, err := s.getAll(ctx, "/subscriptions/"+s.subscription+"/providers/Microsoft.Storage/storageAccounts", storageVersions()[s.major])
	if err != nil {
		return "", fmt.Errorf("listing storage accounts: %w", err)
	}
	for _, a := range all {
		if asString(asObject(a)["name"]) == name {
			return asString(asObject(a)["id"]), nil
		}
	}
	if s.major == 3 {
		//lint:ignore ST1005 azurerm's own words
		return "", fmt.Errorf("Unable to locate Storage Account %q!", name)
	}
	return "", fmt.Errorf("unable to locate Storage Account %q", name)
}

// openAccount prepares requests to an account's data, with its key unless the
// provider block asks for tokens.
func (s *session) openAccount(ctx context.Context, id string) (*account, error) {
	a := &account{name: lastSegment(id), id: id}
	if s.storageAzureAD {
		return a, nil
	}
	r, err := s.do(ctx, http.MethodPost, id+"/listKeys?%24expand=kerb", storageVersions()[s.major], nil)
	if err != nil {
		return nil, fmt.Errorf("retrieving the keys of %q: %w", id, err)
	}
	keys := asList(r.doc["keys"])
	if len(keys) == 0 {
		return nil, fmt.Errorf("retrieving the keys of %q: there are none", id)
	}
	if a.key, err = base64.StdEncoding.DecodeString(asString(asObject(keys[0])["value"])); err != nil {
		return nil, fmt.Errorf("decode the key of %q: %w", id, err)
	}
	return a, nil
}

// host is the account's data plane: service is "blob" or "dfs".
func (s *session) host(account, service string) string {
	return account + "." + service + "." + s.storageSuffix
}

// data sends a request to an account's data plane and returns the answer's
// headers. An answer of 300 and above is an azureError.
func (s *session) data(ctx context.Context, a *account, method, service, path, query string, header map[string]string) (http.Header, error) {
	return s.dataWith(ctx, a, method, service, path, query, header, nil)
}

// dataWith is data with a body.
func (s *session) dataWith(ctx context.Context, a *account, method, service, path, query string, header map[string]string, body []byte) (http.Header, error) {
	h, _, err := s.exchange(ctx, a, method, service, path, query, header, body)
	return h, err
}

// exchange is dataWith with the body of the answer.
func (s *session) exchange(ctx context.Context, a *account, method, service, path, query string, header map[string]string, body []byte) (http.Header, []byte, error) {
	target := url.URL{Scheme: "https", Host: s.host(a.name, service), Path: path, RawQuery: query}
	status, answer, raw, err := s.send(ctx, method, target.String(), body, func(r *http.Request) error {
		for k, v := range header {
			r.Header.Set(k, v)
		}
		r.Header.Set("x-ms-version", storageVersion)
		r.Header.Set("x-ms-date", s.clock.Now().UTC().Format(http.TimeFormat))
		if a.key != nil {
			r.Header.Set("Authorization", "SharedKey "+a.name+":"+a.sign(r))
			return nil
		}
		token, err := s.token(ctx, storageAudience)
		if err != nil {
			return fmt.Errorf("obtain a token for storage: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if status >= 300 {
		return nil, nil, storageError(status, answer, raw)
	}
	return answer, raw, nil
}

// storageError reads the error of a storage data plane, which is XML for blobs,
// JSON for file systems, and only a header in answers to HEAD.
func storageError(status int, header http.Header, raw []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return parseError(status, raw)
	}
	var e struct {
		Code    string
		Message string
	}
	if xml.Unmarshal(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), &e) != nil || e.Code == "" {
		e.Code, e.Message = header.Get("x-ms-error-code"), http.StatusText(status)
	}
	return &azureError{Status: status, Code: e.Code, Message: e.Message}
}

// sign computes the Shared Key signature of a request, as the Blob
// service's documentation defines it.
func (a *account) sign(r *http.Request) string {
	var headers []string
	for k, v := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-ms-") {
			headers = append(headers, k+":"+strings.TrimSpace(strings.Join(v, ",")))
		}
	}
	sort.Strings(headers)
	length := ""
	if r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	lines := []string{r.Method, "", "", length, "", r.Header.Get("Content-Type"), "", "", "", "", "", ""}
	text := strings.Join(lines, "\n") + "\n" + strings.Join(headers, "\n") + "\n/" + a.name + r.URL.EscapedPath()
	query := r.URL.Query()
	names := make([]string, 0, len(query))
	for k := range query {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		values := query[k]
		sort.Strings(values)
		text += "\n" + strings.ToLower(k) + ":" + strings.Join(values, ",")
	}
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// metadataHeaders and metadataOf carry metadata in headers.
func metadataHeaders(to map[string]string, v any) {
	for k, value := range asObject(v) {
		to["x-ms-meta-"+k] = asString(value)
	}
}

func metadataOf(h http.Header) map[string]any {
	out := map[string]any{}
	for k, v := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(k), "x-ms-meta-"); ok && len(v) > 0 {
			out[name] = v[0]
		}
	}
	return out
}
