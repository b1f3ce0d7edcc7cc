package provider

import (
	"encoding/xml"
	"fmt"
	"net/http"
)

// staticWebsite is what 3.x and 4.x set of an account's static website, which is a
// property of its blob service: of the data plane alone.
type staticWebsite struct {
	XMLName xml.Name `xml:"StorageServiceProperties"`
	Site    struct {
		Enabled       bool
		IndexDocument string `xml:",omitempty"`
		ErrorDocument string `xml:"ErrorDocument404Path,omitempty"`
	} `xml:"StaticWebsite"`
}

const serviceProperties = "comp=properties&restype=service"

// writeStaticWebsite sends the website if it is configured.
func writeStaticWebsite(o *operation) error {
	a := o.kind.Attributes["static_website"]
	if a == nil || len(asList(o.config["static_website"])) == 0 || o.prior != nil && a.same(o.prior["static_website"], o.planned["static_website"]) {
		return nil
	}
	site := first(o.planned["static_website"])
	var p staticWebsite
	p.Site.Enabled, p.Site.IndexDocument, p.Site.ErrorDocument = true, asString(site["index_document"]), asString(site["error_404_document"])
	body, err := xml.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode `static_website`: %w", err)
	}
	acct, err := o.openAccount(o.ctx, o.id)
	if err != nil {
		return err
	}
	if _, err := o.dataWith(o.ctx, acct, http.MethodPut, "blob", "/", serviceProperties, nil, body); err != nil {
		return fmt.Errorf("updating `static_website` of %q: %w", o.id, err)
	}
	return nil
}

// readStaticWebsite reads the website of an account that can have one. Who may not
// reach the data of the account keeps what was there.
func readStaticWebsite(o *operation, doc, state map[string]any) error {
	if o.kind.Attributes["static_website"] == nil || getPath(doc, "properties.primaryEndpoints.web") == nil {
		return nil
	}
	acct, err := o.openAccount(o.ctx, o.id)
	var raw []byte
	if err == nil {
		_, raw, err = o.exchange(o.ctx, acct, http.MethodGet, "blob", "/", serviceProperties, nil, nil)
	}
	switch statusOf(err) {
	case 0:
	case http.StatusForbidden, http.StatusUnauthorized, http.StatusConflict, http.StatusNotFound:
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading `static_website` of %q: %w", o.id, err)
	}
	var p staticWebsite
	if err := xml.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("reading `static_website` of %q: %w", o.id, err)
	}
	if !p.Site.Enabled {
		state["static_website"] = []any{}
		return nil
	}
	state["static_website"] = []any{map[string]any{"index_document": p.Site.IndexDocument, "error_404_document": p.Site.ErrorDocument}}
	return nil
}
