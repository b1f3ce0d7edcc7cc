package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// stsError is a refusal of the token service, by Entra's number for it.
type stsError struct {
	number  int // AADSTS…; 0 for what Azimuth does not implement
	status  int
	code    string // of OAuth 2.0
	message string
}

func (e *stsError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.number, e.message) }

// The texts below are Entra's own, as its documentation and clients' logs show
// them.

func errTenant(tenant string) *stsError {
	return &stsError{90002, http.StatusBadRequest, "invalid_request", fmt.Sprintf(
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
			"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)}
}

func errParameter(name string) *stsError {
	return &stsError{900144, http.StatusBadRequest, "invalid_request",
		fmt.Sprintf("The request body must contain the following parameter: '%s'.", name)}
}

func errMethod(method string) *stsError {
	return &stsError{900561, http.StatusBadRequest, "invalid_request",
		fmt.Sprintf("The endpoint only accepts POST requests. Received a %s request.", method)}
}

func errRequest() *stsError {
	return &stsError{9002313, http.StatusBadRequest, "invalid_request", "Invalid request. Request is malformed or invalid."}
}

func errGrantType(grantType string) *stsError {
	return &stsError{70003, http.StatusBadRequest, "unsupported_grant_type",
		fmt.Sprintf("The app requested an unsupported grant type '%s'.", grantType)}
}

func errApplication(id, tenant string) *stsError {
	return &stsError{700016, http.StatusBadRequest, "unauthorized_client", fmt.Sprintf(
		"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been "+
			"installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your "+
			"authentication request to the wrong tenant.", id, tenant)}
}

func errNoSecret() *stsError {
	return &stsError{7000216, http.StatusUnauthorized, "invalid_client",
		"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
}

func errSecret(appID string) *stsError {
	return &stsError{7000215, http.StatusUnauthorized, "invalid_client", fmt.Sprintf(
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "+
			"not the client secret ID, for a secret added to app '%s'.", appID)}
}

func errSecretExpired(appID string) *stsError {
	return &stsError{7000222, http.StatusUnauthorized, "invalid_client", fmt.Sprintf(
		"The provided client secret keys for app '%s' are expired.", appID)}
}

func errResource(name, tenant string) *stsError {
	return &stsError{500011, http.StatusBadRequest, "invalid_resource", fmt.Sprintf(
		"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been "+
			"installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your "+
			"authentication request to the wrong tenant.", name, tenant)}
}

func errScope(scope string) *stsError {
	return &stsError{1002012, http.StatusBadRequest, "invalid_scope", fmt.Sprintf(
		"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed "+
			"to the resource identifier (application ID URI).", scope)}
}

func errGrant() *stsError {
	return &stsError{70000, http.StatusBadRequest, "invalid_grant", "Provided grant is invalid or malformed."}
}

func errRefreshExpired(e *refreshError) *stsError {
	return &stsError{700082, http.StatusBadRequest, "invalid_grant", fmt.Sprintf(
		"The refresh token has expired due to inactivity. The token was issued on %s and was inactive for 90.00:00:00.",
		e.issued.UTC().Format("2006-01-02T15:04:05.0000000Z"))}
}

func errRevoked() *stsError {
	return &stsError{50173, http.StatusBadRequest, "invalid_grant",
		"The provided grant has expired due to it being revoked, a fresh auth token is needed."}
}

func errNoUser(upn, tenant string) *stsError {
	return &stsError{50034, http.StatusBadRequest, "invalid_grant", fmt.Sprintf(
		"The user account %s does not exist in the %s directory. To sign into this application, the account must be added to the directory.", upn, tenant)}
}

func errPassword() *stsError {
	return &stsError{50126, http.StatusBadRequest, "invalid_grant", "Error validating credentials due to invalid username or password."}
}

func errDisabled() *stsError {
	return &stsError{50057, http.StatusBadRequest, "invalid_grant", "The user account is disabled."}
}

func errAssertionMalformed() *stsError {
	return &stsError{50027, http.StatusBadRequest, "invalid_request", "JWT token is invalid or malformed."}
}

func errNoFederated() *stsError {
	return &stsError{70025, http.StatusUnauthorized, "invalid_client",
		"The client has no configured federated identity credentials. Please refer to the following documentation for more information: https://aka.ms/aadsts70025"}
}

func errFederated(number int, what, value string) *stsError {
	return &stsError{number, http.StatusUnauthorized, "invalid_client", fmt.Sprintf(
		"No matching federated identity record found for presented assertion %s '%s'. Please check your federated identity credential "+
			"Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation", what, value)}
}

func errAssertionSignature() *stsError {
	return &stsError{700027, http.StatusUnauthorized, "invalid_client", "The certificate with identifier used to sign the client assertion is not registered on application, or client assertion failed signature validation."}
}

func errAssertionTime(now time.Time) *stsError {
	return &stsError{700024, http.StatusUnauthorized, "invalid_client", fmt.Sprintf(
		"Client assertion is not within its valid time range. Current time: %s.", now.UTC().Format(time.RFC3339))}
}

// What Entra says in particular when it cannot reach an issuer is not known
// beyond the number.
func errIssuer(issuer string, err error) *stsError {
	return &stsError{50166, http.StatusBadRequest, "invalid_request", fmt.Sprintf("Request to External OIDC endpoint failed: %s: %v.", issuer, err)}
}

func errInstance() *stsError {
	return &stsError{50049, http.StatusBadRequest, "invalid_instance", "Unknown or invalid instance."}
}

func errNotImplemented(operation string) *stsError {
	return &stsError{0, http.StatusNotImplemented, "NotImplementedByAzimuth", operation + " is not implemented by Azimuth."}
}

// writeSTSError answers in Entra's shape.
func (d *Directory) writeSTSError(w http.ResponseWriter, r *http.Request, e *stsError) {
	now := d.cfg.Clock.Now().Format("2006-01-02 15:04:05Z")
	trace := newID()
	correlation := r.Header.Get("Client-Request-Id")
	if !isUUID(correlation) {
		correlation = newID()
	}
	description := e.message
	body := map[string]any{
		"error":          e.code,
		"timestamp":      now,
		"trace_id":       trace,
		"correlation_id": correlation,
	}
	if e.number != 0 {
		description = fmt.Sprintf("AADSTS%d: %s", e.number, e.message)
		body["error_codes"] = []int{e.number}
		body["error_uri"] = fmt.Sprintf("https://%s/error?code=%d", loginHost, e.number)
	}
	body["error_description"] = fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", description, trace, correlation, now)
	w.Header().Set("X-Ms-Request-Id", trace)
	writeJSON(w, e.status, body)
}

// writeJSON answers with a document that must not be cached.
func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(data)
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !strings.ContainsRune("0123456789abcdefABCDEF", c):
			return false
		}
	}
	return true
}
