package ml_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// registry speaks MLflow's model registry.
type registry struct {
	*harness
	token string
}

func (r registry) call(method, op string, body any) *rptest.Result {
	r.t.Helper()
	r.Clock.Step(1e9)
	return r.data(r.token, method, "/mlflow/v1.0"+wsID+"/api/2.0/mlflow/"+op, body)
}

func (r registry) ok(method, op string, body any) arm.Doc {
	r.t.Helper()
	out := r.call(method, op, body)
	if out.Status != http.StatusOK {
		r.t.Fatalf("%s %s %v = %d %s", method, op, body, out.Status, out.Raw)
	}
	return out.Body
}

func (r registry) refused(status int, code, method, op string, body any) {
	r.t.Helper()
	if out := r.call(method, op, body); out.Status != status || out.Body.String("error_code") != code {
		r.t.Errorf("%s %s %v = %d %s, want %d %s", method, op, body, out.Status, out.Raw, status, code)
	}
}

// each joins what a field of the members of a list says.
func each(doc arm.Doc, list, field string) string {
	var out []string
	all, _ := doc.Get(list).([]any)
	for _, v := range all {
		out = append(out, arm.Doc(v.(map[string]any)).String(field))
	}
	return strings.Join(out, " ")
}

func TestModelRegistry(t *testing.T) {
	h := newHarness(t)
	r := registry{h, rptest.Owner}
	type m = map[string]any
	if got := r.ok("POST", "registered-models/create", m{"name": "iris", "description": "d", "tags": []m{{"key": "a", "value": "b"}}}); got.String("registered_model.name") != "iris" {
		t.Errorf("created model: %v", got)
	}
	r.refused(400, "RESOURCE_ALREADY_EXISTS", "POST", "registered-models/create", m{"name": "iris"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "registered-models/create", m{"name": "no spaces"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "registered-models/create", m{})
	r.refused(404, "RESOURCE_DOES_NOT_EXIST", "GET", "registered-models/get?name=none", nil)

	// versions of a run's files
	run := r.ok("POST", "runs/create", m{}).String("run.info.run_id")
	source := "mlflow-artifacts:/ExperimentRun/dcid." + run + "/model"
	for range 3 {
		r.ok("POST", "model-versions/create", m{"name": "iris", "source": source, "run_id": run, "tags": []m{{"key": "k", "value": "v"}}})
	}
	r.refused(404, "RESOURCE_DOES_NOT_EXIST", "POST", "model-versions/create", m{"name": "none", "source": source})
	r.refused(404, "RESOURCE_DOES_NOT_EXIST", "POST", "model-versions/create", m{"name": "iris", "source": source, "run_id": "none"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "model-versions/create", m{"name": "iris", "source": "file:///etc"})
	v := r.ok("GET", "model-versions/get?name=iris&version=2", nil)
	for path, want := range map[string]string{"name": "iris", "version": "2", "source": source, "run_id": run, "current_stage": "None", "status": "READY"} {
		if got := v.String("model_version." + path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if got := r.ok("GET", "model-versions/get-download-uri?name=iris&version=2", nil).String("artifact_uri"); got != source {
		t.Errorf("download from %s", got)
	}

	// it is a model of the workspace, with its files where the artifact store has them
	shown := h.Want(200, "GET", wsID+"/models/iris/versions/2", nil).Body
	if shown.String("properties.modelUri") != "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid."+run+"/model" ||
		shown.String("properties.modelType") != "mlflow_model" || shown.String("properties.jobName") != run {
		t.Errorf("as Azure shows it: %v", shown)
	}
	if c := h.Want(200, "GET", wsID+"/models/iris", nil).Body; c.String("properties.latestVersion") != "3" || c.String("properties.nextVersion") != "4" {
		t.Errorf("the model as Azure shows it: %v", c)
	}

	// stages
	r.ok("POST", "model-versions/transition-stage", m{"name": "iris", "version": "1", "stage": "production"})
	r.ok("POST", "model-versions/transition-stage", m{"name": "iris", "version": "2", "stage": "Production", "archive_existing_versions": true})
	r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "model-versions/transition-stage", m{"name": "iris", "version": "2", "stage": "Anywhere"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "model-versions/transition-stage", m{"name": "iris", "version": "2", "stage": "None", "archive_existing_versions": true})
	if got := each(r.ok("GET", "registered-models/get-latest-versions?name=iris&stages=production&stages=Archived", nil), "model_versions", "version"); got != "2 1" {
		t.Errorf("latest in Production and Archived: %s", got)
	}
	if got := each(r.ok("GET", "registered-models/get?name=iris", nil), "registered_model.latest_versions", "version"); got != "1 3 2" {
		t.Errorf("latest of each stage: %s", got)
	}

	// aliases
	r.ok("POST", "registered-models/alias", m{"name": "iris", "alias": "champion", "version": "2"})
	if got := r.ok("GET", "registered-models/alias?name=iris&alias=champion", nil).String("model_version.version"); got != "2" {
		t.Errorf("the champion is %s", got)
	}
	for _, bad := range []string{"latest", "v2", "a b", ""} {
		r.refused(400, "INVALID_PARAMETER_VALUE", "POST", "registered-models/alias", m{"name": "iris", "alias": bad, "version": "2"})
	}
	r.refused(404, "RESOURCE_DOES_NOT_EXIST", "POST", "registered-models/alias", m{"name": "iris", "alias": "x", "version": "9"})
	r.ok("DELETE", "registered-models/alias", m{"name": "iris", "alias": "champion"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "GET", "registered-models/alias?name=iris&alias=champion", nil)

	// tags and descriptions
	r.ok("PATCH", "registered-models/update", m{"name": "iris", "description": "better"})
	r.ok("POST", "registered-models/set-tag", m{"name": "iris", "key": "team", "value": "x"})
	r.ok("DELETE", "registered-models/delete-tag", m{"name": "iris", "key": "a"})
	r.ok("PATCH", "model-versions/update", m{"name": "iris", "version": "3", "description": "third"})
	r.ok("POST", "model-versions/set-tag", m{"name": "iris", "version": "3", "key": "good", "value": "yes"})
	r.ok("DELETE", "model-versions/delete-tag", m{"name": "iris", "version": "3", "key": "k"})
	one := r.ok("GET", "registered-models/get?name=iris", nil)
	if one.String("registered_model.description") != "better" || each(one, "registered_model.tags", "key") != "team" {
		t.Errorf("changed model: %v", one)
	}

	// search
	for _, name := range []string{"rose", "lily"} {
		r.ok("POST", "registered-models/create", m{"name": name})
	}
	h.Want(201, "PUT", wsID+"/models/lily/versions/7", m{"properties": m{"modelUri": "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.j/m", "modelType": "custom_model"}})
	for query, want := range map[string]string{
		"": "iris lily rose", "filter=name+LIKE+'%25i%25'": "iris lily", "filter=tags.team%3D'x'": "iris",
		"order_by=name+DESC": "rose lily iris", "order_by=last_updated_timestamp+DESC&max_results=1": "lily",
	} {
		if got := each(r.ok("GET", "registered-models/search?"+query, nil), "registered_models", "name"); got != want {
			t.Errorf("models %s are %q, want %q", query, got, want)
		}
	}
	first := r.ok("GET", "registered-models/search?max_results=2", nil)
	if got := each(r.ok("GET", "registered-models/search?max_results=2&page_token="+first.String("next_page_token"), nil), "registered_models", "name"); got != "rose" {
		t.Errorf("second page: %s", got)
	}
	for query, want := range map[string]string{
		"filter=name%3D'iris'": "3 2 1", "filter=name%3D'iris'&order_by=version_number+ASC": "1 2 3", "filter=run_id%3D'" + run + "'+AND+tags.good%3D'yes'": "3",
		"filter=run_id+IN+('none')": "", "filter=name%3D'lily'": "7", "filter=source_path+LIKE+'%25dcid.j/m'": "7",
	} {
		if got := each(r.ok("GET", "model-versions/search?"+query, nil), "model_versions", "version"); got != want {
			t.Errorf("versions %s are %q, want %q", query, got, want)
		}
	}
	if got := r.ok("GET", "model-versions/get?name=lily&version=7", nil).String("model_version.source"); got != "mlflow-artifacts:/ExperimentRun/dcid.j/m" {
		t.Errorf("source of another client's version: %s", got)
	}
	r.refused(400, "INVALID_PARAMETER_VALUE", "GET", "registered-models/search?filter=size%3D'1'", nil)
	r.refused(400, "INVALID_PARAMETER_VALUE", "GET", "registered-models/search?max_results=1001", nil)

	// rename and delete
	r.refused(400, "RESOURCE_ALREADY_EXISTS", "POST", "registered-models/rename", m{"name": "iris", "new_name": "lily"})
	r.ok("POST", "registered-models/alias", m{"name": "iris", "alias": "best", "version": "3"})
	r.ok("POST", "registered-models/rename", m{"name": "iris", "new_name": "tulip"})
	h.Want(404, "GET", wsID+"/models/iris/versions/1", nil)
	if got := r.ok("GET", "registered-models/alias?name=tulip&alias=best", nil).String("model_version.name"); got != "tulip" {
		t.Errorf("renamed: %s", got)
	}
	r.ok("DELETE", "model-versions/delete", m{"name": "tulip", "version": "3"})
	r.refused(400, "INVALID_PARAMETER_VALUE", "GET", "registered-models/alias?name=tulip&alias=best", nil)
	if c := h.Want(200, "GET", wsID+"/models/tulip", nil).Body; c.String("properties.latestVersion") != "2" {
		t.Errorf("latest after a delete: %v", c)
	}
	r.ok("DELETE", "registered-models/delete", m{"name": "tulip"})
	h.Want(404, "GET", wsID+"/models/tulip/versions/1", nil)
	r.refused(404, "RESOURCE_DOES_NOT_EXIST", "DELETE", "registered-models/delete", m{"name": "tulip"})

	// who may
	guest := registry{h, rptest.Guest}
	guest.refused(403, "PERMISSION_DENIED", "GET", "registered-models/search", nil)
	h.Roles[rptest.ObjectID(rptest.Guest)+" Microsoft.MachineLearningServices/workspaces/models/read"] = true
	guest.ok("GET", "registered-models/search", nil)
	guest.refused(403, "PERMISSION_DENIED", "POST", "registered-models/create", m{"name": "x"})
}
