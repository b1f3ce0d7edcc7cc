package ml

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// runPath is the part of a run history path that names a run: by itself, or in
// its experiment by name or ID.
func runPath() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:experiments/[^/]+/|experimentids/[^/]+/)?runs/([^/]+)(?:/(.+))?$`)
}

// sasLife is how long, in seconds, the addresses of logs and artifacts are good.
const sasLife = 60 * 60

// history serves what azure-ai-ml needs of run history to stream and download
// jobs, with the names of its REST client.
func (s *Service) history(r *http.Request, v *visit, rest string) (any, error) {
	ctx := r.Context()
	if r.Method == http.MethodPost && strings.EqualFold(rest, "rundata") {
		return s.runData(r, v)
	}
	m := runPath().FindStringSubmatch(rest)
	if m == nil || r.Method != http.MethodGet {
		return nil, arm.NotImplemented("%s /history/v1.0/…/%s", r.Method, rest)
	}
	h, err := s.openHistory(ctx, v, m[1])
	if err != nil {
		return nil, err
	}
	switch op := strings.ToLower(m[2]); {
	case op == "":
		return h.body(), nil
	case op == "details":
		return s.details(ctx, h)
	case op == "children":
		return s.children(ctx, v, h)
	case strings.HasPrefix(op, "serviceinstances/"):
		return map[string]any{"instances": map[string]any{}}, nil
	case op == "artifacts" || strings.HasPrefix(op, "artifacts/"):
		return s.runArtifacts(ctx, h, strings.TrimPrefix(op, "artifacts"), r.URL.Query())
	default:
		return nil, arm.NotImplemented("%s /history/v1.0/…/%s", r.Method, rest)
	}
}

// runHistory is a job as run history shows it.
type runHistory struct {
	*run
	ws    *workspace
	doc   arm.Doc // the job's properties as ARM shows them
	size  string
	nodes int
}

func (s *Service) openHistory(ctx context.Context, v *visit, name string) (*runHistory, error) {
	if v.run != "" && !strings.EqualFold(v.run, name) {
		return nil, arm.Errorf(http.StatusForbidden, "UserError", "The token of the job '%s' gives no access to the run '%s'.", v.run, name)
	}
	h := &runHistory{ws: v.ws}
	err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
		job, err := s.kernel.Resources().Get(tx, v.ws.id.Child("jobs", name).Key())
		if errors.Is(err, store.ErrNotFound) {
			return arm.Errorf(http.StatusNotFound, "UserError", "Run %s was not found.", name)
		}
		if err != nil {
			return err
		}
		doc, err := s.kernel.Render(ctx, tx, job)
		if err != nil {
			return err
		}
		h.doc = doc.Object("properties")
		h.nodes = h.doc.Int("resources.instanceCount", 1)
		if h.run, err = s.runOf(tx, job); err != nil {
			return err
		}
		if h.size = h.Size; h.size == "" {
			cluster, err := s.kernel.Resources().Get(tx, h.doc.String("computeId"))
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			h.size = cluster.Body.String("properties.properties.vmSize")
		}
		return nil
	})
	return h, err
}

// outputAsset is the ID of the asset that an output without a name of its own
// becomes, in the form in which Azure names them.
func (h *runHistory) outputAsset(name, kind string) string {
	plural, what := "data", "data"
	if strings.HasSuffix(kind, "_model") {
		plural, what = "models", "mlflow_log_model"
	}
	return "azureml://locations/" + h.ws.Location + "/workspaces/" + h.ws.GUID + "/" + plural + "/azureml_" + h.Name + "_output_" + what + "_" + name + "/versions/1"
}

// historyType is the type of an asset in run history's words, which are other
// ones than those of jobs.
func historyType(kind string) string {
	switch kind {
	case "uri_file":
		return "UriFile"
	case "uri_folder":
		return "UriFolder"
	case "mltable":
		return "MLTable"
	case "custom_model":
		return "CustomModel"
	case "mlflow_model":
		return "MLFlowModel"
	case "triton_model":
		return "TritonModel"
	}
	return kind
}

func outputAssetID() *regexp.Regexp {
	return regexp.MustCompile(`/(?:data|models)/azureml_(.+)_output_(?:data|mlflow_log_model)_(.+)/versions/[^/]+$`)
}

// common is what Run and RunDetails have both.
func (h *runHistory) common() map[string]any {
	out := map[string]any{
		"runId": h.Name, "runUuid": h.Item[strings.LastIndexByte(h.Item[:strings.LastIndexByte(h.Item, '/')], '/')+1 : strings.LastIndexByte(h.Item, '/')],
		"rootRunId": h.root(), "target": h.target(), "status": h.doc.String("status"),
		"properties": h.doc.Object("properties"), "parameters": h.doc.Object("parameters"), "tags": orEmpty(h.doc.Object("tags")),
		"createdBy": map[string]any{
			"userObjectId": h.Submitter.ObjectID, "userTenantId": h.Submitter.TenantID, "userName": h.Submitter.Name,
		},
		"userId": h.Submitter.ObjectID,
	}
	if h.Pipeline == nil {
		out["compute"] = map[string]any{"target": h.target(), "targetType": "AmlCompute", "vmSize": h.size, "instanceCount": h.nodes}
	}
	if h.Parent != "" {
		out["parentRunId"] = h.ParentName
	}
	if !h.Started.IsZero() {
		out["startTimeUtc"] = stamp(h.Started)
	}
	if !h.Ended.IsZero() {
		out["endTimeUtc"] = stamp(h.Ended)
	}
	if h.Error != nil {
		out["error"] = map[string]any{"error": map[string]any{"code": h.Error.Code, "message": h.Error.Message, "messageParameters": map[string]any{}, "details": []any{}}}
	}
	outputs := map[string]any{}
	if h.Status == Completed {
		all := h.doc.Object("outputs")
		for _, name := range slices.Sorted(maps.Keys(all)) {
			o, ok := all[name].(map[string]any)
			if kind := arm.Doc(o).String("jobOutputType"); ok && name != "default" {
				outputs[name] = map[string]any{"assetId": h.outputAsset(name, kind), "type": historyType(kind)}
			}
		}
	}
	out["outputs"] = outputs
	return out
}

func orEmpty(d arm.Doc) arm.Doc {
	if d == nil {
		return arm.Doc{}
	}
	return d
}

// body is the run as the model Run has it.
func (h *runHistory) body() map[string]any {
	out := h.common()
	out["createdUtc"] = stamp(h.Created)
	out["experimentId"], out["displayName"], out["name"] = h.Experiment, h.doc.String("displayName"), h.doc.String("displayName")
	out["dataContainerId"], out["description"], out["hidden"] = "dcid."+h.Name, h.doc.String("description"), h.Archived
	if w := h.doc.String("queueingInfo.message"); w != "" {
		out["queueingInfo"] = map[string]any{"message": w}
	}
	return out
}

// root is the name of the job that a job belongs to in the end: its own, or its
// pipeline's.
func (r *run) root() string {
	switch {
	case r.Root != "":
		return r.Root
	case r.Parent != "":
		return r.ParentName
	}
	return r.Name
}

// children lists the steps of a pipeline that were submitted, in the order of the
// pipeline. Command jobs have none.
func (s *Service) children(ctx context.Context, v *visit, h *runHistory) (any, error) {
	value := []any{}
	if h.Pipeline != nil {
		for _, st := range h.Pipeline.Steps {
			if st.Item == "" {
				continue
			}
			child, err := s.openHistory(ctx, &visit{ws: v.ws}, st.Run)
			if e := (*arm.Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
				continue // deleted
			}
			if err != nil {
				return nil, err
			}
			value = append(value, child.body())
		}
	}
	return map[string]any{"value": value}, nil
}

// details is the run as the model RunDetails has it, with addresses of its logs.
func (s *Service) details(ctx context.Context, h *runHistory) (any, error) {
	out := h.common()
	out["createdTimeUtc"] = stamp(h.Created)
	logs := map[string]string{}
	for _, name := range h.Logs {
		// one that has nothing in it yet is not there yet
		if _, ok, err := s.artifactSize(ctx, h.ws, artifactPrefix(h.Name)+"/"+name); err != nil || !ok {
			if err != nil {
				return nil, err
			}
			continue
		}
		at, err := s.address(ctx, h.ws, artifactPrefix(h.Name)+"/"+name)
		if err != nil {
			return nil, err
		}
		logs[name] = at
	}
	out["logFiles"] = logs
	out["runDefinition"] = map[string]any{
		"command": h.doc.String("command"), "environmentVariables": orEmpty(h.doc.Object("environmentVariables")),
		"target": h.target(), "nodeCount": h.nodes,
	}
	return out, nil
}

// address is a URL with which an artifact can be read for a while.
func (s *Service) address(ctx context.Context, ws *workspace, name string) (string, error) {
	sas, err := s.sign(ctx, ws.Account, artifactContainer, name, "r", sasLife)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "https", Host: ws.Account + ".blob.core.windows.net", Path: "/" + artifactContainer + "/" + name, RawQuery: sas}
	return u.String(), nil
}

func (s *Service) runData(r *http.Request, v *visit) (any, error) {
	var q struct {
		RunID string `json:"runId"`
	}
	if err := decodeBody(r, &q); err != nil {
		return nil, err
	}
	h, err := s.openHistory(r.Context(), v, q.RunID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"runMetadata": h.body()}, nil
}

func decodeBody(r *http.Request, out any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		return arm.BadRequest("UserError", "The request body is malformed: %s", err)
	}
	return nil
}

// resolveOutputs says where the assets are that outputs of jobs became.
func (s *Service) resolveOutputs(r *http.Request, v *visit, property string) (any, error) {
	var q struct {
		Values []string `json:"values"`
	}
	if err := decodeBody(r, &q); err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, id := range q.Values {
		m := outputAssetID().FindStringSubmatch(id)
		if m == nil {
			return nil, arm.NotImplemented("the resolution of the asset '%s'", id)
		}
		h, err := s.openHistory(r.Context(), v, m[1])
		if err != nil {
			return nil, err
		}
		o, _ := h.doc.Object("outputs")[m[2]].(map[string]any)
		if o == nil {
			return nil, arm.Errorf(http.StatusNotFound, "UserError", "The run %s has no output %s.", m[1], m[2])
		}
		values[id] = map[string]any{property: arm.Doc(o).String("uri"), "type": arm.Doc(o).String("jobOutputType")}
	}
	return map[string]any{"values": values}, nil
}
