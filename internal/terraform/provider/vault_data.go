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

func makeVaultItemID(kind string) func(*operation) (string, error) {
	return func(o *operation) (string, error) {
		base, err := o.vaultAddress(asString(o.planned["key_vault_id"]))
		return base + kind + "/" + asString(o.planned["name"]), err
	}
}

func importVaultItem(kind string) func(*operation, string) (map[string]any, error) {
	return func(o *operation, id string) (map[string]any, error) {
		at, err := parseVaultItem(kind, id)
		if err != nil {
			return nil, err
		}
		vault, err := o.findVault(at.vault)
		if err != nil {
			return nil, err
		}
		return map[string]any{"name": at.name, "key_vault_id": vault}, nil
	}
}

// vaultDates are the configured not_before_date and expiration_date as attributes.
func (o *operation) vaultDates() (map[string]any, error) {
	attributes := map[string]any{}
	for arg, key := range vaultDateKeys() {
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
	return attributes, nil
}

func vaultDateKeys() map[string]string {
	return map[string]string{"not_before_date": "nbf", "expiration_date": "exp"}
}

// readVaultDates is the inverse of vaultDates.
func readVaultDates(doc, state map[string]any) {
	for arg, key := range vaultDateKeys() {
		state[arg] = ""
		if seconds, ok := getPath(doc, "attributes."+key).(float64); ok {
			state[arg] = time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
		}
	}
}

func (o *operation) vaultTags() map[string]any {
	if tags := asObject(o.planned["tags"]); tags != nil {
		return tags
	}
	return map[string]any{}
}

// removeVaultItem deletes an item and, unless the vault or the provider's features
// keep it, purges it.
func (o *operation) removeVaultItem(kind, feature string) error {
	at, err := parseVaultItem(kind, o.id)
	if err != nil {
		return err
	}
	vault, err := o.getVault(asString(o.prior["key_vault_id"]))
	if err != nil {
		return err // a vault that is gone took the item with it
	}
	if _, err := o.vault(o.ctx, http.MethodDelete, at.base, kind+"/"+at.name, nil); err != nil {
		return err
	}
	if asBool(getPath(vault, "properties.enablePurgeProtection")) || !o.feature(feature, true) {
		return nil
	}
	if _, err := o.vault(o.ctx, http.MethodDelete, at.base, "deleted"+kind+"/"+at.name, nil); err != nil && !isNotFound(err) {
		return fmt.Errorf("purging %s %q (Key Vault %q): %w", strings.TrimSuffix(kind, "s"), at.name, at.base, err)
	}
	return nil
}
