package terraform

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseDevOverrides(t *testing.T) {
	tests := map[string]string{
		"": "",
		"provider_installation {\n  dev_overrides {\n    \"hashicorp/azurerm\" = \"/bin/a\"\n    \"registry.opentofu.org/Acme/thing\" = \"C:\\\\x\"\n  }\n  direct {}\n}": "acme/thing hashicorp/azurerm",
		"provider_installation {\n  filesystem_mirror {\n    path = \"/m\"\n    include = [\"hashicorp/*\"]\n  }\n}":                                                      "",
		"provider_installation { dev_overrides = { \"hashicorp/random\" = \"/r\" } }\ncredentials \"x\" { \"y\" = \"z\" }":                                                "hashicorp/random",
		"plugin_cache_dir = \"$HOME/x\"\nnot { closed = \"":                                                                                                               "",
	}
	for text, want := range tests {
		got := strings.Join(slices.Sorted(maps.Keys(parseDevOverrides([]byte(text)))), " ")
		if got != want {
			t.Errorf("%s\n gave %q, want %q", text, got, want)
		}
	}
}

// TestOverriddenProvidersNeedNoInit checks that init, which would ask the
// registry, is not run for a provider that the user has built.
func TestOverriddenProvidersNeedNoInit(t *testing.T) {
	r, _ := testRunner(t, "", map[string]string{"main.tf": "terraform {\n  required_providers {\n    thing = { source = \"acme/thing\" }\n  }\n}\n"})
	rc := filepath.Join(t.TempDir(), "rc")
	text := "provider_installation {\n  dev_overrides {\n    \"acme/thing\" = \"" + filepath.ToSlash(t.TempDir()) + "\"\n  }\n  direct {}\n}\n"
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Env = append(r.Env, "TF_CLI_CONFIG_FILE="+rc)
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Stack.Root, "init.sha256")); err == nil {
		t.Error("init ran")
	}
}
