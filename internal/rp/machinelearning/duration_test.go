package machinelearning

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"PT15M": 15 * time.Minute, "PT120S": 2 * time.Minute, "P1DT2H": 26 * time.Hour, "PT0S": 0, "P1W": 7 * 24 * time.Hour, "PT0.5S": 500 * time.Millisecond,
		"": -1, "P": -1, "PT": -1, "15M": -1, "PT15": -1, "pt15m": -1, "P1M": -1, "P1Y": -1, "-PT1M": -1, "P9999W99999D": -1, "PT1H ": -1,
	} {
		got, err := parseDuration(in)
		if want < 0 {
			if err == nil {
				t.Errorf("parseDuration(%q) = %v, want an error", in, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("PT15M")
	f.Add("P1DT2H3M4.5S")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parseDuration(s); err == nil && d < 0 {
			t.Errorf("parseDuration(%q) = %v", s, d)
		}
	})
}
