package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// metadata is how much an answer says about types.
type metadata int

const (
	minimal metadata = iota
	none
	full
)

func (m metadata) String() string {
	return [...]string{"minimalmetadata", "nometadata", "fullmetadata"}[m]
}

// wanted reads how a client wants an answer, which is from $format or Accept.
func wanted(h http.Header, q url.Values) (metadata, error) {
	accept := q.Get("$format")
	if accept == "" {
		accept = h.Get("Accept")
	}
	accept = strings.ToLower(accept)
	switch {
	case strings.Contains(accept, "odata=nometadata"):
		return none, nil
	case strings.Contains(accept, "odata=fullmetadata"):
		return full, nil
	case accept == "", strings.Contains(accept, "json"), strings.Contains(accept, "*/*"):
		return minimal, nil
	case strings.Contains(accept, "atom"):
		return 0, storage.NotImplemented("Atom documents of the Table service")
	}
	return 0, &storage.Error{Status: http.StatusUnsupportedMediaType, Code: "MediaTypeNotSupported", Message: "None of the provided media types are supported."}
}

// readDocument reads an entity from the body of a request. The keys may be left
// out, where the URL has them.
func readDocument(header http.Header, body io.Reader) (*entity, error) {
	if t := strings.ToLower(header.Get("Content-Type")); strings.Contains(t, "atom") {
		return nil, storage.NotImplemented("Atom documents of the Table service")
	}
	// the names, quotes and escapes of an entity of the greatest size
	raw, err := io.ReadAll(io.LimitReader(body, 6*maxEntity+1))
	if err != nil {
		return nil, &storage.BodyError{Err: err}
	}
	if len(raw) > 6*maxEntity {
		return nil, storage.Refuse("RequestBodyTooLarge")
	}
	fields, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, f := range fields {
		name, ok := strings.CutSuffix(f.name, "@odata.type")
		if !ok {
			continue
		}
		var t string
		if err := json.Unmarshal(f.raw, &t); err != nil {
			return nil, storage.Refuse("InvalidInput")
		}
		types[name] = t
	}
	e := &entity{}
	for _, f := range fields {
		switch {
		case strings.Contains(f.name, "@odata."), strings.HasPrefix(f.name, "odata."), f.name == "Timestamp":
			continue
		}
		v, err := parseValue(f.name, types[f.name], f.raw)
		if err != nil {
			return nil, err
		}
		switch f.name {
		case "PartitionKey", "RowKey":
			if v == nil || v.kind() != kindString {
				return nil, badValue(f.name)
			}
			if err := checkKey(v.Text); err != nil {
				return nil, err
			}
			if f.name == "RowKey" {
				e.rk = v.Text
			} else {
				e.pk = v.Text
			}
			continue
		}
		if err := checkPropertyName(f.name); err != nil {
			return nil, err
		}
		if v != nil {
			e.Properties = append(e.Properties, property{Name: f.name, value: *v})
		}
	}
	return e, nil
}

type field struct {
	name string
	raw  json.RawMessage
}

// readObject reads the members of a JSON object in their order.
func readObject(raw []byte) ([]field, error) {
	bad := storage.Refuse("InvalidInput")
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	var out []field
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, bad
		}
		f := field{name: t.(string)}
		if err := d.Decode(&f.raw); err != nil {
			return nil, bad
		}
		if seen[f.name] {
			return nil, storage.Refuse("DuplicatePropertiesSpecified")
		}
		seen[f.name] = true
		out = append(out, f)
	}
	if _, err := d.Token(); err != nil {
		return nil, bad
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad
	}
	return out, nil
}

// checkPropertyName holds a name to the rules of C# identifiers.
func checkPropertyName(name string) error {
	if utf8.RuneCountInString(name) > 255 {
		return storage.Refuse("PropertyNameTooLong")
	}
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.In(r, unicode.Mn, unicode.Mc, unicode.Pc, unicode.Cf)) {
			return storage.Refuse("PropertyNameInvalid").With("PropertyName", name)
		}
	}
	if name == "" {
		return storage.Refuse("PropertyNameInvalid")
	}
	return nil
}

// writer makes the documents of one answer.
type writer struct {
	bytes.Buffer
	meta    metadata
	account string
	table   string
	chosen  []string // the properties of the answer; nil is all
}

func (w *writer) endpoint() string {
	return "https://" + w.account + ".table" + storage.HostSuffix + "/"
}

func (w *writer) str(s string) {
	e := json.NewEncoder(&w.Buffer)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always written
	w.Truncate(w.Len() - 1)
}

func (w *writer) member(name, text string) {
	if b := w.Bytes(); b[len(b)-1] != '{' {
		w.WriteByte(',')
	}
	w.str(name)
	w.WriteByte(':')
	w.WriteString(text)
}

func (w *writer) text(name, s string) {
	w.member(name, "")
	w.str(s)
}

// entity writes an entity. alone says that it is the whole document.
func (w *writer) entity(e *entity, alone bool) {
	w.WriteByte('{')
	self := w.table + "(PartitionKey='" + quote(e.pk) + "',RowKey='" + quote(e.rk) + "')"
	if w.meta != none {
		if alone {
			w.text("odata.metadata", w.endpoint()+"$metadata#"+w.table+"/@Element")
		}
		if w.meta == full {
			w.text("odata.type", w.account+"."+w.table)
			w.text("odata.id", w.endpoint()+self)
		}
		w.text("odata.etag", e.etag())
		if w.meta == full {
			w.text("odata.editLink", self)
		}
	}
	names := w.chosen
	if names == nil {
		names = []string{"PartitionKey", "RowKey", "Timestamp"}
		for i := range e.Properties {
			names = append(names, e.Properties[i].Name)
		}
	}
	for _, name := range names {
		v, ok := e.get(name)
		if !ok {
			w.member(name, "null")
			continue
		}
		w.value(name, v)
	}
	w.WriteByte('}')
}

func (w *writer) value(name string, v value) {
	k := v.kind()
	annotate := false
	switch k {
	case kindInt64, kindGUID, kindBinary, kindDateTime:
		annotate = name != "Timestamp" || w.meta == full
	case kindDouble:
		annotate = w.meta == full || strings.ContainsAny(v.Text, "Na")
	}
	if annotate && w.meta != none {
		w.text(name+"@odata.type", "Edm."+string(k))
	}
	switch k {
	case kindInt32, kindBoolean:
		w.member(name, v.Text)
	case kindDouble:
		if strings.ContainsAny(v.Text, "Na") {
			w.text(name, v.Text)
		} else {
			w.member(name, v.Text)
		}
	default:
		w.text(name, v.Text)
	}
}

func quote(s string) string { return url.PathEscape(strings.ReplaceAll(s, "'", "''")) }

// send answers with the document.
func (c *call) send(status int, w *writer) error {
	c.Set("Content-Type", "application/json;odata="+w.meta.String()+";streaming=true;charset=utf-8")
	c.Set("DataServiceVersion", "3.0;")
	c.W.WriteHeader(status)
	if _, err := c.W.Write(w.Bytes()); err != nil {
		c.s.base.Logger.Debug("response cut short", "request", c.ID, "error", err)
	}
	return nil
}

// preference reads what Prefer says of the answer to something new.
func preference(h http.Header) (content bool, applied string) {
	switch p := strings.ToLower(h.Get("Prefer")); {
	case strings.Contains(p, "return-no-content"):
		return false, "return-no-content"
	case strings.Contains(p, "return-content"):
		return true, "return-content"
	}
	return true, ""
}
