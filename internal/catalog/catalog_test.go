package catalog

import (
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := c.VMSize("standard_nc6S_V3")
	if !ok || s.GPUs != 1 || s.VCPUs != 6 || !s.Retired(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("NC6s_v3 = %+v, %v", s, ok)
	}
	if s, _ := c.VMSize("Standard_D4s_v3"); s.Retired(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) || s.MemoryGiB != 16 {
		t.Errorf("D4s_v3 = %+v", s)
	}
	seen := map[string]bool{}
	for _, r := range c.Roles() {
		if seen[r.Name] || r.RoleName == "" || len(r.Permissions) == 0 {
			t.Errorf("role %q %s: repeated or empty", r.RoleName, r.Name)
		}
		seen[r.Name] = true
	}
	if len(seen) != 51 {
		t.Errorf("%d roles, want 51", len(seen))
	}
}
