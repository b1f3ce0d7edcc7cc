package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"slices"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const contactsBucket = "vault.contacts" // <vault uid> → contactList

type contact struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
	Phone string `json:"phone,omitempty"`
}

type contactList struct {
	ID       string    `json:"id"`
	Contacts []contact `json:"contacts"`
}

// contacts serves the people that are told when certificates expire.
func (s *Service) contacts(r *http.Request, v *Vault, who Principal) (any, error) {
	// Azure documents only the write action; a role that reads everything in
	// the vault may read contacts as well.
	actions := []string{"Microsoft.KeyVault/vaults/certificatecontacts/write"}
	if r.Method == http.MethodGet {
		actions = append(actions, "Microsoft.KeyVault/vaults/certificatecontacts/read")
	}
	if err := s.authorize(r, v, who, "managecontacts", actions...); err != nil {
		return nil, err
	}
	notFound := failure(http.StatusNotFound, "ContactsNotFound", "Contacts not found")
	var list contactList
	load := func(tx store.Tx) error {
		b, err := tx.Get(contactsBucket, v.UID)
		if errors.Is(err, store.ErrNotFound) {
			return notFound
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &list)
	}
	switch r.Method {
	case http.MethodGet:
		return &list, s.cfg.Store.View(r.Context(), load)
	case http.MethodPut:
		if err := decode(r, &list); err != nil {
			return nil, err
		}
		if len(list.Contacts) == 0 {
			return nil, failure(http.StatusBadRequest, "BadParameter", "Property contacts has an invalid value: it is empty.")
		}
		for _, c := range list.Contacts {
			if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email {
				return nil, failure(http.StatusBadRequest, "BadParameter", fmt.Sprintf("Property email has an invalid value: '%s'.", c.Email))
			}
		}
		list.ID = "https://" + v.Name + suffix + "/certificates/contacts"
		b, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		return &list, s.cfg.Store.Update(r.Context(), func(tx store.Tx) error { return tx.Put(contactsBucket, v.UID, b) })
	case http.MethodDelete:
		return &list, s.cfg.Store.Update(r.Context(), func(tx store.Tx) error {
			if err := load(tx); err != nil {
				return err
			}
			return tx.Delete(contactsBucket, v.UID)
		})
	}
	return nil, failure(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method "+r.Method+" is not allowed here.")
}

// authorize refuses a caller who holds none of the actions, or whose access
// policy lacks the permission on certificates.
func (s *Service) authorize(r *http.Request, v *Vault, who Principal, permission string, actions ...string) error {
	caller := fmt.Sprintf("appid=%s;oid=%s;iss=https://sts.windows.net/%s/", who.AppID, who.ObjectID, who.TenantID)
	if !v.RBAC {
		for _, p := range v.Policies {
			if p.ObjectID == who.ObjectID && (slices.Contains(p.Certificates, permission) || slices.Contains(p.Certificates, "all")) {
				return nil
			}
		}
		e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(
			"The user, group or application '%s' does not have certificates %s permission on key vault '%s;location=%s'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
			caller, permission, v.Name, v.Location))
		e.Inner = "AccessDenied"
		return e
	}
	for _, action := range actions {
		ok, err := s.cfg.Access.Allowed(r.Context(), who.ObjectID, action, v.ID)
		if err != nil {
			return fmt.Errorf("authorize %s: %w", action, err)
		}
		if ok {
			return nil
		}
	}
	e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf(
		"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: %s\r\nAction: '%s'\r\nResource: '%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: %s;location=%s\r\n",
		caller, actions[0], v.ID, v.Name, v.Location))
	e.Inner = "ForbiddenByRbac"
	return e
}
