package blob

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// dfsPage reads maxResults and continuation.
func dfsPage(c *call) (limit int, after string, err error) {
	limit = storage.MaxPage
	if v := c.q.Get("maxResults"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return 0, "", badQuery("maxResults", v, "")
		}
		if n < 1 {
			return 0, "", refuse("OutOfRangeQueryParameterValue").With("QueryParameterName", "maxResults").With("QueryParameterValue", v)
		}
		limit = min(n, storage.MaxPage)
	}
	after, err = dfsContinuation(c)
	return limit, after, err
}

// dfsContinuation reads the continuation parameter.
func dfsContinuation(c *call) (string, error) {
	v := c.q.Get("continuation")
	raw, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return "", badQuery("continuation", v, "")
	}
	return string(raw), nil
}

func (c *call) setContinuation(next string) {
	if next != "" {
		c.w.Header()["x-ms-continuation"] = []string{base64.StdEncoding.EncodeToString([]byte(next))}
	}
}

type filesystemItem struct {
	Name         string `json:"name"`
	LastModified string `json:"lastModified"`
	ETag         string `json:"etag"`
}

func (s *Service) listFilesystems(c *call) error {
	limit, after, err := dfsPage(c)
	if err != nil {
		return err
	}
	list, next, err := s.eng.listContainers(c.r.Context(), c.acct.UID, c.q.Get("prefix"), after, limit)
	if err != nil {
		return err
	}
	items := make([]filesystemItem, len(list))
	for i, rec := range list {
		items[i] = filesystemItem{rec.Name, httpTime(rec.Modified), etagString(rec.ETag)}
	}
	c.setContinuation(next)
	return s.writeJSON(c, map[string]any{"filesystems": items})
}

func namespaceEnabled(c *call) {
	c.w.Header()["x-ms-namespace-enabled"] = []string{strconv.FormatBool(c.acct.HNS)}
}

func (s *Service) createFilesystem(c *call) error {
	meta, err := parseProperties(c.r.Header)
	if err != nil {
		return err
	}
	rec, err := s.eng.createContainer(c.r.Context(), c.acct.UID, &containerRec{Name: c.container, Metadata: meta, Tree: c.acct.HNS})
	if err != nil {
		return err
	}
	namespaceEnabled(c)
	return answer(c, http.StatusCreated, rec.ETag, rec.Modified)
}

func (s *Service) getFilesystem(c *call) error {
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if err != nil {
		return err
	}
	h := c.w.Header()
	if len(rec.Metadata) > 0 {
		h["x-ms-properties"] = []string{formatProperties(rec.Metadata)}
	}
	h["x-ms-default-encryption-scope"] = []string{"$account-encryption-key"}
	h["x-ms-deny-encryption-scope-override"] = []string{"false"}
	namespaceEnabled(c)
	return answer(c, http.StatusOK, rec.ETag, rec.Modified)
}

func (s *Service) setFilesystem(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	meta, err := parseProperties(c.r.Header)
	if err != nil {
		return err
	}
	rec, err := s.eng.changeContainer(c.r.Context(), c.acct.UID, c.container, func(rec *containerRec) error {
		if err := cond.check(writing, rec.ETag, rec.Modified); err != nil {
			return err
		}
		if err := s.held(c, &rec.Lease, reading, "Container"); err != nil {
			return err
		}
		rec.Metadata = meta // without the header all properties go, as Azure has it
		return nil
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, rec.ETag, rec.Modified)
}
