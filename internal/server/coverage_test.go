package server

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/files"
	"github.com/azimuth-ml/azimuth/internal/queue"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/table"
)

var update = flag.Bool("update", false, "write docs/coverage anew")

const coverageDir = "../../docs/coverage"

// TestCoverage asks a real server for every operation of Azure's and compares
// those that it says it does not have with the checked-in list, so that the list
// changes on purpose only.
func TestCoverage(t *testing.T) {
	s := open(t)
	token, err := s.dir.Token(t.Context(), s.owner.ObjectID, audienceManagement)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*service{}
	of := func(name string) *service {
		if all[name] == nil {
			all[name] = &service{}
		}
		return all[name]
	}
	for _, op := range readOperations(t) {
		of(op.namespace()).add(op.method+" "+op.path, !covered(t, s.kernel, token.AccessToken, op))
	}
	for _, op := range blob.Operations() {
		of("Blob service").add(op.Name, !op.Implemented)
	}
	for _, op := range blob.DFSOperations() {
		of("Data Lake Storage").add(op.Name, !op.Implemented)
	}
	for name, ops := range map[string][]storage.Operation{"Queue service": queue.Operations(), "Table service": table.Operations(), "File service": files.Operations()} {
		for _, op := range ops {
			of(name).add(op.Name, !op.Implemented)
		}
	}
	// What was covered stays covered: nothing but an edit by hand takes it from the list.
	before, err := os.ReadFile(filepath.Join(coverageDir, coveredFile))
	if err != nil {
		t.Fatal(err)
	}
	for service, names := range sections(string(before)) {
		for _, name := range names {
			if slices.Contains(of(service).missing, name) {
				t.Errorf("%s %s was covered; uncovered.txt may only get shorter", service, name)
			}
		}
	}
	if t.Failed() {
		return
	}
	for name, want := range coverageFiles(all) {
		path := filepath.Join(coverageDir, name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not up to date:\n%s\nIf that is meant: go test ./internal/server -run Coverage -update", path, lineDiff(string(got), want))
		}
	}
}

// operationRow is a line of testdata/operations.txt.
type operationRow struct{ method, path, version string }

func readOperations(t *testing.T) []operationRow {
	t.Helper()
	f, err := os.Open("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []operationRow
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Fields(lines.Text())
		if len(f) != 4 {
			t.Fatalf("operations.txt: %q is not four words", lines.Text())
		}
		out = append(out, operationRow{f[0], f[1], f[2]})
	}
	return out
}

// namespace is the provider whose operation it is. A management group is only
// where others' operations take place.
func (o operationRow) namespace() string {
	name := "Microsoft.Resources"
	segs := strings.Split(o.path, "/")
	for i, s := range segs[:len(segs)-1] {
		if s == "providers" && strings.Contains(segs[i+1], ".") && segs[i+1] != "Microsoft.Management" {
			name = segs[i+1]
		}
	}
	if strings.HasPrefix(o.path, "/{roleAssignmentId}") || strings.HasPrefix(o.path, "/{denyAssignmentId}") {
		name = "Microsoft.Authorization"
	}
	if strings.HasPrefix(name, "microsoft.") {
		name = "Microsoft.Insights" // its paths are in either casing
	}
	return name
}

// exampleNames fill the parameters that may not be just any name.
func exampleNames() map[string]string {
	sub := "subscriptions/" + entra.DefaultSubscriptionID
	group := sub + "/resourceGroups/nothing"
	const id = "11111111-2222-3333-4444-555555555555"
	return map[string]string{
		"subscriptionId": entra.DefaultSubscriptionID, "resourceGroupName": "nothing", "location": "eastus",
		"scope": group, "resourceId": group + "/providers/Microsoft.Storage/storageAccounts/nothing",
		"roleAssignmentId":          group + "/providers/Microsoft.Authorization/roleAssignments/" + id,
		"denyAssignmentId":          group + "/providers/Microsoft.Authorization/denyAssignments/" + id,
		"resourceProviderNamespace": "Microsoft.Storage", "parentResourcePath": "", "resourceType": "storageAccounts",
		"roleAssignmentName": id, "roleDefinitionId": id, "scopePath": "analyticsItems", "version": "1",
		"BlobServicesName": "default", "FileServicesName": "default", "queueServiceName": "default", "tableServiceName": "default",
		"managementPolicyName": "default", "immutabilityPolicyName": "default", "blobInventoryPolicyName": "default",
		"operationKind": "replace",
	}
}

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// covered asks for an operation on things that are not there. Whatever the
// answer, 501 alone says that Azimuth does not have it.
func covered(t *testing.T, h http.Handler, token string, op operationRow) bool {
	t.Helper()
	names := exampleNames()
	path := parameter.ReplaceAllStringFunc(op.path, func(p string) string {
		if name, ok := names[strings.Trim(p, "{}")]; ok {
			return name
		}
		return "nothing"
	})
	path = strings.ReplaceAll(path, "//", "/")
	body := ""
	if op.method == http.MethodPut || op.method == http.MethodPatch || op.method == http.MethodPost {
		body = "{}"
	}
	r := httptest.NewRequestWithContext(t.Context(), op.method, "https://"+arm.Host+path+"?api-version="+op.version, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNotImplemented {
		if w.Code >= 500 || w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden {
			t.Errorf("%s %s: %d %s", op.method, path, w.Code, w.Body)
		}
		return true
	}
	var e struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); op.method != http.MethodHead && (err != nil || e.Error.Code != "NotImplementedByAzimuth" || e.Error.Message == "") {
		t.Errorf("%s %s: 501 without saying what: %s", op.method, path, w.Body)
	}
	return false
}

// service is a namespace's or a data plane's operations.
type service struct{ have, missing []string }

func (s *service) add(name string, missing bool) {
	if missing {
		s.missing = append(s.missing, name)
	} else {
		s.have = append(s.have, name)
	}
}

const coveredFile = "covered.txt"

// section writes a service's operations under its name.
func section(b *strings.Builder, service string, names []string) {
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", service)
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(b, "  %s\n", n)
	}
}

// sections reads what section has written.
func sections(text string) map[string][]string {
	out := map[string][]string{}
	service := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "  "); ok {
			out[service] = append(out[service], name)
		} else if !strings.HasPrefix(line, "#") {
			service = line
		}
	}
	return out
}

// coverageFiles writes uncovered.txt, covered.txt and README.md.
func coverageFiles(all map[string]*service) map[string]string {
	var l, c, r strings.Builder
	c.WriteString("# Operations of Azure's that Azimuth has. None may go from here but by hand. Written by\n" +
		"# go test ./internal/server -run Coverage -update.\n")
	l.WriteString("# Operations that Azure has and Azimuth answers with 501. Written by\n" +
		"# go test ./internal/server -run Coverage -update, from internal/server/testdata/operations.txt.\n")
	r.WriteString(`# What Azimuth covers

An operation that Azure has and Azimuth has not answers HTTP 501 with the code
` + "`NotImplementedByAzimuth`" + ` and its name. [uncovered.txt](uncovered.txt) lists them.
A test asks a server for each and fails when the list is not what it says, or when an
operation of [covered.txt](covered.txt) is not there any more: the list only gets
shorter. After a change:

    go test ./internal/server -run Coverage -update

| service | operations | covered | |
|---|---:|---:|---:|
`)
	var total, covered int
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		have, sum := len(s.have), len(s.have)+len(s.missing)
		total, covered = total+sum, covered+have
		fmt.Fprintf(&r, "| %s | %d | %d | %d %% |\n", name, sum, have, have*100/sum)
		section(&l, name, s.missing)
		section(&c, name, s.have)
	}
	fmt.Fprintf(&r, "| **all** | %d | %d | %d %% |\n", total, covered, covered*100/total)
	r.WriteString(`
The operations are those of Azure's SDK for Go, whole namespaces, also where an
environment for machine learning has no use for them. Covered means that the
operation is there; a property that Azure acts on and Azimuth does not is refused
with 501, too, when it is set. Microsoft Graph, the data planes of Key Vault and Container Registry, MLflow and
the run history of Azure ML have no list yet; what they lack answers 501 as well.
`)
	return map[string]string{"uncovered.txt": l.String(), coveredFile: c.String(), "README.md": r.String()}
}

// lineDiff lists the lines that only one of two texts has.
func lineDiff(got, want string) string {
	var b strings.Builder
	have, need := strings.Split(got, "\n"), strings.Split(want, "\n")
	for _, l := range have {
		if !slices.Contains(need, l) {
			fmt.Fprintf(&b, "  listed, but no longer so: %s\n", strings.TrimSpace(l))
		}
	}
	for _, l := range need {
		if !slices.Contains(have, l) {
			fmt.Fprintf(&b, "  so, but not listed:       %s\n", strings.TrimSpace(l))
		}
	}
	return b.String()
}
