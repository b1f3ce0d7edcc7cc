package blob

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// holdCopies keeps background copies from going on until the returned function is
// called.
func (w *world) holdCopies() (release func()) {
	gate := make(chan struct{})
	w.svc.eng.files.fault = func(step string) error {
		if step == "copy" {
			<-gate
		}
		return nil
	}
	return func() { close(gate) }
}

// copied waits until no copy is under way.
func (w *world) copied() {
	w.tb.Helper()
	if err := w.svc.eng.copyAll(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// otherSource makes a blob in another account and returns its URL with a SAS.
func (w *world) otherSource(name string, data []byte) string {
	w.tb.Helper()
	a := w.addAccount("other", "uid-other")
	if err := w.svc.EnsureContainer(w.tb.Context(), "other", "box"); err != nil {
		w.tb.Fatal(err)
	}
	if _, err := w.svc.PutBlob(w.tb.Context(), "other", "box", name, bytes.NewReader(data), Headers{ContentType: "text/x-other"}); err != nil {
		w.tb.Fatal(err)
	}
	q := must[string](w.tb)(storage.SignServiceSAS(a, storage.ServiceSAS{Container: "box", Permissions: "r", Expiry: w.clock.Now().Add(1e12)}))
	return "https://other.blob.core.windows.net/box/" + name + "?" + q
}

func TestCopyInTheBackground(t *testing.T) {
	w := newWorld(t)
	w.seed()
	data := bytes.Repeat([]byte("0123456789"), 5000)
	source := w.otherSource("src", data)
	release := w.holdCopies()
	start := func(name string) string {
		resp := w.do("PUT", "box/"+name, "", "x-ms-copy-source", source, "x-ms-meta-a", "b")
		want(t, resp, 202, "")
		if s := resp.Header.Get("x-ms-copy-status"); s != "pending" {
			t.Errorf("status %q", s)
		}
		return resp.Header.Get("x-ms-copy-id")
	}
	id, aborted := start("dst"), start("aborted")
	h := w.do("HEAD", "box/dst", "").Header
	if h.Get("x-ms-copy-status") != "pending" || h.Get("x-ms-copy-progress") != "0/50000" || h.Get("Content-Length") != "0" || h.Get("x-ms-copy-completion-time") != "" {
		t.Errorf("while it is pending: %v", h)
	}
	for _, c := range [][]string{
		{"PUT", "box/dst", "x-ms-blob-type", "BlockBlob"}, {"DELETE", "box/dst"}, {"PUT", "box/dst?comp=metadata"}, {"PUT", "box/dst?comp=snapshot"},
		{"PUT", "box/dst", "x-ms-copy-source", source},
	} {
		want(t, w.do(c[0], c[1], "", c[2:]...), 409, "PendingCopyOperation")
	}
	abort := func(name, id string) string { return "box/" + name + "?comp=copy&copyid=" + id }
	want(t, w.do("PUT", abort("aborted", id), "", "x-ms-copy-action", "abort"), 409, "CopyIdMismatch")
	want(t, w.do("PUT", abort("aborted", aborted), ""), 400, "MissingRequiredHeader")
	want(t, w.do("PUT", abort("aborted", aborted), "", "x-ms-copy-action", "abort"), 204, "")
	want(t, w.do("PUT", abort("aborted", aborted), "", "x-ms-copy-action", "abort"), 409, "NoPendingCopyOperation")
	want(t, w.do("PUT", abort("none", id), "", "x-ms-copy-action", "abort"), 404, "BlobNotFound")
	release()
	w.copied()
	h = w.do("HEAD", "box/dst", "").Header
	if h.Get("x-ms-copy-status") != "success" || h.Get("x-ms-copy-progress") != "50000/50000" || h.Get("x-ms-copy-id") != id ||
		h.Get("Content-Type") != "text/x-other" || h.Get("x-ms-meta-a") != "b" || strings.Contains(h.Get("x-ms-copy-source"), "sig=") {
		t.Errorf("when it is done: %v", h)
	}
	if got, err := w.read("dst"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if h := w.do("HEAD", "box/aborted", "").Header; h.Get("x-ms-copy-status") != "aborted" || h.Get("Content-Length") != "0" {
		t.Errorf("aborted: %v", h)
	}
	want(t, w.do("PUT", abort("dst", id), "", "x-ms-copy-action", "abort"), 409, "NoPendingCopyOperation")
	if w.count(bucketCopies) != 0 {
		t.Error("copies are left")
	}
	if list := text(w.do("GET", "box?restype=container&comp=list&include=copy", "")); !strings.Contains(list, "<CopyStatus>aborted</CopyStatus>") || !strings.Contains(list, "<CopyStatus>success</CopyStatus>") {
		t.Error(list)
	}
	if rep := must[*Report](t)(w.svc.Check(t.Context())); len(rep.Problems) > 0 || rep.Orphans > 0 {
		t.Errorf("check: %+v", rep)
	}
}

func TestCopiesGoOnAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.seed()
	data := bytes.Repeat([]byte("x"), 40_000)
	crash := errors.New("crash")
	w.svc.eng.files.fault = func(step string) error {
		if step == "copy" {
			return crash
		}
		return nil
	}
	changed := w.otherSource("changed", data)
	for name, source := range map[string]string{"dst": w.otherSource("src", data), "late": changed} {
		want(t, w.do("PUT", "box/"+name, "", "x-ms-copy-source", source), 202, "")
	}
	if _, err := w.svc.PutBlob(t.Context(), "other", "box", "changed", strings.NewReader("y"), Headers{}); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.copied()
	if got, err := w.read("dst"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	h := w.do("HEAD", "box/late", "").Header
	if h.Get("x-ms-copy-status") != "failed" || !strings.Contains(h.Get("x-ms-copy-status-description"), "SourceConditionNotMet") {
		t.Errorf("of a source that changed: %v", h)
	}
}

// TestLongAppendBlobsAreCopiedInTheBackground copies one of the same account, whose
// bytes cannot be shared, and a page blob of another.
func TestLongAppendBlobsAreCopiedInTheBackground(t *testing.T) {
	w := newWorld(t)
	w.seed()
	line := bytes.Repeat([]byte("l"), syncCopyLimit/4)
	for range 5 {
		if _, err := w.svc.AppendBlob(t.Context(), "acct", "box", "log", line); err != nil {
			t.Fatal(err)
		}
	}
	resp := w.do("PUT", "box/copy", "", "x-ms-copy-source", acctURL+"box/log")
	want(t, resp, 202, "")
	w.copied()
	if got, err := w.read("copy"); err != nil || len(got) != 5*len(line) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	want(t, w.do("PUT", "box/copy?comp=appendblock", "more"), 201, "")
	if _, p, err := w.svc.OpenBlob(t.Context(), "acct", "box", "log"); err != nil || p.Size != int64(5*len(line)) {
		t.Error(p, err)
	}
	if rep := must[*Report](t)(w.svc.Check(t.Context())); len(rep.Problems) > 0 || rep.Orphans > 0 {
		t.Errorf("check: %+v", rep)
	}
	rd, _, err := w.svc.OpenBlob(t.Context(), "acct", "box", "copy")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	tail := make([]byte, 4)
	if _, err := rd.ReadAt(tail, int64(5*len(line))); err != nil && err != io.EOF || string(tail) != "more" {
		t.Errorf("%q %v", tail, err)
	}
}
