package oci

import (
	"encoding/json"
	"fmt"
	"mime"
	"strings"

	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the largest manifest: what the specification asks of registries,
// and no more.
const maxManifest = 4 << 20

// parsed is what a manifest says.
type parsed struct {
	mediaType string
	index     bool
	// config is that of an image, layers and manifests what it is made of.
	config    *v1.Descriptor
	layers    []v1.Descriptor
	manifests []v1.Descriptor
	subject   *v1.Descriptor
	// artifactType is the manifest's own, or its config's media type.
	artifactType string
	annotations  map[string]string
}

// parseManifest reads a manifest of an image or an index, of the media types that
// distribution knows.
func parseManifest(contentType string, body []byte) (*parsed, error) {
	bad := func(format string, args ...any) (*parsed, error) {
		return nil, invalid(errcode.ErrorCodeManifestInvalid, "manifest invalid: "+fmt.Sprintf(format, args...))
	}
	var doc struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        *v1.Descriptor    `json:"config"`
		Layers        []v1.Descriptor   `json:"layers"`
		Manifests     []v1.Descriptor   `json:"manifests"`
		Subject       *v1.Descriptor    `json:"subject"`
		Annotations   map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return bad("%v", err)
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "":
		mediaType = doc.MediaType
	case err != nil:
		return bad("the Content-Type cannot be read")
	}
	p := &parsed{mediaType: mediaType, config: doc.Config, layers: doc.Layers, manifests: doc.Manifests,
		subject: doc.Subject, artifactType: doc.ArtifactType, annotations: doc.Annotations}
	var kind json.Unmarshaler
	switch mediaType {
	case v1.MediaTypeImageManifest:
		kind = &ocischema.DeserializedManifest{}
	case schema2.MediaTypeManifest:
		kind = &schema2.DeserializedManifest{}
	case v1.MediaTypeImageIndex:
		kind, p.index = &ocischema.DeserializedImageIndex{}, true
	case manifestlist.MediaTypeManifestList:
		kind, p.index = &manifestlist.DeserializedManifestList{}, true
	default:
		return bad("the media type %q is not supported", mediaType)
	}
	// what is both could be read as either, by different clients
	switch {
	case p.index && (doc.Config != nil || doc.Layers != nil):
		return bad("an index has no config and no layers")
	case !p.index && doc.Manifests != nil:
		return bad("an image has no manifests")
	case !p.index && doc.Config == nil:
		return bad("an image has a config")
	case !p.index && p.artifactType == "":
		p.artifactType = doc.Config.MediaType
	}
	if doc.SchemaVersion != 2 {
		return bad("schemaVersion is 2")
	}
	if doc.MediaType != "" && doc.MediaType != mediaType {
		return bad("its mediaType is %q and its Content-Type %q", doc.MediaType, mediaType)
	}
	if err := kind.UnmarshalJSON(body); err != nil {
		return bad("%v", err)
	}
	for _, d := range p.all() {
		if _, err := parseDigest(string(d.Digest)); err != nil || d.Size < 0 {
			return bad("it names %q, of %d bytes", d.Digest, d.Size)
		}
	}
	return p, nil
}

// all is every descriptor in the manifest.
func (p *parsed) all() []v1.Descriptor {
	var out []v1.Descriptor
	for _, d := range []*v1.Descriptor{p.config, p.subject} {
		if d != nil {
			out = append(out, *d)
		}
	}
	return append(append(out, p.layers...), p.manifests...)
}

// blobs are the digests of what must be in the repository before an image is.
// Layers that may not be distributed are elsewhere.
func (p *parsed) blobs() []digest.Digest {
	var out []digest.Digest
	if p.config != nil {
		out = append(out, p.config.Digest)
	}
	for _, l := range p.layers {
		if !foreign(l) {
			out = append(out, l.Digest)
		}
	}
	return out
}

func foreign(d v1.Descriptor) bool {
	return d.MediaType == schema2.MediaTypeForeignLayer || strings.Contains(d.MediaType, ".nondistributable.")
}

// size is that of everything an image is made of.
func (p *parsed) size() (n int64) {
	if p.config != nil {
		n = p.config.Size
	}
	for _, l := range p.layers {
		n += l.Size
	}
	return n
}

// parts are the manifests of an index as Azure's API lists them.
func (p *parsed) parts() []part {
	var out []part
	for _, m := range p.manifests {
		one := part{Digest: string(m.Digest)}
		if m.Platform != nil {
			one.Architecture, one.OS = m.Platform.Architecture, m.Platform.OS
		}
		out = append(out, one)
	}
	return out
}
