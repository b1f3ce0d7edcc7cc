package machinelearning

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A compute instance is a machine for one person, on which Jupyter runs. The
// engine behind Instances runs it; what is here is its description.

// instanceIndex is the entry of an instance by what must be unique in its
// region: the name is part of its address.
func instanceIndex(location, name string) string { return "instance|" + location + "|" + name }

func (p *provider) validateInstance(put *arm.Put) error {
	in := "properties.properties."
	body := put.Resource.Body
	if v := body.String(in + "vmPriority"); v != "" && !strings.EqualFold(v, "Dedicated") {
		return invalid(in+"vmPriority", "A compute instance is never of low priority.")
	}
	if v := body.String(in + "applicationSharingPolicy"); v != "" && v != "Shared" && v != "Personal" {
		return invalid(in+"applicationSharingPolicy", "The value '%s' is not Shared or Personal.", v)
	}
	if v := body.String(in + "computeInstanceAuthorizationType"); v != "" && v != "personal" {
		return invalid(in+"computeInstanceAuthorizationType", "The value '%s' is not 'personal'.", v)
	}
	if v := body.String(in + "sshSettings.sshPublicAccess"); v != "" && v != "Enabled" && v != "Disabled" {
		return invalid(in+"sshSettings.sshPublicAccess", "The value '%s' is not Enabled or Disabled.", v)
	}
	if _, err := idleTime(body.Get(in + "idleTimeBeforeShutdown")); err != nil {
		return err
	}
	// https://learn.microsoft.com/azure/machine-learning/how-to-create-compute-instance
	const maxSchedules = 4
	if n := len(body.List(in + "schedules.computeStartStop")); n > maxSchedules {
		return invalid(in+"schedules.computeStartStop", "A compute instance has at most %d schedules, not %d.", maxSchedules, n)
	}
	if body.Has(in + "personalComputeInstanceSettings.assignedUser") {
		for _, name := range []string{"objectId", "tenantId"} {
			v := body.String(in + "personalComputeInstanceSettings.assignedUser." + name)
			if _, err := uuid.Parse(v); err != nil {
				return invalid(in+"personalComputeInstanceSettings.assignedUser."+name, "The %s '%s' of the assigned user is not a GUID.", name, v)
			}
		}
	}
	for r, err := range p.kernel.Resources().Find(put.Tx, ComputeType, instanceIndex(body.String("location"), put.ID.Name())) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			// Azure's words are not known
			return invalid("name", "The name '%s' is in use by another compute instance in region '%s'.", put.ID.Name(), body.String("location"))
		}
	}
	return nil
}

func (p *provider) putInstance(put *arm.Put) error {
	in := "properties.properties."
	body := put.Resource.Body
	body.Default(in+"applicationSharingPolicy", "Shared")
	body.Default(in+"sshSettings.sshPublicAccess", "Disabled")
	put.Force(in + "createdBy")
	body.Default(in+"createdBy", map[string]any{
		"userName": put.Caller.Name, "userOrgId": put.Caller.TenantID, "userId": put.Caller.ObjectID,
	})
	for _, v := range body.List(in + "schedules.computeStartStop") {
		if m, ok := v.(map[string]any); ok {
			d := arm.Doc(m)
			d.Default("id", uuid.NewString())
			d.Default("status", "Enabled")
			d.Set("provisioningStatus", "Completed")
		}
	}
	// what the engine says is read from it each time
	for _, name := range []string{"applications", "errors", "state", "lastOperation"} {
		body.Delete(in + name)
	}
	// Callers read both addresses without asking whether they are there, and
	// take a missing public one for a compute without public IP. The machine is
	// this one.
	addresses := map[string]any{"privateIpAddress": loopback}
	if body.Bool(in+"enableNodePublicIp", true) {
		addresses["publicIpAddress"] = loopback
	}
	body.Set(in+"connectivityEndpoints", addresses)
	spec, err := p.instanceOf(put.Resource)
	if err != nil {
		return err
	}
	if size, ok := p.Catalog.VMSize(spec.VMSize); ok && put.Creating() {
		if err := p.withinQuotas(put.Tx, spec.Location, spec.WorkspaceID, size); err != nil {
			return err
		}
	}
	if err := p.Instances.PutInstance(put.Tx, spec); err != nil {
		return err
	}
	if put.Creating() {
		put.After(func() { p.Instances.AwaitInstance(put.HTTP.Context(), spec.UID) })
	}
	return nil
}

// instanceOf is what a resource asks of the engine.
func (p *provider) instanceOf(r *arm.Resource) (Instance, error) {
	in := "properties.properties."
	b := r.Body
	size, _ := p.Catalog.VMSize(b.String(in + "vmSize"))
	idle, err := idleTime(b.Get(in + "idleTimeBeforeShutdown"))
	if err != nil {
		return Instance{}, err
	}
	out := Instance{
		UID: r.UID, ID: r.ID, WorkspaceID: r.ParsedID().Parent().String(), Name: r.Name(), Location: b.String("location"),
		VMSize: b.String(in + "vmSize"), VCPUs: size.VCPUs, MemoryGiB: size.MemoryGiB, GPUs: size.GPUs,
		UserID: b.String(in + "personalComputeInstanceSettings.assignedUser.objectId"), PrincipalID: principalOf(b),
		IdleAfter: idle, Schedules: b.List(in + "schedules.computeStartStop"),
		SSH: b.String(in+"sshSettings.sshPublicAccess") == "Enabled", SubnetID: b.String(in + "subnet.id"),
	}
	if out.UserID == "" {
		out.UserID = b.String(in + "createdBy.userId")
	}
	return out, nil
}

// principalOf is the object ID of a compute's managed identity: the system's
// own, else the first of the user-assigned ones, or "".
func principalOf(b arm.Doc) string {
	if id := b.String("identity.principalId"); id != "" {
		return id
	}
	users := b.Object("identity.userAssignedIdentities")
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if m, ok := users[name].(map[string]any); ok {
			return arm.Doc(m).String("principalId")
		}
	}
	return ""
}

// idleTime reads idleTimeBeforeShutdown. Null means never.
func idleTime(v any) (time.Duration, error) {
	const path = "properties.properties.idleTimeBeforeShutdown"
	if v == nil {
		return 0, nil
	}
	text, _ := v.(string)
	d, err := iso8601.Duration(text)
	if err != nil {
		return 0, invalid(path, "The property 'idleTimeBeforeShutdown' is invalid: %s.", err)
	}
	if d < 15*time.Minute || d > 3*24*time.Hour {
		return 0, invalid(path, "The property 'idleTimeBeforeShutdown' is %s; it is between 15 minutes and 3 days.", text)
	}
	return d, nil
}

// readInstance shows what the engine says.
func (p *provider) readInstance(tx store.Tx, r *arm.Resource) error {
	in := "properties.properties."
	st, err := p.Instances.InstanceStatus(tx, r.UID)
	if errors.Is(err, store.ErrNotFound) {
		st, err = InstanceStatus{State: "Unknown"}, nil
	}
	if err != nil {
		return err
	}
	r.Body.Set(in+"state", st.State)
	if st.PrivateIP != "" {
		r.Body.Set(in+"connectivityEndpoints.privateIpAddress", st.PrivateIP)
	}
	if st.Operation != "" {
		r.Body.Set(in+"lastOperation", map[string]any{
			"operationName": st.Operation, "operationTime": arm.Timestamp(st.OperationTime),
			"operationStatus": st.OperationStatus, "operationTrigger": st.OperationTrigger,
		})
	}
	apps, problems := []any{}, []any{}
	for _, a := range st.Applications {
		apps = append(apps, map[string]any{"displayName": a.Name, "endpointUri": a.URI})
	}
	for _, e := range st.Errors {
		problems = append(problems, map[string]any{"error": map[string]any{"code": e.Code, "message": e.Message}})
	}
	r.Body.Set(in+"applications", apps)
	r.Body.Set(in+"errors", problems)
	return nil
}

const loopback = "127.0.0.1"

// instanceAction is POST …/start, …/stop or …/restart. It answers once the
// instance has arrived, or is clearly taking its time.
func (p *provider) instanceAction(name, op string) arm.Action {
	return arm.Action{
		Name: name, Permission: ComputeType + "/" + name + "/action",
		Handle: func(ctx context.Context, req *arm.Request) (*arm.Response, error) {
			var resp *arm.Response
			var uid string
			err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
				r, err := p.instance(ctx, tx, req, name)
				if err != nil {
					return err
				}
				uid = r.UID
				if err := p.Instances.InstanceAction(tx, uid, op); err != nil {
					return err
				}
				resp, err = req.Kernel.Accepted(tx, req)
				return err
			})
			if err == nil {
				p.Instances.AwaitInstance(ctx, uid)
			}
			return resp, err
		},
	}
}

// instance loads the compute of a request, which must be an instance.
func (p *provider) instance(ctx context.Context, tx store.Tx, req *arm.Request, name string) (*arm.Resource, error) {
	r, err := p.kernel.Load(ctx, tx, req.ID)
	if err != nil {
		return nil, err
	}
	if kindOf(r) != typeInstance {
		return nil, invalid("", "Compute '%s' is of type %s: only a compute instance can %s.", r.Name(), kindOf(r), name)
	}
	return r, nil
}

// updateIdleShutdown is POST …/updateIdleShutdownSetting. A setting of null, or
// none, turns the shutdown off.
func (p *provider) updateIdleShutdown(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	v := req.Body.Get("idleTimeBeforeShutdown")
	if _, err := idleTime(v); err != nil {
		return nil, err
	}
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		if _, err := p.instance(ctx, tx, req, "be shut down when idle"); err != nil {
			return err
		}
		return p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
			if v == nil {
				r.Body.Delete("properties.properties.idleTimeBeforeShutdown")
			} else {
				r.Body.Set("properties.properties.idleTimeBeforeShutdown", v)
			}
			spec, err := p.instanceOf(r)
			if err != nil {
				return err
			}
			return p.Instances.PutInstance(tx, spec)
		})
	})
	return &arm.Response{Status: http.StatusOK}, err
}
