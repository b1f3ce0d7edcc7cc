package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// sasVersion is the version of the signatures that Resource Manager makes: that of
// the examples in Microsoft's reference of List Account SAS.
const sasVersion = "2015-04-05"

// sasField is a field of a request for a signature and its place in the query.
type sasField struct {
	property, parameter string
	required            bool
}

// signingKey is the key that a request names: key1 by default.
func signingKey(account *arm.Resource, name string) ([]byte, error) {
	if name == "" {
		name = keyNames()[0]
	}
	key, ok := match(name, keyNames())
	if !ok {
		return nil, arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property keyToSign. The allowed values are %s.", name, strings.Join(keyNames(), ", "))
	}
	return base64.StdEncoding.DecodeString(account.Private.String("keys." + key + ".value"))
}

// signed answers with a signature of what a request asks for. text is what is
// signed.
func (p *provider) signed(ctx context.Context, req *arm.Request, answer string, fields []sasField,
	text func(account string, t *storage.SAS) (string, error)) (*arm.Response, error) {
	q := url.Values{"sv": {sasVersion}, "sig": {"-"}}
	for _, f := range fields {
		v := req.Body.String(f.property)
		if v == "" && f.required {
			return nil, arm.BadRequest("InvalidValuesForRequestParameters", "Values for request parameters are invalid: %s.", f.property)
		}
		if v != "" {
			q.Set(f.parameter, v)
		}
	}
	tok, err := storage.ParseSAS(q)
	if err != nil {
		return nil, arm.BadRequest("InvalidValuesForRequestParameters", "Values for request parameters are invalid: %s.", err)
	}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		account, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		key, err := signingKey(account, req.Body.String("keyToSign"))
		if err != nil {
			return err
		}
		t, err := text(account.Name(), tok)
		if err != nil {
			return err
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(t))
		q.Set("sig", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return arm.OK(map[string]any{answer: q.Encode()}), nil
}

func (p *provider) listAccountSAS(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	return p.signed(ctx, req, "accountSasToken", []sasField{
		{"signedServices", "ss", true}, {"signedResourceTypes", "srt", true}, {"signedPermission", "sp", true}, {"signedExpiry", "se", true},
		{"signedStart", "st", false}, {"signedIp", "sip", false}, {"signedProtocol", "spr", false},
	}, func(account string, t *storage.SAS) (string, error) { return t.AccountText(account), nil })
}

func (p *provider) listServiceSAS(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	resource := req.Body.String("canonicalizedResource")
	service, rest, ok := strings.Cut(strings.TrimPrefix(resource, "/"), "/")
	account, _, _ := strings.Cut(rest, "/")
	if _, known := match(service, []string{"blob", "file", "queue", "table"}); !ok || !known || account != req.ID.Name() {
		return nil, arm.BadRequest("InvalidValuesForRequestParameters", "Values for request parameters are invalid: canonicalizedResource.")
	}
	return p.signed(ctx, req, "serviceSasToken", []sasField{
		{"signedResource", "sr", false}, {"signedPermission", "sp", false}, {"signedExpiry", "se", false}, {"signedStart", "st", false},
		{"signedIp", "sip", false}, {"signedProtocol", "spr", false}, {"signedIdentifier", "si", false},
		{"startPk", "spk", false}, {"startRk", "srk", false}, {"endPk", "epk", false}, {"endRk", "erk", false},
		{"rscc", "rscc", false}, {"rscd", "rscd", false}, {"rsce", "rsce", false}, {"rscl", "rscl", false}, {"rsct", "rsct", false},
	}, func(_ string, t *storage.SAS) (string, error) { return t.ServiceText(service, resource), nil })
}
