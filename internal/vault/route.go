package vault

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kind is a kind of object, as it stands in paths.
type kind string

const (
	secrets      kind = "secrets"
	keys         kind = "keys"
	certificates kind = "certificates"
)

func (k kind) singular() string { return strings.TrimSuffix(string(k), "s") }

func (k kind) title() string {
	s := k.singular()
	return strings.ToUpper(s[:1]) + s[1:]
}

// operation is one operation of the REST API.
type operation struct {
	method string
	// path has {name} and {version} for what varies; of two that match, the first
	// in the table counts.
	path string
	kind kind
	// permission is that of access policies, actions are those of role
	// definitions, one of which must be allowed.
	permission string
	// also is another permission that is enough; may be empty.
	also    string
	actions []string
	serve   func(*call) (any, error)
}

// call is one request to an operation.
type call struct {
	*Service
	ctx  context.Context
	r    *http.Request
	v    *Vault
	who  Principal
	now  time.Time
	slot slot
	// version and issuerName are those of the path, or "".
	version, issuerName string
}

// operations are all there are; anything else answers 501. Permissions and
// actions: https://learn.microsoft.com/azure/role-based-access-control/permissions/security#microsoftkeyvault
func operations() []operation {
	op := func(k kind, method, path, permission, action string, serve func(*call) (any, error)) operation {
		return operation{method, path, k, permission, "", []string{"Microsoft.KeyVault/vaults/" + string(k) + "/" + action}, serve}
	}
	// common is what objects of a kind have, whose metadata take an action to read.
	common := func(k kind, read string) []operation {
		one, deleted := string(k), "deleted"+string(k)
		return []operation{
			op(k, "GET", one, "list", read, (*call).list),
			op(k, "POST", one+"/restore", "restore", "restore/action", (*call).restore),
			op(k, "GET", one+"/{name}/versions", "list", read, (*call).listVersions),
			op(k, "POST", one+"/{name}/backup", "backup", "backup/action", (*call).backup),
			op(k, "DELETE", one+"/{name}", "delete", "delete", (*call).deleteObject),
			op(k, "GET", deleted, "list", read, (*call).listDeleted),
			op(k, "GET", deleted+"/{name}", "get", read, (*call).getDeleted),
			op(k, "DELETE", deleted+"/{name}", "purge", "purge/action", (*call).purge),
			op(k, "POST", deleted+"/{name}/recover", "recover", "recover/action", (*call).recoverObject),
		}
	}
	// use is a usage of a key, of the current version or another.
	use := func(name, action string, u func() usage) []operation {
		serve := func(c *call) (any, error) { return c.use(u()) }
		return []operation{
			op(keys, "POST", "keys/{name}/"+name, name, action+"/action", serve),
			op(keys, "POST", "keys/{name}/{version}/"+name, name, action+"/action", serve),
		}
	}
	const policies = "Microsoft.KeyVault/vaults/keyrotationpolicies/"
	const contacts = "Microsoft.KeyVault/vaults/certificatecontacts/"
	issuers := func(method, path, permission, action string, serve func(*call) (any, error)) operation {
		return operation{method, path, certificates, permission, "manageissuers", []string{"Microsoft.KeyVault/vaults/certificatecas/" + action}, serve}
	}
	return slices.Concat([]operation{
		// Azure documents only the write action; a role that reads everything in the
		// vault may read contacts as well.
		{"GET", "certificates/contacts", certificates, "managecontacts", "", []string{contacts + "write", contacts + "read"}, (*call).getContacts},
		{"PUT", "certificates/contacts", certificates, "managecontacts", "", []string{contacts + "write"}, (*call).setContacts},
		{"DELETE", "certificates/contacts", certificates, "managecontacts", "", []string{contacts + "write"}, (*call).deleteContacts},
		issuers("GET", "certificates/issuers", "listissuers", "read", (*call).listIssuers),
		issuers("GET", "certificates/issuers/{issuer}", "getissuers", "read", (*call).getIssuer),
		issuers("PUT", "certificates/issuers/{issuer}", "setissuers", "write", (*call).setIssuer),
		issuers("PATCH", "certificates/issuers/{issuer}", "setissuers", "write", (*call).updateIssuer),
		issuers("DELETE", "certificates/issuers/{issuer}", "deleteissuers", "delete", (*call).deleteIssuer),

		op(certificates, "POST", "certificates/{name}/create", "create", "create/action", (*call).createCertificate),
		op(certificates, "POST", "certificates/{name}/import", "import", "import/action", (*call).importCertificate),
		op(certificates, "GET", "certificates/{name}/pending", "get", "read", (*call).getOperation),
		op(certificates, "PATCH", "certificates/{name}/pending", "update", "update/action", (*call).cancelOperation),
		op(certificates, "DELETE", "certificates/{name}/pending", "delete", "delete", (*call).deleteOperation),
		op(certificates, "POST", "certificates/{name}/pending/merge", "create", "create/action", (*call).merge),
		op(certificates, "GET", "certificates/{name}/policy", "get", "read", (*call).getCertPolicy),
		op(certificates, "PATCH", "certificates/{name}/policy", "update", "update/action", (*call).updateCertPolicy),
		op(certificates, "DELETE", "certificates/{name}", "delete", "delete", (*call).deleteCertificate),
		op(certificates, "GET", "deletedcertificates/{name}", "get", "read", (*call).getDeletedCertificate),
		op(certificates, "POST", "deletedcertificates/{name}/recover", "recover", "recover/action", (*call).recoverCertificate),
	}, common(certificates, "read"), []operation{
		op(certificates, "GET", "certificates/{name}", "get", "read", (*call).getCertificate),
		op(certificates, "GET", "certificates/{name}/{version}", "get", "read", (*call).getCertificate),
		op(certificates, "PATCH", "certificates/{name}", "update", "update/action", (*call).updateCertificate),
		op(certificates, "PATCH", "certificates/{name}/{version}", "update", "update/action", (*call).updateCertificate),
	}, common(secrets, "readMetadata/action"), common(keys, "read"), []operation{
		op(secrets, "PUT", "secrets/{name}", "set", "setSecret/action", (*call).setSecret),
		op(secrets, "GET", "secrets/{name}", "get", "getSecret/action", (*call).getSecret),
		op(secrets, "GET", "secrets/{name}/{version}", "get", "getSecret/action", (*call).getSecret),
		op(secrets, "PATCH", "secrets/{name}", "set", "update/action", (*call).updateSecret),
		op(secrets, "PATCH", "secrets/{name}/{version}", "set", "update/action", (*call).updateSecret),

		op(keys, "POST", "keys/{name}/create", "create", "create/action", (*call).createKey),
		op(keys, "PUT", "keys/{name}", "import", "import/action", (*call).importKey),
		op(keys, "POST", "keys/{name}/rotate", "rotate", "rotate/action", (*call).rotateKey),
		{"GET", "keys/{name}/rotationpolicy", keys, "getrotationpolicy", "", []string{policies + "read"}, (*call).getRotationPolicy},
		{"PUT", "keys/{name}/rotationpolicy", keys, "setrotationpolicy", "", []string{policies + "write"}, (*call).setRotationPolicy},
		op(keys, "GET", "keys/{name}", "get", "read", (*call).getKey),
		op(keys, "GET", "keys/{name}/{version}", "get", "read", (*call).getKey),
		op(keys, "PATCH", "keys/{name}", "update", "update/action", (*call).updateKey),
		op(keys, "PATCH", "keys/{name}/{version}", "update", "update/action", (*call).updateKey),
	}, use("encrypt", "encrypt", encrypt), use("decrypt", "decrypt", decrypt), use("wrapkey", "wrap", wrapKey),
		use("unwrapkey", "unwrap", unwrapKey), use("sign", "sign", sign), use("verify", "verify", verify))
}

// params are what stands for {name}, {version} and {issuer} in a path.
type params struct{ name, version, issuer string }

// match reports whether the operation's path is the given one.
func (o *operation) match(segs []string) (at params, ok bool) {
	pattern := strings.Split(o.path, "/")
	if len(pattern) != len(segs) {
		return params{}, false
	}
	for i, p := range pattern {
		switch {
		case p == "{name}":
			at.name = segs[i]
		case p == "{version}":
			at.version = segs[i]
		case p == "{issuer}":
			at.issuer = segs[i]
		case !strings.EqualFold(p, segs[i]):
			return params{}, false
		}
	}
	return at, true
}

// objectName is what Azure takes as a name (1 to 127 characters).
func objectName() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`) }

// route finds the operation of a request. Names are not in the errors' texts
// where nothing is there: they may be told to people who may not know them.
func (s *Service) route(r *http.Request, v *Vault, who Principal) (*operation, *call, error) {
	segs := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	there := false
	for i := range s.operations {
		o := &s.operations[i]
		at, ok := o.match(segs)
		there = there || ok
		if !ok || o.method != r.Method {
			continue
		}
		if id := at.name + at.issuer; id != "" && !s.names.MatchString(id) {
			// Azure's words are not known
			return nil, nil, failure(http.StatusBadRequest, "BadParameter", fmt.Sprintf(
				"The %s name is invalid: it has 1 to 127 letters, digits and hyphens.", o.kind.singular()))
		}
		return o, &call{
			Service: s, ctx: r.Context(), r: r, v: v, who: who, now: s.cfg.Clock.Now(),
			slot: slot{v: v, kind: o.kind, name: at.name, op: o.permission}, version: at.version, issuerName: at.issuer,
		}, nil
	}
	if there {
		return nil, nil, failure(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method "+r.Method+" is not allowed here.")
	}
	return nil, nil, failure(http.StatusNotImplemented, "NotImplementedByAzimuth",
		"Azimuth does not implement "+r.Method+" /"+unnamed(segs)+" of Key Vault.")
}

// unnamed is a path with the names left out: they may be secrets' names.
func unnamed(segs []string) string {
	segs = slices.Clone(segs)
	for i := 1; i < len(segs); i++ {
		switch segs[i] {
		case "versions", "policy", "pending", "rotationpolicy", "backup", "restore", "import", "issuers", "recover", "merge", "create":
		default:
			segs[i] = "{name}"
		}
	}
	return strings.Join(segs, "/")
}

// authorize refuses a caller whose access policy lacks the permission or, where
// role assignments decide, who holds none of the actions on the object.
func (c *call) authorize(o *operation) error {
	caller := fmt.Sprintf("appid=%s;oid=%s;iss=https://sts.windows.net/%s/", c.who.AppID, c.who.ObjectID, c.who.TenantID)
	if !c.v.RBAC {
		for _, p := range c.v.Policies {
			if c.who.is(p.ObjectID) && (p.allows(o.kind, o.permission) || o.also != "" && p.allows(o.kind, o.also)) {
				return nil
			}
		}
		e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(
			"The user, group or application '%s' does not have %s %s permission on key vault '%s;location=%s'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
			caller, o.kind, o.permission, c.v.Name, c.v.Location))
		e.Inner = "ForbiddenByPolicy"
		return e
	}
	scope := c.v.ID
	if c.slot.name != "" {
		scope += "/" + string(o.kind) + "/" + c.slot.name
	}
	for _, action := range o.actions {
		ok, err := c.cfg.Access.Allowed(c.ctx, c.who.ObjectID, action, scope)
		if err != nil {
			return fmt.Errorf("authorize %s: %w", action, err)
		}
		if ok {
			return nil
		}
	}
	e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(
		"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: %s\r\nAction: '%s'\r\nResource: '%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: %s;location=%s\r\n",
		caller, o.actions[0], scope, c.v.Name, c.v.Location))
	e.Inner = "ForbiddenByRbac"
	return e
}
