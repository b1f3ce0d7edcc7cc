package table

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Tokens say where the next page begins. They are opaque to clients.

func encodeToken(s string) string { return "1!" + base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decodeToken(q url.Values, name string) (string, error) {
	v := q.Get(name)
	if v == "" {
		return "", nil
	}
	if len(v) < 2 || v[:2] != "1!" {
		return "", storage.BadQuery(name, v, "")
	}
	b, err := base64.RawURLEncoding.DecodeString(v[2:])
	if err != nil {
		return "", storage.BadQuery(name, v, "")
	}
	return string(b), nil
}

// top reads $top.
func top(q url.Values) (int, error) {
	v := q.Get("$top")
	if v == "" {
		return maxPage, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxPage {
		return 0, storage.BadQuery("$top", v, "It is a number from 1 to 1000.")
	}
	return n, nil
}

func (c *call) writer() (*writer, error) {
	m, err := wanted(c.HTTP.Header, c.Query)
	return &writer{meta: m, account: c.Account.Name, table: c.at.table}, err
}

// tableFields writes what a table is, into an object that is open.
func (w *writer) tableFields(name string) {
	if w.meta == full {
		w.text("odata.type", w.account+".Tables")
		w.text("odata.id", w.endpoint()+"Tables('"+name+"')")
		w.text("odata.editLink", "Tables('"+name+"')")
	}
	w.text("TableName", name)
}

func (c *call) queryTables() error {
	limit, err := top(c.Query)
	if err != nil {
		return err
	}
	after, err := decodeToken(c.Query, "NextTableName")
	if err != nil {
		return err
	}
	var filter expr
	if f := c.Query.Get("$filter"); f != "" {
		if filter, err = parseFilter(f); err != nil {
			return err
		}
	}
	w, err := c.writer()
	if err != nil {
		return err
	}
	var names []string
	next := ""
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		names, next = nil, ""
		for at := after; ; {
			// a filter is of names, which are few
			list, more, err := listIn(tx, c.Account.UID, at, maxPage)
			if err != nil {
				return err
			}
			for _, t := range list {
				if filter != nil && !filter.holds(&entity{Properties: []property{{Name: "TableName", value: value{Text: t.Name}}}}) {
					continue
				}
				if len(names) == limit {
					next = names[limit-1]
					return nil
				}
				names = append(names, t.Name)
			}
			if more == "" {
				return nil
			}
			at = more
		}
	}); err != nil {
		return err
	}
	w.WriteByte('{')
	if w.meta != none {
		w.text("odata.metadata", w.endpoint()+"$metadata#Tables")
	}
	w.member("value", "[")
	for i, n := range names {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('{')
		w.tableFields(n)
		w.WriteByte('}')
	}
	w.WriteString("]}")
	if next != "" {
		c.Set("x-ms-continuation-NextTableName", encodeToken(next))
	}
	return c.send(http.StatusOK, w)
}

func (c *call) answerTable(status int, name string) error {
	w, err := c.writer()
	if err != nil {
		return err
	}
	w.WriteByte('{')
	if w.meta != none {
		w.text("odata.metadata", w.endpoint()+"$metadata#Tables/@Element")
	}
	w.tableFields(name)
	w.WriteByte('}')
	return c.send(status, w)
}

func (c *call) getTable() error {
	t, err := c.s.eng.table(c.Context(), c.Account.UID, c.at.table)
	if err != nil {
		return err
	}
	return c.answerTable(http.StatusOK, t.Name)
}

func (c *call) createTable() error {
	var in struct{ TableName string }
	raw, err := io.ReadAll(io.LimitReader(c.HTTP.Body, 64<<10))
	if err != nil {
		return &storage.BodyError{Err: err}
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return storage.Refuse("InvalidInput")
	}
	if err := checkTableName(in.TableName); err != nil {
		return err
	}
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error { return createIn(tx, c.Account.UID, in.TableName) }); err != nil {
		return err
	}
	self := c.Endpoint() + "Tables('" + in.TableName + "')"
	c.Set("Location", self)
	content, applied := preference(c.HTTP.Header)
	c.Set("Preference-Applied", applied)
	if !content {
		c.Set("DataServiceId", self)
		return c.noContent()
	}
	return c.answerTable(http.StatusCreated, in.TableName)
}

func (c *call) noContent() error {
	c.Set("DataServiceVersion", "3.0;")
	return c.Empty(http.StatusNoContent)
}

func (c *call) deleteTable() error {
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error { return removeIn(tx, c.Account.UID, c.at.table) }); err != nil {
		return err
	}
	c.s.eng.reaper.Kick()
	return c.noContent()
}

func (c *call) getACL() error {
	t, err := c.s.eng.table(c.Context(), c.Account.UID, c.at.table)
	if err != nil {
		return err
	}
	x := c.XML()
	x.Policies(t.Policies)
	return c.End(x)
}

func (c *call) setACL() error {
	policies, err := storage.ReadPolicies(c.HTTP, "raud")
	if err != nil {
		return err
	}
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		t, err := findTable(tx, c.Account.UID, c.at.table)
		if err != nil {
			return err
		}
		t.Policies = policies
		return saveTable(tx, c.Account.UID, t)
	}); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
