package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
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
