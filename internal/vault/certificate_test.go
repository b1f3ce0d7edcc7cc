package vault_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func (p *plant) certificates(t *testing.T, name, who string) *azcertificates.Client {
	t.Helper()
	to, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := azcertificates.NewClient("https://"+name+".vault.azure.net", credential(who), &azcertificates.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: road{to}, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate is a policy of the issuer for the subject, with a key that is quick to
// make.
func certificate(issuer, subject string) *azcertificates.CertificatePolicy {
	return &azcertificates.CertificatePolicy{
		IssuerParameters:          &azcertificates.IssuerParameters{Name: &issuer},
		KeyProperties:             &azcertificates.KeyProperties{KeyType: ptr(azcertificates.KeyTypeEC), Curve: ptr(azcertificates.CurveNameP256)},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{Subject: &subject},
	}
}

func mustCreate(t *testing.T, c *azcertificates.Client, name string, p *azcertificates.CertificatePolicy) *azcertificates.CertificateOperation {
	t.Helper()
	op, err := c.CreateCertificate(t.Context(), name, azcertificates.CreateCertificateParameters{CertificatePolicy: p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &op.CertificateOperation
}

// TestCertificates takes a self-signed certificate through its life with Azure's
// own client, its key and its secret with it.
func TestCertificates(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c, secrets, keys := p.certificates(t, "kv", "officer"), p.client(t, "kv", "officer"), p.keys(t, "kv", "officer")
	_, err := c.GetCertificate(ctx, "web", "", nil)
	refused(t, "get before create", err, 404, "CertificateNotFound")
	_, err = c.GetCertificateOperation(ctx, "web", nil)
	refused(t, "operation before create", err, 404, "PendingCertificateNotFound")

	policy := &azcertificates.CertificatePolicy{
		IssuerParameters: &azcertificates.IssuerParameters{Name: ptr("Self")},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{
			Subject: ptr(`CN=web.example, O="Example, Inc", C=DE`), ValidityInMonths: ptr[int32](24),
			SubjectAlternativeNames: &azcertificates.SubjectAlternativeNames{
				DNSNames: []*string{ptr("web.example"), ptr("*.web.example")}, Emails: []*string{ptr("a@web.example")}, UserPrincipalNames: []*string{ptr("u@web.example")}},
			KeyUsage: []*azcertificates.KeyUsageType{ptr(azcertificates.KeyUsageTypeDigitalSignature)}, EnhancedKeyUsage: []*string{ptr("1.3.6.1.5.5.7.3.1")},
		},
	}
	op, err := c.CreateCertificate(ctx, "Web", azcertificates.CreateCertificateParameters{CertificatePolicy: policy, Tags: map[string]*string{"a": ptr("b")}, PreserveCertOrder: ptr(true)}, nil)
	if err != nil || *op.Status != "inProgress" || len(op.CSR) == 0 {
		t.Fatalf("create: %+v, %v", op, err)
	}
	if _, err := x509.ParseCertificateRequest(op.CSR); err != nil {
		t.Error(err)
	}
	done, err := c.GetCertificateOperation(ctx, "web", nil)
	if err != nil || *done.Status != "completed" || !strings.HasSuffix(*done.Target, "/certificates/Web") || *done.RequestID != *op.RequestID {
		t.Errorf("operation: %+v, %v", done, err)
	}
	got, err := c.GetCertificate(ctx, "web", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(got.CER)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"web.example", "*.web.example"}; !slices.Equal(cert.DNSNames, want) || cert.Subject.CommonName != "web.example" || cert.Subject.Organization[0] != "Example, Inc" ||
		cert.EmailAddresses[0] != "a@web.example" || cert.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("certificate for %v: %v %v %v", cert.Subject, cert.DNSNames, cert.KeyUsage, cert.ExtKeyUsage)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Error(err)
	}
	if sum := sha1.Sum(got.CER); !bytes.Equal(got.X509Thumbprint, sum[:]) {
		t.Error("the thumbprint is another")
	}
	if end := p.clock.Now().AddDate(2, 0, 0); !cert.NotAfter.Equal(end) || !got.Attributes.Expires.Equal(end) || !got.Attributes.NotBefore.Before(p.clock.Now()) {
		t.Errorf("valid %v to %v", cert.NotBefore, cert.NotAfter)
	}
	if *got.Policy.KeyProperties.KeySize != 2048 || *got.Policy.SecretProperties.ContentType != "application/x-pkcs12" || !*got.PreserveCertOrder ||
		*got.Policy.LifetimeActions[0].Action.ActionType != azcertificates.CertificatePolicyActionAutoRenew || *got.Policy.LifetimeActions[0].Trigger.LifetimePercentage != 80 {
		t.Errorf("policy %+v", got.Policy)
	}

	// the secret is the certificate with its key, the key signs for it
	secret, err := secrets.GetSecret(ctx, "web", got.SID.Version(), nil)
	if err != nil || *secret.ContentType != "application/x-pkcs12" || !*secret.Managed || *secret.ID != azsecrets.ID(*got.SID) {
		t.Fatalf("secret %+v, %v", secret, err)
	}
	pfx, err := base64.StdEncoding.DecodeString(*secret.Value)
	if err != nil {
		t.Fatal(err)
	}
	private, leaf, _, err := pkcs12.DecodeChain(pfx, "")
	if err != nil || !leaf.Equal(cert) || !private.(*rsa.PrivateKey).PublicKey.Equal(cert.PublicKey) {
		t.Errorf("PFX of %v: %v", leaf, err)
	}
	digest := sha256.Sum256([]byte("text"))
	signed, err := keys.Sign(ctx, "web", got.KID.Version(), azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil)
	if err != nil || rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, digest[:], signed.Result) != nil {
		t.Errorf("sign: %v", err)
	}
	key, err := keys.GetKey(ctx, "web", "", nil)
	if err != nil || !*key.Managed || len(key.Key.KeyOps) != 2 {
		t.Errorf("key %+v, %v", key, err)
	}

	// and neither lives a life of its own
	_, err = secrets.SetSecret(ctx, "web", azsecrets.SetSecretParameters{Value: ptr("x")}, nil)
	refused(t, "set the secret", err, 403, "Forbidden")
	if !strings.Contains(err.Error(), "SecretManagedByKeyVault") {
		t.Error(err)
	}
	_, err = secrets.DeleteSecret(ctx, "web", nil)
	refused(t, "delete the secret", err, 403, "Forbidden")
	_, err = secrets.UpdateSecretProperties(ctx, "web", "", azsecrets.UpdateSecretPropertiesParameters{Tags: map[string]*string{}}, nil)
	refused(t, "update the secret", err, 403, "Forbidden")
	_, err = keys.DeleteKey(ctx, "web", nil)
	refused(t, "delete the key", err, 403, "Forbidden")
	_, err = keys.RotateKey(ctx, "web", nil)
	refused(t, "rotate the key", err, 403, "Forbidden")
	_, err = keys.CreateKey(ctx, "web", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC)}, nil)
	refused(t, "create the key", err, 403, "Forbidden")
	_, err = keys.BackupKey(ctx, "web", nil)
	refused(t, "back up the key", err, 403, "Forbidden")
	if _, err := secrets.SetSecret(ctx, "mine", azsecrets.SetSecretParameters{Value: ptr("x")}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateCertificate(ctx, "mine", azcertificates.CreateCertificateParameters{CertificatePolicy: certificate("Self", "CN=mine")}, nil)
	refused(t, "a certificate over a secret", err, 409, "Conflict")

	updated, err := c.UpdateCertificate(ctx, "web", "", azcertificates.UpdateCertificateParameters{CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: ptr(false)}, Tags: map[string]*string{}}, nil)
	if err != nil || *updated.Attributes.Enabled || len(updated.Tags) != 0 || !updated.Attributes.Expires.Equal(*got.Attributes.Expires) {
		t.Errorf("updated %+v, %v", updated.Certificate, err)
	}
	_, err = secrets.GetSecret(ctx, "web", "", nil)
	refused(t, "the secret of a disabled certificate", err, 403, "Forbidden")
	if _, err := c.UpdateCertificate(ctx, "web", got.ID.Version(), azcertificates.UpdateCertificateParameters{CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: ptr(true)}}, nil); err != nil {
		t.Error(err)
	}

	// a second version; the first stays
	mustCreate(t, c, "web", certificate("Self", "CN=second"))
	second, err := c.GetCertificate(ctx, "web", "", nil)
	if err != nil || second.ID.Version() == got.ID.Version() {
		t.Errorf("second %v, %v", second.ID, err)
	}
	var versions int
	for pager := c.NewListCertificatePropertiesVersionsPager("web", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		versions += len(page.Value)
	}
	if versions != 2 {
		t.Errorf("%d versions", versions)
	}
	if old, err := c.GetCertificate(ctx, "web", got.ID.Version(), nil); err != nil || !bytes.Equal(old.CER, got.CER) {
		t.Error(err)
	}
	page, err := c.NewListCertificatePropertiesPager(nil).NextPage(ctx)
	if err != nil || len(page.Value) != 1 || page.Value[0].ID.Version() != "" || page.Value[0].Attributes.RecoveryLevel != nil {
		t.Errorf("list %+v, %v", page.Value, err)
	}

	backup, err := c.BackupCertificate(ctx, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := c.DeleteCertificate(ctx, "web", nil)
	if err != nil || deleted.Policy == nil || *deleted.RecoveryID != "https://kv.vault.azure.net/deletedcertificates/Web" {
		t.Errorf("deleted %+v, %v", deleted.DeletedCertificate, err)
	}
	_, err = secrets.GetSecret(ctx, "web", "", nil)
	refused(t, "the secret of a deleted certificate", err, 404, "SecretNotFound")
	if _, err := keys.GetDeletedKey(ctx, "web", nil); err != nil {
		t.Error(err)
	}
	gone, err := keys.NewListDeletedKeyPropertiesPager(nil).NextPage(ctx)
	if err != nil || len(gone.Value) != 0 {
		t.Errorf("deleted keys: %v, %v", gone.Value, err)
	}
	_, err = keys.RecoverDeletedKey(ctx, "web", nil)
	refused(t, "recover the key", err, 403, "Forbidden")
	_, err = keys.PurgeDeletedKey(ctx, "web", nil)
	refused(t, "purge the key", err, 403, "Forbidden")
	_, err = c.CreateCertificate(ctx, "web", azcertificates.CreateCertificateParameters{CertificatePolicy: policy}, nil)
	refused(t, "create what is deleted", err, 409, "Conflict")
	if _, err := c.RecoverDeletedCertificate(ctx, "web", nil); err != nil {
		t.Error(err)
	}
	if s, err := secrets.GetSecret(ctx, "web", got.SID.Version(), nil); err != nil || *s.Value != *secret.Value {
		t.Error(err)
	}
	if _, err := c.DeleteCertificate(ctx, "web", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.PurgeDeletedCertificate(ctx, "web", nil); err != nil {
		t.Error(err)
	}
	_, err = keys.GetDeletedKey(ctx, "web", nil)
	refused(t, "the key of a purged certificate", err, 404, "KeyNotFound")
	_, err = c.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: []byte("nonsense")}, nil)
	refused(t, "restore nonsense", err, 400, "BadParameter")
	restored, err := c.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: backup.Value}, nil)
	if err != nil || *restored.ID != *second.ID || restored.Policy == nil {
		t.Errorf("restored %+v, %v", restored, err)
	}
	if s, err := secrets.GetSecret(ctx, "web", got.SID.Version(), nil); err != nil || *s.Value != *secret.Value {
		t.Errorf("the restored secret: %v", err)
	}
	if signed, err = keys.Sign(ctx, "web", got.KID.Version(), azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil); err != nil {
		t.Errorf("the restored key: %v", err)
	}
}

// TestCertificatesAreRenewed: by their policy, at the injected clock's time, whatever
// is asked for first.
func TestCertificatesAreRenewed(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c, secrets := p.certificates(t, "kv", "officer"), p.client(t, "kv", "officer")
	policy := certificate("Self", "CN=renewed")
	policy.KeyProperties.ReuseKey = ptr(true)
	policy.LifetimeActions = []*azcertificates.LifetimeAction{{
		Action: &azcertificates.LifetimeActionType{ActionType: ptr(azcertificates.CertificatePolicyActionAutoRenew)}, Trigger: &azcertificates.LifetimeActionTrigger{DaysBeforeExpiry: ptr[int32](30)}}}
	mustCreate(t, c, "r", policy)
	first, err := c.GetCertificate(ctx, "r", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Step(first.Attributes.Expires.AddDate(0, 0, -31).Sub(p.clock.Now()))
	if still, err := secrets.GetSecret(ctx, "r", "", nil); err != nil || still.ID.Version() != first.ID.Version() {
		t.Errorf("a day too early: %v, %v", still.ID, err)
	}
	p.clock.Step(24 * time.Hour)
	next, err := secrets.GetSecret(ctx, "r", "", nil)
	if err != nil || next.ID.Version() == first.ID.Version() {
		t.Errorf("not renewed: %v, %v", next.ID, err)
	}
	renewed, err := c.GetCertificate(ctx, "r", "", nil)
	if err != nil || renewed.ID.Version() != next.ID.Version() || !renewed.Attributes.Created.Equal(p.clock.Now()) {
		t.Errorf("renewed %+v, %v", renewed.Attributes, err)
	}
	a, _ := x509.ParseCertificate(first.CER)
	b, _ := x509.ParseCertificate(renewed.CER)
	if !a.PublicKey.(*ecdsa.PublicKey).Equal(b.PublicKey) {
		t.Error("the key was not reused")
	}
	_, err = c.UpdateCertificatePolicy(ctx, "r", azcertificates.CertificatePolicy{LifetimeActions: []*azcertificates.LifetimeAction{{
		Action: &azcertificates.LifetimeActionType{ActionType: ptr(azcertificates.CertificatePolicyActionEmailContacts)}, Trigger: &azcertificates.LifetimeActionTrigger{LifetimePercentage: ptr[int32](99)}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Step(3 * 365 * 24 * time.Hour)
	if got, err := c.GetCertificate(ctx, "r", "", nil); err != nil || *got.ID != *renewed.ID {
		t.Errorf("renewed without AutoRenew: %v, %v", got.ID, err)
	}
}

// authority signs certificate requests.
func authority(t *testing.T, csr []byte) (leaf, ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	if ca, err = x509.CreateCertificate(rand.Reader, root, root, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil || req.CheckSignature() != nil {
		t.Fatal("the request is not signed", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), RawSubject: req.RawSubject, NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	if leaf, err = x509.CreateCertificate(rand.Reader, template, root, req.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	return leaf, ca
}

// TestCertificateOperations: merged, cancelled, deleted and failed ones.
func TestCertificateOperations(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c, secrets := p.certificates(t, "kv", "officer"), p.client(t, "kv", "officer")
	op := mustCreate(t, c, "m", certificate("Unknown", "CN=merged"))
	_, err := c.CreateCertificate(ctx, "m", azcertificates.CreateCertificateParameters{CertificatePolicy: certificate("Self", "CN=x")}, nil)
	refused(t, "create while one is pending", err, 409, "Forbidden")
	pending, err := c.GetCertificate(ctx, "m", "", nil)
	if err != nil || len(pending.CER) != 0 || *pending.Attributes.Enabled {
		t.Errorf("pending %+v, %v", pending.Certificate, err)
	}
	for include, want := range map[bool]int{false: 0, true: 1} {
		page, err := c.NewListCertificatePropertiesPager(&azcertificates.ListCertificatePropertiesOptions{IncludePending: &include}).NextPage(ctx)
		if err != nil || len(page.Value) != want {
			t.Errorf("include pending %t: %d, %v", include, len(page.Value), err)
		}
	}
	leaf, ca := authority(t, op.CSR)
	_, err = c.MergeCertificate(ctx, "m", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{ca}}, nil)
	refused(t, "merge another's", err, 400, "BadParameter")
	merged, err := c.MergeCertificate(ctx, "m", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{ca, leaf}}, nil)
	if err != nil || !bytes.Equal(merged.CER, leaf) || !*merged.Attributes.Enabled || *merged.ID != *pending.ID {
		t.Fatalf("merged %+v, %v", merged.Certificate, err)
	}
	s, err := secrets.GetSecret(ctx, "m", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	pfx, _ := base64.StdEncoding.DecodeString(*s.Value)
	if _, first, rest, err := pkcs12.DecodeChain(pfx, ""); err != nil || !bytes.Equal(first.Raw, leaf) || len(rest) != 1 {
		t.Errorf("the chain: %v", err)
	}
	_, err = c.MergeCertificate(ctx, "m", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{leaf}}, nil)
	refused(t, "merge again", err, 404, "PendingCertificateNotFound")
	_, err = c.UpdateCertificateOperation(ctx, "m", azcertificates.UpdateCertificateOperationParameter{CancellationRequested: ptr(true)}, nil)
	refused(t, "cancel what is completed", err, 400, "BadParameter")

	mustCreate(t, c, "c", certificate("Unknown", "CN=cancelled"))
	cancelled, err := c.UpdateCertificateOperation(ctx, "c", azcertificates.UpdateCertificateOperationParameter{CancellationRequested: ptr(true)}, nil)
	if err != nil || !*cancelled.CancellationRequested {
		t.Errorf("cancel: %v", err)
	}
	if got, err := c.GetCertificateOperation(ctx, "c", nil); err != nil || *got.Status != "cancelled" {
		t.Errorf("cancelled: %v, %v", got.Status, err)
	}
	mustCreate(t, c, "c", certificate("Unknown", "CN=again"))
	if _, err := c.DeleteCertificateOperation(ctx, "c", nil); err != nil {
		t.Error(err)
	}
	_, err = c.GetCertificateOperation(ctx, "c", nil)
	refused(t, "a deleted operation", err, 404, "PendingCertificateNotFound")
	_, err = c.GetCertificate(ctx, "c", "", nil)
	refused(t, "what has come to nothing", err, 404, "CertificateNotFound")

	// issuers that nobody calls
	_, err = c.GetIssuer(ctx, "digi", nil)
	refused(t, "no issuer", err, 404, "CertificateIssuerNotFound")
	_, err = c.CreateCertificate(ctx, "d", azcertificates.CreateCertificateParameters{CertificatePolicy: certificate("digi", "CN=x")}, nil)
	refused(t, "create by no issuer", err, 400, "BadParameter")
	set, err := c.SetIssuer(ctx, "digi", azcertificates.SetIssuerParameters{Provider: ptr("DigiCert"), Credentials: &azcertificates.IssuerCredentials{AccountID: ptr("me"), Password: ptr("hidden")},
		OrganizationDetails: &azcertificates.OrganizationDetails{ID: ptr("org"), AdminContacts: []*azcertificates.AdministratorContact{{Email: ptr("a@b.example")}}}}, nil)
	if err != nil || *set.Credentials.AccountID != "me" || set.Credentials.Password != nil || *set.OrganizationDetails.AdminContacts[0].Email != "a@b.example" {
		t.Errorf("issuer %+v, %v", set.Issuer, err)
	}
	if up, err := c.UpdateIssuer(ctx, "digi", azcertificates.UpdateIssuerParameters{Attributes: &azcertificates.IssuerAttributes{Enabled: ptr(false)}}, nil); err != nil || *up.Attributes.Enabled || *up.Provider != "DigiCert" {
		t.Errorf("updated %+v, %v", up.Issuer, err)
	}
	list, err := c.NewListIssuerPropertiesPager(nil).NextPage(ctx)
	if err != nil || len(list.Value) != 1 || *list.Value[0].Provider != "DigiCert" {
		t.Errorf("issuers %v, %v", list.Value, err)
	}
	mustCreate(t, c, "d", certificate("digi", "CN=x"))
	failed, err := c.GetCertificateOperation(ctx, "d", nil)
	if err != nil || *failed.Status != "failed" || !strings.Contains(failed.Error.Error(), "does not call certificate authorities") {
		t.Errorf("failed %+v, %v", failed, err)
	}
	if leaf, _ := authority(t, failed.CSR); leaf != nil {
		if _, err := c.MergeCertificate(ctx, "d", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{leaf}}, nil); err != nil {
			t.Errorf("merge what has failed: %v", err)
		}
	}
	if _, err := c.DeleteIssuer(ctx, "digi", nil); err != nil {
		t.Error(err)
	}
}

// TestCertificatesAreImported from PKCS #12 and PEM, with the chain and the key.
func TestCertificatesAreImported(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c, secrets := p.certificates(t, "kv", "officer"), p.client(t, "kv", "officer")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "brought", Organization: []string{"Org"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, caDER := authority(t, csr)
	leaf, _ := x509.ParseCertificate(leafDER)
	ca, _ := x509.ParseCertificate(caDER)
	pfx, err := pkcs12.Legacy.Encode(key, leaf, []*x509.Certificate{ca}, "pass")
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	pemText := block("PRIVATE KEY", pkcs8) + block("CERTIFICATE", caDER) + block("CERTIFICATE", leafDER)
	asPEM := &azcertificates.CertificatePolicy{SecretProperties: &azcertificates.SecretProperties{ContentType: ptr("application/x-pem-file")}}

	got, err := c.ImportCertificate(ctx, "pfx", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: ptr(base64.StdEncoding.EncodeToString(pfx)), Password: ptr("pass")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.CER, leafDER) || *got.Policy.IssuerParameters.Name != "Unknown" || *got.Policy.X509CertificateProperties.Subject != "CN=brought, O=Org" ||
		*got.Policy.KeyProperties.KeySize != 2048 || *got.Policy.X509CertificateProperties.ValidityInMonths != 12 {
		t.Errorf("imported %+v", got.Policy.X509CertificateProperties)
	}
	for _, preserve := range []bool{false, true} {
		got, err := c.ImportCertificate(ctx, "pem", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &pemText, CertificatePolicy: asPEM, PreserveCertOrder: &preserve}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := secrets.GetSecret(ctx, "pem", got.SID.Version(), nil)
		want := block("PRIVATE KEY", pkcs8) + block("CERTIFICATE", leafDER) + block("CERTIFICATE", caDER)
		if preserve {
			want = pemText
		}
		if err != nil || *s.Value != want || *s.ContentType != "application/x-pem-file" {
			t.Errorf("preserve %t: %v", preserve, err)
		}
	}
	fixed := &azcertificates.CertificatePolicy{SecretProperties: asPEM.SecretProperties, KeyProperties: &azcertificates.KeyProperties{Exportable: ptr(false)}}
	if _, err := c.ImportCertificate(ctx, "fixed", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &pemText, CertificatePolicy: fixed}, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := secrets.GetSecret(ctx, "fixed", "", nil); err != nil || strings.Contains(*s.Value, "PRIVATE") {
		t.Errorf("a key that is not exportable: %v", err)
	}
	for what, in := range map[string]azcertificates.ImportCertificateParameters{
		"nothing":                 {Base64EncodedCertificate: ptr("")},
		"nonsense":                {Base64EncodedCertificate: ptr("bm9uc2Vuc2U=")},
		"no base64":               {Base64EncodedCertificate: ptr("!")},
		"a wrong password":        {Base64EncodedCertificate: ptr(base64.StdEncoding.EncodeToString(pfx)), Password: ptr("wrong")},
		"PKCS #12 as PEM":         {Base64EncodedCertificate: ptr(base64.StdEncoding.EncodeToString(pfx)), Password: ptr("pass"), CertificatePolicy: asPEM},
		"no key":                  {Base64EncodedCertificate: ptr(block("CERTIFICATE", leafDER)), CertificatePolicy: asPEM},
		"no certificate":          {Base64EncodedCertificate: ptr(block("PRIVATE KEY", pkcs8)), CertificatePolicy: asPEM},
		"another's key":           {Base64EncodedCertificate: ptr(block("PRIVATE KEY", pkcs8) + block("CERTIFICATE", caDER)), CertificatePolicy: asPEM},
		"PKCS #1, as Azure does":  {Base64EncodedCertificate: ptr(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)) + block("CERTIFICATE", leafDER)), CertificatePolicy: asPEM},
		"an issuer that is none":  {Base64EncodedCertificate: &pemText, CertificatePolicy: &azcertificates.CertificatePolicy{SecretProperties: asPEM.SecretProperties, IssuerParameters: &azcertificates.IssuerParameters{Name: ptr("nobody")}}},
		"a chain without the key": {Base64EncodedCertificate: ptr(strings.Repeat(block("CERTIFICATE", caDER), 3)), CertificatePolicy: asPEM},
	} {
		_, err := c.ImportCertificate(ctx, "bad", in, nil)
		refused(t, what, err, 400, "BadParameter")
		if err != nil && strings.Contains(err.Error(), "pass") && strings.Contains(err.Error(), "wrong") {
			t.Errorf("the answer tells the password: %v", err)
		}
	}
}

// TestCertificatesAreRefused where policy or role do not allow them, or the policy
// is out of bounds.
func TestCertificatesAreRefused(t *testing.T) {
	p := start(t)
	const v = "?api-version=7.4"
	create := func(policy string) string { return `{"policy":` + policy + `}` }
	self := create(`{"issuer":{"name":"Self"},"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC"}}`)
	for _, tc := range []struct {
		host, token, method, path, body string
		status                          int
	}{
		{"kv", "nobody", "POST", "/certificates/c/create" + v, self, 403},
		{"kv", "reader", "POST", "/certificates/c/create" + v, self, 403},
		{"kv", "reader", "GET", "/certificates" + v, "", 200},
		{"old", "reader", "GET", "/certificates" + v, "", 403},
		{"old", "officer", "POST", "/certificates/c/create" + v, self, 403},
		{"old", "reader", "GET", "/certificates/issuers" + v, "", 403},
		{"kv", "officer", "POST", "/certificates/c/create" + v, `{}`, 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"issuer":{"name":"Self"}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"web"}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x","ekus":["fly"]}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x","key_usage":["fly"]}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x","validity_months":-1}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x","sans":{"dns_names":["a b"]}}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x"},"key_props":{"kty":"RSA","key_size":1024}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC","crv":"P-256K"}}`), 501},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x"},"key_props":{"kty":"RSA-HSM"}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x"},"secret_props":{"contentType":"text/plain"}}`), 400},
		{"kv", "officer", "POST", "/certificates/c/create" + v, create(`{"x509_props":{"subject":"CN=x"},"lifetime_actions":[{"trigger":{"lifetime_percentage":100},"action":{"action_type":"AutoRenew"}}]}`), 400},
		{"kv", "officer", "PUT", "/certificates/issuers/i" + v, `{"provider":"Me"}`, 400},
		{"kv", "officer", "PUT", "/certificates/issuers/self" + v, `{"provider":"DigiCert"}`, 400},
		{"kv", "officer", "PUT", "/certificates/issuers/a_b" + v, `{"provider":"DigiCert"}`, 400},
		{"kv", "officer", "PATCH", "/certificates/c/policy" + v, `{}`, 404},
		{"kept", "officer", "POST", "/certificates/c/create" + v, create(`{"issuer":{"name":"Self"},"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC-HSM","exportable":false}}`), 202},
		{"kept", "officer", "DELETE", "/certificates/c" + v, "", 200},
		{"kept", "officer", "DELETE", "/deletedcertificates/c" + v, "", 403},
	} {
		resp, body := p.do(t, tc.host, tc.token, tc.method, tc.path, tc.body)
		if resp.StatusCode != tc.status {
			t.Errorf("%s %s %s as %s %s = %d %s, want %d", tc.method, tc.host, tc.path, tc.token, tc.body, resp.StatusCode, body, tc.status)
		}
	}
}

// TestWhatIsOverIsPurged: nothing is left in the store of what was deleted when its
// retention is over, and what was recovered or is younger stays.
func TestWhatIsOverIsPurged(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c, secrets := p.certificates(t, "kv", "officer"), p.client(t, "kv", "officer")
	for _, name := range []string{"over", "back", "young"} {
		mustCreate(t, c, name, certificate("Self", "CN="+name))
	}
	if _, err := secrets.SetSecret(ctx, "s-over", azsecrets.SetSecretParameters{Value: ptr("x")}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"over", "back"} {
		if _, err := c.DeleteCertificate(ctx, name, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secrets.DeleteSecret(ctx, "s-over", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RecoverDeletedCertificate(ctx, "back", nil); err != nil {
		t.Fatal(err)
	}
	p.clock.Step(7*24*time.Hour - time.Second)
	if _, err := c.DeleteCertificate(ctx, "young", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetDeletedCertificate(ctx, "over", nil); err != nil {
		t.Errorf("a second too early: %v", err)
	}
	p.clock.Step(time.Second)
	if err := p.PurgeOver(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.store.View(ctx, func(tx store.Tx) error {
		for _, bucket := range []string{"vault.objects", "vault.deleted", "vault.versions", "vault.certpolicies", "vault.certoperations", "vault.purges"} {
			n := 0
			for e, err := range tx.Scan(bucket, store.Range{}) {
				if err != nil {
					return err
				}
				if strings.Contains(e.Key, "over") {
					t.Errorf("%s has %s", bucket, e.Key)
				}
				n++
			}
			if n == 0 {
				t.Errorf("%s is empty", bucket)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetCertificate(ctx, "back", "", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.RecoverDeletedCertificate(ctx, "young", nil); err != nil {
		t.Error(err)
	}
}
