package machinelearning

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ruleWriter makes and changes the rules of one managed network, in one transaction.
type ruleWriter struct {
	p  *provider
	tx store.Tx
	// workspace is the one that has the network, as it will be stored.
	workspace *arm.Resource
	by        arm.Author
	now       time.Time
}

// complete checks a rule, and makes what it makes where its network is there.
func (w ruleWriter) complete(r, existing *arm.Resource) error {
	if err := w.checkRule(r, existing); err != nil {
		return err
	}
	r.Body.Set("properties.status", statusInactive)
	if existing != nil && sameRule(r, existing) {
		r.Body.Set("properties.status", existing.Body.String("properties.status"))
		return nil
	}
	if existing != nil {
		if err := w.p.disconnect(w.tx, r); err != nil {
			return err
		}
	}
	if !provisioned(w.workspace) {
		return nil
	}
	return w.activate(r)
}

// activate brings a rule into effect. One that makes a private endpoint waits for
// the connection to be approved, unless the workspace's identity may do that itself.
func (w ruleWriter) activate(r *arm.Resource) error {
	if r.Body.String("properties.type") != RulePrivateEndpoint {
		r.Body.Set("properties.status", statusActive)
		return nil
	}
	if r.Private.String("connection") != "" {
		return nil // its status is kept by ConnectionChanged
	}
	id := r.Body.String(target + ".serviceResourceId")
	resource := w.workspace
	if arm.Key(id) != arm.Key(w.workspace.ID) {
		var err error
		resource, err = w.p.kernel.Resources().Get(w.tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	approved, err := w.mayApprove(r, resource)
	if err != nil {
		return err
	}
	conn, err := network.Connect(w.tx, w.p.kernel.Resources(), resource, r.Body.String(target+".subresourceTarget"), network.Endpoint{
		ID: w.endpointID(r.Name()), Name: r.Name(), Approved: approved,
		Message: "Managed network of workspace " + w.workspace.ID, By: w.by, At: w.now,
	})
	if err != nil {
		return err
	}
	r.Private.Set("connection", conn)
	if approved {
		r.Body.Set("properties.status", statusActive)
	}
	return nil
}

// endpointID names the endpoint of a rule. In Azure it stands in a subscription of
// the service's, where it has a name that is not known.
func (w ruleWriter) endpointID(rule string) string {
	return "/subscriptions/" + uuid.Nil.String() + "/resourceGroups/" + w.workspace.Body.String(managedNetwork+".networkId") +
		"/providers/" + network.EndpointType + "/" + rule
}

// mayApprove reports whether a connection is approved at once. The service does so
// for the rules that it makes itself; for others the identity of the workspace needs
// to be allowed to. A system-assigned one is a Contributor of the workspace's
// resource group, which Azure grants by itself
// (https://learn.microsoft.com/azure/machine-learning/concept-enterprise-security).
func (w ruleWriter) mayApprove(r, resource *arm.Resource) (bool, error) {
	if isSystemRule(r) {
		return true, nil
	}
	id := resource.ParsedID()
	own, _ := w.workspace.ParsedID().Group()
	group, _ := id.Group()
	system := strings.Contains(w.workspace.Body.String("identity.type"), "SystemAssigned")
	if system && own.Key() == group.Key() {
		return true, nil
	}
	principal := principalOf(w.workspace.Body)
	if principal == "" {
		return false, nil
	}
	return w.p.kernel.Holds(w.tx, principal, network.ApprovalAction(id.Type()), id)
}

// putNamed makes or changes the rules that a workspace's own document names.
func (w ruleWriter) putNamed(named arm.Doc) error {
	typ := w.p.outboundRule()
	for _, name := range slices.Sorted(maps.Keys(named)) {
		id := w.workspace.ParsedID().Child("outboundRules", name)
		existing, err := w.p.kernel.Resources().Get(w.tx, id.Key())
		if errors.Is(err, store.ErrNotFound) {
			existing, err = nil, nil
		}
		if err != nil {
			return err
		}
		props, ok := named[name].(map[string]any)
		if !ok {
			return validationError(managedNetwork+".outboundRules", "The outbound rule '%s' is not an object.", name)
		}
		if existing == nil && !typ.Name.Pattern.MatchString(name) {
			return validationError(managedNetwork+".outboundRules", "The name '%s' of an outbound rule is invalid. %s", name, typ.Name.Text)
		}
		r := w.rule(name, props, existing)
		if err := w.complete(r, existing); err != nil {
			return err
		}
		if err := w.p.kernel.Resources().Put(w.tx, r); err != nil {
			return err
		}
	}
	return nil
}

// rule is the resource of a rule that is named elsewhere than in its own request.
func (w ruleWriter) rule(name string, props arm.Doc, existing *arm.Resource) *arm.Resource {
	r := &arm.Resource{
		ID: w.workspace.ParsedID().Child("outboundRules", name).String(), UID: uuid.NewString(), ETag: uuid.NewString(), Private: arm.Doc{},
		Created: w.now, CreatedBy: w.by, Modified: w.now, ModifiedBy: w.by, Body: arm.Doc{"properties": map[string]any(props.Clone())},
	}
	if existing != nil {
		r.ID, r.UID, r.Created, r.CreatedBy, r.Private = existing.ID, existing.UID, existing.Created, existing.CreatedBy, existing.Private.Clone()
	}
	return r
}

// provisionStored provisions the network of a stored workspace, unless that has been
// done, and stores it.
func (w ruleWriter) provisionStored() error {
	if provisioned(w.workspace) {
		return nil
	}
	if err := w.provision(); err != nil {
		return err
	}
	if err := w.p.kernel.Resources().Put(w.tx, w.workspace); err != nil {
		return err
	}
	return w.p.inheritAll(w.tx, w.workspace)
}

// provision makes the network: its rules come into effect.
func (w ruleWriter) provision() error {
	if err := w.require(); err != nil {
		return err
	}
	w.workspace.Body.Set(networkStatus, statusActive)
	rules, err := w.rules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		if err := w.activate(r); err != nil {
			return err
		}
		if err := w.p.kernel.Resources().Put(w.tx, r); err != nil {
			return err
		}
	}
	return nil
}

func (w ruleWriter) rules() ([]*arm.Resource, error) {
	var out []*arm.Resource
	for r, err := range w.p.kernel.Resources().Children(w.tx, w.workspace.ParsedID(), OutboundRuleType) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// requiredTag is a rule that Azure makes where only what is approved may leave. The
// tags are listed in how-to-managed-network, their ports in
// https://learn.microsoft.com/azure/machine-learning/how-to-access-azureml-behind-firewall.
type requiredTag struct{ tag, protocol, ports string }

func requiredTags(region string) []requiredTag {
	return []requiredTag{
		{"AzureMachineLearning", "TCP", "443,8787,18881"},
		{"AzureMachineLearning", "UDP", "5831"},
		{"AzureActiveDirectory", "TCP", "80,443"},
		{"BatchNodeManagement." + region, "*", "443"},
		{"AzureResourceManager", "TCP", "443"},
		{"AzureFrontDoor.FirstParty", "TCP", "443"},
		{"MicrosoftContainerRegistry", "TCP", "443"},
		{"AzureMonitor", "TCP", "443"},
		{"VirtualNetwork", "*", "*"},
	}
}

// require keeps the rules that Azure makes itself: endpoints to what the workspace
// stands on and to itself, of what is closed to public addresses or, where only what
// is approved may leave, of all; and there the service tags that the service needs.
// Azure documents no names for them; these are Azimuth's, and none that a client
// could give.
func (w ruleWriter) require() error {
	wanted := map[string]arm.Doc{}
	strict := IsolationMode(w.workspace) == IsolationApprovedOnly
	tail := "_" + w.workspace.Body.String("properties.workspaceId")[:8]
	endpoint := func(r *arm.Resource, group string) {
		if !strict && !strings.EqualFold(r.Body.String("properties.publicNetworkAccess"), "Disabled") {
			return
		}
		wanted["__SYS_PE_"+r.Name()+"_"+group+tail] = arm.Doc{
			"type": RulePrivateEndpoint, "category": categoryRequired, "status": statusInactive,
			"destination": map[string]any{"serviceResourceId": r.ID, "subresourceTarget": group, "sparkEnabled": false},
		}
	}
	for property, groups := range map[string][]string{"storageAccount": {"blob", "file"}, "keyVault": {"vault"}, "containerRegistry": {"registry"}} {
		r, err := w.p.linked(w.tx, w.workspace, property)
		if err != nil {
			return err
		}
		// only a Premium registry takes private endpoints
		if r == nil || property == "containerRegistry" && !strings.EqualFold(r.Body.String("sku.name"), "Premium") {
			continue
		}
		for _, g := range groups {
			endpoint(r, g)
		}
	}
	endpoint(w.workspace, "amlworkspace")
	if strict {
		for _, t := range requiredTags(arm.NormalizeLocation(w.workspace.Body.String("location"))) {
			name := "__SYS_ST_" + t.tag + "_" + strings.ReplaceAll(t.protocol, "*", "Any")
			wanted[name] = arm.Doc{
				"type": RuleServiceTag, "category": categoryRequired, "status": statusInactive,
				"destination": map[string]any{"serviceTag": t.tag, "protocol": t.protocol, "portRanges": t.ports},
			}
		}
	}
	return w.keep(wanted)
}

// keep makes the rules that are wanted and not there, unless a user made one of the
// same endpoint, and removes those of Azure's that are no longer wanted.
func (w ruleWriter) keep(wanted map[string]arm.Doc) error {
	rules, err := w.rules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		if _, ok := wanted[r.Name()]; ok {
			delete(wanted, r.Name())
			continue
		}
		if r.Body.String("properties.category") == categoryRequired {
			if err := w.p.disconnect(w.tx, r); err != nil {
				return err
			}
			if err := w.p.kernel.Resources().Remove(w.tx, r.ID); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		r := w.rule(name, wanted[name], nil)
		if slices.ContainsFunc(rules, func(o *arm.Resource) bool { return sameEndpoint(o, r) && !isSystemRule(o) }) {
			continue
		}
		if provisioned(w.workspace) {
			if err := w.activate(r); err != nil {
				return err
			}
		}
		if err := w.p.kernel.Resources().Put(w.tx, r); err != nil {
			return err
		}
	}
	return nil
}
