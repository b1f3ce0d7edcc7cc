package vault

import "strings"

// logName is the name of an operation in audit logs, as in Microsoft's "Azure Key
// Vault logging", which lists no names for the rotation of keys: those are made up
// like the others.
func (o *operation) logName() string {
	kind := o.kind.title()
	path := o.path
	switch {
	case path == "certificates/issuers":
		return "CertificateIssuersList"
	case strings.HasPrefix(path, "certificates/issuers/"):
		return "CertificateIssuer" + verb(o.method, "Set")
	case path == "certificates/contacts":
		return "CertificateContacts" + verb(o.method, "Set")
	case strings.HasSuffix(path, "/rotationpolicy"):
		return "KeyRotationPolicy" + verb(o.method, "Set")
	case strings.HasSuffix(path, "/pending"):
		return "CertificatePending" + verb(o.method, "Set")
	case strings.HasSuffix(path, "/policy"):
		return "CertificatePolicy" + verb(o.method, "Set")
	}
	segs := strings.Split(path, "/")
	deleted := strings.HasPrefix(path, "deleted")
	switch last := segs[len(segs)-1]; {
	case deleted && len(segs) == 1:
		return kind + "ListDeleted"
	case deleted && o.method == "GET":
		return kind + "GetDeleted"
	case deleted && o.method == "DELETE":
		return kind + "Purge"
	case len(segs) == 1:
		return kind + "List"
	case last == "versions":
		return kind + "ListVersions"
	case last == "wrapkey":
		return kind + "Wrap"
	case last == "unwrapkey":
		return kind + "Unwrap"
	case last == "merge":
		return kind + "PendingMerge"
	case !strings.HasPrefix(last, "{"): // create, import, backup, restore, recover, rotate, sign …
		return kind + strings.ToUpper(last[:1]) + last[1:]
	case o.kind == keys:
		return kind + verb(o.method, "Import")
	}
	return kind + verb(o.method, "Set")
}

// verb is what a method does, put what PUT does.
func verb(method, put string) string {
	switch method {
	case "GET":
		return "Get"
	case "PATCH":
		return "Update"
	case "DELETE":
		return "Delete"
	}
	return put
}
