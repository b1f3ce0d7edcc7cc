package provider

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func TestValuesSurviveTerraform(t *testing.T) {
	as := attributes{
		"s": {Type: "string"}, "b": {Type: "bool"}, "n": {Type: "float"}, "u": {Type: "string"}, "z": {Type: "string"},
		"l": {Type: "list", Attributes: attributes{"x": {Type: "int"}}, Block: true},
		"m": {Type: "map", Elem: "string"}, "set": {Type: "set", Elem: "string"},
	}
	in := obj{
		"s": "a", "b": true, "n": 0.1, "u": unknown, "z": nil, "m": obj{"k": "v"}, "set": []any{"p", "q"},
		"l": []any{obj{"x": 3.0}, obj{"x": nil}},
	}
	dv, err := dynamic(in, as)
	if err != nil {
		t.Fatal(err)
	}
	out, err := (&server{}).object(dv, as)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got %v, want %v", out, in)
	}
	// Services answer some numbers and booleans as text.
	for text, typ := range map[string]tftypes.Type{"7": tftypes.Number, "true": tftypes.Bool} {
		if _, err := toTF(text, typ); err != nil {
			t.Error(err)
		}
	}
	if _, err := toTF("seven", tftypes.Number); err == nil {
		t.Error("seven is taken for a number")
	}
}

func TestMergeDocument(t *testing.T) {
	base := obj{"tags": obj{"a": "1", "b": "2"}, "properties": obj{"x": 1.0, "y": obj{"z": 2.0, "w": 3.0}, "list": []any{1.0}, "plan": obj{"id": "p"}}}
	got := mergeDocument(base, obj{"tags": obj{"c": "3"}, "properties": obj{"x": nil, "y": obj{"z": 4.0}, "list": []any{}, "plan": obj{"id": nil}, "none": obj{"id": nil}, "empty": obj{}}})
	want := obj{"tags": obj{"c": "3"}, "properties": obj{"y": obj{"z": 4.0, "w": 3.0}, "list": []any{}, "empty": obj{}}}
	if !equalValues(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIdentity(t *testing.T) {
	as := newDriver(t, 3, nil).kind("azurerm_storage_account").Attributes
	id := groupID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
	c := codec{major: 3}
	doc := obj{}
	c.encode([]field{identity(noIdentity())}, as, obj{"identity": []any{obj{"type": "SystemAssigned, UserAssigned", "identity_ids": []any{id}}}}, doc)
	want := obj{"identity": obj{"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": obj{id: obj{}}}}
	if !equalValues(doc, want) {
		t.Errorf("got %v, want %v", doc, want)
	}
	state := obj{}
	c.decode([]field{identity(nil)}, as, obj{"identity": obj{
		"type": "systemassigned,userassigned", "principalId": "p", "tenantId": "t",
		"userAssignedIdentities": obj{strings.Replace(id, "resourceGroups", "resourcegroups", 1): obj{}},
	}}, state)
	if got, want := first(state["identity"]), (obj{"type": "SystemAssigned, UserAssigned", "identity_ids": []any{id}, "principal_id": "p", "tenant_id": "t"}); !equalValues(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.decode([]field{identity(nil)}, as, obj{"identity": obj{"type": "None"}}, state)
	if len(asList(state["identity"])) != 0 {
		t.Errorf("got %v, want none", state["identity"])
	}
	doc = obj{}
	c.encode([]field{identity(noIdentity())}, as, obj{"identity": []any{}}, doc)
	if !equalValues(doc, obj{"identity": noIdentity()}) {
		t.Errorf("got %v", doc)
	}
}

// A network's update leaves the subnets alone that have resources of their own.
func TestNetworkKeepsSubnets(t *testing.T) {
	d := newDriver(t, 5, nil)
	d.group()
	config := obj{"name": "vnet", "location": "eastus", "resource_group_name": "rg", "address_space": []any{"10.0.0.0/16"}}
	state := d.must("azurerm_virtual_network", nil, config)
	d.must("azurerm_subnet", nil, obj{"name": "a", "resource_group_name": "rg", "virtual_network_name": "vnet", "address_prefixes": []any{"10.0.1.0/24"}})
	state, _ = d.read("azurerm_virtual_network", state)
	if len(asList(state["subnet"])) != 1 {
		t.Fatalf("the network's subnets are %v", state["subnet"])
	}
	config["tags"] = obj{"a": "b"}
	sent := ""
	d.azure.refuse = func(_ http.ResponseWriter, r *http.Request) bool { sent += r.Method; return false }
	state = d.must("azurerm_virtual_network", state, config)
	if !strings.Contains(sent, "PUT") || len(asList(state["subnet"])) != 1 {
		t.Errorf("after the update (%s) the subnets are %v", sent, state["subnet"])
	}
}

// Containers are reached by URL or by ARM ID, file systems by URL.
func TestDataPlanes(t *testing.T) {
	for _, major := range []int{3, 5} {
		d := newDriver(t, major, nil)
		d.group()
		account := d.must("azurerm_storage_account", nil, obj{"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Standard", "account_replication_type": "LRS"})
		config := obj{"name": "data", "storage_account_id": account["id"], "metadata": obj{"a": "1"}}
		want := asString(account["id"]) + "/blobServices/default/containers/data"
		if major == 3 {
			config = obj{"name": "data", "storage_account_name": "st0001", "metadata": obj{"a": "1"}}
			want = "https://st0001.blob.core.windows.net/data"
		}
		state := d.must("azurerm_storage_container", nil, config)
		if state["id"] != want {
			t.Errorf("the ID is %v, want %s", state["id"], want)
		}
		_, diags := d.apply("azurerm_storage_container", nil, config)
		wantError(t, diags, "already exists")
		config["metadata"], config["container_access_type"] = obj{"b": "2"}, "blob"
		state = d.must("azurerm_storage_container", state, config)
		if state["container_access_type"] != "blob" || !equalValues(state["metadata"], obj{"b": "2"}) {
			t.Errorf("%d.x: after the update: %v", major, state)
		}
		if _, diags := d.apply("azurerm_storage_container", state, nil); len(diags) > 0 {
			t.Error(says(diags))
		}
		if state, _ = d.read("azurerm_storage_container", state); state != nil {
			t.Errorf("the container is still there: %v", state)
		}
	}
}

// Where no file systems are served, the container of the same name is used.
func TestFilesystemAsContainer(t *testing.T) {
	d := newDriver(t, 3, nil)
	d.group()
	account := d.must("azurerm_storage_account", nil, obj{"name": "st0001", "location": "eastus", "resource_group_name": "rg", "account_tier": "Standard", "account_replication_type": "LRS", "is_hns_enabled": true})
	d.azure.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Host, ".dfs.") {
			w.WriteHeader(http.StatusNotImplemented)
			return true
		}
		return false
	}
	config := obj{"name": "lake", "storage_account_id": account["id"], "properties": obj{"kind": "cmF3"}}
	state := d.must("azurerm_storage_data_lake_gen2_filesystem", nil, config)
	if state["id"] != "https://st0001.dfs.core.windows.net/lake" || !equalValues(state["properties"], obj{"kind": "cmF3"}) {
		t.Errorf("the state is %v", state)
	}
	if kept := d.azure.data["st0001.blob.core.windows.net/lake"]; kept.Get("x-ms-meta-kind") != "raw" {
		t.Errorf("the container is %v", kept)
	}
	if planned, _ := d.plan("azurerm_storage_data_lake_gen2_filesystem", state, config); !equalValues(planned, state) {
		t.Error("the plan is not empty")
	}
	config["owner"] = testObject
	_, diags := d.apply("azurerm_storage_data_lake_gen2_filesystem", state, config)
	wantError(t, diags, "setting access control for the root")
}

func FuzzIDs(f *testing.F) {
	f.Add(groupID)
	f.Add(groupID + "/providers/Microsoft.MachineLearningServices/workspaces/w/computes/c")
	f.Add("https://st0001.blob.core.windows.net/data")
	f.Add("/x" + roleAssignments + "y")
	f.Fuzz(func(t *testing.T, id string) {
		if args, err := computeID().parse(id); err == nil {
			if got := computeID().build(testSubscription, args); got != id {
				t.Errorf("%q is built again as %q", id, got)
			}
		}
		if scope, name, err := splitExtension(id, roleAssignments); err == nil && (scope == "" || name == "") {
			t.Errorf("%q has the scope %q and the name %q", id, scope, name)
		}
		o := &operation{session: &session{storageSuffix: "core.windows.net", major: 4}}
		if c, err := o.container(id); err == nil && (c.name == "" || c.account == "") {
			t.Errorf("%q is the container %v", id, c)
		}
		_ = canonicalID(id)
		_ = matchPattern("/subscriptions/*/resourceGroups/*", id)
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"A","message":"b","details":[{"code":"c"}]}}`), "user::rwx,default:group:g:r-x", "a=Yg==")
	f.Add([]byte(`<?xml version="1.0"?><Error><Code>A</Code></Error>`), ",,", "=")
	f.Fuzz(func(t *testing.T, raw []byte, acl, properties string) {
		if parseError(400, raw).Error() == "" || storageError(400, http.Header{}, raw).Error() == "" {
			t.Error("an error says nothing")
		}
		if again := parseACL(formatACL(parseACL(acl))); len(again) != len(parseACL(acl)) {
			t.Errorf("%q has %d entries, then %d", acl, len(parseACL(acl)), len(again))
		}
		if p, err := decodeProperties(properties); err == nil {
			if again, err := decodeProperties(encodeProperties(p)); err != nil || !equalValues(p, again) {
				t.Errorf("%q: %v, then %v, %v", properties, p, again, err)
			}
		}
	})
}
