package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/gateway"
)

func openCA(t testing.TB, dir string) *gateway.CA {
	t.Helper()
	ca, err := gateway.OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCAIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first := openCA(t, dir).CertificatePEM()
	if again := openCA(t, dir).CertificatePEM(); !bytes.Equal(first, again) {
		t.Error("opening the CA again changed its certificate")
	}
	info, err := os.Stat(filepath.Join(dir, gateway.CAKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	// A crash between key and certificate.
	if err := os.Remove(filepath.Join(dir, gateway.CACertFile)); err != nil {
		t.Fatal(err)
	}
	ca := openCA(t, dir)
	if _, err := ca.Leaf("management.azure.com"); err != nil {
		t.Error(err)
	}
	// Another home's key.
	other := filepath.Join(t.TempDir(), "ca")
	openCA(t, other)
	key, err := os.ReadFile(filepath.Join(other, gateway.CAKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, gateway.CAKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.OpenCA(dir); err == nil || !strings.Contains(err.Error(), "does not belong") {
		t.Errorf("a foreign key: %v", err)
	}
}

func TestCAIsMadeOnceByMany(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var certs [8][]byte
	var wg sync.WaitGroup
	for i := range certs {
		wg.Go(func() {
			ca, err := gateway.OpenCA(dir)
			if err != nil {
				t.Error(err)
				return
			}
			certs[i] = ca.CertificatePEM()
		})
	}
	wg.Wait()
	for _, c := range certs {
		if !bytes.Equal(c, certs[0]) {
			t.Fatal("two openers have different certificates")
		}
	}
}

// A CA of an earlier Azimuth, that served other names, is issued anew with its
// key: what the old certificate vouched for it still vouches for.
func TestCAIsRenewed(t *testing.T) {
	dir := t.TempDir()
	old := openCA(t, dir)
	key := readKey(t, dir)
	cert := parse(t, old.CertificatePEM())
	cert.PermittedDNSDomains = []string{"management.azure.com"}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, gateway.CACertFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	renewed := openCA(t, dir)
	if got := parse(t, renewed.CertificatePEM()); len(got.PermittedDNSDomains) < 2 || got.Subject.String() != cert.Subject.String() {
		t.Errorf("renewed: %v of %v", got.PermittedDNSDomains, got.Subject)
	}
	leaf, err := renewed.Leaf("management.azure.com")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, data))
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "management.azure.com"}); err != nil {
		t.Errorf("a client that trusts the old certificate: %v", err)
	}
}

func TestLeaf(t *testing.T) {
	ca := openCA(t, t.TempDir())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertificatePEM())
	cases := map[string]bool{
		"management.azure.com":               true,
		"acct.blob.core.windows.net":         true,
		"acct.z12.blob.core.windows.net":     true,
		"kv.vault.azure.net":                 true,
		"eastus.api.azureml.ms":              true,
		"localhost":                          true,
		"127.0.0.1":                          true,
		"127.8.9.10":                         true,
		"::1":                                true,
		"azure.com":                          false,
		"portal.azure.com":                   false,
		"microsoft.com":                      false,
		"example.com":                        false,
		"management.azure.com.evil.org":      false,
		"evilmanagement.azure.com":           false,
		"10.0.0.1":                           false,
		"":                                   false,
		"xblob.core.windows.net.example.com": false,
	}
	for host, ok := range cases {
		leaf, err := ca.Leaf(host)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok=%v", host, err, ok)
			continue
		}
		if !ok {
			continue
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%q: %v", host, err)
		}
		if life := leaf.Leaf.NotAfter.Sub(leaf.Leaf.NotBefore); life > 398*24*time.Hour {
			t.Errorf("%q is valid for %v", host, life)
		}
		if again, _ := ca.Leaf(host); again != leaf {
			t.Errorf("%q was minted twice", host)
		}
	}
}

// forge signs a certificate that the CA itself refuses to.
func forge(t *testing.T, dir string, ca *gateway.CA, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(7)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, parse(t, ca.CertificatePEM()), key.Public(), readKey(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Whoever steals the key can use it for Azure's names and loopback alone.
func TestConstraints(t *testing.T) {
	dir := t.TempDir()
	ca := openCA(t, dir)
	root := parse(t, ca.CertificatePEM())
	if !root.PermittedDNSDomainsCritical || !root.MaxPathLenZero || root.MaxPathLen != 0 {
		t.Errorf("constraints: critical %v, path %d", root.PermittedDNSDomainsCritical, root.MaxPathLen)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not here: only Go is asked")
	}
	caFile := filepath.Join(dir, gateway.CACertFile)
	good, err := ca.Leaf("acct.blob.core.windows.net")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		cert tls.Certificate
		host string
		ok   bool
	}{
		"ours":               {*good, "acct.blob.core.windows.net", true},
		"another site":       {forge(t, dir, ca, &x509.Certificate{DNSNames: []string{"example.com"}}), "example.com", false},
		"a parent of ours":   {forge(t, dir, ca, &x509.Certificate{DNSNames: []string{"core.windows.net"}}), "core.windows.net", false},
		"ours and another":   {forge(t, dir, ca, &x509.Certificate{DNSNames: []string{"management.azure.com", "example.com"}}), "management.azure.com", false},
		"an address":         {forge(t, dir, ca, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}), "10.0.0.1", false},
		"a loopback address": {forge(t, dir, ca, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 9)}}), "127.0.0.9", true},
	}
	for name, c := range cases {
		cert, err := x509.ParseCertificate(c.cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: c.host}); (err == nil) != c.ok {
			t.Errorf("%s: Go says %v, want ok=%v", name, err, c.ok)
		}
		if openssl == "" {
			continue
		}
		file := filepath.Join(t.TempDir(), "leaf.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", caFile, file).CombinedOutput()
		// The strict check wants an authority key ID, which the forged have too.
		if (err == nil) != c.ok {
			t.Errorf("%s: openssl says %v, want ok=%v\n%s", name, err, c.ok, out)
		}
		if !c.ok && !bytes.Contains(out, []byte("permitted subtree violation")) {
			t.Errorf("%s: openssl refuses for another reason\n%s", name, out)
		}
	}
}

func readKey(t *testing.T, dir string) *ecdsa.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, gateway.CAKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

func parse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	ca := openCA(t, dir)
	s := start(t, gateway.Config{CA: ca, Routes: []gateway.Route{{Pattern: "management.azure.com", Handler: echo()}}})
	fetch := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--noproxy", "", "--cacert", filepath.Join(dir, gateway.CACertFile)}, args...)...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.Contains(strings.ToLower(kv), "_proxy=") })
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"--http1.1", "--http2"} {
		out, err := fetch(version, "--proxy", "http://"+s.addr, "https://management.azure.com/x?y")
		if err != nil || !strings.Contains(out, "management.azure.com /x?y") {
			t.Errorf("%s: %s, %v", version, out, err)
		}
	}
	out, err := fetch("https://" + s.addr + "/healthz")
	if err != nil || !strings.Contains(out, "ok") {
		t.Errorf("by address: %s, %v", out, err)
	}
	// A server that stole the key, for a site that is not Azure's.
	thief := httptest.NewUnstartedServer(echo())
	thief.TLS = &tls.Config{Certificates: []tls.Certificate{forge(t, dir, ca, &x509.Certificate{DNSNames: []string{"example.com"}})}}
	thief.Config.ErrorLog = log.New(io.Discard, "", 0)
	thief.StartTLS()
	defer thief.Close()
	port := strconv.Itoa(thief.Listener.Addr().(*net.TCPAddr).Port)
	out, err = fetch("--resolve", "example.com:"+port+":127.0.0.1", "https://example.com:"+port+"/")
	if err == nil || !strings.Contains(out, "permitted subtree violation") {
		t.Errorf("curl takes a certificate outside of the constraints: %s, %v", out, err)
	}
}
