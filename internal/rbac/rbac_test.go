package rbac

import (
	"testing"

	"github.com/azimuth-ml/azimuth/internal/catalog"
)

func TestMatch(t *testing.T) {
	cases := []struct {
		pattern, action string
		want            bool
	}{
		{"*", "Microsoft.Storage/storageAccounts/write", true},
		{"*/read", "Microsoft.Storage/storageAccounts/read", true},
		{"*/read", "Microsoft.Storage/storageAccounts/write", false},
		{"Microsoft.Storage/*", "microsoft.storage/storageAccounts/listKeys/action", true},
		{"Microsoft.Authorization/*/Write", "Microsoft.Authorization/roleAssignments/write", true},
		{"Microsoft.Authorization/*/Write", "Microsoft.Authorization/write", false},
		{"Microsoft.Storage/storageAccounts/read", "Microsoft.Storage/storageAccounts/read/x", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "abc", true},
		{"a*bc*c", "abc", false},
		{"", "", true},
		{"", "x", false},
	}
	for _, c := range cases {
		if got := Match(c.pattern, c.action); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.action, got)
		}
	}
}

func TestBuiltInRolesGrantWhatTheyShould(t *testing.T) {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	a := New(nil, nil, cat, nil)
	role := func(name string) *Definition {
		for _, d := range a.BuiltIn() {
			if d.RoleName == name {
				return d
			}
		}
		t.Fatalf("no role %q", name)
		return nil
	}
	const blobRead = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
	cases := []struct {
		role, action string
		data, want   bool
	}{
		{"Owner", "Microsoft.Authorization/roleAssignments/write", false, true},
		{"Owner", blobRead, true, false}, // Owner holds no data actions
		{"Contributor", "Microsoft.Authorization/roleAssignments/write", false, false},
		{"Contributor", "Microsoft.Storage/storageAccounts/listKeys/action", false, true},
		{"Reader", "Microsoft.Storage/storageAccounts/read", false, true},
		{"Reader", "Microsoft.Storage/storageAccounts/listKeys/action", false, false},
		{"Storage Blob Data Reader", blobRead, true, true},
		{"Storage Blob Data Reader", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write", true, false},
		{"Storage Blob Data Contributor", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write", true, true},
		{"AcrPull", "Microsoft.ContainerRegistry/registries/pull/read", false, true},
		{"AcrPull", "Microsoft.ContainerRegistry/registries/push/write", false, false},
	}
	for _, c := range cases {
		if got := role(c.role).Grants(c.action, c.data); got != c.want {
			t.Errorf("%s grants %s (data %v) = %v, want %v", c.role, c.action, c.data, got, c.want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("Microsoft.*/read", "Microsoft.Storage/read")
	f.Fuzz(func(t *testing.T, pattern, action string) {
		if Match(pattern, action) && !Match("*", action) {
			t.Error("something matches what * does not")
		}
		if !Match(action+"*", action) && len(action) < 100 {
			for _, r := range action {
				if r == '*' {
					return
				}
			}
			t.Errorf("%q does not match its own prefix", action)
		}
	})
}
