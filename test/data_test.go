package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDataReferences gives one file to a job in every way that a job file has.
func TestDataReferences(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	w := e.wire()
	for _, c := range []string{"data", "closed"} {
		a, err := w.do(t.Context(), w.tokens[forStorage], http.MethodPut, smallBlobs+"/"+c+"/in/t.csv", map[string]string{"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06"}, "a,b\n")
		if err != nil || a.status != http.StatusCreated {
			t.Fatalf("put blob: %v, %+v", err, a)
		}
	}
	a, err := w.do(t.Context(), w.tokens[forARM], http.MethodPost, armHost+smallGroup+"/providers/Microsoft.Storage/storageAccounts/stsmall001/listKeys?api-version=2023-01-01", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys []struct{ Value string } }
	if err := json.Unmarshal(a.body, &keys); err != nil || len(keys.Keys) == 0 {
		t.Fatalf("keys: %v in %s", err, a.body)
	}
	store := func(name, container, credentials string) {
		t.Helper()
		e.run("ml", "datastore", "create", "-f", filepath.Join(write(t, map[string]string{"s.yml": "type: azure_blob\nname: " + name +
			"\naccount_name: stsmall001\ncontainer_name: " + container + "\n" + credentials}), "s.yml"))
	}
	store("by_key", "closed", "credentials: {account_key: "+keys.Keys[0].Value+"}\n")
	store("by_wrong_key", "closed", "credentials: {account_key: d3Jvbmc=}\n")
	store("by_identity", "data", "")
	store("by_identity_closed", "closed", "")
	local := write(t, map[string]string{"t.csv": "a,b\n"})
	e.run("ml", "data", "create", "-n", "table", "-v", "3", "--type", "uri_file", "--path", filepath.Join(local, "t.csv"))

	// as clients write a workspace in the URI of a datastore
	scoped := strings.NewReplacer("/resourceGroups/", "/resourcegroups/", "/providers/Microsoft.MachineLearningServices", "").Replace(smallWS)
	inputs := map[string]string{
		"key":        "{type: uri_file, path: azureml://datastores/by_key/paths/in/t.csv}",
		"identity":   "{type: uri_file, path: azureml://datastores/by_identity/paths/in/t.csv, mode: download}",
		"whole":      "{type: uri_file, path: 'azureml:" + smallWS + "/data/table/versions/3'}",
		"scoped":     "{type: uri_file, path: 'azureml:/" + scoped + "/datastores/by_key/paths/in/t.csv'}",
		"asset":      "{type: uri_file, path: 'azureml:table:3'}",
		"latest":     "{type: uri_file, path: azureml:table@latest}",
		"wasbs":      "{type: uri_file, path: 'wasbs://data@stsmall001.blob.core.windows.net/in/t.csv', mode: ro_mount}",
		"abfss":      "{type: uri_file, path: 'abfss://data@stsmall001.dfs.core.windows.net/in/t.csv'}",
		"https":      "{type: uri_file, path: " + smallBlobs + "/data/in/t.csv}",
		"local":      "{type: uri_file, path: " + filepath.Join(local, "t.csv") + "}",
		"local_file": "{type: uri_file, path: 'file:" + filepath.Join(local, "t.csv") + "'}",
	}
	command, more := "", "inputs:\n"
	for name, in := range inputs {
		command += "test \"$(cat ${{inputs." + name + "}})\" = a,b || echo wrong " + name + "\n"
		more += "  " + name + ": " + in + "\n"
	}
	command += "test \"$(cat ${{inputs.folder}}/t.csv)\" = a,b || echo wrong folder\necho direct ${{inputs.direct}} end\nmkdir -p ${{outputs.up}}\ncp ${{inputs.key}} ${{outputs.up}}/up.csv\ncp ${{inputs.key}} ${{outputs.mounted}}/mounted.csv\necho done\n"
	more += "  folder: {type: uri_folder, path: azureml://datastores/by_identity/paths/in/}\n" +
		"  direct: {type: uri_folder, path: azureml://datastores/by_key/paths/in/, mode: direct}\n" +
		"outputs:\n  up: {type: uri_folder, mode: upload, path: azureml://datastores/by_key/paths/out/up}\n  mounted: {type: uri_folder, mode: rw_mount, name: made}\n"
	out := e.run("ml", "job", "create", "-f", jobFile(t, command, more, nil), "-n", "ways", "--stream")
	if strings.Contains(out, "wrong") || !strings.Contains(out, "\ndone\n") {
		t.Errorf("log: %s", out)
	}
	if !strings.Contains(out, "direct azureml://datastores/by_key/paths/in/ end") {
		t.Errorf("the direct input is not its URI: %s", out)
	}
	if a, err := w.do(t.Context(), w.tokens[forStorage], http.MethodGet, smallBlobs+"/closed/out/up/up.csv", map[string]string{"x-ms-version": "2021-08-06"}, ""); err != nil || string(a.body) != "a,b\n" {
		t.Errorf("uploaded output: %v, %+v", err, a)
	}
	down := t.TempDir()
	e.run("ml", "job", "download", "-n", "ways", "--output-name", "mounted", "-p", down)
	if b, err := os.ReadFile(filepath.Join(down, "named-outputs", "mounted", "mounted.csv")); err != nil || string(b) != "a,b\n" {
		t.Errorf("mounted output: %q, %v", b, err)
	}
	e.run("ml", "data", "show", "-n", "made")

	// the permissions that hold
	for what, c := range map[string]struct{ more, says string }{
		"a container that the identity may not read":  {"inputs:\n  x: {type: uri_file, path: azureml://datastores/by_identity_closed/paths/in/t.csv}\n", "AuthorizationPermissionMismatch"},
		"a URL that the identity may not read":        {"inputs:\n  x: {type: uri_file, path: " + smallBlobs + "/closed/in/t.csv}\n", "AuthorizationPermissionMismatch"},
		"a container that the identity may only read": {"outputs:\n  x: {path: azureml://datastores/by_identity/paths/out}\n", "AuthorizationPermissionMismatch"},
		"a wrong key":                  {"inputs:\n  x: {type: uri_file, path: azureml://datastores/by_wrong_key/paths/in/t.csv}\n", "AuthenticationFailed"},
		"a file that is not there":     {"inputs:\n  x: {type: uri_file, path: azureml://datastores/by_key/paths/in/none.csv}\n", "was not found"},
		"an account that is not there": {"inputs:\n  x: {type: uri_file, path: https://nowhere0815.blob.core.windows.net/c/t.csv}\n", "'nowhere0815' was not found"},
	} {
		r := e.try("ml", "job", "create", "-f", jobFile(t, "echo ran", c.more, nil), "--stream")
		if r.code != 1 || !strings.Contains(r.stdout+r.stderr, c.says) || strings.Contains(r.stdout, "\nran\n") {
			t.Errorf("%s: want %q, got %s", what, c.says, r)
		}
	}
	// and what is refused before anything runs
	for what, c := range map[string]struct{ command, more, says string }{
		"an unknown input":     {"cat ${{inputs.nothing}}", "", "nothing"},
		"an unknown datastore": {"echo", "inputs:\n  x: {type: uri_file, path: azureml://datastores/none/paths/t.csv}\n", "'none' is not in the workspace"},
		"an unknown version":   {"echo", "inputs:\n  x: {type: uri_file, path: 'azureml:table:9'}\n", "not found"},
		"another scheme":       {"echo", "inputs:\n  x: {type: uri_file, path: 'adl://a.azuredatalakestore.net/t.csv'}\n", "NotImplementedByAzimuth"},
		"another site":         {"echo", "inputs:\n  x: {type: uri_file, path: 'https://example.com/t.csv'}\n", "NotImplementedByAzimuth"},
		"itself":               {"echo", "inputs:\n  x: {path: azureml://jobs/circle/outputs/o}\noutputs:\n  o: {}\n", "'circle'"},
	} {
		if r := e.try("ml", "job", "create", "-n", "circle", "-f", jobFile(t, c.command, c.more, nil)); r.code != 1 || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: want %q, got %s", what, c.says, r)
		}
	}
}
