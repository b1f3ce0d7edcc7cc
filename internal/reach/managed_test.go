package reach

import (
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// TestApproves checks which calls the rules of a managed network name.
func TestApproves(t *testing.T) {
	for _, tc := range []struct {
		destination string
		host        string
		port        int
		want        bool
	}{
		{"pypi.org", "pypi.org", 443, true},
		{"PyPI.org", "pypi.org", 80, true},
		{"pypi.org", "pypi.org", 22, false},
		{"pypi.org", "files.pypi.org", 443, false},
		{"*.pypi.org", "files.pypi.org", 443, true},
		{"*.pypi.org", "pypi.org", 443, false},
		{"*.pypi.org", "notpypi.org", 443, false},
		{"pytorch.org, *.pytorch.org", "pytorch.org", 443, true},
		{"pytorch.org, *.pytorch.org", "download.pytorch.org", 443, true},
		{"pytorch.org, *.pytorch.org", "pypi.org", 443, false},
	} {
		d := &decision{dst: &target{host: tc.host, port: tc.port}}
		r := outboundRule{kind: "fqdn", body: arm.Doc{"type": "FQDN", "destination": tc.destination}}
		if got := d.approves(r); got != tc.want {
			t.Errorf("%q and %s:%d: %v, want %v", tc.destination, tc.host, tc.port, got, tc.want)
		}
	}
}
