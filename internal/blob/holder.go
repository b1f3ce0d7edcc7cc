package blob

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// holderVersion is the service version by whose rules a signature is looked at.
const holderVersion = "2021-12-02"

// CheckSAS says whether who holds a shared access signature may read (or write) the
// blob at a path of a container, and with list set may list the container. A refusal is
// an *Error, the same as a request with the signature would get from 127.0.0.1.
func (s *Service) CheckSAS(ctx context.Context, account, container, path, token string, write, list bool) error {
	acct, err := s.cfg.Accounts.Account(ctx, account)
	if err != nil {
		return fmt.Errorf("account %s: %w", account, err)
	}
	q, err := url.ParseQuery(strings.TrimPrefix(token, "?"))
	if err != nil {
		return fmt.Errorf("read the shared access signature: %w", err)
	}
	ask := func(l level, method string, more url.Values) error {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+account+".blob.core.windows.net/", nil)
		if err != nil {
			return err
		}
		r.RemoteAddr, r.TLS = "127.0.0.1:1", &tls.ConnectionState{}
		r.Header.Set("x-ms-blob-type", "BlockBlob")
		all := maps.Clone(q)
		maps.Copy(all, more)
		c := &call{r: r, q: all, version: holderVersion, acct: acct, service: "blob", container: container}
		if l == onBlob {
			c.blob = strings.TrimSuffix(path, "/")
		}
		if c.op, err = s.ops.find(l, r, all); err != nil {
			return err
		}
		if err := s.authorize(c); err != nil {
			return err
		}
		if c.sas == nil {
			return storage.AuthFailed("There is no signature in the shared access signature")
		}
		return nil
	}
	method := http.MethodGet
	if write {
		method = http.MethodPut
	}
	if err := ask(onBlob, method, nil); err != nil || !list {
		return err
	}
	return ask(onContainer, http.MethodGet, url.Values{"restype": {"container"}, "comp": {"list"}})
}

// PublicAccess is what anonymous callers may do in a container: "blob" to read blobs,
// "container" to list them too, or "" for nothing.
func (s *Service) PublicAccess(ctx context.Context, account, container string) (string, error) {
	acct, err := s.cfg.Accounts.Account(ctx, account)
	if err != nil {
		return "", fmt.Errorf("account %s: %w", account, err)
	}
	if !acct.AllowPublicAccess {
		return "", nil
	}
	rec, err := s.eng.container(ctx, acct.UID, container)
	if HasCode(err, "ContainerNotFound") {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return rec.Public, nil
}
