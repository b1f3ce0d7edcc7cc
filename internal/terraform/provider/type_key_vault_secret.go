package provider

import (
	"fmt"
	"net/http"
)

// keyVaultSecret works on the vault's data plane. The resource's ID is that of the
// version, which changes with the value.
func keyVaultSecret() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault_secret",
		apiVersion: keyVault().apiVersion, // of the vault
		fields: []field{ours("name", "key_vault_id", "value", "value_wo", "value_wo_version", "content_type", "tags",
			"not_before_date", "expiration_date")},
		store:    secretStore{},
		makeID:   makeVaultItemID("secrets"),
		importID: importVaultItem("secrets"),
	}
}

type secretStore struct{}

// bundle is what is sent of a secret beside its value.
func (secretStore) bundle(o *operation) (map[string]any, error) {
	attributes, err := o.vaultDates()
	if err != nil {
		return nil, err
	}
	return map[string]any{"contentType": asString(o.planned["content_type"]), "tags": o.vaultTags(), "attributes": attributes}, nil
}

// set makes a version with the configured value.
func (s secretStore) set(o *operation, at vaultItem) error {
	body, err := s.bundle(o)
	if err != nil {
		return err
	}
	body["value"] = asString(o.planned["value"])
	if v, ok := o.config["value_wo"].(string); ok {
		body["value"] = v
	}
	_, err = o.vault(o.ctx, http.MethodPut, at.base, "secrets/"+at.name, body)
	return err
}

func (s secretStore) create(o *operation) error {
	at, err := parseVaultItem("secrets", o.id)
	if err != nil {
		return err
	}
	if doc, err := o.vault(o.ctx, http.MethodGet, at.base, "secrets/"+at.name, nil); err == nil {
		o.id = asString(doc["id"])
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for presence of existing Secret %q (Key Vault %q): %w", at.name, at.base, err)
	}
	err = s.set(o, at)
	if statusOf(err) == http.StatusConflict && o.feature("key_vault.recover_soft_deleted_secrets", true) {
		if _, err := o.vault(o.ctx, http.MethodPost, at.base, "deletedsecrets/"+at.name+"/recover", nil); err != nil {
			return fmt.Errorf("recovering Secret %q: %w", at.name, err)
		}
		o.created = true
		err = s.set(o, at)
	}
	return err
}

// read looks at the newest version, and takes its ID.
func (secretStore) read(o *operation) (map[string]any, error) {
	at, err := parseVaultItem("secrets", o.id)
	if err != nil {
		return nil, err
	}
	state := o.state()
	vaultID := asString(state["key_vault_id"])
	if _, err := o.getVault(vaultID); isNotFound(err) {
		return nil, nil
	}
	doc, err := o.vault(o.ctx, http.MethodGet, at.base, "secrets/"+at.name, nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o.id = asString(doc["id"])
	out, err := secretState(doc, vaultID)
	if err == nil && state["value_wo_version"] != nil {
		out["value"] = nil
	}
	return out, err
}

// secretState is a version as attributes.
func secretState(doc map[string]any, vaultID string) (map[string]any, error) {
	at, err := parseVaultItem("secrets", asString(doc["id"]))
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": asString(doc["id"]), "name": at.name, "key_vault_id": vaultID, "version": at.version,
		"value": asString(doc["value"]), "content_type": asString(doc["contentType"]), "tags": asObject(doc["tags"]),
		"versionless_id":          at.base + "secrets/" + at.name,
		"resource_id":             vaultID + "/secrets/" + at.name + "/versions/" + at.version,
		"resource_versionless_id": vaultID + "/secrets/" + at.name,
	}
	readVaultDates(doc, out)
	return out, nil
}

func (s secretStore) update(o *operation) error {
	at, err := parseVaultItem("secrets", o.id)
	if err != nil {
		return err
	}
	for _, arg := range []string{"value", "value_wo_version"} {
		if a := o.kind.Attributes[arg]; a != nil && !a.same(o.prior[arg], o.planned[arg]) {
			return s.set(o, at)
		}
	}
	body, err := s.bundle(o)
	if err != nil {
		return err
	}
	_, err = o.vault(o.ctx, http.MethodPatch, at.base, "secrets/"+at.name, body)
	return err
}

func (secretStore) remove(o *operation) error {
	return o.removeVaultItem("secrets", "key_vault.purge_soft_deleted_secrets_on_destroy")
}

func dataKeyVaultSecret() *dataSource {
	return &dataSource{
		name: "azurerm_key_vault_secret",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			vaultID, name := asString(config["key_vault_id"]), asString(config["name"])
			base, err := o.vaultAddress(vaultID)
			if err != nil {
				return nil, err
			}
			path := "secrets/" + name
			if v := asString(config["version"]); v != "" {
				path += "/" + v
			}
			doc, err := o.vault(o.ctx, http.MethodGet, base, path, nil)
			if isNotFound(err) {
				return nil, fmt.Errorf("KeyVault Secret %q (KeyVault URI %q) does not exist", name, base)
			}
			if err != nil {
				return nil, err
			}
			return secretState(doc, vaultID)
		},
	}
}
