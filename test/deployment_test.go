package test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const storageTemplate = `{ // as people write them
	"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
	"contentVersion": "1.0.0.0",
	"parameters": {"count": {"type": "int", "defaultValue": 1}, "secret": {"type": "secureString", "defaultValue": "[newGuid()]"}},
	"variables": {"account": "[concat('st', uniqueString(resourceGroup().id))]"},
	"resources": [
		{"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "[variables('account')]", "location": "[resourceGroup().location]",
			"sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "properties": {}},
		{"type": "Microsoft.Storage/storageAccounts/blobServices/containers", "apiVersion": "2023-01-01", "name": "[format('{0}/default/box-{1}', variables('account'), copyIndex())]",
			"copy": {"name": "boxes", "count": "[parameters('count')]"}, "dependsOn": ["[variables('account')]"]},
		{"type": "Microsoft.KeyVault/vaults", "apiVersion": "2023-07-01", "name": "[concat('kv', uniqueString(resourceGroup().id))]", "location": "[resourceGroup().location]",
			"properties": {"tenantId": "[subscription().tenantId]", "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": true, "accessPolicies": []},
			"resources": [{"type": "secrets", "apiVersion": "2023-07-01", "name": "key", "dependsOn": ["[concat('kv', uniqueString(resourceGroup().id))]", "[variables('account')]"],
				"properties": {"value": "[listKeys(variables('account'), '2023-01-01').keys[0].value]"}}]}
	],
	"outputs": {"blob": {"type": "string", "value": "[reference(variables('account')).primaryEndpoints.blob]"}}
}`

// TestAzureCLIDeployments deploys templates with az, exports the group, deletes it
// and has its template make it again.
func TestAzureCLIDeployments(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e := newEnv(t)
	e.serve()
	dir := write(t, map[string]string{
		"main.json":   storageTemplate,
		"params.json": `{"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#", "contentVersion": "1.0.0.0", "parameters": {"count": {"value": 2}}}`,
	})
	main, params := filepath.Join(dir, "main.json"), filepath.Join(dir, "params.json")
	az := func(out any, words string, args ...string) {
		t.Helper()
		e.az(out, append(strings.Fields(words), args...)...)
	}
	az(nil, "group create -n rg-arm -l westeurope")
	type deployment struct {
		Properties struct {
			ProvisioningState string
			Outputs           struct{ Blob struct{ Value string } }
			Parameters        map[string]struct{ Type, Value any }
		}
	}
	var d deployment
	if az(&d, "deployment group validate -g rg-arm -f", main); d.Properties.ProvisioningState != "Succeeded" {
		t.Errorf("validated: %+v", d)
	}
	az(&d, "deployment group create -g rg-arm -n first -f", main, "-p", params)
	if p := d.Properties; p.ProvisioningState != "Succeeded" || !strings.HasPrefix(p.Outputs.Blob.Value, "https://st") || p.Parameters["secret"].Value != nil {
		t.Errorf("created: %+v", d)
	}
	if got := e.azNames("deployment", "group", "list", "-g", "rg-arm"); got != "first" {
		t.Errorf("deployments: %s", got)
	}
	var ops []struct {
		Properties struct{ ProvisioningState string }
	}
	if az(&ops, "deployment operation group list -g rg-arm -n first"); len(ops) != 6 {
		t.Errorf("operations: %+v", ops)
	}
	var changes struct {
		Changes []struct{ ChangeType, ResourceID string }
	}
	az(&changes, "deployment group what-if -g rg-arm --no-pretty-print -f", main, "-p", "count=3")
	var created []string
	for _, c := range changes.Changes {
		if c.ChangeType == "Create" {
			created = append(created, c.ResourceID[strings.LastIndexByte(c.ResourceID, '/')+1:])
		}
	}
	if strings.Join(created, " ") != "box-2" {
		t.Errorf("what if: %+v", changes)
	}
	var tagged struct {
		Properties struct{ Tags map[string]string }
	}
	var group struct{ ID string }
	az(&group, "group show -n rg-arm")
	az(nil, "tag create --resource-id", group.ID, "--tags", "a=b")
	if az(&tagged, "tag update --operation merge --resource-id", group.ID, "--tags", "c=d"); len(tagged.Properties.Tags) != 2 {
		t.Errorf("tags: %+v", tagged)
	}
	e.azFails("InvalidTemplate", "deployment", "group", "create", "-g", "rg-arm", "-f", main, "-p", "count=900")

	var exported json.RawMessage
	az(&exported, "group export -n rg-arm --include-parameter-default-value")
	before := e.azNames("resource", "list", "-g", "rg-arm")
	az(nil, "group delete -n rg-arm --yes")
	vault := before[strings.Index(before, "kv"):]
	vault, _, _ = strings.Cut(vault, " ")
	az(nil, "keyvault purge -n", vault)
	az(nil, "group create -n rg-arm -l westeurope")
	again := filepath.Join(write(t, map[string]string{"again.json": string(exported)}), "again.json")
	if az(&d, "deployment group create -g rg-arm -n again -f", again); d.Properties.ProvisioningState != "Succeeded" {
		t.Errorf("made again: %+v", d)
	}
	if after := e.azNames("resource", "list", "-g", "rg-arm"); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	if got := e.azNames("storage", "container-rm", "list", "--storage-account", before[strings.Index(before, "st"):][:15]); got != "box-0 box-1" {
		t.Errorf("containers: %s", got)
	}
}

// TestDeploymentsSurviveCrashes kills the server in the middle of deployments: each
// that was acknowledged goes on and ends.
func TestDeploymentsSurviveCrashes(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	var mu sync.Mutex
	all := map[string]bool{}
	const group = subscription + "/resourceGroups/rg-crash"
	path := func(name string) string { return group + "/providers/Microsoft.Resources/deployments/" + name }
	// a chain of groups of rules, so that there is time to die in
	body := func(name string) string {
		return fmt.Sprintf(`{"properties":{"mode":"Incremental","template":{"$schema":"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#","contentVersion":"1.0.0.0",
			"resources":[{"type":"Microsoft.Network/networkSecurityGroups","apiVersion":"2023-09-01","name":"[format('%s-{0}', copyIndex())]","location":"westeurope","copy":{"name":"c","count":20,"mode":"serial"}}]}}}`, name)
	}
	for round := range crashRounds(t, 3) {
		s := e.serve()
		w := e.wire()
		if _, err := w.arm(ctx, http.MethodPut, group, groupAPI, `{"location":"westeurope"}`); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for worker := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("d-%d-%d-%d", round, worker, i)
					if _, err := w.arm(ctx, http.MethodPut, path(name), groupAPI, body(name)); err != nil {
						return
					}
					mu.Lock()
					all[name] = true
					n := len(all)
					mu.Unlock()
					if n >= (round+1)*4+rand.IntN(3) {
						s.cmd.Process.Kill()
						return
					}
				}
			})
		}
		wg.Wait()
		s.kill()
	}
	e.serve()
	w := e.wire()
	for name := range all {
		if state := deploymentEnd(ctx, t, w, path(name)); state != "Succeeded" {
			t.Errorf("%s is %s", name, state)
		}
		if _, err := w.arm(ctx, http.MethodGet, group+"/providers/Microsoft.Network/networkSecurityGroups/"+name+"-19", groupAPI, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d deployments", len(all))
}

// deploymentEnd waits until a deployment has ended.
func deploymentEnd(ctx context.Context, t *testing.T, w *wire, path string) string {
	t.Helper()
	for {
		b, err := w.arm(ctx, http.MethodGet, path, groupAPI, "")
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Properties struct{ ProvisioningState string }
		}
		if err := json.Unmarshal(b.body, &d); err != nil {
			t.Fatal(err)
		}
		if d.Properties.ProvisioningState != "Running" {
			return d.Properties.ProvisioningState
		}
	}
}
