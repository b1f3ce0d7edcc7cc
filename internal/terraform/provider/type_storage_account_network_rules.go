package provider

import (
	"fmt"
	"strings"
)

// storageAccountNetworkRules are the network rules of an account that stands
// elsewhere in the configuration. Their ID is the account's, and they are never
// gone while it is there: deleting them puts Azure's defaults back.
func storageAccountNetworkRules() *resourceType {
	return &resourceType{
		name:       "azurerm_storage_account_network_rules",
		apiVersion: storageVersions(),
		fields: []field{ours("storage_account_id", "default_action", "bypass", "ip_rules", "virtual_network_subnet_ids",
			"private_link_access")},
		store:  networkRuleStore{},
		makeID: func(o *operation) (string, error) { return asString(o.planned["storage_account_id"]), nil },
		importID: func(_ *operation, id string) (map[string]any, error) {
			_, err := storageAccount().id.parse(id)
			return map[string]any{"storage_account_id": id}, err
		},
		serial: func(o *operation) string { return "storage account " + asString(o.state()["storage_account_id"]) },
	}
}

// networkRuleStore changes the rules of accounts.
type networkRuleStore struct{}

// fields are the rules' arguments: those of the account's own block.
func (networkRuleStore) fields() []field { return networkRules().fields }

func (s networkRuleStore) read(o *operation) (map[string]any, error) {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	state := map[string]any{"storage_account_id": o.id}
	o.codec(false).decode(s.fields(), o.kind.Attributes, asObject(getPath(doc, "properties.networkAcls")), state)
	return state, nil
}

func (s networkRuleStore) create(o *operation) error {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return fmt.Errorf("%s was not found", o.id)
	}
	if err != nil {
		return err
	}
	acls := asObject(getPath(doc, "properties.networkAcls"))
	if !strings.EqualFold(asString(acls["defaultAction"]), "Allow") || len(asList(acls["ipRules"])) > 0 || len(asList(acls["virtualNetworkRules"])) > 0 {
		return o.alreadyExists()
	}
	return s.update(o)
}

func (s networkRuleStore) update(o *operation) error {
	acls := defaultAcls()
	o.codec(false).encode(s.fields(), o.kind.Attributes, o.planned, acls)
	for _, r := range asList(acls["resourceAccessRules"]) {
		if rule := asObject(r); asString(rule["tenantId"]) == "" {
			rule["tenantId"] = o.tenant
		}
	}
	return s.send(o, acls)
}

func (s networkRuleStore) remove(o *operation) error { return s.send(o, defaultAcls()) }

func (networkRuleStore) send(o *operation, acls map[string]any) error {
	return o.patch(o.ctx, o.id, o.version(), map[string]any{"properties": map[string]any{"networkAcls": acls}})
}
