package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The limits of an entity group transaction.
const (
	maxBatch      = 100
	maxBatchBytes = 4 << 20
)

// item is one request of a batch.
type item struct {
	req       *http.Request
	body      []byte
	contentID string
	at        address
	row       *storage.Row[*call]
	write     *write
	done      *entity
}

// itemError is the refusal of a batch because of one of its requests.
type itemError struct {
	index int
	err   error
}

func (e *itemError) Error() string { return fmt.Sprintf("request %d of the batch: %v", e.index, e.err) }
func (e *itemError) Unwrap() error { return e.err }

func badBatch(reason string) *storage.Error {
	return storage.Refuse("InvalidInput").With("Reason", reason)
}

// readBatch reads the requests of a batch. query tells that it is one that reads,
// which is alone and in no change set.
func readBatch(contentType string, body io.Reader) (items []*item, query bool, err error) {
	outer, err := partsOf(contentType, io.LimitReader(body, maxBatchBytes+1))
	if err != nil {
		return nil, false, err
	}
	part, err := outer.NextRawPart()
	if err != nil {
		return nil, false, badBatch("The batch is empty.")
	}
	if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind == "application/http" {
		it, err := readItem(part)
		if err != nil {
			return nil, false, err
		}
		if _, err := outer.NextRawPart(); err != io.EOF {
			return nil, false, badBatch("A query is the only request of its batch.")
		}
		return []*item{it}, true, nil
	}
	inner, err := partsOf(part.Header.Get("Content-Type"), part)
	if err != nil {
		return nil, false, err
	}
	for {
		p, err := inner.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, badBatch("The change set is not a multipart document.")
		}
		if len(items) == maxBatch {
			return nil, false, badBatch("A batch has at most 100 requests.")
		}
		it, err := readItem(p)
		if err != nil {
			return nil, false, &itemError{len(items), err}
		}
		items = append(items, it)
	}
	if len(items) == 0 {
		return nil, false, badBatch("The change set is empty.")
	}
	if _, err := outer.NextRawPart(); err != io.EOF {
		return nil, false, badBatch("A batch has one change set.")
	}
	return items, false, nil
}

func partsOf(contentType string, r io.Reader) (*multipart.Reader, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, badBatch("It is not multipart/mixed with a boundary.")
	}
	return multipart.NewReader(r, params["boundary"]), nil
}

// readItem reads the request in a part. Its body ends with the part: clients do
// not all say how long it is.
func readItem(part *multipart.Part) (*item, error) {
	raw, err := io.ReadAll(part)
	if err != nil {
		return nil, badBatch("A part has no end.")
	}
	head, body, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok {
		if head, body, ok = bytes.Cut(raw, []byte("\n\n")); !ok {
			head = bytes.TrimRight(raw, "\r\n")
		}
	}
	// net/http knows no MERGE with a body but reads it as any other.
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	if err != nil {
		return nil, badBatch("A part is not a request.")
	}
	it := &item{req: req, body: body, contentID: part.Header.Get("Content-ID")}
	if it.contentID == "" {
		it.contentID = req.Header.Get("Content-ID")
	}
	if m := req.Header.Get("X-HTTP-Method"); m != "" && req.Method == http.MethodPost {
		req.Method = strings.ToUpper(m)
	}
	it.at, err = parsePath(req.URL)
	return it, err
}

// batch serves Entity Group Transaction: changes of entities of one partition,
// all of them or none.
func (c *call) batch() error {
	if c.HTTP.ContentLength > maxBatchBytes {
		return storage.Refuse("RequestBodyTooLarge").With("MaxLimit", strconv.Itoa(maxBatchBytes))
	}
	counted := &counter{r: c.HTTP.Body}
	items, query, err := readBatch(c.HTTP.Header.Get("Content-Type"), counted)
	if counted.n > maxBatchBytes {
		return storage.Refuse("RequestBodyTooLarge").With("MaxLimit", strconv.Itoa(maxBatchBytes))
	}
	if err == nil && query {
		return c.batchQuery(items[0])
	}
	if err == nil {
		err = c.transact(items)
	}
	var of *itemError
	if err != nil && !errors.As(err, &of) {
		return err
	}
	var doc bytes.Buffer
	outer, inner := "batchresponse_"+storage.RequestID(), "changesetresponse_"+storage.RequestID()
	doc.WriteString("--" + outer + "\r\nContent-Type: multipart/mixed; boundary=" + inner + "\r\n\r\n")
	if of != nil {
		e := storage.AsError(of.err)
		if e.Status >= 500 && e.Status != http.StatusNotImplemented {
			c.s.base.Logger.Error("storage request failed", "service", c.Service, "request", c.ID, "error", err)
		}
		body := c.errorDocument(e, strconv.Itoa(of.index)+":")
		id := ""
		if of.index < len(items) {
			id = items[of.index].contentID
		}
		writePart(&doc, inner, id, e.Status, http.Header{
			"X-Content-Type-Options": {"nosniff"}, "DataServiceVersion": {"3.0;"},
			"Content-Type": {"application/json;odata=minimalmetadata;streaming=true;charset=utf-8"},
		}, body)
	} else {
		for _, it := range items {
			h, status, body := c.itemAnswer(it)
			writePart(&doc, inner, it.contentID, status, h, body)
		}
	}
	doc.WriteString("--" + inner + "--\r\n--" + outer + "--\r\n")
	c.Set("Content-Type", "multipart/mixed; boundary="+outer)
	c.W.WriteHeader(http.StatusAccepted)
	if _, err := c.W.Write(doc.Bytes()); err != nil {
		c.s.base.Logger.Debug("response cut short", "request", c.ID, "error", err)
	}
	return nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func writePart(doc *bytes.Buffer, boundary, contentID string, status int, h http.Header, body []byte) {
	doc.WriteString("--" + boundary + "\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n")
	fmt.Fprintf(doc, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if contentID != "" {
		h["Content-ID"] = []string{contentID}
	}
	_ = h.Write(doc) // to memory
	doc.WriteString("\r\n")
	doc.Write(body)
	doc.WriteString("\r\n")
}

// itemAnswer is the answer to a request of a batch that was done.
func (c *call) itemAnswer(it *item) (h http.Header, status int, body []byte) {
	h = http.Header{"X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-cache"}, "DataServiceVersion": {"3.0;"}}
	if it.write.mode == remove {
		return h, http.StatusNoContent, nil
	}
	e := it.done
	h["ETag"] = []string{e.etag()}
	if it.write.mode != insert {
		return h, http.StatusNoContent, nil
	}
	self := c.Endpoint() + it.at.table + "(PartitionKey='" + quote(e.pk) + "',RowKey='" + quote(e.rk) + "')"
	h["Location"] = []string{self}
	content, applied := preference(it.req.Header)
	if applied != "" {
		h["Preference-Applied"] = []string{applied}
	}
	if !content {
		h["DataServiceId"] = []string{self}
		return h, http.StatusNoContent, nil
	}
	w := &writer{account: c.Account.Name, table: it.at.table}
	if m, err := wanted(it.req.Header, it.req.URL.Query()); err == nil {
		w.meta = m
	}
	w.entity(e, true)
	h["Content-Type"] = []string{"application/json;odata=" + w.meta.String() + ";streaming=true;charset=utf-8"}
	return h, http.StatusCreated, w.Bytes()
}

// authorizeItem decides about one request of a batch by what the batch itself
// was sent with.
func (c *call) authorizeItem(it *item) error {
	row, err := storage.FindOperation(c.s.rows, it.at.level, it.req, it.req.URL.Query())
	if err != nil {
		return err
	}
	it.row = row
	if it.at.level != onTable && it.at.level != onEntity || row.Comp != "" {
		return badBatch("A batch has requests to entities only.")
	}
	if c.Principal != "" {
		return c.allow(c.Context(), c.Principal, row, it.at.table)
	}
	t := c.Grant.SAS
	if t == nil {
		return nil
	}
	if tn, _, _, _, _ := t.Table(); tn != "" && !strings.EqualFold(tn, it.at.table) {
		return storage.Refuse("AuthorizationFailure")
	}
	if !strings.ContainsAny(c.Grant.Permissions, row.Need.SAS) {
		return storage.Refuse("AuthorizationPermissionMismatch")
	}
	one := *c
	one.at = it.at
	return one.bySAS(row.Name)
}

// transact does the requests of a change set in one transaction.
func (c *call) transact(items []*item) error {
	seen := map[string]bool{}
	for i, it := range items {
		if it.req.Method == http.MethodGet {
			return &itemError{i, badBatch("A change set has no queries.")}
		}
		if err := c.authorizeItem(it); err != nil {
			return &itemError{i, err}
		}
		w, err := readWrite(it.req.Method, it.at, it.req.Header, bytes.NewReader(it.body))
		if err == nil && it.at.level == onTable {
			err = needsKeys(it.body)
		}
		if err != nil {
			return &itemError{i, err}
		}
		it.write = w
		switch {
		case !strings.EqualFold(it.at.table, items[0].at.table), w.ent.pk != items[0].write.ent.pk:
			return &itemError{i, storage.Refuse("CommandsInBatchActOnDifferentPartitions")}
		case seen[w.ent.rk]:
			e := storage.Refuse("InvalidInput")
			e.Code, e.Message = "InvalidDuplicateRow", "A command with RowKey '"+w.ent.rk+"' is already present in the batch. An entity can appear only once in a batch."
			return &itemError{i, e}
		case c.within != nil && !c.within.has(w.ent.pk, w.ent.rk):
			return &itemError{i, storage.Refuse("AuthorizationFailure")}
		}
		seen[w.ent.rk] = true
	}
	return c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		t, err := findTable(tx, c.Account.UID, items[0].at.table)
		if err != nil {
			return &itemError{0, err}
		}
		for i, it := range items {
			if it.done, err = c.s.eng.apply(tx, t, *it.write); err != nil {
				return &itemError{i, err}
			}
		}
		return nil
	})
}

// batchQuery serves a batch of one query.
func (c *call) batchQuery(it *item) error {
	if it.req.Method != http.MethodGet {
		return badBatch("A change is in a change set.")
	}
	if err := c.authorizeItem(it); err != nil {
		return err
	}
	rec := &recorder{header: http.Header{}}
	sub := *c.Call
	req := *c.Request
	sub.Request = &req
	req.HTTP, req.Query = it.req.WithContext(c.Context()), it.req.URL.Query()
	sub.W = rec
	one := &call{Call: &sub, s: c.s, at: it.at, row: it.row, within: c.within}
	if err := it.row.Do(one); err != nil {
		one.s.base.Fail(&sub, err, func(e *storage.Error) { one.writeError(e, "0:") })
	}
	outer := "batchresponse_" + storage.RequestID()
	var doc bytes.Buffer
	writePart(&doc, outer, it.contentID, rec.status, rec.header, rec.body.Bytes())
	doc.WriteString("--" + outer + "--\r\n")
	c.Set("Content-Type", "multipart/mixed; boundary="+outer)
	c.W.WriteHeader(http.StatusAccepted)
	if _, err := c.W.Write(doc.Bytes()); err != nil {
		c.s.base.Logger.Debug("response cut short", "request", c.ID, "error", err)
	}
	return nil
}

// recorder keeps the answer to a request of a batch.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
