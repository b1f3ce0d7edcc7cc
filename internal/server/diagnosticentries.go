package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
)

// storageEntry is a request to a storage account, as in Microsoft's "Azure Blob
// Storage monitoring data reference" and its siblings.
type storageEntry struct {
	l        *loggedRequest
	category string
}

func storageLog(l *loggedRequest) (string, diagnostic.Entry) {
	category := "StorageWrite"
	switch l.http.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		category = "StorageRead"
	case http.MethodDelete:
		category = "StorageDelete"
	}
	return category, &storageEntry{l, category}
}

// auth is the kind of credential of a request.
func (e *storageEntry) auth() string {
	scheme, _, _ := strings.Cut(e.l.http.Header.Get("Authorization"), " ")
	q := e.l.http.URL.Query()
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return "OAuth"
	case scheme != "":
		return "AccountKey"
	case q.Has("sig") && q.Has("skoid"):
		return "DelegationSas"
	case q.Has("sig"):
		return "SAS"
	}
	return "Anonymous"
}

// statusText is the text for a status: of "Storage Analytics logged operations and
// status messages" for what went well, else the code of the error.
func (e *storageEntry) statusText() string {
	if e.l.status < 400 {
		switch e.auth() {
		case "SAS", "DelegationSas":
			return "SASSuccess"
		case "Anonymous":
			return "AnonymousSuccess"
		}
		return "Success"
	}
	if e.l.errorCode != "" {
		return e.l.errorCode
	}
	return http.StatusText(e.l.status)
}

func (e *storageEntry) account() string {
	name, _, _ := strings.Cut(e.l.http.Host, ".")
	return strings.TrimSuffix(strings.ToLower(name), "-secondary")
}

// service is the part of the account that the request was to.
func (e *storageEntry) service() string {
	_, rest, _ := strings.Cut(strings.ToLower(e.l.http.Host), ".")
	service, _, _ := strings.Cut(rest, ".")
	if service == "dfs" {
		return "blob"
	}
	return service
}

func (e *storageEntry) protocol() string {
	if e.l.http.TLS == nil {
		return "HTTP"
	}
	return "HTTPS"
}

// operation is the name of the operation, which logs write without spaces.
func (e *storageEntry) operation() string {
	if e.l.note.Operation == "" {
		return "Unknown"
	}
	return strings.ReplaceAll(e.l.note.Operation, " ", "")
}

// Row implements diagnostic.Entry.
func (e *storageEntry) Row(bool) (string, map[string]any) {
	l, r := e.l, e.l.http
	title := strings.ToUpper(e.service()[:1]) + e.service()[1:]
	c := map[string]any{
		"AccountName": e.account(), "AuthenticationType": e.auth(), "CallerIpAddress": r.RemoteAddr, "Category": e.category,
		"CorrelationId": l.requestID, "DurationMs": l.milliseconds(), "ServerLatencyMs": l.milliseconds(),
		"ObjectKey": "/" + e.account() + r.URL.Path, "OperationCount": int64(0), "OperationName": e.operation(), "OperationVersion": r.Header.Get("x-ms-version"),
		"Protocol": e.protocol(), "ResponseBodySize": l.sent, "SchemaVersion": "1.0", "ServiceType": e.service(),
		"StatusCode": strconv.Itoa(l.status), "StatusText": e.statusText(), "Uri": l.uri(),
	}
	for column, v := range map[string]string{
		"ClientRequestId": r.Header.Get("x-ms-client-request-id"), "Etag": l.etag, "ReferrerHeader": r.Referer(),
		"UserAgentHeader": r.UserAgent(), "RequestMd5": r.Header.Get("Content-MD5"), "RequesterObjectId": l.note.ObjectID,
	} {
		if v != "" {
			c[column] = v
		}
	}
	if l.note.ObjectID != "" {
		c["RequesterTenantId"] = l.tenant
	}
	if r.ContentLength >= 0 {
		c["ContentLengthHeader"], c["RequestBodySize"] = r.ContentLength, r.ContentLength
	}
	if t, err := http.ParseTime(l.modified); err == nil {
		c["LastModifiedTime"] = t
	}
	if r.TLS != nil {
		c["TlsVersion"] = tlsName(r.TLS.Version)
	}
	return "Storage" + title + "Logs", c
}

func tlsName(v uint16) string {
	// 0x0301 is TLS 1.0
	return fmt.Sprintf("TLS 1.%d", int(v)-0x0301)
}

// Document implements diagnostic.Entry.
func (e *storageEntry) Document() map[string]any {
	l, r := e.l, e.l.http
	identity := map[string]any{"type": e.auth()}
	if l.note.ObjectID != "" {
		identity["requester"] = map[string]any{"objectId": l.note.ObjectID, "tenantId": l.tenant}
	}
	return map[string]any{
		"operationName": e.operation(), "operationVersion": r.Header.Get("x-ms-version"), "schemaVersion": "1.0",
		"statusCode": l.status, "statusText": e.statusText(), "durationMs": l.milliseconds(), "callerIpAddress": r.RemoteAddr,
		"correlationId": l.requestID, "identity": identity, "uri": l.uri(), "protocol": e.protocol(),
		"resourceType": "Microsoft.Storage/storageAccounts/" + e.service() + "Services",
		"properties": map[string]any{
			"accountName": e.account(), "userAgentHeader": r.UserAgent(), "clientRequestId": r.Header.Get("x-ms-client-request-id"),
			"serviceType": e.service(), "objectKey": "/" + e.account() + r.URL.Path, "responseBodySize": l.sent, "serverLatencyMs": l.milliseconds(),
		},
	}
}

// vaultEntry is an operation of a vault, of its data plane or of Resource Manager,
// as in Microsoft's "Azure Key Vault logging".
type vaultEntry struct {
	resource, operation, version, uri, agent, address, objectID, appID, correlation string
	code, message                                                                   string
	status                                                                          int
	ms                                                                              int64
}

func vaultLog(l *loggedRequest) (string, diagnostic.Entry) {
	address, _, err := net.SplitHostPort(l.http.RemoteAddr)
	if err != nil {
		address = l.http.RemoteAddr
	}
	e := &vaultEntry{resource: l.resource, operation: l.note.Operation, version: l.http.URL.Query().Get("api-version"), uri: l.uri(), agent: l.http.UserAgent(),
		address: address, objectID: l.note.ObjectID, appID: l.note.AppID, correlation: l.requestID,
		code: l.note.Code, message: l.note.Message, status: l.status, ms: l.took.Milliseconds()}
	if e.operation == "" {
		e.operation = "Authentication" // it came no further
	}
	return "AuditEvent", e
}

func (e *vaultEntry) signature() string {
	if e.code != "" {
		return e.code
	}
	return http.StatusText(e.status)
}

func (e *vaultEntry) identity() map[string]any {
	claims := map[string]any{}
	if e.objectID != "" {
		claims["http://schemas.microsoft.com/identity/claims/objectidentifier"] = e.objectID
	}
	if e.appID != "" {
		claims["appid"] = e.appID
	}
	return map[string]any{"claim": claims}
}

func (e *vaultEntry) id() string {
	id, _, _ := strings.Cut(e.uri, "?")
	return id
}

// Document implements diagnostic.Entry.
func (e *vaultEntry) Document() map[string]any {
	return map[string]any{
		"operationName": e.operation, "operationVersion": e.version, "resultType": "Success", "resultSignature": e.signature(),
		"resultDescription": e.message, "durationMs": strconv.FormatInt(e.ms, 10), "callerIpAddress": e.address, "correlationId": e.correlation, "identity": e.identity(),
		"properties": map[string]any{"clientInfo": e.agent, "requestUri": e.uri, "id": e.id(), "httpStatusCode": e.status},
	}
}

// Row implements diagnostic.Entry. In AzureDiagnostics the properties are columns
// that end with the letter of their type.
func (e *vaultEntry) Row(dedicated bool) (string, map[string]any) {
	c := map[string]any{
		"OperationName": e.operation, "OperationVersion": e.version, "ResultType": "Success", "ResultSignature": e.signature(),
		"DurationMs": e.ms, "CorrelationId": e.correlation,
	}
	if e.message != "" {
		c["ResultDescription"] = e.message
	}
	if dedicated {
		c["CallerIpAddress"], c["ClientInfo"], c["RequestUri"], c["ID"], c["HttpStatusCode"] = e.address, e.agent, e.uri, e.id(), int64(e.status)
		if b, err := json.Marshal(e.identity()); err == nil {
			c["Identity"] = json.RawMessage(b)
		}
		return "AZKVAuditLogs", c
	}
	id, err := arm.ParseID(e.resource)
	if err == nil {
		c["ResourceGroup"], c["SubscriptionId"], c["Resource"] = strings.ToUpper(id.ResourceGroup), id.Subscription, strings.ToUpper(id.Name())
	}
	c["ResourceId"], c["Category"], c["ResourceProvider"], c["ResourceType"] = strings.ToUpper(e.resource), "AuditEvent", "MICROSOFT.KEYVAULT", "VAULTS"
	c["CallerIPAddress"], c["clientInfo_s"], c["requestUri_s"], c["id_s"], c["httpStatusCode_d"] = e.address, e.agent, e.uri, e.id(), float64(e.status)
	if e.objectID != "" {
		c["identity_claim_http_schemas_microsoft_com_identity_claims_objectidentifier_g"] = e.objectID
		c["identity_claim_oid_g"] = e.objectID
	}
	if e.appID != "" {
		c["identity_claim_appid_g"] = e.appID
	}
	return "AzureDiagnostics", c
}

// activityEntry is an event of the activity log. Every workspace has the table of
// these as it is, so that only accounts get them.
type activityEntry telemetry.ActivityEvent

// Row implements diagnostic.Entry.
func (e *activityEntry) Row(bool) (string, map[string]any) { return "", nil }

// Document implements diagnostic.Entry.
func (e *activityEntry) Document() map[string]any {
	result, level := "Success", "Information"
	if e.Status >= 400 {
		result, level = "Failure", "Error"
	}
	return map[string]any{
		"operationName": strings.ToUpper(e.Operation), "resultType": result, "resultSignature": fmt.Sprintf("%s.%s", result, e.Code), "durationMs": 0,
		"callerIpAddress": e.Address, "correlationId": e.CorrelationID, "level": level,
		"identity": map[string]any{
			"authorization": map[string]any{"scope": e.ResourceID, "action": e.Operation},
			"claims":        map[string]any{"http://schemas.microsoft.com/identity/claims/objectidentifier": e.ObjectID, "name": e.Caller},
		},
		"properties": map[string]any{"statusCode": e.Status, "entity": e.ResourceID, "message": e.Operation},
	}
}

// logActivity has an event of the activity log sent on, and one about a vault as
// that vault's as well.
func (s *Server) logActivity(e telemetry.ActivityEvent) {
	s.diagnostics.Emit(diagnostic.Event{Resource: "/subscriptions/" + s.kernel.Subscription(), Category: "Administrative", At: e.At, Entry: (*activityEntry)(&e)})
	id, err := arm.ParseID(e.ResourceID)
	if err != nil || !strings.EqualFold(id.Type(), keyvault.VaultType) {
		return
	}
	name := map[string]string{http.MethodPut: "VaultPut", http.MethodPatch: "VaultPatch", http.MethodDelete: "VaultDelete"}[e.Method]
	if name == "" {
		return
	}
	s.diagnostics.Emit(diagnostic.Event{Resource: e.ResourceID, Category: "AuditEvent", At: e.At, Entry: &vaultEntry{
		resource: e.ResourceID, operation: name, uri: "https://" + arm.Host + e.ResourceID, address: e.Address, objectID: e.ObjectID,
		correlation: e.CorrelationID, code: e.Code, status: e.Status,
	}})
}
