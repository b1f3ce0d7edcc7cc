package jobspec

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseAsset(t *testing.T) {
	for name, c := range map[string]struct {
		kind AssetKind
		text string
		want Asset
	}{
		"data": {DataAsset, "name: d\nversion: 7\ntype: URI_FILE\npath: ./t.csv\ntags: {a: b}\n",
			Asset{Name: "d", Version: "7", Type: "uri_file", Local: "./t.csv", Tags: map[string]string{"a": "b"}}},
		"data elsewhere":   {DataAsset, "name: d\npath: wasbs://c@a.blob.core.windows.net/p\n", Asset{Name: "d", Type: "uri_folder", URI: "wasbs://c@a.blob.core.windows.net/p"}},
		"model of a run":   {ModelAsset, "name: m\npath: runs:/r1/model\n", Asset{Name: "m", Type: "custom_model", URI: "azureml://jobs/r1/outputs/artifacts/paths/model"}},
		"model by a merge": {ModelAsset, "name: &n m\nversion: *n\npath: azureml://jobs/j/outputs/o\nstage: Production\nflavors: {python_function: {a: 1}}\n", Asset{Name: "m", Version: "m", Type: "custom_model", URI: "azureml://jobs/j/outputs/o", Stage: "Production", Flavors: map[string]any{"python_function": map[string]any{"a": int64(1)}}}},
		"environment":      {EnvironmentAsset, "name: e\nversion: \"1\"\nimage: i\nconda_file: c.yml\n", Asset{Name: "e", Version: "1", Environment: Environment{Image: "i", OSType: "Linux"}}},
		"datastore with a key": {DatastoreAsset, "name: s\ntype: azure_blob\naccount_name: a\ncontainer_name: c\ncredentials: {account_key: k}\n", Asset{Name: "s", Type: "AzureBlob", Datastore: map[string]any{
			"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c", "credentials": map[string]any{"credentialsType": "AccountKey", "secrets": map[string]any{"secretsType": "AccountKey", "key": "k"}}}}},
		"datastore without": {DatastoreAsset, "name: s\ntype: azure_data_lake_gen2\naccount_name: a\nfilesystem: f\n", Asset{Name: "s", Type: "AzureDataLakeGen2", Datastore: map[string]any{
			"datastoreType": "AzureDataLakeGen2", "accountName": "a", "filesystem": "f", "credentials": map[string]any{"credentialsType": "None"}}}},
	} {
		c.want.Kind = c.kind
		got, err := ParseAsset(c.kind, []byte(c.text), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, *got, c.want)
		}
	}
	for text, want := range map[string]string{
		"path: p":                            "name",
		"name: a b\npath: p":                 "letters",
		"name: d":                            "path",
		"name: d\nversion: [1]\npath: p":     "a version has",
		"name: d\npath: azureml:x:1":         "is not a path",
		"name: d\npath: p\ntype: uri_fil":    "uri_file",
		"name: d\npath: p\nverison: 1":       "verison",
		"name: d\npath: p\ntags: {a: [1]}":   "tags",
		"- name":                             "object",
		"name: d\nversion: &v *v\npath: p\n": "",
	} {
		_, err := ParseAsset(DataAsset, []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"name: S\ntype: azure_blob\naccount_name: a\ncontainer_name: c":                        "lower-case",
		"name: s\naccount_name: a":                                                             "type",
		"name: s\ntype: azure_file\naccount_name: a":                                           "file_share_name",
		"name: s\ntype: azure_blob\naccount_name: a\ncontainer_name: c\ncredentials: {key: k}": "account_key",
	} {
		if _, err := ParseAsset(DatastoreAsset, []byte(text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseAsset(f *testing.F) {
	f.Add("data", "name: d\npath: p\n")
	f.Add("model", "name: m\nversion: 1\npath: runs:/r/p\nflavors: {a: {b: c}}\n")
	f.Add("environment", "name: e\nimage: i\nconda_file: {dependencies: [pip]}\n")
	f.Add("datastore", "name: s\ntype: azure_blob\naccount_name: a\ncontainer_name: c\ncredentials: {sas_token: x}\n")
	f.Add("component", "name: c\ncommand: x\nenvironment: {image: i}\ninputs: {a: {type: string}}\n")
	f.Add("component", "name: c\ntype: pipeline\njobs: {a: {command: x, environment: azureml:e:1}, b: {type: sweep, trial: azureml:t:1}}\n")
	f.Fuzz(func(t *testing.T, kind, text string) {
		a, err := ParseAsset(AssetKind(kind), []byte(text), Options{})
		if (a == nil) == (err == nil) {
			t.Errorf("%q is %v, %v", text, a, err)
		}
	})
}
