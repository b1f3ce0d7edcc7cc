package provider

import (
	"fmt"
	"net/url"
	"strings"
)

// storageItem is what azurerm's shares, queues and tables have in common. azurerm
// reaches some of them through their data planes, which shows in their IDs alone:
// here all are ARM's resources, where they are the same ones.
type storageItem struct {
	service string // "file", "queue" or "table"
	path    string // behind an account's ID
	noun    string // of azurerm's messages
	urlOnly bool   // the ID is the data plane's in all versions
	// send and state convert between attributes and ARM's properties.
	send  func(o *operation, props map[string]any)
	state func(o *operation, doc, state map[string]any)
}

func (i storageItem) resourceType(name string, attrs ...string) *resourceType {
	return &resourceType{
		name:       name,
		apiVersion: storageVersions(),
		fields:     []field{ours(append(attrs, "name", "storage_account_name", "storage_account_id", "resource_manager_id")...)},
		store:      itemStore{i},
		makeID: func(o *operation) (string, error) {
			name := asString(o.planned["name"])
			if id := asString(o.planned["storage_account_id"]); id != "" && !i.urlOnly {
				return id + i.path + name, nil
			} else if id != "" {
				return i.url(o, lastSegment(id), name), nil
			}
			return i.url(o, asString(o.planned["storage_account_name"]), name), nil
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			account, name, isARM, err := i.parse(o, id)
			if err != nil {
				return nil, err
			}
			if isARM {
				return map[string]any{"name": name, "storage_account_id": account}, nil
			}
			if o.kind.Attributes["storage_account_name"] != nil && !(i.urlOnly && o.kind.Attributes["storage_account_id"] != nil) {
				return map[string]any{"name": name, "storage_account_name": account}, nil
			}
			accountID, err := o.findAccount(o.ctx, account)
			return map[string]any{"name": name, "storage_account_id": accountID}, err
		},
		plan: func(c *change) {
			for _, name := range []string{"storage_account_id", "storage_account_name"} {
				if c.differs(name) && !c.kind.Attributes[name].ForceNew {
					c.forceNew(name)
				}
			}
		},
	}
}

// url is the ID that the data plane gives.
func (i storageItem) url(o *operation, account, name string) string {
	base := "https://" + o.host(account, i.service) + "/"
	if i.service == "table" {
		return base + "Tables('" + name + "')"
	}
	return base + name
}

// parse takes an ID apart: the account's ARM ID, or its name, and the item's name.
func (i storageItem) parse(o *operation, id string) (account, name string, isARM bool, err error) {
	if account, name, ok := strings.Cut(id, i.path); ok && !i.urlOnly && o.major > 3 && name != "" &&
		matchPattern("/subscriptions/*/resourceGroups/*/providers/Microsoft.Storage/storageAccounts/*", account) {
		return account, name, true, nil
	}
	u, err := url.Parse(id)
	if err == nil && u.Scheme == "https" {
		account, ok := strings.CutSuffix(u.Host, "."+i.service+"."+o.storageSuffix)
		name := strings.Trim(u.Path, "/")
		if i.service == "table" {
			if rest, quoted := strings.CutPrefix(name, "Tables('"); quoted {
				name = strings.TrimSuffix(rest, "')")
			}
		}
		if ok && name != "" && !strings.Contains(name, "/") && (i.urlOnly || o.major < 5) {
			return account, name, false, nil
		}
	}
	return "", "", false, fmt.Errorf("parsing %q: this is not the ID of a %s", id, i.noun)
}

type itemStore struct{ storageItem }

// open is the ARM ID of an item.
func (s itemStore) open(o *operation) (account, id string, err error) {
	account, name, isARM, err := s.parse(o, o.id)
	if err != nil {
		return "", "", err
	}
	if !isARM {
		if account, err = o.findAccount(o.ctx, account); err != nil {
			return "", "", err
		}
	}
	return account, account + s.path + name, nil
}

func (s itemStore) create(o *operation) error {
	_, id, err := s.open(o)
	if err != nil {
		return err
	}
	if _, err := o.get(o.ctx, id, o.version()); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return err
	}
	return s.write(o, id)
}

func (s itemStore) write(o *operation, id string) error {
	props := map[string]any{}
	s.send(o, props)
	return o.put(o.ctx, id, o.version(), map[string]any{"properties": props})
}

func (s itemStore) update(o *operation) error {
	_, id, err := s.open(o)
	if err != nil {
		return err
	}
	return s.write(o, id)
}

func (s itemStore) read(o *operation) (map[string]any, error) {
	account, id, err := s.open(o)
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	doc, err := o.get(o.ctx, id, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name := lastSegment(id)
	state := map[string]any{"name": name, "storage_account_name": "", "storage_account_id": "", "resource_manager_id": id}
	if _, _, isARM, _ := s.parse(o, o.id); isARM || o.kind.Attributes["storage_account_name"] == nil ||
		asString(o.state()["storage_account_id"]) != "" {
		state["storage_account_id"] = account
	} else {
		state["storage_account_name"] = lastSegment(account)
	}
	state["url"] = s.url(o, lastSegment(account), name)
	s.state(o, doc, state)
	return state, nil
}

func (s itemStore) remove(o *operation) error {
	_, id, err := s.open(o)
	if err != nil {
		return err
	}
	return o.client.remove(o.ctx, id, o.version())
}

// sendPolicies and readPolicies convert acl blocks.
func sendPolicies(v any) []any {
	out := []any{}
	for _, e := range asList(v) {
		acl := asObject(e)
		policy := map[string]any{}
		if p := asObject(first(acl["access_policy"])); p != nil {
			for from, to := range map[string]string{"start": "startTime", "expiry": "expiryTime", "permissions": "permission"} {
				if text := asString(p[from]); text != "" {
					policy[to] = text
				}
			}
		}
		out = append(out, map[string]any{"id": acl["id"], "accessPolicy": policy})
	}
	return out
}

func readPolicies(v any) []any {
	out := []any{}
	for _, e := range asList(v) {
		id := asObject(e)
		acl := map[string]any{"id": id["id"], "access_policy": []any{}}
		if p := asObject(id["accessPolicy"]); len(p) > 0 {
			acl["access_policy"] = []any{map[string]any{"start": asString(p["startTime"]), "expiry": asString(p["expiryTime"]), "permissions": asString(p["permission"])}}
		}
		out = append(out, acl)
	}
	return out
}

func storageShare() *resourceType {
	return storageItem{
		service: "file", path: "/fileServices/default/shares/", noun: "Storage Share",
		send: func(o *operation, props map[string]any) {
			p := o.planned
			props["shareQuota"] = p["quota"]
			props["enabledProtocols"] = p["enabled_protocol"]
			props["metadata"] = asObject(p["metadata"])
			props["signedIdentifiers"] = sendPolicies(p["acl"])
			if tier := asString(p["access_tier"]); tier != "" {
				props["accessTier"] = tier
			}
		},
		state: func(o *operation, doc, state map[string]any) {
			props := asObject(doc["properties"])
			state["quota"], state["access_tier"], state["enabled_protocol"] = props["shareQuota"], props["accessTier"], props["enabledProtocols"]
			state["metadata"] = asObject(props["metadata"])
			state["acl"] = readPolicies(props["signedIdentifiers"])
			// Roles are scoped by another name than that of the resource.
			scope := strings.Replace(asString(state["resource_manager_id"]), "/shares/", "/fileshares/", 1)
			state["rbac_scope_id"] = scope
			if o.kind.Attributes["rbac_scope_id"] == nil || state["storage_account_name"] != "" {
				state["resource_manager_id"] = scope // as azurerm has it, of a share by name
			}
		},
	}.resourceType("azurerm_storage_share", "access_tier", "acl", "enabled_protocol", "metadata", "quota", "rbac_scope_id", "url")
}

func storageQueue() *resourceType {
	return storageItem{
		service: "queue", path: "/queueServices/default/queues/", noun: "Storage Queue",
		send: func(o *operation, props map[string]any) { props["metadata"] = asObject(o.planned["metadata"]) },
		state: func(_ *operation, doc, state map[string]any) {
			state["metadata"] = asObject(getPath(doc, "properties.metadata"))
		},
	}.resourceType("azurerm_storage_queue", "metadata", "url")
}

func storageTable() *resourceType {
	return storageItem{
		service: "table", path: "/tableServices/default/tables/", noun: "Storage Table", urlOnly: true,
		send: func(o *operation, props map[string]any) {
			props["signedIdentifiers"] = sendPolicies(o.planned["acl"])
		},
		state: func(_ *operation, doc, state map[string]any) {
			state["acl"] = readPolicies(getPath(doc, "properties.signedIdentifiers"))
		},
	}.resourceType("azurerm_storage_table", "acl")
}
