package oci

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestUploads(t *testing.T) {
	p := start(t)
	text := strings.Repeat("layer ", 100)
	d := digest.FromString(text)
	begin := func() string {
		a := p.want(202, "POST", "/v2/a/blobs/uploads/", nil)
		if a.header.Get("Range") != "0-0" || a.header.Get("Docker-Upload-Uuid") == "" {
			t.Errorf("headers: %v", a.header)
		}
		return a.header.Get("Location")
	}
	get := func(want string) {
		t.Helper()
		if a := p.want(200, "GET", "/v2/a/blobs/"+string(d), nil); a.body != want || a.header.Get("Docker-Content-Digest") != string(d) {
			t.Errorf("blob is %.20q, %v", a.body, a.header)
		}
	}
	// in chunks, one of which comes too early
	at := begin()
	p.want(202, "PATCH", at, []byte(text[:100]), "Content-Range", "0-99")
	if a := p.want(416, "PATCH", at, []byte(text[200:]), "Content-Range", "200-599"); a.header.Get("Range") != "0-99" {
		t.Errorf("after a chunk out of order: %v", a.header)
	}
	if a := p.want(204, "GET", at, nil); a.header.Get("Range") != "0-99" {
		t.Errorf("status: %v", a.header)
	}
	p.want(404, "GET", "/v2/a/blobs/"+string(d), nil) // nothing half is visible
	p.want(202, "PATCH", at, []byte(text[100:300]))
	p.want(201, "PUT", at+"?digest="+string(d), []byte(text[300:]), "Content-Range", "300-599")
	get(text)
	p.want(404, "GET", at, nil)
	// what a restart interrupts goes on
	at = begin()
	p.want(202, "PATCH", at, []byte(text[:100]))
	p.uploads.open = map[string]*session{}
	p.want(201, "PUT", at+"?digest="+string(d), []byte(text[100:]))
	get(text)
	// another algorithm, another digest, and none
	sum := sha512.Sum512([]byte(text))
	p.want(201, "PUT", begin()+"?digest=sha512:"+hex.EncodeToString(sum[:]), []byte(text))
	at = begin()
	if a := p.want(400, "PUT", at+"?digest="+string(digest.FromString("other")), []byte(text)); a.code() != "DIGEST_INVALID" {
		t.Errorf("another digest: %s", a.body)
	}
	p.want(404, "GET", at, nil)
	p.want(400, "PUT", begin(), []byte(text))
	p.want(400, "PUT", begin()+"?digest=md5:"+strings.Repeat("0", 32), []byte(text))
	at = begin()
	p.want(204, "DELETE", at, nil)
	p.want(404, "PATCH", at, []byte("x"))
	p.want(404, "PATCH", strings.Replace(begin(), "/a/", "/b/", 1), []byte("x")) // of another repository
	// parts of a blob
	for header, want := range map[string]string{"bytes=0-5": "layer ", "bytes=594-": "layer ", "bytes=-6": "layer "} {
		if a := p.want(206, "GET", "/v2/a/blobs/"+string(d), nil, "Range", header); a.body != want {
			t.Errorf("%s: %q", header, a.body)
		}
	}
	p.want(416, "GET", "/v2/a/blobs/"+string(d), nil, "Range", "bytes=600-")
	p.want(304, "GET", "/v2/a/blobs/"+string(d), nil, "If-None-Match", `"`+string(d)+`"`)
	p.healthy()
}

// TestFullDisk holds that what does not fit is refused, takes no room, and can be
// gone on with once there is some.
func TestFullDisk(t *testing.T) {
	p := start(t)
	text := strings.Repeat("x", 3*copyBuffer)
	d := string(digest.FromString(text))
	at := p.want(202, "POST", "/v2/a/blobs/uploads/", nil).header.Get("Location")
	p.want(202, "PATCH", at, []byte(text[:100]))
	steps := 0
	full := func(step string, after int) {
		steps = 0
		p.files.fault = func(s string) error {
			if s != step {
				return nil
			}
			if steps++; steps > after {
				return syscall.ENOSPC
			}
			return nil
		}
	}
	full("write", 1)
	p.want(507, "PATCH", at, []byte(text[100:]))
	p.files.fault = nil
	if a := p.want(204, "GET", at, nil); a.header.Get("Range") != "0-99" {
		t.Errorf("after the disk was full: %v", a.header)
	}
	p.want(202, "PATCH", at, []byte(text[100:]), "Content-Range", fmt.Sprintf("100-%d", len(text)-1))
	for _, step := range []string{"sync", "commit"} {
		full(step, 0)
		p.want(507, "PUT", at+"?digest="+d, nil)
		p.want(404, "GET", "/v2/a/blobs/"+d, nil)
	}
	p.files.fault = nil
	p.want(201, "PUT", at+"?digest="+d, nil)
	if a := p.want(200, "GET", "/v2/a/blobs/"+d, nil); a.body != text {
		t.Errorf("the blob has %d bytes", len(a.body))
	}
	if r := p.healthy(); r.Orphans != 0 {
		t.Errorf("left: %+v", r)
	}
}

func TestMount(t *testing.T) {
	p := start(t)
	d := string(p.blob("from", "layer").Digest)
	path := "/v2/to/blobs/uploads/?from=from&mount=" + d
	for _, c := range []struct {
		name   string
		scopes []string
		status int
	}{
		// Who might have asked for more is told so; the challenge names both.
		{"without the scope on the source", []string{"repository:to:pull,push"}, 401},
		{"with it", []string{"repository:to:pull,push", "repository:from:pull"}, 201},
	} {
		a := p.do(p.token("owner", one, c.scopes...), "POST", one, path, nil)
		if a.status != c.status {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		if c.status == 401 && !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="repository:to:pull,push repository:from:pull"`) {
			t.Errorf("challenge: %s", a.header.Get("WWW-Authenticate"))
		}
	}
	p.want(200, "GET", "/v2/to/blobs/"+d, nil)
	p.grant("pusher", "push/write")
	if a := p.do("pusher:pusher", "POST", one, strings.Replace(path, "/to/", "/mine/", 1), nil); a.status != 202 {
		t.Errorf("without the right to pull: %d, want an upload", a.status)
	}
	if a := p.want(202, "POST", "/v2/to/blobs/uploads/?from=nothing&mount="+d, nil); a.header.Get("Location") == "" {
		t.Error("from a repository without it: no upload")
	}
}

func TestManifests(t *testing.T) {
	p := start(t)
	image := p.image("a", `{"architecture":"arm64","os":"linux"}`, "layer one", "layer two")
	d := p.push("a", "v1", image)
	for _, ref := range []string{"v1", string(d)} {
		for _, method := range []string{"GET", "HEAD"} {
			a := p.want(200, method, "/v2/a/manifests/"+ref, nil)
			if a.header.Get("Content-Type") != v1.MediaTypeImageManifest || a.header.Get("Docker-Content-Digest") != string(d) || a.header.Get("Content-Length") != fmt.Sprint(len(image)) {
				t.Errorf("%s %s: %v", method, ref, a.header)
			}
		}
	}
	put := func(status int, code, ref, mediaType string, body []byte) {
		t.Helper()
		if a := p.want(status, "PUT", "/v2/a/manifests/"+ref, body, "Content-Type", mediaType); a.code() != code {
			t.Errorf("%s: %s", ref, a.body)
		}
	}
	put(400, "DIGEST_INVALID", string(digest.FromString("other")), v1.MediaTypeImageManifest, image)
	put(400, "MANIFEST_INVALID", "x", "application/vnd.docker.distribution.manifest.v1+json", []byte(`{}`))
	put(400, "MANIFEST_INVALID", "x", v1.MediaTypeImageManifest, []byte(`not json`))
	put(400, "MANIFEST_INVALID", "x", v1.MediaTypeImageIndex, image)
	put(413, "MANIFEST_INVALID", "x", v1.MediaTypeImageManifest, bytes.Repeat([]byte(" "), maxManifest+1))
	missing := bytes.Replace(image, []byte(digest.FromString("layer two").Encoded()), []byte(digest.FromString("layer three").Encoded()), 1)
	put(400, "MANIFEST_BLOB_UNKNOWN", "x", v1.MediaTypeImageManifest, missing)
	// a blob of another repository is not one of this
	p.blob("b", "layer three")
	put(400, "MANIFEST_BLOB_UNKNOWN", "x", v1.MediaTypeImageManifest, missing)
	p.want(400, "PUT", "/v2/a/manifests/"+strings.Repeat("t", 129), image)

	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest, Digest: d, Size: int64(len(image)), Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}}}
	index.SchemaVersion = 2
	p.push("a", "all", encode(t, index))
	index.Manifests[0].Digest = digest.FromString("nothing")
	put(400, "MANIFEST_BLOB_UNKNOWN", "x", v1.MediaTypeImageIndex, encode(t, index))

	var shown struct {
		Manifest struct {
			Architecture, OS, ConfigMediaType string
			ImageSize                         int
			Tags                              []string
			References                        []part
		}
	}
	if err := json.Unmarshal([]byte(p.want(200, "GET", "/acr/v1/a/_manifests/"+string(d), nil).body), &shown); err != nil {
		t.Fatal(err)
	}
	if m := shown.Manifest; m.Architecture != "arm64" || m.OS != "linux" || m.ImageSize != 37+18 || !slices.Equal(m.Tags, []string{"v1"}) {
		t.Errorf("manifest is %+v", m)
	}
	for _, path := range []string{"/v2/a/../b/manifests/1", "/v2/A/manifests/1", "/v2/a//b/manifests/1", "/v2/%2e%2e/%2e%2e/blobs/" + string(d), "/v2/a/blobs/sha256:..%2f..%2f..", "/v2/a/blobs/sha256:" + strings.Repeat("A", 64)} {
		if a := p.do("owner:owner", "GET", one, path, nil); a.status != 400 && a.status != 404 {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	p.want(202, "DELETE", "/v2/a/manifests/v1", nil)
	p.want(404, "GET", "/v2/a/manifests/v1", nil)
	p.want(202, "DELETE", "/v2/a/manifests/"+string(d), nil)
	p.want(404, "GET", "/v2/a/manifests/"+string(d), nil)
	p.healthy()
}

func TestReferrers(t *testing.T) {
	p := start(t)
	subject := p.push("a", "v1", p.image("a", "{}"))
	refer := func(to digest.Digest, kind string) digest.Digest {
		m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, ArtifactType: kind, Config: p.blob("a", "{}"), Layers: []v1.Descriptor{},
			Subject: &v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: to, Size: 2}, Annotations: map[string]string{"k": kind}}
		m.SchemaVersion = 2
		b := encode(t, m)
		if a := p.want(201, "PUT", "/v2/a/manifests/"+string(digest.FromBytes(b)), b, "Content-Type", m.MediaType); a.header.Get("OCI-Subject") != string(to) {
			t.Errorf("headers: %v", a.header)
		}
		return digest.FromBytes(b)
	}
	list := func(to digest.Digest, query string) (out v1.Index) {
		a := p.want(200, "GET", "/v2/a/referrers/"+string(to)+query, nil)
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.MediaType != v1.MediaTypeImageIndex {
			t.Errorf("referrers: %s", a.body)
		}
		if applied := a.header.Get("OCI-Filters-Applied"); (applied == "artifactType") != (query != "") {
			t.Errorf("filters applied: %q", applied)
		}
		return out
	}
	sbom := refer(subject, "application/sbom")
	refer(subject, "application/signature")
	signed := refer(sbom, "application/signature")
	if all := list(subject, ""); len(all.Manifests) != 2 {
		t.Errorf("all: %+v", all)
	}
	some := list(subject, "?artifactType=application/sbom")
	if len(some.Manifests) != 1 || some.Manifests[0].Digest != sbom || some.Manifests[0].Annotations["k"] != "application/sbom" || some.Manifests[0].ArtifactType != "application/sbom" {
		t.Errorf("filtered: %+v", some)
	}
	if none := list(digest.FromString("nothing"), ""); none.Manifests == nil || len(none.Manifests) != 0 {
		t.Errorf("of nothing: %+v", none)
	}
	// what is about an image goes with it
	p.want(202, "DELETE", "/v2/a/manifests/"+string(subject), nil)
	p.want(404, "GET", "/v2/a/manifests/"+string(signed), nil)
}

func TestAttributes(t *testing.T) {
	p := start(t)
	image := p.image("a", "{}", "layer")
	d := string(p.push("a", "v1", image))
	p.push("a", "v2", image)
	patch := func(path, attributes string) { t.Helper(); p.want(200, "PATCH", "/acr/v1/a"+path, []byte(attributes)) }
	denied := func(method, path string, body []byte) {
		t.Helper()
		if a := p.want(405, method, path, body, "Content-Type", v1.MediaTypeImageManifest); a.code() != "REGISTRY_DISALLOWED_OPERATION" {
			t.Errorf("%s %s: %s", method, path, a.body)
		}
	}
	patch("/_tags/v1", `{"writeEnabled":false}`)
	denied("PUT", "/v2/a/manifests/v1", image)
	denied("DELETE", "/acr/v1/a/_tags/v1", nil)
	denied("DELETE", "/v2/a/manifests/"+d, nil)
	denied("DELETE", "/acr/v1/a", nil)
	p.want(201, "PUT", "/v2/a/manifests/v3", image, "Content-Type", v1.MediaTypeImageManifest)
	patch("/_tags/v1", `{"writeEnabled":true,"listEnabled":false}`)
	if a := p.want(200, "GET", "/v2/a/tags/list", nil); !strings.Contains(a.body, `["v2","v3"]`) {
		t.Errorf("tags: %s", a.body)
	}
	patch("/_manifests/"+d, `{"deleteEnabled":false}`)
	denied("DELETE", "/v2/a/manifests/"+d, nil)
	patch("/_manifests/"+d, `{"deleteEnabled":true,"readEnabled":false}`)
	denied("GET", "/v2/a/manifests/v2", nil)
	patch("/_manifests/"+d, `{"readEnabled":true}`)
	patch("", `{"readEnabled":false,"writeEnabled":false,"listEnabled":false}`)
	denied("GET", "/v2/a/manifests/v2", nil)
	denied("GET", "/v2/a/blobs/"+string(digest.FromString("layer")), nil)
	denied("POST", "/v2/a/blobs/uploads/", nil)
	denied("PUT", "/v2/a/manifests/v4", image)
	if a := p.want(200, "GET", "/v2/_catalog", nil); !strings.Contains(a.body, `[]`) {
		t.Errorf("catalogue: %s", a.body)
	}
	a := p.want(200, "GET", "/acr/v1/a", nil)
	var shown struct {
		ManifestCount, TagCount int
		ChangeableAttributes    attributes
	}
	if err := json.Unmarshal([]byte(a.body), &shown); err != nil || shown.ManifestCount != 1 || shown.TagCount != 3 || *shown.ChangeableAttributes.Read || !*shown.ChangeableAttributes.Delete {
		t.Errorf("repository: %s", a.body)
	}
	patch("", `{"readEnabled":true,"writeEnabled":true}`)
	if a := p.want(202, "DELETE", "/acr/v1/a", nil); !strings.Contains(a.body, d) || !strings.Contains(a.body, `"v3"`) {
		t.Errorf("deleted: %s", a.body)
	}
	p.want(404, "GET", "/acr/v1/a", nil)
	p.want(404, "GET", "/acr/v1/a/_tags/v1", nil)
	p.want(400, "PATCH", "/acr/v1/a", []byte("["))
	p.collectNow()
	if r := p.healthy(); r.Blobs != 0 || r.Bytes != 0 {
		t.Errorf("left: %+v", r)
	}
}

func TestPaging(t *testing.T) {
	p := start(t)
	var names []string
	for i := range 5 {
		name := fmt.Sprintf("repo/%d", i)
		p.push(name, "latest", p.image(name, "{}"))
		names = append(names, name)
		p.push("repo/0", fmt.Sprintf("t%d", 4-i), p.image("repo/0", fmt.Sprint(i)))
		p.clock.Step(time.Second)
	}
	walk := func(path, field string) (out []string) {
		t.Helper()
		for path != "" {
			a := p.want(200, "GET", path, nil)
			var doc map[string]json.RawMessage
			var page []any
			if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(doc[field], &page); err != nil || len(page) > 2 {
				t.Fatalf("%s: %s", path, a.body)
			}
			for _, v := range page {
				if m, ok := v.(map[string]any); ok {
					if v = m["name"]; v == nil {
						v = m["createdTime"]
					}
				}
				out = append(out, v.(string))
			}
			rest, _, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
			path = rest
		}
		return out
	}
	for _, path := range []string{"/v2/_catalog?n=2", "/acr/v1/_catalog?n=2"} {
		if got := walk(path, "repositories"); !slices.Equal(got, names) {
			t.Errorf("%s: %v", path, got)
		}
	}
	tags := []string{"latest", "t0", "t1", "t2", "t3", "t4"}
	if got := walk("/v2/repo/0/tags/list?n=2", "tags"); !slices.Equal(got, tags) {
		t.Errorf("tags: %v", got)
	}
	if got := walk("/acr/v1/repo%2F0/_tags?n=2", "tags"); !slices.Equal(got, tags) {
		t.Errorf("tags: %v", got)
	}
	if got := walk("/acr/v1/repo/0/_tags?n=2&orderby=timedesc", "tags"); !slices.Equal(got, []string{"t0", "t1", "t2", "t3", "t4", "latest"}) {
		t.Errorf("by time: %v", got)
	}
	byTime := walk("/acr/v1/repo/0/_manifests?n=2&orderby=timeasc", "manifests")
	if len(byTime) != 6 || !slices.IsSorted(byTime) {
		t.Errorf("manifests by time: %v", byTime)
	}
	if a := p.want(200, "GET", "/v2/repo/0/tags/list?n=0", nil); !strings.Contains(a.body, "[]") || a.header.Get("Link") != "" {
		t.Errorf("n=0: %s", a.body)
	}
	p.want(400, "GET", "/v2/_catalog?n=-1", nil)
	p.want(http.StatusNotImplemented, "GET", "/acr/v1/repo/0/_tags?orderby=color", nil)
	p.want(404, "GET", "/v2/nothing/tags/list", nil)
}

func FuzzParseManifest(f *testing.F) {
	f.Add(v1.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[],"subject":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}}`))
	f.Add(v1.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Add("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8", []byte(`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{}}`))
	f.Add("application/vnd.docker.distribution.manifest.list.v2+json", []byte(`{"schemaVersion":2,"manifests":null}`))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		p, err := parseManifest(mediaType, body)
		if err != nil {
			return
		}
		if p.index != (p.config == nil) || p.index && len(p.layers) > 0 || !p.index && len(p.manifests) > 0 {
			t.Errorf("neither an image nor an index: %+v", p)
		}
		for _, d := range p.all() {
			if strings.ContainsAny(string(d.Digest), "/\\\x00") || d.Digest.Validate() != nil {
				t.Errorf("it names %q", d.Digest)
			}
		}
	})
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"v2/", "v2/a/b/manifests/c", "v2/a/blobs/uploads/", "acr/v1/a/_tags/b", "acr/v1/a", "v2/blobs/uploads/uploads/blobs/uploads/x"} {
		f.Add(path)
	}
	all := operations()
	f.Fuzz(func(t *testing.T, path string) {
		for _, o := range all {
			name, ref, ok := o.match(path)
			if !ok {
				continue
			}
			if whole := strings.NewReplacer("{name}", name, "{ref}", ref).Replace(o.path); whole != path && whole != path+"/" {
				t.Errorf("%q is %q with %q and %q", path, o.path, name, ref)
			}
		}
	})
}
