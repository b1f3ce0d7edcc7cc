package machinelearning_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/managedidentity"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// engine records what providers ask of what is behind them.
type engine struct {
	storage.Containers
	pools            map[string]machinelearning.Pool
	nodes            []machinelearning.Node
	status           machinelearning.PoolStatus
	serverless       map[string]int
	quotas           map[string]int
	created, deleted []string
	kept             []string
	instances        map[string]machinelearning.Instance
	asked            []string
	machine          machinelearning.InstanceStatus
	awaited          int
}

func (e *engine) PutInstance(_ store.Tx, in machinelearning.Instance) error {
	e.instances[in.UID] = in
	return nil
}
func (e *engine) InstanceAction(_ store.Tx, uid, action string) error {
	if e.instances[uid].UID == "" {
		return store.ErrNotFound
	}
	if action == "Restart" && e.machine.State == "Stopped" {
		return arm.BadRequest("BadRequest", "a stopped instance cannot restart")
	}
	e.asked = append(e.asked, action)
	e.machine.State = map[string]string{"Start": "Running", "Stop": "Stopped", "Restart": "Running"}[action]
	return nil
}
func (e *engine) DeleteInstance(_ store.Tx, uid string) error {
	delete(e.instances, uid)
	return nil
}
func (e *engine) InstanceStatus(_ store.Tx, uid string) (machinelearning.InstanceStatus, error) {
	if e.instances[uid].UID == "" {
		return machinelearning.InstanceStatus{}, store.ErrNotFound
	}
	return e.machine, nil
}
func (e *engine) AwaitInstance(context.Context, string) { e.awaited++ }

func (e *engine) DeleteAccount(context.Context, store.Tx, string) error { return nil }
func (e *engine) Reclaim()                                              {}
func (e *engine) DeleteVault(store.Tx, string) error                    { return nil }
func (e *engine) PutPool(_ store.Tx, p machinelearning.Pool) error {
	e.pools[p.ID] = p
	return nil
}
func (e *engine) DeletePool(_ store.Tx, id string) error {
	delete(e.pools, id)
	return nil
}
func (e *engine) PoolStatus(_ store.Tx, id string) (machinelearning.PoolStatus, error) {
	if _, ok := e.pools[id]; !ok {
		return machinelearning.PoolStatus{}, store.ErrNotFound
	}
	return e.status, nil
}
func (e *engine) PoolNodes(store.Tx, string) ([]machinelearning.Node, error) { return e.nodes, nil }
func (e *engine) Quotas(store.Tx) (map[string]int, error)                    { return e.quotas, nil }
func (e *engine) SetQuota(_ store.Tx, name string, cores int) error {
	if e.quotas == nil {
		e.quotas = map[string]int{}
	}
	if e.quotas[name] = cores; cores < 0 {
		delete(e.quotas, name)
	}
	return nil
}
func (e *engine) ServerlessCores(store.Tx) (map[string]int, error) { return e.serverless, nil }
func (e *engine) WorkspaceCreated(_ context.Context, p *arm.Put) error {
	e.created = append(e.created, p.Resource.Body.String("properties.workspaceId"))
	return nil
}
func (e *engine) WorkspaceDeleted(_ context.Context, d *arm.Delete) error {
	e.deleted = append(e.deleted, d.Resource.Body.String("properties.workspaceId"))
	return nil
}

func (e *engine) WorkspaceKept(_ context.Context, d *arm.Delete) error {
	e.kept = append(e.kept, d.Resource.Body.String("properties.workspaceId"))
	return nil
}
func (e *engine) Keeps(_ store.Tx, child *arm.Resource) (bool, error) {
	return child.ParsedID().Type() == machinelearning.ConnectionType, nil
}
func (e *engine) WorkspacePurged(_ store.Tx, ws *arm.Resource, _ func(func())) error {
	e.deleted = append(e.deleted, ws.Body.String("properties.workspaceId"))
	return nil
}

const (
	rg       = rptest.Group + "/providers/"
	ws       = rg + "Microsoft.MachineLearningServices/workspaces/mlw-one"
	account  = rg + "Microsoft.Storage/storageAccounts/stone"
	kv       = rg + "Microsoft.KeyVault/vaults/kv-one"
	ai       = rg + "Microsoft.Insights/components/ai-one"
	registry = rg + "Microsoft.ContainerRegistry/registries/acrone"
	vnet     = rg + "Microsoft.Network/virtualNetworks/vnet-one"
	subnet   = vnet + "/subnets/snet"
)

func newEnv(t *testing.T, hold bool) (*rptest.Env, *engine) {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	eng := &engine{pools: map[string]machinelearning.Pool{}, instances: map[string]machinelearning.Instance{}}
	var e *rptest.Env
	links := network.PrivateLinks(func(tx store.Tx, connection *arm.Resource) error {
		return machinelearning.ConnectionChanged(tx, e.Kernel.Resources(), connection)
	})
	e = rptest.New(t, rptest.Options{}, append(links, resources.Provider(), managedidentity.Provider(&rptest.Directory{}),
		storage.Provider(storage.Deps{Containers: eng}), keyvault.Provider(keyvault.Deps{Contents: eng}),
		insights.Provider(insights.Deps{}), containerregistry.Provider(containerregistry.Deps{}),
		network.Provider(network.Deps{Users: func(tx store.Tx, id string) ([]string, error) {
			return machinelearning.InSubnet(tx, e.Kernel.Resources(), id)
		}}),
		machinelearning.Provider(machinelearning.Deps{Catalog: cat, Pools: eng, Instances: eng, Lifecycle: eng, HoldNames: hold}),
	)...)
	e.NewGroup()
	e.Want(200, "PUT", account, `{"kind":"StorageV2","location":"eastus","sku":{"name":"Standard_LRS"},"properties":{"isHnsEnabled":true}}`)
	e.Want(200, "PUT", kv, `{"location":"eastus","properties":{"tenantId":"`+rptest.Tenant+`","sku":{"name":"standard"},"enableRbacAuthorization":true}}`)
	e.Want(200, "PUT", ai, `{"kind":"web","location":"eastus","properties":{"Application_Type":"web"}}`)
	e.Want(200, "PUT", registry, `{"location":"eastus","sku":{"name":"Standard"},"properties":{"adminUserEnabled":true}}`)
	e.Want(201, "PUT", vnet, `{"location":"eastus","properties":{"addressSpace":{"addressPrefixes":["10.1.0.0/16"]},"subnets":[{"name":"snet","properties":{"addressPrefix":"10.1.1.0/24"}}]}}`)
	e.Want(200, "PUT", ws, workspace(""))
	return e, eng
}

func workspace(more string) string {
	return `{"location":"eastus","identity":{"type":"SystemAssigned","userAssignedIdentities":null},"properties":{"storageAccount":"` + account +
		`","keyVault":"` + kv + `","applicationInsights":"` + ai + `","containerRegistry":"` + registry + `"` + more + `}}`
}

func TestWorkspace(t *testing.T) {
	e, eng := newEnv(t, false)
	r := e.Want(200, "GET", ws, nil)
	for field, want := range map[string]any{
		"sku.name": "Basic", "sku.tier": "Basic", "kind": "Default", "properties.publicNetworkAccess": "Enabled", "properties.keyVault": kv,
		"properties.storageHnsEnabled": true, "properties.discoveryUrl": "https://eastus.api.azureml.ms/discovery",
		"properties.mlFlowTrackingUri": "azureml://eastus.api.azureml.ms/mlflow/v1.0" + ws,
		"properties.friendlyName":      nil, // one that Azure made up would be drift to azurerm
		"properties.tenantId":          rptest.Tenant, "identity.principalId": rptest.IdentityOf(ws), "properties.provisioningState": "Succeeded",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	guid := r.Body.String("properties.workspaceId")
	if len(eng.created) != 1 || eng.created[0] != guid || guid == "" {
		t.Errorf("created %v, workspaceId %q", eng.created, guid)
	}
	r = e.Want(200, "PATCH", ws, `{"properties":{"description":"new"}}`)
	if r.Body.String("properties.description") != "new" || r.Body.String("properties.workspaceId") != guid || r.Body.String("properties.storageAccount") != account || len(eng.created) != 1 {
		t.Errorf("patched: %s", r.Raw)
	}
	for _, tc := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{ws + "2", `{"location":"eastus","properties":{"storageAccount":"` + account + `"}}`, 400, "ValidationError", "keyVault"},
		{ws + "2", strings.Replace(workspace(""), "stone", "stnone", 1), 404, "ResourceNotFound", "stnone"},
		{ws + "2", strings.Replace(workspace(""), account, kv, 1), 400, "ValidationError", "storageAccounts"},
		{ws + "2", workspace(`,"encryption":{"status":"Enabled"}`), 501, "NotImplementedByAzimuth", "encryption"},
		{ws + "2", `{"kind":"FeatureStore",` + workspace("")[1:], 501, "NotImplementedByAzimuth", "kind"},
		{ws, workspace(`,"hbiWorkspace":true`), 400, "ValidationError", "hbiWorkspace"},
		{rg + "Microsoft.MachineLearningServices/workspaces/-x", workspace(""), 400, "InvalidResourceName", ""},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", tc.path, tc.body)
	}
	e.Refused(501, "NotImplementedByAzimuth", "listNotebookKeys", "POST", ws+"/listNotebookKeys", nil)
	keys := e.Want(200, "POST", ws+"/listKeys", nil)
	if keys.Body.String("userStorageKey") == "" || keys.Body.String("containerRegistryCredentials.username") != "acrone" || keys.Body.String("appInsightsInstrumentationKey") == "" {
		t.Errorf("keys: %s", keys.Raw)
	}
	e.Want(202, "POST", ws+"/resyncKeys", nil)
	e.Want(200, "PATCH", ws, `{"properties":{"imageBuildCompute":"cpu-cluster"}}`)
	e.Want(200, "DELETE", ai, nil)
	d := e.Want(200, "POST", ws+"/diagnose", nil)
	if !strings.Contains(d.Raw, "ImageBuildComputeNotValid") || len(d.Body.List("value.applicationInsightsResults")) != 1 || len(d.Body.List("value.storageAccountResults")) != 0 {
		t.Errorf("diagnosis: %s", d.Raw)
	}
	e.Want(200, "DELETE", ws, nil)
	if len(eng.deleted) != 1 || eng.deleted[0] != guid {
		t.Errorf("deleted %v", eng.deleted)
	}
	e.Want(200, "PUT", ws, strings.Replace(workspace(""), `,"applicationInsights":"`+ai+`"`, "", 1))
}

func TestWorkspaceSoftDelete(t *testing.T) {
	e, _ := newEnv(t, true)
	soft := func() {
		e.Want(200, "DELETE", ws, nil)
		e.Refused(400, "BadRequest", "Soft-deleted workspace exists. Please purge or recover it.", "PUT", ws, workspace(""))
		e.Want(204, "DELETE", ws, nil)
	}
	soft()
	e.Want(200, "DELETE", ws+"?forceToPurge=true", nil)
	e.Want(204, "DELETE", ws+"?forceToPurge=true", nil)
	e.Want(200, "PUT", ws, workspace(""))
	soft()
	e.Clock.Step(14 * 24 * time.Hour)
	e.Want(200, "PUT", ws, workspace(""))
	e.Want(200, "DELETE", ws+"?forceToPurge=true", nil)
	e.Want(200, "PUT", ws, workspace(""))
}

func cluster(props string) string {
	return `{"location":"eastus","identity":{"type":"SystemAssigned"},"sku":{"name":"Basic","tier":"Basic"},"tags":{"a":"b"},"properties":{"computeType":"AmlCompute","computeLocation":"eastus","description":"","properties":{` + props + `}}}`
}

func attached(typ, id string) string {
	return `{"location":"eastus","properties":{"computeType":"` + typ + `","resourceId":"` + rg + id + `"}}`
}

const scale = `"scaleSettings":{"maxNodeCount":4,"minNodeCount":1,"nodeIdleTimeBeforeScaleDown":"PT15M"}`

func TestCluster(t *testing.T) {
	e, eng := newEnv(t, false)
	path := ws + "/computes/cpu-cluster"
	r := e.Want(http.StatusCreated, "PUT", path, cluster(`"vmSize":"STANDARD_d4s_V3",`+scale))
	for field, want := range map[string]any{
		"location": "eastus", "properties.computeType": "AmlCompute", "properties.computeLocation": "eastus", "properties.isAttachedCompute": false,
		"properties.properties.vmSize": "STANDARD_d4s_V3", "properties.properties.vmPriority": "Dedicated", "properties.properties.osType": "Linux",
		"properties.properties.remoteLoginPortPublicAccess": "Enabled", "properties.properties.allocationState": "Steady",
		"properties.properties.enableNodePublicIp": true, "properties.properties.nodeStateCounts.idleNodeCount": 0.0,
		"identity.principalId": rptest.IdentityOf(path), "tags.a": "b",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	// azure-ai-ml waits for the operation, and reads the cluster again then
	op := r.Header.Get("Azure-AsyncOperation")
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "Succeeded" || r.Header.Get("Retry-After") != "0" {
		t.Errorf("the operation that makes the cluster: %s, %v", st.Raw, r.Header)
	}
	p := eng.pools[strings.ToLower(path)]
	if p.VCPUs != 4 || p.MemoryGiB != 16 || p.Min != 1 || p.Max != 4 || p.IdleTime != 15*time.Minute || p.Priority != "Dedicated" || p.Tags["a"] != "b" {
		t.Errorf("pool: %+v", p)
	}
	if r := e.Want(200, "PATCH", path, `{"properties":{"properties":{"scaleSettings":{"maxNodeCount":9,"nodeIdleTimeBeforeScaleDown":"PT30M"}}}}`); r.Header.Get("Azure-AsyncOperation") == op {
		t.Errorf("the change is the operation of the creation: %s", op)
	}
	if p := eng.pools[strings.ToLower(path)]; p.Max != 9 || p.Min != 1 || p.IdleTime != 30*time.Minute {
		t.Errorf("scaled pool: %+v", p)
	}
	eng.status = machinelearning.PoolStatus{Running: 1, Idle: 1, Current: 2, Target: 3, Resizing: true, Since: rptest.Start(), Errors: []string{"no room"}}
	eng.nodes = []machinelearning.Node{{ID: "tvm-1", State: "running", Job: ws + "/jobs/j1", PrivateIP: "127.0.0.1", Port: 50000}}
	r = e.Want(200, "GET", path, nil)
	if r.Body.String("properties.properties.allocationState") != "Resizing" || r.Body.Int("properties.properties.targetNodeCount", 0) != 3 ||
		r.Body.Int("properties.properties.nodeStateCounts.runningNodeCount", 0) != 1 || !strings.Contains(r.Raw, "no room") {
		t.Errorf("live: %s", r.Raw)
	}
	r = e.Want(200, "POST", path+"/listNodes", nil)
	if n := arm.Doc(r.Body.List("nodes")[0].(map[string]any)); n.String("runId") != "j1" || n.String("nodeState") != "running" || n.Int("port", 0) != 50000 {
		t.Errorf("nodes: %s", r.Raw)
	}
	e.Refused(400, "BadRequest", "only a compute instance", "POST", path+"/stop", nil)
	e.Refused(400, "BadRequest", "not detached", "DELETE", path+"?underlyingResourceAction=Detach", nil)
	e.Want(200, "DELETE", path+"?underlyingResourceAction=Delete", nil)
	if len(eng.pools) != 0 {
		t.Errorf("pools left: %v", eng.pools)
	}
}

func TestClusterRefusals(t *testing.T) {
	e, _ := newEnv(t, false)
	at := func(name string) string { return ws + "/computes/" + name }
	size := `"vmSize":"Standard_D4s_v3",`
	e.Want(201, "PUT", at("made"), cluster(size+scale))
	e.Want(201, "PUT", vnet+"/subnets/given", `{"properties":{"addressPrefix":"10.1.2.0/24","delegations":[{"name":"d","properties":{"serviceName":"Microsoft.Web/serverFarms"}}]}}`)
	for _, tc := range []struct {
		name, body string
		status     int
		code, text string
	}{
		{"c-one", cluster(`"vmSize":"Standard_D4s_v9",` + scale), 400, "VMSizeNotSupported", "Standard_D4s_v9"},
		{"c-one", cluster(scale), 400, "BadRequest", "vmSize"},
		{"c-one", cluster(size + `"x":1`), 400, "BadRequest", "maxNodeCount"},
		{"c-one", cluster(size + `"scaleSettings":{"maxNodeCount":1,"minNodeCount":2}`), 400, "BadRequest", "greater than"},
		{"c-one", cluster(size + `"scaleSettings":{"maxNodeCount":0}`), 400, "BadRequest", "at least 1"},
		{"c-one", cluster(size + `"scaleSettings":{"maxNodeCount":65001}`), 400, "BadRequest", "at most 65000"},
		{"c-one", cluster(size + `"scaleSettings":{"maxNodeCount":1.5}`), 400, "BadRequest", "whole number"},
		{"c-one", cluster(size + `"scaleSettings":{"maxNodeCount":1,"nodeIdleTimeBeforeScaleDown":"15m"}`), 400, "BadRequest", "ISO 8601"},
		{"c-one", cluster(size + scale + `,"vmPriority":"Cheap"`), 400, "BadRequest", "Cheap"},
		{"c-one", cluster(size + scale + `,"enableNodePublicIp":false`), 400, "BadRequest", "needs a subnet"},
		{"c-one", cluster(size + scale + `,"subnet":{"id":"` + vnet + `"}`), 400, "BadRequest", "not the ID of a subnet"},
		{"c-one", cluster(size + scale + `,"subnet":{"id":"` + subnet + `x"}`), 404, "ResourceNotFound", "snetx"},
		{"c-one", cluster(size + scale + `,"subnet":{"id":"` + vnet + `/subnets/given"}`), 400, "BadRequest", "delegated"},
		{"c-one", cluster(size + scale + `,"userAccountCredentials":{"adminUserName":"me"}`), 501, "NotImplementedByAzimuth", "userAccountCredentials"},
		{"c-one", strings.Replace(cluster(size+scale), "AmlCompute", "Kubernetes", 1), 501, "NotImplementedByAzimuth", "Kubernetes"},
		{"aks", attached("AKS", "Microsoft.ContainerService/managedClusters/aks"), 501, "NotImplementedByAzimuth", "clusters of Azure Kubernetes Service, such as '" + rg + "Microsoft.ContainerService/managedClusters/aks'"},
		{"aks", attached("AKS", "Microsoft.Synapse/workspaces/w/bigDataPools/p"), 400, "BadRequest", "not the ID of a resource of type Microsoft.ContainerService/managedClusters"},
		{"aks", `{"location":"eastus","properties":{"computeType":"AKS","properties":{"agentCount":3}}}`, 501, "NotImplementedByAzimuth", "makes none"},
		{"spark", attached("SynapseSpark", "Microsoft.Synapse/workspaces/w/bigDataPools/p"), 501, "NotImplementedByAzimuth", "Spark pools of Azure Synapse"},
		{strings.Repeat("s", 17), attached("SynapseSpark", "Microsoft.Synapse/workspaces/w/bigDataPools/p"), 400, "BadRequest", "Compute name is invalid. It can include letters, digits and dashes."},
		{"c-one", attached("Abacus", "Microsoft.Synapse/workspaces/w/bigDataPools/p"), 400, "BadRequest", "'Abacus' is not known"},
		{"made", attached("AKS", "Microsoft.ContainerService/managedClusters/aks"), 400, "BadRequest", "cannot be changed"},
		{"c-one", strings.Replace(cluster(size+scale), `"properties":{`, `"properties":{"resourceId":"`+account+`",`, 1), 400, "BadRequest", "stands for no resource"},
		{"c-one", strings.Replace(cluster(size+scale), "SystemAssigned", "SystemAssigned, UserAssigned", 1), 400, "BadRequest", "not both"},
		{"c-one", strings.Replace(cluster(size+scale), `"location":"eastus"`, `"location":"moon"`, 1), 400, "BadRequest", "moon"},
		{"1c", cluster(size + scale), 400, "BadRequest", "begins with a letter"},
		{"c-", cluster(size + scale), 400, "BadRequest", ""},
		{strings.Repeat("c", 33), cluster(size + scale), 400, "BadRequest", "3 to 32"},
		{"made", cluster(`"vmSize":"Standard_D8s_v3",` + scale), 400, "BadRequest", "cannot be changed"},
		{"made", strings.Replace(cluster(size+scale), "AmlCompute", "ComputeInstance", 1), 400, "BadRequest", "cannot be changed"},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", at(tc.name), tc.body)
	}
	e.Refused(404, "ParentResourceNotFound", "mlw-none", "PUT", strings.Replace(at("c-one"), "mlw-one", "mlw-none", 1), cluster(size+scale))
}

func TestClusterInSubnet(t *testing.T) {
	e, _ := newEnv(t, false)
	path := ws + "/computes/gpu-cluster"
	r := e.Want(201, "PUT", path, cluster(`"vmSize":"Standard_NC6s_v3","enableNodePublicIp":false,"subnet":{"id":"`+subnet+`"},`+scale))
	if r.Body.String("properties.properties.remoteLoginPortPublicAccess") != "Disabled" || r.Body.String("properties.properties.subnet.id") != subnet {
		t.Errorf("cluster: %s", r.Raw)
	}
	e.Refused(400, "InUseSubnetCannotBeDeleted", "gpu-cluster", "DELETE", subnet, nil)
	e.Want(202, "DELETE", rptest.Group, nil) // the group goes as a whole
	if r := e.Want(200, "GET", rptest.Sub+"/resources", nil); len(r.Names()) != 0 {
		t.Errorf("left: %v", r.Names())
	}
}

func TestInstance(t *testing.T) {
	e, eng := newEnv(t, false)
	path := ws + "/computes/ci-dev-user01"
	const user = "11111111-2222-3333-4444-555555555555"
	instance := func(more string) string {
		return `{"location":"eastus","properties":{"computeType":"ComputeInstance","properties":{"vmSize":"Standard_DS3_v2","personalComputeInstanceSettings":{"assignedUser":{"objectId":"` + user + `","tenantId":"` + rptest.Tenant + `"}}` + more + `}}}`
	}
	eng.machine = machinelearning.InstanceStatus{
		State: "Running", Operation: "Create", OperationStatus: "Succeeded", OperationTrigger: "User", OperationTime: e.Clock.Now(),
		Applications: []machinelearning.Application{{Name: "Jupyter", URI: "https://ci-dev-user01.eastus.azureml.net/jupyter"}},
		Errors:       []machinelearning.InstanceError{{Code: "SshNotAvailable", Message: "no"}},
	}
	r := e.Want(201, "PUT", path, instance(`,"idleTimeBeforeShutdown":"PT30M","sshSettings":{"sshPublicAccess":"Enabled"},"schedules":{"computeStartStop":[{"action":"Stop","triggerType":"Cron","cron":{"expression":"0 18 * * *"}}]}`))
	in := "properties.properties."
	for field, want := range map[string]any{
		in + "state": "Running", in + "lastOperation.operationName": "Create", in + "sshSettings.sshPublicAccess": "Enabled",
		in + "createdBy.userId": rptest.ObjectID(rptest.Owner), in + "lastOperation.operationTime": "2026-06-01T12:00:00.0000000Z",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if !r.Body.Has(in+"connectivityEndpoints.publicIpAddress") || !r.Body.Has(in+"connectivityEndpoints.privateIpAddress") {
		t.Errorf("instance: %s", r.Raw)
	}
	for _, want := range []string{`"displayName":"Jupyter"`, `"endpointUri":"https://ci-dev-user01.eastus.azureml.net/jupyter"`, `"code":"SshNotAvailable"`, `"provisioningStatus":"Completed"`} {
		if !strings.Contains(strings.ReplaceAll(r.Raw, `": `, `":`), want) {
			t.Errorf("no %s in %s", want, r.Raw)
		}
	}
	var got machinelearning.Instance
	for _, got = range eng.instances {
	}
	if got.UserID != user || got.IdleAfter != 30*time.Minute || len(got.Schedules) != 1 || !got.SSH || got.VCPUs != 4 ||
		got.WorkspaceID != ws || got.Name != "ci-dev-user01" || got.Location != "eastus" || got.ID != path {
		t.Errorf("the engine was asked for %+v", got)
	}
	e.Clock.Step(time.Hour)
	for _, tc := range []struct{ op, state string }{{"stop", "Stopped"}, {"stop", "Stopped"}, {"start", "Running"}, {"restart", "Running"}} {
		op := e.Want(202, "POST", path+"/"+tc.op, nil)
		if st := e.Want(200, "GET", op.Header.Get("Azure-AsyncOperation"), nil); st.Body.String("status") != "Succeeded" {
			t.Errorf("%s: %s", tc.op, st.Raw)
		}
		if r := e.Want(200, "GET", path, nil); r.Body.String(in+"state") != tc.state {
			t.Errorf("after %s: %s", tc.op, r.Raw)
		}
	}
	if strings.Join(eng.asked, " ") != "Stop Stop Start Restart" || eng.awaited != 5 {
		t.Errorf("asked for %v, awaited %d times", eng.asked, eng.awaited)
	}
	e.Want(202, "POST", path+"/stop", nil)
	e.Refused(400, "BadRequest", "cannot restart", "POST", path+"/restart", nil)
	if r := e.Want(200, "PUT", path, instance("")); r.Body.String(in+"state") != "Stopped" {
		t.Errorf("an update started it: %s", r.Raw)
	}
	e.Refused(400, "BadRequest", "no list of nodes", "POST", path+"/listNodes", nil)
	idle := func() time.Duration {
		for _, in := range eng.instances {
			return in.IdleAfter
		}
		return -1
	}
	e.Want(200, "POST", path+"/updateIdleShutdownSetting", `{"idleTimeBeforeShutdown":"PT2H"}`)
	if r := e.Want(200, "GET", path, nil); r.Body.String(in+"idleTimeBeforeShutdown") != "PT2H" || idle() != 2*time.Hour {
		t.Errorf("idle time: %s, engine %s", r.Raw, idle())
	}
	e.Want(200, "POST", path+"/updateIdleShutdownSetting", `{}`)
	if r := e.Want(200, "GET", path, nil); r.Body.Has(in+"idleTimeBeforeShutdown") || idle() != 0 {
		t.Errorf("idle time: %s, engine %s", r.Raw, idle())
	}
	for _, bad := range []string{"PT14M", "P4D", "30", "PT1X"} {
		e.Refused(400, "BadRequest", "idleTimeBeforeShutdown", "POST", path+"/updateIdleShutdownSetting", `{"idleTimeBeforeShutdown":"`+bad+`"}`)
		e.Refused(400, "BadRequest", "idleTimeBeforeShutdown", "PUT", path+"2", instance(`,"idleTimeBeforeShutdown":"`+bad+`"`))
	}
	e.Refused(400, "BadRequest", "Enabled or Disabled", "PUT", path+"2", instance(`,"sshSettings":{"sshPublicAccess":"Maybe"}`))
	e.Refused(501, "NotImplementedByAzimuth", "setupScripts", "PUT", path+"2", instance(`,"setupScripts":{"scripts":{}}`))
	e.Refused(400, "BadRequest", "3 to 24", "PUT", path+strings.Repeat("x", 12), instance(""))
	e.Refused(400, "BadRequest", "region of its workspace", "PUT", path+"x", strings.Replace(instance(""), "eastus", "westus", 1))
	e.Refused(400, "BadRequest", "GUID", "PUT", path+"x", strings.Replace(instance(""), "11111111-2222", "me", 1))
	e.Want(200, "PUT", strings.Replace(ws, "mlw-one", "mlw-two", 1), workspace(""))
	e.Refused(400, "BadRequest", "another compute instance", "PUT", strings.Replace(path, "mlw-one", "mlw-two", 1), instance(""))
	no := e.Want(201, "PUT", ws+"/computes/ci-private", instance(`,"enableNodePublicIp":false,"subnet":{"id":"`+subnet+`"}`))
	if no.Body.Has(in + "connectivityEndpoints.publicIpAddress") {
		t.Errorf("a public address: %s", no.Raw)
	}
	e.Want(200, "DELETE", path, nil)
	if len(eng.instances) != 1 {
		t.Errorf("left: %v", eng.instances)
	}
	own := e.Want(201, "PUT", ws+"/computes/ci-own", strings.Replace(instance(""), `"personalComputeInstanceSettings"`, `"tagged"`, 1))
	for _, got := range eng.instances {
		if got.Name == "ci-own" && (got.UserID != rptest.ObjectID(rptest.Owner) || got.PrincipalID != "") {
			t.Errorf("instance %s is for %+v", own.Raw, got)
		}
	}
}

func TestLocations(t *testing.T) {
	e, eng := newEnv(t, false)
	eng.quotas = map[string]int{"eastus/standardDSv3Family": 24, "westus/TotalDedicatedCores": 1}
	e.Want(201, "PUT", ws+"/computes/cpu-cluster", cluster(`"vmSize":"Standard_D4s_v3",`+scale))
	r := e.Want(200, "GET", rptest.Sub+"/providers/Microsoft.MachineLearningServices/locations/eastus/vmSizes", nil)
	if !strings.Contains(r.Raw, `"Standard_D4s_v3"`) || strings.Contains(r.Raw, `"Standard_NC6s_v3"`) {
		t.Error("sizes: D4s_v3 is offered, NC6s_v3 is retired")
	}
	e.Want(400, "GET", rptest.Sub+"/providers/Microsoft.MachineLearningServices/locations/moon/vmSizes", nil)
	r = e.Want(200, "GET", rptest.Sub+"/providers/Microsoft.MachineLearningServices/locations/eastus/usages", nil)
	got, limits := map[string]float64{}, map[string]float64{}
	for _, v := range r.Body.List("value") {
		d := arm.Doc(v.(map[string]any))
		limits[d.String("name.value")] = d.Get("limit").(float64)
		got[d.String("name.value")] = d.Get("currentValue").(float64)
	}
	if got["Clusters"] != 1 || got["TotalDedicatedCores"] != 16 || got["standardDSv3Family"] != 16 || got["standardDSv2Family"] != 0 {
		t.Errorf("usages: %v", got)
	}
	if limits["standardDSv3Family"] != 24 || limits["TotalDedicatedCores"] != -1 {
		t.Errorf("limits: %v", limits)
	}
	e.Want(201, "PUT", ws+"/computes/low-pri", cluster(`"vmSize":"Standard_D4s_v3","vmPriority":"LowPriority",`+scale))
	for name, want := range map[string]string{"cpu-cluster": "eastus/standardDSv3Family eastus/TotalDedicatedCores " + strings.ToLower(ws) + "/quotas/standardDSv3Family", "low-pri": "eastus/TotalLowPriorityCores"} {
		if got := strings.Join(eng.pools[strings.ToLower(ws+"/computes/"+name)].Quotas, " "); got != want {
			t.Errorf("quotas of %s: %s", name, got)
		}
	}
}
