package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// credential is a token of its own name.
type credential string

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(c), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// road leads requests for any vault to the test's server.
type road struct{ to *url.URL }

func (r road) Do(req *http.Request) (*http.Response, error) {
	led := req.Clone(req.Context())
	led.Host = req.URL.Host
	led.URL.Scheme, led.URL.Host = r.to.Scheme, r.to.Host
	resp, err := http.DefaultTransport.RoundTrip(led)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

func (p *plant) client(t *testing.T, name, who string) *azsecrets.Client {
	t.Helper()
	to, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := azsecrets.NewClient("https://"+name+".vault.azure.net", credential(who), &azsecrets.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: road{to}, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused checks that err is the service's answer with the status and code.
func refused(t *testing.T, what string, err error, status int, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("%s: %v, want %d %s", what, err, status, code)
	}
}

func ptr[T any](v T) *T { return &v }

// TestSecrets takes a secret through its life with Azure's own client.
func TestSecrets(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.client(t, "kv", "officer")
	_, err := c.GetSecret(ctx, "db", "", nil)
	refused(t, "get before set", err, 404, "SecretNotFound")

	first, err := c.SetSecret(ctx, "DB", azsecrets.SetSecretParameters{Value: ptr("one"), ContentType: ptr("text/plain"), Tags: map[string]*string{"a": ptr("b")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Step(time.Minute)
	second, err := c.SetSecret(ctx, "db", azsecrets.SetSecretParameters{Value: ptr(""), SecretAttributes: &azsecrets.SecretAttributes{Expires: ptr(p.clock.Now().Add(time.Hour))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.ID.Version() == second.ID.Version() || second.ID.Name() != "DB" {
		t.Errorf("ids %s and %s", *first.ID, *second.ID)
	}
	got, err := c.GetSecret(ctx, "Db", "", nil)
	if err != nil || *got.Value != "" || *got.ID != *second.ID || !got.Attributes.Expires.Equal(p.clock.Now().Add(time.Hour)) {
		t.Errorf("current = %+v, %v", got.Secret, err)
	}
	got, err = c.GetSecret(ctx, "db", first.ID.Version(), nil)
	if err != nil || *got.Value != "one" || *got.ContentType != "text/plain" || *got.Tags["a"] != "b" || !got.Attributes.Created.Equal(p.clock.Now().Add(-time.Minute)) {
		t.Errorf("first = %+v, %v", got.Secret, err)
	}
	if l := *got.Attributes.RecoveryLevel; l != "CustomizedRecoverable+Purgeable" || *got.Attributes.RecoverableDays != 7 {
		t.Errorf("recovery level %s, %d days", l, *got.Attributes.RecoverableDays)
	}
	_, err = c.GetSecret(ctx, "db", strings.Repeat("0", 32), nil)
	refused(t, "no such version", err, 404, "SecretNotFound")

	updated, err := c.UpdateSecretProperties(ctx, "db", first.ID.Version(), azsecrets.UpdateSecretPropertiesParameters{
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: ptr(false)}, Tags: map[string]*string{}}, nil)
	if err != nil || *updated.Attributes.Enabled || updated.Value != nil || len(updated.Tags) != 0 || *updated.ContentType != "text/plain" {
		t.Errorf("updated = %+v, %v", updated.Secret, err)
	}
	_, err = c.GetSecret(ctx, "db", first.ID.Version(), nil)
	refused(t, "get disabled", err, 403, "Forbidden")

	var versions []string
	for pager := c.NewListSecretPropertiesVersionsPager("db", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Value {
			versions = append(versions, s.ID.Version())
		}
	}
	if want := []string{first.ID.Version(), second.ID.Version()}; !slices.Equal(versions, slices.Sorted(slices.Values(want))) {
		t.Errorf("versions %v, want %v", versions, want)
	}

	backup, err := c.BackupSecret(ctx, "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(backup.Value), "one") {
		t.Error("the backup shows the value")
	}
	_, err = c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil)
	refused(t, "restore over what is there", err, 409, "Conflict")

	deleted, err := c.DeleteSecret(ctx, "db", nil)
	if err != nil || !deleted.ScheduledPurgeDate.Equal(p.clock.Now().AddDate(0, 0, 7)) || *deleted.RecoveryID != "https://kv.vault.azure.net/deletedsecrets/DB" {
		t.Errorf("deleted = %+v, %v", deleted.DeletedSecret, err)
	}
	_, err = c.GetSecret(ctx, "db", "", nil)
	refused(t, "get deleted", err, 404, "SecretNotFound")
	_, err = c.DeleteSecret(ctx, "db", nil)
	refused(t, "delete again", err, 404, "SecretNotFound")
	_, err = c.SetSecret(ctx, "db", azsecrets.SetSecretParameters{Value: ptr("two")}, nil)
	refused(t, "set deleted", err, 409, "Conflict")
	_, err = c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil)
	refused(t, "restore over what can be recovered", err, 409, "Conflict")
	if _, err := c.GetDeletedSecret(ctx, "db", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.RecoverDeletedSecret(ctx, "db", nil); err != nil {
		t.Error(err)
	}
	if got, err := c.GetSecret(ctx, "db", "", nil); err != nil || *got.ID != *second.ID {
		t.Errorf("recovered = %+v, %v", got.Secret, err)
	}
	if _, err := c.DeleteSecret(ctx, "db", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.PurgeDeletedSecret(ctx, "db", nil); err != nil {
		t.Error(err)
	}
	_, err = c.PurgeDeletedSecret(ctx, "db", nil)
	refused(t, "purge again", err, 404, "SecretNotFound")
	if _, err := c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetSecret(ctx, "db", "", nil); err != nil || *got.ID != *second.ID {
		t.Errorf("restored = %+v, %v", got.Secret, err)
	}
	_, err = c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: []byte("nonsense")}, nil)
	refused(t, "restore nonsense", err, 400, "BadParameter")
}

func TestSecretsArePaged(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.client(t, "kv", "officer")
	var want []string
	for i := range 60 {
		name := fmt.Sprintf("s%02d", i)
		want = append(want, name)
		if _, err := c.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages := 0
	for pager := c.NewListSecretPropertiesPager(nil); pager.More(); pages++ {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Value {
			got = append(got, s.ID.Name())
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages: %v", pages, got)
	}
	for _, name := range want[:30] {
		if _, err := c.DeleteSecret(ctx, name, nil); err != nil {
			t.Fatal(err)
		}
	}
	got = nil
	for pager := c.NewListDeletedSecretPropertiesPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Value {
			got = append(got, s.ID.Name())
		}
	}
	if !slices.Equal(got, want[:30]) {
		t.Errorf("deleted: %v", got)
	}
	// When their retention is over they are gone, and the names free.
	p.clock.Step(7 * 24 * time.Hour)
	page, err := c.NewListDeletedSecretPropertiesPager(nil).NextPage(ctx)
	if err != nil || len(page.Value) != 0 {
		t.Errorf("after the retention: %d, %v", len(page.Value), err)
	}
	_, err = c.RecoverDeletedSecret(ctx, "s00", nil)
	refused(t, "recover after the retention", err, 404, "SecretNotFound")
	if _, err := c.SetSecret(ctx, "s00", azsecrets.SetSecretParameters{Value: ptr("new")}, nil); err != nil {
		t.Error(err)
	}
	versions, err := c.NewListSecretPropertiesVersionsPager("s00", nil).NextPage(ctx)
	if err != nil || len(versions.Value) != 1 {
		t.Errorf("versions of the new secret: %d, %v", len(versions.Value), err)
	}
}

func TestSecretsAreRefused(t *testing.T) {
	p := start(t)
	const v = "?api-version=7.4"
	p.do(t, "kv", "officer", "PUT", "/secrets/mine"+v, `{"value":"hidden"}`)
	p.do(t, "kept", "officer", "PUT", "/secrets/mine"+v, `{"value":"hidden"}`)
	p.do(t, "kept", "officer", "DELETE", "/secrets/mine"+v, "")
	for _, tc := range []struct {
		host, token, method, path, body string
		status                          int
		code, inner                     string
	}{
		{"kv", "", "GET", "/secrets/mine" + v, "", 401, "Unauthorized", ""},
		{"kv", "nobody", "GET", "/secrets/mine" + v, "", 403, "Forbidden", "ForbiddenByRbac"},
		{"kv", "reader", "GET", "/secrets/mine" + v, "", 403, "Forbidden", "ForbiddenByRbac"},
		{"old", "officer", "GET", "/secrets/mine" + v, "", 403, "Forbidden", "ForbiddenByPolicy"},
		{"old", "reader", "GET", "/secrets/mine" + v, "", 404, "SecretNotFound", ""},
		{"old", "member", "GET", "/secrets/mine" + v, "", 404, "SecretNotFound", ""}, // of a group with a policy
		{"closed", "officer", "GET", "/secrets/mine" + v, "", 403, "Forbidden", "ForbiddenByConnection"},
		{"kept", "officer", "DELETE", "/deletedsecrets/mine" + v, "", 403, "Forbidden", ""},
		{"kv", "officer", "PUT", "/secrets/not_a_name" + v, `{"value":"x"}`, 400, "BadParameter", ""},
		{"kv", "officer", "PUT", "/secrets/" + strings.Repeat("a", 128) + v, `{"value":"x"}`, 400, "BadParameter", ""},
		{"kv", "officer", "PUT", "/secrets/mine" + v, `{}`, 400, "BadParameter", ""},
		{"kv", "officer", "PUT", "/secrets/mine" + v, `{"value":5}`, 400, "BadParameter", ""},
		{"kv", "officer", "PUT", "/secrets/mine" + v, `{"value":"x","attributes":{"nbf":20,"exp":10}}`, 400, "BadParameter", ""},
		{"kv", "officer", "PUT", "/secrets/mine" + v, `{"value":"` + strings.Repeat("x", 25*1024+1) + `"}`, 400, "BadParameter", ""},
		{"kv", "officer", "PATCH", "/secrets/mine" + v, `{"value":"x"}`, 400, "BadParameter", ""},
		{"kv", "officer", "PATCH", "/secrets/mine" + v, `{"contentType":"` + strings.Repeat("x", 256) + `"}`, 400, "BadParameter", ""},
		{"kv", "officer", "GET", "/secrets" + v + "&maxresults=26", "", 400, "BadParameter", ""},
		{"kv", "officer", "GET", "/secrets" + v + "&$skiptoken=*", "", 400, "BadParameter", ""},
		{"kv", "officer", "POST", "/secrets/mine" + v, "", 405, "MethodNotAllowed", ""},
		{"kv", "officer", "GET", "/secrets/mine", "", 400, "BadParameter", ""},
	} {
		resp, body := p.do(t, tc.host, tc.token, tc.method, tc.path, tc.body)
		var e struct {
			Error struct {
				Code       string
				InnerError struct{ Code string }
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%v: %v in %s", tc, err, body)
		}
		if resp.StatusCode != tc.status || e.Error.Code != tc.code || e.Error.InnerError.Code != tc.inner {
			t.Errorf("%s %s %.60s as %q = %d %s, want %d %s %s", tc.method, tc.host, tc.path, tc.token, resp.StatusCode, body, tc.status, tc.code, tc.inner)
		}
		if strings.Contains(body, "hidden") {
			t.Errorf("the answer tells the secret: %s", body)
		}
	}
}

// TestSecretsAtRest: neither values nor backups are in the store as they are, and
// nothing is left of a vault that is gone.
func TestSecretsAtRest(t *testing.T) {
	p := start(t)
	p.do(t, "kv", "officer", "PUT", "/secrets/mine?api-version=7.4", `{"value":"hidden-value"}`)
	p.do(t, "kv", "officer", "PUT", "/secrets/gone?api-version=7.4", `{"value":"hidden-value"}`)
	p.do(t, "kv", "officer", "DELETE", "/secrets/gone?api-version=7.4", "")
	count := func() (n int) {
		err := p.store.View(t.Context(), func(tx store.Tx) error {
			for _, bucket := range []string{"vault.objects", "vault.deleted", "vault.versions"} {
				for e, err := range tx.Scan(bucket, store.Range{}) {
					if err != nil {
						return err
					}
					if strings.Contains(string(e.Value), "hidden") {
						t.Errorf("%s shows the value", e.Key)
					}
					n++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
	if err := p.store.Update(t.Context(), func(tx store.Tx) error { return p.DeleteVault(tx, "1") }); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d records are left of the vault", n)
	}
}
