package insights

import "testing"

func FuzzActivityFilter(f *testing.F) {
	f.Add("eventTimestamp ge 2026-11-23T10:00:00Z and eventTimestamp le '2026-11-23T12:00:00Z' and resourceGroupName eq 'it''s'")
	f.Add("caller eq 'me' and ")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := parseActivityFilter(text); (got == nil) == (err == nil) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	})
}
