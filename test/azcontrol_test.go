package test

import (
	"slices"
	"strings"
	"testing"
)

// azEnv is a running server with an empty resource group, and az.
func azEnv(t *testing.T, group string) (*env, func(out any, words string, more ...string)) {
	t.Helper()
	need(t, "az")
	t.Parallel()
	e := newEnv(t)
	e.serve()
	e.az(nil, "group", "create", "-n", group, "-l", "westeurope")
	return e, func(out any, words string, more ...string) {
		t.Helper()
		e.az(out, slices.Concat(strings.Fields(words), more, []string{"-g", group})...)
	}
}

// TestAzureCLINetwork stands up a hub and a spoke with az network, and gives an
// account a private endpoint and its name.
func TestAzureCLINetwork(t *testing.T) {
	e, az := azEnv(t, "rg-az-network")
	az(nil, "network nsg create -n nsg")
	az(nil, "network nsg rule create --nsg-name nsg -n in --priority 100 --destination-port-ranges 44224 --access Allow --protocol Tcp")
	az(nil, "network vnet create -n hub --address-prefixes 10.0.0.0/16 --subnet-name endpoints --subnet-prefixes 10.0.1.0/24")
	az(nil, "network vnet create -n spoke --address-prefixes 10.1.0.0/16")
	var subnet struct {
		NetworkSecurityGroup struct{ ID string }
		ServiceEndpoints     []struct{ Service string }
	}
	az(&subnet, "network vnet subnet create --vnet-name spoke -n compute --address-prefixes 10.1.1.0/24 --network-security-group nsg --service-endpoints Microsoft.Storage")
	if !strings.HasSuffix(subnet.NetworkSecurityGroup.ID, "/nsg") || len(subnet.ServiceEndpoints) != 1 {
		t.Errorf("subnet: %+v", subnet)
	}
	az(nil, "network vnet peering create --vnet-name hub -n peer --remote-vnet spoke --allow-vnet-access")
	var peering struct{ PeeringState string }
	if az(&peering, "network vnet peering create --vnet-name spoke -n peer --remote-vnet hub --allow-vnet-access"); peering.PeeringState != "Connected" {
		t.Errorf("peering: %+v", peering)
	}
	var account struct{ ID string }
	az(&account, "storage account create -n staznetwork --sku Standard_LRS")
	var endpoint struct {
		PrivateLinkServiceConnections []struct{ PrivateLinkServiceConnectionState struct{ Status string } }
	}
	az(&endpoint, "network private-endpoint create -n pe --vnet-name hub --subnet endpoints --group-id blob --connection-name blob --private-connection-resource-id", account.ID)
	if c := endpoint.PrivateLinkServiceConnections; len(c) != 1 || c[0].PrivateLinkServiceConnectionState.Status != "Approved" {
		t.Errorf("private endpoint: %+v", endpoint)
	}
	const zone = "privatelink.blob.core.windows.net"
	az(nil, "network private-dns zone create -n "+zone)
	az(nil, "network private-dns link vnet create -n hub -v hub -e false -z "+zone)
	az(nil, "network private-endpoint dns-zone-group create --endpoint-name pe -n default --zone-name blob --private-dns-zone "+zone)
	var records []struct {
		Name     string
		ARecords []struct{ Ipv4Address string }
	}
	az(&records, "network private-dns record-set a list -z "+zone)
	if len(records) != 1 || records[0].Name != "staznetwork" || !strings.HasPrefix(records[0].ARecords[0].Ipv4Address, "10.0.1.") {
		t.Errorf("records: %+v", records)
	}
	e.azFails("InUseSubnetCannotBeDeleted", "network", "vnet", "subnet", "delete", "-g", "rg-az-network", "--vnet-name", "hub", "-n", "endpoints")
	var tagged struct{ Tags map[string]string }
	if az(&tagged, "network vnet update -n hub --set tags.team=ml"); tagged.Tags["team"] != "ml" {
		t.Errorf("tagged: %+v", tagged)
	}
	if got := e.azNames("network", "vnet", "list"); got != "hub spoke" {
		t.Errorf("networks: %s", got)
	}
	e.az(nil, "group", "delete", "-n", "rg-az-network", "--yes")
}

// TestAzureCLIAccess makes a role, gives it to an identity and takes it away, and
// locks what they are in.
func TestAzureCLIAccess(t *testing.T) {
	e, az := azEnv(t, "rg-az-access")
	var identity struct{ PrincipalID string }
	az(&identity, "identity create -n id-az")
	az(nil, "identity federated-credential create --identity-name id-az -n ci-az --issuer https://token.actions.githubusercontent.com --subject repo:a/b --audiences api://AzureADTokenExchange")
	e.az(nil, "role", "definition", "create", "--role-definition", `{"Name":"Az operator","Description":"of az","Actions":["Microsoft.MachineLearningServices/*"],
		"NotActions":["Microsoft.MachineLearningServices/workspaces/delete"],"AssignableScopes":["`+subscription+`"]}`)
	var roles []struct{ RoleName string }
	if e.az(&roles, "role", "definition", "list", "--custom-role-only", "true"); len(roles) != 1 || roles[0].RoleName != "Az operator" {
		t.Errorf("custom roles: %+v", roles)
	}
	az(nil, "role assignment create --assignee-object-id "+identity.PrincipalID+" --assignee-principal-type ServicePrincipal --role", "Az operator")
	az(nil, "role assignment create --role Reader --assignee "+identity.PrincipalID)
	var assignments []struct{ RoleDefinitionName, PrincipalType string }
	az(&assignments, "role assignment list")
	var names []string
	for _, a := range assignments {
		names = append(names, a.RoleDefinitionName)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"Az operator", "Reader"}) {
		t.Errorf("assignments: %+v", assignments)
	}
	az(nil, "role assignment delete --assignee "+identity.PrincipalID)
	e.az(nil, "role", "definition", "delete", "--name", "Az operator")
	az(nil, "lock create -n keep --lock-type CanNotDelete")
	e.azFails("ScopeLocked", "group", "delete", "-n", "rg-az-access", "--yes")
	if got := e.azNames("lock", "list", "-g", "rg-az-access"); got != "keep" {
		t.Errorf("locks: %s", got)
	}
	az(nil, "lock delete -n keep")
	e.az(nil, "group", "delete", "-n", "rg-az-access", "--yes")
}

// TestAzureCLIKeyVault keeps secrets, keys and certificates, and purges their vault.
func TestAzureCLIKeyVault(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e, _, _ := vaultEnv(t, "kv-az")
	kv := func(out any, words string) {
		t.Helper()
		e.az(out, append(append([]string{"keyvault"}, strings.Fields(words)...), "--vault-name", "kv-az")...)
	}
	var secret struct{ Value, Name string }
	kv(nil, "secret set -n password --value one")
	kv(nil, "secret set -n password --value two")
	if kv(&secret, "secret show -n password"); secret.Value != "two" || secret.Name != "password" {
		t.Errorf("secret: %+v", secret)
	}
	if got := e.azNames("keyvault", "secret", "list", "--vault-name", "kv-az"); got != "password" {
		t.Errorf("secrets: %s", got)
	}
	kv(nil, "secret delete -n password")
	if got := e.azNames("keyvault", "secret", "list-deleted", "--vault-name", "kv-az"); got != "password" {
		t.Errorf("deleted secrets: %s", got)
	}
	kv(nil, "secret recover -n password")
	var key struct{ Key struct{ Kty string } }
	if kv(&key, "key create -n k1 --kty RSA"); key.Key.Kty != "RSA" {
		t.Errorf("key: %+v", key)
	}
	if got := e.azNames("keyvault", "key", "list", "--vault-name", "kv-az"); got != "k1" {
		t.Errorf("keys: %s", got)
	}
	e.az(nil, "keyvault", "delete", "-n", "kv-az")
	if got := e.azNames("keyvault", "list-deleted"); got != "kv-az" {
		t.Errorf("deleted vaults: %s", got)
	}
	e.az(nil, "keyvault", "purge", "-n", "kv-az")
}

// TestAzureCLIMonitorAndRegistry keeps a workspace of logs and a registry.
func TestAzureCLIMonitorAndRegistry(t *testing.T) {
	e, az := azEnv(t, "rg-az-monitor")
	var keys struct{ PrimarySharedKey string }
	az(nil, "monitor log-analytics workspace create -n law-az")
	if az(&keys, "monitor log-analytics workspace get-shared-keys -n law-az"); keys.PrimarySharedKey == "" {
		t.Error("no shared key")
	}
	var log []struct{ OperationName struct{ Value string } }
	if az(&log, "monitor activity-log list"); len(log) == 0 || log[0].OperationName.Value != "Microsoft.OperationalInsights/workspaces/sharedKeys/action" {
		t.Errorf("activity log: %+v", log)
	}
	az(nil, "acr create -n acrazmonitor --sku Basic")
	e.az(nil, "acr", "update", "-n", "acrazmonitor", "--admin-enabled", "true")
	var credentials struct{ Username string }
	if e.az(&credentials, "acr", "credential", "show", "-n", "acrazmonitor"); credentials.Username != "acrazmonitor" {
		t.Errorf("credentials: %+v", credentials)
	}
	e.az(nil, "group", "delete", "-n", "rg-az-monitor", "--yes")
}
