package blob

import (
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// tellVersion names the version that a blob is, if it is one.
func tellVersion(h http.Header, b *blobRec) {
	if b.Version != 0 {
		h["x-ms-version-id"] = []string{tickTime(b.Version)}
	}
}

func (s *Service) snapshotBlob(c *call) error {
	cond, err := parseConditions(c.r.Header, "")
	if err != nil {
		return err
	}
	meta, err := storage.ParseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	b, at, err := s.eng.snapshot(c.r.Context(), c.ref(), meta, func(b *blobRec) error {
		if err := cond.of(writing, b); err != nil {
			return err
		}
		if err := s.holds(c, b, reading); err != nil {
			return err
		}
		return settled(b)
	})
	if err != nil {
		return err
	}
	h := c.w.Header()
	h["x-ms-snapshot"] = []string{tickTime(at)}
	tellVersion(h, b)
	notEncrypted(h)
	return answer(c, http.StatusCreated, b.ETag, b.Modified)
}

func (s *Service) undeleteBlob(c *call) error {
	if c.acct.HNS {
		return notImplemented("Undelete Blob with a hierarchical namespace")
	}
	if err := s.eng.undelete(c.r.Context(), c.ref()); err != nil {
		return err
	}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusOK)
	return nil
}
