package vault

import "testing"

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
