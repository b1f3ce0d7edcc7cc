package vault

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// selfSignedLead is how long before its creation a self-signed certificate becomes
// valid, for clients whose clocks are behind.
const selfSignedLead = 10 * time.Minute

// The X.509 extensions that a policy speaks of.
func oidSAN() asn1.ObjectIdentifier      { return asn1.ObjectIdentifier{2, 5, 29, 17} }
func oidKeyUsage() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 15} }
func oidEKU() asn1.ObjectIdentifier      { return asn1.ObjectIdentifier{2, 5, 29, 37} }
func oidUPN() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
}

// attributeTypes are the names of the parts of a distinguished name.
func attributeTypes() map[string]asn1.ObjectIdentifier {
	return map[string]asn1.ObjectIdentifier{
		"CN": {2, 5, 4, 3}, "SN": {2, 5, 4, 4}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "S": {2, 5, 4, 8},
		"ST": {2, 5, 4, 8}, "STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "T": {2, 5, 4, 12}, "TITLE": {2, 5, 4, 12},
		"G": {2, 5, 4, 42}, "GN": {2, 5, 4, 42}, "I": {2, 5, 4, 43}, "DC": {0, 9, 2342, 19200300, 100, 1, 25},
		"E": {1, 2, 840, 113549, 1, 9, 1}, "EMAIL": {1, 2, 840, 113549, 1, 9, 1}, "EMAILADDRESS": {1, 2, 840, 113549, 1, 9, 1},
	}
}

var errSubject = errors.New("not a distinguished name")

// parseSubject reads a distinguished name as people write it, most significant part
// last ("CN=host, O=Org"), into its encoded form, which has that part first.
func parseSubject(text string) (pkix.RDNSequence, error) {
	seq := pkix.RDNSequence{}
	rest := strings.TrimSpace(text)
	for rest != "" {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, errSubject
		}
		oid, err := attributeType(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		value, more, err := attributeValue(strings.TrimLeft(after, " "))
		if err != nil || value == "" {
			return nil, errSubject
		}
		seq = append(seq, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
		rest = strings.TrimSpace(more)
	}
	slices.Reverse(seq)
	return seq, nil
}

func attributeType(name string) (asn1.ObjectIdentifier, error) {
	if oid, ok := attributeTypes()[strings.ToUpper(name)]; ok {
		return oid, nil
	}
	dotted, _ := strings.CutPrefix(strings.ToUpper(name), "OID.")
	return parseOID(dotted)
}

func parseOID(text string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for _, part := range strings.Split(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil, errSubject
		}
		oid = append(oid, n)
	}
	if len(oid) < 2 || oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return nil, errSubject
	}
	return oid, nil
}

// attributeValue reads one value, quoted or with escapes, and what is behind the
// comma that ends it.
func attributeValue(text string) (value, rest string, err error) {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		value, after, ok := strings.Cut(quoted, `"`)
		after = strings.TrimSpace(after)
		if !ok || after != "" && after[0] != ',' && after[0] != ';' {
			return "", "", errSubject
		}
		return value, strings.TrimLeft(after, ",;"), nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			if i++; i == len(text) {
				return "", "", errSubject
			}
			b.WriteByte(text[i])
		case ',', ';':
			return strings.TrimSpace(b.String()), text[i+1:], nil
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String()), "", nil
}

// subjectText is a name as people write it.
func subjectText(name pkix.Name) string {
	names := map[string]string{}
	for n, oid := range attributeTypes() {
		if have := names[oid.String()]; have == "" || len(n) < len(have) || len(n) == len(have) && n < have {
			names[oid.String()] = n
		}
	}
	var parts []string
	for _, a := range name.Names {
		n := names[a.Type.String()]
		if n == "" {
			n = a.Type.String()
		}
		value := fmt.Sprint(a.Value)
		if strings.ContainsAny(value, `,;"=\`) {
			value = `"` + strings.ReplaceAll(value, `"`, "'") + `"`
		}
		parts = append(parts, n+"="+value)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ", ")
}

// keyUsages are the bits of X.509 key usage under the policy's names.
func keyUsages() map[string]x509.KeyUsage {
	return map[string]x509.KeyUsage{
		"digitalSignature": x509.KeyUsageDigitalSignature, "nonRepudiation": x509.KeyUsageContentCommitment,
		"keyEncipherment": x509.KeyUsageKeyEncipherment, "dataEncipherment": x509.KeyUsageDataEncipherment,
		"keyAgreement": x509.KeyUsageKeyAgreement, "keyCertSign": x509.KeyUsageCertSign, "cRLSign": x509.KeyUsageCRLSign,
		"encipherOnly": x509.KeyUsageEncipherOnly, "decipherOnly": x509.KeyUsageDecipherOnly,
	}
}

// x509Extensions are the extensions that a policy asks for.
func x509Extensions(p *x509Props) ([]pkix.Extension, error) {
	var out []pkix.Extension
	if len(p.Usage) > 0 {
		bits := make([]byte, 2)
		last := 0
		for _, name := range p.Usage {
			u, ok := keyUsages()[name]
			if !ok {
				return nil, badParameter("Property key_usage has an invalid value: '%s'.", name)
			}
			for i := range 9 {
				if u == 1<<i {
					bits[i/8] |= 0x80 >> (i % 8)
					last = max(last, i)
				}
			}
		}
		value, err := asn1.Marshal(asn1.BitString{Bytes: bits[:last/8+1], BitLength: last + 1})
		if err != nil {
			return nil, fmt.Errorf("encode key usage: %w", err)
		}
		out = append(out, pkix.Extension{Id: oidKeyUsage(), Critical: true, Value: value})
	}
	if len(p.EKUs) > 0 {
		var oids []asn1.ObjectIdentifier
		for _, text := range p.EKUs {
			oid, err := parseOID(text)
			if err != nil {
				return nil, badParameter("Property ekus has an invalid value: '%s' is not an object identifier.", text)
			}
			oids = append(oids, oid)
		}
		value, err := asn1.Marshal(oids)
		if err != nil {
			return nil, badParameter("Property ekus has an invalid value.")
		}
		out = append(out, pkix.Extension{Id: oidEKU(), Value: value})
	}
	if !p.SANs.empty() {
		value, err := encodeSANs(p.SANs)
		if err != nil {
			return nil, err
		}
		out = append(out, pkix.Extension{Id: oidSAN(), Critical: p.Subject == "", Value: value})
	}
	return out, nil
}

// encodeSANs writes GeneralNames of RFC 5280; Go has no user principal names.
func encodeSANs(n *alternativeNames) ([]byte, error) {
	const email, dns = 1, 2 // tags
	var names []asn1.RawValue
	ia5 := func(property string, tag int, text string) error {
		for _, r := range text {
			if r > 0x7f {
				return badParameter("Property %s has an invalid value: '%s'.", property, text)
			}
		}
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(text)})
		return nil
	}
	for _, e := range n.Emails {
		if a, err := mail.ParseAddress(e); err != nil || a.Address != e {
			return nil, badParameter("Property emails has an invalid value: '%s'.", e)
		}
		if err := ia5("emails", email, e); err != nil {
			return nil, err
		}
	}
	for _, d := range n.DNSNames {
		if d == "" || len(d) > 253 || strings.ContainsAny(d, " /@:") {
			return nil, badParameter("Property dns_names has an invalid value: '%s'.", d)
		}
		if err := ia5("dns_names", dns, d); err != nil {
			return nil, err
		}
	}
	for _, u := range n.UPNs {
		value, err := asn1.MarshalWithParams(u, "utf8")
		if err != nil || u == "" {
			return nil, badParameter("Property upns has an invalid value: '%s'.", u)
		}
		oid, err := asn1.Marshal(oidUPN())
		if err != nil {
			return nil, fmt.Errorf("encode user principal name: %w", err)
		}
		explicit, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value})
		if err != nil {
			return nil, fmt.Errorf("encode user principal name: %w", err)
		}
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(oid, explicit...)})
	}
	out, err := asn1.Marshal(names)
	if err != nil {
		return nil, badParameter("Property sans has an invalid value.")
	}
	return out, nil
}

// signingRequest makes the CSR of a policy, DER.
func signingRequest(p *certPolicy, private crypto.Signer) ([]byte, error) {
	subject, extensions, err := p.names()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: subject, ExtraExtensions: extensions}, private)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	return der, nil
}

// names are the encoded subject and the extensions of a policy.
func (p *certPolicy) names() ([]byte, []pkix.Extension, error) {
	seq, err := parseSubject(p.X509.Subject)
	if err != nil {
		return nil, nil, badParameter("Property subject has an invalid value: '%s'.", p.X509.Subject)
	}
	subject, err := asn1.Marshal(seq)
	if err != nil {
		return nil, nil, badParameter("Property subject has an invalid value: '%s'.", p.X509.Subject)
	}
	extensions, err := x509Extensions(p.X509)
	return subject, extensions, err
}

// selfSign makes the certificate of a policy, DER.
func selfSign(p *certPolicy, private crypto.Signer, now time.Time) ([]byte, error) {
	subject, extensions, err := p.names()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	id := sha1.Sum(public)
	from := now.Add(-selfSignedLead).UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: subject, ExtraExtensions: extensions, SubjectKeyId: id[:],
		NotBefore: from, NotAfter: now.UTC().Truncate(time.Second).AddDate(0, p.X509.Months, 0),
		BasicConstraintsValid: true, IsCA: p.X509.Constraints != nil && p.X509.Constraints.CA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return der, nil
}

// describe is what a policy says of a certificate that was made elsewhere.
func describe(cert *x509.Certificate) *x509Props {
	p := &x509Props{Subject: subjectText(cert.Subject), Months: months(cert.NotBefore, cert.NotAfter), EKUs: []string{}, Usage: []string{}}
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidEKU()) {
			continue
		}
		var oids []asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(e.Value, &oids); err == nil {
			for _, oid := range oids {
				p.EKUs = append(p.EKUs, oid.String())
			}
		}
	}
	for i := range 9 {
		for name, u := range keyUsages() {
			if u == 1<<i && cert.KeyUsage&u != 0 {
				p.Usage = append(p.Usage, name)
			}
		}
	}
	if n := (&alternativeNames{Emails: cert.EmailAddresses, DNSNames: cert.DNSNames}); !n.empty() {
		p.SANs = n
	}
	if cert.BasicConstraintsValid {
		p.Constraints = &struct {
			CA bool `json:"ca"`
		}{cert.IsCA}
	}
	return p
}

// months is the length of a validity, rounded to the next month.
func months(from, to time.Time) int {
	n := int(to.Sub(from).Hours()/24/30.4375 + 0.5)
	return min(max(n, 1), 1200)
}
