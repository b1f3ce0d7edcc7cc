package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Keys of the store begin with the UID of the registry. Their parts cannot have a
// zero byte, so that prefixes end where parts do.
const sep = "\x00"

func key(parts ...string) string { return strings.Join(parts, sep) }

// Names of buckets and indexes.
const (
	bucketRegistries = "oci.registries" // UIDs that have anything, to their usage
	bucketGone       = "oci.gone"       // UIDs of deleted registries, until all of theirs is removed
	bucketDue        = "oci.due"        // time, kind, UID and what it is about: what the collector looks at then
	bucketKey        = "oci.key"        // the sealed key of tokens

	byDigest  = "digest"
	byTime    = "time"
	bySubject = "subject"
	byUse     = "use"
)

// locks are the attributes of Azure's API, which are all true at first: what is not
// allowed with a repository, manifest or tag.
type locks struct {
	NoDelete, NoWrite, NoList, NoRead bool `json:",omitempty"`
}

// repository is a repository that has, or had, a manifest.
type repository struct {
	UID, Name        string
	Created, Updated time.Time
	Manifests, Tags  int
	Locks            locks
}

// manifestRec is a manifest in a repository. Its bytes are a file, as a blob's are.
type manifestRec struct {
	UID, Repo, Digest, MediaType string
	// Size is that of the manifest itself, Image that of all it names.
	Size, Image      int64
	Created, Updated time.Time
	Locks            locks
	// Uses are the digests of the blobs and manifests of the repository that it
	// cannot be without.
	Uses []string `json:",omitempty"`
	// Subject is the digest of the manifest it is about, "" for none.
	Subject, ArtifactType, ConfigType string            `json:",omitempty"`
	Annotations                       map[string]string `json:",omitempty"`
	Architecture, OS                  string            `json:",omitempty"`
	// Parts are the manifests of an index.
	Parts []part `json:",omitempty"`
}

type part struct {
	Digest       string `json:"digest"`
	Architecture string `json:"architecture,omitempty"`
	OS           string `json:"os,omitempty"`
}

// tagRec is a tag.
type tagRec struct {
	UID, Repo, Name, Digest string
	Created, Updated        time.Time
	Locks                   locks
}

// link says that a blob was pushed to, or mounted in, a repository. At is when
// somebody last made sure of it.
type link struct {
	UID, Repo, Digest string
	At                time.Time
}

// blobRec is a file of bytes: a blob, or a manifest.
type blobRec struct {
	UID, Digest string
	Size        int64
}

// uploadRec is an upload that is not complete. Its bytes so far are in a file.
type uploadRec struct {
	UID, Repo, ID string
	// At is when somebody last went on with it.
	At time.Time
}

// usage is what a registry holds.
type usage struct{ Bytes int64 }

type tables struct {
	repositories store.Collection[repository]
	manifests    store.Collection[manifestRec]
	tags         store.Collection[tagRec]
	links        store.Collection[link]
	blobs        store.Collection[blobRec]
	uploads      store.Collection[uploadRec]
}

// moment is a time in a form that sorts.
func moment(t time.Time) string { return fmt.Sprintf("%020d", t.UnixNano()) }

func newTables() tables {
	return tables{
		repositories: store.Collection[repository]{Name: "oci.repositories", Key: func(v *repository) string { return key(v.UID, v.Name) }},
		manifests: store.Collection[manifestRec]{
			Name: "oci.manifests", Key: func(v *manifestRec) string { return key(v.UID, v.Repo, v.Digest) },
			Indexes: map[string]func(*manifestRec) []string{
				byDigest: func(v *manifestRec) []string { return []string{key(v.UID, v.Digest)} },
				byTime:   func(v *manifestRec) []string { return []string{key(v.UID, v.Repo, moment(v.Updated))} },
				bySubject: func(v *manifestRec) []string {
					if v.Subject == "" {
						return nil
					}
					return []string{key(v.UID, v.Repo, v.Subject)}
				},
				byUse: func(v *manifestRec) []string {
					out := make([]string, len(v.Uses))
					for i, d := range v.Uses {
						out[i] = key(v.UID, v.Repo, d)
					}
					return out
				},
			},
		},
		tags: store.Collection[tagRec]{
			Name: "oci.tags", Key: func(v *tagRec) string { return key(v.UID, v.Repo, v.Name) },
			Indexes: map[string]func(*tagRec) []string{
				byDigest: func(v *tagRec) []string { return []string{key(v.UID, v.Repo, v.Digest)} },
				byTime:   func(v *tagRec) []string { return []string{key(v.UID, v.Repo, moment(v.Updated))} },
			},
		},
		links: store.Collection[link]{
			Name: "oci.links", Key: func(v *link) string { return key(v.UID, v.Repo, v.Digest) },
			Indexes: map[string]func(*link) []string{byDigest: func(v *link) []string { return []string{key(v.UID, v.Digest)} }},
		},
		blobs:   store.Collection[blobRec]{Name: "oci.blobs", Key: func(v *blobRec) string { return key(v.UID, v.Digest) }},
		uploads: store.Collection[uploadRec]{Name: "oci.uploads", Key: func(v *uploadRec) string { return key(v.UID, v.ID) }},
	}
}

// find is Get that returns nil for what is not there.
func find[T any](tx store.Tx, c *store.Collection[T], k string) (*T, error) {
	v, err := c.Get(tx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// has reports whether the index has the entry.
func has[T any](tx store.Tx, c *store.Collection[T], index, entry string) (bool, error) {
	for _, err := range c.By(tx, index, store.Range{Prefix: store.Exact(entry), Limit: 1}) {
		return err == nil, err
	}
	return false, nil
}

// addUsage changes what a registry is known to hold. A registry that is deleted
// meanwhile is errGone.
func addUsage(tx store.Tx, uid string, bytes int64) error {
	var u usage
	b, err := tx.Get(bucketRegistries, uid)
	if errors.Is(err, store.ErrNotFound) {
		return errGone()
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &u); err != nil {
		return fmt.Errorf("decode usage: %w", err)
	}
	if bytes == 0 {
		return nil
	}
	u.Bytes += bytes
	if b, err = json.Marshal(u); err != nil {
		return fmt.Errorf("encode usage: %w", err)
	}
	return tx.Put(bucketRegistries, uid, b)
}

// errGone is the answer of a registry that was deleted during the request.
func errGone() *apiError {
	return &apiError{Status: 404, Code: "NAME_UNKNOWN", Message: "The registry was deleted."}
}

// enter makes sure that a registry is among those that have something.
func enter(tx store.Tx, uid string) error {
	_, err := tx.Get(bucketRegistries, uid)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := tx.Get(bucketGone, uid); !errors.Is(err, store.ErrNotFound) {
		return errors.Join(err, errGone())
	}
	return tx.Put(bucketRegistries, uid, []byte("{}"))
}
