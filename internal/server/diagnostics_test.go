package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/diagnostic"
)

const loggedVault = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"

// BenchmarkLogged is what logging costs a request: next to nothing without a
// setting, and the same with one as with thousands.
func BenchmarkLogged(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := diagnostic.NoteOf(r.Context()); n != nil {
			n.Operation = "SecretGet"
		}
	})
	for name, n := range map[string]int{"none": 0, "one": 1, "thousands": 5000} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			var settings []diagnostic.Setting
			for i := range n {
				id := loggedVault + strings.Repeat("x", i%7) + string(rune('a'+i%26))
				settings = append(settings, diagnostic.Setting{Resource: id, Hosts: loggedHosts(id), Workspace: "/w", Categories: []string{"AuditEvent"}})
			}
			if n > 0 {
				settings[0].Resource, settings[0].Hosts = loggedVault, loggedHosts(loggedVault)
			}
			s.diagnostics.Load(settings)
			logged := s.logged(h, vaultLog)
			r := httptest.NewRequest(http.MethodGet, "https://kv.vault.azure.net/secrets/a?api-version=7.4", nil)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				logged.ServeHTTP(w, r)
			}
		})
	}
}

// TestLoggedHosts finds the data planes of what can be logged.
func TestLoggedHosts(t *testing.T) {
	const rg = "/subscriptions/s/resourceGroups/rg/providers/"
	for id, want := range map[string]string{
		loggedVault: "kv.vault.azure.net",
		rg + "Microsoft.ContainerRegistry/registries/CrOne":               "crone.azurecr.io",
		rg + "Microsoft.Storage/storageAccounts/st/queueServices/default": "st.queue.core.windows.net st-secondary.queue.core.windows.net",
		rg + "Microsoft.MachineLearningServices/workspaces/mlw":           "",
		"/subscriptions/s": "",
	} {
		if got := strings.Join(loggedHosts(id), " "); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
