package provider

import (
	"fmt"
	"strings"
)

const subnetPattern = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Network/virtualNetworks/{}/subnets/{}"

// subnetAssociation is a property of a subnet that names another resource. Its
// ID is the subnet's.
func subnetAssociation(name, argument, property string) *resourceType {
	return &resourceType{
		name:       name,
		apiVersion: networkVersions(),
		fields:     []field{ours("subnet_id", argument)},
		store:      subnetReference{argument: argument, path: "properties." + property + ".id"},
		makeID:     func(o *operation) (string, error) { return asString(o.planned["subnet_id"]), nil },
		importID: func(_ *operation, id string) (map[string]any, error) {
			_, err := (idForm{pattern: subnetPattern}).parse(id)
			return map[string]any{"subnet_id": id}, err
		},
		serial: func(o *operation) string {
			id := asString(o.state()["subnet_id"])
			return networkLock(segmentAfter(id, "resourceGroups"), segmentAfter(id, "virtualNetworks"))
		},
	}
}

func subnetSecurityGroupAssociation() *resourceType {
	return subnetAssociation("azurerm_subnet_network_security_group_association", "network_security_group_id", "networkSecurityGroup")
}

func subnetRouteTableAssociation() *resourceType {
	return subnetAssociation("azurerm_subnet_route_table_association", "route_table_id", "routeTable")
}

func subnetNATGatewayAssociation() *resourceType {
	return subnetAssociation("azurerm_subnet_nat_gateway_association", "nat_gateway_id", "natGateway")
}

// subnetReference changes one reference of subnets.
type subnetReference struct{ argument, path string }

func (s subnetReference) read(o *operation) (map[string]any, error) {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id := asString(getPath(doc, s.path))
	if id == "" {
		return nil, nil
	}
	return map[string]any{"subnet_id": o.id, s.argument: id}, nil
}

func (s subnetReference) create(o *operation) error {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return fmt.Errorf("%s was not found", o.id)
	}
	if err != nil {
		return err
	}
	if id := asString(getPath(doc, s.path)); id != "" {
		return o.alreadyExists()
	}
	setPath(doc, strings.TrimSuffix(s.path, ".id"), map[string]any{"id": o.planned[s.argument]})
	return o.put(o.ctx, o.id, o.version(), doc)
}

func (subnetReference) update(*operation) error { return nil }

func (s subnetReference) remove(o *operation) error {
	doc, err := o.get(o.ctx, o.id, o.version())
	if err != nil {
		return err
	}
	if asString(getPath(doc, s.path)) == "" {
		return nil
	}
	setPath(doc, strings.TrimSuffix(s.path, ".id"), nil)
	return o.put(o.ctx, o.id, o.version(), doc)
}
