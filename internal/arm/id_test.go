package arm_test

import (
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

func TestParseID(t *testing.T) {
	const vault = "/subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V"
	for _, tc := range []struct{ in, out, typ, name, full, parent, group string }{
		{"/", "/", arm.TypeTenant, "", "", "/", ""},
		{"/subscriptions/S", "/subscriptions/S", arm.TypeSubscription, "S", "S", "/", ""},
		{"/SUBSCRIPTIONS/S/resourcegroups/G/", "/subscriptions/S/resourceGroups/G", arm.TypeResourceGroup, "G", "G", "/subscriptions/S", "/subscriptions/S/resourceGroups/G"},
		{vault, vault, "Microsoft.KeyVault/vaults", "V", "V", "/subscriptions/S/resourceGroups/G", "/subscriptions/S/resourceGroups/G"},
		{vault + "/secrets/x", vault + "/secrets/x", "Microsoft.KeyVault/vaults/secrets", "x", "V/x", vault, "/subscriptions/S/resourceGroups/G"},
		{
			vault + "/Providers/Microsoft.Authorization/roleAssignments/r", vault + "/providers/Microsoft.Authorization/roleAssignments/r",
			"Microsoft.Authorization/roleAssignments", "r", "r", vault, "/subscriptions/S/resourceGroups/G",
		},
		{"/providers/Microsoft.X/t/n", "/providers/Microsoft.X/t/n", "Microsoft.X/t", "n", "n", "/", ""},
	} {
		id, err := arm.ParseID(tc.in)
		if err != nil {
			t.Errorf("ParseID(%q): %v", tc.in, err)
			continue
		}
		group := ""
		if g, ok := id.Group(); ok {
			group = g.String()
		}
		if id.String() != tc.out || id.Type() != tc.typ || id.Name() != tc.name || id.FullName() != tc.full || id.Parent().String() != tc.parent || group != tc.group {
			t.Errorf("ParseID(%q) = %s, type %s, name %s, full %s, parent %s, group %s", tc.in, id, id.Type(), id.Name(), id.FullName(), id.Parent(), group)
		}
	}
	for _, bad := range []string{
		"", "x", "subscriptions/S", "/subscriptions", "/subscriptions/S/resourceGroups", "/subscriptions//x", "/subscriptions/S/x/y",
		"/providers/Microsoft.X", "/providers/Microsoft.X/t", vault + "/secrets", vault + "/providers/Microsoft.X", "/a/b/c", "/subscriptions/S\x00",
	} {
		if id, err := arm.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %s, want an error", bad, id)
		}
	}
}

func TestIDChild(t *testing.T) {
	group, err := arm.ParseID("/subscriptions/S/resourceGroups/G")
	if err != nil {
		t.Fatal(err)
	}
	vnet := group.Child("Microsoft.Network/virtualNetworks", "v")
	one, two := vnet.Child("subnets", "one"), vnet.Child("subnets", "two")
	if one.String() != vnet.String()+"/subnets/one" || two.String() != vnet.String()+"/subnets/two" {
		t.Errorf("children share memory: %s, %s", one, two)
	}
	var line []string
	for _, id := range one.Lineage() {
		line = append(line, id.String())
	}
	want := strings.Join([]string{one.String(), vnet.String(), group.String(), "/subscriptions/S", "/"}, " ")
	if got := strings.Join(line, " "); got != want {
		t.Errorf("lineage = %s", got)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("/")
	f.Add("/subscriptions/S/resourceGroups/G/providers/Microsoft.X/a/b/c/d/providers/Microsoft.Y/e/f")
	f.Add("/providers/x")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := arm.ParseID(s)
		if err != nil {
			return
		}
		again, err := arm.ParseID(id.String())
		if err != nil || again.String() != id.String() {
			t.Errorf("ParseID(%q) = %q, which parses as %q, %v", s, id, again, err)
		}
		if n := len(id.Lineage()); n < 1 || n > strings.Count(s, "/")+2 {
			t.Errorf("%q has a lineage of %d", s, n)
		}
	})
}
