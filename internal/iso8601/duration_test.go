package iso8601_test

import (
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/iso8601"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"PT15M": 15 * time.Minute, "PT0S": 0, "P1D": 24 * time.Hour, "P1W": 7 * 24 * time.Hour, "PT1H30M": 90 * time.Minute,
		"P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond, "PT3600S": time.Hour, "P21D": 21 * 24 * time.Hour,
	} {
		if got, err := iso8601.Duration(s); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "P", "PT", "P1DT", "15m", "15", "PT15", "PTM", "T15M", "P1Y", "P1M", "-PT1M", "+PT1M", "PT-1M", "PT1M ", " PT1M",
		"pt1m", "P1D2H", "PT1H1D", "PT999999999999999H", "PT1M1M", "PT1S1H",
	} {
		if got, err := iso8601.Duration(s); err == nil {
			t.Errorf("Duration(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"PT15M", "P1W", "PT1.5S", "P1Y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := iso8601.Duration(s); err == nil && d < 0 {
			t.Errorf("Duration(%q) = %v", s, d)
		}
	})
}
