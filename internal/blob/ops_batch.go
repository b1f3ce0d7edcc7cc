package blob

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// The limits of Blob Batch, as Microsoft's reference has them.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20
)

// batchWorkers is how many requests of a batch are served at once, so that they
// share the store's commits.
const batchWorkers = 16

// batchItem is one request of a batch and what it was answered.
type batchItem struct {
	contentID string
	req       *http.Request
	header    http.Header
	status    int
	body      bytes.Buffer
}

var _ http.ResponseWriter = (*batchItem)(nil)

// Header implements http.ResponseWriter.
func (i *batchItem) Header() http.Header { return i.header }

// WriteHeader implements http.ResponseWriter.
func (i *batchItem) WriteHeader(status int) {
	if i.status == 0 {
		i.status = status
	}
}

// Write implements http.ResponseWriter.
func (i *batchItem) Write(p []byte) (int, error) {
	i.WriteHeader(http.StatusOK)
	return i.body.Write(p)
}

func badBatch(reason string) error { return refuse("InvalidInput").With("Reason", reason) }

// readBatch reads the requests of a batch.
func readBatch(c *call) ([]*batchItem, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, badHeader("Content-Type", c.r.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(io.LimitReader(c.r.Body, maxBatchBytes), params["boundary"])
	var items []*batchItem
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, badBatch("The body is not a multipart document.")
		}
		if len(items) == maxBatch {
			return nil, badBatch("A batch has at most 256 requests.")
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(part, strings.NewReader("\r\n\r\n"))))
		if err != nil {
			return nil, badBatch("A part of the body is not a request.")
		}
		if err := batchable(c, req); err != nil {
			return nil, err
		}
		req.Host, req.TLS, req.RemoteAddr = c.r.Host, c.r.TLS, c.r.RemoteAddr
		items = append(items, &batchItem{contentID: part.Header.Get("Content-ID"), req: req.WithContext(c.r.Context()), header: http.Header{}})
	}
	if len(items) == 0 {
		return nil, badBatch("The batch is empty.")
	}
	return items, nil
}

// batchable refuses what cannot be in a batch.
func batchable(c *call, req *http.Request) error {
	comp := strings.ToLower(req.URL.Query().Get("comp"))
	container, name := splitPath(req.URL)
	switch {
	case req.Method != http.MethodDelete && (req.Method != http.MethodPut || comp != "tier"), req.Method == http.MethodDelete && comp != "", name == "":
		return badBatch("A batch has requests of Delete Blob and Set Blob Tier only.")
	case req.ContentLength > 0:
		return badBatch("A request of a batch has no body.")
	case c.container != "" && container != c.container:
		return badBatch("A request of the batch is about another container.")
	}
	return nil
}

// blobBatch serves Blob Batch: requests in the parts of a document, each with
// what authorises it.
func (s *Service) blobBatch(c *call) error {
	if err := contentLength(c); err != nil {
		return err
	}
	if c.r.ContentLength > maxBatchBytes {
		return refuse("RequestBodyTooLarge").With("MaxLimit", strconv.Itoa(maxBatchBytes))
	}
	items, err := readBatch(c)
	if err != nil {
		return err
	}
	var workers sync.WaitGroup
	work := make(chan *batchItem)
	for range min(batchWorkers, len(items)) {
		workers.Go(func() {
			for it := range work {
				// The version is that of the batch, which its requests do not sign.
				s.run(&call{w: it, r: it.req, id: storage.RequestID(), version: c.version})
			}
		})
	}
	for _, it := range items {
		work <- it
	}
	close(work)
	workers.Wait()

	var doc bytes.Buffer
	parts := multipart.NewWriter(&doc)
	if err := parts.SetBoundary("batchresponse_" + storage.RequestID()); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	for _, it := range items {
		head := textproto.MIMEHeader{"Content-Type": {"application/http"}}
		if it.contentID != "" {
			head["Content-ID"] = []string{it.contentID}
		}
		w, err := parts.CreatePart(head)
		if err != nil {
			return fmt.Errorf("write batch: %w", err)
		}
		fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", it.status, http.StatusText(it.status))
		if it.body.Len() > 0 {
			it.header["Content-Length"] = []string{strconv.Itoa(it.body.Len())}
		}
		for _, k := range slices.Sorted(maps.Keys(it.header)) {
			fmt.Fprintf(w, "%s: %s\r\n", k, strings.Join(it.header[k], ","))
		}
		fmt.Fprintf(w, "\r\n%s", it.body.Bytes())
	}
	if err := parts.Close(); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	h := c.w.Header()
	h["Content-Type"] = []string{"multipart/mixed; boundary=" + parts.Boundary()}
	h["Content-Length"] = []string{strconv.Itoa(doc.Len())}
	c.w.WriteHeader(http.StatusAccepted)
	if _, err := c.w.Write(doc.Bytes()); err != nil {
		s.log.Debug("response cut short", "request", c.id, "error", err)
	}
	return nil
}
