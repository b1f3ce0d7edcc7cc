package entra

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// graphApplication is an application as Microsoft Graph shows it.
func graphApplication(a *application) map[string]any {
	secrets := []any{}
	for _, s := range a.Secrets {
		secrets = append(secrets, map[string]any{
			"keyId": s.ID, "hint": s.Hint, "displayName": orNull(s.Name), "secretText": nil, "customKeyIdentifier": nil,
			"startDateTime": graphTime(s.Start), "endDateTime": graphTime(s.Expires),
		})
	}
	uris := a.IdentifierURIs
	if uris == nil {
		uris = []string{}
	}
	return map[string]any{
		"@odata.type": "#microsoft.graph.application", "id": a.ObjectID, "appId": a.AppID, "displayName": a.DisplayName,
		"createdDateTime": graphTime(a.Created), "deletedDateTime": nil, "identifierUris": uris,
		"signInAudience": "AzureADMyOrg", "passwordCredentials": secrets, "keyCredentials": []any{},
		"tags": []any{}, "appRoles": []any{}, "requiredResourceAccess": []any{},
	}
}

func (c *graphCall) listApplications() (int, any, error) {
	return listObjects(c, setApplications, &c.d.tables.applications, "", map[string]string{"id": byObjectID, "appId": byAppID}, graphApplication,
		func(a *application) string { return nameEntry("", a.DisplayName) })
}

// application is the one that the path names by its object ID.
func (c *graphCall) application() (*application, error) {
	id := c.r.PathValue("id")
	a, err := first(&c.d.tables.applications, c.tx, byObjectID, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noObject(id)
	}
	return a, err
}

func (c *graphCall) getApplication() (int, any, error) {
	a, err := c.application()
	if err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusOK, setApplications, graphApplication(a))
}

// applicationBody reads what may be said of an application.
func (c *graphCall) applicationBody() (map[string]string, error) {
	for _, empty := range []string{"keyCredentials", "passwordCredentials", "requiredResourceAccess", "appRoles", "tags", "optionalClaims",
		"isFallbackPublicClient", "web", "publicClient", "spa", "api"} {
		// clients send these without contents
		switch v := c.body[empty].(type) {
		case nil:
			delete(c.body, empty)
		case []any:
			if len(v) == 0 {
				delete(c.body, empty)
			}
		case map[string]any:
			if isEmpty(v) {
				delete(c.body, empty)
			}
		}
	}
	in, err := c.properties("displayName", "identifierUris", "signInAudience")
	if err == nil && in["signInAudience"] != "" && in["signInAudience"] != "AzureADMyOrg" {
		err = notInGraph("an application for other tenants")
	}
	return in, err
}

// isEmpty reports whether an object says nothing, at any depth.
func isEmpty(v map[string]any) bool {
	for _, e := range v {
		switch e := e.(type) {
		case nil:
		case map[string]any:
			if !isEmpty(e) {
				return false
			}
		case []any:
			if len(e) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func (c *graphCall) createApplication() (int, any, error) {
	in, err := c.applicationBody()
	if err == nil {
		err = required(in, "displayName")
	}
	if err != nil {
		return 0, nil, err
	}
	a := &application{AppID: newID(), ObjectID: newID(), DisplayName: in["displayName"], Created: c.d.cfg.Clock.Now(),
		IdentifierURIs: stringsIn(c.body["identifierUris"])}
	if err := c.d.tables.applications.Put(c.tx, a); err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusCreated, setApplications, graphApplication(a))
}

func (c *graphCall) changeApplication() (int, any, error) {
	a, err := c.application()
	if err != nil {
		return 0, nil, err
	}
	in, err := c.applicationBody()
	if err != nil {
		return 0, nil, err
	}
	if name := in["displayName"]; name != "" {
		a.DisplayName = name
	}
	if c.body["identifierUris"] != nil {
		a.IdentifierURIs = stringsIn(c.body["identifierUris"])
	}
	return http.StatusNoContent, nil, c.d.tables.applications.Put(c.tx, a)
}

// deleteApplication also removes its service principal, as Entra does.
func (c *graphCall) deleteApplication() (int, any, error) {
	a, err := c.application()
	if err != nil {
		return 0, nil, err
	}
	p, err := first(&c.d.tables.principals, c.tx, byAppID, a.AppID)
	switch {
	case err == nil:
		err = c.d.remove(c.tx, p)
	case errors.Is(err, store.ErrNotFound):
		err = c.d.removeApplication(c.tx, a.AppID)
	}
	return http.StatusNoContent, nil, err
}

// addPassword gives an application a secret, which is shown this once.
func (c *graphCall) addPassword() (int, any, error) {
	a, err := c.application()
	if err != nil {
		return 0, nil, err
	}
	in, _ := c.body["passwordCredential"].(map[string]any)
	now := c.d.cfg.Clock.Now()
	end := now.Add(secretLifetime)
	if s, _ := in["endDateTime"].(string); s != "" {
		if end, err = time.Parse(time.RFC3339, s); err != nil || !end.After(now) {
			return 0, nil, badGraph("The value '%s' of endDateTime is not a time to come.", s)
		}
	}
	secret := newSecret()
	hashed, err := hashSecret(secret, end)
	if err != nil {
		return 0, nil, err
	}
	hashed.Start = now
	hashed.Name, _ = in["displayName"].(string)
	a.Secrets = append(a.Secrets, hashed)
	if err := c.d.tables.applications.Put(c.tx, a); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"@odata.context": graphAudience + "/v1.0/$metadata#microsoft.graph.passwordCredential",
		"keyId":          hashed.ID, "secretText": secret, "hint": hashed.Hint, "displayName": orNull(hashed.Name), "customKeyIdentifier": nil,
		"startDateTime": graphTime(now), "endDateTime": graphTime(end),
	}, nil
}

func (c *graphCall) removePassword() (int, any, error) {
	a, err := c.application()
	if err != nil {
		return 0, nil, err
	}
	id, _ := c.body["keyId"].(string)
	i := slices.IndexFunc(a.Secrets, func(s clientSecret) bool { return strings.EqualFold(s.ID, id) })
	if i < 0 {
		return 0, nil, badGraph("No password credential found with keyId.")
	}
	a.Secrets = slices.Delete(a.Secrets, i, i+1)
	return http.StatusNoContent, nil, c.d.tables.applications.Put(c.tx, a)
}

// createServicePrincipal makes the principal of an application of this tenant.
func (c *graphCall) createServicePrincipal() (int, any, error) {
	delete(c.body, "accountEnabled")
	in, err := c.properties("appId", "displayName")
	if err == nil {
		err = required(in, "appId")
	}
	if err != nil {
		return 0, nil, err
	}
	a, err := c.d.tables.applications.Get(c.tx, strings.ToLower(in["appId"]))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil, badGraph("The appId '%s' of the service principal does not reference a valid application object.", in["appId"])
	}
	if err != nil {
		return 0, nil, err
	}
	switch _, err := first(&c.d.tables.principals, c.tx, byAppID, a.AppID); {
	case err == nil:
		return 0, nil, &graphError{http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
			"The service principal cannot be created, updated, or restored because the service principal name " + a.AppID + " is already in use."}
	case !errors.Is(err, store.ErrNotFound):
		return 0, nil, err
	}
	p := &principal{ObjectID: newID(), Type: TypeServicePrincipal, Kind: kindApplication, AppID: a.AppID, DisplayName: a.DisplayName, Created: c.d.cfg.Clock.Now()}
	if err := c.d.tables.principals.Put(c.tx, p); err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusCreated, setServicePrincipals, graphObject(p))
}
