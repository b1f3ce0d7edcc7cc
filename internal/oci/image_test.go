package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestImage(t *testing.T) {
	p := start(t)
	reg, err := p.Registry(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	manifest := p.image("a/b", `{"os":"linux"}`, "layer one", "layer two", "layer one")
	d := p.push("a/b", "1", manifest)
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		{MediaType: v1.MediaTypeImageManifest, Digest: d, Size: int64(len(manifest)), Platform: &v1.Platform{OS: "linux", Architecture: "riscv64"}},
	}}
	index.SchemaVersion = 2
	p.push("a/b", "latest", encode(t, index))
	for _, ref := range []string{"a/b:1", "a/b@" + string(d), "a/b:2@" + string(d), "a/b"} {
		img, err := p.Image(t.Context(), reg, ref, "linux", "riscv64")
		if err != nil || img.Digest != string(d) {
			t.Fatalf("%s: %+v, %v", ref, img, err)
		}
		var b bytes.Buffer
		if err := img.WriteArchive(&b, "name:tag"); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for r := tar.NewReader(&b); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if _, twice := got[h.Name]; err != nil || twice {
				t.Fatalf("%s: %v", h.Name, err)
			}
			got[h.Name] = string(text)
		}
		var list []struct {
			Config           string
			RepoTags, Layers []string
		}
		if err := json.Unmarshal([]byte(got["manifest.json"]), &list); err != nil || len(list) != 1 || list[0].RepoTags[0] != "name:tag" || len(list[0].Layers) != 3 {
			t.Fatalf("manifest.json is %s, %v", got["manifest.json"], err)
		}
		if got[list[0].Config] != `{"os":"linux"}` || got[list[0].Layers[1]] != "layer two" || list[0].Layers[0] != list[0].Layers[2] {
			t.Errorf("the archive is %v", got)
		}
	}
	for _, ref := range []string{"a/b:2", "c", "../a", "a/b@" + string(digest.FromString("x")), ""} {
		if img, err := p.Image(t.Context(), reg, ref, "linux", "riscv64"); !errors.Is(err, ErrNoImage) {
			t.Errorf("%s: %+v, %v", ref, img, err)
		}
	}
	if _, err := p.Image(t.Context(), reg, "a/b", "linux", "amd64"); !errors.Is(err, ErrNoImage) {
		t.Errorf("another platform: %v", err)
	}
	for who, want := range map[string]bool{"puller": true, "nobody": false, "": false} {
		if ok, err := p.MayPull(t.Context(), reg, who); ok != want || err != nil {
			t.Errorf("%q may pull: %v, %v", who, ok, err)
		}
	}
}
