package oci

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestCollect(t *testing.T) {
	p := start(t)
	image := p.image("a", "{}", "layer")
	d := p.push("a", "v1", image)
	p.blob("a", "loose")
	p.blob("a", "asked for")
	upload := p.want(202, "POST", "/v2/a/blobs/uploads/", nil).header.Get("Location")
	p.want(202, "PATCH", upload, []byte("half"))
	kept := p.want(202, "POST", "/v2/a/blobs/uploads/", nil).header.Get("Location")
	there := func(text string) bool {
		return p.do("owner:owner", "GET", one, "/v2/a/blobs/"+string(digest.FromString(text)), nil).status == 200
	}
	p.clock.Step(linkLife - time.Hour)
	p.want(200, "HEAD", "/v2/a/blobs/"+string(digest.FromString("asked for")), nil)
	p.want(202, "PATCH", kept, []byte("more"))
	p.collectNow()
	if !there("layer") || !there("loose") {
		t.Error("collected too early")
	}
	p.clock.Step(2 * time.Hour)
	p.collectNow()
	if !there("layer") || !there("{}") || there("loose") || !there("asked for") {
		t.Error("after a day: what a manifest names, or a pusher asked for, stays, and no more")
	}
	p.want(404, "GET", upload, nil)
	p.want(204, "GET", kept, nil)
	if n := countFiles(t, p); n != 4+1 { // manifest, config, layer, "asked for", and one upload
		t.Errorf("%d files", n)
	}
	p.want(202, "DELETE", "/v2/a/manifests/"+string(d), nil)
	p.collectNow()
	if there("layer") || there("{}") {
		t.Error("the layers of a manifest that was deleted stay")
	}
	p.clock.Step(2 * linkLife)
	p.collectNow()
	if n := countFiles(t, p); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if r := p.healthy(); r.Blobs != 0 {
		t.Errorf("left: %+v", r)
	}
	p.bytes(0)
}

// TestCollectSharesNothingAway holds that what two repositories have stays when one
// of them is deleted.
func TestCollectSharesNothingAway(t *testing.T) {
	p := start(t)
	var d digest.Digest
	for _, repo := range []string{"a", "b"} {
		d = p.push(repo, "v1", p.image(repo, "{}", "layer"))
	}
	p.clock.Step(2 * linkLife)
	p.want(202, "DELETE", "/v2/a/manifests/"+string(d), nil)
	p.collectNow()
	p.want(404, "GET", "/v2/a/blobs/"+string(digest.FromString("layer")), nil)
	p.want(200, "GET", "/v2/b/blobs/"+string(digest.FromString("layer")), nil)
	p.want(200, "GET", "/v2/b/manifests/v1", nil)
	p.want(202, "DELETE", "/acr/v1/b", nil)
	p.collectNow()
	if n := countFiles(t, p); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// bytes holds what the registry says that it holds.
func (p *plant) bytes(want int64) {
	p.t.Helper()
	err := p.store.View(p.t.Context(), func(tx store.Tx) error {
		got, err := p.Usage(tx, "uid-1")
		if got != want {
			p.t.Errorf("usage is %d, want %d", got, want)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func countFiles(t *testing.T, p *plant) (n int) {
	t.Helper()
	if err := p.eachFile(t.Context(), func(string, string, digest.Digest) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCollectDuringPushes pushes, deletes and collects at once: whatever a push was
// told to be there is there in the end.
func TestCollectDuringPushes(t *testing.T) {
	p := start(t)
	ctx, stop := context.WithCancel(t.Context())
	var collector, pushers sync.WaitGroup
	collector.Go(func() {
		for ctx.Err() == nil {
			// each layer is due as soon as it is pushed, and old enough unless it was
			// asked for just now
			p.clock.Step(linkLife / 4)
			if err := p.collectDue(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	const workers, rounds = 4, 25
	tags := make([]map[string]string, workers)
	for w := range workers {
		tags[w] = map[string]string{}
		pushers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range rounds {
				// the same few layers in every repository, so that all meet
				repo, tag := fmt.Sprintf("r%d", random.IntN(2)), fmt.Sprintf("w%d-%d", w, i%5)
				layers := []string{fmt.Sprintf("layer %d", random.IntN(4)), fmt.Sprintf("layer %d", random.IntN(4))}
				manifest := tryImage(p, repo, fmt.Sprint(random.IntN(3)), layers)
				a := p.do("owner:owner", "PUT", one, "/v2/"+repo+"/manifests/"+tag, manifest, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
				switch {
				case a.status == 201:
					tags[w][repo+"/manifests/"+tag] = string(manifest)
				case a.code() == "MANIFEST_BLOB_UNKNOWN": // a day went by between the two: push again
				default:
					t.Errorf("push: %d %s", a.status, a.body)
				}
				if random.IntN(4) == 0 {
					p.do("owner:owner", "DELETE", one, "/v2/"+repo+"/manifests/"+tag, nil)
					delete(tags[w], repo+"/manifests/"+tag)
				}
			}
		})
	}
	pushers.Wait()
	stop()
	collector.Wait()
	p.healthy()
	for _, mine := range tags {
		for path, manifest := range mine {
			if a := p.do("owner:owner", "GET", one, "/v2/"+path, nil); a.status != 200 || a.body != manifest {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	}
}

// TestCollectWhatComesBack removes a blob and pushes it again, over and over, in
// several repositories at once: whoever was told that it is there finds it.
func TestCollectWhatComesBack(t *testing.T) {
	p := start(t)
	var pushers sync.WaitGroup
	const text = "the same layer"
	d := string(digest.FromString(text))
	for w := range 4 {
		pushers.Go(func() {
			path := fmt.Sprintf("/v2/r%d/blobs/", w)
			for range 40 {
				if a := p.do("owner:owner", "POST", one, path+"uploads/?digest="+d, []byte(text)); a.status != 201 {
					t.Errorf("push: %d %s", a.status, a.body)
				}
				if a := p.do("owner:owner", "GET", one, path+d, nil); a.status != 200 || a.body != text {
					t.Errorf("after a push: %d %s", a.status, a.body)
				}
				if a := p.do("owner:owner", "DELETE", one, path+d, nil); a.status != 202 { // wakes the collector
					t.Errorf("delete: %d %s", a.status, a.body)
				}
			}
		})
	}
	pushers.Wait()
	p.collectNow()
	if r := p.healthy(); r.Blobs != 0 || r.Orphans != 0 {
		t.Errorf("left: %+v", r)
	}
	p.bytes(0)
}

func tryImage(p *plant, repo, config string, layers []string) []byte {
	push := func(text string) string {
		d := digest.FromString(text)
		p.do("owner:owner", "POST", one, "/v2/"+repo+"/blobs/uploads/?digest="+string(d), []byte(text))
		return fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":%d}`, d, len(text))
	}
	var all []string
	for _, l := range layers {
		all = append(all, push(l))
	}
	return []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + push(config) + `,"layers":[` + strings.Join(all, ",") + `]}`)
}

func TestDeleteRegistry(t *testing.T) {
	p := start(t)
	p.push("a", "v1", p.image("a", "{}", "layer"))
	upload := p.want(202, "POST", "/v2/a/blobs/uploads/", nil).header.Get("Location")
	if err := p.store.Update(t.Context(), func(tx store.Tx) error { return p.DeleteRegistry(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	// a request that was under way ends without bringing anything back
	p.want(404, "PUT", upload+"?digest="+string(digest.FromString("x")), []byte("x"))
	p.collectNow()
	if _, err := os.Stat(filepath.Join(p.files.dir, "uid-1")); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	for _, bucket := range p.tables.buckets() {
		if rows, err := p.rows(t.Context(), bucket, "", 1); err != nil || len(rows) > 0 {
			t.Errorf("%s has %q, %v", bucket, rows, err)
		}
	}
}

// TestLeftovers holds that files which a crash left, and nothing names, go, and that
// damage is found.
func TestLeftovers(t *testing.T) {
	p := start(t)
	d := p.push("a", "v1", p.image("a", "{}", "layer"))
	stray := p.files.blob("uid-1", digest.FromString("stray"))
	for path, text := range map[string]string{
		stray: "stray", p.files.upload("uid-1", "manifest-OF-ANOTHER-PROCESS"): "x", p.files.upload("uid-1", strings.Repeat("A", 26)): "x",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := p.healthy(); r.Orphans != 1 || r.Blobs != 3 || r.Manifests != 1 {
		t.Errorf("report: %+v", r)
	}
	if err := p.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := countFiles(t, p); n != 3 {
		t.Errorf("%d files after the sweep", n)
	}
	if err := os.WriteFile(p.files.blob("uid-1", digest.FromString("layer")), []byte("Layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.files.blob("uid-1", d)); err != nil {
		t.Fatal(err)
	}
	r, err := p.Check(t.Context())
	if err != nil || len(r.Problems) != 2 {
		t.Errorf("report: %+v, %v", r, err)
	}
	// pushing again mends it
	p.push("a", "v1", p.image("a", "{}", "layer"))
	p.healthy()
}
