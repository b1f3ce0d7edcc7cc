package blob

import (
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

func TestWhatTheHolderOfASignatureMay(t *testing.T) {
	w := newWorld(t)
	w.seed()
	a := w.accounts["acct"]
	exp := w.clock.Now().Add(time.Hour)
	box := must[string](t)(storage.SignServiceSAS(a, storage.ServiceSAS{Container: "box", Permissions: "rl", Expiry: exp, HTTPSOnly: true}))
	file := must[string](t)(storage.SignServiceSAS(a, storage.ServiceSAS{Container: "box", Blob: "dir/file", Permissions: "rw", Expiry: exp}))
	all := must[string](t)(storage.SignAccountSAS(a, storage.AccountSAS{Services: "b", ResourceTypes: "co", Permissions: "rwl", Expiry: exp}))
	check := func(what, container, path, token string, write, list bool, code string) {
		t.Helper()
		err := w.svc.CheckSAS(t.Context(), "acct", container, path, token, write, list)
		if code == "" && err != nil || code != "" && !HasCode(err, code) {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	check("read and list a container", "box", "dir/", box, false, true, "")
	check("write with a signature to read", "box", "x", box, true, false, "AuthorizationPermissionMismatch")
	check("another container", "other", "x", box, false, false, "AuthenticationFailed")
	check("a blob", "box", "dir/file", "?"+file, true, false, "")
	check("list with a signature of a blob", "box", "dir/file", file, false, true, "AuthorizationFailure")
	check("of the account", "box", "x", all, true, true, "")
	check("none", "box", "x", "", false, false, "NoAuthenticationInformation")
	check("forged", "box", "x", box+"x", false, false, "AuthenticationFailed")
	w.clock.Advance(2 * time.Hour)
	check("too late", "box", "x", all, false, false, "AuthenticationFailed")

	if got := must[string](t)(w.svc.PublicAccess(t.Context(), "acct", "box")); got != "" {
		t.Errorf("public access is %q", got)
	}
	if _, err := w.svc.PublicAccess(t.Context(), "nobody", "box"); err == nil {
		t.Error("an account that is not there has a container")
	}
}
