package blob

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// xmlHead begins every document, with the byte order mark that Azure sends.
const xmlHead = "\ufeff" + `<?xml version="1.0" encoding="utf-8"?>`

// maxXML is the most bytes of a request document, enough for a list of 50,000
// blocks with IDs of 64 bytes.
const maxXML = 8 << 20

// xmlWriter writes a document piece by piece. The first error sticks.
type xmlWriter struct {
	w   *bufio.Writer
	err error
}

func newXML(w io.Writer) *xmlWriter {
	x := &xmlWriter{w: bufio.NewWriterSize(w, 32<<10)}
	x.raw(xmlHead)
	return x
}

func (x *xmlWriter) raw(s string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(s)
	}
}

func (x *xmlWriter) text(s string) {
	if x.err == nil {
		x.err = xml.EscapeText(x.w, []byte(s))
	}
}

// element writes one element; an empty text makes an empty element.
func (x *xmlWriter) element(name, text string) {
	if text == "" {
		x.raw("<" + name + " />")
		return
	}
	x.raw("<" + name + ">")
	x.text(text)
	x.raw("</" + name + ">")
}

// optional writes an element unless its text is empty.
func (x *xmlWriter) optional(name, text string) {
	if text != "" {
		x.element(name, text)
	}
}

// name writes a blob's name or prefix. Names with characters that XML cannot
// carry are percent-encoded, as Azure does from version 2021-02-12.
func (x *xmlWriter) name(element, name string) {
	for _, r := range name {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff || r == utf8.RuneError {
			x.raw("<" + element + ` Encoded="true">`)
			x.text(strings.ReplaceAll(url.PathEscape(name), "%2F", "/"))
			x.raw("</" + element + ">")
			return
		}
	}
	x.element(element, name)
}

func (x *xmlWriter) metadata(meta map[string]string) {
	if len(meta) == 0 {
		x.raw("<Metadata />")
		return
	}
	x.raw("<Metadata>")
	for _, k := range sortedKeys(meta) {
		x.element(k, meta[k])
	}
	x.raw("</Metadata>")
}

func (x *xmlWriter) flush() error {
	if x.err == nil {
		x.err = x.w.Flush()
	}
	return x.err
}

// writeErrorDocument writes the body of a refusal. The client may be gone; that
// is not worth a word.
func writeErrorDocument(w io.Writer, e *Error, requestID string, now time.Time) {
	x := newXML(w)
	x.raw("<Error>")
	x.element("Code", e.Code)
	x.element("Message", e.Message+"\nRequestId:"+requestID+"\nTime:"+fullTime(now))
	for _, d := range e.Details {
		x.element(d.Name, d.Value)
	}
	x.raw("</Error>")
	_ = x.flush()
}

// startXML sends the head of a response with a document.
func startXML(w http.ResponseWriter, status int) *xmlWriter {
	w.Header()["Content-Type"] = []string{"application/xml"}
	w.WriteHeader(status)
	return newXML(w)
}

// readXML decodes a request document into v. Entities are not expanded and the
// size is bounded.
func readXML(r *http.Request, v any) error {
	d := xml.NewDecoder(io.LimitReader(r.Body, maxXML))
	d.Strict = true
	if err := d.Decode(v); err != nil {
		var body *http.MaxBytesError
		if errors.As(err, &body) {
			return refuse("RequestBodyTooLarge")
		}
		return refuse("InvalidXmlDocument")
	}
	return nil
}
