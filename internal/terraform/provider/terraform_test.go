package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

// workdir is a directory in which terraform runs against a served provider.
type workdir struct {
	t        *testing.T
	dir      string
	reattach string
}

// newWorkdir serves a provider. It skips the test where there is no terraform.
func newWorkdir(t *testing.T, cfg Config) *workdir {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not installed")
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	reattach, err := s.Reattach()
	if err != nil {
		t.Fatal(err)
	}
	return &workdir{t: t, dir: t.TempDir(), reattach: reattach}
}

// run runs terraform and returns its exit status and output.
func (w *workdir) run(args ...string) (int, string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "terraform", append(args, "-no-color")...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), EnvReattach+"="+w.reattach, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=/dev/null")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (w *workdir) must(args ...string) string {
	w.t.Helper()
	code, out := w.run(args...)
	if code != 0 {
		w.t.Fatalf("terraform %s: exit status %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// noChanges checks that a plan is empty.
func (w *workdir) noChanges(args ...string) {
	w.t.Helper()
	code, out := w.run(append([]string{"plan", "-detailed-exitcode"}, args...)...)
	if code != 0 {
		w.t.Fatalf("the plan is not empty (exit status %d)\n%s", code, out)
	}
}

func (w *workdir) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// stack writes the test stack for a major version.
func (w *workdir) stack(major int) {
	w.t.Helper()
	tmpl, err := template.ParseFiles("testdata/stack.tf.tmpl")
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	constraint := map[int]string{3: "~> 3.80", 4: "~> 4.0", 5: ">= 5.0"}[major]
	if err := tmpl.Execute(&b, map[string]any{"Major": major, "Constraint": constraint}); err != nil {
		w.t.Fatal(err)
	}
	w.write("main.tf", b.String())
}

// resources lists the addresses and IDs of the state.
func (w *workdir) resources() map[string]string {
	w.t.Helper()
	var state struct {
		Values struct {
			RootModule struct {
				Resources []struct {
					Address string
					Mode    string
					Values  map[string]any
				}
			} `json:"root_module"`
		}
	}
	cmd := exec.CommandContext(w.t.Context(), "terraform", "show", "-json")
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), EnvReattach+"="+w.reattach)
	raw, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range state.Values.RootModule.Resources {
		if r.Mode == "managed" {
			out[r.Address] = asString(r.Values["id"])
		}
	}
	return out
}

// TestStack applies a whole environment with the real terraform, finds no drift,
// imports all of it into an empty state, and destroys it.
func TestStack(t *testing.T) {
	for _, major := range []int{3, 4, 5} {
		t.Run(fmt.Sprintf("%d.x", major), func(t *testing.T) {
			t.Parallel()
			azure := newFakeAzure(t)
			w := newWorkdir(t, azure.config(major))
			w.stack(major)
			w.must("apply", "-auto-approve")
			w.noChanges()
			ids := w.resources()
			if len(ids) != 20 {
				t.Errorf("%d resources were made, want 20: %v", len(ids), ids)
			}

			var imports strings.Builder
			for address, id := range ids {
				fmt.Fprintf(&imports, "import {\n  to = %s\n  id = %q\n}\n", address, id)
			}
			if err := os.Remove(filepath.Join(w.dir, "terraform.tfstate")); err != nil {
				t.Fatal(err)
			}
			w.write("imports.tf", imports.String())
			// The key of a datastore is the one argument that Azure never shows.
			out := w.must("apply", "-auto-approve")
			if !strings.Contains(out, "20 imported, 0 added, 1 changed, 0 destroyed") {
				t.Errorf("the import changed something:\n%s", lastLines(out, 60))
			}
			if err := os.Remove(filepath.Join(w.dir, "imports.tf")); err != nil {
				t.Fatal(err)
			}
			w.noChanges()

			w.must("destroy", "-auto-approve")
			if n := len(azure.docs); n != 1 {
				t.Errorf("%d documents are left after destroy, want the subscription alone: %v", n, azure.docs)
			}
			if len(azure.data) != 0 {
				t.Errorf("data is left after destroy: %v", azure.data)
			}
		})
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TestExample applies the workspace that users start from.
func TestExample(t *testing.T) {
	for major, dirs := range map[int][]string{3: {"", "azurerm-3.x"}, 5: {""}} {
		t.Run(fmt.Sprintf("%d.x", major), func(t *testing.T) {
			t.Parallel()
			azure := newFakeAzure(t)
			w := newWorkdir(t, azure.config(major))
			for _, dir := range dirs {
				files, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "workspace", dir, "*.tf"))
				if err != nil || len(files) == 0 {
					t.Fatal("there is no example", err)
				}
				for _, f := range files {
					text, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					w.write(filepath.Base(f), string(text))
				}
			}
			instance := "-var=data_scientist_object_id=11111111-2222-3333-4444-555555555555"
			w.must("apply", "-auto-approve", instance)
			w.noChanges(instance)
			w.must("destroy", "-auto-approve", instance)
			if n := len(azure.docs); n != 1 {
				t.Errorf("%d documents are left after destroy", n)
			}
		})
	}
}

// TestAliases checks that provider blocks keep their features and credentials
// apart, although one process serves them all.
func TestAliases(t *testing.T) {
	t.Parallel()
	azure := newFakeAzure(t)
	w := newWorkdir(t, azure.config(3))
	w.write("main.tf", `
provider "azurerm" {
  features {}
}

provider "azurerm" {
  alias         = "careless"
  client_id     = "00000000-0000-0000-0000-00000000000e"
  client_secret = "right"
  features {
    resource_group {
      prevent_deletion_if_contains_resources = false
    }
  }
}

resource "azurerm_resource_group" "kept" {
  name     = "kept"
  location = "eastus"
}

resource "azurerm_resource_group" "lost" {
  provider = azurerm.careless
  name     = "lost"
  location = "eastus"
}

data "azurerm_client_config" "careless" {
  provider = azurerm.careless
}

output "who" {
  value = data.azurerm_client_config.careless.client_id
}
`)
	if out := w.must("apply", "-auto-approve"); !strings.Contains(out, `who = "00000000-0000-0000-0000-00000000000e"`) {
		t.Error(lastLines(out, 5))
	}
	for _, group := range []string{"kept", "lost"} {
		id := "/subscriptions/" + testSubscription + "/resourceGroups/" + group + "/providers/Microsoft.Network/virtualNetworks/v"
		azure.docs[strings.ToLower(id)] = map[string]any{"id": id}
	}
	code, out := w.run("destroy", "-auto-approve")
	if code == 0 || !strings.Contains(out, `deleting Resource Group "kept": the Resource Group still contains Resources.`) || !strings.Contains(out, "* `/subscriptions/") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
	if azure.docs["/subscriptions/"+testSubscription+"/resourcegroups/lost"] != nil {
		t.Error("the other group is not deleted")
	}
}
