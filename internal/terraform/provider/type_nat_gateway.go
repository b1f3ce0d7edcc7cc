package provider

import (
	"fmt"
	"strings"
)

func natGateway() *resourceType {
	return &resourceType{
		name:       "azurerm_nat_gateway",
		id:         idForm{pattern: natGatewayPattern},
		apiVersion: networkVersions(),
		update:     updatePut,
		fields: []field{
			region(),
			tags(),
			send("name", "name"),
			in("idle_timeout_in_minutes", "properties.idleTimeoutInMinutes"),
			in("sku_name", "sku.name"),
			in("zones", "zones"),
			out("resource_guid", "properties.resourceGuid"),
		},
		plan: func(c *change) {
			if asString(c.planned["sku_name"]) == "StandardV2" && c.config["zones"] != nil {
				c.refuse("zones", "azurerm_nat_gateway resources with `sku_name` set to `StandardV2` are zone-redundant by default, Azure automatically deploys across all available zones. The `zones` argument must be omitted")
			}
		},
		serial: func(o *operation) string { return natGatewayLock(o.typ.id.build(o.subscription, o.state())) },
	}
}

const (
	natGatewayPattern = "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/natGateways/{name}"
	publicIPPattern   = "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Network/publicIPAddresses/{name}"
)

func natGatewayLock(id string) string { return strings.ToLower("nat|" + id) }

// natGatewayPublicIPAssociation is an entry in the gateway's list of addresses.
// Its ID is those of both, with a bar between.
func natGatewayPublicIPAssociation() *resourceType {
	return &resourceType{
		name:       "azurerm_nat_gateway_public_ip_association",
		apiVersion: networkVersions(),
		fields:     []field{ours("nat_gateway_id", "public_ip_address_id")},
		store:      natAddress{},
		makeID: func(o *operation) (string, error) {
			return asString(o.planned["nat_gateway_id"]) + "|" + asString(o.planned["public_ip_address_id"]), nil
		},
		importID: func(_ *operation, id string) (map[string]any, error) {
			gateway, address, ok := strings.Cut(id, "|")
			if !ok {
				return nil, fmt.Errorf("parsing %q: expected the IDs of a NAT gateway and of a public IP address with `|` between", id)
			}
			for part, pattern := range map[string]string{gateway: natGatewayPattern, address: publicIPPattern} {
				if _, err := (idForm{pattern: pattern}).parse(part); err != nil {
					return nil, err
				}
			}
			return map[string]any{"nat_gateway_id": gateway, "public_ip_address_id": address}, nil
		},
		serial: func(o *operation) string { return natGatewayLock(asString(o.state()["nat_gateway_id"])) },
	}
}

// natAddress changes the address lists of NAT gateways.
type natAddress struct{}

func (natAddress) paths() []string {
	return []string{"properties.publicIpAddresses", "properties.publicIpAddressesV6"}
}

func (s natAddress) read(o *operation) (map[string]any, error) {
	gateway, address, _ := strings.Cut(o.id, "|")
	doc, err := o.get(o.ctx, gateway, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, path := range s.paths() {
		for _, id := range stringList(keyed("id").read(getPath(doc, path))) {
			if strings.EqualFold(id, address) {
				return map[string]any{"nat_gateway_id": gateway, "public_ip_address_id": address}, nil
			}
		}
	}
	return nil, nil
}

func (s natAddress) create(o *operation) error {
	gateway, address, _ := strings.Cut(o.id, "|")
	doc, err := o.get(o.ctx, gateway, o.version())
	if err != nil {
		return err
	}
	other, err := o.get(o.ctx, address, o.version())
	if err != nil {
		return err
	}
	path := s.paths()[0]
	if asString(getPath(other, "properties.publicIPAddressVersion")) == "IPv6" {
		path = s.paths()[1]
	}
	list := asList(getPath(doc, path))
	for _, e := range list {
		if strings.EqualFold(asString(asObject(e)["id"]), address) {
			return o.alreadyExists()
		}
	}
	setPath(doc, path, append(list, map[string]any{"id": address}))
	return o.put(o.ctx, gateway, o.version(), doc)
}

func (natAddress) update(*operation) error { return nil }

func (s natAddress) remove(o *operation) error {
	gateway, address, _ := strings.Cut(o.id, "|")
	doc, err := o.get(o.ctx, gateway, o.version())
	if err != nil {
		return err
	}
	for _, path := range s.paths() {
		kept := []any{}
		for _, e := range asList(getPath(doc, path)) {
			if !strings.EqualFold(asString(asObject(e)["id"]), address) {
				kept = append(kept, e)
			}
		}
		setPath(doc, path, kept)
	}
	return o.put(o.ctx, gateway, o.version(), doc)
}
