package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// vaultEnv is a running server with the vaults in which the owner may do everything.
func vaultEnv(t *testing.T, vaults ...string) (*env, *serving, *wire) {
	t.Helper()
	e := newEnv(t)
	s := e.serve("--verbose")
	w := e.wire()
	if _, err := w.arm(t.Context(), http.MethodPut, smallGroup, groupAPI, `{"location":"westeurope"}`); err != nil {
		t.Fatal(err)
	}
	for _, name := range vaults {
		if err := w.putVault(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return e, s, w
}

func (w *wire) putVault(ctx context.Context, name string) error {
	_, err := w.arm(ctx, http.MethodPut, smallGroup+"/providers/Microsoft.KeyVault/vaults/"+name, "2023-07-01", fmt.Sprintf(
		`{"location":"westeurope","properties":{"tenantId":%q,"sku":{"family":"A","name":"standard"},"enableRbacAuthorization":false,"softDeleteRetentionInDays":7,
		"accessPolicies":[{"tenantId":%[1]q,"objectId":%q,"permissions":{"secrets":["all"],"keys":["all"],"certificates":["all"]}}]}}`,
		w.owner.TenantID, w.owner.ObjectID))
	return err
}

// vault is do for the data plane of a vault; an answer that is no success is an error.
func (w *wire) vault(ctx context.Context, method, vault, path, body string, out any) error {
	a, err := w.do(ctx, w.tokens[forVault], method, "https://"+vault+".vault.azure.net/"+path+"?api-version=7.6", map[string]string{"Content-Type": "application/json"}, body)
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("%s %s: HTTP %d %s", method, path, a.status, a.body)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(a.body, out)
	}
	return err
}

const smallCertificate = `{"policy":{"issuer":{"name":"Self"},"key_props":{"kty":"EC","crv":"P-256"},"x509_props":{"subject":"CN=small"},"secret_props":{"contentType":"application/x-pem-file"}}}`

// TestVaultSurvivesCrashes kills the server again and again while secrets, keys and
// certificates are written: what was acknowledged is there and whole, and doctor finds
// that all of it opens. AZIMUTH_CRASH_ROUNDS sets how often.
func TestVaultSurvivesCrashes(t *testing.T) {
	e, s, w := vaultEnv(t, "kv-crash")
	ctx := t.Context()
	type write struct{ path, want string }
	var mu sync.Mutex
	var kept []write
	latest := map[string]string{} // of the secrets that are written again and again
	rounds := crashRounds(t, 5)
	for round := range rounds {
		var n atomic.Int64
		until := 5 + rand.Int64N(40)
		var wg sync.WaitGroup
		load := func(op func(i int) error) {
			wg.Go(func() {
				for i := 0; op(i) == nil; i++ {
					if n.Add(1) >= until {
						s.cmd.Process.Kill()
					}
				}
			})
		}
		keep := func(path, want string) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, write{path, want})
		}
		for worker := range 2 {
			load(func(i int) error {
				value := fmt.Sprintf("%d-%d-%s", round, i, strings.Repeat("x", i*97%20000))
				var got struct{ ID string }
				name := fmt.Sprintf("s-%d-%d", worker, i%3)
				err := w.vault(ctx, http.MethodPut, "kv-crash", "secrets/"+name, fmt.Sprintf(`{"value":%q}`, value), &got)
				mu.Lock()
				defer mu.Unlock()
				if delete(latest, name); err == nil { // else it is the one or the other now
					latest[name] = value
					kept = append(kept, write{strings.TrimPrefix(got.ID, "https://kv-crash.vault.azure.net/"), value})
				}
				return err
			})
		}
		load(func(i int) error {
			var got struct{ Key struct{ KID, X string } }
			err := w.vault(ctx, http.MethodPost, "kv-crash", fmt.Sprintf("keys/k-%d-%d/create", round, i), `{"kty":"EC"}`, &got)
			if err == nil {
				keep(strings.TrimPrefix(got.Key.KID, "https://kv-crash.vault.azure.net/"), got.Key.X)
			}
			return err
		})
		load(func(i int) error {
			name := fmt.Sprintf("c-%d-%d", round, i)
			err := w.vault(ctx, http.MethodPost, "kv-crash", "certificates/"+name+"/create", smallCertificate, nil)
			if err == nil {
				keep("certificates/"+name, "")
				keep("secrets/"+name, "-----BEGIN PRIVATE KEY-----")
			}
			if err == nil && i%2 == 0 {
				if err = w.vault(ctx, http.MethodDelete, "kv-crash", "certificates/"+name, "", nil); err == nil {
					keep("deletedcertificates/"+name, "")
				}
				mu.Lock()
				defer mu.Unlock()
				kept = slices.DeleteFunc(kept, func(k write) bool { return k.path == "certificates/"+name || k.path == "secrets/"+name })
			}
			return err
		})
		wg.Wait()
		s.kill()
		s = e.serve()
		w = e.wire()
	}
	for name, want := range latest {
		kept = append(kept, write{"secrets/" + name, want})
	}
	for _, k := range kept {
		var got struct {
			Value string
			Key   struct{ X string }
			CER   []byte
		}
		if err := w.vault(ctx, http.MethodGet, "kv-crash", k.path, "", &got); err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasPrefix(got.Value+got.Key.X, k.want) || len(got.Value)+len(got.Key.X)+len(got.CER) == 0 {
			t.Errorf("%s is not what was written", k.path)
		}
	}
	if out := e.run("doctor"); !strings.Contains(out, "all open") {
		t.Errorf("doctor:\n%s", out)
	}
	t.Logf("%d rounds: %d versions", rounds, len(kept))
}

// TestSealKeyRotation: the key is exchanged, kept elsewhere, refused when it is
// missing or wrong, and a rotation that is killed at any moment loses nothing.
func TestSealKeyRotation(t *testing.T) {
	e, s, w := vaultEnv(t, "kv-seal")
	ctx := t.Context()
	for i := range 150 { // more than are sealed anew at a time
		if err := w.vault(ctx, http.MethodPut, "kv-seal", fmt.Sprintf("secrets/s%d", i), fmt.Sprintf(`{"value":"value %d"}`, i), nil); err != nil {
			t.Fatal(err)
		}
	}
	e.fails(1, "a server runs", "seal", "rotate")
	check := func() {
		t.Helper()
		w := e.wire()
		for _, i := range []int{0, 70, 149} {
			var got struct{ Value string }
			if err := w.vault(ctx, http.MethodGet, "kv-seal", fmt.Sprintf("secrets/s%d", i), "", &got); err != nil || got.Value != fmt.Sprintf("value %d", i) {
				t.Errorf("secret %d: %q, %v", i, got.Value, err)
			}
		}
		if out := e.run("doctor"); !strings.Contains(out, "all open") {
			t.Errorf("doctor:\n%s", out)
		}
	}
	keyFile := filepath.Join(e.home, "seal.key")
	first, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	killed := 0
	for range crashRounds(t, 5) {
		cmd := exec.Command(binary, "seal", "rotate")
		cmd.Env = e.environ()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(rand.IntN(120))*time.Millisecond, func() { cmd.Process.Kill() })
		if cmd.Wait() != nil {
			killed++
		}
	}
	t.Logf("%d rotations were killed", killed)
	e.run("seal", "rotate")
	if now, err := os.ReadFile(keyFile); err != nil || bytes.Equal(now, first) {
		t.Errorf("the home has its old key, %v", err)
	}
	s = e.serve()
	check()
	s.kill()

	// the old key, or none
	if err := os.Rename(keyFile, keyFile+".safe"); err != nil {
		t.Fatal(err)
	}
	e.fails(1, "is missing", "serve")
	if err := os.WriteFile(keyFile, first, 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(1, "is not this home's", "serve")
	if err := os.Rename(keyFile+".safe", keyFile); err != nil {
		t.Fatal(err)
	}

	mine := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(mine, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(1, "is not this home's", "serve", "--seal-key-file", mine)
	e.run("seal", "rotate", "--new-key-file", mine)
	if _, err := os.Stat(keyFile); err == nil {
		t.Error("there is a key in the home")
	}
	e.fails(1, "is missing", "serve")
	e.fails(2, "--in-home", "seal", "rotate", "--seal-key-file", mine)
	s = e.serve("--seal-key-file", mine)
	check()
	s.kill()
	e.run("seal", "rotate", "--seal-key-file", mine, "--in-home")
	e.serve()
	check()
}

// TestSecretsInTemplates: what templates write is what the data plane reads, and
// Resource Manager never shows a value.
func TestSecretsInTemplates(t *testing.T) {
	_, _, w := vaultEnv(t, "kv-template")
	ctx := t.Context()
	const vault = smallGroup + "/providers/Microsoft.KeyVault/vaults/kv-template"
	put := func(method, body string) (string, error) {
		a, err := w.arm(ctx, method, vault+"/secrets/Db", "2023-07-01", body)
		if bytes.Contains(a.body, []byte("hidden")) {
			t.Errorf("%s tells the value: %s", method, a.body)
		}
		var got struct {
			Properties struct {
				SecretURIWithVersion string
				ContentType          string
				Attributes           struct{ Enabled bool }
			}
			Tags map[string]string
		}
		if err == nil {
			err = json.Unmarshal(a.body, &got)
		}
		return fmt.Sprintf("%s %s %t %v", got.Properties.SecretURIWithVersion, got.Properties.ContentType, got.Properties.Attributes.Enabled, got.Tags), err
	}
	if _, err := put(http.MethodPut, `{"properties":{"contentType":"text/plain"}}`); err == nil {
		t.Error("a secret without a value was made")
	}
	first, err := put(http.MethodPut, `{"tags":{"a":"b"},"properties":{"value":"hidden-1","contentType":"text/plain","attributes":{"enabled":true}}}`)
	if err != nil || !strings.HasSuffix(first, " text/plain true map[a:b]") {
		t.Fatalf("put: %s, %v", first, err)
	}
	if same, err := put(http.MethodGet, ""); err != nil || same != first {
		t.Errorf("get: %s, %v", same, err)
	}
	if patched, err := put(http.MethodPatch, `{"tags":{"c":"d"}}`); err != nil || !strings.HasSuffix(patched, "map[c:d]") || patched[:80] != first[:80] {
		t.Errorf("patch: %s, %v", patched, err)
	}
	second, err := put(http.MethodPut, `{"properties":{"value":"hidden-2"}}`)
	if err != nil || second[:80] == first[:80] {
		t.Errorf("second: %s, %v", second, err)
	}
	var got struct{ Value, ID string }
	if err := w.vault(ctx, http.MethodGet, "kv-template", "secrets/db", "", &got); err != nil || got.Value != "hidden-2" || !strings.HasPrefix(second, got.ID) {
		t.Errorf("the data plane reads %+v, %v", got, err)
	}
	a, err := w.arm(ctx, http.MethodGet, vault+"/secrets", "2023-07-01", "")
	if err != nil || strings.Count(string(a.body), `"secretUri"`) != 1 || bytes.Contains(a.body, []byte("hidden")) {
		t.Errorf("list: %s, %v", a.body, err)
	}
	if err := w.vault(ctx, http.MethodPost, "kv-template", "certificates/c/create", smallCertificate, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.arm(ctx, http.MethodPut, vault+"/secrets/c", "2023-07-01", `{"properties":{"value":"x"}}`); err == nil || !strings.Contains(err.Error(), "managed by Key Vault") {
		t.Errorf("over a certificate's secret: %v", err)
	}
}

// TestRetentionOfVaults: what is deleted is gone for good when its days are over on the
// cloud's clock, certificates with their keys and secrets, and vaults whole.
func TestRetentionOfVaults(t *testing.T) {
	e, _, w := vaultEnv(t, "kv-kept", "kv-gone")
	ctx := t.Context()
	if err := w.vault(ctx, http.MethodPut, "kv-gone", "secrets/s", `{"value":"x"}`, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.arm(ctx, http.MethodDelete, smallGroup+"/providers/Microsoft.KeyVault/vaults/kv-gone", "2023-07-01", ""); err != nil {
		t.Fatal(err)
	}
	for _, do := range []struct{ method, path, body string }{
		{http.MethodPost, "certificates/c/create", smallCertificate}, {http.MethodDelete, "certificates/c", ""},
		{http.MethodPut, "secrets/s", `{"value":"x"}`}, {http.MethodDelete, "secrets/s", ""},
	} {
		if err := w.vault(ctx, do.method, "kv-kept", do.path, do.body, nil); err != nil {
			t.Fatal(err)
		}
	}
	sealed := func() (n int) {
		t.Helper()
		out := e.run("doctor")
		if _, err := fmt.Sscanf(out[strings.Index(out, "secrets "):], "secrets ok %d", &n); err != nil {
			t.Fatalf("doctor: %v\n%s", err, out)
		}
		return n
	}
	before := sealed()
	e.run("clock", "advance", "167h") // an hour less than seven days
	w = e.wire()
	for _, path := range []string{"deletedcertificates/c", "deletedkeys/c", "deletedsecrets/s"} {
		if err := w.vault(ctx, http.MethodGet, "kv-kept", path, "", nil); err != nil {
			t.Error(err)
		}
	}
	if now := sealed(); now != before {
		t.Errorf("%d sealed values, there were %d", now, before)
	}
	e.run("clock", "advance", "1h")
	for _, path := range []string{"deletedcertificates/c", "deletedkeys/c", "deletedsecrets/s"} {
		if err := w.vault(ctx, http.MethodGet, "kv-kept", path, "", nil); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
			t.Errorf("%s: %v", path, err)
		}
	}
	const deleted = subscription + "/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/kv-gone"
	if _, err := w.arm(ctx, http.MethodGet, deleted, "2023-07-01", ""); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("the deleted vault: %v", err)
	}
	// two secrets, a key, and the certificate's secret
	if now := sealed(); now != before-4 {
		t.Errorf("%d sealed values are left of %d", now, before)
	}
}
