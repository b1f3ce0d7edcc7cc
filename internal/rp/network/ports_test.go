package network

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// FuzzPorts holds port ranges to what they say: numbers of 0 to 65535 in order.
func FuzzPorts(f *testing.F) {
	for _, s := range []string{"*", "80", "0-65535", "80-79", "80,443", "-1", "65536", "+80", "1-2-3", " 80", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !validPorts(s) || s == "*" {
			return
		}
		last := -1
		for part := range strings.SplitSeq(s, "-") {
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n > 65535 || n < last || strings.HasPrefix(part, "+") {
				t.Errorf("%q is taken for ports", s)
			}
			last = n
		}
	})
}

func TestHostAddresses(t *testing.T) {
	for _, tc := range []struct {
		prefix string
		n      int
		want   string
	}{
		{"10.0.0.0/8", 256, "10.0.1.0"}, {"10.0.0.0/24", 4, "10.0.0.4"}, {"10.0.255.0/16", 65535, "10.0.255.255"}, {"2001:db8::/112", 1, "2001:db8::1"},
	} {
		if got := hostAddress(netip.MustParsePrefix(tc.prefix), tc.n).String(); got != tc.want {
			t.Errorf("address %d of %s is %s, want %s", tc.n, tc.prefix, got, tc.want)
		}
	}
	n := netip.MustParsePrefix("10.0.0.0/29")
	free := 0
	for a := n.Addr(); n.Contains(a); a = a.Next() {
		if !reserved(n, a) {
			free++
		}
	}
	if free != 3 {
		t.Errorf("%d addresses of a /29 are free, want 3", free)
	}
}
