package machinelearning

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A managed network is a virtual network that the service keeps for a workspace,
// and in which the workspace's computes stand. What is here is its description:
// the mode, the rules, and whether it has been provisioned. Facts, where nothing
// else is said, are from
// https://learn.microsoft.com/azure/machine-learning/how-to-managed-network and from
// workspace-managed-network.ipynb of Azure/azureml-examples. Azure's words for what
// it refuses about networks are not known.

// The isolation modes of managed networks.
const (
	IsolationDisabled     = "Disabled"
	IsolationInternet     = "AllowInternetOutbound"
	IsolationApprovedOnly = "AllowOnlyApprovedOutbound"
)

const (
	managedNetwork = "properties.managedNetwork"
	isolationMode  = managedNetwork + ".isolationMode"
	networkStatus  = managedNetwork + ".status.status"

	statusActive   = "Active"
	statusInactive = "Inactive"
)

// IsolationMode is a workspace's isolation mode.
func IsolationMode(workspace *arm.Resource) string {
	for _, m := range []string{IsolationInternet, IsolationApprovedOnly} {
		if strings.EqualFold(workspace.Body.String(isolationMode), m) {
			return m
		}
	}
	return IsolationDisabled
}

// provisioned reports whether a workspace's managed network has been made.
func provisioned(workspace *arm.Resource) bool {
	return workspace.Body.String(networkStatus) == statusActive
}

func validationError(path, format string, args ...any) error {
	e := arm.BadRequest("ValidationError", format, args...)
	e.Target = path
	return e
}

// validateNetwork checks a workspace's managed network. Its rules are checked when
// they are made.
func (p *provider) validateNetwork(put *arm.Put) error {
	if isKind(put.Resource, kindProject) {
		return nil // it is the hub's
	}
	body := put.Resource.Body
	put.Keep(managedNetwork, "properties.provisionNetworkNow")
	if body.Has(managedNetwork) && body.Object(managedNetwork) == nil {
		return validationError(managedNetwork, "The property 'managedNetwork' is not an object.")
	}
	for _, name := range []string{"networkId", "status", "outboundRules"} {
		body.Delete(managedNetwork + "." + name) // rules are resources of their own
	}
	put.Force(managedNetwork+".networkId", managedNetwork+".status")
	put.Keep(isolationMode)
	body.Default(isolationMode, IsolationDisabled)
	mode := body.String(isolationMode)
	i := slices.IndexFunc([]string{IsolationDisabled, IsolationInternet, IsolationApprovedOnly}, func(m string) bool { return strings.EqualFold(m, mode) })
	if i < 0 {
		return validationError(isolationMode, "The isolation mode '%s' is not %s, %s or %s.", mode, IsolationDisabled, IsolationInternet, IsolationApprovedOnly)
	}
	mode = []string{IsolationDisabled, IsolationInternet, IsolationApprovedOnly}[i]
	body.Set(isolationMode, mode)
	if sku := body.String(managedNetwork + ".firewallSku"); sku != "" && !strings.EqualFold(sku, "Standard") && !strings.EqualFold(sku, "Basic") {
		return validationError(managedNetwork+".firewallSku", "The firewall SKU '%s' is not Standard or Basic.", sku)
	}
	if mode == IsolationDisabled && body.Bool("properties.provisionNetworkNow", false) && put.Creating() {
		return validationError("properties.provisionNetworkNow", "A workspace whose isolation mode is %s has no network to provision.", mode)
	}
	if mode != IsolationDisabled && body.String(serverlessSubnet) != "" {
		return validationError(serverlessSubnet, "The computes of a workspace with a managed network cannot stand in the subnet '%s'.", body.String(serverlessSubnet))
	}
	if put.Existing == nil {
		return nil
	}
	return p.checkIsolationChange(put, IsolationMode(put.Existing), mode)
}

// checkIsolationChange holds that a network becomes stricter and never laxer, and
// that no compute is left outside of it.
func (p *provider) checkIsolationChange(put *arm.Put, was, is string) error {
	if was == is {
		return nil
	}
	if was == IsolationApprovedOnly || is == IsolationDisabled {
		return validationError(isolationMode, "The isolation mode of workspace '%s' is %s and cannot be changed to %s.", put.ID.Name(), was, is)
	}
	if was != IsolationDisabled {
		return nil
	}
	for c, err := range p.kernel.Resources().Children(put.Tx, put.ID, ComputeType) {
		if err != nil {
			return err
		}
		return validationError(isolationMode, "Workspace '%s' has computes, such as '%s'. Delete them before the workspace is given a managed network.", put.ID.Name(), c.Name())
	}
	return nil
}

// putNetwork completes a workspace's managed network: the rules that the request
// names, those that Azure makes, and provisioning where it is asked for. What Azure
// does with rules that a request leaves out is not known; here they stay.
func (p *provider) putNetwork(put *arm.Put) error {
	body := put.Resource.Body
	named := put.Request.Body.Object(managedNetwork + ".outboundRules")
	if IsolationMode(put.Resource) == IsolationDisabled {
		if len(named) > 0 {
			return validationError(managedNetwork+".outboundRules", "A workspace whose isolation mode is %s has no outbound rules.", IsolationDisabled)
		}
		return nil
	}
	body.Default(managedNetwork+".networkId", uuid.NewString())
	body.Default(networkStatus, statusInactive)
	body.Default(managedNetwork+".status.sparkReady", false)
	w := ruleWriter{p: p, tx: put.Tx, workspace: put.Resource, by: put.Resource.ModifiedBy, now: put.Now}
	if err := w.require(); err != nil {
		return err
	}
	if err := w.putNamed(named); err != nil {
		return err
	}
	if put.Creating() && body.Bool("properties.provisionNetworkNow", false) {
		return w.provision()
	}
	return nil
}

// readNetwork shows a workspace's rules in its document.
func (p *provider) readNetwork(tx store.Tx, r *arm.Resource) error {
	if IsolationMode(r) == IsolationDisabled {
		return nil
	}
	owner, err := p.networkOwner(tx, r)
	if err != nil || owner == nil {
		return err
	}
	rules := map[string]any{}
	for c, err := range p.kernel.Resources().Children(tx, owner.ParsedID(), OutboundRuleType) {
		if err != nil {
			return err
		}
		rules[c.Name()] = map[string]any(c.Body.Object("properties").Clone())
	}
	r.Body.Set(managedNetwork+".outboundRules", rules)
	return nil
}

// networkOwner is the workspace that has the managed network of a workspace: itself,
// or the hub of a project; nil when that hub is gone.
func (p *provider) networkOwner(tx store.Tx, ws *arm.Resource) (*arm.Resource, error) {
	if !isKind(ws, kindProject) {
		return ws, nil
	}
	return p.linked(tx, ws, "hubResourceId")
}

// provisionNetwork is POST …/provisionManagedNetwork.
func (p *provider) provisionNetwork(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	if req.Body.Bool("includeSpark", false) {
		return nil, arm.NotImplemented("managed networks for serverless Spark (includeSpark)")
	}
	var status any
	err := p.kernel.Store().Update(ctx, func(tx store.Tx) error {
		ws, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		if isKind(ws, kindProject) {
			return validationError("", "Project '%s' has the managed network of its hub, which is provisioned there.", ws.Name())
		}
		if IsolationMode(ws) == IsolationDisabled {
			return validationError("", "The isolation mode of workspace '%s' is %s: it has no network to provision.", ws.Name(), IsolationDisabled)
		}
		by := arm.Author{Name: req.Caller.Name, Type: "Application"}
		if req.Caller.Type == "User" {
			by.Type = req.Caller.Type
		}
		w := ruleWriter{p: p, tx: tx, workspace: ws, by: by, now: req.Now}
		if err := w.provisionStored(); err != nil {
			return err
		}
		status = ws.Body.Get(managedNetwork + ".status")
		return nil
	})
	return &arm.Response{Status: http.StatusOK, Body: status}, err
}

// firstCompute provisions the managed network of the workspace in which a compute
// is made, unless that has been done.
func (p *provider) firstCompute(put *arm.Put) error {
	if !put.Creating() {
		return nil
	}
	return p.networkFor(put.Tx, put.Parent, put.Resource.CreatedBy, put.Now)
}

// networkFor provisions the managed network in which computes of a workspace stand, if
// it has one that is not there yet.
func (p *provider) networkFor(tx store.Tx, ws *arm.Resource, by arm.Author, now time.Time) error {
	if IsolationMode(ws) == IsolationDisabled {
		return nil
	}
	owner, err := p.networkOwner(tx, ws)
	if err != nil || owner == nil {
		return err
	}
	w := ruleWriter{p: p, tx: tx, workspace: owner, by: by, now: now}
	return w.provisionStored()
}

// ProvisionNetwork makes the managed network of a workspace for nodes that are no
// compute of it, those of serverless jobs, if it has one that is not there yet.
func ProvisionNetwork(tx store.Tx, k *arm.Kernel, workspaceID string, now time.Time) error {
	ws, err := k.Resources().Get(tx, workspaceID)
	if err != nil {
		return fmt.Errorf("provision the network of %s: %w", workspaceID, err)
	}
	p := &provider{kernel: k}
	return p.networkFor(tx, ws, ws.ModifiedBy, now)
}
