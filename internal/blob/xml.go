package blob

import (
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// xmlWriter writes a document piece by piece. The first error sticks.
type xmlWriter struct{ *storage.XML }

// startXML sends the head of a response with a document.
func startXML(w http.ResponseWriter, status int) *xmlWriter {
	return &xmlWriter{storage.StartXML(w, status)}
}
