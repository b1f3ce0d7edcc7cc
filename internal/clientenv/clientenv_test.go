package clientenv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/gateway"
)

func config(t testing.TB, environ map[string]string) clientenv.Config {
	t.Helper()
	ca, err := gateway.OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return clientenv.Config{
		Dir:           filepath.Join(t.TempDir(), "a home", "client"),
		Address:       "127.0.0.1:4443",
		CACertificate: ca.CertificatePEM(),
		Credentials:   entra.Credentials{TenantID: entra.DefaultTenantID, ClientID: "client", ClientSecret: "secret", ObjectID: "object"},
		Getenv:        func(name string) string { return environ[name] },
	}
}

func prepare(t testing.TB, cfg clientenv.Config) *clientenv.Env {
	t.Helper()
	env, err := clientenv.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// files maps the files below dir to their content.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = info.ModTime().String() + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPrepareAgainWritesNothing(t *testing.T) {
	cfg := config(t, nil)
	first := prepare(t, cfg)
	before := files(t, cfg.Dir)
	second := prepare(t, cfg)
	after := files(t, cfg.Dir)
	if len(before) != 6 {
		t.Errorf("%d files", len(before))
	}
	for name := range before {
		if before[name] != after[name] {
			t.Errorf("%s was written again", name)
		}
	}
	for name, v := range first.Vars {
		if second.Vars[name] != v {
			t.Errorf("%s = %q, then %q", name, v, second.Vars[name])
		}
	}
}

func TestVariables(t *testing.T) {
	cfg := config(t, map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx1g"})
	env := prepare(t, cfg)
	for name, want := range map[string]string{
		"HTTPS_PROXY": "http://127.0.0.1:4443", "https_proxy": "http://127.0.0.1:4443", "NO_PROXY": "localhost,127.0.0.1,::1",
		"ARM_CLIENT_ID": "client", "ARM_CLIENT_SECRET": "secret", "ARM_TENANT_ID": entra.DefaultTenantID, "ARM_SUBSCRIPTION_ID": entra.DefaultSubscriptionID,
		"AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "secret", "AZURE_TENANT_ID": entra.DefaultTenantID,
		"AZURE_SUBSCRIPTION_ID": entra.DefaultSubscriptionID,
		"AZURE_CONFIG_DIR":      filepath.Join(cfg.Dir, "azure"),
		"SSL_CERT_FILE":         filepath.Join(cfg.Dir, "ca-bundle.pem"),
	} {
		if env.Vars[name] != want {
			t.Errorf("%s = %q, want %q", name, env.Vars[name], want)
		}
	}
	java := env.Vars["JAVA_TOOL_OPTIONS"]
	if !strings.HasPrefix(java, "-Xmx1g ") || !strings.Contains(java, ` "-Djavax.net.ssl.trustStore=`+cfg.Dir+`/truststore.p12" `) {
		t.Errorf("JAVA_TOOL_OPTIONS = %s", java)
	}
	for want, environ := range map[string]map[string]string{
		"":                              {},
		"/home/me/.azure/cliextensions": {"HOME": "/home/me"},
		"/cfg/cliextensions":            {"HOME": "/home/me", "AZURE_CONFIG_DIR": "/cfg"},
		"/ext":                          {"HOME": "/home/me", "AZURE_CONFIG_DIR": "/cfg", "AZURE_EXTENSION_DIR": "/ext"},
	} {
		if got := prepare(t, config(t, environ)).Vars["AZURE_EXTENSION_DIR"]; got != want {
			t.Errorf("AZURE_EXTENSION_DIR = %q, want %q", got, want)
		}
	}
	if !slices.Contains(env.Unset, "ARM_USE_MSI") {
		t.Error("ARM_USE_MSI is left to lead terraform astray")
	}
	for name := range env.Vars {
		if strings.HasPrefix(name, "AWS_") || slices.Contains(env.Unset, name) {
			t.Errorf("%s is set", name)
		}
	}
}

// An environment made within another keeps what the user had outside.
func TestNested(t *testing.T) {
	corporate := filepath.Join(t.TempDir(), "corp.pem")
	if err := os.WriteFile(corporate, config(t, nil).CACertificate, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, map[string]string{
		"https_proxy": "http://corp:3128", "NO_PROXY": ".corp", "SSL_CERT_FILE": corporate, "JAVA_TOOL_OPTIONS": "-Xmx1g", "HOME": "/home/me",
	})
	first := prepare(t, cfg)
	before := files(t, cfg.Dir)
	outside := cfg.Getenv
	inner := func(name string) string {
		if v, ok := first.Vars[name]; ok {
			return v
		}
		return outside(name)
	}
	outer := clientenv.Outer(inner)
	for name, want := range map[string]string{
		"HTTPS_PROXY": "http://corp:3128", "https_proxy": "http://corp:3128", "HTTP_PROXY": "", "NO_PROXY": ".corp", "no_proxy": ".corp",
		"SSL_CERT_FILE": corporate, "HOME": "/home/me", "CURL_CA_BUNDLE": "",
	} {
		if got := outer(name); got != want {
			t.Errorf("outer %s = %q, want %q", name, got, want)
		}
	}
	cfg.Getenv = inner
	second := prepare(t, cfg)
	for name, v := range first.Vars {
		if second.Vars[name] != v {
			t.Errorf("%s = %q, then %q", name, v, second.Vars[name])
		}
	}
	for name, content := range files(t, cfg.Dir) {
		if before[name] != content {
			t.Errorf("%s was written again", name)
		}
	}
	if len(second.Warnings) != 0 {
		t.Error(second.Warnings)
	}
}

func TestTrust(t *testing.T) {
	corporate := config(t, nil).CACertificate
	file := filepath.Join(t.TempDir(), "corp.pem")
	if err := os.WriteFile(file, append([]byte("# ours\n"), corporate...), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, map[string]string{
		"SSL_CERT_FILE": file, "REQUESTS_CA_BUNDLE": file, "CURL_CA_BUNDLE": filepath.Join(t.TempDir(), "none"), "NODE_EXTRA_CA_CERTS": t.TempDir(),
	})
	env := prepare(t, cfg)
	bundle, err := os.ReadFile(env.Vars["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"ours": cfg.CACertificate, "the user's": corporate} {
		if n := bytes.Count(bundle, want); n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	if len(env.Warnings) != 1 || !strings.Contains(env.Warnings[0], "CURL_CA_BUNDLE") {
		t.Errorf("warnings: %q", env.Warnings)
	}
	store, err := os.ReadFile(filepath.Join(cfg.Dir, "truststore.p12"))
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(store, "changeit")
	if err != nil || len(certs) == 0 {
		t.Fatal(err)
	}
	block, _ := pem.Decode(cfg.CACertificate)
	if last := certs[len(certs)-1]; !bytes.Equal(last.Raw, block.Bytes) {
		t.Errorf("the last in the Java trust store is %v", last.Subject)
	}
	// The CA changes, as after a reset.
	cfg.CACertificate = config(t, nil).CACertificate
	prepare(t, cfg)
	if again, err := os.ReadFile(filepath.Join(cfg.Dir, "truststore.p12")); err != nil || bytes.Equal(again, store) {
		t.Errorf("the Java trust store did not follow, %v", err)
	}
	cfg.CACertificate = []byte("nothing")
	if _, err := clientenv.Prepare(cfg); err == nil {
		t.Error("no certificate was accepted")
	}
}

func TestAzureCLIDirectory(t *testing.T) {
	cfg := config(t, nil)
	env := prepare(t, cfg)
	dir := env.Vars["AZURE_CONFIG_DIR"]
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	// What the user does in it stays.
	write("config", read("config")+"\n[defaults]\ngroup = rg\n")
	profile := strings.Replace(read("azureProfile.json"), `"isDefault": true`, `"isDefault": false`, 1)
	write("azureProfile.json", "\ufeff"+profile)
	write("service_principal_entries.json", strings.Replace(read("service_principal_entries.json"), "[", `[{"client_id":"other","tenant":"t","certificate":"c"},`, 1))
	prepare(t, cfg)
	if !strings.Contains(read("config"), "group = rg") || read("azureProfile.json") != "\ufeff"+profile || !strings.Contains(read("service_principal_entries.json"), `"other"`) {
		t.Errorf("a user's settings are gone: %q", files(t, dir))
	}
	// Other credentials, as after a reset, replace the old.
	cfg.Credentials.ClientID, cfg.Credentials.ClientSecret = "client2", "secret2"
	prepare(t, cfg)
	if p := read("azureProfile.json"); !strings.Contains(p, `"client2"`) || strings.Contains(p, `"client"`) {
		t.Errorf("profile: %s", p)
	}
	if s := read("service_principal_entries.json"); !strings.Contains(s, `"secret2"`) || !strings.Contains(s, `"other"`) {
		t.Errorf("secrets: %s", s)
	}
	// A file that was cut short is begun anew.
	write("azureProfile.json", `{"subscr`)
	write("msal_token_cache.json", `{"Acc`)
	prepare(t, cfg)
	if p := read("azureProfile.json"); !strings.Contains(p, `"client2"`) {
		t.Errorf("profile: %s", p)
	}
}

func TestExpiredTokensAreDropped(t *testing.T) {
	cfg := config(t, nil)
	dir := prepare(t, cfg).Vars["AZURE_CONFIG_DIR"]
	now := time.Now()
	token := func(expires time.Time) map[string]any {
		payload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, expires.Unix()))
		return map[string]any{"secret": "h." + payload + ".s", "target": "x"}
	}
	cache := map[string]any{
		"AccessToken":  map[string]any{"dead": token(now.Add(time.Minute)), "alive": token(now.Add(time.Hour)), "later dead": token(now.Add(2 * time.Hour)), "odd": map[string]any{"secret": "opaque"}},
		"RefreshToken": map[string]any{"r": map[string]any{"secret": "s"}},
	}
	data, err := json.Marshal(cache)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "msal_token_cache.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	left := func() (names []string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for name := range got["AccessToken"] {
			names = append(names, name)
		}
		slices.Sort(names)
		if got["RefreshToken"]["r"] == nil {
			t.Error("a refresh token is gone")
		}
		return names
	}
	prepare(t, cfg)
	if got := left(); !slices.Equal(got, []string{"alive", "later dead", "odd"}) {
		t.Errorf("left: %v", got)
	}
	cfg.Now = now.Add(3 * time.Hour)
	prepare(t, cfg)
	if got := left(); !slices.Equal(got, []string{"odd"}) {
		t.Errorf("left: %v", got)
	}
}

func TestPrepareRefuses(t *testing.T) {
	for name, change := range map[string]func(*clientenv.Config){
		"no port":        func(c *clientenv.Config) { c.Address = "127.0.0.1" },
		"no credentials": func(c *clientenv.Config) { c.Credentials = entra.Credentials{} },
	} {
		cfg := config(t, nil)
		change(&cfg)
		if _, err := clientenv.Prepare(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func BenchmarkPrepareAgain(b *testing.B) {
	cfg := config(b, nil)
	prepare(b, cfg)
	for b.Loop() {
		prepare(b, cfg)
	}
}
