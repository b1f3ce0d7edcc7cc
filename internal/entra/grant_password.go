package entra

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// passwordGrant signs a user in by name and password, as az login -u does.
func (d *Directory) passwordGrant(w http.ResponseWriter, r *http.Request, q tokenRequest) error {
	for _, name := range []string{"client_id", "username", "password"} {
		if q.form.Get(name) == "" && (name != "client_id" || q.clientID == "") {
			return errParameter(name)
		}
	}
	upn, password := q.form.Get("username"), q.form.Get("password")
	var token Token
	var user *principal
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		audience, err := q.audience(false)
		if err != nil {
			return err
		}
		user, err = first(&d.tables.principals, tx, byUPN, upn)
		if errors.Is(err, store.ErrNotFound) {
			return errNoUser(upn, d.cfg.Domain)
		}
		if err != nil {
			return err
		}
		if err := checkPassword(user, password); err != nil {
			return err
		}
		token, err = d.issue(tx, user, audience)
		return err
	})
	if err != nil {
		return d.tokenRefusal(err, &q)
	}
	body := d.tokenResponse(token, q.version)
	body["scope"] = q.form.Get("scope")
	if body["refresh_token"], err = d.IssueRefreshToken(r.Context(), user.ObjectID, q.clientID); err != nil {
		return err
	}
	if body["id_token"], err = d.idToken(user, q.clientID); err != nil {
		return err
	}
	// what MSAL tells accounts apart by
	info, err := json.Marshal(map[string]string{"uid": user.ObjectID, "utid": d.cfg.TenantID})
	if err != nil {
		return fmt.Errorf("client info: %w", err)
	}
	body["client_info"] = base64.RawURLEncoding.EncodeToString(info)
	writeJSON(w, http.StatusOK, body)
	return nil
}

func checkPassword(user *principal, password string) error {
	if user.Password == nil {
		return errPassword()
	}
	hash, err := user.Password.stretch(password)
	if err != nil {
		return err
	}
	switch {
	case subtle.ConstantTimeCompare(hash, user.Password.Hash) != 1:
		return errPassword()
	case user.Disabled:
		return errDisabled()
	}
	return nil
}

// idToken says who signed in, to the client that asked. It is dated by the time of
// day: clients hold it against their own clocks, whatever this cloud's says.
func (d *Directory) idToken(user *principal, clientID string) (string, error) {
	now := d.cfg.Wall()
	return d.keys.sign(&claims{
		Audience: clientID, Issuer: d.issuerV2(), IssuedAt: now.Unix(), NotBefore: now.Add(-backdate).Unix(), Expires: now.Add(appTokenLifetime).Unix(),
		Name: user.DisplayName, ObjectID: user.ObjectID, Subject: user.ObjectID, TenantID: d.cfg.TenantID,
		PreferredName: user.UPN, TokenID: newID(), Version: "2.0",
	})
}

// userRealm says that the tenant's users sign in here, and not with a federated
// provider.
func (d *Directory) userRealm(w http.ResponseWriter, name string) {
	_, domain, _ := strings.Cut(name, "@")
	kind := "Unknown"
	if strings.EqualFold(domain, d.cfg.Domain) {
		kind = "Managed"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"ver": "1.0", "account_type": kind, "domain_name": domain,
		"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline",
	})
}
