package oci

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// ErrNoImage is wrapped when a registry does not have an image.
var ErrNoImage = errors.New("oci: no such image")

// Image is an image of a registry, for one platform.
type Image struct {
	// Digest names the image's manifest; the same digest is the same image.
	Digest string
	// Config is the digest of its configuration.
	Config string

	s      *Service
	uid    string
	config v1.Descriptor
	layers []v1.Descriptor
}

// maxNesting is how deep an index may be in others.
const maxNesting = 4

// Image finds the image of a registry that a reference names: REPOSITORY, with :TAG
// or @DIGEST. Of an index it is the one for the platform. Whether the caller may have
// it, the caller knows. An image that is not there is an error that wraps ErrNoImage.
func (s *Service) Image(ctx context.Context, reg *Registry, ref, os, architecture string) (*Image, error) {
	repo, name := ref, "latest"
	if before, after, ok := strings.Cut(ref, "@"); ok {
		repo, name = before, after
		repo, _, _ = strings.Cut(repo, ":") // a tag beside a digest says nothing
	} else if before, after, ok := strings.Cut(ref, ":"); ok {
		repo, name = before, after
	}
	c := &call{Service: s, ctx: ctx, reg: reg, repo: repo}
	if !s.isName(repo) {
		return nil, fmt.Errorf("%w: %q is not the name of a repository", ErrNoImage, repo)
	}
	for range maxNesting {
		p, d, err := c.load(name)
		if err != nil {
			return nil, err
		}
		if !p.index {
			return &Image{Digest: d, Config: string(p.config.Digest), s: s, uid: reg.UID, config: *p.config, layers: p.layers}, nil
		}
		name = ""
		for _, m := range p.manifests {
			if m.Platform != nil && m.Platform.OS == os && m.Platform.Architecture == architecture {
				name = string(m.Digest)
				break
			}
		}
		if name == "" {
			return nil, fmt.Errorf("%w: %s has no image for %s/%s", ErrNoImage, ref, os, architecture)
		}
	}
	return nil, fmt.Errorf("%w: %s is an index of indexes", ErrNoImage, ref)
}

// MayPull reports whether a principal may pull from a registry; "" is nobody in
// particular.
func (s *Service) MayPull(ctx context.Context, reg *Registry, objectID string) (bool, error) {
	return s.may(ctx, reg, identity{ObjectID: objectID}, actPull)
}

// load reads a manifest for a reader in the server.
func (c *call) load(name string) (*parsed, string, error) {
	var m *manifestRec
	err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if err := c.mayRead(tx); err != nil {
			return err
		}
		var t *tagRec
		m, t, err = c.resolve(tx, name)
		if err == nil && (m.Locks.NoRead || t != nil && t.Locks.NoRead) {
			err = locked()
		}
		return err
	})
	if e := (*apiError)(nil); errors.As(err, &e) {
		return nil, "", fmt.Errorf("%w: %s", ErrNoImage, e.Message)
	}
	if err != nil {
		return nil, "", err
	}
	file, err := c.files.open(c.reg.UID, digest.Digest(m.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%w: it was deleted", ErrNoImage)
	}
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxManifest))
	if err != nil {
		return nil, "", fmt.Errorf("read manifest: %w", err)
	}
	p, err := parseManifest(m.MediaType, b)
	return p, m.Digest, err
}

// WriteArchive writes the image as an archive that docker load and podman load take,
// under a name (REPOSITORY:TAG). Layers stay compressed as they are.
func (i *Image) WriteArchive(w io.Writer, name string) error {
	tw := tar.NewWriter(w)
	entry := func(name string, size int64) error {
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
	}
	copyBlob := func(name string, d v1.Descriptor) error {
		file, err := i.s.files.open(i.uid, d.Digest)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if err := entry(name, info.Size()); err != nil {
			return err
		}
		_, err = i.s.files.pump(tw, file)
		return err
	}
	index := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: i.config.Digest.Encoded() + ".json", RepoTags: []string{name}, Layers: []string{}}
	if err := copyBlob(index.Config, i.config); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	written := map[string]bool{}
	for _, l := range i.layers {
		if foreign(l) {
			return fmt.Errorf("read image: layer %s is not in the registry", l.Digest)
		}
		at := path.Join(l.Digest.Encoded(), "layer.tar")
		index.Layers = append(index.Layers, at)
		if written[at] {
			continue
		}
		written[at] = true
		if err := copyBlob(at, l); err != nil {
			return fmt.Errorf("read image: %w", err)
		}
	}
	b, err := json.Marshal([]any{index})
	if err != nil {
		return fmt.Errorf("describe image: %w", err)
	}
	if err := entry("manifest.json", int64(len(b))); err != nil {
		return fmt.Errorf("describe image: %w", err)
	}
	if _, err := tw.Write(b); err != nil {
		return fmt.Errorf("describe image: %w", err)
	}
	return tw.Close()
}
