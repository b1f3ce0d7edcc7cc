package vault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// base64url is how Key Vault writes bytes.
var base64url = base64.RawURLEncoding

// maxPage is the most entries of a page, and what it has unless told otherwise:
// https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets
const maxPage = 25

// pageBody is a page on the wire.
type pageBody struct {
	Value []any   `json:"value"`
	Next  *string `json:"nextLink"`
}

// page reads entries below a prefix until the page is full. show returns nil for
// what is not to be shown.
func (c *call) page(bucket, prefix string, show func(tx store.Tx, key string, value []byte) (any, error)) (any, error) {
	q := c.r.URL.Query()
	size := maxPage
	if s := q.Get("maxresults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxPage {
			return nil, badParameter("maxresults must be between 1 and %d", maxPage)
		}
		size = n
	}
	rest, err := base64url.DecodeString(q.Get("$skiptoken"))
	if err != nil {
		return nil, badParameter("The $skiptoken is not one of this service.")
	}
	after := ""
	if len(rest) > 0 {
		after = prefix + string(rest)
	}
	out := pageBody{Value: []any{}}
	return &out, c.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		last := ""
		for e, err := range tx.Scan(bucket, store.Range{Prefix: prefix, After: after}) {
			if err != nil {
				return err
			}
			if len(out.Value) == size {
				next := url.Values{"api-version": {q.Get("api-version")}, "maxresults": {strconv.Itoa(size)},
					"$skiptoken": {base64url.EncodeToString([]byte(last[len(prefix):]))}}
				link := c.url(c.r.URL.Path[1:]) + "?" + next.Encode()
				out.Next = &link
				return nil
			}
			b, err := show(tx, e.Key, e.Value)
			if err != nil {
				return err
			}
			if b != nil {
				out.Value = append(out.Value, b)
			}
			last = e.Key
		}
		return nil
	})
}

func (c *call) list() (any, error) {
	return c.listObjects(objectsBucket)
}

func (c *call) listDeleted() (any, error) {
	return c.listObjects(deletedBucket)
}

func (c *call) listObjects(bucket string) (any, error) {
	return c.page(bucket, c.v.UID+"/"+string(c.slot.kind)+"/", func(tx store.Tx, key string, value []byte) (any, error) {
		var o object
		if err := json.Unmarshal(value, &o); err != nil {
			return nil, err
		}
		if o.Deleted != nil && !o.Deleted.Purge.After(c.now) {
			return nil, nil
		}
		if o.Deleted != nil && o.Managed {
			return nil, nil // Azure lists the certificate alone
		}
		v, err := get[version](tx, versionsBucket, key+"/"+o.Current)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", c.slot.kind, err)
		}
		return c.form().listed(c, &o, v, false), nil
	})
}

// listVersions lists in the order of the versions' IDs, as Azure does.
func (c *call) listVersions() (any, error) {
	var o *object
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		o, err = c.slot.live(tx)
		return err
	}); err != nil {
		return nil, err
	}
	return c.page(versionsBucket, c.slot.key()+"/", func(_ store.Tx, _ string, value []byte) (any, error) {
		var v version
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, err
		}
		return c.form().listed(c, o, &v, true), nil
	})
}
