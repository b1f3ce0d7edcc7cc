package provider

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

const (
	testSubscription = "00000000-0000-0000-0000-000000000001"
	testTenant       = "00000000-0000-0000-0000-0000000000aa"
	testObject       = "00000000-0000-0000-0000-00000000000b"
	testClient       = "00000000-0000-0000-0000-00000000000c"
)

// instant is a clock on which no wait takes any time.
type instant struct{ clock.Clock }

func (c instant) AfterFunc(_ time.Duration, f func()) clock.Timer { return c.Clock.AfterFunc(0, f) }

// fakeAzure keeps documents as Azure's services would and adds what they compute,
// as far as the mapped types read it.
type fakeAzure struct {
	t  *testing.T
	mu sync.Mutex
	// docs are resources by lower-case ID, blobs containers and file systems by
	// host and path.
	docs  map[string]map[string]any
	data  map[string]http.Header
	calls []string
	// polls counts how often an operation is still in progress, by ID.
	polls map[string]int
	// refuse answers a request itself if it returns true.
	refuse func(w http.ResponseWriter, r *http.Request) bool
	server *httptest.Server
}

func newFakeAzure(t *testing.T) *fakeAzure {
	f := &fakeAzure{t: t, docs: map[string]map[string]any{}, data: map[string]http.Header{}, polls: map[string]int{}}
	f.server = httptest.NewTLSServer(f)
	t.Cleanup(f.server.Close)
	f.docs["/subscriptions/"+testSubscription] = map[string]any{
		"id": "/subscriptions/" + testSubscription, "subscriptionId": testSubscription, "displayName": "Lab", "tenantId": testTenant, "state": "Enabled",
	}
	return f
}

// config makes a provider configuration that reaches the fake under Azure's names.
func (f *fakeAzure) config(major int) Config {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, f.server.Listener.Addr().String())
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the test's own server
	f.t.Cleanup(transport.CloseIdleConnections)
	return Config{
		Major: major, HTTPClient: &http.Client{Transport: transport},
		Token:          f.token,
		Clock:          instant{clock.NewAdjustable(0)},
		SubscriptionID: testSubscription, TenantID: testTenant, ClientID: testClient, ObjectID: testObject,
	}
}

func (f *fakeAzure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r.Method+" "+r.Host+r.URL.Path)
	if f.refuse != nil && f.refuse(w, r) {
		return
	}
	switch {
	case r.Host == "management.azure.com":
		f.management(w, r)
	case strings.HasPrefix(r.Host, "login."):
		f.login(w, r)
	default:
		f.storage(w, r)
	}
}

func (f *fakeAzure) login(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	if form.Get("client_secret") != "right" {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
		return
	}
	// {"oid":"…0d"}
	answer(w, http.StatusOK, map[string]any{"access_token": "e30.eyJvaWQiOiIwZCJ9.x", "expires_in": 3600})
}

func fault(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeAzure) management(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		fault(w, http.StatusUnauthorized, "AuthenticationFailed", "no token")
		return
	}
	if r.URL.Query().Get("api-version") == "" {
		fault(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	key := strings.ToLower(path)
	if f.special(w, r, key) {
		return
	}
	switch r.Method {
	case http.MethodGet:
		if doc := f.docs[key]; doc != nil {
			answer(w, http.StatusOK, f.view(key, doc))
			return
		}
		if list := f.list(key); list != nil {
			answer(w, http.StatusOK, map[string]any{"value": list})
			return
		}
		fault(w, http.StatusNotFound, "ResourceNotFound", "The Resource '"+path+"' was not found.")
	case http.MethodPut, http.MethodPatch:
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			fault(w, http.StatusBadRequest, "InvalidRequestContent", err.Error())
			return
		}
		doc := f.docs[key]
		status := http.StatusOK
		switch {
		case doc == nil && r.Method == http.MethodPatch:
			fault(w, http.StatusNotFound, "ResourceNotFound", "not found")
			return
		case doc == nil:
			doc = map[string]any{}
			status = http.StatusCreated
		case r.Method == http.MethodPut && f.replaces(key):
			doc = map[string]any{}
		}
		doc = mergeDocument(doc, body)
		doc["id"], doc["name"] = path, lastSegment(path)
		f.complete(key, doc)
		f.docs[key] = doc
		f.finish(w, key, status, doc)
	case http.MethodDelete:
		if f.docs[key] == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		for other := range f.docs {
			if other == key || strings.HasPrefix(other, key+"/") {
				delete(f.docs, other)
			}
		}
		f.finish(w, key, http.StatusAccepted, nil)
	default:
		fault(w, http.StatusNotImplemented, "NotImplementedByAzimuth", r.Method+" "+path)
	}
}

// replaces says which services take a PUT for the whole resource.
func (f *fakeAzure) replaces(key string) bool { return !strings.Contains(key, "/computes/") }

// finish answers a change the way the type's service does: at once, with an
// operation to poll, or with a location.
func (f *fakeAzure) finish(w http.ResponseWriter, key string, status int, doc map[string]any) {
	poll := "https://management.azure.com/subscriptions/" + testSubscription + "/operations" + key + "?api-version=2020-01-01"
	switch {
	case strings.Contains(key, "/computes/"), strings.Contains(key, "/virtualnetworks/"):
		f.polls[key] = 2
		w.Header().Set("Azure-AsyncOperation", poll)
		w.Header().Set("Retry-After", "0")
	case doc != nil && strings.Contains(key, "/storageaccounts/") && strings.Count(key, "/") == 8, status == http.StatusAccepted:
		f.polls[key] = 1
		w.Header().Set("Location", poll)
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if doc == nil {
		w.WriteHeader(status)
		return
	}
	answer(w, status, doc)
}

func (f *fakeAzure) special(w http.ResponseWriter, r *http.Request, key string) bool {
	prefix := "/subscriptions/" + testSubscription
	switch {
	case strings.HasPrefix(key, prefix+"/operations/"):
		id := strings.TrimPrefix(key, prefix+"/operations")
		f.polls[id]--
		async := strings.Contains(id, "/computes/") || strings.Contains(id, "/virtualnetworks/")
		switch {
		case async && f.polls[id] >= 0:
			answer(w, http.StatusOK, map[string]any{"status": "InProgress"})
		case async:
			answer(w, http.StatusOK, map[string]any{"status": "Succeeded"})
		case f.polls[id] >= 0:
			w.WriteHeader(http.StatusAccepted)
		case f.docs[id] != nil:
			answer(w, http.StatusOK, f.docs[id])
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	case strings.HasSuffix(key, "/roledefinitions"):
		name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Query().Get("$filter"), "roleName eq '"), "'")
		var found []any
		for _, role := range fakeRoles() {
			if getPath(role, "properties.roleName") == name {
				found = append(found, role)
			}
		}
		answer(w, http.StatusOK, map[string]any{"value": found})
	case strings.Contains(key, "/roledefinitions/"):
		for _, role := range fakeRoles() {
			if role["name"] == lastSegment(key) {
				answer(w, http.StatusOK, role)
				return true
			}
		}
		fault(w, http.StatusNotFound, "RoleDefinitionDoesNotExist", "no such role")
	case strings.HasSuffix(key, "/listkeys"):
		answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"keyName": "key1", "value": "a2V5MQ=="}, map[string]any{"keyName": "key2", "value": "a2V5Mg=="}}})
	case strings.HasSuffix(key, "/sharedkeys"):
		answer(w, http.StatusOK, map[string]any{"primarySharedKey": "p", "secondarySharedKey": "s"})
	case key == "/subscriptions":
		answer(w, http.StatusOK, map[string]any{"value": []any{f.docs[prefix]}})
	case strings.HasSuffix(key, "/purge"):
		w.WriteHeader(http.StatusOK)
	case strings.HasSuffix(key, "/checknameavailability"):
		answer(w, http.StatusOK, map[string]any{"nameAvailable": true})
	case strings.HasSuffix(key, "/currentbillingfeatures") && r.Method == http.MethodGet && f.docs[key] == nil:
		answer(w, http.StatusOK, map[string]any{"CurrentBillingFeatures": []any{"Basic"}, "DataVolumeCap": map[string]any{"Cap": 100.0, "StopSendNotificationWhenHitCap": false}})
	case (strings.HasSuffix(key, "/blobservices/default") || strings.HasSuffix(key, "/fileservices/default")) && r.Method == http.MethodGet && f.docs[key] == nil:
		answer(w, http.StatusOK, map[string]any{"properties": map[string]any{
			"deleteRetentionPolicy":      map[string]any{"enabled": false},
			"shareDeleteRetentionPolicy": map[string]any{"enabled": true, "days": 7.0},
		}})
	default:
		return false
	}
	return true
}

func fakeRoles() []map[string]any {
	role := func(guid, name string) map[string]any {
		return map[string]any{
			"id": "/subscriptions/" + testSubscription + "/providers/Microsoft.Authorization/roleDefinitions/" + guid, "name": guid,
			"properties": map[string]any{"roleName": name, "type": "BuiltInRole", "permissions": []any{map[string]any{"actions": []any{"*/read"}}}, "assignableScopes": []any{"/"}},
		}
	}
	return []map[string]any{role("00482a5a-887f-4fb3-b363-3b7fe8e74483", "Key Vault Administrator"), role("7f951dda-4ed3-4680-a7ca-43fe172d538d", "AcrPull"),
		role("ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Storage Blob Data Contributor"), role("8311e382-0749-4cb8-b61a-304f252e45ec", "AcrPush"), role("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Storage Blob Data Reader")}
}

// list answers lists of a group's resources and of a subscription's accounts.
func (f *fakeAzure) list(key string) []any {
	out := []any{}
	if group, ok := strings.CutSuffix(key, "/resources"); ok {
		for k, d := range f.docs {
			if strings.HasPrefix(k, group+"/providers/") {
				out = append(out, d)
			}
		}
		return out
	}
	if strings.HasSuffix(key, "/providers/microsoft.storage/storageaccounts") {
		for k, d := range f.docs {
			if strings.Contains(k, "/storageaccounts/") && strings.Count(k, "/") == 8 {
				out = append(out, d)
			}
		}
		return out
	}
	return nil
}

// view is a document as it is read.
func (f *fakeAzure) view(key string, doc map[string]any) map[string]any {
	if !strings.Contains(key, "/virtualnetworks/") || strings.Contains(key, "/subnets/") {
		return doc
	}
	doc = cloneObject(doc)
	subnets := []any{}
	for k, d := range f.docs {
		if strings.HasPrefix(k, key+"/subnets/") {
			subnets = append(subnets, d)
		}
	}
	setPath(doc, "properties.subnets", subnets)
	return doc
}

// complete adds what a service computes.
func (f *fakeAzure) complete(key string, doc map[string]any) {
	name := asString(doc["name"])
	set := func(path string, v any) {
		if getPath(doc, path) == nil {
			setPath(doc, path, v)
		}
	}
	if t := asString(getPath(doc, "identity.type")); strings.Contains(t, "SystemAssigned") {
		set("identity.principalId", "10000000-0000-0000-0000-000000000001")
		set("identity.tenantId", testTenant)
	}
	switch {
	case strings.Contains(key, "/providers/microsoft.authorization/"):
		set("properties.principalType", "ServicePrincipal")
		set("properties.scope", key[:strings.Index(key, "/providers/microsoft.authorization/")])
	case strings.HasSuffix(key, "/blobservices/default"), strings.HasSuffix(key, "/fileservices/default"):
	case strings.Contains(key, "/containers/"):
		set("properties.hasLegalHold", false)
		set("properties.defaultEncryptionScope", "$account-encryption-key")
	case strings.Contains(key, "/storageaccounts/"):
		set("properties.primaryLocation", doc["location"])
		for _, s := range storageServiceNames() {
			set("properties.primaryEndpoints."+s, "https://"+name+"."+s+".core.windows.net/")
		}
	case strings.Contains(key, "/vaults/"):
		set("properties.vaultUri", "https://"+name+".vault.azure.net/")
	case strings.Contains(key, "/components/"):
		for _, p := range []string{"AppId", "InstrumentationKey"} {
			set("properties."+p, "20000000-0000-0000-0000-000000000002")
		}
		set("properties.ConnectionString", "InstrumentationKey=20000000-0000-0000-0000-000000000002")
	case strings.Contains(key, "/registries/"):
		set("properties.loginServer", name+".azurecr.io")
	case strings.Contains(key, "microsoft.operationalinsights"):
		set("properties.customerId", "30000000-0000-0000-0000-000000000003")
	case strings.Contains(key, "/userassignedidentities/"):
		set("properties.principalId", "40000000-0000-0000-0000-000000000004")
		set("properties.clientId", "50000000-0000-0000-0000-000000000005")
		set("properties.tenantId", testTenant)
	case strings.Contains(key, "/computes/"):
		set("properties.properties.connectivityEndpoints.publicIpAddress", "203.0.113.9")
	case strings.Contains(key, "/subnets/"):
	case strings.Contains(key, "/virtualnetworks/"):
		set("properties.resourceGuid", "60000000-0000-0000-0000-000000000006")
	case strings.Contains(key, "/workspaces/") && !strings.Contains(key, "/datastores/"):
		set("properties.discoveryUrl", "https://eastus.api.azureml.ms/discovery")
		set("properties.workspaceId", "70000000-0000-0000-0000-000000000007")
	}
	if !strings.Contains(key, "/datastores/") && strings.Contains(key, "/providers/") {
		set("properties.provisioningState", "Succeeded")
	}
}

// storage is the data planes of containers and file systems.
func (f *fakeAzure) storage(w http.ResponseWriter, r *http.Request) {
	if auth := r.Header.Get("Authorization"); !strings.HasPrefix(auth, "SharedKey ") && auth != "Bearer for "+storageAudience {
		w.Header().Set("x-ms-error-code", "AuthenticationFailed")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	key := r.Host + strings.TrimSuffix(r.URL.Path, "/")
	kept := f.data[key]
	switch {
	case r.Method == http.MethodPut && r.URL.Query().Get("comp") == "" && kept == nil:
		kept = http.Header{}
		for k, v := range r.Header {
			if strings.HasPrefix(strings.ToLower(k), "x-ms-") {
				kept[k] = v
			}
		}
		f.data[key] = kept
		w.WriteHeader(http.StatusCreated)
	case kept == nil:
		w.Header().Set("x-ms-error-code", "ContainerNotFound")
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(f.data, key)
		w.WriteHeader(http.StatusAccepted)
	case r.URL.Query().Get("action") == "getAccessControl":
		w.Header().Set("x-ms-owner", "$superuser")
		w.Header().Set("x-ms-group", "$superuser")
		w.Header().Set("x-ms-acl", "user::rwx,group::r-x,other::---")
	case r.Method == http.MethodPut, r.Method == http.MethodPatch:
		for k := range kept {
			if strings.HasPrefix(strings.ToLower(k), "x-ms-meta-") {
				delete(kept, k)
			}
		}
		for k, v := range r.Header {
			if strings.HasPrefix(strings.ToLower(k), "x-ms-") {
				kept[k] = v
			}
		}
	case r.Method == http.MethodHead:
		for k, v := range kept {
			w.Header()[k] = v
		}
	default:
		http.Error(w, fmt.Sprint("no ", r.Method, " here"), http.StatusNotImplemented)
	}
}

// token is a token source that says what the token is for.
func (f *fakeAzure) token(_ context.Context, audience string) (string, error) {
	return "for " + audience, nil
}
