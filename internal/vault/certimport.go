package vault

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// imported is a certificate with its private key, as someone brought it.
type imported struct {
	private crypto.Signer
	leaf    *x509.Certificate
	// chain is all certificates in the order in which they came.
	chain []*x509.Certificate
}

// maxIterations bounds the work that a PKCS #12 file may ask for before its
// password is known to be right. Programs write up to about two million.
const maxIterations = 10_000_000

// parseImport reads PKCS #12 in base64, or PEM as it is or in base64. contentType
// says which; "" finds out. The errors' words are Azure's where they are known.
func parseImport(value, password, contentType string) (*imported, string, error) {
	text := value
	if !strings.Contains(text, "-----BEGIN") {
		raw, err := decodeBase64(value)
		switch {
		case err == nil && bytes.Contains(raw, []byte("-----BEGIN")):
			text = string(raw)
		case contentType == contentPEM:
			return nil, "", badPEM()
		case err != nil:
			return nil, "", badPFX()
		default:
			in, err := parsePFX(raw, password)
			return in, contentPFX, err
		}
	}
	if contentType == contentPFX {
		return nil, "", badPFX()
	}
	in, err := parsePEM(text)
	return in, contentPEM, err
}

// decodeBase64 reads either alphabet, with padding and line ends or without.
func decodeBase64(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		switch r {
		case '\r', '\n', ' ', '\t', '=':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, text)
	return base64.RawStdEncoding.DecodeString(text)
}

func badPFX() error {
	return badParameter("The specified PKCS#12 X.509 certificate content can not be read. Please check if certificate is in valid PKCS#12 format.")
}

func badPEM() error {
	return badParameter("The specified PEM X.509 certificate content is in an unexpected format. Please check if certificate is in valid PEM format.")
}

func parsePFX(der []byte, password string) (*imported, error) {
	if mostIterations(der, 0) > maxIterations {
		return nil, badPFX()
	}
	key, first, rest, err := pkcs12.DecodeChain(der, password)
	if err != nil {
		return nil, badPFX()
	}
	return pair(key, append([]*x509.Certificate{first}, rest...))
}

// mostIterations is the largest number that stands behind an octet string, which is
// how salts and iteration counts stand in PKCS #12. What is encrypted is not seen.
func mostIterations(der []byte, depth int) (most int64) {
	const deepest = 32
	afterOctets := false
	for len(der) > 0 && depth < deepest {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return most
		}
		der = rest
		octets := v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString
		switch {
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger && afterOctets:
			var n int64
			if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil {
				return maxIterations + 1
			}
			most = max(most, n)
		case v.IsCompound || octets:
			most = max(most, mostIterations(v.Bytes, depth+1))
		}
		afterOctets = octets
	}
	return most
}

// parsePEM reads certificates and a key in PKCS #8, the one form that Azure takes.
func parsePEM(text string) (*imported, error) {
	var key any
	var chain []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, badPEM()
			}
			chain = append(chain, cert)
		case "PRIVATE KEY":
			var err error
			if key != nil {
				return nil, badPEM()
			}
			if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				return nil, badPEM()
			}
		default:
			return nil, badPEM()
		}
	}
	if len(chain) == 0 {
		return nil, badPEM()
	}
	if key == nil {
		return nil, badParameter("Private key is not specified in the specified X.509 PEM certificate content. Please specify private key in the X.509 PEM certificate content.")
	}
	return pair(key, chain)
}

// pair finds the certificate that the key is for.
func pair(key any, chain []*x509.Certificate) (*imported, error) {
	in := &imported{chain: chain}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n != 2048 && n != 3072 && n != 4096 || k.Validate() != nil {
			return nil, badParameter("The private key has an invalid size: RSA keys have 2048, 3072 or 4096 bits.")
		}
		in.private = k
	case *ecdsa.PrivateKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return nil, badParameter("The private key has an invalid curve: it is P-256, P-384 or P-521.")
		}
		in.private = k
	default:
		return nil, badParameter("The private key is of an unsupported type: it is RSA or EC.")
	}
	for _, cert := range chain {
		if samePublic(cert.PublicKey, in.private.Public()) {
			in.leaf = cert
			return in, nil
		}
	}
	return nil, mismatch()
}

func mismatch() error {
	return badParameter("The public key of the end-entity certificate in the specified X.509 certificate content does not match the public part of the specified private key. Please check if certificate is valid.")
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// ordered is the chain with the leaf first, or as it came.
func (in *imported) ordered(preserve bool) []*x509.Certificate {
	if preserve {
		return in.chain
	}
	out := []*x509.Certificate{in.leaf}
	for _, cert := range in.chain {
		if cert != in.leaf {
			out = append(out, cert)
		}
	}
	return out
}

// secretValue is what the certificate's secret holds: the chain and, when it is
// exportable, the private key.
func secretValue(contentType string, private crypto.Signer, exportable bool, chain []*x509.Certificate, leaf *x509.Certificate) (string, error) {
	if contentType == contentPEM {
		var b bytes.Buffer
		if exportable {
			der, err := x509.MarshalPKCS8PrivateKey(private)
			if err != nil {
				return "", fmt.Errorf("encode private key: %w", err)
			}
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
		for _, cert := range chain {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
		}
		return b.String(), nil
	}
	var pfx []byte
	var err error
	if exportable {
		// The key's certificate is the first: the library ties the key to that one,
		// whatever order is to be kept.
		rest := slices.DeleteFunc(slices.Clone(chain), func(c *x509.Certificate) bool { return c == leaf })
		pfx, err = pkcs12.Modern.Encode(private, leaf, rest, "")
	} else {
		pfx, err = pkcs12.Modern.EncodeTrustStore(chain, "")
	}
	if err != nil {
		return "", fmt.Errorf("encode PKCS #12: %w", err)
	}
	return base64.StdEncoding.EncodeToString(pfx), nil
}
