package diagnostic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	vault     = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"
	workspace = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log"
	account   = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st"
)

// sinks keeps what it is given.
type sinks struct {
	mu    sync.Mutex
	rows  map[string][]Row
	blobs map[string]string
	err   error
}

func (s *sinks) ToWorkspace(_ context.Context, workspace string, rows []Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[workspace] = append(s.rows[workspace], rows...)
	return s.err
}

func (s *sinks) ToAccount(_ context.Context, account, container, blob string, lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[account+"|"+container+"|"+blob] += string(lines)
	return s.err
}

type entry int

func (e entry) Document() map[string]any { return map[string]any{"n": int(e)} }
func (e entry) Row(dedicated bool) (string, map[string]any) {
	return fmt.Sprint("T", dedicated), map[string]any{"n": int64(e)}
}

func newRouter() (*Router, *sinks) {
	s := &sinks{rows: map[string][]Row{}, blobs: map[string]string{}}
	return New(s, slog.New(slog.DiscardHandler)), s
}

func TestRouter(t *testing.T) {
	r, s := newRouter()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	if r.ResourceAt("kv.vault.azure.net") != "" || r.Wants(vault, "AuditEvent") {
		t.Error("a router without settings wants something")
	}
	r.Emit(Event{Resource: vault, Category: "AuditEvent", At: at, Entry: entry(0)})
	r.Load([]Setting{
		{Resource: vault, Hosts: []string{"kv.vault.azure.net"}, Workspace: workspace, Account: account, Categories: []string{"AuditEvent"}},
		{Resource: strings.ToLower(vault), Workspace: workspace + "2", Dedicated: true, Categories: []string{"AuditEvent", "Other"}},
		{Resource: "/subscriptions/s", Account: account, Categories: []string{"Administrative"}},
	})
	if got := r.ResourceAt("KV.vault.azure.net:443"); got != vault {
		t.Errorf("resource %q", got)
	}
	r.Emit(Event{Resource: vault, Category: "AuditEvent", At: at, Entry: entry(1)})
	r.Emit(Event{Resource: strings.ToUpper(vault), Category: "AuditEvent", At: at, Entry: entry(2), Except: strings.ToUpper(workspace)})
	r.Emit(Event{Resource: vault, Category: "Other", At: at, Entry: entry(3)})
	r.Emit(Event{Resource: vault, Category: "Nobody", At: at, Entry: entry(4)})
	r.Emit(Event{Resource: "/subscriptions/s", Category: "Administrative", At: at, Entry: entry(5)})
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.rows[workspace]; len(got) != 1 || got[0].Table != "Tfalse" || got[0].Columns["n"] != int64(1) || got[0].Resource != vault || !got[0].At.Equal(at) {
		t.Errorf("rows %v", got)
	}
	if got := s.rows[workspace+"2"]; len(got) != 3 || got[2].Table != "Ttrue" {
		t.Errorf("rows of the other: %v", got)
	}
	const hour = "/y=2026/m=03/d=04/h=05/m=00/PT1H.json"
	lines := strings.Split(strings.TrimSpace(s.blobs[account+"|insights-logs-auditevent|resourceId="+strings.ToUpper(vault)+hour]), "\n")
	if len(lines) != 2 {
		t.Fatalf("blobs %v", s.blobs)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &doc); err != nil || doc["n"] != 1.0 || doc["category"] != "AuditEvent" || doc["time"] != "2026-03-04T05:06:07.0000000Z" || doc["resourceId"] != strings.ToUpper(vault) {
		t.Errorf("line %s, %v", lines[0], err)
	}
	if s.blobs[account+"|insights-activity-logs|resourceId=/SUBSCRIPTIONS/S"+hour] == "" {
		t.Errorf("the activity log: %v", s.blobs)
	}
}

// TestRouterRuns writes by itself, and what waits when it ends.
func TestRouterRuns(t *testing.T) {
	r, s := newRouter()
	r.Load([]Setting{{Resource: vault, Workspace: workspace, Categories: []string{"AuditEvent"}}})
	r.Start()
	for i := range 100 {
		r.Emit(Event{Resource: vault, Category: "AuditEvent", Entry: entry(i)})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(s.rows[workspace]) != 100 {
		t.Errorf("%d rows", len(s.rows[workspace]))
	}
}

// TestRouterBounds keeps no more than it may, and gives up what is not taken.
func TestRouterBounds(t *testing.T) {
	r, s := newRouter()
	r.Load([]Setting{{Resource: vault, Workspace: workspace, Categories: []string{"AuditEvent"}}})
	for i := range maxQueue + 10 {
		r.Emit(Event{Resource: vault, Category: "AuditEvent", Entry: entry(i)})
	}
	s.err = errors.New("no")
	if err := r.Flush(t.Context()); err == nil {
		t.Error("no error")
	}
	s.err = fmt.Errorf("no workspace: %w", ErrGone)
	r.Emit(Event{Resource: vault, Category: "AuditEvent", Entry: entry(1)})
	if err := r.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if len(s.rows[workspace]) != maxQueue+1 {
		t.Errorf("%d rows", len(s.rows[workspace]))
	}
}

func BenchmarkNoSetting(b *testing.B) {
	r, _ := newRouter()
	for b.Loop() {
		if r.ResourceAt("st.blob.core.windows.net") != "" {
			b.Fatal("a setting")
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	r, _ := newRouter()
	var all []Setting
	for i := range 10_000 {
		all = append(all, Setting{Resource: fmt.Sprint(vault, i), Hosts: []string{fmt.Sprintf("kv%d.vault.azure.net", i)}, Workspace: workspace, Categories: []string{"AuditEvent"}})
	}
	r.Load(all)
	for b.Loop() {
		if id := r.ResourceAt("kv77.vault.azure.net"); id != "" {
			r.Emit(Event{Resource: id, Category: "AuditEvent", Entry: entry(1)})
		}
		if len(r.queue) == maxQueue {
			r.queue = r.queue[:0]
		}
	}
}
