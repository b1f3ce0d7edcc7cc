package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"testing"
	"time"
	"unicode/utf8"

	sealing "github.com/azimuth-ml/azimuth/internal/seal"
)

// FuzzParsePrivate: no JSON Web Key brings the service down, and one that is taken
// can be kept.
func FuzzParsePrivate(f *testing.F) {
	f.Add(`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`)
	f.Add(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`)
	f.Add(`{"kty":"EC-HSM","crv":"P-521","x":5}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, key string) {
		private, err := parsePrivate([]byte(key))
		if err == nil && private.Public() == nil {
			t.Error("a private key without a public one")
		}
	})
}

// FuzzParseImport: no PKCS #12 and no PEM brings the service down, and what is taken
// has a key that fits its certificate.
func FuzzParseImport(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	p := &certPolicy{X509: &x509Props{Subject: "CN=seed"}}
	p.complete()
	der, err := selfSign(p, key, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		f.Fatal(err)
	}
	in, err := parseChain([][]byte{der}, key)
	if err != nil {
		f.Fatal(err)
	}
	for _, contentType := range []string{contentPEM, contentPFX} {
		value, err := secretValue(contentType, key, true, in.chain, in.leaf)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value, "", "")
		f.Add(value, "pass", contentType)
		f.Add(value[:len(value)/2], "", contentType)
	}
	f.Fuzz(func(t *testing.T, value, password, contentType string) {
		got, _, err := parseImport(value, password, contentType)
		if err == nil && !samePublic(got.leaf.PublicKey, got.private.Public()) {
			t.Error("the key is another's")
		}
		if err != nil && !isAPIError(err) {
			t.Errorf("not an answer: %v", err)
		}
	})
}

// FuzzParseSubject: a name that is taken can be encoded.
func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"CN=a", `CN=a, O="b, c"`, `2.5.4.3=x`, `CN=a\,b;C=DE`, "CN=", "=", `CN="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seq, err := parseSubject(text)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		if _, err := asn1.Marshal(seq); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzReadBackup: neither a blob that was not sealed here nor one that was and has
// something else in it brings the service down.
func FuzzReadBackup(f *testing.F) {
	sealer, err := sealing.New(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"Kind":"secrets","Name":"a","Versions":[{"ID":"1"}]}`), "secrets")
	f.Add([]byte(`{"Kind":"certificates","Versions":[null],"Policy":{}}`), "certificates")
	f.Fuzz(func(t *testing.T, plain []byte, k string) {
		c := &call{Service: &Service{cfg: Config{Sealer: sealer}}, slot: slot{kind: kind(k)}}
		if _, err := c.readBackup(plain); err == nil {
			t.Error("what is not sealed was taken")
		}
		sealed, err := sealer.Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if doc, err := c.readBackup(sealed); err == nil && doc.check() != nil {
			t.Error("a document that is none was taken")
		}
	})
}
