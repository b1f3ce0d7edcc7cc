package blob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func (w *world) lifecycle(rules ...LifecycleRule) {
	w.tb.Helper()
	if err := w.store.Update(w.tb.Context(), func(tx store.Tx) error { return w.svc.SetLifecycleIn(tx, "uid-1", &LifecyclePolicy{rules}) }); err != nil {
		w.tb.Fatal(err)
	}
}

// days passes and carries out what is due.
func (w *world) days(n int) {
	w.tb.Helper()
	w.clock.Advance(time.Duration(n)*24*time.Hour + time.Minute)
	if err := w.svc.eng.runLifecycles(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

func after(days float64) *LifecycleAge { return &LifecycleAge{Modified: &days} }

func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{Versioning: true})
	ctx := t.Context()
	created := func(days float64) *LifecycleAge { return &LifecycleAge{Created: &days} }
	w.lifecycle(
		LifecycleRule{Types: []Type{BlockBlob}, Prefixes: []string{"box/tmp/", "other"}, Base: LifecycleActions{Delete: after(7)}},
		LifecycleRule{Types: []Type{BlockBlob}, Prefixes: []string{"bo"}, Tags: map[string]string{"stage": "old"}, Base: LifecycleActions{Cool: after(2), Cold: after(4)}},
		LifecycleRule{Types: []Type{BlockBlob}, Snapshot: LifecycleActions{Delete: created(3)}, Version: LifecycleActions{Delete: created(10)}},
	)
	upload(t, cc, "tmp/a", "x")
	upload(t, cc, "tmp.txt", "x")
	tagged := cc.NewBlockBlobClient("tagged")
	must[blockblob.UploadResponse](t)(tagged.Upload(ctx, sbody("x"), &blockblob.UploadOptions{Tags: map[string]string{"stage": "old"}}))
	if _, err := cc.NewAppendBlobClient("tmp/log").Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	upload(t, cc, "v", "one")
	upload(t, cc, "v", "two")
	if _, err := cc.NewBlobClient("v").CreateSnapshot(ctx, nil); err != nil {
		t.Fatal(err)
	}
	tier := func() string {
		t.Helper()
		p, err := tagged.GetProperties(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		return *p.AccessTier
	}
	wantNames(t, cc, container.ListBlobsInclude{}, "tagged tmp.txt tmp/a tmp/log v")
	w.clock.Advance(3 * time.Hour) // rules take up to a day
	if err := w.svc.eng.runLifecycles(ctx); err != nil {
		t.Fatal(err)
	}
	w.days(3)
	if got := tier(); got != "Cool" {
		t.Errorf("after 3 days the tagged blob is %s", got)
	}
	snapshots := container.ListBlobsInclude{Snapshots: true}
	wantNames(t, cc, snapshots, "tagged tmp.txt tmp/a tmp/log v")
	w.days(2)
	if got := tier(); got != "Cold" {
		t.Errorf("after 5 days the tagged blob is %s", got)
	}
	w.days(3)
	wantNames(t, cc, container.ListBlobsInclude{}, "tagged tmp.txt tmp/log v")
	wantNames(t, cc, container.ListBlobsInclude{Versions: true}, "tagged! tmp.txt! tmp/a@ tmp/log! v@ v@ v!")
	w.days(4)
	wantNames(t, cc, container.ListBlobsInclude{Versions: true}, "tagged! tmp.txt! tmp/log! v!")
	// No rules, nothing to do.
	w.lifecycle()
	w.days(90)
	wantNames(t, cc, container.ListBlobsInclude{}, "tagged tmp.txt tmp/log v")
	if got := content(ctx, cc.NewBlobClient("v")); got != "two" {
		t.Errorf("v is %q", got)
	}
}

// TestLifecycleSpares lets the rules alone what is leased, what has snapshots, and
// what was written again.
func TestLifecycleSpares(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{})
	ctx := t.Context()
	w.lifecycle(LifecycleRule{Types: []Type{BlockBlob}, Base: LifecycleActions{Delete: after(1)}})
	for _, name := range []string{"again", "leased", "old", "shot"} {
		upload(t, cc, name, "x")
	}
	want(t, w.do("PUT", "box/leased?comp=lease", "", "x-ms-lease-action", "acquire", "x-ms-lease-duration", "-1"), 201, "")
	if _, err := cc.NewBlobClient("shot").CreateSnapshot(ctx, nil); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(20 * time.Hour)
	upload(t, cc, "again", "y")
	w.days(0)
	wantNames(t, cc, container.ListBlobsInclude{}, "again leased old shot")
	w.clock.Advance(5 * time.Hour)
	w.days(0)
	wantNames(t, cc, container.ListBlobsInclude{}, "again leased shot")
}

// TestLifecycleTree removes files of a hierarchical namespace, and their directory
// in the round after.
func TestLifecycleTree(t *testing.T) {
	w := newWorld(t)
	w.addAccount("lake", "uid-lake")
	if err := w.store.Update(t.Context(), func(tx store.Tx) error {
		if err := w.svc.PutContainerIn(tx, "uid-lake", ContainerInfo{Name: "lake", Hierarchical: true}); err != nil {
			return err
		}
		return w.svc.SetLifecycleIn(tx, "uid-lake", &LifecyclePolicy{[]LifecycleRule{{Types: []Type{BlockBlob}, Prefixes: []string{"lake/tmp"}, Base: LifecycleActions{Delete: after(1)}}}})
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tmp/deep/a", "keep/b"} {
		if _, err := w.svc.PutBlob(t.Context(), "lake", "lake", name, sbody("x"), Headers{}); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (out []string) {
		t.Helper()
		items, _, err := w.svc.eng.list(t.Context(), ref{uid: "uid-lake", container: "lake"}, listQuery{Max: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			out = append(out, it.Name)
		}
		return out
	}
	for _, want := range []int{4, 3, 2} { // of 5: keep, keep/b, tmp, tmp/deep, tmp/deep/a
		w.days(2)
		if got := names(); len(got) != want {
			t.Errorf("names %v, want %d", got, want)
		}
	}
}

// BenchmarkLifecycle is a round over blobs of which nothing is due, and that of
// which one in ten goes.
func BenchmarkLifecycle(b *testing.B) {
	const blobs = 5000
	w := newWorld(b)
	w.keeping(RetentionPolicy{})
	for i := range blobs {
		name := fmt.Sprintf("keep/%05d", i)
		if i%10 == 0 {
			name = fmt.Sprintf("tmp/%05d", i)
		}
		if _, err := w.svc.PutBlob(b.Context(), "acct", "box", name, strings.NewReader("x"), Headers{}); err != nil {
			b.Fatal(err)
		}
	}
	w.lifecycle(LifecycleRule{Types: []Type{BlockBlob}, Base: LifecycleActions{Delete: after(1000)}})
	began := time.Now()
	w.days(2)
	looked := float64(blobs) / time.Since(began).Seconds()
	w.lifecycle(LifecycleRule{Types: []Type{BlockBlob}, Prefixes: []string{"box/tmp"}, Base: LifecycleActions{Delete: after(1)}})
	began = time.Now()
	w.days(2)
	deleted := blobs / 10 / time.Since(began).Seconds()
	for b.Loop() { // a round that has nothing to do
		if err := w.svc.eng.runLifecycles(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(looked, "looked-at/s")
	b.ReportMetric(deleted, "deleted/s")
}
