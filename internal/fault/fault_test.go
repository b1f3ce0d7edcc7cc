package fault_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/fault"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

// plant is faults before a service that counts what it carries out.
type plant struct {
	t      *testing.T
	store  *sqlite.Store
	clock  *clock.Manual
	faults *fault.Faults
	url    string
	served atomic.Int32
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{t: t, store: st, clock: clock.NewManual(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))}
	p.open()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = r.Header.Get("For")
		p.faults.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			p.served.Add(1)
			io.WriteString(w, "done")
		})).ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.Close(); st.Close() })
	p.url = srv.URL
	return p
}

func (p *plant) open() {
	p.t.Helper()
	var err error
	if p.faults, err = fault.Open(p.t.Context(), p.store, p.clock, slog.New(slog.DiscardHandler)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) add(f fault.Fault) fault.Fault {
	p.t.Helper()
	out, err := p.faults.Add(p.t.Context(), f)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// do returns the status, 0 for a lost connection, and the body.
func (p *plant) do(method, host, path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("For", host)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const (
	arm     = "management.azure.com"
	blob    = "acct.blob.core.windows.net"
	account = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		method, target, reqMethod, host, path string
		want                                  bool
	}{
		{"PUT", "Microsoft.Storage/storageAccounts", "PUT", arm, account, true},
		{"put", "microsoft.storage/STORAGEACCOUNTS", "PUT", arm, account, true},
		{"PUT", "Microsoft.Storage/storageAccounts", "GET", arm, account, false},
		{"*", "Microsoft.Storage/storageAccounts", "GET", arm, "/subscriptions/s/providers/Microsoft.Storage/storageAccounts", true},
		{"*", "Microsoft.Storage/storageAccounts", "GET", arm, account + "/blobServices/default", false},
		{"*", "Microsoft.Storage/storageAccounts/blobServices", "GET", arm, account + "/blobServices/default", true},
		{"*", "Microsoft.Storage/storageAccounts/listKeys", "POST", arm, account + "/listKeys", true},
		{"*", "Microsoft.Authorization/roleAssignments", "PUT", arm, account + "/providers/Microsoft.Authorization/roleAssignments/x", true},
		{"*", "Microsoft.Resources/resourceGroups", "DELETE", arm, "/subscriptions/s/resourceGroups/g", true},
		{"*", "Microsoft.Resources/resourceGroups", "GET", arm, account, false},
		{"*", "Microsoft.Storage/storageAccounts", "PUT", blob, account, false},
		{"GET", "*.blob.core.windows.net", "GET", blob, "/c/b", true},
		{"GET", "*.blob.core.windows.net/models/*", "GET", blob, "/models/a/b", true},
		{"GET", "*.blob.core.windows.net/models/*", "GET", blob, "/data/a", false},
		{"GET", "acct.*/c/*.json", "GET", blob, "/c/x.json", true},
		{"GET", "other.blob.core.windows.net", "GET", blob, "/c/b", false},
		{"*", arm, "PUT", arm, account, true},
	} {
		p := newPlant(t)
		p.add(fault.Fault{Method: tc.method, Target: tc.target, Status: 503})
		if status, _ := p.do(tc.reqMethod, tc.host, tc.path); (status == 503) != tc.want {
			t.Errorf("%s %s for %s %s%s: %d", tc.method, tc.target, tc.reqMethod, tc.host, tc.path, status)
		}
	}
}

func TestStatus(t *testing.T) {
	p := newPlant(t)
	p.add(fault.Fault{Method: "*", Target: arm, Status: 429, Left: 2, RetryAfter: 3})
	for i, want := range []int{429, 429, 200} {
		status, body := p.do("GET", arm, account)
		if status != want || want == 429 && !strings.Contains(body, `"code":"TooManyRequests"`) {
			t.Errorf("request %d: %d %s", i, status, body)
		}
	}
	if left := p.faults.List(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	p.add(fault.Fault{Method: "*", Target: "*.blob.core.windows.net", Status: 503, Code: "A<B", RetryAfter: -1})
	if status, body := p.do("GET", blob, "/c/b"); status != 503 || !strings.Contains(body, "<Code>A&lt;B</Code>") {
		t.Errorf("of a blob: %d %s", status, body)
	}
}

func TestLost(t *testing.T) {
	for lost, served := range map[string]int{fault.LostBefore: 0, fault.LostAfter: 1} {
		p := newPlant(t)
		p.add(fault.Fault{Method: "PUT", Target: arm, Lost: lost, Left: 1})
		if status, _ := p.do("PUT", arm, account); status != 0 || int(p.served.Load()) != served {
			t.Errorf("lost %s: status %d, carried out %d times", lost, status, p.served.Load())
		}
		if status, _ := p.do("PUT", arm, account); status != 200 {
			t.Errorf("after it: %d", status)
		}
	}
}

func TestDelay(t *testing.T) {
	p := newPlant(t)
	p.add(fault.Fault{Method: "*", Target: arm, Delay: "30s"})
	done := make(chan int)
	go func() {
		status, _ := p.do("GET", arm, account)
		done <- status
	}()
	for waits := false; !waits; _, waits = p.clock.Next() {
		select {
		case status := <-done:
			t.Fatalf("it did not wait: %d", status)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		default:
		}
	}
	p.clock.Step(30 * time.Second)
	if status := <-done; status != 200 || p.served.Load() != 1 {
		t.Errorf("after the delay: %d", status)
	}
}

func TestKept(t *testing.T) {
	p := newPlant(t)
	one := p.add(fault.Fault{Method: "GET", Target: arm, Status: 500, Left: 3})
	p.clock.Step(time.Second)
	two := p.add(fault.Fault{Method: "GET", Target: arm, Delay: "1s"})
	p.do("GET", arm, account)
	p.open() // a restart
	all := p.faults.List()
	if len(all) != 2 || all[0].ID != one.ID || all[0].Left != 2 || all[1].ID != two.ID {
		t.Fatalf("after a restart: %+v", all)
	}
	if err := p.faults.Remove(t.Context(), "nope"); !errors.Is(err, fault.ErrNotFound) {
		t.Error(err)
	}
	if err := p.faults.Remove(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.faults.Remove(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	p.open()
	if all := p.faults.List(); len(all) != 0 {
		t.Errorf("removed: %+v", all)
	}
}

func TestRoleDelay(t *testing.T) {
	p := newPlant(t)
	if d := p.faults.RoleDelay(); d != 0 {
		t.Errorf("without one: %s", d)
	}
	p.add(fault.Fault{Method: "*", Target: fault.RoleAssignments, RoleDelay: "2m"})
	if d := p.faults.RoleDelay(); d != 2*time.Minute {
		t.Errorf("with one: %s", d)
	}
	if status, _ := p.do("PUT", arm, account+"/providers/Microsoft.Authorization/roleAssignments/x"); status != 200 {
		t.Errorf("a new assignment: %d", status)
	}
}

func TestInvalid(t *testing.T) {
	p := newPlant(t)
	for name, f := range map[string]fault.Fault{
		"method":        {Method: "FETCH", Target: arm, Status: 500},
		"target":        {Method: "*", Status: 500},
		"two words":     {Method: "*", Target: "a b", Status: 500},
		"a success":     {Method: "*", Target: arm, Status: 200},
		"nothing":       {Method: "*", Target: arm},
		"a delay":       {Method: "*", Target: arm, Delay: "soon"},
		"both":          {Method: "*", Target: arm, Status: 500, Lost: fault.LostAfter},
		"lost sometime": {Method: "*", Target: arm, Lost: "later"},
		"minus":         {Method: "*", Target: arm, Status: 500, Left: -1},
		"a role delay":  {Method: "*", Target: arm, RoleDelay: "1s"},
		"a code alone":  {Method: "*", Target: arm, Delay: "1s", Code: "X"},
	} {
		if _, err := p.faults.Add(context.Background(), f); !errors.Is(err, fault.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
