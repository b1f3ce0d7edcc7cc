package blob

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// facts tells the conditions of role assignments about a call. The attributes and
// suboperations are those of Microsoft's "Actions and attributes for Azure role
// assignment conditions for Azure Blob Storage".
func (s *Service) facts(c *call) *abac.Facts {
	f := &abac.Facts{Attribute: func(tx store.Tx, a abac.Attribute) ([]string, error) { return s.attribute(tx, c, a) }}
	if c.lists() {
		f.SubOperations = append(f.SubOperations, "Blob.List")
	}
	if c.op.comp == "tier" {
		f.SubOperations = append(f.SubOperations, "Blob.Write.Tier")
	}
	if c.r.Header.Get("x-ms-tags") != "" {
		f.SubOperations = append(f.SubOperations, "Blob.Write.WithTagHeaders")
	}
	if c.r.Header.Get("x-ms-if-tags") != "" {
		f.SubOperations = append(f.SubOperations, "Blob.Read.WithTagConditions")
	}
	return f
}

// lists reports whether the call lists the blobs or paths of a container.
func (c *call) lists() bool { return c.op.need == needList }

func (s *Service) attribute(tx store.Tx, c *call, a abac.Attribute) ([]string, error) {
	switch a.Source {
	case abac.FromResource:
		return s.ofResource(tx, c, a)
	case abac.FromRequest:
		return c.ofRequest(a), nil
	case abac.FromEnvironment:
		if a.Name == abac.UTCNow {
			return []string{s.cfg.Clock.Now().UTC().Format(time.RFC3339Nano)}, nil
		}
	}
	return nil, nil
}

func (s *Service) ofResource(tx store.Tx, c *call, a abac.Attribute) ([]string, error) {
	switch a.Name {
	case abac.AccountName:
		return []string{c.acct.Name}, nil
	case abac.IsHNSEnabled:
		return truth(c.acct.HNS), nil
	case abac.ContainerName:
		return some(c.container), nil
	case abac.BlobPath:
		if c.lists() {
			return nil, nil // a directory that is listed is a prefix
		}
		return some(c.blob), nil
	case abac.IsCurrent, abac.BlobTags, abac.TagKeys:
		if c.blob == "" || c.lists() {
			return nil, nil
		}
		at, err := parseMoment(c.q)
		if err != nil {
			return nil, err
		}
		_, b, err := find(tx, ref{uid: c.acct.UID, container: c.container, name: c.blob, at: at})
		if HasCode(err, "ContainerNotFound") || HasCode(err, "BlobNotFound") {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if a.Name == abac.IsCurrent {
			return truth(at == nil || b != nil && !b.former), nil
		}
		if b = visible(b); b == nil {
			return nil, nil
		}
		return ofTags(b.Tags, a), nil
	}
	return nil, nil // encryption scopes are not implemented: no blob has one
}

func (c *call) ofRequest(a abac.Attribute) []string {
	switch a.Name {
	case abac.BlobPrefix:
		if !c.lists() {
			return nil
		}
		if c.service == "dfs" {
			return some(c.blob) // the directory
		}
		return some(c.q.Get("prefix"))
	case abac.Snapshot:
		return some(c.q.Get("snapshot"))
	case abac.VersionID:
		return some(c.q.Get("versionid"))
	case abac.BlobTags, abac.TagKeys:
		tags, err := parseTags(c.r.Header.Get("x-ms-tags"))
		if c.setsTags() {
			tags, err = readTags(&http.Request{Body: io.NopCloser(bytes.NewReader(c.tagBody))})
		}
		if err != nil {
			return nil // the operation refuses them
		}
		return ofTags(tags, a)
	}
	return nil
}

func ofTags(tags map[string]string, a abac.Attribute) []string {
	if a.Name == abac.TagKeys {
		return sortedKeys(tags)
	}
	v, ok := tags[a.Key]
	if !ok {
		return nil
	}
	return []string{v}
}

func truth(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

func some(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

// maxTagBody is more than any body of Set Blob Tags takes.
const maxTagBody = 64 << 10

func (c *call) setsTags() bool {
	return c.op.level == onBlob && c.op.comp == "tags" && c.r.Method == http.MethodPut
}

// keepTags reads the body of Set Blob Tags before the call is decided: conditions
// may ask which tags there will be, and the client is not waited for then.
func (s *Service) keepTags(c *call) error {
	if !c.setsTags() || c.tagBody != nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxTagBody+1))
	if err != nil {
		return refuse("InvalidXmlDocument")
	}
	if len(body) > maxTagBody {
		return refuse("RequestBodyTooLarge")
	}
	c.tagBody = body
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// readTags reads the body of Set Blob Tags.
func readTags(r *http.Request) (map[string]string, error) {
	var in tagDocument
	if err := storage.ReadXML(r, &in); err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range in.Tags {
		if err := addTag(tags, t.Key, t.Value); err != nil {
			return nil, err
		}
	}
	return tags, nil
}
