package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// containers is a data plane that keeps only names and properties.
type containers struct {
	reclaimed int
	rules     []storage.LifecycleRule
}

const bucket = "test.container"

func (c *containers) Container(_ context.Context, tx store.Tx, account, name string) (*storage.Container, error) {
	b, err := tx.Get(bucket, account+"/"+name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := &storage.Container{}
	return out, json.Unmarshal(b, out)
}

func (c *containers) ListContainers(_ context.Context, tx store.Tx, account, after string, limit int) ([]storage.Container, error) {
	var out []storage.Container
	r := store.Range{Prefix: account + "/", Limit: limit}
	if after != "" {
		r.After = account + "/" + after
	}
	for e, err := range tx.Scan(bucket, r) {
		if err != nil {
			return nil, err
		}
		var v storage.Container
		if err := json.Unmarshal(e.Value, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (c *containers) PutContainer(_ context.Context, tx store.Tx, account string, v storage.Container) error {
	v.ETag, v.LeaseStatus, v.LeaseState = `"0x1"`, "locked", "leased"
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(bucket, account+"/"+v.Name, b)
}

func (c *containers) DeleteContainer(_ context.Context, tx store.Tx, account, name string) error {
	return tx.Delete(bucket, account+"/"+name)
}

func (c *containers) DeleteAccount(_ context.Context, tx store.Tx, account string) error {
	return tx.Put(bucket+".gone", account, []byte("gone"))
}

func (c *containers) Retention(_ context.Context, tx store.Tx, account string) (r storage.Retention, err error) {
	b, err := tx.Get(bucket+".retention", account)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func (c *containers) SetRetention(_ context.Context, tx store.Tx, account string, r storage.Retention) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(bucket+".retention", account, b)
}

func (c *containers) SetLifecycle(_ context.Context, _ store.Tx, _ string, rules []storage.LifecycleRule) error {
	c.rules = rules
	return nil
}

func (c *containers) Reclaim() { c.reclaimed++ }

// items is a data plane that keeps items of one kind, without a look at them.
type items string

func (i items) key(account, name string) string { return account + "/" + strings.ToLower(name) }

func (i items) Item(_ context.Context, tx store.Tx, account, name string) (*storage.Item, error) {
	b, err := tx.Get("test."+string(i), i.key(account, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := &storage.Item{}
	return out, json.Unmarshal(b, out)
}

func (i items) ListItems(_ context.Context, tx store.Tx, account, after string, limit int) (out []storage.Item, err error) {
	r := store.Range{Prefix: account + "/", Limit: limit}
	if after != "" {
		r.After = i.key(account, after)
	}
	for e, err := range tx.Scan("test."+string(i), r) {
		if err != nil {
			return nil, err
		}
		var v storage.Item
		if err := json.Unmarshal(e.Value, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (i items) PutItem(_ context.Context, tx store.Tx, account string, v storage.Item) error {
	v.ETag, v.LeaseStatus, v.LeaseState = `"0x1"`, "unlocked", "available"
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put("test."+string(i), i.key(account, v.Name), b)
}

func (i items) DeleteItem(_ context.Context, tx store.Tx, account, name string) error {
	return tx.Delete("test."+string(i), i.key(account, name))
}

const account = rptest.Group + "/providers/Microsoft.Storage/storageAccounts/stone"

func newEnv(t *testing.T) (*rptest.Env, *containers) {
	data := &containers{}
	e := rptest.New(t, rptest.Options{}, resources.Provider(), storage.Provider(storage.Deps{Containers: data, Queues: items("queue"), Tables: items("table"), Shares: items("share"),
		KeepShares: func(tx store.Tx, account string, days int) error {
			return tx.Put("test.keep", account, []byte{byte(days)})
		}}))
	e.NewGroup()
	return e, data
}

func body(props string) string {
	return `{"kind":"StorageV2","location":"East US","sku":{"name":"standard_lrs"},"properties":{` + props + `}}`
}

func TestAccount(t *testing.T) {
	e, data := newEnv(t)
	r := e.Want(http.StatusOK, "PUT", account, body(``))
	for field, want := range map[string]any{
		"kind": "StorageV2", "sku.name": "Standard_LRS", "sku.tier": "Standard", "location": "eastus",
		"properties.accessTier": "Hot", "properties.primaryLocation": "eastus", "properties.statusOfPrimary": "available",
		"properties.primaryEndpoints.blob": "https://stone.blob.core.windows.net/",
		"properties.primaryEndpoints.dfs":  "https://stone.dfs.core.windows.net/",
		"properties.primaryEndpoints.file": "https://stone.file.core.windows.net/",
		"properties.allowBlobPublicAccess": false, "properties.supportsHttpsTrafficOnly": true,
		"properties.networkAcls.defaultAction": "Allow", "properties.encryption.keySource": "Microsoft.Storage",
		"properties.encryption.services.blob.enabled": true, "properties.provisioningState": "Succeeded",
		"properties.keyCreationTime.key1": "2026-06-01T12:00:00.0000000Z",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	keys := e.Want(http.StatusOK, "POST", account+"/listKeys?$expand=kerb", nil)
	if len(keys.Body.List("keys")) != 2 || strings.Contains(r.Raw, keys.Body.List("keys")[0].(map[string]any)["value"].(string)) {
		t.Errorf("keys: %s", keys.Raw)
	}
	again := e.Want(http.StatusOK, "PUT", account, body(`"accessTier":"Cool"`))
	if again.Body.String("properties.accessTier") != "Cool" || again.Body.String("properties.creationTime") != r.Body.String("properties.creationTime") {
		t.Errorf("update: %s", again.Raw)
	}
	if e.Want(http.StatusOK, "POST", account+"/listKeys", nil).Raw != keys.Raw {
		t.Error("an update changed the keys")
	}
	p := e.Want(http.StatusOK, "PATCH", account, `{"properties":{"allowSharedKeyAccess":false},"tags":{"a":"b"}}`)
	if p.Body.Bool("properties.allowSharedKeyAccess", true) || p.Body.String("properties.accessTier") != "Cool" || p.Body.String("tags.a") != "b" {
		t.Errorf("patch: %s", p.Raw)
	}
	next := e.Want(http.StatusOK, "POST", account+"/regenerateKey", `{"keyName":"KEY2"}`)
	value := func(r *rptest.Result, i int) any { return r.Body.List("keys")[i].(map[string]any)["value"] }
	if value(next, 0) != value(keys, 0) || value(next, 1) == value(keys, 1) {
		t.Error("regenerateKey changed the wrong key")
	}
	e.Refused(400, "InvalidRequestPropertyValue", "key3", "POST", account+"/regenerateKey", `{"keyName":"key3"}`)

	err := e.Store.View(t.Context(), func(tx store.Tx) error {
		acc, err := storage.Account(tx, e.Kernel.Resources(), "stone")
		if err != nil {
			return err
		}
		if k := storage.Keys(acc); k[0] != value(keys, 0) || k[1] != value(next, 1) {
			t.Errorf("keys %v", k)
		}
		_, err = storage.Account(tx, e.Kernel.Resources(), "none")
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no account: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Want(http.StatusOK, "DELETE", account, nil)
	e.Want(http.StatusNoContent, "DELETE", account, nil)
	var gone []string
	err = e.Store.View(t.Context(), func(tx store.Tx) error {
		for row, err := range tx.Scan(bucket+".gone", store.Range{}) {
			if err != nil {
				return err
			}
			gone = append(gone, row.Key)
		}
		return nil
	})
	if err != nil || len(gone) != 1 || data.reclaimed != 1 {
		t.Errorf("data of %v was deleted, %d reclaimed, %v", gone, data.reclaimed, err)
	}
}

func TestAccountRefusals(t *testing.T) {
	e, _ := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(`"isHnsEnabled":true`))
	e.Want(http.StatusCreated, "PUT", rptest.Sub+"/resourceGroups/rg2", `{"location":"eastus"}`)
	at := func(name string) string { return rptest.Group + "/providers/Microsoft.Storage/storageAccounts/" + name }
	for _, tc := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{at("Bad-Name"), body(``), 400, "AccountNameInvalid", "between 3 and 24 characters"},
		{rptest.Sub + "/resourceGroups/rg2/providers/Microsoft.Storage/storageAccounts/stone", body(``), 409, "StorageAccountAlreadyTaken", "stone is already taken"},
		{at("sttwo"), `{"location":"eastus","kind":"V9","sku":{"name":"Standard_LRS"}}`, 400, "InvalidRequestPropertyValue", "V9"},
		{at("sttwo"), `{"location":"eastus","kind":"FileStorage","sku":{"name":"Standard_LRS"}}`, 400, "InvalidRequestPropertyValue", "Standard_LRS"},
		{at("sttwo"), `{"location":"eastus","kind":"BlobStorage","sku":{"name":"Standard_LRS"}}`, 400, "AccessTierRequired", ""},
		{at("sttwo"), body(`"minimumTlsVersion":"TLS9"`), 400, "InvalidRequestPropertyValue", "TLS9"},
		{at("sttwo"), body(`"isSftpEnabled":true`), 501, "NotImplementedByAzimuth", "isSftpEnabled"},
		{at("sttwo"), body(`"encryption":{"keySource":"Microsoft.Keyvault"}`), 501, "NotImplementedByAzimuth", "keySource"},
		{account, body(`"isHnsEnabled":false`), 409, "PropertyChangeNotAllowed", "isHnsEnabled"},
		{account, `{"location":"eastus","kind":"Storage","sku":{"name":"Standard_LRS"}}`, 400, "InvalidAccountKindChange", ""},
		{account, `{"location":"eastus","sku":{"name":"Premium_LRS"}}`, 400, "InvalidAccountTypeChange", ""},
		{account, `{"location":"westus"}`, 409, "InvalidResourceLocation", "already exists in location"},
	} {
		e.Refused(tc.status, tc.code, tc.text, "PUT", tc.path, tc.body)
	}
	check := rptest.Sub + "/providers/Microsoft.Storage/checkNameAvailability"
	for name, want := range map[string]string{"stone": "AlreadyExists", "x": "AccountNameInvalid", "stfree": ""} {
		r := e.Want(http.StatusOK, "POST", check, `{"name":"`+name+`","type":"Microsoft.Storage/storageAccounts"}`)
		if r.Body.String("reason") != want || r.Body.Bool("nameAvailable", false) != (want == "") {
			t.Errorf("checkNameAvailability(%s): %s", name, r.Raw)
		}
	}
}

func TestServices(t *testing.T) {
	e, _ := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	for _, s := range []string{"blobServices", "fileServices", "queueServices", "tableServices"} {
		r := e.Want(http.StatusOK, "GET", account+"/"+s+"/default", nil)
		if !r.Body.Has("properties.cors") || r.Body.String("name") != "default" || r.Body.String("type") != "Microsoft.Storage/storageAccounts/"+s {
			t.Errorf("%s: %s", s, r.Raw)
		}
		e.Want(http.StatusOK, "PUT", account+"/"+s+"/default", `{"properties":{}}`)
		e.Want(http.StatusNotFound, "GET", account+"/"+s+"/other", nil)
		e.Want(http.StatusNotFound, "GET", strings.Replace(account, "stone", "none", 1)+"/"+s+"/default", nil)
		if r := e.Want(http.StatusOK, "GET", account+"/"+s, nil); len(r.Names()) != 1 {
			t.Errorf("list: %s", r.Raw)
		}
	}
	e.Refused(501, "NotImplementedByAzimuth", "allowPermanentDelete", "PUT", account+"/blobServices/default", `{"properties":{"deleteRetentionPolicy":{"allowPermanentDelete":true}}}`)
	e.Refused(404, "ManagementPolicyNotFound", "stone", "GET", account+"/managementPolicies/default", nil)
	files := strings.Replace(account, "stone", "stfiles", 1)
	e.Want(http.StatusOK, "PUT", files, `{"location":"eastus","kind":"FileStorage","sku":{"name":"Premium_LRS"}}`)
	e.Refused(400, "FeatureNotSupportedForAccount", "Blob is not supported", "GET", files+"/blobServices/default", nil)
}

func TestRetention(t *testing.T) {
	e, data := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	blobs := account + "/blobServices/default"
	var uid string
	update := func(f func(store.Tx) error) {
		t.Helper()
		if err := e.Kernel.Store().Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx store.Tx) error {
		id, err := arm.ParseID(account)
		if err != nil {
			return err
		}
		r, err := e.Kernel.Load(t.Context(), tx, id)
		uid = r.UID
		return err
	})
	check := func(days, containers int, versioning bool) {
		t.Helper()
		r := e.Want(http.StatusOK, "GET", blobs, nil).Body
		if r.Bool("properties.deleteRetentionPolicy.enabled", false) != (days > 0) || r.Int("properties.deleteRetentionPolicy.days", 0) != days ||
			r.Int("properties.containerDeleteRetentionPolicy.days", 0) != containers || r.Bool("properties.isVersioningEnabled", false) != versioning {
			t.Errorf("service %v, want %d days and versioning %v", r, days, versioning)
		}
		update(func(tx store.Tx) error {
			kept, err := data.Retention(t.Context(), tx, uid)
			if kept != (storage.Retention{Days: days, ContainerDays: containers, Versioning: versioning}) {
				t.Errorf("data plane: %+v", kept)
			}
			return err
		})
	}
	check(0, 0, false)
	e.Want(http.StatusOK, "PUT", blobs, `{"properties":{"deleteRetentionPolicy":{"enabled":true,"days":7},"containerDeleteRetentionPolicy":{"enabled":true,"days":9}}}`)
	check(7, 9, false)
	e.Want(http.StatusOK, "PUT", blobs, `{"properties":{"isVersioningEnabled":true}}`)
	check(7, 9, true)
	// A client of the data plane changes it, and a PUT about others leaves it so.
	update(func(tx store.Tx) error {
		return data.SetRetention(t.Context(), tx, uid, storage.Retention{Days: 3, Versioning: true})
	})
	e.Want(http.StatusOK, "PUT", blobs, `{"properties":{}}`)
	check(3, 0, true)
	e.Want(http.StatusOK, "PUT", blobs, `{"properties":{"isVersioningEnabled":false,"deleteRetentionPolicy":{"enabled":false}}}`)
	check(0, 0, false)
	for _, bad := range []string{`{"enabled":true}`, `{"enabled":true,"days":0}`, `{"enabled":true,"days":366}`} {
		e.Refused(400, "InvalidRequestPropertyValue", "days", "PUT", blobs, `{"properties":{"deleteRetentionPolicy":`+bad+`}}`)
	}
	lake := strings.Replace(account, "stone", "stlake", 1)
	e.Want(http.StatusOK, "PUT", lake, body(`"isHnsEnabled":true`))
	e.Refused(501, "NotImplementedByAzimuth", "hierarchical", "PUT", lake+"/blobServices/default", `{"properties":{"isVersioningEnabled":true}}`)
}

func TestContainers(t *testing.T) {
	e, data := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	at := account + "/blobServices/default/containers"
	e.Refused(404, "ContainerNotFound", "", "GET", at+"/one", nil)
	r := e.Want(http.StatusCreated, "PUT", at+"/one", `{"properties":{"metadata":{"a":"b"}}}`)
	if r.Body.String("properties.publicAccess") != "None" || r.Body.String("etag") == "" || r.Body.String("properties.metadata.a") != "b" ||
		!strings.HasSuffix(r.Body.String("id"), "/blobServices/default/containers/one") {
		t.Errorf("container: %s", r.Raw)
	}
	e.Want(http.StatusOK, "PUT", at+"/one", `{"properties":{}}`)
	if r := e.Want(http.StatusOK, "PATCH", at+"/one", `{"properties":{"metadata":{"c":"d"}}}`); r.Body.String("properties.metadata.c") != "d" {
		t.Errorf("patched: %s", r.Raw)
	}
	e.Refused(409, "PublicAccessNotPermitted", "", "PUT", at+"/two", `{"properties":{"publicAccess":"Blob"}}`)
	e.Refused(400, "InvalidResourceName", "", "PUT", at+"/a--b", `{}`)
	// what the data plane makes is there, and what it deletes is gone
	uid := ""
	err := e.Store.Update(t.Context(), func(tx store.Tx) error {
		acc, err := storage.Account(tx, e.Kernel.Resources(), "stone")
		if err != nil {
			return err
		}
		uid = acc.UID
		return data.PutContainer(t.Context(), tx, uid, storage.Container{Name: "two", PublicAccess: "None"})
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	path := at + "?$maxpagesize=1"
	for path != "" {
		r := e.Want(http.StatusOK, "GET", path, nil)
		got = append(got, r.Names()...)
		path = r.Body.String("nextLink")
	}
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("list = %v", got)
	}
	e.Want(http.StatusOK, "DELETE", at+"/two", nil)
	e.Want(http.StatusNoContent, "DELETE", at+"/two", nil)
	e.Want(http.StatusNotFound, "GET", at+"/two", nil)
	if err := e.Store.View(t.Context(), func(tx store.Tx) error {
		if there, err := e.Kernel.Resources().Exists(tx, arm.Key(at+"/one")); err != nil || there {
			t.Errorf("the kernel stores a container: %v, %v", there, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestQueuesAndTables(t *testing.T) {
	e, data := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	at := account + "/queueServices/default/queues"
	e.Refused(404, "QueueNotFound", "", "GET", at+"/jobs", nil)
	if r := e.Want(http.StatusOK, "PUT", at+"/jobs", `{"properties":{"metadata":{"a":"b"}}}`); r.Body.String("properties.metadata.a") != "b" || r.Body.Int("properties.approximateMessageCount", -1) != 0 {
		t.Errorf("queue: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "PATCH", at+"/jobs", `{"properties":{"metadata":{"c":"d"}}}`); r.Body.String("properties.metadata.c") != "d" {
		t.Errorf("patched: %s", r.Raw)
	}
	e.Refused(400, "InvalidResourceName", "", "PUT", at+"/a--b", `{}`)
	e.Want(http.StatusOK, "PUT", at+"/more", `{}`)
	var got []string
	for path := at + "?$maxpagesize=1"; path != ""; {
		r := e.Want(http.StatusOK, "GET", path, nil)
		got = append(got, r.Names()...)
		path = r.Body.String("nextLink")
	}
	if !slices.Equal(got, []string{"jobs", "more"}) {
		t.Errorf("list = %v", got)
	}
	e.Want(http.StatusNoContent, "DELETE", at+"/jobs", nil)
	e.Want(http.StatusNoContent, "DELETE", at+"/jobs", nil)
	if data.reclaimed == 0 {
		t.Error("space of a queue is not reclaimed")
	}
	at = account + "/tableServices/default/tables"
	policy := `{"properties":{"signedIdentifiers":[{"id":"p","accessPolicy":{"startTime":"2026-01-01T00:00:00Z","expiryTime":"2027-01-01T00:00:00Z","permission":"raud"}}]}}`
	if r := e.Want(http.StatusOK, "PUT", at+"/Runs", policy); r.Body.String("properties.tableName") != "Runs" || !strings.Contains(string(r.Raw), `"permission":"raud"`) {
		t.Errorf("table: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "GET", at+"/runs", nil); r.Body.String("name") != "Runs" {
		t.Errorf("table in another case: %s", r.Raw)
	}
	e.Want(http.StatusNoContent, "DELETE", at+"/runs", nil)
	e.Refused(404, "TableNotFound", "", "GET", at+"/Runs", nil)
	e.Refused(400, "InvalidResourceName", "", "PUT", at+"/1a", `{}`)
}

func TestShares(t *testing.T) {
	e, _ := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	at := account + "/fileServices/default/shares"
	e.Refused(404, "ShareNotFound", "", "GET", at+"/box", nil)
	r := e.Want(http.StatusCreated, "PUT", at+"/box", `{"properties":{"shareQuota":50,"accessTier":"hot","metadata":{"a":"b"}}}`)
	if r.Body.Int("properties.shareQuota", 0) != 50 || r.Body.String("properties.accessTier") != "Hot" || r.Body.String("etag") == "" || r.Body.String("properties.metadata.a") != "b" {
		t.Errorf("share: %s", r.Raw)
	}
	e.Want(http.StatusOK, "PUT", at+"/box", `{"properties":{"shareQuota":60}}`)
	if r := e.Want(http.StatusOK, "PATCH", at+"/box", `{"properties":{"metadata":{"c":"d"}}}`); r.Body.String("properties.metadata.c") != "d" || r.Body.Int("properties.shareQuota", 0) != 60 {
		t.Errorf("patched: %s", r.Raw)
	}
	e.Refused(400, "InvalidRequestPropertyValue", "shareQuota", "PUT", at+"/box", `{"properties":{"shareQuota":0}}`)
	e.Refused(400, "InvalidRequestPropertyValue", "accessTier", "PUT", at+"/box", `{"properties":{"accessTier":"Premium"}}`)
	e.Refused(501, "NotImplementedByAzimuth", "NFS", "PUT", at+"/nfs", `{"properties":{"enabledProtocols":"NFS"}}`)
	if r := e.Want(http.StatusOK, "GET", at, nil); !slices.Equal(r.Names(), []string{"box"}) {
		t.Errorf("list: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", at+"/box", nil)
	e.Want(http.StatusNoContent, "DELETE", at+"/box", nil)
}
