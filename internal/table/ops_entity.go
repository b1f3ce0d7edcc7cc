package table

import (
	"io"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// selection reads $select; nil is all.
func (c *call) selection() []string {
	v := strings.TrimSpace(c.Query.Get("$select"))
	if v == "" || v == "*" {
		return nil
	}
	var out []string
	for name := range strings.SplitSeq(v, ",") {
		if name = strings.TrimSpace(name); name == "*" {
			return nil
		} else if name != "" {
			out = append(out, name)
		}
	}
	return out
}

func (c *call) queryEntities() error {
	q := query{within: c.within}
	var err error
	if q.top, err = top(c.Query); err != nil {
		return err
	}
	if f := c.Query.Get("$filter"); f != "" {
		if q.filter, err = parseFilter(f); err != nil {
			return err
		}
	}
	for _, name := range []string{"$orderby", "$skip", "$expand", "$inlinecount"} {
		if c.Query.Has(name) {
			return storage.BadQuery(name, c.Query.Get(name), "The Table service does not have it.")
		}
	}
	pk, err := decodeToken(c.Query, "NextPartitionKey")
	if err != nil {
		return err
	}
	rk, err := decodeToken(c.Query, "NextRowKey")
	if err != nil {
		return err
	}
	if pk != "" || rk != "" {
		q.after = pk + keySep + rk
	}
	w, err := c.writer()
	if err != nil {
		return err
	}
	t, err := c.s.eng.table(c.Context(), c.Account.UID, c.at.table)
	if err != nil {
		return err
	}
	list, next, err := c.s.eng.query(c.Context(), t, q)
	if err != nil {
		return err
	}
	w.table, w.chosen = t.Name, c.selection()
	w.WriteByte('{')
	if w.meta != none {
		w.text("odata.metadata", w.endpoint()+"$metadata#"+t.Name)
	}
	w.member("value", "[")
	for i, e := range list {
		if i > 0 {
			w.WriteByte(',')
		}
		w.entity(e, false)
	}
	w.WriteString("]}")
	if next != "" {
		pk, rk, _ := strings.Cut(next, keySep)
		c.Set("x-ms-continuation-NextPartitionKey", encodeToken(pk))
		c.Set("x-ms-continuation-NextRowKey", encodeToken(rk))
	}
	return c.send(http.StatusOK, w)
}

func (c *call) getEntity() error {
	w, err := c.writer()
	if err != nil {
		return err
	}
	e, err := c.s.eng.find(c.Context(), c.Account.UID, c.at.table, c.at.pk, c.at.rk)
	if err != nil {
		return err
	}
	w.chosen = c.selection()
	w.entity(e, true)
	c.Set("ETag", e.etag())
	return c.send(http.StatusOK, w)
}

// readWrite makes the change that a request asks for. It is the same for a
// request of its own and one of a batch.
func readWrite(method string, at address, h http.Header, body io.Reader) (*write, error) {
	w := &write{match: h.Get("If-Match")}
	if at.level == onEntity && method == http.MethodDelete {
		if w.match == "" {
			return nil, storage.Refuse("MissingRequiredHeader").With("HeaderName", "If-Match")
		}
		w.mode, w.ent = remove, &entity{pk: at.pk, rk: at.rk}
		return w, checkETag(w.match)
	}
	if at.level == onEntity {
		switch {
		case method == http.MethodPut && w.match == "":
			w.mode = insertOrReplace
		case method == http.MethodPut:
			w.mode = replace
		case w.match == "":
			w.mode = insertOrMerge
		default:
			w.mode = merge
		}
		if err := checkETag(w.match); err != nil {
			return nil, err
		}
	}
	e, err := readDocument(h, body)
	if err != nil {
		return nil, err
	}
	w.ent = e
	if at.level == onEntity {
		e.pk, e.rk = at.pk, at.rk // those of the document do not count
	}
	return w, nil
}

func checkETag(v string) error {
	if v == "" || v == "*" || strings.HasPrefix(v, `W/"`) && strings.HasSuffix(v, `"`) {
		return nil
	}
	return storage.BadHeader("If-Match", v)
}

// needsKeys refuses a new entity whose document lacks a key.
func needsKeys(raw []byte) error {
	fields, err := readObject(raw)
	if err != nil {
		return err
	}
	n := 0
	for _, f := range fields {
		if f.name == "PartitionKey" || f.name == "RowKey" {
			n++
		}
	}
	if n < 2 {
		return storage.Refuse("PropertiesNeedValue")
	}
	return nil
}

func (c *call) insertEntity() error {
	raw, err := io.ReadAll(io.LimitReader(c.HTTP.Body, 6*maxEntity+1))
	if err != nil {
		return &storage.BodyError{Err: err}
	}
	wr, err := readWrite(c.HTTP.Method, c.at, c.HTTP.Header, strings.NewReader(string(raw)))
	if err != nil {
		return err
	}
	if err := needsKeys(raw); err != nil {
		return err
	}
	if c.within != nil && !c.within.has(wr.ent.pk, wr.ent.rk) {
		return storage.Refuse("AuthorizationFailure")
	}
	w, err := c.writer()
	if err != nil {
		return err
	}
	e, err := c.change(*wr)
	if err != nil {
		return err
	}
	self := c.Endpoint() + c.at.table + "(PartitionKey='" + quote(e.pk) + "',RowKey='" + quote(e.rk) + "')"
	c.Set("ETag", e.etag())
	c.Set("Location", self)
	content, applied := preference(c.HTTP.Header)
	c.Set("Preference-Applied", applied)
	if !content {
		c.Set("DataServiceId", self)
		return c.noContent()
	}
	w.entity(e, true)
	return c.send(http.StatusCreated, w)
}

// change does one write.
func (c *call) change(w write) (e *entity, err error) {
	err = c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		t, err := findTable(tx, c.Account.UID, c.at.table)
		if err != nil {
			return err
		}
		e, err = c.s.eng.apply(tx, t, w)
		return err
	})
	return e, err
}

// writeEntity serves all changes of an entity by its keys.
func (c *call) writeEntity() error {
	wr, err := readWrite(c.HTTP.Method, c.at, c.HTTP.Header, c.HTTP.Body)
	if err != nil {
		return err
	}
	e, err := c.change(*wr)
	if err != nil {
		return err
	}
	if wr.mode != remove {
		c.Set("ETag", e.etag())
	}
	return c.noContent()
}
