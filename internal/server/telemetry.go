package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/rp/operationalinsights"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
)

// gigabyte is the unit of daily caps.
const gigabyte = 1e9

// monitored finds components and workspaces among the ARM resources.
type monitored struct{ s *Server }

// view runs find on the resources, and gives what is not there telemetry's name.
func (m monitored) view(ctx context.Context, what string, find func(tx store.Tx, res *arm.Resources) error) error {
	err := m.s.store.View(ctx, func(tx store.Tx) error { return find(tx, m.s.kernel.Resources()) })
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w", what, telemetry.ErrNotFound)
	}
	return err
}

func (m monitored) component(ctx context.Context, what string, find func(store.Tx, *arm.Resources) (*arm.Resource, error)) (*telemetry.Component, error) {
	var out *telemetry.Component
	err := m.view(ctx, what, func(tx store.Tx, res *arm.Resources) error {
		r, err := find(tx, res)
		if err != nil {
			return err
		}
		out, err = m.componentOf(tx, res, r)
		return err
	})
	return out, err
}

func (m monitored) componentOf(tx store.Tx, res *arm.Resources, r *arm.Resource) (*telemetry.Component, error) {
	b := r.Body
	open := func(name string) bool { return !strings.EqualFold(b.String("properties."+name), "Disabled") }
	c := &telemetry.Component{
		ID: r.ID, Name: r.Name(), UID: r.UID,
		InstrumentationKey: b.String("properties.InstrumentationKey"), AppID: b.String("properties.AppId"),
		RetentionDays: b.Int("properties.RetentionInDays", 90), DailyCap: int64(insights.DailyCap(r) * gigabyte), SamplingPercentage: 100,
		KeepIP: b.Bool("properties.DisableIpMasking", false), DisableLocalAuth: b.Bool("properties.DisableLocalAuth", false),
		IngestionOpen: open("publicNetworkAccessForIngestion"), QueryOpen: open("publicNetworkAccessForQuery"),
	}
	if v, ok := b.Get("properties.SamplingPercentage").(float64); ok {
		c.SamplingPercentage = v
	}
	id := b.String("properties.WorkspaceResourceId")
	if id == "" {
		return c, nil
	}
	// without its workspace, a component has nowhere to keep anything
	ws, err := res.Get(tx, id)
	if err != nil {
		return nil, err
	}
	c.Workspace, err = workspaceOf(ws)
	return c, err
}

func workspaceOf(r *arm.Resource) (*telemetry.Workspace, error) {
	b := r.Body
	open := func(name string) bool { return !strings.EqualFold(b.String("properties."+name), "Disabled") }
	ws := &telemetry.Workspace{
		ID: r.ID, UID: r.UID, CustomerID: b.String("properties.customerId"), RetentionDays: b.Int("properties.retentionInDays", 30), DailyCap: -1,
		DisableLocalAuth: b.Bool("properties.features.disableLocalAuth", false),
		IngestionOpen:    open("publicNetworkAccessForIngestion"), QueryOpen: open("publicNetworkAccessForQuery"),
	}
	if v, ok := b.Get("properties.workspaceCapping.dailyQuotaGb").(float64); ok && v >= 0 {
		ws.DailyCap = int64(v * gigabyte)
	}
	for i, key := range operationalinsights.Keys(r) {
		var err error
		if ws.Keys[i], err = base64.StdEncoding.DecodeString(key); err != nil {
			return nil, fmt.Errorf("key of workspace %s: %w", r.ID, err)
		}
	}
	return ws, nil
}

// ComponentByKey implements telemetry.Resources.
func (m monitored) ComponentByKey(ctx context.Context, key string) (*telemetry.Component, error) {
	return m.component(ctx, "a component with this instrumentation key", func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) {
		return insights.ByKey(tx, res, key)
	})
}

// ComponentByApp implements telemetry.Resources.
func (m monitored) ComponentByApp(ctx context.Context, app string) (*telemetry.Component, error) {
	return m.component(ctx, "application "+app, func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) {
		return insights.ByApp(tx, res, app)
	})
}

// Component implements telemetry.Resources.
func (m monitored) Component(ctx context.Context, id string) (*telemetry.Component, error) {
	return m.component(ctx, id, func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) { return res.Get(tx, id) })
}

// ComponentOf implements telemetry.Resources.
func (m monitored) ComponentOf(ctx context.Context, workspaceID string) (*telemetry.Component, error) {
	return m.component(ctx, "the component of "+workspaceID, func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) {
		ws, err := res.Get(tx, workspaceID)
		if err != nil {
			return nil, err
		}
		id := ws.Body.String("properties.applicationInsights")
		if id == "" {
			return nil, store.ErrNotFound
		}
		return res.Get(tx, id)
	})
}

func (m monitored) workspace(ctx context.Context, what string, find func(store.Tx, *arm.Resources) (*arm.Resource, error)) (*telemetry.Workspace, error) {
	var out *telemetry.Workspace
	err := m.view(ctx, what, func(tx store.Tx, res *arm.Resources) error {
		r, err := find(tx, res)
		if err != nil {
			return err
		}
		out, err = workspaceOf(r)
		return err
	})
	return out, err
}

// WorkspaceByCustomer implements telemetry.Resources.
func (m monitored) WorkspaceByCustomer(ctx context.Context, customerID string) (*telemetry.Workspace, error) {
	return m.workspace(ctx, "workspace "+customerID, func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) {
		return operationalinsights.ByCustomer(tx, res, customerID)
	})
}

// Workspace implements telemetry.Resources.
func (m monitored) Workspace(ctx context.Context, id string) (*telemetry.Workspace, error) {
	return m.workspace(ctx, id, func(tx store.Tx, res *arm.Resources) (*arm.Resource, error) { return res.Get(tx, id) })
}

// Retentions implements telemetry.Resources.
func (m monitored) Retentions(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	err := m.view(ctx, "retentions", func(tx store.Tx, res *arm.Resources) error {
		for _, t := range []struct {
			name, property string
			days           int
		}{
			{insights.ComponentType, "properties.RetentionInDays", 90},
			{operationalinsights.WorkspaceType, "properties.retentionInDays", 30},
		} {
			for r, err := range res.OfType(tx, m.s.kernel.Subscription(), t.name) {
				if err != nil {
					return err
				}
				out[r.UID] = r.Body.Int(t.property, t.days)
			}
		}
		return nil
	})
	return out, err
}

// logTables lets Resource Manager show the tables of a workspace.
func (s *Server) logTables(ctx context.Context, uid string) ([]operationalinsights.Table, error) {
	found, err := s.telemetry.WorkspaceTables(ctx, uid)
	out := make([]operationalinsights.Table, len(found))
	for i, t := range found {
		out[i] = operationalinsights.Table{Name: t.Name, Custom: t.Custom}
		for _, c := range t.Columns {
			out[i].Columns = append(out[i].Columns, operationalinsights.Column(c))
		}
	}
	return out, err
}

// telemetryAccess decides about who sends and who asks.
type telemetryAccess struct{ s *Server }

// Authenticate implements telemetry.Access.
func (a telemetryAccess) Authenticate(ctx context.Context, r *http.Request, audiences ...string) (string, error) {
	p, err := a.s.dir.Authenticate(ctx, r, audiences...)
	if auth := (*entra.AuthError)(nil); errors.As(err, &auth) {
		return "", fmt.Errorf("%w: %s", telemetry.ErrBadToken, auth.Message)
	}
	if err != nil {
		return "", err
	}
	return p.ObjectID, nil
}

// Allowed implements telemetry.Access.
func (a telemetryAccess) Allowed(ctx context.Context, principalID, action string, data bool, scope string) (bool, error) {
	return a.s.roles.Allowed(ctx, principalID, action, data, scope)
}

// forgetTelemetry removes the rows of a component or workspace that is gone.
func (s *Server) forgetTelemetry(uid string) {
	if err := s.telemetry.Forget(uid); err != nil {
		s.cfg.Log.Error("remove the telemetry of a resource that was deleted", "uid", uid, "error", err)
	}
}

// observer lets what becomes of jobs and nodes be told in tables.
type observer struct{ s *Server }

// JobMoved implements ml.Observer.
func (o observer) JobMoved(tx store.Tx, m ml.JobMove) error {
	e := telemetry.JobEvent{
		Workspace: m.Workspace, Name: m.Name, Parent: m.Parent, Experiment: m.Experiment, Status: string(m.Status), Reason: m.Reason,
		Terminal: m.Status.Terminal(), Compute: m.Compute, User: m.Submitter.Name, At: m.At, Created: m.Created, Started: m.Started, Ended: m.Ended,
	}
	if m.Error != nil {
		e.ErrorCode, e.ErrorMessage = m.Error.Code, m.Error.Message
	}
	return o.s.telemetry.Job(tx, e)
}

// NodeMoved implements compute.Observer.
func (o observer) NodeMoved(tx store.Tx, n compute.Node, event compute.NodeEvent, priority string) error {
	e := telemetry.NodeEvent{
		Cluster: n.PoolID, Node: n.ID, Event: string(event), State: string(n.State), VMSize: n.VMSize, Priority: priority,
		At: o.s.clock.Now(), Allocated: n.Created,
	}
	if event == compute.NodeEventReady {
		e.Booted = n.Since
	}
	return o.s.telemetry.Node(tx, e)
}

// recordActivity tells of a request to the control plane.
func (s *Server) recordActivity(a arm.Activity) {
	address, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		address = a.Address
	}
	if a.CorrelationID == "" {
		a.CorrelationID = uuid.NewString()
	}
	e := telemetry.ActivityEvent{
		At: a.At, Method: a.Method, ResourceID: a.ID, Operation: a.Operation, Status: a.Status, Code: a.Code,
		Caller: a.Caller.Name, ObjectID: a.Caller.ObjectID, Address: address, CorrelationID: a.CorrelationID,
	}
	s.telemetry.Activity(e)
	s.logActivity(e)
}

// activities lets Resource Manager read the activity log.
func (s *Server) activities(ctx context.Context, f insights.ActivityFilter) ([]insights.Activity, error) {
	found, err := s.telemetry.Activities(ctx, telemetry.ActivityFilter(f))
	if err != nil {
		return nil, err
	}
	out := make([]insights.Activity, len(found))
	for i, e := range found {
		out[i] = insights.Activity{
			ID: e.ID, Method: e.Method, ResourceID: e.ResourceID, Operation: e.Operation, Level: e.Level, Code: e.Code, Caller: e.Caller,
			ObjectID: e.ObjectID, Address: e.Address, CorrelationID: e.CorrelationID, At: e.At, Submitted: e.Submitted, Status: e.Status,
		}
	}
	return out, nil
}

func (s *Server) checkTelemetry(ctx context.Context) Check {
	report, err := s.telemetry.Check(ctx)
	c := Check{Name: "telemetry", OK: err == nil && len(report.Problems) == 0}
	switch {
	case err != nil:
		c.Detail = err.Error()
	case !c.OK:
		c.Detail = strings.Join(report.Problems, "; ")
		c.Fix = "Restore the files under telemetry/ from a backup, or remove those that are named while no server runs."
	default:
		c.Detail = fmt.Sprintf("%d rows in files, %d bytes, all whole", report.Rows, report.Bytes)
	}
	return c
}
