package terraform

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeFiles writes a txtar-like map of files below dir.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, dir string) *Config {
	t.Helper()
	c, err := LoadConfig(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAzurermMajor(t *testing.T) {
	versioned := func(v string) string {
		return "terraform {\n  required_providers {\n    azurerm = {\n      source  = \"hashicorp/azurerm\"\n      version = \"" + v + "\"\n    }\n  }\n}\n"
	}
	tests := []struct {
		name  string
		files map[string]string
		want  int
		// fault is the place named by the error, where one is wanted.
		fault string
	}{
		{"nothing said", map[string]string{"main.tf": `resource "azurerm_resource_group" "a" {}`}, 5, ""},
		{"no version", map[string]string{"main.tf": `terraform { 
  required_providers { 
    azurerm = { source = "hashicorp/azurerm" } 
  } 
}`}, 5, ""},
		{"pessimistic minor", map[string]string{"main.tf": versioned("~> 3.80")}, 3, ""},
		{"pessimistic patch", map[string]string{"main.tf": versioned("~> 4.10.0")}, 4, ""},
		{"pessimistic major", map[string]string{"main.tf": versioned("~> 4")}, 5, ""},
		{"at least", map[string]string{"main.tf": versioned(">= 3.0")}, 5, ""},
		{"range", map[string]string{"main.tf": versioned(">= 3.0, < 5.0")}, 4, ""},
		{"below an exact one", map[string]string{"main.tf": versioned("< 4.0.0")}, 3, ""},
		{"exact", map[string]string{"main.tf": versioned("3.80.0")}, 3, ""},
		{"exact with sign", map[string]string{"main.tf": versioned("= 4.1.0")}, 4, ""},
		{"narrow range", map[string]string{"main.tf": versioned("> 4.20.0, < 4.20.3")}, 4, ""},
		{"not one release", map[string]string{"main.tf": versioned(">= 5.2.0, != 5.2.0")}, 5, ""},
		{"newer than is known", map[string]string{"main.tf": versioned(">= 5.90.0")}, 5, ""},
		{"registry host", map[string]string{"main.tf": strings.Replace(versioned("~> 3.1"), "hashicorp/", "registry.terraform.io/hashicorp/", 1)}, 3, ""},
		{"old string form", map[string]string{"main.tf": "terraform {\n required_providers {\n azurerm = \"~> 3.2\"\n}\n}"}, 3, ""},
		{"provider block", map[string]string{"main.tf": "provider \"azurerm\" {\n  version = \"~> 4.1\"\n  features {}\n}"}, 4, ""},
		{"json", map[string]string{"main.tf.json": `{"terraform":{"required_providers":{"azurerm":{"source":"hashicorp/azurerm","version":"~> 3.5"}}}}`}, 3, ""},
		{"another azurerm", map[string]string{"main.tf": strings.Replace(versioned("~> 1.0"), "hashicorp/azurerm", "acme/azurerm", 1)}, 5, ""},
		{"module narrows", map[string]string{
			"main.tf":       versioned(">= 3.0") + "module \"x\" {\n  source = \"./m\"\n}\n",
			"m/versions.tf": versioned("< 5.0"),
		}, 4, ""},
		{"aliases", map[string]string{"main.tf": "terraform {\n  required_providers {\n    azurerm = {\n      source = \"hashicorp/azurerm\"\n      version = \"~> 3.0\"\n      configuration_aliases = [azurerm.hub]\n    }\n  }\n}"}, 3, ""},

		{"too old", map[string]string{"main.tf": versioned("~> 2.99")}, 0, "main.tf:5"},
		{"too new", map[string]string{"main.tf": versioned(">= 6")}, 0, "main.tf:5"},
		{"not a constraint", map[string]string{"main.tf": versioned("newest")}, 0, "main.tf:5"},
		{"modules at odds", map[string]string{
			"main.tf":   versioned("~> 3.0") + "module \"x\" {\n  source = \"./m\"\n}\n",
			"m/main.tf": versioned("~> 4.0"),
		}, 0, "main.tf:5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, tt.files)
			got, err := load(t, dir).AzurermMajor()
			if tt.fault == "" {
				if err != nil || got != tt.want {
					t.Fatalf("got %d, %v; want %d", got, err, tt.want)
				}
				return
			}
			var fault *ConfigError
			if !errors.As(err, &fault) {
				t.Fatalf("got %d, %v; want a *ConfigError", got, err)
			}
			if want := filepath.Join(dir, tt.fault); fault.Pos.String() != want {
				t.Errorf("at %s, want %s", fault.Pos, want)
			}
			if tt.name == "modules at odds" && !strings.Contains(err.Error(), filepath.Join("m", "main.tf")+":5") {
				t.Errorf("error does not name the module's constraint: %v", err)
			}
		})
	}
}

func TestProviders(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"main.tf": `
terraform {
  required_providers {
    ml = { source = "registry.opentofu.org/hashicorp/azurerm" }
    corp = { source = "registry.example.com/acme/thing" }
  }
}
resource "terraform_data" "a" {}
resource "random_id" "a" {}
resource "machine" "a" { provider = ml.west }
data "http" "a" {}
ephemeral "tls_key" "a" {}
provider "azuread" {}
module "deep" { source = "./deep" }
module "remote" { source = "Azure/naming/azurerm" }
`,
		"deep/main.tf":     `resource "null_resource" "a" {}`,
		"ignored.tf.bak":   `resource "bad_thing" "a" {}`,
		".hidden.tf":       `resource "bad_thing" "b" {}`,
		"later.tofu":       `resource "only_tofu" "a" {}`,
		"sub/unreached.tf": `resource "bad_thing" "c" {}`,
	})
	want := []string{
		"hashicorp/azuread", "hashicorp/azurerm", "hashicorp/http", "hashicorp/null",
		"hashicorp/random", "hashicorp/tls", "registry.example.com/acme/thing",
	}
	if got := load(t, dir).Providers(); !slices.Equal(got, want) {
		t.Errorf("providers %q, want %q", got, want)
	}
	c, err := LoadConfig(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.Providers(), "hashicorp/only") {
		t.Errorf("a .tofu file was not read: %q", c.Providers())
	}
}

func TestPosition(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"main.tf": `resource "azurerm_resource_group" "ml" {
  name = "a"
}

module "net" {
  source   = "../shared/net"
  for_each = toset(["a"])
}

resource "azurerm_machine_learning_compute_cluster" "cpu" {
  name = "cpu"
  scale_settings {
    min_node_count = 0
  }
}
data "azurerm_client_config" "current" {}
variable "v" {}
output "o" { value = 1 }
`,
		"extra.tf.json": "{\n  \"resource\": {\n    \"azurerm_subnet\": {\n      \"j\": {\n        \"name\": \"x\"\n      }\n    }\n  }\n}\n",
	})
	shared := filepath.Join(filepath.Dir(dir), "shared", "net")
	writeFiles(t, shared, map[string]string{
		"net.tf":        "\nresource \"azurerm_subnet\" \"s\" {\n  name = \"s\"\n}\nmodule \"inner\" { source = \"./inner\" }\n",
		"inner/main.tf": "resource \"azurerm_x\" \"deep\" {}\n",
	})
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(shared)) })

	c := load(t, dir)
	tests := []struct{ address, attribute, want string }{
		{"azurerm_resource_group.ml", "", "main.tf:1"},
		{"azurerm_resource_group.ml[0]", "name", "main.tf:2"},
		{`azurerm_resource_group.ml["a.b]"]`, "", "main.tf:1"},
		{"azurerm_machine_learning_compute_cluster.cpu", "scale_settings.min_node_count", "main.tf:13"},
		{"azurerm_machine_learning_compute_cluster.cpu", "scale_settings", "main.tf:12"},
		{"azurerm_machine_learning_compute_cluster.cpu", "scale_settings.max_node_count", "main.tf:12"},
		{"azurerm_machine_learning_compute_cluster.cpu", "identity.type", "main.tf:10"},
		{"data.azurerm_client_config.current", "", "main.tf:16"},
		{"module.net", "", "main.tf:5"},
		{"var.v", "", "main.tf:17"},
		{"output.o", "", "main.tf:18"},
		{`module.net["a"].azurerm_subnet.s`, "name", "../shared/net/net.tf:3"},
		{`module.net["a"].module.inner.azurerm_x.deep`, "", "../shared/net/inner/main.tf:1"},
		{"azurerm_subnet.j", "name", "extra.tf.json:5"},
		{"azurerm_nothing.x", "", ""},
		{"module.other.azurerm_subnet.s", "", ""},
	}
	for _, tt := range tests {
		pos, ok := c.Position(tt.address)
		if tt.attribute != "" {
			pos, ok = c.AttributePosition(tt.address, tt.attribute)
		}
		got := ""
		if ok {
			got = pos.String()
		}
		want := tt.want
		if want != "" {
			want = filepath.Join(dir, filepath.FromSlash(want))
		}
		if got != want {
			t.Errorf("%s %s: %q, want %q", tt.address, tt.attribute, got, want)
		}
	}
}

func TestLoadConfigKeepsWhatItCanRead(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"a.tf": "resource \"azurerm_a\" \"a\" {}\n",
		"b.tf": "resource \"azurerm_b\" {\n",
	})
	c := load(t, dir)
	if !c.Diagnostics.HasErrors() {
		t.Error("no diagnostics for a broken file")
	}
	if _, ok := c.Position("azurerm_a.a"); !ok {
		t.Error("the whole file was lost with the broken one")
	}
	if _, err := LoadConfig(filepath.Join(dir, "none"), false); err == nil {
		t.Error("a missing directory was read")
	}
}

func TestModulesThatCallEachOther(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"main.tf":   `module "a" { source = "./a" }` + "\n" + `module "b" { source = "./a" }`,
		"a/main.tf": `module "up" { source = "../" }` + "\n" + `module "self" { source = "../a" }`,
	})
	if got := len(load(t, dir).Modules); got != 3 {
		t.Errorf("%d modules, want the root and a twice", got)
	}
}

func FuzzLoadConfig(f *testing.F) {
	f.Add([]byte(`terraform { required_providers { azurerm = { version = "~> 3" } } }`), false)
	f.Add([]byte(`{"resource":{"a_b":{"c":{}}}}`), true)
	f.Add([]byte("module \"x\" { source = \"./y\" }\nresource \"a\" \"b\" { provider = c.d }"), false)
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		dir := t.TempDir()
		name := "main.tf"
		if isJSON {
			name += ".json"
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(dir, true)
		if err != nil {
			return // a module path that cannot be read
		}
		c.Providers()
		_, _ = c.AzurermMajor()
		for _, m := range c.Modules {
			for _, b := range m.Blocks {
				c.AttributePosition(joinAddress(m.Address, b.Address), "a.b.c")
			}
		}
	})
}

func FuzzStripKeys(f *testing.F) {
	f.Add(`module.a["x\"]"].b.c[0]`)
	f.Fuzz(func(t *testing.T, address string) {
		if got := stripKeys(address); len(got) > len(address) {
			t.Errorf("%q grew to %q", address, got)
		}
	})
}
