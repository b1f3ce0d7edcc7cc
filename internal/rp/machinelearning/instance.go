package machinelearning

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A compute instance is a machine for one person. What runs on it, Jupyter and
// the rest, is not implemented: its applications are an empty list, and its
// state says only whether it is meant to be on.

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
	body.Set(in+"applications", []any{})
	body.Set(in+"errors", []any{})
	put.Force(in+"createdBy", in+"state", in+"lastOperation")
	body.Default(in+"createdBy", map[string]any{
		"userName": put.Caller.Name, "userOrgId": put.Caller.TenantID, "userId": put.Caller.ObjectID,
	})
	body.Default(in+"state", string(stateRunning))
	body.Default(in+"lastOperation", lastOperation("Create", put.Now))
	// Callers read both addresses without asking whether they are there, and
	// take a missing public one for a compute without public IP. The machine is
	// this one.
	addresses := map[string]any{"privateIpAddress": loopback}
	if body.Bool(in+"enableNodePublicIp", true) {
		addresses["publicIpAddress"] = loopback
	}
	body.Set(in+"connectivityEndpoints", addresses)
	return nil
}

const loopback = "127.0.0.1"

func lastOperation(name string, at time.Time) map[string]any {
	return map[string]any{
		"operationName": name, "operationTime": arm.Timestamp(at), "operationStatus": "Succeeded", "operationTrigger": "User",
	}
}

type instanceState string

const (
	stateRunning instanceState = "Running"
	stateStopped instanceState = "Stopped"
)

type instanceOp string

const (
	opStart   instanceOp = "Start"
	opStop    instanceOp = "Stop"
	opRestart instanceOp = "Restart"
)

// nextState is the only place that says how an instance's state changes.
//
//	          stop
//	Running ───────▶ Stopped      restart, start: Running stays Running
//	   ▲                │         stop: Stopped stays Stopped
//	   └────start───────┘         restart of Stopped is refused
func nextState(s instanceState, op instanceOp) (instanceState, error) {
	switch {
	case op == opStop:
		return stateStopped, nil
	case op == opStart, op == opRestart && s == stateRunning:
		return stateRunning, nil
	}
	return s, fmt.Errorf("an instance that is %s cannot %s", s, strings.ToLower(string(op)))
}

// instanceAction is POST …/start, …/stop or …/restart.
func (p *provider) instanceAction(name string, op instanceOp) arm.Action {
	return arm.Action{
		Name: name, Permission: ComputeType + "/" + name + "/action",
		Handle: func(ctx context.Context, req *arm.Request) (*arm.Response, error) {
			var resp *arm.Response
			err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
				err := p.kernel.Resources().Update(tx, req.ID.Key(), func(r *arm.Resource) error {
					if kindOf(r) != typeInstance {
						return invalid("", "Compute '%s' is of type %s: only a compute instance can %s.", r.Name(), kindOf(r), name)
					}
					state, err := nextState(instanceState(r.Body.String("properties.properties.state")), op)
					if err != nil {
						return invalid("", "Compute instance '%s': %s.", r.Name(), err)
					}
					r.Body.Set("properties.properties.state", string(state))
					r.Body.Set("properties.properties.lastOperation", lastOperation(string(op), req.Now))
					return nil
				})
				if err != nil {
					return err
				}
				resp, err = req.Kernel.Accepted(tx, req)
				return err
			})
			return resp, err
		},
	}
}
