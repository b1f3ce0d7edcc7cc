package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/mail"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const contactsBucket = "vault.contacts" // <vault uid> → contactList

type contact struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
	Phone string `json:"phone,omitempty"`
}

// contactList is the people that are told when certificates expire.
type contactList struct {
	ID       string    `json:"id"`
	Contacts []contact `json:"contacts"`
}

func (c *call) contacts(tx store.Tx) (*contactList, error) {
	list, err := get[contactList](tx, contactsBucket, c.v.UID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, failure(http.StatusNotFound, "ContactsNotFound", "Contacts not found")
	}
	return list, err
}

func (c *call) getContacts() (any, error) {
	var list *contactList
	err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		list, err = c.contacts(tx)
		return err
	})
	return list, err
}

func (c *call) setContacts() (any, error) {
	var list contactList
	if err := decode(c.r, &list); err != nil {
		return nil, err
	}
	if len(list.Contacts) == 0 {
		return nil, failure(http.StatusBadRequest, "BadParameter", "Property contacts has an invalid value: it is empty.")
	}
	for _, p := range list.Contacts {
		if a, err := mail.ParseAddress(p.Email); err != nil || a.Address != p.Email {
			return nil, failure(http.StatusBadRequest, "BadParameter", fmt.Sprintf("Property email has an invalid value: '%s'.", p.Email))
		}
	}
	list.ID = c.url("certificates/contacts")
	return &list, c.cfg.Store.Update(c.ctx, func(tx store.Tx) error { return put(tx, contactsBucket, c.v.UID, list) })
}

func (c *call) deleteContacts() (any, error) {
	var list *contactList
	err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if list, err = c.contacts(tx); err != nil {
			return err
		}
		return tx.Delete(contactsBucket, c.v.UID)
	})
	return list, err
}
