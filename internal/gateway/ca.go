package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
)

// Names of the files in a CA's directory.
const (
	CAKeyFile  = "ca.key" // PKCS #8, mode 0600
	CACertFile = "ca.pem"
)

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// Clients limit server certificates to 398 days; a server that runs longer
	// mints a new one in time.
	leafLifetime = 90 * 24 * time.Hour
	leafRenew    = 24 * time.Hour
	skew         = time.Hour
	leafLimit    = 1024
)

// permittedDomains are the names, with everything below them, that the CA can
// vouch for. It holds what Azimuth serves and no more, so that trusting the CA
// cannot be used against other sites. Adding a name here makes OpenCA issue the
// CA's certificate anew, with the same key.
func permittedDomains() []string {
	return []string{
		"login.microsoftonline.com",
		"login.windows.net",
		"sts.windows.net",
		"graph.microsoft.com",
		"graph.windows.net",
		"management.azure.com",
		"management.core.windows.net",
		"ml.azure.com",
		"applicationinsights.azure.com",
		"applicationinsights.io",
		"services.visualstudio.com", // of Application Insights
		"monitor.azure.com",
		"loganalytics.io",
		"loganalytics.azure.com",
		"opinsights.azure.com",
		"applicationinsights.microsoft.com",
		"blob.core.windows.net",
		"dfs.core.windows.net",
		"file.core.windows.net",
		"queue.core.windows.net",
		"table.core.windows.net",
		"web.core.windows.net",
		"vault.azure.net",
		"notebooks.azure.net",
		"azurecr.io",
		"azureml.ms",
		"azureml.net",
		"azimuth.internal",
		"localhost",
	}
}

// CA is a home's certificate authority. It mints certificates for the names it
// is constrained to. It is safe for concurrent use.
//
// All certificates are dated by the machine's clock and not by the clock that a
// user can advance: the clients that check them go by the machine's.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// OpenCA returns the CA kept in dir, making directory, key and certificate if
// they are not there. Several processes may call it at once.
func OpenCA(dir string) (*CA, error) {
	ca, err := openCA(dir)
	if err != nil {
		return nil, fmt.Errorf("open the certificate authority in %s: %w", dir, err)
	}
	return ca, nil
}

func openCA(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := openKey(filepath.Join(dir, CAKeyFile))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, CACertFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id := make([]byte, 4)
		rand.Read(id)
		// The subject differs between homes, so that one trust store can hold
		// the CAs of several.
		subject := pkix.Name{CommonName: "Azimuth local CA " + hex.EncodeToString(id), Organization: []string{"Azimuth"}}
		if data, err = issueCA(key, subject); err != nil {
			return nil, err
		}
		if err = atomicfile.Create(path, data, 0o644); errors.Is(err, fs.ErrExist) {
			data, err = os.ReadFile(path) // another process was first
		}
		if err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	cert, err := parseCA(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to %s: remove both and trust the new certificate", path, CAKeyFile)
	}
	if outdated(cert) {
		if data, err = issueCA(key, cert.Subject); err != nil {
			return nil, err
		}
		if _, err = atomicfile.Write(path, data, 0o644); err != nil {
			return nil, err
		}
		if cert, err = parseCA(data); err != nil {
			return nil, err
		}
	}
	return &CA{cert: cert, key: key, pem: data, leaves: map[string]*tls.Certificate{}}, nil
}

func openKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		err = atomicfile.Create(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		data, err = os.ReadFile(path) // another process was first
		if err != nil {
			return nil, err
		}
		return parseKey(path, data)
	}
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

func parseKey(path string, data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, want an ECDSA key", path, parsed)
	}
	return key, nil
}

func parseCA(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

// outdated reports whether a CA certificate should be issued anew: it is near
// its end, or was made when Azimuth served other names.
func outdated(cert *x509.Certificate) bool {
	have := slices.Sorted(slices.Values(cert.PermittedDNSDomains))
	want := slices.Sorted(slices.Values(permittedDomains()))
	return !slices.Equal(have, want) || time.Until(cert.NotAfter) < 2*leafLifetime
}

func issueCA(key *ecdsa.PrivateKey, subject pkix.Name) ([]byte, error) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     subject,
		NotBefore:                   now.Add(-skew),
		NotAfter:                    now.Add(caLifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         permittedDomains(),
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// serial returns 127 random bits: positive, and within the 20 octets of RFC 5280.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// CertificatePEM returns the CA's certificate, which clients are to trust.
func (c *CA) CertificatePEM() []byte { return slices.Clone(c.pem) }

// Permits reports whether the CA can vouch for host, a DNS name or an IP
// address.
func (c *CA) Permits(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	for _, d := range c.cert.PermittedDNSDomains {
		if host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}

// Leaf returns a server certificate for host, a DNS name in lower case or a
// loopback address, from the cache or new. One for localhost or an address is
// good for all of localhost, 127.0.0.1 and ::1 too.
func (c *CA) Leaf(host string) (*tls.Certificate, error) {
	if !c.Permits(host) {
		return nil, fmt.Errorf("%q is outside what the certificate authority may vouch for", host)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if leaf, ok := c.leaves[host]; ok && leaf.Leaf.NotAfter.Sub(now) > leafRenew {
		return leaf, nil
	}
	leaf, err := c.mint(host, now)
	if err != nil {
		return nil, fmt.Errorf("mint a certificate for %s: %w", host, err)
	}
	if len(c.leaves) >= leafLimit {
		clear(c.leaves) // they cost 0.1 ms each to make again
	}
	c.leaves[host] = leaf
	return leaf, nil
}

func (c *CA) mint(host string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"Azimuth"}, OrganizationalUnit: []string{"local stand-in for Azure"}},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(leafLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotBefore.Before(c.cert.NotBefore) {
		template.NotBefore = c.cert.NotBefore
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		template.DNSNames = []string{"localhost"}
		template.IPAddresses = []net.IP{ip.Unmap().AsSlice()}
	default:
		template.DNSNames = []string{host}
	}
	if err == nil || host == "localhost" {
		for _, loop := range []string{"127.0.0.1", "::1"} {
			if loop != host {
				template.IPAddresses = append(template.IPAddresses, net.ParseIP(loop))
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
