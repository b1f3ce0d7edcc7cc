package blob

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// webContainer is what a static website is served from.
const webContainer = "$web"

// serveWeb serves {account}.z{n}.web.core.windows.net: the blobs of $web, to
// anyone, whatever the public access of container and account.
func (s *Service) serveWeb(c *call) error {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return refuse("UnsupportedHttpVerb")
	}
	p, err := s.properties(c.r.Context(), c.acct.UID)
	if err != nil {
		return err
	}
	if p == nil || p.StaticWebsite == nil || !p.StaticWebsite.Enabled {
		return webNotFound()
	}
	site := p.StaticWebsite
	name := strings.TrimPrefix(strings.ReplaceAll(c.r.URL.Path, `\`, "/"), "/")
	if name == "" || strings.HasSuffix(name, "/") {
		switch {
		case site.IndexDocument != "":
			name += site.IndexDocument
		case site.DefaultIndexDocumentPath != "":
			name = strings.TrimPrefix(site.DefaultIndexDocumentPath, "/")
		}
	}
	c.container, c.blob, c.anonymous = webContainer, name, true
	c.op = &operation{name: "Get Web Content", level: onBlob, do: (*Service).getBlob}
	err = refuse("BlobNotFound")
	if checkBlobName(name) == nil {
		err = s.webPage(c)
	}
	if !HasCode(err, "BlobNotFound") && !HasCode(err, "ContainerNotFound") && !HasCode(err, "ResourceTypeMismatch") {
		return err
	}
	c.blob = strings.TrimPrefix(site.ErrorDocument404Path, "/")
	if c.blob == "" || checkBlobName(c.blob) != nil {
		return webNotFound()
	}
	// The error document is shown whole, whatever the request said of another.
	c.r = c.r.Clone(c.r.Context())
	for _, k := range []string{"Range", "x-ms-range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		c.r.Header.Del(k)
	}
	c.w = &notFoundWriter{c.w}
	if err := s.webPage(c); err != nil {
		return webNotFound()
	}
	return nil
}

// webPage answers with a blob, but not with a directory of a tree.
func (s *Service) webPage(c *call) error {
	b, err := s.eng.stat(c.r.Context(), c.ref())
	if err != nil {
		return err
	}
	if b.Dir != "" {
		return refuse("BlobNotFound")
	}
	if c.r.Method == http.MethodHead {
		return s.getBlobProperties(c)
	}
	return s.getBlob(c)
}

// notFoundWriter shows an error document as what it is.
type notFoundWriter struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *notFoundWriter) WriteHeader(status int) {
	if status == http.StatusOK {
		status = http.StatusNotFound
	}
	w.ResponseWriter.WriteHeader(status)
}

func webNotFound() *Error {
	return &Error{Status: http.StatusNotFound, Code: "WebContentNotFound", Message: "The requested content does not exist."}
}

// writeWebError writes the page that a browser shows for a refusal.
func writeWebError(w http.ResponseWriter, e *Error, requestID string) {
	body := "<!DOCTYPE html><html><head><title>" + html.EscapeString(e.Code) + "</title></head><body><h1>" + html.EscapeString(e.Message) +
		"</h1><ul><li>HttpStatusCode: " + strconv.Itoa(e.Status) + "</li><li>ErrorCode: " + html.EscapeString(e.Code) + "</li><li>RequestId: " + requestID + "</li></ul></body></html>"
	w.Header()["Content-Type"] = []string{"text/html"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(e.Status)
	_, _ = w.Write([]byte(body)) // the client may be gone
}

// properties returns what has been configured of the Blob service of an account,
// or nil.
func (s *Service) properties(ctx context.Context, uid string) (p *storage.ServiceProperties, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		p, err = storage.LoadProperties(tx, uid, "blob")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read blob service properties: %w", err)
	}
	return p, nil
}

// getServiceStats tells how far the secondary endpoint is.
func (s *Service) getServiceStats(c *call) error {
	if !c.secondary {
		return badQuery("comp", "stats", "The statistics are at the secondary endpoint.")
	}
	x := startXML(c.w, http.StatusOK)
	x.Raw("<StorageServiceStats><GeoReplication><Status>live</Status>")
	x.Element("LastSyncTime", s.cfg.Clock.Now().UTC().Format(http.TimeFormat))
	x.Raw("</GeoReplication></StorageServiceStats>")
	return x.end(s, c)
}
