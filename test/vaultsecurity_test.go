package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

// TestVaultTokens: a token for another audience, of another issuer, altered, unsigned or
// expired opens no vault, and one for vaults opens only those that let its owner in.
func TestVaultTokens(t *testing.T) {
	e, _, w := vaultEnv(t, "kv-open")
	ctx := t.Context()
	if _, err := w.arm(ctx, http.MethodPut, smallGroup+"/providers/Microsoft.KeyVault/vaults/kv-shut", "2023-07-01", fmt.Sprintf(
		`{"location":"westeurope","properties":{"tenantId":%q,"sku":{"family":"A","name":"standard"},"enableRbacAuthorization":false,"accessPolicies":[]}}`, w.owner.TenantID)); err != nil {
		t.Fatal(err)
	}
	if err := w.vault(ctx, http.MethodPut, "kv-open", "secrets/s", `{"value":"hidden"}`, nil); err != nil {
		t.Fatal(err)
	}
	status := func(token, vault string) int {
		t.Helper()
		a, err := w.do(ctx, token, http.MethodGet, "https://"+vault+".vault.azure.net/secrets/s?api-version=7.6", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusOK && bytes.Contains(a.body, []byte("hidden")) {
			t.Errorf("HTTP %d tells the secret", a.status)
		}
		if a.status == http.StatusUnauthorized && !strings.Contains(a.header.Get("WWW-Authenticate"), "https://vault.azure.net") {
			t.Errorf("no challenge with a 401: %v", a.header)
		}
		return a.status
	}
	good := w.tokens[forVault]
	parts := strings.Split(good, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	forged := func(header string, change func(map[string]any)) string {
		var c map[string]any
		if err := json.Unmarshal(claims, &c); err != nil {
			t.Fatal(err)
		}
		change(c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if header == "" {
			header = parts[0]
		}
		return header + "." + base64.RawURLEncoding.EncodeToString(b) + "." + parts[2]
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for what, token := range map[string]string{
		"no token": "", "of Resource Manager": w.tokens[forARM], "of storage": w.tokens[forStorage], "garbage": "x.y.z",
		"another principal": forged("", func(c map[string]any) { c["oid"] = "11111111-2222-3333-4444-555555555555" }),
		"unsigned":          strings.TrimSuffix(forged(none, func(map[string]any) {}), parts[2]),
		"a cut signature":   good[:len(good)-8],
		"another tenant":    forged("", func(c map[string]any) { c["tid"] = "11111111-2222-3333-4444-555555555555" }),
	} {
		if s := status(token, "kv-open"); s != http.StatusUnauthorized {
			t.Errorf("%s: HTTP %d", what, s)
		}
	}
	if s := status(good, "kv-open"); s != http.StatusOK {
		t.Errorf("the right token: HTTP %d", s)
	}
	if s := status(good, "kv-shut"); s != http.StatusForbidden {
		t.Errorf("a vault that lets nobody in: HTTP %d", s)
	}
	if a, err := w.do(ctx, good, http.MethodGet, armHost+subscription+"/resourceGroups?api-version="+groupAPI, nil, ""); err != nil || a.status != http.StatusUnauthorized {
		t.Errorf("a token for vaults at Resource Manager: HTTP %d, %v", a.status, err)
	}
	if a, err := w.do(ctx, good, http.MethodGet, "https://kv-open.vault.azure.net/secrets/s?api-version=7.6", map[string]string{"X-Large": strings.Repeat("x", 100<<10)}, ""); err == nil && a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: HTTP %d", a.status)
	}
	e.run("clock", "advance", "25h")
	if s := status(good, "kv-open"); s != http.StatusUnauthorized {
		t.Errorf("an expired token: HTTP %d", s)
	}
}

// TestNothingSecretIsLeft stores marked secrets, keys, passwords, account keys,
// signatures and tokens by real operations of a server that logs everything, and makes
// operations fail; then no marker may be in a log, or anywhere in the home but where
// secrets are sealed or handed out.
func TestNothingSecretIsLeft(t *testing.T) {
	e, _ := smallEnv(t)
	e.run("stop")
	s := e.serve("--verbose")
	w, ctx := e.wire(), t.Context()
	if err := w.putVault(ctx, "kv-marked"); err != nil {
		t.Fatal(err)
	}
	markers := map[string][]byte{} // by what they are
	mark := func(what, value string) string {
		markers[what] = []byte(value)
		return value
	}
	vault := func(method, path, body string, out any) error {
		return w.vault(ctx, method, "kv-marked", path, body, out)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was taken", what)
		}
		for name, m := range markers {
			if err != nil && bytes.Contains([]byte(err.Error()), m) {
				t.Errorf("the refusal of %s tells the %s", what, name)
			}
		}
	}
	// of a vault
	secret := mark("secret", "MARKED-secret-value-8c1f")
	must(vault(http.MethodPut, "secrets/s", fmt.Sprintf(`{"value":%q}`, secret), nil))
	refused("a secret with a bad attribute", vault(http.MethodPut, "secrets/t", fmt.Sprintf(`{"value":%q,"attributes":{"nbf":20,"exp":10}}`, secret), nil))
	refused("JSON that is none", vault(http.MethodPut, "secrets/t", `{"value":"`+secret+`"`, nil))
	refused("a value of another type", vault(http.MethodPut, "secrets/t", `{"value":{"inner":"`+secret+`"}}`, nil))
	var pem struct{ Value string }
	must(vault(http.MethodPost, "certificates/c/create", smallCertificate, nil))
	must(vault(http.MethodGet, "secrets/c", "", &pem))
	mark("private key", strings.Split(pem.Value, "\n")[1])
	password := mark("password", "MARKED-pass-51d2")
	body, err := json.Marshal(map[string]any{"value": pem.Value, "pwd": password, "policy": map[string]any{"secret_props": map[string]any{"contentType": "application/x-pem-file"}}})
	must(err)
	must(vault(http.MethodPost, "certificates/i/import", string(body), nil))
	body, err = json.Marshal(map[string]any{"value": "AA" + pem.Value[60:], "pwd": password})
	must(err)
	refused("a damaged certificate", vault(http.MethodPost, "certificates/j/import", string(body), nil))
	must(vault(http.MethodPut, "certificates/issuers/digi", fmt.Sprintf(`{"provider":"DigiCert","credentials":{"account_id":"a","pwd":%q}}`, password), nil))
	var backup struct{ Value string }
	must(vault(http.MethodPost, "secrets/s/backup", "", &backup))
	refused("a damaged backup", vault(http.MethodPost, "secrets/restore", fmt.Sprintf(`{"value":%q}`, backup.Value[:len(backup.Value)-9]), nil))
	d := mark("imported key", base64.RawURLEncoding.EncodeToString([]byte("MARKED-private-number-of-32bytes")))
	refused("a key off the curve", vault(http.MethodPut, "keys/k", fmt.Sprintf(`{"key":{"kty":"EC","crv":"P-256","x":%q,"y":%q,"d":%q}}`, d, d, d), nil))

	const secrets = smallGroup + "/providers/Microsoft.KeyVault/vaults/kv-marked/secrets/"
	template := mark("secret of a template", "MARKED-template-value-3a90")
	_, err = w.arm(ctx, http.MethodPut, secrets+"template", "2023-07-01", fmt.Sprintf(`{"properties":{"value":%q}}`, template))
	must(err)
	_, err = w.arm(ctx, http.MethodPut, secrets+"template", "2023-07-01", fmt.Sprintf(`{"properties":{"value":%q,"attributes":{"nbf":20,"exp":10}}}`, template))
	refused("a template with a bad attribute", err)

	// of an account: its key, a signature made with it, and the requests
	const account = smallGroup + "/providers/Microsoft.Storage/storageAccounts/stmarked1"
	_, err = w.arm(ctx, http.MethodPut, account, "2023-05-01", `{"location":"westeurope","sku":{"name":"Standard_LRS"},"kind":"StorageV2","properties":{}}`)
	must(err)
	a, err := w.arm(ctx, http.MethodPost, account+"/listKeys", "2023-05-01", "")
	must(err)
	var keys struct{ Keys []struct{ Value string } }
	must(json.Unmarshal(a.body, &keys))
	mark("account key", keys.Keys[0].Value)
	shared, err := azblob.NewSharedKeyCredential("stmarked1", keys.Keys[0].Value)
	must(err)
	signed, err := sas.AccountSignatureValues{ExpiryTime: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Permissions: "rwl", ResourceTypes: "sco"}.SignWithSharedKey(shared)
	must(err)
	mark("signature", signed.Signature())
	mark("signature in an address", url.QueryEscape(signed.Signature()))
	for _, q := range []string{signed.Encode(), strings.Replace(signed.Encode(), "sp=rwl", "sp=rwdl", 1)} {
		_, err := w.do(ctx, "", http.MethodGet, "https://stmarked1.blob.core.windows.net/?comp=list&"+q, map[string]string{"x-ms-version": "2021-08-06"}, "")
		must(err)
	}

	// tokens and the credentials that get them
	for name, token := range w.tokens {
		mark("token for "+name, token)
	}
	mark("client secret", w.owner.ClientSecret)
	wrong := *w
	wrong.owner.ClientSecret = mark("wrong client secret", "MARKED-wrong-client-secret-77")
	if _, err := wrong.signIn(ctx, forVault); err == nil {
		t.Error("a wrong secret signs in")
	}
	altered := mark("altered token", w.tokens[forVault][:len(w.tokens[forVault])-4]+"AAAA")
	_, err = w.do(ctx, altered, http.MethodGet, "https://kv-marked.vault.azure.net/secrets/s?api-version=7.6", nil, "")
	must(err)
	_, err = w.do(ctx, altered, http.MethodGet, armHost+subscription+"?api-version="+groupAPI, nil, "")
	must(err)

	// a job, whose log is in the home as well
	must(w.submit(ctx, "marked", "echo hello"))
	if j := e.wait("marked"); j.Properties.Status != "Completed" {
		t.Errorf("the job is %s", j.Properties.Status)
	}

	log := s.kill()
	if !strings.Contains(log, "level=DEBUG") {
		t.Error("the server did not log what it does")
	}
	seek(t, "the server's log", []byte(log), markers)
	// Handed out on purpose, to the owner alone.
	delete(markers, "client secret")
	must(filepath.WalkDir(e.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		seek(t, path, b, markers)
		return err
	}))
	e.serve()
	if err := e.wire().vault(context.WithoutCancel(ctx), http.MethodGet, "kv-marked", "secrets/s", "", &pem); err != nil || pem.Value != secret {
		t.Errorf("the secret is gone: %v", err)
	}
}

// seek looks for markers as they are, in base64 and in hexadecimal digits.
func seek(t *testing.T, where string, in []byte, markers map[string][]byte) {
	t.Helper()
	for what, m := range markers {
		for form, b := range map[string][]byte{
			"": m, " in base64": []byte(strings.TrimRight(base64.StdEncoding.EncodeToString(m), "=")[:len(m)]), " in hexadecimal": []byte(hex.EncodeToString(m)),
		} {
			if bytes.Contains(in, b) {
				at := bytes.Index(in, b)
				t.Errorf("%s has the %s%s: …%.80q", where, what, form, in[max(0, at-60):at])
			}
		}
	}
}
