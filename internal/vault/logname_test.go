package vault

import "testing"

func TestLogNames(t *testing.T) {
	got := map[string]string{}
	for _, o := range operations() {
		got[o.method+" "+o.path] = o.logName()
	}
	for op, want := range map[string]string{
		"GET secrets": "SecretList", "PUT secrets/{name}": "SecretSet", "GET secrets/{name}": "SecretGet", "GET secrets/{name}/{version}": "SecretGet",
		"PATCH secrets/{name}": "SecretUpdate", "DELETE secrets/{name}": "SecretDelete", "GET secrets/{name}/versions": "SecretListVersions",
		"POST secrets/{name}/backup": "SecretBackup", "POST secrets/restore": "SecretRestore", "GET deletedsecrets": "SecretListDeleted",
		"GET deletedsecrets/{name}": "SecretGetDeleted", "DELETE deletedsecrets/{name}": "SecretPurge", "POST deletedsecrets/{name}/recover": "SecretRecover",
		"POST keys/{name}/create": "KeyCreate", "PUT keys/{name}": "KeyImport", "POST keys/{name}/{version}/sign": "KeySign", "POST keys/{name}/wrapkey": "KeyWrap",
		"POST keys/{name}/unwrapkey": "KeyUnwrap", "POST certificates/{name}/create": "CertificateCreate", "GET certificates/{name}/pending": "CertificatePendingGet",
		"POST certificates/{name}/pending/merge": "CertificatePendingMerge", "GET certificates/{name}/policy": "CertificatePolicyGet",
		"GET certificates/issuers": "CertificateIssuersList", "PUT certificates/issuers/{issuer}": "CertificateIssuerSet", "PUT certificates/contacts": "CertificateContactsSet",
	} {
		if got[op] != want {
			t.Errorf("%s is %s, want %s", op, got[op], want)
		}
	}
}
