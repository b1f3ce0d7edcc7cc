package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// azCommand is the Azure CLI with an argument list. testdata/az lets Debian's 2.45 run
// the commands that do not fit the packages which Debian has; see there.
func (e *env) azCommand(args ...string) []string {
	e.t.Helper()
	dir, err := filepath.Abs("testdata/az")
	if err != nil {
		e.t.Fatal(err)
	}
	return append([]string{"exec", "--", "env", "PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1", "az"}, args...)
}

// az runs the Azure CLI against the cloud and decodes what it prints.
func (e *env) az(out any, args ...string) {
	e.t.Helper()
	text := e.run(e.azCommand(append(args, "-o", "json", "--only-show-errors")...)...)
	if out == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		e.t.Fatalf("az %s: %v in %s", strings.Join(args, " "), err, text)
	}
}

// azNames lists the names in what the Azure CLI prints.
func (e *env) azNames(args ...string) string {
	e.t.Helper()
	var all []struct{ Name string }
	e.az(&all, args...)
	var out []string
	for _, n := range all {
		out = append(out, n.Name)
	}
	return strings.Join(out, " ")
}

// azFails runs az, which must fail saying text.
func (e *env) azFails(text string, args ...string) {
	e.t.Helper()
	e.fails(1, text, e.azCommand(args...)...)
}

// TestAzureCLI drives az, signed in by exec.
func TestAzureCLI(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	var account struct {
		ID, TenantID string
		User         struct{ Name string }
	}
	e.az(&account, "account", "show")
	if account.ID == "" {
		t.Fatal("az account show has no subscription")
	}
	arm := "https://management.azure.com/subscriptions/" + account.ID

	e.az(nil, "group", "create", "-n", "rg-other", "-l", "westus2")
	if got := e.azNames("group", "list"); got != "rg-other rg-small" {
		t.Errorf("groups: %s", got)
	}
	e.az(nil, "group", "delete", "-n", "rg-other", "--yes")
	if got := strings.TrimSpace(e.run("exec", "--", "az", "group", "exists", "-n", "rg-other")); got != "false" {
		t.Errorf("the deleted group exists: %s", got)
	}
	if got := e.azNames("resource", "list", "-g", "rg-small"); !strings.Contains(got, "mlw-small") || !strings.Contains(got, "stsmall001") {
		t.Errorf("resources: %s", got)
	}
	const workspaceType = "Microsoft.MachineLearningServices/workspaces"
	var workspace struct{ Type string }
	if e.az(&workspace, "resource", "show", "-g", "rg-small", "-n", "mlw-small", "--resource-type", workspaceType); workspace.Type != workspaceType {
		t.Errorf("workspace: %+v", workspace)
	}
	var self struct{ AppID string }
	if e.az(&self, "ad", "sp", "show", "--id", account.User.Name); self.AppID != account.User.Name {
		t.Errorf("signed in as %q, which is %+v", account.User.Name, self)
	}
	if got := e.azNames("keyvault", "list"); got != "kv-small" {
		t.Errorf("vaults: %s", got)
	}
	var vault struct{ Properties struct{ VaultURI string } }
	if e.az(&vault, "keyvault", "show", "-n", "kv-small"); vault.Properties.VaultURI != "https://kv-small.vault.azure.net/" {
		t.Errorf("vault: %+v", vault)
	}
	if got := e.azNames("storage", "account", "list"); !strings.Contains(got, "stsmall001") {
		t.Errorf("storage accounts: %s", got)
	}
	var updated struct{ Tags map[string]string }
	if e.az(&updated, "group", "update", "-n", "rg-small", "--set", "tags.team=ml"); updated.Tags["team"] != "ml" {
		t.Errorf("tags: %+v", updated)
	}
	if got := e.azNames("group", "list", "--tag", "team=ml"); got != "rg-small" {
		t.Errorf("groups of the team: %s", got)
	}
	var roles []struct{ RoleDefinitionName, Scope string }
	e.az(&roles, "role", "assignment", "list", "--all")
	got := fmt.Sprint(roles)
	if !strings.Contains(got, "{Owner ") || !strings.Contains(got, "{Storage Blob Data Reader ") || !strings.Contains(got, "/containers/data}") {
		t.Errorf("role assignments: %s", got)
	}
	var computes struct{ Value []struct{ Name string } }
	e.az(&computes, "rest", "--url", arm+"/resourceGroups/rg-small/providers/Microsoft.MachineLearningServices/workspaces/mlw-small/computes?api-version=2024-04-01")
	if len(computes.Value) != 1 || computes.Value[0].Name != "cpu-cluster" {
		t.Errorf("computes: %+v", computes)
	}
	e.azManagedNetwork(arm)
	e.azFails("NotImplementedByAzimuth", "rest", "--url", arm+"/providers/Microsoft.Web/sites?api-version=2022-03-01")
	e.azFails("AADSTS7000215", "login", "--service-principal", "-u", account.User.Name, "-p", "wrong", "--tenant", account.TenantID)
}

// TestAzureCLIPrivateDNS keeps a zone.
func TestAzureCLIPrivateDNS(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e := newEnv(t)
	e.run("up", write(t, map[string]string{"main.tf": ""})) // starts the server
	e.az(nil, "group", "create", "-n", "rg-dns", "-l", "westeurope")
	zone := []string{"-g", "rg-dns", "-z", "lab.internal"}
	dns := func(out any, words string, args ...string) {
		t.Helper()
		e.az(out, append(append(append([]string{"network", "private-dns"}, strings.Fields(words)...), zone...), args...)...)
	}
	e.az(nil, "network", "private-dns", "zone", "create", "-g", "rg-dns", "-n", "lab.internal")
	var set struct {
		FQDN     string
		ARecords []struct{ Ipv4Address string }
	}
	dns(nil, "record-set a add-record", "-n", "db", "-a", "10.0.0.9")
	dns(&set, "record-set a add-record", "-n", "db", "-a", "10.0.0.10")
	if set.FQDN != "db.lab.internal." || len(set.ARecords) != 2 {
		t.Errorf("record set: %+v", set)
	}
	dns(nil, "record-set cname set-record", "-n", "www", "-c", "db.lab.internal")
	var all []struct{ Type string }
	if dns(&all, "record-set list"); len(all) != 3 || all[1].Type != "Microsoft.Network/privateDnsZones/CNAME" {
		t.Errorf("record sets: %+v", all)
	}
	e.az(nil, "network", "private-dns", "zone", "delete", "-g", "rg-dns", "-n", "lab.internal", "--yes")
}

// TestAzureCLIStorage moves a blob with each way to sign a request.
func TestAzureCLIStorage(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up.txt"), filepath.Join(dir, "down.txt")
	if err := os.WriteFile(up, []byte("text of the blob"), 0o600); err != nil {
		t.Fatal(err)
	}
	var keys []struct{ Value string }
	e.az(&keys, "storage", "account", "keys", "list", "-n", "stsmall001")
	if len(keys) != 2 {
		t.Fatalf("the account has %d keys", len(keys))
	}
	login := func(args ...string) []string {
		return append(args, "--account-name", "stsmall001", "--auth-mode", "login")
	}
	key := func(args ...string) []string {
		return append(args, "--account-name", "stsmall001", "--account-key", keys[0].Value)
	}
	if got := e.azNames(login("storage", "container", "list")...); !strings.Contains(got, "data") {
		t.Errorf("containers: %s", got)
	}
	e.az(nil, login("storage", "blob", "upload", "-c", "data", "-n", "a/b.txt", "-f", up, "--no-progress")...)
	for _, sign := range []func(...string) []string{login, key} {
		if got := e.azNames(sign("storage", "blob", "list", "-c", "data")...); got != "a/b.txt" {
			t.Errorf("blobs: %s", got)
		}
	}
	e.az(nil, key("storage", "blob", "download", "-c", "data", "-n", "a/b.txt", "-f", down, "--no-progress")...)
	if b, err := os.ReadFile(down); err != nil || string(b) != "text of the blob" {
		t.Errorf("downloaded %q, %v", b, err)
	}
	e.az(nil, key("storage", "blob", "snapshot", "-c", "data", "-n", "a/b.txt")...)
	e.az(nil, key("storage", "blob", "copy", "start", "-c", "data", "-b", "a/copy.txt", "--source-container", "data", "--source-blob", "a/b.txt")...)
	e.az(nil, key("storage", "blob", "lease", "acquire", "-c", "data", "-b", "a/copy.txt")...)
	e.azFails("lease", key("storage", "blob", "delete", "-c", "data", "-n", "a/copy.txt")...)
	e.az(nil, key("storage", "blob", "lease", "break", "-c", "data", "-b", "a/copy.txt", "--lease-break-period", "0")...)
	e.az(nil, key("storage", "blob", "delete", "-c", "data", "-n", "a/copy.txt")...)
	e.azFails("Authentication failure", "storage", "blob", "list", "-c", "data", "--account-name", "stsmall001", "--account-key", "d3Jvbmc=")
}

// TestAzureCLIDataLake works with files and directories, and with a principal whom
// only an access control list lets in.
func TestAzureCLIDataLake(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up.txt"), filepath.Join(dir, "down.txt")
	if err := os.WriteFile(up, []byte("text of the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.az(nil, "storage", "account", "create", "-n", "lakesmall001", "-g", "rg-small", "-l", "westeurope", "--sku", "Standard_LRS", "--hns", "true")
	var keys []struct{ Value string }
	e.az(&keys, "storage", "account", "keys", "list", "-n", "lakesmall001")
	fs := func(args ...string) []string {
		return append(append([]string{"storage", "fs"}, args...), "--account-name", "lakesmall001", "--account-key", keys[0].Value)
	}
	login := func(args ...string) []string {
		return append(append([]string{"storage", "fs"}, args...), "--account-name", "lakesmall001", "--auth-mode", "login")
	}
	e.az(nil, fs("create", "-n", "tree")...)
	e.az(nil, fs("file", "upload", "-f", "tree", "-s", up, "-p", "a/b/f.txt")...)
	e.az(nil, fs("file", "append", "-f", "tree", "-p", "a/b/f.txt", "--content", ", and more")...)
	e.az(nil, fs("directory", "move", "-f", "tree", "-n", "a", "--new-directory", "tree/moved")...)
	if got := e.azNames(fs("file", "list", "-f", "tree")...); got != "moved moved/b moved/b/f.txt" {
		t.Errorf("paths: %s", got)
	}
	e.azFails("required permissions", login("file", "download", "-f", "tree", "-p", "moved/b/f.txt", "-d", down)...)
	e.az(nil, fs("access", "set-recursive", "-f", "tree", "-p", "/", "--acl", "user::rwx,group::r-x,other::r-x")...)
	e.az(nil, login("file", "download", "-f", "tree", "-p", "moved/b/f.txt", "-d", down)...)
	if b, err := os.ReadFile(down); err != nil || string(b) != "text of the file, and more" {
		t.Errorf("downloaded %q, %v", b, err)
	}
	e.azFails("required permissions", login("directory", "delete", "-f", "tree", "-n", "moved", "-y")...)
	e.az(nil, fs("directory", "delete", "-f", "tree", "-n", "moved", "-y")...)
	if got := e.azNames(fs("file", "list", "-f", "tree")...); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestAzureCLISoftDelete deletes a blob and brings it back.
func TestAzureCLISoftDelete(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _ := smallEnv(t)
	up := filepath.Join(t.TempDir(), "up.txt")
	if err := os.WriteFile(up, []byte("text of the blob"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.az(nil, "storage", "account", "blob-service-properties", "update", "-n", "stsmall001", "-g", "rg-small", "--enable-delete-retention", "true", "--delete-retention-days", "7")
	blob := func(args ...string) []string {
		return append(append([]string{"storage", "blob"}, args...), "-c", "data", "--account-name", "stsmall001", "--auth-mode", "login")
	}
	e.az(nil, blob("upload", "-n", "b.txt", "-f", up, "--no-progress")...)
	e.az(nil, blob("delete", "-n", "b.txt")...)
	if got := e.azNames(blob("list")...); got != "" {
		t.Errorf("after deletion: %s", got)
	}
	if got := e.azNames(blob("list", "--include", "d")...); got != "b.txt" {
		t.Errorf("deleted: %s", got)
	}
	e.az(nil, blob("undelete", "-n", "b.txt")...)
	if got := e.azNames(blob("list")...); got != "b.txt" {
		t.Errorf("after undelete: %s", got)
	}
}

// azManagedNetwork gives a workspace a managed network, a rule and a connection with az
// rest, as people do whose az has no ml extension.
func (e *env) azManagedNetwork(arm string) {
	e.t.Helper()
	const version = "?api-version=2024-04-01"
	ws := arm + "/resourceGroups/rg-small/providers/Microsoft.MachineLearningServices/workspaces/mlw-az"
	put := func(out any, path, body string) {
		e.t.Helper()
		e.az(out, "rest", "--method", "put", "--url", ws+path+version, "--body", body)
	}
	var made struct {
		Properties struct {
			ManagedNetwork struct{ IsolationMode string }
		}
	}
	put(&made, "", `{"location":"westeurope","identity":{"type":"SystemAssigned"},"properties":{"storageAccount":"`+smallAccount+`","keyVault":"`+smallVault+
		`","provisionNetworkNow":true,"managedNetwork":{"isolationMode":"AllowOnlyApprovedOutbound"}}}`)
	var rule struct {
		Properties struct{ Status, Category string }
	}
	put(&rule, "/outboundRules/pypi", `{"properties":{"type":"FQDN","destination":"pypi.org, *.pypi.org"}}`)
	if made.Properties.ManagedNetwork.IsolationMode != "AllowOnlyApprovedOutbound" || rule.Properties.Status != "Active" || rule.Properties.Category != "UserDefined" {
		e.t.Errorf("workspace %+v, rule %+v", made, rule)
	}
	e.azFails("is of category Required and cannot be deleted", "rest", "--method", "delete", "--url", ws+"/outboundRules/__SYS_ST_AzureMonitor_TCP"+version)
	e.az(nil, "rest", "--method", "delete", "--url", ws+version)
}
