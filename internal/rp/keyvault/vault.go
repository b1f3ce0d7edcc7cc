package keyvault

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func namePattern() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z](-?[a-zA-Z0-9]){2,23}$`)
}

func validName(name string) bool { return len(name) <= 24 && namePattern().MatchString(name) }

func invalidName(name string) *arm.Error {
	return arm.BadRequest("VaultNameNotValid",
		"The vault name '%s' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more information: https://go.microsoft.com/fwlink/?linkid=2147742", name)
}

// alreadyExists is Azure's answer for a name in use; the spelling is Azure's.
func alreadyExists(name string) *arm.Error {
	return arm.Errorf(http.StatusConflict, "VaultAlreadyExists",
		"The vault name '%s' is already in use. Vault names are globaly unique so it is possible that the name is already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state then the vault will need to be purged before reusing the name.", name)
}

func (p *provider) vault() *arm.ResourceType {
	return &arm.ResourceType{
		Type:       VaultType,
		Tracked:    true,
		SystemData: true,
		PutStatus:  [2]int{http.StatusOK, http.StatusOK},
		Latency:    arm.Latency{Create: 30 * time.Second},
		Name:       arm.NameRule{Pattern: namePattern(), Error: invalidName},
		Index:      func(r *arm.Resource) []string { return []string{nameIndex(r.Name())} },
		Validate:   p.validateVault,
		Put:        p.putVault,
		Read:       p.readVault,
		Delete:     p.deleteVault,
		Actions: []arm.Action{
			p.policyAction("add", addPermissions),
			p.policyAction("replace", replacePermissions),
			p.policyAction("remove", removePermissions),
		},
	}
}

// readVault shows who is connected to a vault, if anybody is.
func (p *provider) readVault(ctx context.Context, tx store.Tx, r *arm.Resource) error {
	list, err := p.kernel.RenderChildren(ctx, tx, r.ParsedID(), VaultType+"/privateEndpointConnections")
	if r.Body.Delete("properties.privateEndpointConnections"); len(list) > 0 {
		r.Body.Set("properties.privateEndpointConnections", list)
	}
	return err
}

func badRequest(format string, args ...any) *arm.Error {
	return arm.BadRequest("BadRequest", format, args...)
}

func (p *provider) validateVault(_ context.Context, put *arm.Put) error {
	name, body := put.ID.Name(), put.Resource.Body
	if !validName(name) {
		return invalidName(name)
	}
	for r, err := range p.kernel.Resources().Find(put.Tx, VaultType, nameIndex(name)) {
		if err != nil {
			return err
		}
		if arm.Key(r.ID) != put.ID.Key() {
			return alreadyExists(name)
		}
	}
	mode := body.String("properties.createMode")
	body.Delete("properties.createMode")
	switch {
	case mode == "", strings.EqualFold(mode, "default"):
	case strings.EqualFold(mode, "recover"):
		if put.Creating() {
			return p.recover(put)
		}
	default:
		return badRequest("The value '%s' of createMode is neither 'default' nor 'recover'.", mode)
	}
	if put.Creating() {
		if err := p.freeName(put); err != nil {
			return err
		}
	}
	return p.checkVault(put)
}

// freeName makes room for a new vault where a deleted one has its name.
func (p *provider) freeName(put *arm.Put) error {
	d, err := p.deletedNamed(put.Tx, put.ID.Name(), put.Now)
	if err != nil || d == nil {
		return err
	}
	if p.HoldNames {
		return arm.Errorf(http.StatusConflict, "ConflictError",
			"A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.")
	}
	return p.forget(put.Tx, d)
}

// recover puts a deleted vault back as it was. Whether Azure would also apply
// the request's other settings is not known; here it does not.
func (p *provider) recover(put *arm.Put) error {
	d, err := p.deletedNamed(put.Tx, put.ID.Name(), put.Now)
	if err != nil {
		return err
	}
	if d == nil || arm.Key(d.Vault.ID) != put.ID.Key() {
		// Azure's words are not known
		return arm.Errorf(http.StatusNotFound, "DeletedVaultNotFound", "There is no deleted vault '%s' to recover in resource group '%s'.", put.ID.Name(), put.ID.ResourceGroup)
	}
	if loc := put.Resource.Body.String("location"); arm.NormalizeLocation(loc) != arm.NormalizeLocation(d.Location) {
		return badRequest("The deleted vault '%s' is in location '%s' and cannot be recovered in '%s'.", put.ID.Name(), d.Location, loc)
	}
	r := put.Resource
	r.UID, r.Created, r.CreatedBy, r.Body = d.Vault.UID, d.Vault.Created, d.Vault.CreatedBy, d.Vault.Body.Clone()
	return p.deleted.Delete(put.Tx, d.key())
}

func (p *provider) checkVault(put *arm.Put) error {
	put.Keep("properties.tenantId", "properties.sku", "properties.accessPolicies", "properties.softDeleteRetentionInDays",
		"properties.enablePurgeProtection", "properties.enableRbacAuthorization", "properties.enabledForDeployment",
		"properties.enabledForDiskEncryption", "properties.enabledForTemplateDeployment", "properties.publicNetworkAccess", "properties.networkAcls")
	body := put.Resource.Body
	if _, err := uuid.Parse(body.String("properties.tenantId")); err != nil {
		return badRequest("The property 'tenantId' of the vault is not a GUID.")
	}
	name := body.String("properties.sku.name")
	if !strings.EqualFold(name, "standard") && !strings.EqualFold(name, "premium") {
		return badRequest("The vault SKU '%s' is invalid. It is 'standard' or 'premium'.", name)
	}
	if f := body.String("properties.sku.family"); f != "" && !strings.EqualFold(f, "A") {
		return badRequest("The vault SKU family '%s' is invalid. It is 'A'.", f)
	}
	rbac := body.Bool("properties.enableRbacAuthorization", rbacByDefault(put))
	if !rbac && body.Get("properties.accessPolicies") == nil {
		return badRequest("The parameter accessPolicies is not specified.")
	}
	if n := len(body.List("properties.accessPolicies")); n > 1024 {
		return badRequest("A vault has at most 1024 access policies; this one has %d.", n)
	}
	if err := checkPolicies(body.List("properties.accessPolicies")); err != nil {
		return err
	}
	if !body.Bool("properties.enableSoftDelete", true) {
		return badRequest(`The property "enableSoftDelete" can be set to false only for creating new vault. Enabling the 'soft delete' functionality is an irreversible action.`)
	}
	days := body.Int("properties.softDeleteRetentionInDays", defaultRetentionDays)
	if days < 7 || days > 90 {
		return badRequest(`The property "softDeleteRetentionInDays" is %d; it is from 7 to 90.`, days)
	}
	if v, ok := body.Get("properties.enablePurgeProtection").(bool); ok && !v {
		return badRequest(`The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.`)
	}
	if e := put.Existing; e != nil {
		if e.Body.Int("properties.softDeleteRetentionInDays", defaultRetentionDays) != days {
			return badRequest(`The property "softDeleteRetentionInDays" has been set already and it can't be modified.`)
		}
	}
	return nil
}

const defaultRetentionDays = 90

// rbacByDefault: from version 2026-02-01 on, new vaults use role assignments
// unless told otherwise; before, access policies.
func rbacByDefault(put *arm.Put) bool {
	return put.Creating() && put.APIVersion >= "2026-02-01"
}

func (p *provider) putVault(_ context.Context, put *arm.Put) error {
	body := put.Resource.Body
	sku := body.String("properties.sku.name")
	body.Set("properties.sku", map[string]any{"family": "A", "name": sku})
	body.Default("properties.accessPolicies", []any{})
	body.Default("properties.enableRbacAuthorization", rbacByDefault(put))
	body.Set("properties.enableSoftDelete", true)
	body.Default("properties.softDeleteRetentionInDays", defaultRetentionDays)
	body.Default("properties.enabledForDeployment", false)
	body.Default("properties.publicNetworkAccess", "Enabled")
	body.Set("properties.vaultUri", "https://"+strings.ToLower(put.ID.Name())+".vault.azure.net/")
	return nil
}

// deleteVault keeps the vault for as long as its retention says.
func (p *provider) deleteVault(_ context.Context, d *arm.Delete) error {
	if _, err := p.expire(d.Tx, d.Now); err != nil {
		return err
	}
	r := d.Resource
	old, err := p.deleted.Get(d.Tx, strings.ToLower(r.Name()))
	if err == nil { // an earlier vault of the name, whose retention is over
		err = p.forget(d.Tx, old)
	}
	if ignoreNotFound(err) != nil {
		return err
	}
	days := r.Body.Int("properties.softDeleteRetentionInDays", defaultRetentionDays)
	return p.deleted.Put(d.Tx, &deletedVault{
		Vault: *r, Location: r.Body.String("location"), Deleted: d.Now, Purge: d.Now.AddDate(0, 0, days),
	})
}

func (p *provider) checkName(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	name := req.Body.String("name")
	no := func(reason string, e *arm.Error) (*arm.Response, error) {
		return arm.OK(map[string]any{"nameAvailable": false, "reason": reason, "message": e.Message}), nil
	}
	if !validName(name) {
		return no("AccountNameInvalid", invalidName(name))
	}
	found := false
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		_, err := Vault(tx, p.kernel.Resources(), name)
		if err == nil {
			found = true
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) || !p.HoldNames {
			return ignoreNotFound(err)
		}
		d, err := p.deletedNamed(tx, name, req.Now)
		found = d != nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if found {
		return no("AlreadyExists", alreadyExists(name))
	}
	return arm.OK(map[string]any{"nameAvailable": true}), nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// kinds are the kinds of permissions of an access policy.
func kinds() []string { return []string{"keys", "secrets", "certificates", "storage"} }

func checkPolicies(list []any) error {
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return badRequest("An access policy is not an object.")
		}
		if _, err := uuid.Parse(arm.Doc(m).String("objectId")); err != nil {
			return badRequest("The access policy's objectId '%s' is not a GUID.", arm.Doc(m).String("objectId"))
		}
		for _, kind := range kinds() {
			for _, perm := range arm.Doc(m).List("permissions." + kind) {
				if s, ok := perm.(string); !ok || !slices.ContainsFunc(known(kind), func(k string) bool { return strings.EqualFold(k, s) }) {
					return badRequest("The permission '%v' of an access policy is not one of %s.", perm, kind)
				}
			}
		}
	}
	return nil
}

// known is the permissions of a kind.
func known(kind string) []string {
	common := []string{"all", "backup", "delete", "get", "list", "purge", "recover", "restore"}
	switch kind {
	case "keys":
		return append(common, "create", "decrypt", "encrypt", "getrotationpolicy", "import", "release", "rotate", "setrotationpolicy", "sign", "unwrapKey", "update", "verify", "wrapKey")
	case "secrets":
		return append(common, "set")
	case "certificates":
		return append(common, "create", "deleteissuers", "getissuers", "import", "listissuers", "managecontacts", "manageissuers", "setissuers", "update")
	}
	return append(common, "deletesas", "getsas", "listsas", "regeneratekey", "set", "setsas", "update")
}
