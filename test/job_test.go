package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// smallEnv is a server with the least environment that runs jobs.
func smallEnv(t testing.TB) (*env, string) {
	t.Helper()
	needTerraform(t)
	e := newEnv(t)
	text, err := os.ReadFile("testdata/small.tf")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"main.tf": string(text)})
	e.run("up", dir)
	return e, dir
}

// jobFile writes a job whose code is a directory with the given files.
func jobFile(t *testing.T, command, more string, code map[string]string) string {
	t.Helper()
	files := map[string]string{"job.yml": "$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json\n" +
		"type: command\ncode: src\ncommand: |\n  " + strings.ReplaceAll(command, "\n", "\n  ") + "\n" +
		"environment:\n  image: library/python:3.12-slim\ncompute: azureml:cpu-cluster\n" + more}
	for name, text := range code {
		files["src/"+name] = text
	}
	if len(code) == 0 {
		files["src/empty.txt"] = "nothing\n"
	}
	return filepath.Join(write(t, files), "job.yml")
}

type cluster struct {
	Properties struct {
		Properties struct {
			AllocationState  string
			CurrentNodeCount int
			NodeStateCounts  map[string]int
		}
	}
}

func (e *env) cluster(name string) cluster {
	e.t.Helper()
	var c cluster
	e.json(&c, "ml", "compute", "show", "-n", name)
	return c
}

type job struct {
	Name       string
	Properties struct {
		Status string
		Error  struct{ Message string }
	}
}

// wait polls a job until it has ended.
func (e *env) wait(name string) job {
	e.t.Helper()
	e.try("ml", "job", "stream", "-n", name)
	var j job
	e.json(&j, "ml", "job", "show", "-n", name)
	return j
}

// TestJob is a job's life: submitted to an empty cluster, which grows; streamed;
// downloaded; and the cluster shrinks once its idle time has passed.
func TestJob(t *testing.T) {
	e, _ := smallEnv(t)
	if n := e.cluster("cpu-cluster").Properties.Properties.CurrentNodeCount; n != 0 {
		t.Fatalf("the new cluster has %d nodes", n)
	}
	file := jobFile(t, "cat greeting.txt && mkdir -p outputs/model && echo weights > outputs/model/w.txt && echo to-stderr >&2",
		"name: first\n", map[string]string{"greeting.txt": "hello from the snapshot\n"})
	out := e.run("ml", "job", "create", "-f", file, "--stream")
	for _, want := range []string{"RunId: first", "hello from the snapshot", "to-stderr", "Completed"} {
		if !strings.Contains(out, want) {
			t.Errorf("stream does not say %q:\n%s", want, out)
		}
	}
	c := e.cluster("cpu-cluster").Properties.Properties
	if c.CurrentNodeCount != 1 || c.NodeStateCounts["idleNodeCount"] != 1 || c.AllocationState != "Steady" {
		t.Errorf("after the job: %+v", c)
	}
	dir := t.TempDir()
	e.run("ml", "job", "download", "-n", "first", "-p", dir)
	for name, want := range map[string]string{"outputs/model/w.txt": "weights", "user_logs/std_log.txt": "hello from the snapshot"} {
		b, err := os.ReadFile(filepath.Join(dir, "artifacts", name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v %q", name, err, b)
		}
	}
	e.run("clock", "advance", "14m")
	if n := e.cluster("cpu-cluster").Properties.Properties.CurrentNodeCount; n != 1 {
		t.Errorf("before its idle time was over the node left: %d", n)
	}
	e.run("clock", "advance", "2m")
	if n := e.cluster("cpu-cluster").Properties.Properties.CurrentNodeCount; n != 0 {
		t.Errorf("after its idle time %d nodes are left", n)
	}
}

// TestJobsThatEndBadly checks failure, cancellation and timeout.
func TestJobsThatEndBadly(t *testing.T) {
	e, _ := smallEnv(t)
	r := e.try("ml", "job", "create", "-f", jobFile(t, "echo about to fail\nexit 7", "name: fails\n", nil), "--stream")
	if r.code != 1 || !strings.Contains(r.stdout, "about to fail") || !strings.Contains(r.stdout+r.stderr, "7") {
		t.Errorf("failing job: %s", r)
	}
	var j job
	e.json(&j, "ml", "job", "show", "-n", "fails")
	if j.Properties.Status != "Failed" {
		t.Errorf("status %q", j.Properties.Status)
	}
	e.run("ml", "job", "create", "-f", jobFile(t, "sleep 600", "name: cancelled\n", nil))
	e.run("ml", "job", "cancel", "-n", "cancelled")
	if j := e.wait("cancelled"); j.Properties.Status != "Canceled" {
		t.Errorf("cancelled job is %q", j.Properties.Status)
	}
	e.run("ml", "job", "create", "-f", jobFile(t, "sleep 600", "name: slow\nlimits:\n  timeout: 1\n", nil))
	if j := e.wait("slow"); j.Properties.Status == "Completed" {
		t.Errorf("a job that ran out of time is %q", j.Properties.Status)
	}
}

// identityScript tries to read a secret and each container with the identity
// that the job was given.
const identityScript = `import json, os, ssl, urllib.request, urllib.error
def token(resource):
    u = os.environ["IDENTITY_ENDPOINT"] + "?api-version=2019-08-01&resource=" + resource
    r = urllib.request.Request(u, headers={"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(r) as f:
        return json.load(f)["access_token"]
t = token("https://vault.azure.net")
r = urllib.request.Request("https://kv-small.vault.azure.net/secrets/db?api-version=7.4", headers={"Authorization": "Bearer " + t})
try:
    with urllib.request.urlopen(r) as f:
        print("secret", json.load(f)["value"])
except urllib.error.HTTPError as e:
    print("secret", e.code, json.load(e)["error"]["innererror"]["code"])
t = token("https://storage.azure.com")
for c in ("data", "closed"):
    r = urllib.request.Request("https://stsmall001.blob.core.windows.net/%s?restype=container&comp=list" % c,
        headers={"Authorization": "Bearer " + t, "x-ms-version": "2021-08-06"})
    try:
        with urllib.request.urlopen(r) as f:
            print(c, f.status)
    except urllib.error.HTTPError as e:
        print(c, e.code, e.headers.get("x-ms-error-code"))
`

// TestTheJobsIdentityReachesWhatItWasAssigned checks a job's own access, and that
// taking the role away ends it.
func TestTheJobsIdentityReachesWhatItWasAssigned(t *testing.T) {
	need(t, "python3")
	e, dir := smallEnv(t)
	w := e.wire()
	vault, err := azsecrets.NewClient("https://kv-small.vault.azure.net", fixedToken(w.tokens[forVault]),
		&azsecrets.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("swordfish")}, nil); err != nil {
		t.Fatal(err)
	}
	run := func(name string) string {
		return e.run("ml", "job", "create", "-f", jobFile(t, "python3 who.py", "name: "+name+"\n", map[string]string{"who.py": identityScript}), "--stream")
	}
	out := run("with-role")
	if !strings.Contains(out, "data 200") || !strings.Contains(out, "closed 403 AuthorizationPermissionMismatch") || !strings.Contains(out, "secret swordfish") {
		t.Errorf("with the role:\n%s", out)
	}
	e.run("up", dir, "--var", "may_read=false")
	if out := run("without-role"); !strings.Contains(out, "data 403 AuthorizationPermissionMismatch") || !strings.Contains(out, "secret 403 ForbiddenByRbac") {
		t.Errorf("without the role:\n%s", out)
	}
}

// TestCrash kills the server while a job runs: the job goes on, and a new server
// picks it up.
func TestCrash(t *testing.T) {
	e, dir := smallEnv(t)
	gate := filepath.Join(t.TempDir(), "gate")
	file := jobFile(t, "echo before\nwhile [ ! -e "+gate+" ]; do sleep 0.1; done\necho after\nmkdir -p outputs\necho kept > outputs/result.txt", "name: survivor\n", nil)
	e.run("ml", "job", "create", "-f", file)
	e.await("the job runs", func() bool {
		var j job
		e.json(&j, "ml", "job", "show", "-n", "survivor")
		return j.Properties.Status == "Running"
	})
	e.kill()
	e.fails(3, "", "status")
	if err := os.WriteFile(gate, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if out := e.run("up", dir); !strings.Contains(out, "no changes") {
		t.Errorf("up after the crash:\n%s", out)
	}
	if j := e.wait("survivor"); j.Properties.Status != "Completed" {
		t.Errorf("the job is %q: %s", j.Properties.Status, j.Properties.Error.Message)
	}
	to := t.TempDir()
	e.run("ml", "job", "download", "-n", "survivor", "-p", to)
	b, err := os.ReadFile(filepath.Join(to, "artifacts", "user_logs", "std_log.txt"))
	if err != nil || strings.Count(string(b), "before") != 1 || strings.Count(string(b), "after") != 1 {
		t.Errorf("log: %v %q", err, b)
	}
}

// await runs f until it is true.
func (e *env) await(what string, f func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			e.t.Fatalf("it did not happen that %s", what)
		}
	}
}

// TestCrashDuringUp kills the server in the middle of an apply: `up` starts it
// again and completes.
func TestCrashDuringUp(t *testing.T) {
	needTerraform(t)
	e := newEnv(t)
	dir := copyDir(t, "testdata/stack", nil)
	cmd := exec.CommandContext(t.Context(), binary, "up", dir)
	cmd.Env = e.environ()
	var out strings.Builder
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	buf := make([]byte, 4096)
	var said strings.Builder
	for {
		n, err := stderr.Read(buf)
		said.Write(buf[:n])
		if !killed && strings.Contains(said.String(), "created azurerm_storage_account.it") {
			killed = true
			e.kill()
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil || !killed {
		t.Fatalf("up: %v (killed the server: %v)\n%s%s", err, killed, said.String(), out.String())
	}
	if !strings.Contains(out.String(), "17 added") {
		t.Errorf("up:\n%s%s", said.String(), out.String())
	}
	if out := e.run("up", dir); !strings.Contains(out, "no changes") {
		t.Errorf("second up:\n%s", out)
	}
}

// TestWrongInputs checks that what people get wrong is named.
func TestWrongInputs(t *testing.T) {
	e, _ := smallEnv(t)
	bad := func(text string) string {
		return filepath.Join(write(t, map[string]string{"job.yml": text}), "job.yml")
	}
	e.fails(1, "job.yml:3", "ml", "job", "create", "-f", bad("type: command\ncommand: x\ncompte: azureml:cpu-cluster\nenvironment: azureml:e:1\n"))
	e.fails(1, "nowhere", "ml", "job", "create", "-f", jobFile(t, "true", "", nil), "--set", "compute=azureml:nowhere")
	e.fails(1, "cpu-cluster", "ml", "job", "create", "-f", jobFile(t, "true", "", nil), "--set", "compute=azureml:nowhere")
	e.fails(1, "no such file", "ml", "job", "create", "-f", "/nowhere/job.yml")
	e.fails(1, "no job \"ghost\"", "ml", "job", "show", "-n", "ghost")
	e.fails(2, "unknown command", "frobnicate")
	e.fails(2, "required flag", "ml", "job", "show")
	e.fails(2, "positive", "clock", "advance", "--", "-5m")
	e.fails(2, "table or json", "status", "--output", "xml")
	e.fails(1, "no Terraform files", "up", t.TempDir())

	broken := write(t, map[string]string{"main.tf": "resource \"azurerm_resource_group\" \"x\" {\n  name = \n}\n"})
	e.fails(1, "main.tf", "up", broken)
	role := write(t, map[string]string{"main.tf": `provider "azurerm" {
  features {}
}
resource "azurerm_resource_group" "it" {
  name     = "rg-role"
  location = "eastus"
}
resource "azurerm_role_assignment" "it" {
  scope                = azurerm_resource_group.it.id
  role_definition_name = "Storage Blob Data Reeder"
  principal_id         = "11111111-2222-3333-4444-555555555555"
}
`})
	e.fails(1, "Storage Blob Data Reeder", "up", role)
	e.run("down", role)

	// the port of a running server, and a home that cannot be written to
	other := newEnv(t)
	other.addr = e.addr
	other.fails(1, "another program listens", "serve")
	other.fails(1, "Choose another address: --listen", "up", role)
	if os.Getuid() != 0 {
		e.fails(1, "cannot be written to", "serve", "--home", "/proc/azimuth")
	}
	e.fails(1, "loopback only", "serve", "--home", filepath.Join(t.TempDir(), "h"), "--listen", "0.0.0.0:4443")
}
