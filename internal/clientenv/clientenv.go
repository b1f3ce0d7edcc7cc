// Package clientenv makes the environment in which any Azure client, unmodified,
// talks to an Azimuth server: the proxy that leads to it, a bundle of the
// certificates to trust, credentials under the names that clients read, and a
// configuration directory in which the Azure CLI is signed in.
//
// Two kinds of client cannot be reached this way, since they take no trust from
// the environment: programs in Go and Swift on macOS, and those that use
// Windows' own certificate store. They need the CA in the system's store.
package clientenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/entra"
)

// Config says which server the environment is for.
type Config struct {
	// Dir is the directory to keep files in, made if need be. Only this package
	// writes there.
	Dir string
	// Address is the server's host and port.
	Address string
	// Proxy identifies clients to the proxy, as somewhere in the cloud's networks;
	// nil is the user's machine. Java takes no such credential from its options.
	Proxy *url.Userinfo
	// CACertificate is the server's CA certificate in PEM.
	CACertificate []byte
	// Credentials are what clients sign in with.
	Credentials entra.Credentials
	// SubscriptionID is entra.DefaultSubscriptionID if empty.
	SubscriptionID string
	// SubscriptionName is for display.
	SubscriptionName string
	// Now is the server's time. Access tokens that the Azure CLI keeps and that
	// have expired by it are dropped, since the CLI goes by the machine's time.
	// Zero means the machine's time.
	Now time.Time
	// Getenv reads the caller's environment, such as os.Getenv. Nil is an empty
	// one.
	Getenv func(string) string
}

// Env is an environment: what to set and what to unset.
type Env struct {
	// Vars is what to set, by name.
	Vars map[string]string
	// Unset names variables of the caller's that would lead clients astray, such
	// as other ways to sign in.
	Unset []string
	// Warnings are sentences for the user.
	Warnings []string
}

// outerVar holds, as JSON, what the variables that we replace were outside.
// Within an environment of ours it is the only trace of them.
const outerVar = "AZIMUTH_OUTER"

// Prepare writes the files of the environment and returns it. Files are written
// only if they change, mode 0600.
func Prepare(cfg Config) (*Env, error) {
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	if cfg.SubscriptionID == "" {
		cfg.SubscriptionID = entra.DefaultSubscriptionID
	}
	if cfg.SubscriptionName == "" {
		cfg.SubscriptionName = "Azimuth"
	}
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	env, err := prepare(cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare the client environment: %w", err)
	}
	return env, nil
}

func prepare(cfg Config) (*Env, error) {
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if cfg.Credentials.ClientID == "" || cfg.Credentials.ClientSecret == "" || cfg.Credentials.TenantID == "" {
		return nil, errors.New("no credentials")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	azure := filepath.Join(dir, "azure")
	if err := os.MkdirAll(azure, 0o700); err != nil {
		return nil, err
	}
	env := &Env{}
	trust, err := writeTrust(dir, cfg, env)
	if err != nil {
		return nil, err
	}
	if err := writeAzureCLI(azure, cfg); err != nil {
		return nil, err
	}
	outer, err := json.Marshal(outerVars(cfg.Getenv))
	if err != nil {
		return nil, err
	}
	c := cfg.Credentials
	proxy := (&url.URL{Scheme: "http", User: cfg.Proxy, Host: cfg.Address}).String()
	noProxy := "localhost,127.0.0.1,::1"
	env.Vars = map[string]string{
		outerVar: string(outer),

		"HTTPS_PROXY": proxy,
		"https_proxy": proxy,
		// Plain HTTP goes through too for the sake of one address: the instance
		// metadata service of a real Azure machine must not hand a client of
		// this cloud a token for the real one.
		"HTTP_PROXY":         proxy,
		"http_proxy":         proxy,
		"NO_PROXY":           noProxy,
		"no_proxy":           noProxy,
		"NODE_USE_ENV_PROXY": "1", // makes Node's own fetch and https honour the proxy, from 22.21 and 24 on

		"SSL_CERT_FILE":       trust.bundle, // OpenSSL, Go, .NET, Ruby, httpx
		"REQUESTS_CA_BUNDLE":  trust.bundle, // Python requests, the Azure CLI
		"CURL_CA_BUNDLE":      trust.bundle,
		"NODE_EXTRA_CA_CERTS": trust.bundle,
		"PIP_CERT":            trust.bundle,
		"GIT_SSL_CAINFO":      trust.bundle,
		"JAVA_TOOL_OPTIONS":   javaOptions(Outer(cfg.Getenv)("JAVA_TOOL_OPTIONS"), host, port, trust.store),

		"ARM_CLIENT_ID":         c.ClientID,
		"ARM_CLIENT_SECRET":     c.ClientSecret,
		"ARM_TENANT_ID":         c.TenantID,
		"ARM_SUBSCRIPTION_ID":   cfg.SubscriptionID,
		"AZURE_CLIENT_ID":       c.ClientID,
		"AZURE_CLIENT_SECRET":   c.ClientSecret,
		"AZURE_TENANT_ID":       c.TenantID,
		"AZURE_SUBSCRIPTION_ID": cfg.SubscriptionID,
		"AZURE_CONFIG_DIR":      azure,
	}
	if extensions := extensionDir(Outer(cfg.Getenv)); extensions != "" {
		env.Vars["AZURE_EXTENSION_DIR"] = extensions
	}
	env.Unset = []string{
		"ARM_ACCESS_KEY", "ARM_SAS_TOKEN", "ARM_AUXILIARY_TENANT_IDS", "ARM_CLIENT_CERTIFICATE", "ARM_CLIENT_CERTIFICATE_PASSWORD",
		"ARM_CLIENT_CERTIFICATE_PATH", "ARM_CLIENT_ID_FILE_PATH", "ARM_CLIENT_SECRET_FILE_PATH", "ARM_ENVIRONMENT",
		"ARM_METADATA_HOST", "ARM_METADATA_HOSTNAME", "ARM_MSI_ENDPOINT", "ARM_OIDC_TOKEN", "ARM_OIDC_TOKEN_FILE_PATH",
		"ARM_USE_AKS_WORKLOAD_IDENTITY", "ARM_USE_CLI", "ARM_USE_MSI", "ARM_USE_OIDC",
		"AZURE_AUTHORITY_HOST", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CLIENT_CERTIFICATE_PATH",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_PASSWORD", "AZURE_USERNAME",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET",
	}
	return env, nil
}

// replaced names the variables whose outer values are still wanted: by the
// server, which reaches other hosts the way the user would, and by the next
// Prepare.
func replaced() []string {
	return []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
		"NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "AZURE_CONFIG_DIR", "AZURE_EXTENSION_DIR"}
}

// extensionDir is where the user's Azure CLI keeps its extensions, such as ml:
// they are to be there in a configuration directory of ours too.
func extensionDir(outer func(string) string) string {
	if dir := outer("AZURE_EXTENSION_DIR"); dir != "" {
		return dir
	}
	if dir := outer("AZURE_CONFIG_DIR"); dir != "" {
		return filepath.Join(dir, "cliextensions")
	}
	for _, home := range []string{outer("HOME"), outer("USERPROFILE")} {
		if home != "" {
			return filepath.Join(home, ".azure", "cliextensions")
		}
	}
	return ""
}

func outerVars(getenv func(string) string) map[string]string {
	outer := Outer(getenv)
	vars := map[string]string{}
	for _, name := range replaced() {
		if v := outer(name); v != "" {
			vars[name] = v
		}
	}
	return vars
}

// Outer returns getenv as it would be outside of any environment of this
// package. A server's upstream proxy must be read through it: the server may be
// started from within an environment whose proxy is that very server.
func Outer(getenv func(string) string) func(string) string {
	var outer map[string]string
	nested := json.Unmarshal([]byte(getenv(outerVar)), &outer) == nil
	return func(name string) string {
		upper := strings.ToUpper(name)
		if !slices.Contains(replaced(), upper) {
			return getenv(name)
		}
		if nested {
			return outer[upper]
		}
		if v := getenv(name); v != "" || !strings.HasSuffix(upper, "_PROXY") {
			return v
		}
		if v := getenv(upper); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
}

// Names returns the names of e.Vars in order.
func (e *Env) Names() []string { return slices.Sorted(maps.Keys(e.Vars)) }

// Apply returns environ, in the form of os.Environ, with e set and unset.
func (e *Env) Apply(environ []string) []string {
	out := make([]string, 0, len(environ)+len(e.Vars))
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if _, set := e.Vars[name]; set || slices.Contains(e.Unset, name) {
			continue
		}
		out = append(out, kv)
	}
	for _, name := range e.Names() {
		out = append(out, name+"="+e.Vars[name])
	}
	return out
}

// javaOptions adds proxy and trust store to the options that every Java virtual
// machine reads. It names them on standard error as it starts.
func javaOptions(have, host, port, store string) string {
	quote := func(s string) string {
		if strings.ContainsAny(s, " \t") {
			return `"` + s + `"`
		}
		return s
	}
	opts := []string{
		"-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port,
		"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port,
		"-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
		quote("-Djavax.net.ssl.trustStore=" + store),
		"-Djavax.net.ssl.trustStoreType=PKCS12",
		"-Djavax.net.ssl.trustStorePassword=" + storePassword,
	}
	if have != "" {
		opts = slices.Insert(opts, 0, have)
	}
	return strings.Join(opts, " ")
}
