package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// crash makes every file operation from the nth on fail, as if the process had
// ended there. It returns how many there were.
func crash(f *files, n int) *int {
	steps := 0
	f.fault = func(step string) error {
		if steps++; n > 0 && steps >= n {
			return fmt.Errorf("crash at step %d (%s)", steps, step)
		}
		return nil
	}
	return &steps
}

// reopen ends the service without any clean-up of its own and starts another on
// the same directory and store.
func (w *world) reopen() {
	w.tb.Helper()
	w.svc.Close()
	w.start()
	// What the background does at the start, done here so that it is done now.
	if _, err := w.svc.eng.sweep(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
	if err := w.svc.eng.reapAll(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// count is how many rows a bucket has.
func (w *world) count(bucket string) (n int) {
	w.tb.Helper()
	if err := w.store.View(w.tb.Context(), func(tx store.Tx) error {
		for _, err := range tx.Scan(bucket, store.Range{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}); err != nil {
		w.tb.Fatal(err)
	}
	return n
}

func TestCrashLeavesTheOldBlobOrTheNew(t *testing.T) {
	old, fresh := bytes.Repeat([]byte("old"), inlineLimit), bytes.Repeat([]byte("fresh"), inlineLimit)
	for name, write := range map[string]func(w *world) error{
		"put": func(w *world) error {
			_, err := w.svc.PutBlob(t.Context(), "acct", "box", "b", bytes.NewReader(fresh), Headers{})
			return err
		},
		"put small": func(w *world) error {
			_, err := w.svc.PutBlob(t.Context(), "acct", "box", "b", bytes.NewReader(fresh[:5]), Headers{})
			return err
		},
		"blocks": func(w *world) error {
			r := ref{uid: "uid-1", container: "box", name: "b"}
			for i, part := range [][]byte{fresh[:inlineLimit*2], fresh[inlineLimit*2:]} {
				in, err := w.svc.eng.files.take(bytes.NewReader(part), 1<<30, false)
				if err != nil {
					return err
				}
				if err := w.svc.eng.stage(t.Context(), r, fmt.Sprintf("AAA%d", i), in, nil); err != nil {
					return err
				}
			}
			_, err := w.svc.eng.commit(t.Context(), r, []blockChoice{{"AAA0", "Latest"}, {"AAA1", "Latest"}}, func(*blobRec) (*blobRec, error) {
				return &blobRec{Type: BlockBlob}, nil
			})
			return err
		},
		"delete": func(w *world) error { return w.svc.DeleteBlob(t.Context(), "acct", "box", "b") },
	} {
		for n := 1; ; n++ {
			w := newWorld(t)
			w.seed()
			keep := []RetentionPolicy{{}, {Days: 7}, {Versioning: true}}[n%3]
			w.retain(keep)
			if _, err := w.svc.PutBlob(t.Context(), "acct", "box", "b", bytes.NewReader(old), Headers{}); err != nil {
				t.Fatal(err)
			}
			steps := crash(w.svc.eng.files, n)
			err := write(w)
			w.reopen()
			got, rerr := w.read("b")
			switch {
			case err != nil && (rerr != nil || !bytes.Equal(got, old)):
				t.Errorf("%s, crash at %d: failed with %v, but then the blob is %d bytes (%v)", name, n, err, len(got), rerr)
			case err == nil && name == "delete":
				if !HasCode(rerr, "BlobNotFound") {
					t.Errorf("%s, crash at %d: the blob is there again (%v)", name, n, rerr)
				}
			case err == nil && (rerr != nil || !bytes.HasPrefix(fresh, got) || len(got) == 0):
				t.Errorf("%s, crash at %d: succeeded, but then the blob is %d bytes (%v)", name, n, len(got), rerr)
			}
			if past := w.count(bucketPast); past != 0 && (err != nil || keep == RetentionPolicy{}) || err == nil && past != 1 && keep != (RetentionPolicy{}) {
				t.Errorf("%s, crash at %d: %d rows of the past", name, n, past)
			}
			r, cerr := w.svc.Check(t.Context())
			if cerr != nil || len(r.Problems) > 0 || r.Orphans > 0 {
				t.Errorf("%s, crash at %d: check %+v %v", name, n, r, cerr)
			}
			if *steps < n-2 { // each policy has got through
				break
			}
		}
	}
}

func TestCrashOfAppendKeepsWhatWasAcknowledged(t *testing.T) {
	for n := 1; n < 40; n++ {
		w := newWorld(t)
		w.seed()
		steps := crash(w.svc.eng.files, n)
		var acked string
		var failed error
		for i := range 8 {
			line := fmt.Sprintf("line %d\n", i)
			if _, failed = w.svc.AppendBlob(t.Context(), "acct", "box", "log", []byte(line)); failed != nil {
				break
			}
			acked += line
		}
		w.reopen()
		if got, err := w.read("log"); string(got) != acked && !(acked == "" && HasCode(err, "BlobNotFound")) {
			t.Errorf("crash at %d: %q, want %q", n, got, acked)
		}
		// It goes on where it was, over whatever the crash left in the file.
		if f := w.file("log"); f != "" {
			h := must[*os.File](t)(os.OpenFile(f, os.O_APPEND|os.O_WRONLY, 0))
			h.WriteString("torn bytes that were never acknowledged")
			h.Close()
		}
		if _, err := w.svc.AppendBlob(t.Context(), "acct", "box", "log", []byte("end\n")); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.read("log"); string(got) != acked+"end\n" {
			t.Errorf("crash at %d: %q after going on", n, got)
		}
		if r := must[*Report](t)(w.svc.Check(t.Context())); len(r.Problems) > 0 || r.Orphans > 0 {
			t.Errorf("crash at %d: check %+v", n, r)
		}
		if failed == nil && *steps < n {
			return
		}
	}
	t.Error("the crashes never ended")
}

func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.seed()
	full := false
	w.svc.eng.files.fault = func(step string) error {
		if full && step == "write" {
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}
		return nil
	}
	big := strings.Repeat("x", inlineLimit+1)
	want(t, w.do("PUT", "box/b", big, "x-ms-blob-type", "BlockBlob"), 201, "")
	full = true
	resp := w.do("PUT", "box/b", big+"y", "x-ms-blob-type", "BlockBlob")
	want(t, resp, 507, "InternalError")
	if !strings.Contains(text(resp), "no space left on the disk") {
		t.Error("the reason is missing")
	}
	want(t, w.do("PUT", "box/b?comp=block&blockid=AAAA", big, "x-ms-blob-type", "BlockBlob"), 507, "InternalError")
	if _, err := w.svc.AppendBlob(t.Context(), "acct", "box", "log", []byte("x")); !storage.IsFull(err) {
		t.Errorf("append: %v", err)
	}
	full = false
	if got, err := w.read("b"); err != nil || string(got) != big {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if r := must[*Report](t)(w.svc.Check(t.Context())); len(r.Problems) > 0 || r.Orphans > 0 {
		t.Errorf("check: %+v", r)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"missing": os.Remove,
		"short":   func(p string) error { return os.Truncate(p, 5) },
		"changed": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[7] ^= 1
			return os.WriteFile(p, b, 0o600)
		},
	} {
		w := newWorld(t)
		w.seed()
		if _, err := w.svc.PutBlob(t.Context(), "acct", "box", "b", bytes.NewReader(make([]byte, inlineLimit+1)), Headers{}); err != nil {
			t.Fatal(err)
		}
		if err := damage(w.file("b")); err != nil {
			t.Fatal(err)
		}
		if r := must[*Report](t)(w.svc.Check(t.Context())); len(r.Problems) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		if name == "missing" {
			want(t, w.do("GET", "box/b", ""), 500, "InternalError")
		}
	}
}

func TestReadersKeepWhatTheyOpened(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	r := ref{uid: "uid-1", container: "box", name: "b"}
	data := bytes.Repeat([]byte("0123456789"), inlineLimit)
	stage := func() {
		for i := range 3 {
			in, err := w.svc.eng.files.take(bytes.NewReader(data), 1<<30, false)
			if err == nil {
				err = w.svc.eng.stage(ctx, r, fmt.Sprintf("AAA%d", i), in, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.svc.eng.commit(ctx, r, []blockChoice{{"AAA0", "Latest"}, {"AAA1", "Latest"}, {"AAA2", "Latest"}},
			func(*blobRec) (*blobRec, error) { return &blobRec{Type: BlockBlob}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	stage()
	rd, p, err := w.svc.OpenBlob(ctx, "acct", "box", "b")
	if err != nil || p.Size != 3*int64(len(data)) {
		t.Fatal(p, err)
	}
	if err := w.svc.DeleteBlob(ctx, "acct", "box", "b"); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := rd.Seek(int64(len(data))-3, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(rd)
	if err != nil || !bytes.Equal(got, append([]byte("789"), append(data, data...)...)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	rd.Close()
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := must[*Report](t)(w.svc.Check(ctx)); rep.Files+rep.Orphans != 0 {
		t.Errorf("left %+v", rep)
	}
}

func TestUncommittedBlocksExpire(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	for _, name := range []string{"dir/file", "only"} {
		in, err := w.svc.eng.files.take(bytes.NewReader(make([]byte, inlineLimit+1)), 1<<30, false)
		if err == nil {
			err = w.svc.eng.stage(ctx, ref{uid: "uid-1", container: "box", name: name}, "AAAA", in, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Advance(stagedLife - time.Hour)
	if err := w.svc.eng.expireStaged(ctx); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Files != 2 {
		t.Errorf("too early: %+v", r)
	}
	w.clock.Advance(2 * time.Hour)
	if err := errors.Join(w.svc.eng.expireStaged(ctx), w.svc.eng.reapAll(ctx)); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Files+r.Orphans != 0 || r.Blobs != 1 {
		t.Errorf("too late: %+v", r)
	}
	if _, _, _, err := w.svc.eng.blockLists(ctx, ref{uid: "uid-1", container: "box", name: "only"}); !HasCode(err, "BlobNotFound") {
		t.Errorf("err = %v", err)
	}
}

// read returns all of a blob of box.
func (w *world) read(name string) ([]byte, error) {
	rd, _, err := w.svc.OpenBlob(w.tb.Context(), "acct", "box", name)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	return io.ReadAll(rd)
}

// file is the path of the file of a blob of box, or "".
func (w *world) file(name string) string {
	b, err := w.svc.eng.stat(w.tb.Context(), ref{uid: "uid-1", container: "box", name: name})
	if err != nil || b.File == "" {
		return ""
	}
	return w.svc.eng.files.path(b.File)
}

// brokenStore fails updates, before or after they are durable.
type brokenStore struct {
	store.Store
	before, after bool
}

func (b *brokenStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if b.before {
		return errors.New("the store failed")
	}
	if err := b.Store.Update(ctx, fn); err != nil || !b.after {
		return err
	}
	return errors.New("the store was lost after it had committed")
}

func TestStoreFailureLeavesTheOldBlobOrTheNew(t *testing.T) {
	old, fresh := strings.Repeat("old", inlineLimit), strings.Repeat("fresh", inlineLimit)
	for _, after := range []bool{false, true} {
		w := newWorld(t)
		w.seed()
		ctx := t.Context()
		put := func(s string) error {
			_, err := w.svc.PutBlob(ctx, "acct", "box", "b", strings.NewReader(s), Headers{})
			return err
		}
		if err := put(old); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.AppendBlob(ctx, "acct", "box", "log", []byte("one\n")); err != nil {
			t.Fatal(err)
		}
		w.svc.eng.store = &brokenStore{Store: w.store, before: !after, after: after}
		if err := put(fresh); err == nil {
			t.Error("no error")
		}
		if _, err := w.svc.AppendBlob(ctx, "acct", "box", "log", []byte("two\n")); err == nil {
			t.Error("no error")
		}
		w.svc.eng.store = w.store
		w.reopen()
		want, log := old, "one\n"
		if after {
			want, log = fresh, "one\ntwo\n"
		}
		if got, err := w.read("b"); err != nil || string(got) != want {
			t.Errorf("after=%v: %d bytes, %v", after, len(got), err)
		}
		if got, err := w.read("log"); err != nil || string(got) != log {
			t.Errorf("after=%v: %q, %v", after, got, err)
		}
		if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Orphans > 0 {
			t.Errorf("after=%v: check %+v", after, r)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 25 {
				// All write one blob, with contents that tell a torn read.
				data := bytes.Repeat([]byte{byte('a' + g)}, inlineLimit-50+100*(i%3))
				if _, err := w.svc.PutBlob(ctx, "acct", "box", "hot", bytes.NewReader(data), Headers{}); err != nil {
					t.Error(err)
				}
				if got, err := w.read("hot"); err != nil || len(bytes.Trim(got, string(got[:1]))) != 0 {
					t.Errorf("read %d bytes: %v", len(got), err)
				}
				if _, err := w.svc.AppendBlob(ctx, "acct", "box", "log", []byte("line\n")); err != nil {
					t.Error(err)
				}
				if i%10 == 9 {
					if err := w.svc.DeleteBlob(ctx, "acct", "box", "gone"); err != nil && !HasCode(err, "BlobNotFound") {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got, err := w.read("log"); err != nil || string(got) != strings.Repeat("line\n", 100) {
		t.Errorf("log has %d bytes: %v", len(got), err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); len(r.Problems) > 0 || r.Orphans > 0 {
		t.Errorf("check: %+v", r)
	}
}
