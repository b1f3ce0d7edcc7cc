package network

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// EndpointType is the type of private endpoints.
const EndpointType = namespace + "/privateEndpoints"

const (
	automatic = "properties.privateLinkServiceConnections"
	manual    = "properties.manualPrivateLinkServiceConnections"
)

func (p *provider) endpointType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: EndpointType, Tracked: true, ETag: true, Latency: latency(30),
		Name: networkName("private endpoint"),
		Unimplemented: map[string]string{
			"properties.applicationSecurityGroups": "puts the endpoint into application security groups",
			"properties.ipVersionType=IPv6":        "gives the endpoint IPv6 addresses",
			"properties.ipVersionType=DualStack":   "gives the endpoint IPv6 addresses",
			"extendedLocation":                     "places the endpoint at an edge site",
		},
		Put:  p.putEndpoint,
		Read: p.readEndpoint,
		Delete: func(_ context.Context, d *arm.Delete) error {
			if err := p.drop(d.Tx, d.Resource.Private.String("interface")); err != nil {
				return err
			}
			return p.drop(d.Tx, d.Resource.Private.String("connection"))
		},
	}
}

// connection is the one connection that an endpoint has.
type connection struct {
	doc    arm.Doc
	manual bool
}

func (c connection) group() string {
	if ids := c.doc.List("properties.groupIds"); len(ids) == 1 {
		s, _ := ids[0].(string)
		return s
	}
	return ""
}

func connectionOf(body arm.Doc) (connection, bool) {
	auto, man := body.List(automatic), body.List(manual)
	if len(auto)+len(man) != 1 {
		return connection{}, false
	}
	m, ok := append(slices.Clone(auto), man...)[0].(map[string]any)
	return connection{doc: m, manual: len(man) == 1}, ok
}

// Azure's words for most of what is wrong with an endpoint are not known.
func badEndpoint(format string, args ...any) error {
	return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: "+format, args...)
}

func (p *provider) putEndpoint(ctx context.Context, put *arm.Put) error {
	body, r := put.Resource.Body, put.Resource
	if put.HTTP.Method == http.MethodPatch {
		return nil // tags
	}
	if body.String("properties.customNetworkInterfaceName") == "" {
		body.Delete("properties.customNetworkInterfaceName")
	}
	body.Default(automatic, []any{})
	body.Default(manual, []any{})
	body.Default("properties.ipConfigurations", []any{})
	c, ok := connectionOf(body)
	if !ok {
		return badEndpoint("private endpoint %s has %d connections; it has one.", r.ID, len(body.List(automatic))+len(body.List(manual)))
	}
	if c.doc.String("name") == "" || c.group() == "" {
		return badEndpoint("the connection of private endpoint %s has a name and one of groupIds.", r.ID)
	}
	subnet, err := p.refer(ctx, put, r, put.Existing, body.String("location"), reference{path: "properties.subnet", typ: SubnetType, join: SubnetType + "/join/action"})
	if err != nil {
		return err
	}
	if subnet == nil {
		return badEndpoint("private endpoint %s has a subnet.", r.ID)
	}
	if put.Existing != nil {
		return updateEndpoint(put, c)
	}
	if len(subnet.Body.List("properties.delegations")) > 0 {
		return arm.BadRequest("PrivateEndpointCreationNotAllowedAsSubnetIsDelegated", "Private endpoint %s cannot be created as subnet %s is delegated.", r.ID, subnet.ID)
	}
	g, err := p.connect(ctx, put, c)
	if err != nil {
		return err
	}
	resourceGUID(put)
	return p.makeInterface(put, subnet, g)
}

// updateEndpoint keeps what Azure does not change in place.
func updateEndpoint(put *arm.Put, c connection) error {
	was, _ := connectionOf(put.Existing.Body)
	same := was.manual == c.manual && was.doc.String("name") == c.doc.String("name") && strings.EqualFold(was.group(), c.group()) &&
		arm.Key(was.doc.String("properties.privateLinkServiceId")) == arm.Key(c.doc.String("properties.privateLinkServiceId"))
	if !same {
		return arm.Errorf(http.StatusConflict, "PropertyChangeNotAllowed", "Changing the connection of private endpoint '%s' is not allowed.", put.ID.Name())
	}
	if err := put.Immutable("properties.subnet.id", "properties.customNetworkInterfaceName"); err != nil {
		return err
	}
	put.Force("properties.resourceGuid", "properties.networkInterfaces", "properties.ipConfigurations", "properties.customNetworkInterfaceName")
	return nil
}

// connect makes the connection at the target: approved at once where the caller
// may approve, pending where a person is asked.
func (p *provider) connect(ctx context.Context, put *arm.Put, c connection) (linkGroup, error) {
	id := c.doc.String("properties.privateLinkServiceId")
	parsed, err := arm.ParseID(id)
	if err != nil {
		if strings.HasSuffix(id, ".azure.privatelinkservice") {
			return linkGroup{}, arm.NotImplemented("private endpoints that lead to a private link service")
		}
		return linkGroup{}, badEndpoint("'%s' is not the ID of a resource.", id)
	}
	t, ok := findTarget(parsed.Type())
	if !ok {
		return linkGroup{}, arm.NotImplemented("private endpoints that lead to '%s'", parsed.Type())
	}
	target, err := p.referTo(ctx, put, put.Resource.ID, id, "", reference{typ: t.typ, anywhere: true})
	if err != nil {
		return linkGroup{}, err
	}
	groups := t.groups(target)
	i := slices.IndexFunc(groups, func(g linkGroup) bool { return strings.EqualFold(g.id, c.group()) })
	if i < 0 {
		var known []string
		for _, g := range groups {
			known = append(known, g.id)
		}
		return linkGroup{}, badEndpoint("'%s' is no group of %s. Its groups are %s.", c.group(), target.ID, strings.Join(known, ", "))
	}
	if !c.manual {
		if err := put.AllowedLinked(ctx, ApprovalAction(t.typ), target.ParsedID()); err != nil {
			return linkGroup{}, err
		}
	}
	id, err = Connect(put.Tx, p.kernel.Resources(), target, groups[i].id, Endpoint{
		ID: put.Resource.ID, Name: put.ID.Name(), Approved: !c.manual, Message: c.doc.String("properties.requestMessage"),
		By: put.Resource.CreatedBy, At: put.Now,
	})
	put.Resource.Private.Set("connection", id)
	return groups[i], err
}

// makeInterface gives the endpoint its interface, with an address in the subnet
// for each member of the group.
func (p *provider) makeInterface(put *arm.Put, subnet *arm.Resource, g linkGroup) error {
	r := put.Resource
	name := r.Body.String("properties.customNetworkInterfaceName")
	if name == "" {
		name = put.ID.Name() + ".nic." + uuid.NewString()
	}
	group, _ := put.ID.Group()
	id := group.Child(InterfaceType, name)
	if there, err := p.kernel.Resources().Exists(put.Tx, id.Key()); err != nil || there {
		if err == nil {
			err = badEndpoint("network interface %s is there already.", id)
		}
		return err
	}
	names, wanted, err := staticAddresses(r, g)
	if err != nil {
		return err
	}
	addresses, err := p.allocate(put.Tx, subnet, id.String(), wanted)
	if err != nil {
		return err
	}
	var configs []any
	for i, m := range g.members {
		cname, method := names[i], "Static"
		if wanted[i] == "" {
			cname, method = "privateEndpointIpConfig."+uuid.NewString(), "Dynamic"
		}
		fqdns := []any{}
		for _, n := range m.names {
			fqdns = append(fqdns, n.fqdn)
		}
		configs = append(configs, map[string]any{
			"name": cname, "id": id.String() + "/ipConfigurations/" + cname, "type": InterfaceType + "/ipConfigurations",
			"properties": map[string]any{
				"provisioningState": "Succeeded", "privateIPAddress": addresses[i].String(), "privateIPAllocationMethod": method,
				"subnet": map[string]any{"id": subnet.ID}, "primary": i == 0, "privateIPAddressVersion": "IPv4",
				"privateLinkConnectionProperties": map[string]any{"groupId": g.id, "requiredMemberName": m.name, "fqdns": fqdns},
			},
		})
	}
	nic := &arm.Resource{
		ID: id.String(), UID: uuid.NewString(), ETag: uuid.NewString(), Private: arm.Doc{},
		Created: put.Now, CreatedBy: r.CreatedBy, Modified: put.Now, ModifiedBy: r.ModifiedBy,
		Body: arm.Doc{"location": r.Body["location"], "properties": map[string]any{
			"resourceGuid": uuid.NewString(), "ipConfigurations": configs, "privateEndpoint": map[string]any{"id": r.ID},
			"dnsSettings": map[string]any{"dnsServers": []any{}, "appliedDnsServers": []any{}}, "nicType": "Standard",
			"enableAcceleratedNetworking": false, "enableIPForwarding": false, "hostedWorkloads": []any{}, "tapConfigurations": []any{},
		}},
	}
	if err := p.kernel.Resources().Put(put.Tx, nic); err != nil {
		return err
	}
	r.Private.Set("interface", nic.ID)
	r.Body.Set("properties.networkInterfaces", []any{map[string]any{"id": nic.ID}})
	return p.touch(put.Tx, subnet.ID)
}

// staticAddresses reads the addresses that the endpoint asks for: none, or one
// for each member of the group.
func staticAddresses(r *arm.Resource, g linkGroup) (names, addresses []string, err error) {
	names, addresses = make([]string, len(g.members)), make([]string, len(g.members))
	list := r.Body.List("properties.ipConfigurations")
	if len(list) == 0 {
		return names, addresses, nil
	}
	for _, v := range list {
		m, _ := v.(map[string]any)
		doc := arm.Doc(m)
		i := slices.IndexFunc(g.members, func(m linkMember) bool {
			return strings.EqualFold(m.name, doc.String("properties.memberName"))
		})
		if i < 0 || !strings.EqualFold(doc.String("properties.groupId"), g.id) {
			return nil, nil, badEndpoint("ip configuration '%s' of private endpoint %s is for member '%s' of group '%s', which the connection does not have.",
				doc.String("name"), r.ID, doc.String("properties.memberName"), doc.String("properties.groupId"))
		}
		names[i], addresses[i] = doc.String("name"), doc.String("properties.privateIPAddress")
	}
	if slices.Contains(addresses, "") {
		var members []string
		for _, m := range g.members {
			members = append(members, m.name)
		}
		return nil, nil, badEndpoint("private endpoint %s needs an ip configuration for each member of group '%s', which are %s.", r.ID, g.id, strings.Join(members, ", "))
	}
	return names, addresses, nil
}

// connectionState is the state that the target has of the endpoint's connection. A connection that is gone is disconnected.
func (p *provider) connectionState(tx store.Tx, r *arm.Resource) (map[string]any, error) {
	conn, err := p.kernel.Resources().Get(tx, r.Private.String("connection"))
	if errors.Is(err, store.ErrNotFound) {
		return map[string]any{"status": "Disconnected", "description": "", "actionsRequired": "None"}, nil
	}
	if err != nil {
		return nil, err
	}
	state := conn.Body.Object("properties.privateLinkServiceConnectionState")
	return map[string]any{"status": state.String("status"), "description": state.String("description"), "actionsRequired": "None"}, nil
}

func (p *provider) readEndpoint(_ context.Context, tx store.Tx, r *arm.Resource) error {
	state, err := p.connectionState(tx, r)
	if err != nil {
		return err
	}
	for _, list := range []string{automatic, manual} {
		for _, v := range r.Body.List(list) {
			m, _ := v.(map[string]any)
			doc := arm.Doc(m)
			doc.Set("id", r.ID+"/"+strings.TrimPrefix(list, "properties.")+"/"+doc.String("name"))
			doc.Set("type", EndpointType+"/"+strings.TrimPrefix(list, "properties."))
			doc.Set("properties.provisioningState", "Succeeded")
			doc.Set("properties.privateLinkServiceConnectionState", state)
		}
	}
	r.Body.Default("properties.customNetworkInterfaceName", "")
	// what zones of a group have, the endpoint does not show
	custom := []any{}
	grouped := false
	for _, err := range p.kernel.Resources().Children(tx, r.ParsedID(), zoneGroupType) {
		if err != nil {
			return err
		}
		grouped = true
		break
	}
	if state["status"] == "Approved" && !grouped {
		all, err := p.endpointNames(tx, r)
		if err != nil {
			return err
		}
		for _, n := range all {
			custom = append(custom, map[string]any{"fqdn": n.fqdn, "ipAddresses": []any{n.address.String()}})
		}
	}
	r.Body.Set("properties.customDnsConfigs", custom)
	return nil
}

// endpointName is a host name with the address that the endpoint gives it.
type endpointName struct {
	linkName
	address netip.Addr
}

// endpointNames are the host names that lead to an endpoint; none when its
// interface or target is gone.
func (p *provider) endpointNames(tx store.Tx, r *arm.Resource) ([]endpointName, error) {
	nic, err := p.kernel.Resources().Get(tx, r.Private.String("interface"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, _ := connectionOf(r.Body)
	target, err := p.kernel.Resources().Get(tx, c.doc.String("properties.privateLinkServiceId"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	addresses := map[string]netip.Addr{}
	for _, conf := range configurations(nic) {
		if a, err := netip.ParseAddr(conf.String("properties.privateIPAddress")); err == nil {
			addresses[conf.String("properties.privateLinkConnectionProperties.requiredMemberName")] = a
		}
	}
	t, _ := findTarget(target.ParsedID().Type())
	if t.groups == nil {
		return nil, nil
	}
	var out []endpointName
	for _, g := range t.groups(target) {
		if !strings.EqualFold(g.id, c.group()) {
			continue
		}
		for _, m := range g.members {
			for _, n := range m.names {
				out = append(out, endpointName{n, addresses[m.name]})
			}
		}
	}
	return out, nil
}
