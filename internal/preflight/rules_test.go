package preflight_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/preflight"
	"github.com/azimuth-ml/azimuth/internal/rp/authorization"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	prefix    = rptest.Group + "/providers/"
	account   = prefix + "Microsoft.Storage/storageAccounts/st1"
	registry  = prefix + "Microsoft.ContainerRegistry/registries/acr01"
	workspace = prefix + "Microsoft.MachineLearningServices/workspaces/mlw"
	insights  = prefix + "Microsoft.Insights/components/ai"
	vnet      = prefix + "Microsoft.Network/virtualNetworks/vnet"
	endpoint  = prefix + "Microsoft.Network/privateEndpoints/pe"
	principal = "11111111-1111-1111-1111-111111111111"
)

func doc(s string) arm.Doc {
	d := arm.Doc{}
	for pair := range strings.FieldsSeq(s) {
		path, value, _ := strings.Cut(pair, "=")
		switch {
		case value == "true", value == "false":
			d.Set(path, value == "true")
		case strings.HasPrefix(path, "connection"): // of a private endpoint
			d.Set("properties.privateLinkServiceConnections", []any{map[string]any{"properties": map[string]any{"privateLinkServiceId": value}}})
		case strings.HasPrefix(value, "["):
			d.Set(path, []any{strings.Trim(value, "[]")})
		case strings.HasSuffix(path, "Count"), strings.HasSuffix(path, "priority"):
			n, _ := strconv.Atoi(value)
			d.Set(path, float64(n))
		default:
			d.Set(path, value)
		}
	}
	return d
}

// environment is one without a finding, but for what overrides change of it.
func environment(overrides map[string]string) map[string]arm.Doc {
	base := map[string]string{
		account:  "kind=StorageV2 properties.isHnsEnabled=false",
		registry: "sku.name=Standard properties.adminUserEnabled=false",
		insights: "properties.WorkspaceResourceId=/x",
		workspace: "properties.storageAccount=" + account + " properties.containerRegistry=" + registry +
			" properties.applicationInsights=" + insights,
		workspace + "/computes/cpu-cluster": "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3 " +
			"properties.properties.vmPriority=Dedicated identity.type=SystemAssigned identity.principalId=" + principal,
		registry + "/providers/Microsoft.Authorization/roleAssignments/pull": "properties.principalId=" + principal +
			" properties.roleDefinitionId=/x/7f951dda-4ed3-4680-a7ca-43fe172d538d",
		account + "/providers/Microsoft.Authorization/roleAssignments/read": "properties.principalId=" + principal +
			" properties.roleDefinitionId=/x/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
	}
	out := map[string]arm.Doc{}
	for id, s := range base {
		out[id] = doc(s)
	}
	for id, s := range overrides {
		if s == "" {
			delete(out, id)
			continue
		}
		out[id] = doc(s)
	}
	return out
}

func TestRules(t *testing.T) {
	cluster := workspace + "/computes/cpu-cluster"
	instance := workspace + "/computes/ci"
	pull := registry + "/providers/Microsoft.Authorization/roleAssignments/pull"
	closed := "properties.containerRegistry=" + registry + " properties.managedNetwork.isolationMode=AllowOnlyApprovedOutbound"
	cases := []struct {
		name      string
		overrides map[string]string
		want      string // rule:severity, sorted
	}{
		{"nothing wrong", nil, ""},
		{"hierarchical namespace", map[string]string{account: "properties.isHnsEnabled=true"}, "hns-default-storage:refused"},
		{"classic insights", map[string]string{insights: "kind=web"}, "classic-application-insights:fails later"},
		{"retired size", map[string]string{cluster: "properties.computeType=AmlCompute properties.properties.vmSize=Standard_NC6s_v3 identity.principalId=" + principal}, "retired-vm-size:refused"},
		{"a size that the region lacks", map[string]string{cluster: "location=norwaywest properties.computeType=AmlCompute properties.properties.vmSize=Standard_NC4as_T4_v3 identity.principalId=" + principal}, "size-not-in-region:refused"},
		{"a size that the region has", map[string]string{cluster: "location=eastus properties.computeType=AmlCompute properties.properties.vmSize=Standard_NC4as_T4_v3 identity.principalId=" + principal}, ""},
		{"no identity", map[string]string{cluster: "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3"}, "compute-identity:fails later"},
		{"no identity, but an admin user", map[string]string{
			cluster:  "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3",
			registry: "sku.name=Standard properties.adminUserEnabled=true"}, ""},
		{"identity that cannot pull", map[string]string{pull: ""}, "compute-identity:warning"},
		{"low priority", map[string]string{cluster: "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3 properties.properties.vmPriority=LowPriority identity.principalId=" + principal}, "low-priority-retirement:warning"},
		{"instance", map[string]string{instance: "properties.computeType=ComputeInstance properties.properties.vmSize=Standard_D4s_v3 identity.principalId=" + principal}, "instance-never-stops:warning"},
		{"instance that stops", map[string]string{instance: "properties.computeType=ComputeInstance properties.properties.vmSize=Standard_D4s_v3 properties.properties.idleTimeBeforeShutdown=PT30M identity.principalId=" + principal}, ""},
		{"private endpoints in view", map[string]string{vnet: "location=eastus", vnet + "/subnets/snet-private-endpoints": "properties.addressPrefix=10.0.0.0/24"}, "registry-private-endpoint:warning"},
		{"an endpoint to a small registry", map[string]string{endpoint: "connection=" + registry}, "private-endpoint-registry-sku:refused registry-private-endpoint:warning"},
		{"an endpoint to a large registry", map[string]string{registry: "sku.name=Premium", endpoint: "connection=" + registry}, ""},
		{"an endpoint to an account", map[string]string{registry: "sku.name=Premium", endpoint: "connection=" + account}, ""},
		{"a managed network with a small registry", map[string]string{workspace: closed, cluster: ""}, "managed-network-registry-sku:fails later"},
		{"a managed network with a large registry", map[string]string{workspace: closed, cluster: "", registry: "sku.name=Premium"}, ""},
		{"a name with a dash and a number", map[string]string{
			cluster:                       "",
			workspace + "/computes/cpu-1": "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3 identity.principalId=" + principal}, "compute-name:warning"},
	}
	const inSubnet = "properties.computeType=AmlCompute properties.properties.vmSize=Standard_D4s_v3 identity.principalId=" + principal +
		" properties.properties.subnet.id=" + vnet + "/subnets/one properties.properties.scaleSettings.maxNodeCount="
	group := prefix + "Microsoft.Network/networkSecurityGroups/nsg"
	for name, n := range map[string]struct{ space, range1, most, group, want string }{
		"a subnet that is large enough": {"10.0.0.0/16", "10.0.1.0/28", "11", "", ""},
		"a subnet that is too small":    {"10.0.0.0/16", "10.0.1.0/28", "12", "", "subnet-too-small:warning"},
		"the range of Docker":           {"172.16.0.0/15", "172.16.1.0/24", "4", "", "docker-range:fails later"},
		"beside the range of Docker":    {"172.18.0.0/16", "172.18.1.0/24", "4", "", ""},
		"a group that lets nothing out": {"10.0.0.0/16", "10.0.1.0/24", "4", group, "compute-network:fails later"},
	} {
		subnet := "properties.addressPrefix=" + n.range1
		if n.group != "" {
			subnet += " properties.networkSecurityGroup.id=" + n.group
		}
		cases = append(cases, struct {
			name      string
			overrides map[string]string
			want      string
		}{name, map[string]string{
			cluster: inSubnet + n.most, vnet: "location=eastus properties.addressSpace.addressPrefixes=[" + n.space + "]", vnet + "/subnets/one": subnet,
			group: "location=eastus",
			group + "/securityRules/none": "properties.direction=Outbound properties.access=Deny properties.protocol=* properties.priority=100" +
				" properties.sourceAddressPrefix=* properties.destinationAddressPrefix=* properties.sourcePortRange=* properties.destinationPortRange=*",
		}, n.want})
	}
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := rptest.New(t, rptest.Options{}, resources.Provider(), authorization.Provider(authorization.Deps{}))
			err := e.Store.Update(t.Context(), func(tx store.Tx) error {
				for id, body := range environment(c.overrides) {
					if err := e.Kernel.Resources().Put(tx, &arm.Resource{ID: id, Body: body}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			checker := preflight.New(e.Store, e.Kernel.Resources(), cat, e.RBAC, rptest.Start)
			found, err := checker.Scan(t.Context(), arm.ID{Subscription: rptest.Subscription})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.Rule+":"+string(f.Severity))
				if f.Message == "" || f.Fix == "" || f.Source == "" || f.ResourceID == "" {
					t.Errorf("incomplete finding: %+v", f)
				}
			}
			slices.Sort(got)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("found %q, want %q", s, c.want)
			}
		})
	}
}
