package queue

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (c *call) listQueues() error {
	limit, err := storage.PageSize(c.Query)
	if err != nil {
		return err
	}
	after, err := storage.DecodeMarker(c.Query)
	if err != nil {
		return err
	}
	include, err := storage.Includes(c.Query, "metadata")
	if err != nil {
		return err
	}
	prefix := c.Query.Get("prefix")
	var list []*queueRec
	var next string
	if err := c.s.eng.store.View(c.Context(), func(tx store.Tx) error {
		list, next, err = listIn(tx, c.Account.UID, prefix, after, limit)
		return err
	}); err != nil {
		return err
	}
	x := c.XML()
	x.Raw(`<EnumerationResults ServiceEndpoint="` + c.Endpoint() + `">`)
	x.Optional("Prefix", prefix)
	x.Optional("Marker", c.Query.Get("marker"))
	if c.Query.Has("maxresults") {
		x.Element("MaxResults", strconv.Itoa(limit))
	}
	x.Raw("<Queues>")
	for _, q := range list {
		x.Raw("<Queue>")
		x.Element("Name", q.Name)
		if include["metadata"] {
			x.Metadata(q.Metadata)
		}
		x.Raw("</Queue>")
	}
	x.Raw("</Queues>")
	x.Element("NextMarker", storage.EncodeMarker(next))
	x.Raw("</EnumerationResults>")
	return c.End(x)
}

func (c *call) createQueue() error {
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	made := false
	if err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error {
		made, err = createIn(tx, c.Account.UID, c.queue, meta)
		return err
	}); err != nil {
		return err
	}
	if !made {
		return c.Empty(http.StatusNoContent)
	}
	return c.Empty(http.StatusCreated)
}

func (c *call) deleteQueue() error {
	err := c.s.eng.store.Update(c.Context(), func(tx store.Tx) error { return removeIn(tx, c.Account.UID, c.queue) })
	if err != nil {
		return err
	}
	c.s.eng.reaper.Kick()
	return c.Empty(http.StatusNoContent)
}

func (c *call) getMetadata() error {
	// What has expired is not counted.
	var q *queueRec
	for more := true; more; {
		err := c.s.eng.store.View(c.Context(), func(tx store.Tx) (err error) {
			q, err = find(tx, c.Account.UID, c.queue)
			if err != nil {
				return err
			}
			more, err = hasExpired(tx, q, c.s.eng.clock.Now().UnixNano())
			return err
		})
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := c.s.eng.change(c.Context(), c.Account.UID, c.queue, func(tx store.Tx, q *queueRec) error {
			_, err := purge(tx, q, c.s.eng.clock.Now().UnixNano())
			return err
		}); err != nil {
			return err
		}
	}
	storage.WriteMetadata(c.W.Header(), q.Metadata)
	c.Set("x-ms-approximate-messages-count", strconv.Itoa(q.Messages))
	c.Set("Cache-Control", "no-cache")
	return c.Empty(http.StatusOK)
}

func hasExpired(tx store.Tx, q *queueRec, now int64) (bool, error) {
	for row, err := range tx.Scan(bucketExpiry, store.Range{Prefix: q.ID + "/", Limit: 1}) {
		return err == nil && row.Key < q.ID+"/"+timeKey(now+1), err
	}
	return false, nil
}

func (c *call) setMetadata() error {
	meta, err := storage.ParseMetadata(c.HTTP.Header)
	if err != nil {
		return err
	}
	if err := c.s.eng.change(c.Context(), c.Account.UID, c.queue, func(_ store.Tx, q *queueRec) error {
		q.Metadata = meta
		return nil
	}); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (c *call) getACL() error {
	q, err := c.s.eng.queue(c.Context(), c.Account.UID, c.queue)
	if err != nil {
		return err
	}
	c.Set("Cache-Control", "no-cache")
	x := c.XML()
	x.Policies(q.Policies)
	return c.End(x)
}

func (c *call) setACL() error {
	policies, err := storage.ReadPolicies(c.HTTP, "raup")
	if err != nil {
		return err
	}
	if err := c.s.eng.change(c.Context(), c.Account.UID, c.queue, func(_ store.Tx, q *queueRec) error {
		q.Policies = policies
		return nil
	}); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

// number reads a whole number of a query between two.
func number(q url.Values, name string, preset, least, most int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return preset, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, storage.BadQuery(name, v, "")
	}
	if n < least || n > most {
		return 0, storage.Refuse("OutOfRangeQueryParameterValue").With("QueryParameterName", name).With("QueryParameterValue", v).
			With("MinimumAllowed", strconv.Itoa(least)).With("MaximumAllowed", strconv.Itoa(most))
	}
	return n, nil
}

const (
	week = 7 * 24 * 60 * 60 // seconds
	// maxMessage is the most bytes of a message.
	maxMessage = 64 << 10
	// anyTTL is the first version that lets messages live as long as one likes.
	anyTTL = "2017-07-29"
)

// readMessage reads the text of a message document.
func readMessage(r *http.Request) (string, error) {
	var in struct {
		XMLName     xml.Name `xml:"QueueMessage"`
		MessageText *string
	}
	// the markup and escapes of a message of the greatest size
	r.Body = http.MaxBytesReader(nil, r.Body, 7*maxMessage)
	if err := storage.ReadXML(r, &in); err != nil {
		return "", err
	}
	if in.MessageText == nil {
		return "", storage.Refuse("MissingRequiredXmlNode").With("XmlNodeName", "MessageText")
	}
	if len(*in.MessageText) > maxMessage {
		return "", storage.Refuse("RequestBodyTooLarge").With("MaxLimit", strconv.Itoa(maxMessage))
	}
	if !utf8.ValidString(*in.MessageText) {
		return "", storage.Refuse("InvalidXmlDocument")
	}
	return *in.MessageText, nil
}

func (c *call) putMessage() error {
	delay, err := number(c.Query, "visibilitytimeout", 0, 0, week)
	if err != nil {
		return err
	}
	// A life of 100 years is for ever, as far as a time in nanoseconds goes.
	most := 100 * 365 * 24 * 60 * 60
	if c.Version < anyTTL {
		most = week
	}
	ttl := week
	if v := c.Query.Get("messagettl"); v == "-1" && c.Version >= anyTTL {
		ttl = 0
	} else if ttl, err = number(c.Query, "messagettl", week, 1, most); err != nil {
		return err
	}
	if ttl > 0 && delay >= ttl {
		return storage.BadQuery("visibilitytimeout", strconv.Itoa(delay), "The message expires before.")
	}
	text, err := readMessage(c.HTTP)
	if err != nil {
		return err
	}
	m, err := c.s.eng.add(c.Context(), c.Account.UID, c.queue, text, time.Duration(delay)*time.Second, time.Duration(ttl)*time.Second)
	if err != nil {
		return err
	}
	x := storage.StartXML(c.W, http.StatusCreated)
	x.Raw("<QueueMessagesList><QueueMessage>")
	head(x, m)
	x.Element("PopReceipt", m.Receipt)
	x.Element("TimeNextVisible", storage.HTTPTime(m.Visible))
	x.Raw("</QueueMessage></QueueMessagesList>")
	return c.End(x)
}

func head(x *storage.XML, m *messageRec) {
	x.Element("MessageId", m.ID)
	x.Element("InsertionTime", storage.HTTPTime(m.Inserted))
	expires := "Fri, 31 Dec 9999 23:59:59 GMT"
	if m.Expires != 0 {
		expires = storage.HTTPTime(m.Expires)
	}
	x.Element("ExpirationTime", expires)
}

func (c *call) writeMessages(list []*messageRec, peek bool) error {
	c.Set("Cache-Control", "no-cache")
	x := c.XML()
	x.Raw("<QueueMessagesList>")
	for _, m := range list {
		x.Raw("<QueueMessage>")
		head(x, m)
		if !peek {
			x.Element("PopReceipt", m.Receipt)
			x.Element("TimeNextVisible", storage.HTTPTime(m.Visible))
		}
		x.Element("DequeueCount", strconv.Itoa(m.Dequeued))
		x.Element("MessageText", m.Text)
		x.Raw("</QueueMessage>")
	}
	x.Raw("</QueueMessagesList>")
	return c.End(x)
}

func (c *call) getMessages() error {
	n, err := number(c.Query, "numofmessages", 1, 1, 32)
	if err != nil {
		return err
	}
	hidden, err := number(c.Query, "visibilitytimeout", 30, 1, week)
	if err != nil {
		return err
	}
	list, err := c.s.eng.take(c.Context(), c.Account.UID, c.queue, n, time.Duration(hidden)*time.Second)
	if err != nil {
		return err
	}
	return c.writeMessages(list, false)
}

func (c *call) peekMessages() error {
	if v := c.Query.Get("peekonly"); !strings.EqualFold(v, "true") {
		if strings.EqualFold(v, "false") && c.Grant.SAS == nil && c.Principal == "" {
			return c.getMessages()
		}
		return storage.BadQuery("peekonly", v, "")
	}
	n, err := number(c.Query, "numofmessages", 1, 1, 32)
	if err != nil {
		return err
	}
	list, err := c.s.eng.peek(c.Context(), c.Account.UID, c.queue, n)
	if err != nil {
		return err
	}
	return c.writeMessages(list, true)
}

func (c *call) clearMessages() error {
	if err := c.s.eng.clear(c.Context(), c.Account.UID, c.queue); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (c *call) receipt() (string, error) {
	v := c.Query.Get("popreceipt")
	if v == "" {
		return "", storage.Refuse("MissingRequiredQueryParameter").With("QueryParameterName", "popreceipt")
	}
	return v, nil
}

func (c *call) updateMessage() error {
	receipt, err := c.receipt()
	if err != nil {
		return err
	}
	if !c.Query.Has("visibilitytimeout") {
		return storage.Refuse("MissingRequiredQueryParameter").With("QueryParameterName", "visibilitytimeout")
	}
	hidden, err := number(c.Query, "visibilitytimeout", 0, 0, week)
	if err != nil {
		return err
	}
	var text *string
	if c.HTTP.ContentLength != 0 {
		v, err := readMessage(c.HTTP)
		if err != nil {
			return err
		}
		text = &v
	}
	m, err := c.s.eng.update(c.Context(), c.Account.UID, c.queue, c.message, receipt, time.Duration(hidden)*time.Second, text)
	if err != nil {
		return err
	}
	c.Set("x-ms-popreceipt", m.Receipt)
	c.Set("x-ms-time-next-visible", storage.HTTPTime(m.Visible))
	return c.Empty(http.StatusNoContent)
}

func (c *call) deleteMessage() error {
	receipt, err := c.receipt()
	if err != nil {
		return err
	}
	if err := c.s.eng.remove(c.Context(), c.Account.UID, c.queue, c.message, receipt); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
