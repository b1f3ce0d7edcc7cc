package entra

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Where a node's processes get tokens, on the gateway's local origin.
const (
	// MSIPath is the path of both MSI_ENDPOINT and IDENTITY_ENDPOINT.
	MSIPath = "/msi/token"
	// IMDSHost and IMDSPath are the instance metadata service's.
	IMDSHost = "169.254.169.254"
	IMDSPath = "/metadata/identity/oauth2/token"
)

// MSIHandler serves MSIPath to holders of a grant's secret, in two dialects:
// api-version 2019-08-01 with the secret in X-IDENTITY-HEADER, as App Service
// documents it, and 2017-09-01 with it in Secret, as nodes of Azure Machine
// Learning have it. The two share their request with App Service's older
// dialect but not its answer: Azure ML gives expires_on in seconds since 1970,
// which is what the Azure SDKs read when they see MSI_ENDPOINT and MSI_SECRET,
// and App Service gave it as a date.
func (d *Directory) MSIHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			msiError(w, http.StatusMethodNotAllowed, "Only GET is served here.")
			return
		}
		q := r.URL.Query()
		var secret, clientParam string
		switch version := q.Get("api-version"); version {
		case "2019-08-01":
			secret, clientParam = r.Header.Get("X-Identity-Header"), "client_id"
		case "2017-09-01":
			secret, clientParam = r.Header.Get("Secret"), "clientid"
		case "":
			msiError(w, http.StatusBadRequest, "The parameter api-version is missing.")
			return
		default:
			msiError(w, http.StatusBadRequest, "The api-version "+version+" is not supported: use 2019-08-01 or 2017-09-01.")
			return
		}
		// Both headers are there so that a server that can be talked into
		// fetching a URL does not fetch a token.
		if secret == "" || r.Header.Get("X-Forwarded-For") != "" {
			msiError(w, http.StatusUnauthorized, "The secret of the identity endpoint is missing from the request's headers.")
			return
		}
		if q.Get("resource") == "" {
			msiError(w, http.StatusBadRequest, "The parameter resource is missing.")
			return
		}
		token, err := d.grantToken(r, secret, q, clientParam)
		switch {
		case errors.Is(err, ErrNoPrincipal):
			msiError(w, http.StatusUnauthorized, "The secret of the identity endpoint is not valid, or no longer.")
		case errors.Is(err, errOtherIdentity):
			// App Service's own words.
			msiError(w, http.StatusBadRequest, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
		case errors.Is(err, ErrUnknownAudience):
			msiError(w, http.StatusBadRequest, errResource(q.Get("resource"), d.cfg.Domain).Error())
		case err != nil:
			d.log.Error("the identity endpoint failed", keyError, err)
			msiError(w, http.StatusInternalServerError, "The identity endpoint failed.")
		default:
			writeJSON(w, http.StatusOK, map[string]string{
				"access_token": token.AccessToken,
				"client_id":    token.ClientID,
				"expires_on":   strconv.FormatInt(token.ExpiresOn.Unix(), 10),
				"not_before":   strconv.FormatInt(token.NotBefore.Unix(), 10),
				"resource":     token.Audience,
				"token_type":   "Bearer",
			})
		}
	})
}

var errOtherIdentity = errors.New("entra: the grant is for another identity")

// grantToken issues a token to the holder of a grant's secret. A request may say
// which identity it means, by three names: it must be the grant's.
func (d *Directory) grantToken(r *http.Request, secret string, q url.Values, clientParam string) (t Token, err error) {
	err = d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		p, err := d.grantee(tx, secret)
		if err != nil {
			return err
		}
		for name, have := range map[string]string{
			clientParam: p.AppID, "principal_id": p.ObjectID, "object_id": p.ObjectID, "mi_res_id": p.ResourceID, "msi_res_id": p.ResourceID,
		} {
			if want := q.Get(name); want != "" && !strings.EqualFold(want, have) {
				return errOtherIdentity
			}
		}
		t, err = d.issue(tx, p, q.Get("resource"))
		return err
	})
	return t, err
}

func msiError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"statusCode": status, "message": message})
}

// IMDSHandler serves the identity part of the instance metadata service to
// callers that Config.NodeGrant knows for nodes, and tells others what the
// service tells a machine without an identity.
func (d *Directory) IMDSHandler() http.Handler {
	refuse := func(w http.ResponseWriter, status int, code, description string) {
		writeJSON(w, status, map[string]string{"error": code, "error_description": description})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case !strings.EqualFold(r.Header.Get("Metadata"), "true") || r.Header.Get("X-Forwarded-For") != "":
			refuse(w, http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
			return
		case !strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), IMDSPath):
			refuse(w, http.StatusNotImplemented, "NotImplementedByAzimuth", r.Method+" "+r.URL.Path+" is not implemented by Azimuth.")
			return
		case q.Get("resource") == "":
			refuse(w, http.StatusBadRequest, "invalid_request", "Required audience parameter not specified")
			return
		}
		secret, ok := "", false
		if d.cfg.NodeGrant != nil {
			secret, ok = d.cfg.NodeGrant(r.Context())
		}
		if !ok {
			refuse(w, http.StatusBadRequest, "invalid_request", "Identity not found")
			return
		}
		token, err := d.grantToken(r, secret, q, "client_id")
		switch {
		case errors.Is(err, ErrNoPrincipal), errors.Is(err, errOtherIdentity):
			refuse(w, http.StatusBadRequest, "invalid_request", "Identity not found")
		case errors.Is(err, ErrUnknownAudience):
			refuse(w, http.StatusBadRequest, "invalid_resource", errResource(q.Get("resource"), d.cfg.Domain).Error())
		case err != nil:
			d.log.Error("the metadata service failed", keyError, err)
			refuse(w, http.StatusInternalServerError, "unknown", "Failed to retrieve token from the Active directory.")
		default:
			body := d.tokenResponse(token, 1)
			body["client_id"] = token.ClientID
			writeJSON(w, http.StatusOK, body)
		}
	})
}
