package table

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The methods in this file are for the rest of Azimuth. They authorise nobody:
// the caller has decided that already. account is the UID of an account.

// Table is a table as others see it.
type Table struct {
	Name     string
	Policies []storage.AccessPolicy
}

// TableIn returns a table, nil if there is none of the name.
func (s *Service) TableIn(tx store.Tx, account, name string) (*Table, error) {
	t, err := loadTable(tx, account, name)
	if err != nil || t == nil {
		return nil, err
	}
	return &Table{Name: t.Name, Policies: t.Policies}, nil
}

// TablesIn returns up to limit tables behind the name after, in the order of
// their names in lower case.
func (s *Service) TablesIn(tx store.Tx, account, after string, limit int) ([]Table, error) {
	list, _, err := listIn(tx, account, after, limit)
	out := make([]Table, 0, len(list))
	for _, t := range list {
		out = append(out, Table{Name: t.Name, Policies: t.Policies})
	}
	return out, err
}

// PutTableIn makes a table or changes the policies of the one there is.
func (s *Service) PutTableIn(tx store.Tx, account string, in Table) error {
	t, err := loadTable(tx, account, in.Name)
	if err != nil {
		return err
	}
	if t == nil {
		if err := createIn(tx, account, in.Name); err != nil {
			return err
		}
		if t, err = findTable(tx, account, in.Name); err != nil {
			return err
		}
	}
	t.Policies = in.Policies
	return saveTable(tx, account, t)
}

// DeleteTableIn removes a table with its entities. Removing none is not an error.
func (s *Service) DeleteTableIn(tx store.Tx, account, name string) error {
	err := removeIn(tx, account, strings.ToLower(name))
	if storage.HasCode(err, "ResourceNotFound") {
		return nil
	}
	return err
}
