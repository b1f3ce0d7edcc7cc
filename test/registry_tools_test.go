package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// conformanceVersion is the pinned conformance suite of the OCI distribution
// specification. It is a program, and no part of this module.
const conformanceVersion = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// ociConformance runs the conformance suite of the OCI distribution specification: pull,
// push, content discovery and content management.
func ociConformance(t *testing.T, e *env, user, password string) {
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", conformanceVersion)
	install.Dir = dir // outside the module
	install.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out := e.run("exec", "--", "env", "OCI_REGISTRY="+serverOne, "OCI_USERNAME="+user, "OCI_PASSWORD="+password,
		"OCI_RESULTS_DIR="+filepath.Join(dir, "results"), "OCI_VERSION=1.1", "OCI_API_BLOBS_UPLOAD_CANCEL=true",
		"OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true", filepath.Join(dir, "conformance"))
	count := func(what string) string {
		m := regexp.MustCompile(`(?m)^\s*` + what + `\.*:\s*(\d+)$`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("the suite says %s", out)
		}
		return m[1]
	}
	if count("FAIL") != "0" || count("Error") != "0" || len(count("Total")) < 3 {
		t.Errorf("the suite says %s", tail(out, 60))
	}
	// mounting without saying from where is optional, and needs a right to every
	// repository
	for line := range strings.Lines(out) {
		if strings.Contains(line, ": Skip") && !strings.Contains(line, "anonymous") {
			t.Errorf("skipped: %s", line)
		}
	}
}

// withAz lists, locks and deletes with the Azure CLI.
func withAz(t *testing.T, e *env, w *wire) {
	need(t, "az")
	e = &env{t: t, home: e.home, addr: e.addr}
	c := crane{t, w, &authn.Basic{Username: w.owner.ClientID, Password: w.owner.ClientSecret}}
	img, err := random.Image(100_000, 2)
	c.must(err)
	for _, tag := range []string{"1", "2"} {
		c.push(serverOne+"/team/busy:"+tag, img)
	}
	var token struct{ AccessToken, LoginServer string }
	if e.az(&token, "acr", "login", "-n", "acrOne1", "--expose-token"); token.LoginServer != serverOne || token.AccessToken == "" {
		t.Errorf("login: %+v", token)
	}
	var names []string
	if e.az(&names, "acr", "repository", "list", "-n", "acrOne1"); !slices.Contains(names, "team/busy") {
		t.Errorf("repositories are %q", names)
	}
	if e.az(&names, "acr", "repository", "show-tags", "-n", "acrOne1", "--repository", "team/busy", "--orderby", "time_desc"); !slices.Equal(names, []string{"2", "1"}) {
		t.Errorf("tags are %q", names)
	}
	var shown struct{ ManifestCount, TagCount int }
	if e.az(&shown, "acr", "repository", "show", "-n", "acrOne1", "--repository", "team/busy"); shown.ManifestCount != 1 || shown.TagCount != 2 {
		t.Errorf("repository is %+v", shown)
	}
	var manifests []struct{ Tags []string }
	e.az(&manifests, "acr", "manifest", "list-metadata", "-r", "acrOne1", "-n", "team/busy")
	if len(manifests) != 1 || !slices.Equal(manifests[0].Tags, []string{"1", "2"}) {
		t.Errorf("manifests are %+v", manifests)
	}
	var usage struct {
		Value []struct {
			Name         string
			CurrentValue int64
		}
	}
	a, err := w.arm(t.Context(), http.MethodGet, groupACR+"acrOne1/listUsages", "2023-07-01", "")
	c.must(err)
	c.must(json.Unmarshal(a.body, &usage))
	if usage.Value[0].Name != "Size" || usage.Value[0].CurrentValue < 100_000 {
		t.Errorf("usage is %+v", usage)
	}
	e.az(nil, "acr", "repository", "delete", "-n", "acrOne1", "--repository", "copy", "--yes")
	if _, err := remote.Image(c.ref(serverOne+"/copy:1"), c.opts()...); err == nil {
		t.Error("an image of a deleted repository can be pulled")
	}
}

// withNPM drives the registry with @azure/container-registry, unmodified.
func withNPM(t *testing.T, e *env) {
	e = &env{t: t, home: e.home, addr: e.addr}
	d := newNPMDriver(t, "npm-registry")
	d.run(t, e, "https://"+serverOne)
}

// TestRegistryImages pushes an image with podman, runs it as a job with the rights of
// the cluster's identity, and not without them.
func TestRegistryImages(t *testing.T) {
	needTerraform(t)
	image := podmanStore(t)
	e := newEnv(t)
	text, err := os.ReadFile("testdata/small.tf")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"main.tf": string(text), "registry.tf": `
resource "azurerm_container_registry" "it" {
  name                = "acrsmall001"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  sku                 = "Basic"
  admin_enabled       = var.admin
}

variable "may_pull" {
  default = false
}

variable "admin" {
  default = false
}

resource "azurerm_role_assignment" "pull" {
  count                = var.may_pull ? 1 : 0
  scope                = azurerm_container_registry.it.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_machine_learning_compute_cluster.cpu.identity[0].principal_id
}
`})
	e.run("up", "--runner", "container", dir)
	const server = "acrsmall001.azurecr.io"
	w := e.wire()
	auth := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(auth, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	podman := []string{"exec", "--", "env", "REGISTRY_AUTH_FILE=" + auth, "podman"}
	push := append(podman, "push", "-q", image, "docker://"+server+"/train:1")
	e.fails(125, "unauthorized", push...)
	e.run(append(podman, "login", "-u", "00000000-0000-0000-0000-000000000000", "-p", w.refreshToken(t, server), server)...)
	e.run(push...)
	e.run(append(podman, "pull", "-q", server+"/train:1")...)
	e.run(append(podman, "rmi", "-f", server+"/train:1")...)

	run := func(name, image string) job {
		t.Helper()
		file := jobFile(t, "echo hello > outputs/w.txt", "name: "+name+"\n", nil)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(b, []byte("library/python:3.12-slim"), []byte(image), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		e.run("ml", "job", "create", "-f", file)
		return e.end(name)
	}
	refused := func(name, image string, texts ...string) {
		t.Helper()
		j := run(name, image)
		for _, text := range texts {
			if j.Properties.Status != "Failed" || !strings.Contains(j.Properties.Error.Message, text) {
				t.Errorf("%s is %+v, want %q", name, j, text)
			}
		}
	}
	refused("without", server+"/train:1", "of the compute cpu-cluster lacks the role AcrPull on ", "/registries/acrsmall001")
	e.run("up", "--runner", "container", dir, "-var", "may_pull=true")
	if j := run("with", server+"/train:1"); j.Properties.Status != "Completed" {
		t.Errorf("with the role: %+v", j)
	}
	refused("missing", server+"/train:2", "not found")
	refused("nowhere", "acrnone.azurecr.io/train:1", "no container registry acrnone")
	e.run("up", "--runner", "container", dir)
	refused("again", server+"/train:1", "lacks the role AcrPull")
	// what the engine has is no way around
	e.run(append(podman, "rmi", "-f", "-a")...)
}
