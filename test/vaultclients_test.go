package test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// TestAzureSDKForJavaScriptDrivesVaults: secrets, keys and certificates with the
// @azure/keyvault packages, unmodified, signed in by @azure/identity.
func TestAzureSDKForJavaScriptDrivesVaults(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "npm-vault")
	e, _, _ := vaultEnv(t, "kv-javascript")
	d.run(t, e, "https://kv-javascript.vault.azure.net")
}

// TestAzureSDKForGoDrivesCertificates in a vault of role assignments: each role allows
// what it is for, and the certificate, its secret and its key are one.
func TestAzureSDKForGoDrivesCertificates(t *testing.T) {
	e, _, w := vaultEnv(t)
	ctx := t.Context()
	const vault = smallGroup + "/providers/Microsoft.KeyVault/vaults/kv-roles"
	if _, err := w.arm(ctx, http.MethodPut, vault, "2023-07-01", fmt.Sprintf(
		`{"location":"westeurope","properties":{"tenantId":%q,"sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true}}`, w.owner.TenantID)); err != nil {
		t.Fatal(err)
	}
	assign := func(name, role string) {
		t.Helper()
		if _, err := w.arm(ctx, http.MethodPut, vault+"/providers/Microsoft.Authorization/roleAssignments/"+name, "2022-04-01", fmt.Sprintf(
			`{"properties":{"roleDefinitionId":"%s/providers/Microsoft.Authorization/roleDefinitions/%s","principalId":%q,"principalType":"ServicePrincipal"}}`, subscription, role, w.owner.ObjectID)); err != nil {
			t.Fatal(err)
		}
	}
	options := policy.ClientOptions{Transport: w.http}
	const address = "https://kv-roles.vault.azure.net"
	certificates, err := azcertificates.NewClient(address, fixedToken(w.tokens[forVault]), &azcertificates.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := azsecrets.NewClient(address, fixedToken(w.tokens[forVault]), &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := azkeys.NewClient(address, fixedToken(w.tokens[forVault]), &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	forbidden := func(what string, err error) {
		t.Helper()
		var e *azcore.ResponseError
		if !errors.As(err, &e) || e.StatusCode != http.StatusForbidden || !strings.Contains(err.Error(), "ForbiddenByRbac") {
			t.Errorf("%s: %v", what, err)
		}
	}
	create := func() error {
		_, err := certificates.CreateCertificate(ctx, "web", azcertificates.CreateCertificateParameters{CertificatePolicy: &azcertificates.CertificatePolicy{
			IssuerParameters:          &azcertificates.IssuerParameters{Name: to.Ptr("Self")},
			KeyProperties:             &azcertificates.KeyProperties{KeyType: to.Ptr(azcertificates.KeyTypeEC), Curve: to.Ptr(azcertificates.CurveNameP256)},
			SecretProperties:          &azcertificates.SecretProperties{ContentType: to.Ptr("application/x-pem-file")},
			X509CertificateProperties: &azcertificates.X509CertificateProperties{Subject: to.Ptr("CN=web")},
		}}, nil)
		return err
	}
	forbidden("an owner", create())
	assign("a21a0000-0000-4000-8000-00000000000a", "a4417e6f-fecd-4de8-b567-7b0420556985") // Key Vault Certificates Officer
	if err := create(); err != nil {
		t.Fatal(err)
	}
	got, err := certificates.GetCertificate(ctx, "web", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = secrets.GetSecret(ctx, "web", "", nil)
	forbidden("the secret, as an officer of certificates", err)
	assign("a21a0000-0000-4000-8000-00000000000b", "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba") // Key Vault Certificate User
	secret, err := secrets.GetSecret(ctx, "web", got.SID.Version(), nil)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode([]byte(*secret.Value))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := pem.Decode(rest)
	cert, err := x509.ParseCertificate(leaf.Bytes)
	if err != nil || !private.(*ecdsa.PrivateKey).PublicKey.Equal(cert.PublicKey) || string(cert.Raw) != string(got.CER) {
		t.Errorf("the secret is of another certificate: %v", err)
	}
	digest := sha256.Sum256([]byte("text"))
	sign := azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}
	_, err = keys.Sign(ctx, "web", "", sign, nil)
	forbidden("the key, as a user of certificates", err)
	assign("a21a0000-0000-4000-8000-00000000000c", "12338af0-0e69-4776-bea7-57ae8d297424") // Key Vault Crypto User
	signed, err := keys.Sign(ctx, "web", got.KID.Version(), sign, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := len(signed.Result) / 2
	if !ecdsa.Verify(cert.PublicKey.(*ecdsa.PublicKey), digest[:], new(big.Int).SetBytes(signed.Result[:half]), new(big.Int).SetBytes(signed.Result[half:])) {
		t.Error("the key signs for another certificate")
	}
	// It is renewed when its time has come.
	e.run("clock", "advance", "7008h") // 80 % of a year
	w = e.wire()
	var now struct{ ID string }
	if err := w.vault(ctx, http.MethodGet, "kv-roles", "certificates/web", "", &now); err != nil || now.ID == string(*got.ID) {
		t.Errorf("not renewed: %s, %v", now.ID, err)
	}
}
