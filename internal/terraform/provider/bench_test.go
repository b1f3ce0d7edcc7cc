package provider

import (
	"net/http"
	"testing"
)

// BenchmarkStart is what `azimuth up` waits for before terraform can run.
func BenchmarkStart(b *testing.B) {
	cfg := Config{Major: 4, HTTPClient: http.DefaultClient, Token: (*fakeAzure)(nil).token, SubscriptionID: testSubscription, TenantID: testTenant}
	for b.Loop() {
		p, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		s, err := p.Serve(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.newServer().GetProviderSchema(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
