package provider

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// keyVaultCertificate works on the vault's data plane. The resource's ID is that of
// the version that Terraform made, also after the vault has renewed it.
func keyVaultCertificate() *resourceType {
	return &resourceType{
		name:       "azurerm_key_vault_certificate",
		apiVersion: keyVault().apiVersion, // of the vault
		fields:     []field{ours("name", "key_vault_id", "certificate", "certificate_policy", "tags")},
		store:      certificateStore{},
		makeID:     makeVaultItemID("certificates"),
		importID:   importVaultItem("certificates"),
	}
}

// certificatePolicyFields maps the certificate_policy block.
func certificatePolicyFields() []field {
	return []field{
		block("issuer_parameters", "issuer", in("name", "name")),
		block("key_properties", "key_props",
			in("curve", "crv").orElse(""),
			in("exportable", "exportable").sentAs(false),
			in("key_size", "key_size"),
			in("key_type", "kty"),
			in("reuse_key", "reuse_key").sentAs(false),
		),
		certificateActionsField(),
		block("secret_properties", "secret_props", in("content_type", "contentType")),
		block("x509_certificate_properties", "x509_props",
			in("extended_key_usage", "ekus").sentAs([]any{}),
			in("key_usage", "key_usage").sentAs([]any{}),
			in("subject", "subject").orElse(""),
			in("validity_in_months", "validity_months"),
			block("subject_alternative_names", "sans", in("dns_names", "dns_names"), in("emails", "emails"), in("upns", "upns")),
		),
	}
}

func certificateActionsField() field {
	return blocks("lifetime_action", "lifetime_actions",
		block("action", "action", in("action_type", "action_type")),
		block("trigger", "trigger",
			in("days_before_expiry", "days_before_expiry").as(notZero()),
			in("lifetime_percentage", "lifetime_percentage").as(notZero()),
		),
	)
}

// notZero sends no zeros: a trigger is the one or the other.
func notZero() conversion {
	return conversion{send: func(v any) any {
		if v == 0.0 {
			return nil
		}
		return v
	}}
}

type certificateStore struct{}

// policy is the configured policy as a document, or nil.
func (certificateStore) policy(o *operation) (map[string]any, error) {
	block := first(o.planned["certificate_policy"])
	if block == nil {
		return nil, nil
	}
	doc := map[string]any{}
	o.codec(false).encode(certificatePolicyFields(), o.kind.Attributes["certificate_policy"].Attributes, block, doc)
	switch size, curve := getPath(doc, "key_props.key_size"), asString(getPath(doc, "key_props.crv")); {
	case strings.HasPrefix(asString(getPath(doc, "key_props.kty")), "EC"):
		if curve == "" {
			return nil, errors.New("`curve` is required when creating an EC key")
		}
	case size == nil || size == 0.0:
		return nil, errors.New("`key_size` is required when creating an RSA key")
	}
	return doc, nil
}

// bring imports the configured certificate as a new version.
func (s certificateStore) bring(o *operation, at vaultItem, more map[string]any) (map[string]any, error) {
	block := first(o.planned["certificate"])
	body := map[string]any{"value": asString(block["contents"]), "pwd": asString(block["password"])}
	for k, v := range more {
		body[k] = v
	}
	return o.vault(o.ctx, http.MethodPost, at.base, "certificates/"+at.name+"/import", body)
}

// generate has the vault make a new version, and waits for it unless someone else has
// to merge it.
func (s certificateStore) generate(o *operation, at vaultItem, policy map[string]any) (map[string]any, error) {
	body := map[string]any{"policy": policy, "tags": o.vaultTags()}
	op, err := o.vault(o.ctx, http.MethodPost, at.base, "certificates/"+at.name+"/create", body)
	if err != nil {
		return nil, err
	}
	o.created = true
	for try := 0; strings.EqualFold(asString(op["status"]), "inProgress"); try++ {
		if op, err = o.vault(o.ctx, http.MethodGet, at.base, "certificates/"+at.name+"/pending", nil); err != nil {
			return nil, fmt.Errorf("reading the operation of Certificate %q: %w", at.name, err)
		}
		if !strings.EqualFold(asString(op["status"]), "inProgress") || strings.EqualFold(asString(getPath(op, "issuer.name")), "Unknown") {
			break
		}
		if err := o.pause(try); err != nil {
			return nil, fmt.Errorf("waiting for Certificate %q in Vault %q to become available: %w", at.name, at.base, err)
		}
	}
	if status := asString(op["status"]); !strings.EqualFold(status, "inProgress") && !strings.EqualFold(status, "completed") {
		return nil, fmt.Errorf("waiting for Certificate %q in Vault %q to become available: its creation is in the state %q: %s", at.name, at.base, status, asString(getPath(op, "error.message")))
	}
	return o.vault(o.ctx, http.MethodGet, at.base, "certificates/"+at.name, nil)
}

func (s certificateStore) create(o *operation) error {
	at, err := parseVaultItem("certificates", o.id)
	if err != nil {
		return err
	}
	if doc, err := o.vault(o.ctx, http.MethodGet, at.base, "certificates/"+at.name, nil); err == nil {
		o.id = asString(doc["id"])
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for presence of existing Certificate %q in %q: %w", at.name, at.base, err)
	}
	policy, err := s.policy(o)
	if err != nil {
		return err
	}
	version := func() (map[string]any, error) {
		if len(asList(o.planned["certificate"])) == 0 {
			return s.generate(o, at, policy)
		}
		more := map[string]any{"tags": o.vaultTags()}
		if policy != nil {
			more["policy"] = policy
		}
		return s.bring(o, at, more)
	}
	doc, err := version()
	if statusOf(err) == http.StatusConflict && o.feature("key_vault.recover_soft_deleted_certificates", true) {
		if _, err := o.vault(o.ctx, http.MethodPost, at.base, "deletedcertificates/"+at.name+"/recover", nil); err != nil {
			return fmt.Errorf("recovering Certificate %q: %w", at.name, err)
		}
		o.created = true
		doc, err = version()
	}
	if err != nil {
		return err
	}
	o.id = asString(doc["id"])
	return nil
}

// read looks at the newest version, and keeps the ID.
func (certificateStore) read(o *operation) (map[string]any, error) {
	at, err := parseVaultItem("certificates", o.id)
	if err != nil {
		return nil, err
	}
	vaultID := asString(o.state()["key_vault_id"])
	if _, err := o.getVault(vaultID); isNotFound(err) {
		return nil, nil
	}
	doc, err := o.vault(o.ctx, http.MethodGet, at.base, "certificates/"+at.name, nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if at.version == "" { // of an import
		if at, err = parseVaultItem("certificates", asString(doc["id"])); err != nil {
			return nil, err
		}
		o.id = asString(doc["id"])
	}
	raw, err := base64.StdEncoding.DecodeString(asString(doc["cer"]))
	if err != nil {
		return nil, fmt.Errorf("read Certificate %q: %w", at.name, err)
	}
	thumbprint, err := base64.RawURLEncoding.DecodeString(asString(doc["x5t"]))
	if err != nil {
		return nil, fmt.Errorf("read the thumbprint of Certificate %q: %w", at.name, err)
	}
	secret := asString(doc["sid"])
	out := map[string]any{
		"id": o.id, "name": at.name, "key_vault_id": vaultID, "version": at.version, "tags": asObject(doc["tags"]),
		"secret_id": secret, "versionless_secret_id": secret[:max(strings.LastIndexByte(secret, '/'), 0)],
		"versionless_id":                  at.base + "certificates/" + at.name,
		"resource_manager_id":             vaultID + "/certificates/" + at.name + "/versions/" + at.version,
		"resource_manager_versionless_id": vaultID + "/certificates/" + at.name,
		"certificate_data":                strings.ToUpper(hex.EncodeToString(raw)),
		"certificate_data_base64":         base64.StdEncoding.EncodeToString(raw),
		"thumbprint":                      strings.ToUpper(hex.EncodeToString(thumbprint)),
		"certificate_attribute":           []any{certificateAttributes(asObject(doc["attributes"]))},
	}
	policy := map[string]any{}
	o.codec(false).decode(certificatePolicyFields(), o.kind.Attributes["certificate_policy"].Attributes, asObject(doc["policy"]), policy)
	out["certificate_policy"] = []any{fillObject(o.kind.Attributes["certificate_policy"].Attributes, policy)}
	return out, nil
}

func certificateAttributes(doc map[string]any) map[string]any {
	out := map[string]any{"enabled": asBool(doc["enabled"]), "recovery_level": asString(doc["recoveryLevel"])}
	for name, key := range map[string]string{"created": "created", "updated": "updated", "expires": "exp", "not_before": "nbf"} {
		out[name] = ""
		if seconds, ok := doc[key].(float64); ok {
			out[name] = time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
		}
	}
	return out
}

// update makes a new version for another certificate or another policy; lifetime
// actions and tags alone change in place.
func (s certificateStore) update(o *operation) error {
	at, err := parseVaultItem("certificates", o.id)
	if err != nil {
		return err
	}
	as := o.kind.Attributes
	if len(asList(o.planned["certificate"])) > 0 && !as["certificate"].same(o.prior["certificate"], o.planned["certificate"]) {
		doc, err := s.bring(o, at, nil)
		if err != nil {
			return err
		}
		o.id = asString(doc["id"])
	}
	was, is := cloneObject(first(o.prior["certificate_policy"])), cloneObject(first(o.planned["certificate_policy"]))
	policyAs := as["certificate_policy"].Attributes
	actions := is != nil && !policyAs["lifetime_action"].same(was["lifetime_action"], is["lifetime_action"])
	other := false
	for name, a := range policyAs {
		other = other || name != "lifetime_action" && is != nil && dropUnknown(is[name]) != nil && !a.same(was[name], is[name])
	}
	if other {
		policy, err := s.policy(o)
		if err != nil {
			return err
		}
		doc, err := s.generate(o, at, policy)
		if err != nil {
			return err
		}
		o.id = asString(doc["id"])
		return nil
	}
	patch := map[string]any{}
	if !as["tags"].same(o.prior["tags"], o.planned["tags"]) {
		patch["tags"] = o.vaultTags()
	}
	if actions {
		policy := map[string]any{}
		o.codec(true).encode([]field{certificateActionsField()}, policyAs, is, policy)
		patch["policy"] = policy
	}
	if len(patch) == 0 {
		return nil
	}
	_, err = o.vault(o.ctx, http.MethodPatch, at.base, "certificates/"+at.name, patch)
	return err
}

func (certificateStore) remove(o *operation) error {
	return o.removeVaultItem("certificates", "key_vault.purge_soft_deleted_certificates_on_destroy")
}
