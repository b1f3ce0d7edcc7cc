package vault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

func (p *plant) keys(t *testing.T, name, who string) *azkeys.Client {
	t.Helper()
	to, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := azkeys.NewClient("https://"+name+".vault.azure.net", credential(who), &azkeys.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: road{to}, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKeys takes an RSA key through its life with Azure's own client, and checks
// what it does against the public key.
func TestKeys(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.keys(t, "kv", "officer")
	_, err := c.GetKey(ctx, "k", "", nil)
	refused(t, "get before create", err, 404, "KeyNotFound")
	made, err := c.CreateKey(ctx, "k", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA), Tags: map[string]*string{"a": ptr("b")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *made.Key.Kty != azkeys.KeyTypeRSA || len(made.Key.KeyOps) != 6 || len(made.Key.N) != 256 || made.Key.D != nil || made.Key.KID.Name() != "k" {
		t.Errorf("made %+v", made.Key)
	}
	version := made.Key.KID.Version()
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(made.Key.N), E: int(new(big.Int).SetBytes(made.Key.E).Int64())}

	for _, alg := range []azkeys.EncryptionAlgorithm{azkeys.EncryptionAlgorithmRSA15, azkeys.EncryptionAlgorithmRSAOAEP, azkeys.EncryptionAlgorithmRSAOAEP256} {
		params := azkeys.KeyOperationParameters{Algorithm: ptr(alg), Value: []byte("hello")}
		sealed, err := c.Encrypt(ctx, "k", "", params, nil)
		if err != nil {
			t.Fatal(alg, err)
		}
		params.Value = sealed.Result
		open, err := c.Decrypt(ctx, "k", version, params, nil)
		if err != nil || string(open.Result) != "hello" || *open.KID != *made.Key.KID {
			t.Errorf("%s: %q, %v", alg, open.Result, err)
		}
		params.Value = []byte("0123456789abcdef")
		wrapped, err := c.WrapKey(ctx, "k", version, params, nil)
		if err != nil {
			t.Fatal(alg, err)
		}
		params.Value = wrapped.Result
		if open, err := c.UnwrapKey(ctx, "k", version, params, nil); err != nil || string(open.Result) != "0123456789abcdef" {
			t.Errorf("%s: %q, %v", alg, open.Result, err)
		}
	}
	digest := sha256.Sum256([]byte("text"))
	signed, err := c.Sign(ctx, "k", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil)
	if err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signed.Result) != nil {
		t.Errorf("RS256: %v", err)
	}
	signed, err = c.Sign(ctx, "k", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmPS256), Value: digest[:]}, nil)
	if err != nil || rsa.VerifyPSS(public, crypto.SHA256, digest[:], signed.Result, nil) != nil {
		t.Errorf("PS256: %v", err)
	}
	for want, signature := range map[bool][]byte{true: signed.Result, false: []byte("forged")} {
		ok, err := c.Verify(ctx, "k", version, azkeys.VerifyParameters{Algorithm: ptr(azkeys.SignatureAlgorithmPS256), Digest: digest[:], Signature: signature}, nil)
		if err != nil || *ok.Value != want {
			t.Errorf("verify: %v, %v", ok.Value, err)
		}
	}
	_, err = c.Sign(ctx, "k", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: []byte("short")}, nil)
	refused(t, "a digest too short", err, 400, "BadParameter")
	_, err = c.Sign(ctx, "k", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil)
	refused(t, "an algorithm of other keys", err, 400, "BadParameter")

	rotated, err := c.RotateKey(ctx, "k", nil)
	if err != nil || rotated.Key.KID.Version() == version || *rotated.Tags["a"] != "b" {
		t.Errorf("rotated = %+v, %v", rotated.KeyBundle, err)
	}
	// The old version goes on.
	if signed, err := c.Sign(ctx, "k", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil); err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signed.Result) != nil {
		t.Errorf("the old version: %v", err)
	}

	update := func(a azkeys.KeyAttributes, ops ...azkeys.KeyOperation) {
		t.Helper()
		params := azkeys.UpdateKeyParameters{KeyAttributes: &a}
		for _, op := range ops {
			params.KeyOps = append(params.KeyOps, &op)
		}
		if _, err := c.UpdateKey(ctx, "k", version, params, nil); err != nil {
			t.Fatal(err)
		}
	}
	sign := azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}
	update(azkeys.KeyAttributes{Expires: ptr(p.clock.Now().Add(time.Hour))})
	if _, err := c.Sign(ctx, "k", version, sign, nil); err != nil {
		t.Error(err)
	}
	p.clock.Step(2 * time.Hour)
	_, err = c.Sign(ctx, "k", version, sign, nil)
	refused(t, "sign with an expired key", err, 403, "Forbidden")
	if _, err := c.Verify(ctx, "k", version, azkeys.VerifyParameters{Algorithm: sign.Algorithm, Digest: digest[:], Signature: signed.Result}, nil); err != nil {
		t.Errorf("verify with an expired key: %v", err)
	}
	update(azkeys.KeyAttributes{Expires: ptr(p.clock.Now().Add(time.Hour)), NotBefore: ptr(p.clock.Now().Add(time.Minute))})
	_, err = c.Sign(ctx, "k", version, sign, nil)
	refused(t, "sign before the key is valid", err, 403, "Forbidden")
	p.clock.Step(2 * time.Minute)
	update(azkeys.KeyAttributes{}, azkeys.KeyOperationVerify)
	_, err = c.Sign(ctx, "k", version, sign, nil)
	refused(t, "sign with a key that only verifies", err, 403, "Forbidden")
	update(azkeys.KeyAttributes{Enabled: ptr(false)})
	_, err = c.GetKey(ctx, "k", version, nil)
	refused(t, "get disabled", err, 403, "Forbidden")

	page, err := c.NewListKeyPropertiesVersionsPager("k", nil).NextPage(ctx)
	if err != nil || len(page.Value) != 2 {
		t.Errorf("versions: %d, %v", len(page.Value), err)
	}
	list, err := c.NewListKeyPropertiesPager(nil).NextPage(ctx)
	if err != nil || len(list.Value) != 1 || list.Value[0].KID.Name() != "k" || list.Value[0].KID.Version() != "" {
		t.Errorf("keys: %+v, %v", list.Value, err)
	}
	backup, err := c.BackupKey(ctx, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := c.DeleteKey(ctx, "k", nil)
	if err != nil || *deleted.RecoveryID != "https://kv.vault.azure.net/deletedkeys/k" || len(deleted.Key.N) == 0 {
		t.Errorf("deleted = %+v, %v", deleted.DeletedKey, err)
	}
	if _, err := c.RecoverDeletedKey(ctx, "k", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteKey(ctx, "k", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.PurgeDeletedKey(ctx, "k", nil); err != nil {
		t.Error(err)
	}
	restored, err := c.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil)
	if err != nil || *restored.Key.KID != *rotated.Key.KID {
		t.Errorf("restored = %+v, %v", restored.KeyBundle, err)
	}
}

func TestEllipticKeys(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.keys(t, "kept", "officer")
	d256, d384, d512 := sha256.Sum256([]byte("text")), sha512.Sum384([]byte("text")), sha512.Sum512([]byte("text"))
	for _, tc := range []struct {
		name   azkeys.CurveName
		curve  elliptic.Curve
		alg    azkeys.SignatureAlgorithm
		digest []byte
		typ    azkeys.KeyType
	}{
		{azkeys.CurveNameP256, elliptic.P256(), azkeys.SignatureAlgorithmES256, d256[:], azkeys.KeyTypeEC},
		{azkeys.CurveNameP384, elliptic.P384(), azkeys.SignatureAlgorithmES384, d384[:], azkeys.KeyTypeECHSM},
		{azkeys.CurveNameP521, elliptic.P521(), azkeys.SignatureAlgorithmES512, d512[:], azkeys.KeyTypeEC},
	} {
		name := "k" + strings.ToLower(string(tc.name))
		made, err := c.CreateKey(ctx, name, azkeys.CreateKeyParameters{Kty: &tc.typ, Curve: &tc.name}, nil)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		if *made.Key.Kty != tc.typ || *made.Key.Crv != tc.name {
			t.Errorf("%s: %+v", tc.name, made.Key)
		}
		signed, err := c.Sign(ctx, name, "", azkeys.SignParameters{Algorithm: &tc.alg, Value: tc.digest}, nil)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(tc.curve, slices.Concat([]byte{4}, made.Key.X, made.Key.Y))
		if err != nil {
			t.Fatal(tc.name, err)
		}
		half := len(signed.Result) / 2
		if !ecdsa.Verify(public, tc.digest, new(big.Int).SetBytes(signed.Result[:half]), new(big.Int).SetBytes(signed.Result[half:])) {
			t.Errorf("%s: the signature is not good", tc.name)
		}
		ok, err := c.Verify(ctx, name, "", azkeys.VerifyParameters{Algorithm: &tc.alg, Digest: tc.digest, Signature: signed.Result}, nil)
		if err != nil || !*ok.Value {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, err := c.RotateKey(ctx, name, nil); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestImportedKeys(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.keys(t, "kv", "officer")
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	web := azkeys.JSONWebKey{
		Kty: ptr(azkeys.KeyTypeRSA), N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes(), D: k.D.Bytes(), P: k.Primes[0].Bytes(), Q: k.Primes[1].Bytes(),
		DP: k.Precomputed.Dp.Bytes(), DQ: k.Precomputed.Dq.Bytes(), QI: k.Precomputed.Qinv.Bytes(), KeyOps: []*azkeys.KeyOperation{ptr(azkeys.KeyOperationSign)},
	}
	got, err := c.ImportKey(ctx, "mine", azkeys.ImportKeyParameters{Key: &web}, nil)
	if err != nil || len(got.Key.KeyOps) != 1 || got.Key.D != nil {
		t.Fatalf("imported = %+v, %v", got.KeyBundle, err)
	}
	digest := sha256.Sum256([]byte("text"))
	signed, err := c.Sign(ctx, "mine", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil)
	if err != nil || rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest[:], signed.Result) != nil {
		t.Errorf("sign: %v", err)
	}
	for what, change := range map[string]func(*azkeys.JSONWebKey){
		"a public key":       func(w *azkeys.JSONWebKey) { w.D, w.P, w.Q = nil, nil, nil },
		"a damaged key":      func(w *azkeys.JSONWebKey) { w.D = w.N },
		"a symmetric key":    func(w *azkeys.JSONWebKey) { w.Kty = ptr(azkeys.KeyTypeOct) },
		"an HSM's key":       func(w *azkeys.JSONWebKey) { w.Kty = ptr(azkeys.KeyTypeRSAHSM) },
		"a key with no type": func(w *azkeys.JSONWebKey) { w.Kty = nil },
		"a wrong operation":  func(w *azkeys.JSONWebKey) { w.KeyOps = []*azkeys.KeyOperation{ptr(azkeys.KeyOperation("fly"))} },
	} {
		other := web
		change(&other)
		_, err := c.ImportKey(ctx, "other", azkeys.ImportKeyParameters{Key: &other}, nil)
		refused(t, what, err, 400, "BadParameter")
	}
}

func TestKeysAreRefused(t *testing.T) {
	p := start(t)
	const v = "?api-version=7.4"
	p.do(t, "kv", "officer", "POST", "/keys/mine/create"+v, `{"kty":"EC"}`)
	p.do(t, "kv", "officer", "PATCH", "/keys/mine"+v, `{"attributes":{"enabled":false}}`)
	for _, tc := range []struct {
		host, token, method, path, body string
		status                          int
		code, inner                     string
	}{
		{"kv", "nobody", "GET", "/keys/mine" + v, "", 403, "Forbidden", "ForbiddenByRbac"},
		{"kv", "reader", "POST", "/keys/mine//sign" + v, `{"alg":"ES256","value":""}`, 403, "Forbidden", "ForbiddenByRbac"},
		{"kv", "officer", "POST", "/keys/mine//sign" + v, `{"alg":"ES256","value":""}`, 403, "Forbidden", "KeyDisabled"},
		{"kv", "officer", "GET", "/keys/mine" + v, "", 403, "Forbidden", "KeyDisabled"},
		{"old", "reader", "GET", "/keys/mine" + v, "", 404, "KeyNotFound", ""},
		{"old", "reader", "POST", "/keys/mine//sign" + v, `{"alg":"ES256","value":""}`, 404, "KeyNotFound", ""},
		{"old", "reader", "POST", "/keys/mine//wrapkey" + v, `{"alg":"ES256","value":""}`, 403, "Forbidden", "ForbiddenByPolicy"},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"RSA","key_size":1024}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"RSA","public_exponent":3}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"RSA-HSM"}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"EC","crv":"P-1"}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"EC","crv":"P-256K"}`, 501, "NotImplementedByAzimuth", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"EC","key_ops":["encrypt"]}`, 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"EC","release_policy":{"data":"e30"}}`, 501, "NotImplementedByAzimuth", ""},
		{"kv", "officer", "POST", "/keys/x/create" + v, `{"kty":"EC","attributes":{"nbf":20,"exp":10}}`, 400, "BadParameter", ""},
		{"kv", "officer", "GET", "/keys/mine/release/x" + v, "", 501, "NotImplementedByAzimuth", ""},
	} {
		resp, body := p.do(t, tc.host, tc.token, tc.method, tc.path, tc.body)
		var e struct {
			Error struct {
				Code       string
				InnerError struct{ Code string }
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%v: %v in %s", tc, err, body)
		}
		if resp.StatusCode != tc.status || e.Error.Code != tc.code || e.Error.InnerError.Code != tc.inner {
			t.Errorf("%s %s %s %s as %q = %d %s, want %d %s %s", tc.method, tc.host, tc.path, tc.body, tc.token, resp.StatusCode, body, tc.status, tc.code, tc.inner)
		}
	}
	resp, body := p.do(t, "kept", "officer", "POST", "/keys/hsm/create"+v, `{"kty":"RSA-HSM"}`)
	if resp.StatusCode != 200 || !strings.Contains(body, `"kty":"RSA-HSM"`) {
		t.Errorf("premium: %d %s", resp.StatusCode, body)
	}
}
