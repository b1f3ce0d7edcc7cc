package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
)

// Permissions of queries.
// https://learn.microsoft.com/azure/azure-monitor/logs/manage-access
const (
	actionQueryApp       = "Microsoft.Insights/components/query/read"
	actionQueryWorkspace = "Microsoft.OperationalInsights/workspaces/query/read"
	// actionQueryTable is followed by the table's name and "/read".
	actionQueryTable = "Microsoft.OperationalInsights/workspaces/query/"
)

// queryAudiences are the audiences of the tokens that the query API takes, with
// and without the slash that some clients add; Resource Manager's is among them
// for what asks through it.
func queryAudiences() []string {
	var out []string
	for _, host := range []string{hostApps, hostAppsAzure, hostLogs, hostLogsAzure, hostLogsMonitor} {
		out = append(out, "https://"+host, "https://"+host+"/")
	}
	return append(out, "https://management.azure.com", "https://management.azure.com/")
}

// maxQueryBytes bounds the memory of one query.
const maxQueryBytes = 256 << 20

// maxQueryRequest is how large a request for a query may be.
const maxQueryRequest = 1 << 20

// QueryRequest is a query as the API takes it.
type QueryRequest struct {
	Query    string `json:"query"`
	Timespan string `json:"timespan,omitempty"`
	// Workspaces and Applications are others to query as well: none may be named
	// but the one that is asked.
	Workspaces   []string `json:"workspaces,omitempty"`
	Applications []string `json:"applications,omitempty"`
}

// target is what a request's path names.
type target struct {
	app, workspace, resource string // one of them
	what                     string // "query"
}

// parseTarget takes apart /v1/apps/ID/query, /v1/workspaces/ID/query and
// /v1/RESOURCE-ID/query.
func parseTarget(path string) (target, bool) {
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return target{}, false
	}
	rest = strings.Trim(rest, "/")
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return target{}, false
	}
	t := target{what: rest[i+1:]}
	name := rest[:i]
	switch {
	case strings.HasPrefix(strings.ToLower(name), "subscriptions/"):
		t.resource = "/" + name
	case strings.HasPrefix(name, "apps/") && strings.Count(name, "/") == 1:
		t.app = strings.TrimPrefix(name, "apps/")
	case strings.HasPrefix(name, "workspaces/") && strings.Count(name, "/") == 1:
		t.workspace = strings.TrimPrefix(name, "workspaces/")
	default:
		return target{}, false
	}
	return t, true
}

// missingParts reports whether a path is of the parts of the Application Insights
// API that are not there: /v1/apps/ID/metrics/… and /v1/apps/ID/events/….
func missingParts(path string) bool {
	segs := strings.Split(strings.Trim(path, "/"), "/")
	return len(segs) > 4 && segs[1] == "apps" && (segs[3] == "metrics" || segs[3] == "events")
}

func (s *Service) serveQuery(w http.ResponseWriter, r *http.Request, apps bool) {
	if r.URL.Path == "/v1/$batch" && !apps && r.Method == http.MethodPost {
		s.serveBatch(w, r)
		return
	}
	t, ok := parseTarget(r.URL.Path)
	if !ok && apps && missingParts(r.URL.Path) {
		s.notImplemented(w, r)
		return
	}
	if !ok || t.app != "" && !apps || t.workspace != "" && apps {
		s.writeError(w, r, &apiError{Status: http.StatusNotFound, Code: "PathNotFoundError", Message: "The requested path does not exist"})
		return
	}
	if t.what == "metadata" && r.Method == http.MethodGet {
		s.serveMetadata(w, r, t)
		return
	}
	if t.what != "query" || r.Method != http.MethodGet && r.Method != http.MethodPost {
		s.notImplemented(w, r)
		return
	}
	q, err := readQuery(w, r)
	if err == nil {
		var who string
		if who, err = s.caller(r); err == nil {
			var answer []byte
			if answer, err = s.answer(r.Context(), who, t, q); err == nil {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.Write(answer)
				return
			}
		}
	}
	if r.Context().Err() == nil {
		s.writeError(w, r, err)
	}
}

// metadataTable is a table as the API describes it.
type metadataTable struct {
	ID      string           `json:"id"`
	Name    string           `json:"name"`
	Time    string           `json:"timespanColumn,omitempty"`
	Columns []metadataColumn `json:"columns"`
}

type metadataColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// serveMetadata describes the tables that a query can read. Of Azure's answer it
// has these and the resource alone.
func (s *Service) serveMetadata(w http.ResponseWriter, r *http.Request, t target) {
	b, err := s.metadata(r, t)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(b)
}

func (s *Service) metadata(r *http.Request, t target) ([]byte, error) {
	who, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	src, err := s.find(r.Context(), who, t)
	if err != nil {
		return nil, err
	}
	if err := s.Flush(r.Context()); err != nil {
		return nil, err
	}
	names, err := src.Tables(r.Context())
	if err != nil {
		return nil, err
	}
	tables := []metadataTable{}
	for _, name := range names {
		v, err := src.view(name)
		if err != nil {
			return nil, err
		}
		m := metadataTable{ID: "t/" + name, Name: name, Time: (&table{src, v}).TimeColumn()}
		for _, c := range v.columns {
			m.Columns = append(m.Columns, metadataColumn{c.Name, c.Type.String()})
		}
		tables = append(tables, m)
	}
	type resource struct {
		ID   string `json:"id"`
		Name string `json:"resourceId"`
	}
	out := map[string]any{"tables": tables}
	if src.component != nil {
		out["applications"] = []resource{{src.component.AppID, src.component.ID}}
	} else {
		out["workspaces"] = []resource{{src.workspace.CustomerID, src.workspace.ID}}
	}
	return json.Marshal(out)
}

// readQuery reads a query from the URL or the body.
func readQuery(w http.ResponseWriter, r *http.Request) (*QueryRequest, error) {
	values := r.URL.Query()
	q := &QueryRequest{Query: values.Get("query"), Timespan: values.Get("timespan")}
	if r.Method == http.MethodGet {
		return q, nil
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryRequest))
	if err != nil {
		return nil, badArgument("The request body could not be read, or is larger than 1 MiB.")
	}
	if err := json.Unmarshal(b, q); err != nil {
		return nil, badArgument("The request body is not valid JSON: " + err.Error())
	}
	return q, nil
}

func (s *Service) caller(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") == "" {
		e := &apiError{Status: http.StatusUnauthorized, Code: "AuthorizationRequiredError", Message: "Valid authentication was not provided"}
		if r.Header.Get("X-Api-Key") != "" {
			// components have no API keys here, so none is right
			e = &apiError{Status: http.StatusForbidden, Code: "InsufficientAccessError", Message: "The provided API key is not one of this resource"}
		}
		return "", e
	}
	who, err := s.cfg.Access.Authenticate(r.Context(), r, queryAudiences()...)
	if errors.Is(err, ErrBadToken) {
		return "", &apiError{Status: http.StatusUnauthorized, Code: "InvalidTokenError", Message: err.Error()}
	}
	return who, err
}

func insufficient() error {
	return &apiError{Status: http.StatusForbidden, Code: "InsufficientAccessError",
		Message: "The provided credentials have insufficient access to perform the requested operation"}
}

func (s *Service) require(ctx context.Context, who, action, scope string) error {
	ok, err := s.cfg.Access.Allowed(ctx, who, action, false, scope)
	if err == nil && !ok {
		return insufficient()
	}
	return err
}

// find returns what a query of a target can read, if the caller may.
func (s *Service) find(ctx context.Context, who string, t target) (*source, error) {
	var c *Component
	var ws *Workspace
	var err error
	switch {
	case t.app != "":
		c, err = s.cfg.Resources.ComponentByApp(ctx, t.app)
		err = notFound(err, "ApplicationNotFoundError", "The application could not be found")
	case t.workspace != "":
		ws, err = s.cfg.Resources.WorkspaceByCustomer(ctx, t.workspace)
		err = notFound(err, "WorkspaceNotFoundError", "The workspace could not be found")
	case regexp.MustCompile(`(?i)/microsoft\.insights/components/[^/]+$`).MatchString(t.resource):
		c, err = s.cfg.Resources.Component(ctx, t.resource)
		err = notFound(err, "ResourceNotFoundError", "The resource could not be found")
	case regexp.MustCompile(`(?i)/microsoft\.operationalinsights/workspaces/[^/]+$`).MatchString(t.resource):
		ws, err = s.cfg.Resources.Workspace(ctx, t.resource)
		err = notFound(err, "ResourceNotFoundError", "The resource could not be found")
	default:
		return nil, &apiError{Status: http.StatusNotImplemented, Code: "NotImplementedByAzimuth",
			Message: "Azimuth does not implement queries of " + t.resource + ", only of components and workspaces."}
	}
	if err != nil {
		return nil, err
	}
	if c != nil {
		if !c.QueryOpen {
			return nil, closed()
		}
		q := &source{s: s, space: c.space(), workspace: c.Workspace, component: c, retention: c.RetentionDays}
		if c.Workspace != nil {
			q.retention = c.Workspace.RetentionDays
		}
		return q, s.require(ctx, who, actionQueryApp, c.ID)
	}
	if !ws.QueryOpen {
		return nil, closed()
	}
	q := &source{s: s, space: ws.UID, workspace: ws, retention: ws.RetentionDays}
	q.allowed = func(ctx context.Context, table string) error {
		return s.require(ctx, who, actionQueryTable+table+"/read", ws.ID)
	}
	return q, s.require(ctx, who, actionQueryWorkspace, ws.ID)
}

// closed is the answer where public networks may not query. Azure's words are not
// known.
func closed() error {
	return &apiError{Status: http.StatusForbidden, Code: "InsufficientAccessError", Message: "Public network access for queries is disabled"}
}

func notFound(err error, code, message string) error {
	if errors.Is(err, ErrNotFound) {
		return &apiError{Status: http.StatusNotFound, Code: code, Message: message}
	}
	return err
}

// answer runs a query and returns the body of the answer.
func (s *Service) answer(ctx context.Context, who string, t target, q *QueryRequest) ([]byte, error) {
	if strings.TrimSpace(q.Query) == "" {
		return nil, badArgument("The query is missing.")
	}
	span, err := parseTimespan(q.Timespan, s.cfg.Clock.Now())
	if err != nil {
		return nil, badArgument(err.Error())
	}
	src, err := s.find(ctx, who, t)
	if err != nil {
		return nil, err
	}
	for _, other := range append(q.Workspaces, q.Applications...) {
		if !src.is(other) {
			return nil, &apiError{Status: http.StatusNotImplemented, Code: "NotImplementedByAzimuth",
				Message: "Azimuth does not implement queries across several workspaces or applications: " + other + "."}
		}
	}
	if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("write telemetry of jobs, nodes and the control plane", "error", err)
	}
	query, err := kql.Parse(q.Query)
	if err != nil {
		return nil, err
	}
	res, err := query.Run(ctx, src, kql.Options{Now: s.cfg.Clock.Now(), Timespan: span, MaxBytes: maxQueryBytes})
	if err != nil {
		return nil, err
	}
	return encodeResult(res), nil
}

// is reports whether a name is one of what the query is of.
func (q *source) is(name string) bool {
	names := []string{}
	if q.component != nil {
		names = append(names, q.component.ID, q.component.AppID, q.component.Name)
	} else {
		names = append(names, q.workspace.ID, q.workspace.CustomerID)
	}
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// encodeResult writes an answer in the API's shape.
func encodeResult(res *kql.Result) []byte {
	out := []byte(`{"tables":[{"name":"PrimaryResult","columns":[`)
	for i, c := range res.Columns {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"name":`...)
		out = appendQuoted(out, []byte(c.Name))
		out = append(out, `,"type":"`+c.Type.String()+`"}`...)
	}
	out = append(out, `],"rows":[`...)
	for i, row := range res.Rows {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '[')
		for j, v := range row {
			if j > 0 {
				out = append(out, ',')
			}
			out = v.AppendJSON(out, res.Columns[j].Type)
		}
		out = append(out, ']')
	}
	out = append(out, `]}]`...)
	if res.Render != nil {
		if b, err := json.Marshal(map[string]any{"visualization": res.Render.Visualization, "properties": res.Render.Properties}); err == nil {
			out = append(append(out, `,"render":`...), b...)
		}
	}
	if res.Truncated {
		// the shape is Azure's for answers that were cut
		out = append(out, `,"error":{"code":"PartialError","message":"There were some errors when processing your query.","details":[{"code":"EngineError","message":"The results of this query exceed the limit of `...)
		out = strconv.AppendInt(out, int64(len(res.Rows)), 10)
		out = append(out, ` records."}]}`...)
	}
	return append(out, '}')
}

// parseTimespan reads a timespan: a duration before now, or two of start, end and
// duration with a slash between them.
// https://learn.microsoft.com/azure/azure-monitor/logs/api/request-format
func parseTimespan(text string, now time.Time) (kql.Timespan, error) {
	bad := errors.New("The timespan '" + text + "' is not a duration such as PT1H, or a start and an end or a duration with a slash between them.")
	if text == "" {
		return kql.Timespan{}, nil
	}
	first, second, two := strings.Cut(text, "/")
	if !two {
		d, err := iso8601.Duration(first)
		if err != nil {
			return kql.Timespan{}, bad
		}
		return kql.Timespan{From: now.Add(-d)}, nil
	}
	from, okFrom := parseMoment(first)
	to, okTo := parseMoment(second)
	switch {
	case okFrom && okTo:
		return kql.Timespan{From: from, To: to}, nil
	case okFrom:
		d, err := iso8601.Duration(second)
		if err != nil {
			return kql.Timespan{}, bad
		}
		return kql.Timespan{From: from, To: from.Add(d)}, nil
	case okTo:
		d, err := iso8601.Duration(first)
		if err != nil {
			return kql.Timespan{}, bad
		}
		return kql.Timespan{From: to.Add(-d), To: to}, nil
	}
	return kql.Timespan{}, bad
}

func parseMoment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// batchRequest and batchResponse are the API's several queries in one request.
type batchRequest struct {
	Requests []struct {
		ID        string       `json:"id"`
		Body      QueryRequest `json:"body"`
		Method    string       `json:"method"`
		Path      string       `json:"path"`
		Workspace string       `json:"workspace"`
	} `json:"requests"`
}

type batchResponse struct {
	ID     string          `json:"id"`
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// maxBatch is how many queries a batch may have. Azure's limit is not documented.
const maxBatch = 100

func (s *Service) serveBatch(w http.ResponseWriter, r *http.Request) {
	var in batchRequest
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryRequest))
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err != nil || len(in.Requests) > maxBatch {
		s.writeError(w, r, badArgument("The body is not a batch of up to 100 queries."))
		return
	}
	who, err := s.caller(r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	out := []batchResponse{}
	for _, q := range in.Requests {
		if r.Context().Err() != nil {
			return
		}
		answer, err := s.answer(r.Context(), who, target{workspace: q.Workspace, what: "query"}, &q.Body)
		status := http.StatusOK
		if err != nil {
			e := asAPIError(err)
			if e.Status == http.StatusInternalServerError {
				s.cfg.Log.Error("telemetry query failed", "error", err)
			}
			status = e.Status
			if answer, err = json.Marshal(map[string]any{"error": map[string]any{"code": e.Code, "message": e.Message, "innererror": e.Inner}}); err != nil {
				s.writeError(w, r, err)
				return
			}
		}
		out = append(out, batchResponse{q.ID, status, answer})
	}
	answer, err := json.Marshal(map[string]any{"responses": out})
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(answer)
}
