package storage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const keySize = 64 // bytes

func keyNames() []string { return []string{"key1", "key2"} }

// newKeys makes fresh keys of the given names in the account's private part.
func newKeys(r *arm.Resource, now time.Time, names ...string) error {
	for _, name := range names {
		b := make([]byte, keySize)
		if _, err := rand.Read(b); err != nil {
			return err
		}
		r.Private.Set("keys."+name, map[string]any{
			"value": base64.StdEncoding.EncodeToString(b), "created": arm.Timestamp(now),
		})
	}
	return nil
}

func keyList(r *arm.Resource) map[string]any {
	keys := []any{}
	for _, name := range keyNames() {
		keys = append(keys, map[string]any{
			"keyName": name, "value": r.Private.String("keys." + name + ".value"),
			"permissions": "FULL", "creationTime": r.Private.String("keys." + name + ".created"),
		})
	}
	return map[string]any{"keys": keys}
}

// listKeys answers with both keys. The Kerberos keys that $expand=kerb asks for
// exist only on accounts joined to a domain, of which there are none.
func (p *provider) listKeys(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var out map[string]any
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		out = keyList(r)
		return nil
	})
	return arm.OK(out), err
}

func (p *provider) regenerateKey(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	name, ok := match(req.Body.String("keyName"), keyNames())
	if !ok {
		return nil, arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property keyName. The allowed values are %s.",
			req.Body.String("keyName"), strings.Join(keyNames(), ", "))
	}
	var out map[string]any
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
			if err := newKeys(r, req.Now, name); err != nil {
				return err
			}
			r.Body.Set("properties.keyCreationTime."+name, arm.Timestamp(req.Now))
			out = keyList(r)
			return nil
		})
	})
	return arm.OK(out), err
}
