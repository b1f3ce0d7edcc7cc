package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/rbac"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// bench opens a server and returns a function that makes one request as the
// owner, past the gateway.
func bench(b *testing.B) (s *Server, do func(method, path, body string) error) {
	s = open(b)
	token := s.token(b, s.owner.ObjectID, audienceManagement)
	return s, func(method, path, body string) error {
		r := httptest.NewRequest(method, "https://management.azure.com/subscriptions/"+s.kernel.Subscription()+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.kernel.ServeHTTP(w, r)
		if w.Code >= 300 {
			return fmt.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return nil
	}
}

// BenchmarkAuthenticate and BenchmarkAllowed are the parts of BenchmarkARM that say
// who asks and whether it may, beside 10,000 assignments of others.
func BenchmarkAuthenticate(b *testing.B) {
	s := open(b)
	r := httptest.NewRequest(http.MethodGet, "https://management.azure.com/subscriptions", nil)
	r.Header.Set("Authorization", "Bearer "+s.token(b, s.owner.ObjectID, audienceManagement))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.AuthenticateARM(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAllowed(b *testing.B) {
	s, do := bench(b)
	if err := do(http.MethodPut, "/resourceGroups/rg?api-version=2021-04-01", `{"location":"westeurope"}`); err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		var other *entra.Principal
		err := s.store.Update(b.Context(), func(tx store.Tx) (err error) {
			other, err = s.dir.CreateGroup(tx, fmt.Sprint("group ", i))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		body := fmt.Sprintf(`{"properties":{"principalId":%q,"principalType":"Group",
			"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/%s"}}`, other.ObjectID, rbac.OwnerRole)
		path := fmt.Sprintf("/resourceGroups/rg/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-%012d?api-version=2022-04-01", i)
		if err := do(http.MethodPut, path, body); err != nil {
			b.Fatal(err)
		}
	}
	scope := "/subscriptions/" + s.kernel.Subscription() + "/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st1"
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := s.roles.Allowed(b.Context(), s.owner.ObjectID, "Microsoft.Storage/storageAccounts/read", false, scope); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkARM is what a request costs the server itself, without the gateway,
// TLS and a client. Profile it with -cpuprofile.
func BenchmarkARM(b *testing.B) {
	const resources = 1000
	_, do := bench(b)
	path := func(i int) string {
		return fmt.Sprintf("/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-%05d?api-version=2023-01-31", i%resources)
	}
	if err := do(http.MethodPut, "/resourceGroups/rg?api-version=2021-04-01", `{"location":"westeurope"}`); err != nil {
		b.Fatal(err)
	}
	for i := range resources {
		if err := do(http.MethodPut, path(i), `{"location":"westeurope"}`); err != nil {
			b.Fatal(err)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8) // as many requests at once as a busy server has: writes share commits
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(n.Add(1))
					if err := do(method, path(i), fmt.Sprintf(`{"location":"westeurope","tags":{"n":"%d"}}`, i)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
