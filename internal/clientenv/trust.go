package clientenv

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

const (
	bundleFile = "ca-bundle.pem"
	storeFile  = "truststore.p12"
	// A trust store has no secrets; Java wants a password all the same.
	storePassword = "changeit"
)

// systemBundles are where systems keep the certificates they trust, in one PEM
// file.
func systemBundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Gentoo
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
		"/etc/pki/tls/certs/ca-bundle.crt",                  // older RHEL
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/ssl/cert.pem",                                 // Alpine, macOS
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/opt/homebrew/etc/ca-certificates/cert.pem",
		"/usr/local/etc/ca-certificates/cert.pem",
	}
}

type trust struct {
	bundle string // PEM
	store  string // PKCS #12
}

// writeTrust writes what clients are to trust: what the system trusts, what the
// user had them trust besides, and our CA.
func writeTrust(dir string, cfg Config, env *Env) (trust, error) {
	t := trust{bundle: filepath.Join(dir, bundleFile), store: filepath.Join(dir, storeFile)}
	own := certificates(cfg.CACertificate)
	if len(own) == 0 {
		return t, errors.New("the server's CA certificate is not PEM")
	}
	var c collector
	if !c.addFirst(systemBundles()) {
		env.Warnings = append(env.Warnings,
			"No bundle of this system's trusted certificates was found: clients trust Azimuth alone, and cannot reach other hosts.")
	}
	outer := Outer(cfg.Getenv)
	for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		path := outer(name)
		if path == "" || path == t.bundle {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue // a directory of hashed names, which only OpenSSL reads
		}
		if err := c.addFile(path); err != nil {
			env.Warnings = append(env.Warnings, fmt.Sprintf("%s is left out of what clients trust: %v.", name, err))
		}
	}
	for _, der := range own {
		c.add(der)
	}
	// The trust store is written before the bundle: if the bundle is as it should
	// be, then so is the trust store, which is slow to read and, having random
	// salt, never the same twice.
	bundle := c.pem()
	have, err := os.ReadFile(t.bundle)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	if _, err := os.Stat(t.store); err != nil || !bytes.Equal(have, bundle) {
		if err := writeStore(t.store, c.certs); err != nil {
			return t, err
		}
	}
	_, err = atomicfile.Write(t.bundle, bundle, 0o600)
	return t, err
}

// collector gathers certificates, each once.
type collector struct {
	certs [][]byte // DER
	seen  map[[32]byte]bool
}

func (c *collector) add(der []byte) {
	sum := sha256.Sum256(der)
	if c.seen[sum] {
		return
	}
	if c.seen == nil {
		c.seen = map[[32]byte]bool{}
	}
	c.seen[sum] = true
	c.certs = append(c.certs, der)
}

func (c *collector) addFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := certificates(data)
	if len(found) == 0 {
		return fmt.Errorf("%s has no certificates", path)
	}
	for _, der := range found {
		c.add(der)
	}
	return nil
}

// addFirst adds the first of paths that has certificates.
func (c *collector) addFirst(paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return c.addFile(path) == nil })
}

func (c *collector) pem() []byte {
	var buf bytes.Buffer
	for _, der := range c.certs {
		// Writing to a buffer does not fail.
		_ = pem.Encode(&buf, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return buf.Bytes()
}

// certificates returns the certificates in a PEM file.
func certificates(data []byte) (out [][]byte) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return out
		}
		if block.Type == "CERTIFICATE" || block.Type == "TRUSTED CERTIFICATE" || block.Type == "X509 CERTIFICATE" {
			out = append(out, block.Bytes)
		}
	}
}

// writeStore writes a Java trust store.
func writeStore(path string, ders [][]byte) error {
	var entries []pkcs12.TrustStoreEntry
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue // a system's bundle may have what Go does not parse; Java will not miss it
		}
		// Java keeps one certificate per name.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: fmt.Sprintf("%04d %s", i, cert.Subject.CommonName)})
	}
	data, err := pkcs12.Modern2023.EncodeTrustStoreEntries(entries, storePassword)
	if err != nil {
		return fmt.Errorf("encode the Java trust store: %w", err)
	}
	_, err = atomicfile.Write(path, data, 0o600)
	return err
}
