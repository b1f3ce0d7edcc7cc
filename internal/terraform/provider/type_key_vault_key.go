package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyVaultKey works on the vault's data plane. The resource's ID is that of the
// current version.
func keyVaultKey() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault_key",
		apiVersion: keyVault().apiVersion, // of the vault
		fields: []field{ours("name", "key_vault_id", "key_type", "key_size", "curve", "key_opts", "tags", "not_before_date",
			"expiration_date", "rotation_policy")},
		store:    keyStore{},
		makeID:   makeVaultItemID("keys"),
		importID: importVaultItem("keys"),
		plan: func(c *change) {
			// An expiry cannot be taken away from a key.
			if c.differs("expiration_date") && asString(c.prior["expiration_date"]) != "" && c.planned["expiration_date"] == nil {
				c.forceNew("expiration_date")
			}
		},
	}
}

type keyStore struct{}

func (keyStore) create(o *operation) error {
	at, err := parseVaultItem("keys", o.id)
	if err != nil {
		return err
	}
	if doc, err := o.vault(o.ctx, http.MethodGet, at.base, "keys/"+at.name, nil); err == nil {
		o.id = asString(getPath(doc, "key.kid"))
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for presence of existing Key %q (Key Vault %q): %w", at.name, at.base, err)
	}
	p := o.planned
	attributes, err := o.vaultDates()
	if err != nil {
		return err
	}
	attributes["enabled"] = true
	body := map[string]any{"kty": p["key_type"], "key_ops": asList(p["key_opts"]), "attributes": attributes, "tags": o.vaultTags()}
	if strings.HasPrefix(asString(p["key_type"]), "EC") {
		if curve := asString(p["curve"]); curve != "" {
			body["crv"] = curve
		}
	} else if p["key_size"] == nil {
		return errors.New("key_size is required when creating an RSA key")
	} else {
		body["key_size"] = p["key_size"]
	}
	_, err = o.vault(o.ctx, http.MethodPost, at.base, "keys/"+at.name+"/create", body)
	if statusOf(err) == http.StatusConflict && o.feature("key_vault.recover_soft_deleted_keys", true) {
		_, err = o.vault(o.ctx, http.MethodPost, at.base, "deletedkeys/"+at.name+"/recover", nil)
	}
	if err != nil {
		return fmt.Errorf("creating Key: %w", err)
	}
	o.created = true
	if len(asList(p["rotation_policy"])) == 0 {
		return nil
	}
	return o.setRotationPolicy(at)
}

// setRotationPolicy sends the configured policy, or one that does nothing.
func (o *operation) setRotationPolicy(at vaultItem) error {
	actions, attributes := []any{}, map[string]any{}
	add := func(action, trigger string, at any) {
		if asString(at) != "" {
			actions = append(actions, map[string]any{"action": map[string]any{"type": action}, "trigger": map[string]any{trigger: at}})
		}
	}
	policy := first(o.planned["rotation_policy"])
	if after := asString(policy["expire_after"]); after != "" {
		attributes["expiryTime"] = after
	}
	add("Notify", "timeBeforeExpiry", policy["notify_before_expiry"])
	automatic := first(policy["automatic"])
	add("Rotate", "timeAfterCreate", automatic["time_after_creation"])
	add("Rotate", "timeBeforeExpiry", automatic["time_before_expiry"])
	if _, err := o.vault(o.ctx, http.MethodPut, at.base, "keys/"+at.name+"/rotationpolicy", map[string]any{"lifetimeActions": actions, "attributes": attributes}); err != nil {
		return fmt.Errorf("creating Key Rotation Policy: %w", err)
	}
	return nil
}

// read looks at the newest version, and takes its ID.
func (keyStore) read(o *operation) (map[string]any, error) {
	at, err := parseVaultItem("keys", o.id)
	if err != nil {
		return nil, err
	}
	vaultID := asString(o.state()["key_vault_id"])
	if _, err := o.getVault(vaultID); isNotFound(err) {
		return nil, nil
	}
	doc, err := o.vault(o.ctx, http.MethodGet, at.base, "keys/"+at.name, nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o.id = asString(getPath(doc, "key.kid"))
	out, err := keyState(doc, vaultID)
	if err != nil {
		return nil, err
	}
	readVaultDates(doc, out)
	policy, err := o.vault(o.ctx, http.MethodGet, at.base, "keys/"+at.name+"/rotationpolicy", nil)
	if err != nil {
		return nil, fmt.Errorf("reading the Key Rotation Policy of Key %q: %w", at.name, err)
	}
	out["rotation_policy"] = rotationState(policy)
	return out, nil
}

// rotationState is a policy as a block. Azure answers a notification for keys
// without a policy, which is not shown.
func rotationState(doc map[string]any) []any {
	policy := map[string]any{}
	expires := asString(getPath(doc, "attributes.expiryTime"))
	if expires != "" {
		policy["expire_after"] = expires
	}
	for _, e := range asList(doc["lifetimeActions"]) {
		action := asObject(e)
		after, before := asString(getPath(action, "trigger.timeAfterCreate")), asString(getPath(action, "trigger.timeBeforeExpiry"))
		switch strings.ToLower(asString(getPath(action, "action.type"))) {
		case "notify":
			if expires != "" && before != "" {
				policy["notify_before_expiry"] = before
			}
		case "rotate":
			policy["automatic"] = []any{map[string]any{"time_after_creation": after, "time_before_expiry": before}}
		}
	}
	if len(policy) == 0 {
		return []any{}
	}
	return []any{policy}
}

// keyState is a version as attributes.
func keyState(doc map[string]any, vaultID string) (map[string]any, error) {
	key := asObject(doc["key"])
	id := asString(key["kid"])
	at, err := parseVaultItem("keys", id)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": id, "name": at.name, "key_vault_id": vaultID, "version": at.version,
		"key_type": asString(key["kty"]), "key_opts": asList(key["key_ops"]), "curve": asString(key["crv"]), "tags": asObject(doc["tags"]),
		"n": asString(key["n"]), "e": asString(key["e"]), "x": asString(key["x"]), "y": asString(key["y"]),
		"public_key_pem": "", "public_key_openssh": "",
		"versionless_id":          at.base + "keys/" + at.name,
		"resource_id":             vaultID + "/keys/" + at.name + "/versions/" + at.version,
		"resource_versionless_id": vaultID + "/keys/" + at.name,
	}
	public, err := publicKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the public key of %q: %w", id, err)
	}
	if k, ok := public.(*rsa.PublicKey); ok {
		out["key_size"] = float64(k.Size() * 8)
	}
	if public != nil {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, fmt.Errorf("read the public key of %q: %w", id, err)
		}
		out["public_key_pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if k, err := ssh.NewPublicKey(public); err == nil { // not every key is one for SSH
			out["public_key_openssh"] = string(ssh.MarshalAuthorizedKey(k))
		}
	}
	return out, nil
}

// publicKey reads a JSON Web Key as Key Vault writes it; nil is a kind that has no
// other form.
func publicKey(key map[string]any) (any, error) {
	part := func(name string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(asString(key[name])) }
	if strings.HasPrefix(asString(key["kty"]), "RSA") {
		n, err := part("n")
		if err != nil {
			return nil, err
		}
		e, err := part("e")
		if err != nil {
			return nil, err
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	}
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[asString(key["crv"])]
	if !ok {
		return nil, nil
	}
	x, err := part("x")
	if err != nil {
		return nil, err
	}
	y, err := part("y")
	if err != nil {
		return nil, err
	}
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // not compressed
	if len(x) > size || len(y) > size {
		return nil, errors.New("the point is too long")
	}
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}

func (keyStore) update(o *operation) error {
	at, err := parseVaultItem("keys", o.id)
	if err != nil {
		return err
	}
	attributes, err := o.vaultDates()
	if err != nil {
		return err
	}
	attributes["enabled"] = true
	body := map[string]any{"key_ops": asList(o.planned["key_opts"]), "attributes": attributes, "tags": o.vaultTags()}
	if _, err := o.vault(o.ctx, http.MethodPatch, at.base, "keys/"+at.name, body); err != nil {
		return err
	}
	if o.kind.Attributes["rotation_policy"].same(o.prior["rotation_policy"], o.planned["rotation_policy"]) {
		return nil
	}
	return o.setRotationPolicy(at)
}

func (keyStore) remove(o *operation) error {
	return o.removeVaultItem("keys", "key_vault.purge_soft_deleted_keys_on_destroy")
}

func dataKeyVaultKey() *dataSource {
	return &dataSource{
		name: "azurerm_key_vault_key",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			vaultID, name := asString(config["key_vault_id"]), asString(config["name"])
			base, err := o.vaultAddress(vaultID)
			if err != nil {
				return nil, err
			}
			doc, err := o.vault(o.ctx, http.MethodGet, base, "keys/"+name, nil)
			if isNotFound(err) {
				return nil, fmt.Errorf("key %q was not found in Key Vault at URI %q", name, base)
			}
			if err != nil {
				return nil, err
			}
			return keyState(doc, vaultID)
		},
	}
}
