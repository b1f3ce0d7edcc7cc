package provider

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// storageContainer is made through the data plane where the configuration names
// the account, as azurerm 3 and 4 do, and through ARM where it gives the account's
// ID, as azurerm 4 and 5 do.
func storageContainer() *resourceType {
	return &resourceType{
		name:       "azurerm_storage_container",
		apiVersion: storageVersions(),
		fields: []field{ours("name", "storage_account_name", "storage_account_id", "container_access_type", "default_encryption_scope",
			"encryption_scope_override_enabled", "metadata", "has_immutability_policy", "has_legal_hold", "resource_manager_id", "url")},
		store: containerStore{},
		makeID: func(o *operation) (string, error) {
			name := asString(o.planned["name"])
			if id := asString(o.planned["storage_account_id"]); id != "" {
				return id + containersOf + name, nil
			}
			return "https://" + o.host(asString(o.planned["storage_account_name"]), "blob") + "/" + name, nil
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			c, err := o.container(id)
			if err != nil {
				return nil, err
			}
			args := map[string]any{"name": c.name}
			if c.arm {
				args["storage_account_id"] = c.account
			} else {
				args["storage_account_name"] = c.account
			}
			return args, nil
		},
		plan: func(c *change) {
			// azurerm 4 takes either argument, and each change of either makes a
			// new container.
			for _, name := range []string{"storage_account_id", "storage_account_name"} {
				if c.differs(name) && !c.kind.Attributes[name].ForceNew {
					c.forceNew(name)
				}
			}
		},
	}
}

const containersOf = "/blobServices/default/containers/"

// containerRef is where a container is: in an account by ARM ID, or by name.
type containerRef struct {
	name, account string
	arm           bool
}

func (o *operation) container(id string) (containerRef, error) {
	if account, name, ok := strings.Cut(id, containersOf); ok && o.major > 3 && matchPattern("/subscriptions/*/resourceGroups/*/providers/Microsoft.Storage/storageAccounts/*", account) && name != "" {
		return containerRef{name: name, account: account, arm: true}, nil
	}
	form := "https://{account}.blob." + o.storageSuffix + "/{container}"
	if o.major > 3 {
		form = "/subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/Microsoft.Storage/storageAccounts/{storageAccount}" + containersOf + "{container}"
	}
	u, err := url.Parse(id)
	if err != nil || o.major == 5 || u.Scheme != "https" {
		return containerRef{}, fmt.Errorf("parsing %q: expected %s", id, form)
	}
	account, ok := strings.CutSuffix(u.Host, ".blob."+o.storageSuffix)
	name := strings.Trim(u.Path, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return containerRef{}, fmt.Errorf("parsing %q: expected %s", id, form)
	}
	return containerRef{name: name, account: account}, nil
}

type containerStore struct{}

// open finds the account of a container that is known by name.
func (containerStore) open(o *operation, c containerRef) (*account, error) {
	id, err := o.findAccount(o.ctx, c.account)
	if err != nil {
		return nil, err
	}
	return o.openAccount(o.ctx, id)
}

func (s containerStore) create(o *operation) error {
	c, err := o.container(o.id)
	if err != nil {
		return err
	}
	p := o.planned
	if c.arm {
		if _, err := o.get(o.ctx, o.id, o.version()); err == nil {
			return o.alreadyExists()
		} else if !isNotFound(err) {
			return err
		}
		props := map[string]any{"publicAccess": publicAccess(p["container_access_type"])}
		if m := asObject(p["metadata"]); len(m) > 0 {
			props["metadata"] = m
		}
		if scope := asString(p["default_encryption_scope"]); scope != "" {
			props["defaultEncryptionScope"] = scope
			props["denyEncryptionScopeOverride"] = p["encryption_scope_override_enabled"] == false
		}
		return o.put(o.ctx, o.id, o.version(), map[string]any{"properties": props})
	}
	a, err := s.open(o, c)
	if err != nil {
		return err
	}
	if _, err := o.data(o.ctx, a, http.MethodHead, "blob", "/"+c.name, "restype=container", nil); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return err
	}
	header := accessHeader(p["container_access_type"])
	metadataHeaders(header, p["metadata"])
	if scope := asString(p["default_encryption_scope"]); scope != "" {
		header["x-ms-default-encryption-scope"] = scope
		header["x-ms-deny-encryption-scope-override"] = fmt.Sprint(p["encryption_scope_override_enabled"] == false)
	}
	_, err = o.data(o.ctx, a, http.MethodPut, "blob", "/"+c.name, "restype=container", header)
	return err
}

func (s containerStore) read(o *operation) (map[string]any, error) {
	c, err := o.container(o.id)
	if err != nil {
		return nil, err
	}
	if c.arm {
		doc, err := o.get(o.ctx, o.id, o.version())
		if isNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		state := containerState(asString(getPath(doc, "properties.publicAccess")), asString(getPath(doc, "properties.defaultEncryptionScope")),
			asBool(getPath(doc, "properties.denyEncryptionScopeOverride")))
		state["name"], state["storage_account_id"], state["storage_account_name"] = c.name, c.account, ""
		state["metadata"] = asObject(getPath(doc, "properties.metadata"))
		state["has_immutability_policy"] = asBool(getPath(doc, "properties.hasImmutabilityPolicy"))
		state["has_legal_hold"] = asBool(getPath(doc, "properties.hasLegalHold"))
		state["resource_manager_id"] = o.id
		state["url"] = "https://" + o.host(lastSegment(c.account), "blob") + "/" + c.name
		return state, nil
	}
	a, err := s.open(o, c)
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	h, err := o.data(o.ctx, a, http.MethodHead, "blob", "/"+c.name, "restype=container", nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	state := containerState(h.Get("x-ms-blob-public-access"), h.Get("x-ms-default-encryption-scope"), h.Get("x-ms-deny-encryption-scope-override") == "true")
	state["name"], state["storage_account_name"] = c.name, c.account
	state["metadata"] = metadataOf(h)
	state["has_immutability_policy"] = h.Get("x-ms-has-immutability-policy") == "true"
	state["has_legal_hold"] = h.Get("x-ms-has-legal-hold") == "true"
	state["resource_manager_id"] = a.id + containersOf + c.name
	state["url"] = o.id
	return state, nil
}

func (s containerStore) update(o *operation) error {
	c, err := o.container(o.id)
	if err != nil {
		return err
	}
	access := o.prior["container_access_type"] != o.planned["container_access_type"]
	metadata := !o.kind.Attributes["metadata"].same(o.prior["metadata"], o.planned["metadata"])
	if c.arm {
		props := map[string]any{}
		if access {
			props["publicAccess"] = publicAccess(o.planned["container_access_type"])
		}
		if metadata {
			props["metadata"] = o.planned["metadata"]
		}
		return o.patch(o.ctx, o.id, o.version(), map[string]any{"properties": props})
	}
	a, err := s.open(o, c)
	if err != nil {
		return err
	}
	if access {
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", "/"+c.name, "comp=acl&restype=container", accessHeader(o.planned["container_access_type"])); err != nil {
			return err
		}
	}
	if metadata {
		header := map[string]string{}
		metadataHeaders(header, o.planned["metadata"])
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", "/"+c.name, "comp=metadata&restype=container", header); err != nil {
			return err
		}
	}
	return nil
}

func (s containerStore) remove(o *operation) error {
	c, err := o.container(o.id)
	if err != nil {
		return err
	}
	if c.arm {
		return o.client.remove(o.ctx, o.id, o.version())
	}
	a, err := s.open(o, c)
	if err != nil {
		return err
	}
	_, err = o.data(o.ctx, a, http.MethodDelete, "blob", "/"+c.name, "restype=container", nil)
	return err
}

func containerState(access, scope string, deny bool) map[string]any {
	kind := "private"
	if access != "" && !strings.EqualFold(access, "None") {
		kind = strings.ToLower(access)
	}
	return map[string]any{
		"container_access_type": kind, "default_encryption_scope": scope,
		"encryption_scope_override_enabled": !deny,
	}
}

func publicAccess(kind any) string {
	switch asString(kind) {
	case "blob":
		return "Blob"
	case "container":
		return "Container"
	}
	return "None"
}

func accessHeader(kind any) map[string]string {
	h := map[string]string{}
	if k := asString(kind); k == "blob" || k == "container" {
		h["x-ms-blob-public-access"] = k
	}
	return h
}

// gone reports whether an error says that the account of a thing is no more, and
// so the thing.
func gone(err error) bool {
	return isNotFound(err) || strings.Contains(strings.ToLower(err.Error()), "unable to locate storage account")
}
