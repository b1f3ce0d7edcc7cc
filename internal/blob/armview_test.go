package blob

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// update runs f in a write transaction.
func (w *world) update(f func(tx store.Tx) error) error {
	return w.store.Update(w.tb.Context(), f)
}

func TestContainersOfTheManagementPlane(t *testing.T) {
	w := newWorld(t)
	err := w.update(func(tx store.Tx) error {
		for i := range 5 {
			in := ContainerInfo{Name: fmt.Sprintf("box-%d", i), Metadata: map[string]string{"n": fmt.Sprint(i)}, Hierarchical: i == 4}
			if err := w.svc.PutContainerIn(tx, "uid-1", in); err != nil {
				return err
			}
		}
		return w.svc.PutContainerIn(tx, "uid-2", ContainerInfo{Name: "other"})
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, w.do("GET", "box-3?restype=container", ""), 200, "")
	var first ContainerInfo
	err = w.store.View(t.Context(), func(tx store.Tx) error {
		var names []string
		for after := ""; ; {
			page, err := w.svc.ContainersIn(tx, "uid-1", after, 2)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for _, c := range page {
				names = append(names, c.Name)
				if c.Hierarchical != (c.Name == "box-4") {
					t.Errorf("%s: hierarchical %v", c.Name, c.Hierarchical)
				}
			}
			after = page[len(page)-1].Name
		}
		if got := strings.Join(names, " "); got != "box-0 box-1 box-2 box-3 box-4" {
			t.Errorf("containers %s", got)
		}
		if _, err := w.svc.ContainerIn(tx, "uid-2", "box-0"); !HasCode(err, "ContainerNotFound") {
			t.Errorf("another account's container: %v", err)
		}
		var err error
		first, err = w.svc.ContainerIn(tx, "uid-1", "box-0")
		return err
	})
	if err != nil || first.Metadata["n"] != "0" || first.PublicAccess != "" || first.Modified.IsZero() {
		t.Fatalf("container %+v, %v", first, err)
	}
	// A change keeps the blobs, and the kind of the container.
	if _, err := w.svc.PutBlob(t.Context(), "acct", "box-0", "a/b", strings.NewReader("kept"), Headers{}); err != nil {
		t.Fatal(err)
	}
	err = w.update(func(tx store.Tx) error {
		if err := w.svc.PutContainerIn(tx, "uid-1", ContainerInfo{Name: "Not A Name"}); !HasCode(err, "InvalidResourceName") {
			t.Errorf("bad name: %v", err)
		}
		return w.svc.PutContainerIn(tx, "uid-1", ContainerInfo{Name: "box-0", PublicAccess: "blob", Hierarchical: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.store.View(t.Context(), func(tx store.Tx) error {
		c, err := w.svc.ContainerIn(tx, "uid-1", "box-0")
		if c.PublicAccess != "blob" || c.Metadata != nil || c.ETag == first.ETag || c.Hierarchical {
			t.Errorf("after change %+v", c)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, w.get("GET", acctURL+"box-0/a/b", ""), 200, "")
}

func TestDeletionsOfTheManagementPlane(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	// A transaction that fails takes the deletion back.
	broken := errors.New("the rest of the transaction failed")
	err := w.update(func(tx store.Tx) error {
		if err := w.svc.DeleteAccountIn(tx, "uid-1"); err != nil {
			return err
		}
		if err := w.svc.DeleteContainerIn(tx, "uid-1", "box"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	want(t, w.do("GET", "box/dir/file", ""), 200, "")

	if err := w.update(func(tx store.Tx) error {
		if err := w.svc.DeleteContainerIn(tx, "uid-1", "none"); err != nil {
			return err
		}
		return w.svc.DeleteContainerIn(tx, "uid-1", "box")
	}); err != nil {
		t.Fatal(err)
	}
	want(t, w.do("GET", "box/dir/file", ""), 404, "ContainerNotFound")
	// What a crash before Reclaim leaves, the next start reaps.
	if err := w.svc.Close(); err != nil {
		t.Fatal(err)
	}
	w.start()
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	w.seed()
	if err := w.update(func(tx store.Tx) error { return w.svc.DeleteAccountIn(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	w.svc.Reclaim()
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Blobs+r.Files+r.Orphans != 0 || len(r.Problems) > 0 {
		t.Errorf("left %+v", r)
	}
	left := 0
	if err := w.store.View(ctx, func(tx store.Tx) error {
		for _, bucket := range []string{bucketContainers, bucketBlobs, bucketInline, bucketGarbage} {
			for _, err := range tx.Scan(bucket, store.Range{}) {
				if err != nil {
					return err
				}
				left++
			}
		}
		return nil
	}); err != nil || left != 0 {
		t.Errorf("%d rows left, %v", left, err)
	}
}
