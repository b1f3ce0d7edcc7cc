package test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// conformanceDir has one folder per resource type of azurerm, which
// TestConformance finds by itself. Its README.md says what is in a folder.
const conformanceDir = "testdata/conformance"

// conformanceHarness is what every folder may refer to. The group refuses to go
// while anything is in it, so a destroy that forgets something fails.
const conformanceHarness = `terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "%s"
    }
  }
}

provider "azurerm" {
  features {}
}

data "azurerm_client_config" "me" {}

locals {
  name = "%s"
}

resource "azurerm_resource_group" "it" {
  name     = "rg-${local.name}"
  location = "westeurope"
}
`

// TestConformance puts every resource type through its life with terraform and
// the built-in provider: create, empty plan, update in place, empty plan, import
// into a fresh state that differs in nothing, destroy, nothing left.
//
// It does so for 3.x and 5.x; AZIMUTH_TEST_MAJORS=345 names others. With
// AZIMUTH_TEST_PROVIDER=registry the provider is HashiCorp's own, found as
// TF_CLI_CONFIG_FILE says, which takes its time.
func TestConformance(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	e.run("up", write(t, map[string]string{"main.tf": ""})) // starts the server
	folders, err := os.ReadDir(conformanceDir)
	if err != nil {
		t.Fatal(err)
	}
	majors := os.Getenv("AZIMUTH_TEST_MAJORS")
	if majors == "" {
		majors = "35"
	}
	t.Run("types", func(t *testing.T) {
		for _, f := range folders {
			if !f.IsDir() {
				continue
			}
			for _, digit := range majors {
				major := int(digit - '0')
				c := &conformance{folder: filepath.Join(conformanceDir, f.Name()), major: major}
				if !c.applies(t) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d.x", f.Name(), major), func(t *testing.T) {
					t.Parallel()
					sub := *e
					sub.t, c.env = t, &sub
					c.run(t)
				})
			}
		}
	})
	var st struct{ Status struct{ Resources int } }
	e.json(&st, "status")
	if st.Status.Resources != 0 && !t.Failed() {
		t.Errorf("%d resources are left", st.Status.Resources)
	}
}

// conformance is one folder with one major version of azurerm.
type conformance struct {
	env    *env
	folder string
	major  int
}

var majorFile = regexp.MustCompile(`^(.*)\.([345]+)\.tf$`)

// files are the folder's files for this major version: NAME.3.tf, or NAME.34.tf,
// takes the place of NAME.tf.
func (c *conformance) files(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	own := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if m := majorFile.FindStringSubmatch(name); m != nil {
			if !strings.Contains(m[2], fmt.Sprint(c.major)) {
				continue
			}
			name = m[1] + ".tf"
			own[name] = true
		} else if own[name] || filepath.Ext(name) != ".tf" && name != refusedFile {
			continue
		}
		text, err := os.ReadFile(filepath.Join(c.folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// applies reports whether this major version has the type: an empty main.3.tf
// says that 3.x has not.
func (c *conformance) applies(t *testing.T) bool {
	return strings.TrimSpace(c.files(t)["main.tf"]) != ""
}

const (
	updateFile = "update_override.tf"
	importFile = "import_override.tf"
	// refusedFile is what Azimuth says to a type that it understands and has not.
	refusedFile = "refused.txt"
)

func (c *conformance) run(t *testing.T) {
	files := c.files(t)
	update, imported := files[updateFile], files[importFile]
	delete(files, updateFile)
	delete(files, importFile)
	refused := strings.TrimSpace(files[refusedFile])
	delete(files, refusedFile)
	h := fnv.New32a()
	h.Write([]byte(filepath.Base(c.folder)))
	// globally unique names need one per folder and major version
	name := fmt.Sprintf("c%d%06x", c.major, h.Sum32()&0xffffff)
	constraint := map[int]string{3: "~> 3.80", 4: "~> 4.0", 5: ">= 5.0"}[c.major]
	files["harness.tf"] = fmt.Sprintf(conformanceHarness, constraint, name)

	dir := write(t, files)
	if refused != "" {
		// terraform breaks lines and draws a frame around them
		said := strings.Join(strings.Fields(strings.ReplaceAll(c.try(dir, "apply", "-auto-approve").String(), "│", "")), " ")
		if !strings.Contains(said, refused) {
			t.Errorf("apply does not say %q:\n%s", refused, said)
		}
		c.terraform(dir, "destroy", "-auto-approve")
		return
	}
	c.terraform(dir, "apply", "-auto-approve")
	c.noChanges(dir, "create")
	if update != "" {
		files[updateFile] = update
		put(t, dir, updateFile, update)
		out := c.terraform(dir, "apply", "-auto-approve")
		if !regexp.MustCompile(`0 added, [1-9]\d* changed, 0 destroyed`).MatchString(out) {
			t.Errorf("the update is not in place:\n%s", tail(out, 60))
		}
		c.noChanges(dir, "update")
	}
	ids := c.ids(dir)

	var blocks strings.Builder
	for _, address := range sorted(ids) {
		fmt.Fprintf(&blocks, "import {\n  to = %s\n  id = %q\n}\n", address, ids[address])
	}
	if imported != "" {
		files[importFile] = imported
	}
	fresh := write(t, files)
	put(t, fresh, "imports.tf", blocks.String())
	out := c.terraform(fresh, "apply", "-auto-approve")
	if want := fmt.Sprintf("%d imported, 0 added, 0 changed, 0 destroyed", len(ids)); !strings.Contains(out, want) {
		t.Errorf("the import is not %q:\n%s", want, tail(out, 80))
	}
	if err := os.Remove(filepath.Join(fresh, "imports.tf")); err != nil {
		t.Fatal(err)
	}
	out = c.terraform(fresh, "destroy", "-auto-approve")
	if want := fmt.Sprintf("%d destroyed", len(ids)); !strings.Contains(out, want) {
		t.Errorf("destroy did not say %q:\n%s", want, tail(out, 40))
	}
}

// terraform runs terraform on a directory with the state that belongs to it, and
// fails the test if it fails.
func (c *conformance) terraform(dir string, args ...string) string {
	c.env.t.Helper()
	r := c.try(dir, args...)
	if r.code != 0 {
		c.env.t.Fatalf("terraform %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

func (c *conformance) try(dir string, args ...string) result {
	c.env.t.Helper()
	all := []string{"terraform", "--dir", dir}
	if p := os.Getenv("AZIMUTH_TEST_PROVIDER"); p != "" {
		all = append(all, "--provider", p)
	}
	all = append(all, args...)
	if args[0] != "state" {
		all = append(all, "-no-color")
	}
	r := c.env.try(all...)
	if r.code != 0 {
		r.stdout = tail(r.stdout, 40)
	}
	return r
}

func (c *conformance) noChanges(dir, after string) {
	c.env.t.Helper()
	if r := c.try(dir, "plan", "-detailed-exitcode"); r.code != 0 {
		c.env.t.Fatalf("the plan after the %s is not empty: %s", after, r)
	}
}

// ids are the IDs of what is in the state, by address.
func (c *conformance) ids(dir string) map[string]string {
	c.env.t.Helper()
	var state struct {
		Resources []struct {
			Mode, Type, Name string
			Instances        []struct {
				IndexKey   any `json:"index_key"`
				Attributes struct{ ID string }
			}
		}
	}
	text := c.terraform(dir, "state", "pull")
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		c.env.t.Fatalf("terraform state pull: %v in %s", err, text)
	}
	out := map[string]string{}
	for _, r := range state.Resources {
		if r.Mode != "managed" {
			continue
		}
		for _, i := range r.Instances {
			address := r.Type + "." + r.Name
			if i.IndexKey != nil {
				key, err := json.Marshal(i.IndexKey)
				if err != nil {
					c.env.t.Fatal(err)
				}
				address += "[" + string(key) + "]"
			}
			out[address] = i.Attributes.ID
		}
	}
	return out
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func sorted(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
