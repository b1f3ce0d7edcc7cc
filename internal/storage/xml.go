package storage

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// xmlHead begins every document, with the byte order mark that Azure sends.
const xmlHead = "\ufeff" + `<?xml version="1.0" encoding="utf-8"?>`

// MaxXML is the most bytes of a request document, enough for a list of 50,000
// blocks with IDs of 64 bytes.
const MaxXML = 8 << 20

// XML writes a document piece by piece. The first error sticks.
type XML struct {
	w   *bufio.Writer
	err error
}

// NewXML begins a document on w.
func NewXML(w io.Writer) *XML {
	x := &XML{w: bufio.NewWriterSize(w, 32<<10)}
	x.Raw(xmlHead)
	return x
}

// Raw writes markup as it is.
func (x *XML) Raw(s string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(s)
	}
}

// Text writes text, escaped.
func (x *XML) Text(s string) {
	if x.err == nil {
		x.err = xml.EscapeText(x.w, []byte(s))
	}
}

// Element writes one element; an empty text makes an empty element.
func (x *XML) Element(name, text string) {
	if text == "" {
		x.Raw("<" + name + " />")
		return
	}
	x.Raw("<" + name + ">")
	x.Text(text)
	x.Raw("</" + name + ">")
}

// Optional writes an element unless its text is empty.
func (x *XML) Optional(name, text string) {
	if text != "" {
		x.Element(name, text)
	}
}

// Name writes a blob's name or prefix. Names with characters that XML cannot
// carry are percent-encoded, as Azure does from version 2021-02-12.
func (x *XML) Name(element, name string) {
	for _, r := range name {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff || r == utf8.RuneError {
			x.Raw("<" + element + ` Encoded="true">`)
			x.Text(strings.ReplaceAll(url.PathEscape(name), "%2F", "/"))
			x.Raw("</" + element + ">")
			return
		}
	}
	x.Element(element, name)
}

// Metadata writes the element of that name, its pairs in order.
func (x *XML) Metadata(meta map[string]string) {
	if len(meta) == 0 {
		x.Raw("<Metadata />")
		return
	}
	x.Raw("<Metadata>")
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		x.Element(k, meta[k])
	}
	x.Raw("</Metadata>")
}

// Flush sends what is written and returns the first error.
func (x *XML) Flush() error {
	if x.err == nil {
		x.err = x.w.Flush()
	}
	return x.err
}

// WriteErrorDocument writes the body of a refusal. The client may be gone; that
// is not worth a word.
func WriteErrorDocument(w io.Writer, e *Error, requestID string, now time.Time) {
	x := NewXML(w)
	x.Raw("<Error>")
	x.Element("Code", e.Code)
	x.Element("Message", e.Message+"\nRequestId:"+requestID+"\nTime:"+FullTime(now))
	for _, d := range e.Details {
		x.Element(d.Name, d.Value)
	}
	x.Raw("</Error>")
	_ = x.Flush()
}

// StartXML sends the head of a response with a document.
func StartXML(w http.ResponseWriter, status int) *XML {
	w.Header()["Content-Type"] = []string{"application/xml"}
	w.WriteHeader(status)
	return NewXML(w)
}

// ReadXML decodes a request document into v. Entities are not expanded and the
// size is bounded.
func ReadXML(r *http.Request, v any) error {
	d := xml.NewDecoder(io.LimitReader(r.Body, MaxXML))
	d.Strict = true
	if err := d.Decode(v); err != nil {
		var body *http.MaxBytesError
		if errors.As(err, &body) {
			return Refuse("RequestBodyTooLarge")
		}
		return Refuse("InvalidXmlDocument")
	}
	return nil
}
