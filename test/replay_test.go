package test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// TestReplay makes every request that azurerm made to plan, apply, plan again and
// destroy the reference stack, in its order and to whatever host, of a server. The
// status must be one that azurerm takes there, and the answer must have what azurerm
// reads without a check. Operations are followed to their end, IDs that were another
// cloud's are this one's, and nothing is left.
func TestReplay(t *testing.T) {
	for _, version := range []string{"3.117.1", "5.2.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.serve()
			r := &replay{t: t, w: e.wire(), there: map[string]bool{}}
			calls := r.read("testdata/traffic/traffic-" + version + ".jsonl")
			for i, c := range calls {
				r.at = fmt.Sprintf("call %d, %s https://%s%s", i, c.Method, c.Host, c.Path)
				r.call(c)
			}
			if len(r.there) != 0 {
				t.Errorf("the traffic does not delete %v", r.there)
			}
			var left struct{ Value []struct{ ID string } }
			if r.get(subscription+"/resources?api-version=2021-04-01", &left); len(left.Value) != 0 {
				t.Errorf("left: %v", left.Value)
			}
		})
	}
}

// recordedCall is a line of a file of traffic: a request that was made N times.
type recordedCall struct {
	Method, Host, Path string
	N                  int
	Body               json.RawMessage
}

type replay struct {
	t     *testing.T
	w     *wire
	there map[string]bool // what was PUT, by its path in lower case
	at    string
}

func (r *replay) read(file string) []recordedCall {
	r.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	var out []recordedCall
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c recordedCall
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

const armHostName = "management.azure.com"

func (r *replay) call(c recordedCall) {
	// the roles were asked for in another subscription
	c.Path = strings.Replace(c.Path, "/subscriptions/s/", subscription+"/", 1)
	path, _, _ := strings.Cut(c.Path, "?")
	key := strings.ToLower(path)
	want := r.statuses(c, key)
	for range min(c.N, 2) { // what is asked again is answered the same
		if c.Host != armHostName {
			r.elsewhere(c, want)
			continue
		}
		a, err := r.w.do(r.t.Context(), r.w.tokens[forARM], c.Method, "https://"+c.Host+c.Path, map[string]string{"Content-Type": "application/json"}, r.body(c, key))
		if err != nil {
			r.t.Fatalf("%s: %v", r.at, err)
		}
		if !slices.Contains(want, a.status) {
			r.t.Fatalf("%s: HTTP %d %s, want %v", r.at, a.status, a.body, want)
		}
		r.follow(a)
		if a.status == http.StatusOK && c.Method != http.MethodDelete {
			r.shape(key, a.body)
		}
	}
	switch c.Method {
	case http.MethodPut:
		if !strings.HasSuffix(key, "/currentbillingfeatures") { // which is a part of its component
			r.there[key] = true
		}
		var v any
		r.get(c.Path, &v)
	case http.MethodDelete:
		delete(r.there, key)
		a, err := r.w.do(r.t.Context(), r.w.tokens[forARM], http.MethodGet, "https://"+c.Host+c.Path, nil, "")
		if err != nil || a.status != http.StatusNotFound {
			r.t.Errorf("%s: it is still there: HTTP %d %v", r.at, a.status, err)
		}
	}
}

// statuses are those that azurerm takes for an answer.
func (r *replay) statuses(c recordedCall, key string) []int {
	last := key[strings.LastIndex(key, "/")+1:]
	switch c.Method {
	case http.MethodPut:
		switch {
		case strings.Contains(key, "/roleassignments/"):
			return []int{http.StatusCreated}
		case strings.Contains(key, "microsoft.insights/"):
			return []int{http.StatusOK}
		case strings.Contains(key, "microsoft.storage/"), !strings.Contains(key, "/computes/") && strings.Contains(key, "machinelearningservices/"):
			return []int{http.StatusOK, http.StatusAccepted}
		}
		return []int{http.StatusOK, http.StatusCreated}
	case http.MethodDelete:
		return []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent}
	case http.MethodGet:
		asked := strings.Contains(key, "/roledefinitions") || slices.Contains([]string{"endpoints", "providers", "resources", "default", "replications", "currentbillingfeatures", "storageaccounts"}, last)
		if c.Host == armHostName && !asked && !r.there[key] {
			return []int{http.StatusNotFound}
		}
	}
	return []int{http.StatusOK}
}

// body is what was sent; the principals are those of this cloud.
func (r *replay) body(c recordedCall, key string) string {
	if !strings.Contains(key, "/roleassignments/") || len(c.Body) == 0 {
		return string(c.Body)
	}
	var workspace struct{ Identity struct{ PrincipalID string } }
	r.get(subscription+"/resourceGroups/rg-ml-production/providers/Microsoft.MachineLearningServices/workspaces/mlw-production?api-version=2024-04-01", &workspace)
	var doc map[string]any
	if err := json.Unmarshal(c.Body, &doc); err != nil {
		r.t.Fatal(err)
	}
	properties := doc["properties"].(map[string]any)
	properties["principalId"] = workspace.Identity.PrincipalID
	properties["roleDefinitionId"] = strings.Replace(properties["roleDefinitionId"].(string), "/subscriptions/s/", subscription+"/", 1)
	b, err := json.Marshal(doc)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// get asks for what must be there.
func (r *replay) get(path string, out any) {
	r.t.Helper()
	a, err := r.w.do(r.t.Context(), r.w.tokens[forARM], http.MethodGet, armHost+path, nil, "")
	if err != nil || a.status != http.StatusOK {
		r.t.Fatalf("%s: GET %s: HTTP %d %s %v", r.at, path, a.status, a.body, err)
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		r.t.Fatal(err)
	}
	key, _, _ := strings.Cut(strings.ToLower(path), "?")
	r.shape(key, a.body)
}

// follow polls an operation until it has ended.
func (r *replay) follow(a answer) {
	link := a.header.Get("Azure-AsyncOperation")
	if link == "" && a.status == http.StatusAccepted {
		link = a.header.Get("Location")
	}
	for link != "" {
		p, err := r.w.do(r.t.Context(), r.w.tokens[forARM], http.MethodGet, link, nil, "")
		if err != nil || p.status >= 300 {
			r.t.Fatalf("%s: its operation: HTTP %d %s %v", r.at, p.status, p.body, err)
		}
		var op struct{ Status string }
		if len(p.body) > 0 {
			if err := json.Unmarshal(p.body, &op); err != nil {
				r.t.Fatal(err)
			}
		}
		switch op.Status {
		case "Succeeded", "":
			return
		case "Failed", "Canceled":
			r.t.Fatalf("%s: its operation: %s", r.at, p.body)
		}
		if after := p.header.Get("Retry-After"); after != "0" {
			r.t.Fatalf("%s: its operation wants to be asked in %q s", r.at, after)
		}
	}
}

// dereferenced is what azurerm reads of a resource without looking whether it is
// there, and what its schema promises others.
func dereferenced(key string) []string {
	for _, t := range []struct {
		of     string
		fields []string
	}{
		{"/computes/ci-", []string{"properties.properties.connectivityEndpoints.publicIpAddress", "properties.properties.vmSize", "properties.provisioningState"}},
		{"/computes/", []string{"properties.properties.remoteLoginPortPublicAccess", "properties.properties.vmSize", "properties.properties.scaleSettings.maxNodeCount", "properties.provisioningState"}},
		{"/microsoft.machinelearningservices/workspaces/", []string{"properties.publicNetworkAccess", "properties.keyVault", "properties.storageAccount", "properties.discoveryUrl", "properties.workspaceId", "sku.name", "sku.tier", "identity.principalId", "location"}},
		{"/roleassignments/", []string{"properties.roleDefinitionId", "properties.principalId", "properties.principalType", "properties.scope"}},
		{"/roledefinitions/", []string{"properties.roleName", "id"}},
		{"/roledefinitions", []string{"value.0.properties.roleName", "value.0.id"}},
		{"/blobservices/default", []string{"properties"}},
		{"/fileservices/default", []string{"properties"}},
		{"/listkeys", []string{"keys.0.value", "keys.1.value", "keys.0.keyName"}},
		{"/microsoft.storage/storageaccounts/", []string{"sku.name", "sku.tier", "kind", "location", "properties.primaryEndpoints.blob", "properties.primaryEndpoints.dfs", "properties.primaryEndpoints.queue", "properties.primaryLocation", "properties.provisioningState"}},
		{"/microsoft.keyvault/vaults/", []string{"properties.vaultUri", "properties.tenantId", "properties.sku.name", "location"}},
		{"/currentbillingfeatures", []string{"CurrentBillingFeatures", "DataVolumeCap.Cap"}},
		{"/components/", []string{"properties.AppId", "properties.InstrumentationKey", "properties.ConnectionString", "properties.Application_Type"}},
		{"/registries/checknameavailability", nil},
		{"/replications", []string{"value"}},
		{"/registries/", []string{"properties.loginServer", "properties.adminUserEnabled", "sku.name", "sku.tier"}},
		{"/subnets/", []string{"properties.provisioningState", "properties.privateEndpointNetworkPolicies"}},
		{"/virtualnetworks/", []string{"properties.addressSpace.addressPrefixes.0", "properties.resourceGuid", "properties.provisioningState", "location"}},
	} {
		if strings.Contains(key, t.of) {
			return t.fields
		}
	}
	return nil
}

func (r *replay) shape(key string, body []byte) {
	r.t.Helper()
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		r.t.Fatalf("%s: %v in %s", r.at, err, body)
	}
	for _, field := range dereferenced(key) {
		v := doc
		for name := range strings.SplitSeq(field, ".") {
			switch at := v.(type) {
			case map[string]any:
				v = at[name]
			case []any:
				var i int
				if _, err := fmt.Sscan(name, &i); err != nil || i >= len(at) {
					v = nil
				} else {
					v = at[i]
				}
			default:
				v = nil
			}
		}
		if v == nil || v == "" {
			r.t.Errorf("%s: the answer has no %s: %s", r.at, field, body)
		}
	}
}

// elsewhere makes a request of a data plane, signed as azurerm does.
func (r *replay) elsewhere(c recordedCall, want []int) {
	ctx := r.t.Context()
	switch {
	case c.Host == "login.microsoftonline.com":
		if _, err := r.w.signIn(ctx, forARM); err != nil {
			r.t.Fatalf("%s: %v", r.at, err)
		}
	case strings.HasSuffix(c.Host, ".vault.azure.net"):
		// It is asked whether it is there, and for contacts that azurerm may not see.
		a, err := r.w.do(ctx, r.w.tokens[forVault], c.Method, "https://"+c.Host+c.Path, nil, "")
		if err != nil || a.status >= 500 || c.Path != "/" && a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			r.t.Fatalf("%s: HTTP %d %s %v", r.at, a.status, a.body, err)
		}
	default:
		account, _, _ := strings.Cut(c.Host, ".")
		a, err := r.w.do(ctx, "", c.Method, "https://"+c.Host+c.Path+"&"+r.sas(account), map[string]string{"x-ms-version": "2021-08-06"}, "")
		if err != nil || !slices.Contains(want, a.status) || !strings.Contains(string(a.body), "StorageServiceProperties") {
			r.t.Fatalf("%s: HTTP %d %s %v", r.at, a.status, a.body, err)
		}
	}
}

func (r *replay) sas(account string) string {
	a, err := r.w.arm(r.t.Context(), http.MethodPost, subscription+"/resourceGroups/rg-ml-production/providers/Microsoft.Storage/storageAccounts/"+account+"/listKeys", "2023-01-01", "")
	if err != nil {
		r.t.Fatal(err)
	}
	var list struct{ Keys []struct{ Value string } }
	if err := json.Unmarshal(a.body, &list); err != nil {
		r.t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(list.Keys[0].Value)
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := storage.SignAccountSAS(&storage.Account{Name: account, Keys: [2][]byte{key, key}}, storage.AccountSAS{Services: "bq", ResourceTypes: "s", Permissions: "r", Expiry: time.Now().Add(time.Hour)})
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}
