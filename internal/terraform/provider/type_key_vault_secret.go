package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// keyVaultSecret works on the vault's data plane. The resource's ID is that of the
// version, which changes with the value.
func keyVaultSecret() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault_secret",
		apiVersion: keyVault().apiVersion, // of the vault
		fields: []field{ours("name", "key_vault_id", "value", "value_wo", "value_wo_version", "content_type", "tags",
			"not_before_date", "expiration_date")},
		store: secretStore{},
		makeID: func(o *operation) (string, error) {
			base, err := o.vaultAddress(asString(o.planned["key_vault_id"]))
			return base + "secrets/" + asString(o.planned["name"]), err
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			at, err := parseVaultItem("secrets", id)
			if err != nil {
				return nil, err
			}
			vault, err := o.findVault(at.vault)
			if err != nil {
				return nil, err
			}
			return map[string]any{"name": at.name, "key_vault_id": vault}, nil
		},
	}
}

const (
	vaultSuffix   = ".vault.azure.net"
	vaultAudience = "https://vault.azure.net"
	vaultVersion  = "7.4" // of the data plane
)

// vaultItem is the address of a secret, key or certificate.
type vaultItem struct {
	// base is the vault's address with a slash at the end, vault its name.
	base, vault   string
	name, version string
}

func parseVaultItem(kind, id string) (vaultItem, error) {
	u, err := url.Parse(id)
	if err == nil && u.Scheme == "https" {
		vault, ok := strings.CutSuffix(u.Host, vaultSuffix)
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		if ok && vault != "" && len(parts) >= 2 && len(parts) <= 3 && parts[0] == kind && parts[1] != "" {
			at := vaultItem{base: "https://" + u.Host + "/", vault: vault, name: parts[1]}
			if len(parts) == 3 {
				at.version = parts[2]
			}
			return at, nil
		}
	}
	return vaultItem{}, fmt.Errorf("parsing %q: expected https://{vault}%s/%s/{name}/{version}", id, vaultSuffix, kind)
}

func (o *operation) getVault(id string) (map[string]any, error) {
	return o.get(o.ctx, id, keyVault().apiVersion[o.major])
}

// vaultAddress is where the data plane of a vault is, with a slash at the end.
func (o *operation) vaultAddress(vaultID string) (string, error) {
	doc, err := o.getVault(vaultID)
	if err != nil {
		return "", fmt.Errorf("looking up the Key Vault %q: %w", vaultID, err)
	}
	address := asString(getPath(doc, "properties.vaultUri"))
	u, err := url.Parse(address)
	// The token for vaults goes to vaults only.
	if err != nil || u.Scheme != "https" || !strings.HasSuffix(u.Host, vaultSuffix) {
		return "", fmt.Errorf("looking up the Key Vault %q: its address is %q", vaultID, address)
	}
	return "https://" + u.Host + "/", nil
}

// findVault returns the ARM ID of a vault.
func (o *operation) findVault(name string) (string, error) {
	all, err := o.getAll(o.ctx, "/subscriptions/"+o.subscription+"/providers/Microsoft.KeyVault/vaults", keyVault().apiVersion[o.major])
	if err != nil {
		return "", fmt.Errorf("listing Key Vaults: %w", err)
	}
	for _, v := range all {
		if doc := asObject(v); strings.EqualFold(asString(doc["name"]), name) {
			return asString(doc["id"]), nil
		}
	}
	return "", fmt.Errorf("unable to determine the Resource ID for the Key Vault %q", name)
}

// vault sends a request to a vault's data plane. path is below base.
func (s *session) vault(ctx context.Context, method, base, path string, body any) (map[string]any, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	status, _, raw, err := s.send(ctx, method, base+path+"?api-version="+vaultVersion, payload, func(r *http.Request) error {
		token, err := s.token(ctx, vaultAudience)
		if err != nil {
			return fmt.Errorf("obtain a token for Key Vault: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if status >= 300 {
		return nil, parseError(status, raw)
	}
	var doc map[string]any
	if status != http.StatusNoContent {
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
		}
	}
	return doc, nil
}

type secretStore struct{}

// bundle is what is sent of a secret beside its value.
func (secretStore) bundle(o *operation) (map[string]any, error) {
	attributes := map[string]any{}
	for arg, key := range map[string]string{"not_before_date": "nbf", "expiration_date": "exp"} {
		text := asString(o.planned[arg])
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
		attributes[key] = t.Unix()
	}
	tags := asObject(o.planned["tags"])
	if tags == nil {
		tags = map[string]any{}
	}
	return map[string]any{"contentType": asString(o.planned["content_type"]), "tags": tags, "attributes": attributes}, nil
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
		"not_before_date": "", "expiration_date": "",
		"versionless_id":          at.base + "secrets/" + at.name,
		"resource_id":             vaultID + "/secrets/" + at.name + "/versions/" + at.version,
		"resource_versionless_id": vaultID + "/secrets/" + at.name,
	}
	for arg, key := range map[string]string{"not_before_date": "nbf", "expiration_date": "exp"} {
		if seconds, ok := getPath(doc, "attributes."+key).(float64); ok {
			out[arg] = time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
		}
	}
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
	at, err := parseVaultItem("secrets", o.id)
	if err != nil {
		return err
	}
	vault, err := o.getVault(asString(o.prior["key_vault_id"]))
	if err != nil {
		return err // a vault that is gone took the secret with it
	}
	if _, err := o.vault(o.ctx, http.MethodDelete, at.base, "secrets/"+at.name, nil); err != nil {
		return err
	}
	if asBool(getPath(vault, "properties.enablePurgeProtection")) || !o.feature("key_vault.purge_soft_deleted_secrets_on_destroy", true) {
		return nil
	}
	if _, err := o.vault(o.ctx, http.MethodDelete, at.base, "deletedsecrets/"+at.name, nil); err != nil && !isNotFound(err) {
		return fmt.Errorf("purging Secret %q (Key Vault %q): %w", at.name, at.base, err)
	}
	return nil
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
