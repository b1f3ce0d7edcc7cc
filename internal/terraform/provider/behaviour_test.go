package provider

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

const groupID = "/subscriptions/" + testSubscription + "/resourceGroups/rg"

func vault(more obj) obj {
	o := obj{"name": "kv1", "location": "eastus", "resource_group_name": "rg", "tenant_id": testTenant, "sku_name": "standard"}
	for k, v := range more {
		o[k] = v
	}
	return o
}

func cluster(nodes float64, vm string) obj {
	return obj{
		"name": "cpu", "location": "eastus", "machine_learning_workspace_id": groupID + "/providers/Microsoft.MachineLearningServices/workspaces/mlw",
		"vm_size": vm, "vm_priority": "Dedicated",
		"scale_settings": []any{obj{"min_node_count": 0.0, "max_node_count": nodes, "scale_down_nodes_after_idle_duration": "PT15M"}},
	}
}

// workspace puts a workspace into the fake.
func (d *driver) workspace() {
	id := groupID + "/providers/Microsoft.MachineLearningServices/workspaces/mlw"
	d.azure.docs[strings.ToLower(id)] = obj{"id": id, "name": "mlw", "location": "eastus", "sku": obj{"name": "Basic", "tier": "Basic"}}
}

func TestCreateRefusesWhatExists(t *testing.T) {
	for major, words := range map[int]string{
		3: `A resource with the ID "` + groupID + `" already exists - to be managed via Terraform this resource needs to be imported into the State. Please see the resource documentation for "azurerm_resource_group" for more information.`,
		5: `a resource with the ID "` + groupID + `" already exists - to be managed`,
	} {
		d := newDriver(t, major, nil)
		d.group()
		state, diags := d.apply("azurerm_resource_group", nil, obj{"name": "rg", "location": "eastus"})
		wantError(t, diags, words)
		if state != nil {
			t.Errorf("a state is kept: %v", state)
		}
	}
}

// A create that the service takes and then fails leaves a state, so that
// Terraform taints the resource.
func TestFailedCreate(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.workspace()
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/operations/") {
			answer(w, http.StatusOK, obj{"status": "Failed", "error": obj{"code": "ClusterCoreQuotaReached", "message": "No cores are left."}})
			return true
		}
		return false
	}
	state, diags := d.apply("azurerm_machine_learning_compute_cluster", nil, cluster(4, "Standard_D4s_v3"))
	wantError(t, diags, "ClusterCoreQuotaReached: No cores are left.")
	if !strings.HasSuffix(asString(state["id"]), "/computes/cpu") {
		t.Errorf("the state is %v", state)
	}

	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			answer(w, http.StatusBadRequest, obj{"error": obj{"code": "BadRequest", "message": "Cannot use storage with HNS enabled.", "target": "vmSize"}})
			return true
		}
		return false
	}
	other := cluster(4, "Standard_D4s_v3")
	other["name"] = "gpu"
	state, diags = d.apply("azurerm_machine_learning_compute_cluster", nil, other)
	wantError(t, diags, "unexpected status 400 (400 Bad Request) with error: BadRequest: Cannot use storage with HNS enabled.")
	if state != nil {
		t.Errorf("the state is %v, want none", state)
	}
	if len(diags) != 1 || diags[0].Attribute == nil || diags[0].Attribute.String() != `AttributeName("vm_size")` {
		t.Errorf("the error is not at vm_size: %v", diags)
	}
}

func TestReplacement(t *testing.T) {
	tests := map[string]struct {
		major   int
		config  obj
		replace string
	}{
		"same":                           {3, cluster(4, "Standard_D4s_v3"), ""},
		"more nodes, 3.x":                {3, cluster(8, "Standard_D4s_v3"), "scale_settings"},
		"more nodes, 5.x":                {5, cluster(8, "Standard_D4s_v3"), ""},
		"another size":                   {5, cluster(4, "Standard_D8s_v3"), "vm_size"},
		"another spelling of the size":   {5, cluster(4, "standard_d4s_v3"), "vm_size"},
		"another spelling of the region": {3, func() obj { c := cluster(4, "Standard_D4s_v3"); c["location"] = "East US"; return c }(), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, tt.major, nil)
			d.workspace()
			state := d.must("azurerm_machine_learning_compute_cluster", nil, cluster(4, "Standard_D4s_v3"))
			_, resp := d.plan("azurerm_machine_learning_compute_cluster", state, tt.config)
			var got []string
			for _, p := range resp.RequiresReplace {
				got = append(got, p.String())
			}
			if all := strings.Join(got, " "); tt.replace == "" && all != "" || !strings.Contains(all, tt.replace) {
				t.Errorf("replaced because of %q, want %q", all, tt.replace)
			}
		})
	}
}

func TestUpdateInPlace(t *testing.T) {
	d := newDriver(t, 5, nil)
	d.workspace()
	state := d.must("azurerm_machine_learning_compute_cluster", nil, cluster(4, "Standard_D4s_v3"))
	state = d.must("azurerm_machine_learning_compute_cluster", state, cluster(8, "Standard_D4s_v3"))
	if n := first(state["scale_settings"])["max_node_count"]; n != 8.0 {
		t.Errorf("max_node_count is %v", n)
	}
	doc := d.azure.docs[strings.ToLower(asString(state["id"]))]
	if getPath(doc, "properties.properties.scaleSettings.maxNodeCount") != 8.0 || getPath(doc, "properties.properties.vmSize") != "Standard_D4s_v3" {
		t.Errorf("the document is %v", doc)
	}
}

// A vault is updated with what changes, and nothing else.
func TestPatchIsMinimal(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.group()
	state := d.must("azurerm_key_vault", nil, vault(obj{"tags": obj{"a": "1"}}))
	var patch obj
	d.azure.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			raw, err := io.ReadAll(r.Body)
			if err != nil || json.Unmarshal(raw, &patch) != nil {
				t.Error("no body")
			}
			r.Body = io.NopCloser(strings.NewReader(string(raw)))
		}
		return false
	}
	state = d.must("azurerm_key_vault", state, vault(obj{"tags": obj{"b": "2"}, "enabled_for_deployment": true}))
	if want := (obj{"tags": obj{"b": "2"}, "properties": obj{"enabledForDeployment": true}}); !equalValues(patch, want) {
		t.Errorf("the patch is %v, want %v", patch, want)
	}
	if !equalValues(state["tags"], obj{"b": "2"}) {
		t.Errorf("tags are %v", state["tags"])
	}
	// Nothing is left to do, also with the arguments' zero values spelled out.
	planned, resp := d.plan("azurerm_key_vault", state, vault(obj{"tags": obj{"b": "2"}, "enabled_for_deployment": true, "enabled_for_disk_encryption": false}))
	if len(resp.Diagnostics) > 0 || !equalValues(planned, state) {
		t.Errorf("the plan differs from the state:\n%v\n%v", planned, state)
	}
}

func TestVaultRules(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.group()
	state := d.must("azurerm_key_vault", nil, vault(obj{"purge_protection_enabled": true}))
	kept, diags := d.apply("azurerm_key_vault", state, vault(nil))
	wantError(t, diags, "once Purge Protection has been Enabled it's not possible to disable it")
	if !equalValues(kept, state) {
		t.Errorf("the state is %v", kept)
	}
	_, diags = d.apply("azurerm_key_vault", state, vault(obj{"purge_protection_enabled": true, "soft_delete_retention_days": 7.0}))
	wantError(t, diags, "once `soft_delete_retention_days` has been configured it cannot be modified")
}

func TestVaultFeatures(t *testing.T) {
	deleted := strings.ToLower("/subscriptions/" + testSubscription + "/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv1")
	for name, tt := range map[string]struct {
		features obj
		recovers bool
		purges   bool
	}{
		"by default": {nil, true, true},
		"off":        {obj{"key_vault": []any{obj{"recover_soft_deleted_key_vaults": false, "purge_soft_delete_on_destroy": false}}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, 3, complete(newDriver(t, 3, nil).srv.p.table.Provider["features"].Attributes, tt.features))
			d.group()
			d.azure.docs[deleted] = obj{"id": deleted}
			state, diags := d.apply("azurerm_key_vault", nil, vault(nil))
			if !tt.recovers {
				wantError(t, diags, `An existing soft-deleted Key Vault exists with the Name "kv1" in the location "eastus"`)
				delete(d.azure.docs, deleted)
				state = d.must("azurerm_key_vault", nil, vault(nil))
			} else if mode := getPath(d.azure.docs[strings.ToLower(asString(state["id"]))], "properties.createMode"); mode != "recover" {
				t.Errorf("the vault is not recovered: %v, %s", mode, says(diags))
			}
			purged := false
			d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/purge") {
					purged = true
					w.WriteHeader(http.StatusOK)
					return true
				}
				return false
			}
			if _, diags := d.apply("azurerm_key_vault", state, nil); len(diags) > 0 {
				t.Error(says(diags))
			}
			if purged != tt.purges {
				t.Errorf("purged is %v, want %v", purged, tt.purges)
			}
		})
	}
}

func TestDrift(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.group()
	state := d.must("azurerm_key_vault", nil, vault(nil))
	doc := d.azure.docs[strings.ToLower(asString(state["id"]))]
	setPath(doc, "properties.enabledForDeployment", true)
	setPath(doc, "tags", obj{"by": "hand"})
	read, diags := d.read("azurerm_key_vault", state)
	if len(diags) > 0 || read["enabled_for_deployment"] != true || !equalValues(read["tags"], obj{"by": "hand"}) {
		t.Errorf("drift is not seen: %v %s", read, says(diags))
	}
	planned, _ := d.plan("azurerm_key_vault", read, vault(nil))
	if planned["enabled_for_deployment"] == true || len(asObject(planned["tags"])) > 0 {
		t.Errorf("drift is not taken back: %v", planned)
	}
	delete(d.azure.docs, strings.ToLower(asString(state["id"])))
	if read, diags = d.read("azurerm_key_vault", state); read != nil || len(diags) > 0 {
		t.Errorf("a vault that is gone is still there: %v %s", read, says(diags))
	}
}

func TestNotImplemented(t *testing.T) {
	d := newDriver(t, 3, nil)
	if typ := d.missing(); typ != "" {
		_, resp := d.plan(typ, nil, obj{})
		wantError(t, resp.Diagnostics, typ+" is not implemented by Azimuth's built-in provider yet; use --provider registry")
	}

	_, resp := d.plan("azurerm_storage_account", nil, obj{
		"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Standard", "account_replication_type": "LRS",
		"azure_files_authentication": []any{obj{"directory_type": "AADKERB"}},
	})
	wantError(t, resp.Diagnostics, "azure_files_authentication: this argument of azurerm_storage_account is not implemented by Azimuth's built-in provider yet")

	for typ := range d.srv.p.table.DataSources {
		if d.srv.p.data[typ] == nil {
			t.Errorf("data.%s is not implemented", typ)
		}
	}
}

func TestProviderBlock(t *testing.T) {
	d := newDriver(t, 3, nil)
	wantError(t, d.configure(obj{"features": []any{nil}, "subscription_id": "11111111-0000-0000-0000-000000000000"}), "this cloud has the subscription "+testSubscription)
	wantError(t, d.configure(obj{"features": []any{nil}, "client_id": "x", "client_secret": "wrong"}), "AADSTS7000215")
	if diags := d.configure(obj{"features": []any{nil}, "client_id": "x", "client_secret": "right", "subscription_id": testSubscription}); len(diags) > 0 {
		t.Error(says(diags))
	}
	if diags := d.configure(obj{"features": []any{nil}, "use_msi": true}); len(diags) != 1 || !strings.Contains(diags[0].Detail, "It does not use: use_msi") {
		t.Error(says(diags))
	}
	if diags := d.configure(obj{"features": []any{nil}, "client_id": "x", "client_secret": "right"}); len(diags) > 0 {
		t.Error(says(diags))
	}
	ses, err := d.srv.session(t.Context())
	if err != nil || ses.objectID != "0d" || ses.clientID != "x" {
		t.Errorf("the principal is %v, %v", ses, err)
	}
	p := newDriver(t, 3, nil).srv
	p.sessions = map[connection]*session{}
	resp, err := p.ReadResource(t.Context(), &tfprotov5.ReadResourceRequest{TypeName: "azurerm_resource_group", CurrentState: d.value(complete(d.kind("azurerm_resource_group").Attributes, obj{"id": groupID}), d.kind("azurerm_resource_group").Attributes)})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, resp.Diagnostics, "the provider is not configured")
}

// Answers that ask for another attempt get one; an unknown principal is waited
// for, and what cannot be helped is reported.
func TestRetries(t *testing.T) {
	d := newDriver(t, 3, nil)
	failures := map[string]int{}
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || failures[r.URL.Path] == 2 {
			return false
		}
		failures[r.URL.Path]++
		w.Header().Set("Retry-After", "0")
		if strings.Contains(r.URL.Path, "/roleAssignments/") {
			fault(w, http.StatusBadRequest, "PrincipalNotFound", "Principal does not exist in the directory")
			return true
		}
		fault(w, http.StatusTooManyRequests, "TooManyRequests", "slow down")
		return true
	}
	d.group()
	d.must("azurerm_role_assignment", nil, obj{"scope": groupID, "role_definition_name": "AcrPull", "principal_id": testObject})
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			fault(w, http.StatusForbidden, "AuthorizationFailed", "The client does not have authorization to perform action")
			return true
		}
		return false
	}
	_, diags := d.apply("azurerm_role_assignment", nil, obj{"scope": groupID, "role_definition_name": "AcrPull", "principal_id": testObject})
	wantError(t, diags, "AuthorizationFailed")
	_, diags = d.apply("azurerm_role_assignment", nil, obj{"scope": groupID, "role_definition_name": "No such role", "principal_id": testObject})
	wantError(t, diags, "could not find role 'No such role'")
}

// An apply goes on when the server is back after it was gone in the middle of a
// request. What is not safe to repeat is not repeated.
func TestServerRestart(t *testing.T) {
	d := newDriver(t, 3, nil)
	lost := map[string]int{}
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if lost[r.Method] == 3 {
			return false
		}
		lost[r.Method]++
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return false
		}
		_ = conn.Close()
		return true
	}
	d.group()
	if lost[http.MethodGet] != 3 || lost[http.MethodPut] != 3 {
		t.Errorf("lost requests: %v", lost)
	}
	d.must("azurerm_container_registry", nil, obj{"name": "acr001", "location": "eastus", "resource_group_name": "rg", "sku": "Basic"})
	if lost[http.MethodPost] != 3 {
		t.Errorf("a POST that only reads was lost %d times", lost[http.MethodPost])
	}
	lost[http.MethodPost] = 2
	c := &client{http: d.azure.server.Client(), clock: d.azure.config(3).Clock}
	if _, _, _, err := c.send(t.Context(), http.MethodPost, d.azure.server.URL+"/vaults/kv/regenerateKey", nil, func(*http.Request) error { return nil }); err == nil || lost[http.MethodPost] != 3 {
		t.Errorf("a POST that acts: %v after %d", err, lost[http.MethodPost])
	}
	if err := (&client{base: "https://management.azure.com"}).trusts("https://example.com/operations/1"); err == nil {
		t.Error("a token is sent to example.com")
	}
}

func TestTimeouts(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.workspace()
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/operations/") {
			answer(w, http.StatusOK, obj{"status": "InProgress"})
			return true
		}
		return false
	}
	config := cluster(1, "Standard_D4s_v3")
	config["timeouts"] = obj{"create": "40ms", "read": nil, "update": nil, "delete": nil}
	_, diags := d.apply("azurerm_machine_learning_compute_cluster", nil, config)
	wantError(t, diags, "the create timeout is 40ms")
	if d, err := d.kind("azurerm_machine_learning_compute_cluster").timeout("delete"); err != nil || d != 30*time.Minute {
		t.Errorf("the delete timeout is %v, %v", d, err)
	}
}

func TestImportErrors(t *testing.T) {
	d := newDriver(t, 3, nil)
	for typ, ids := range map[string]map[string]string{
		"azurerm_key_vault": {
			groupID: "the number of segments didn't match",
			"/subscriptions/s/resourcegroups/rg/providers/Microsoft.KeyVault/vaults/kv": `segment 2 is "resourcegroups" where "resourceGroups" is expected`,
			"": "an ID is required",
		},
		"azurerm_role_assignment":           {groupID: "expected {scope}/providers/Microsoft.Authorization/roleAssignments/{name}"},
		"azurerm_storage_container":         {"https://x.example.com/c": "expected https://{account}.blob.core.windows.net/{container}"},
		"azurerm_machine_learning_registry": {"x": "does not know"},
		d.missing():                         {"x": "is not implemented"},
	} {
		for id, words := range ids {
			if typ == "" {
				continue // every type is implemented
			}
			resp, err := d.srv.ImportResourceState(t.Context(), &tfprotov5.ImportResourceStateRequest{TypeName: typ, ID: id})
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, resp.Diagnostics, words)
		}
	}
}

func TestUpgradeState(t *testing.T) {
	d := newDriver(t, 3, nil)
	as := d.kind("azurerm_key_vault").Attributes
	resp, err := d.srv.UpgradeResourceState(t.Context(), &tfprotov5.UpgradeResourceStateRequest{
		TypeName: "azurerm_key_vault", Version: 1,
		RawState: &tfprotov5.RawState{JSON: []byte(`{"id":"x","name":"kv","soft_delete_enabled":true,"tags":{"a":"b"}}`)},
	})
	if err != nil || len(resp.Diagnostics) > 0 {
		t.Fatal(err, says(resp.Diagnostics))
	}
	got := d.object(resp.UpgradedState, as)
	if got["name"] != "kv" || got["location"] != nil || !equalValues(got["tags"], obj{"a": "b"}) {
		t.Errorf("the state is %v", got)
	}
}

// Both names of an argument say the same in azurerm 4.
func TestAliasedArguments(t *testing.T) {
	d := newDriver(t, 4, nil)
	d.group()
	for config, want := range map[string]bool{"rbac_authorization_enabled": true, "enable_rbac_authorization": true, "": false} {
		c := vault(nil)
		if config != "" {
			c[config] = true
		}
		state := d.must("azurerm_key_vault", nil, c)
		if state["rbac_authorization_enabled"] != want || state["enable_rbac_authorization"] != want {
			t.Errorf("with %q: %v and %v", config, state["rbac_authorization_enabled"], state["enable_rbac_authorization"])
		}
		planned, _ := d.plan("azurerm_key_vault", state, c)
		if !equalValues(planned, state) {
			t.Errorf("with %q the plan is not empty", config)
		}
		if _, diags := d.apply("azurerm_key_vault", state, nil); len(diags) > 0 {
			t.Fatal(says(diags))
		}
	}
}
