package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// bucketSecrets holds <account uid> → the key of the account's user delegation
// keys. Its name is of when blobs alone had some.
const bucketSecrets = "blob.secret"

// maxDelegation is how long a user delegation key can last.
const maxDelegation = 7 * 24 * time.Hour

// delegationService is the sks field of the user delegation keys of a service.
func delegationService(service string) string {
	if service == "dfs" {
		return "b"
	}
	return service[:1]
}

// delegationKey derives the key that Get User Delegation Key hands out. Nothing
// of it is stored: its parameters come back in each SAS.
func delegationKey(secret []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s\n", len(p), p)
	}
	return m.Sum(nil)
}

// verifyingKey is the user delegation key that t says it is signed with.
func (a *Authorizer) verifyingKey(q *Request, t *SAS) ([]byte, error) {
	secret, err := a.secret(q.HTTP.Context(), q.Account.UID)
	if err != nil {
		return nil, err
	}
	return delegationKey(secret, t.skoid, t.sktid, t.skt, t.ske, t.sks, t.skv, t.delegatedTenant), nil
}

// keyInfo is the request of Get User Delegation Key.
type keyInfo struct {
	Start            string
	Expiry           string
	DelegatedUserTid string
}

// UserDelegationKey serves Get User Delegation Key. It returns a document that
// is to be flushed.
func (a *Authorizer) UserDelegationKey(w http.ResponseWriter, q *Request) (*XML, error) {
	var in keyInfo
	if err := ReadXML(q.HTTP, &in); err != nil {
		return nil, err
	}
	now := a.Clock.Now()
	node := func(name, value, reason string) error {
		return Refuse("InvalidXmlNodeValue").With("XmlNodeName", name).With("XmlNodeValue", value).With("Reason", reason)
	}
	start := now
	if in.Start != "" {
		var ok bool
		if start, ok = ParseSASTime(in.Start); !ok {
			return nil, node("Start", in.Start, "The value is not a time.")
		}
	}
	expiry, ok := ParseSASTime(in.Expiry)
	switch {
	case in.Expiry == "":
		return nil, Refuse("MissingRequiredXmlNode").With("XmlNodeName", "Expiry")
	case !ok:
		return nil, node("Expiry", in.Expiry, "The value is not a time.")
	case !expiry.After(start), !expiry.After(now):
		return nil, node("Expiry", in.Expiry, "The key must expire after it starts and after now.")
	case expiry.Sub(now) > maxDelegation+time.Minute, start.Sub(now) > maxDelegation:
		return nil, node("Expiry", in.Expiry, "The key must start and expire within seven days of now.")
	}
	if in.DelegatedUserTid != "" && q.Version < sasDelegated {
		return nil, Refuse("UnsupportedXmlNode").With("XmlNodeName", "DelegatedUserTid")
	}
	principal, err := a.Bearer(q)
	if err != nil {
		return nil, err
	}
	secret, err := a.secret(q.HTTP.Context(), q.Account.UID)
	if err != nil {
		return nil, err
	}
	skt, ske := start.Format(SASTimeForm), expiry.Format(SASTimeForm)
	letter := delegationService(q.Service)
	key := delegationKey(secret, principal, a.TenantID, skt, ske, letter, q.Version, in.DelegatedUserTid)
	x := StartXML(w, http.StatusOK)
	x.Raw("<UserDelegationKey>")
	x.Element("SignedOid", principal)
	x.Element("SignedTid", a.TenantID)
	x.Element("SignedStart", skt)
	x.Element("SignedExpiry", ske)
	x.Element("SignedService", letter)
	x.Element("SignedVersion", q.Version)
	x.Optional("SignedDelegatedUserTid", in.DelegatedUserTid)
	x.Element("Value", base64.StdEncoding.EncodeToString(key))
	x.Raw("</UserDelegationKey>")
	return x, nil
}

// secret returns the key that an account's user delegation keys derive from. It
// is made when it is first asked for.
func (a *Authorizer) secret(ctx context.Context, uid string) (key []byte, err error) {
	read := func(tx store.Tx) error {
		b, err := tx.Get(bucketSecrets, uid)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &key); err != nil {
			return fmt.Errorf("decode user delegation secret of %s: %w", uid, err)
		}
		return nil
	}
	if err := a.Store.View(ctx, read); err != nil || key != nil {
		return key, err
	}
	err = a.Store.Update(ctx, func(tx store.Tx) error {
		if err := read(tx); err != nil || key != nil {
			return err
		}
		key = []byte(RandomHex(32))
		b, err := json.Marshal(key)
		if err != nil {
			return err
		}
		return tx.Put(bucketSecrets, uid, b)
	})
	if err != nil {
		return nil, fmt.Errorf("make user delegation secret: %w", err)
	}
	return key, nil
}

// RevokeUserDelegationKeys makes every user delegation key of the account
// instance void, and so every SAS signed with one.
func (a *Authorizer) RevokeUserDelegationKeys(ctx context.Context, uid string) error {
	err := a.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(bucketSecrets, uid) })
	if err != nil {
		return fmt.Errorf("revoke user delegation keys: %w", err)
	}
	return nil
}
