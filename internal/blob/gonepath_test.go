package blob

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// TestDeletedPaths deletes files and directories of a tree that soft delete keeps,
// lists them and brings them back.
func TestDeletedPaths(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	if err := w.store.Update(t.Context(), func(tx store.Tx) error {
		return w.svc.SetRetentionIn(tx, "uid-lake", RetentionPolicy{Days: 7})
	}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", inlineLimit+1)
	for name, body := range map[string]string{"a/b/one": "one", "a/two": long, "c/three": "three", "four": "four"} {
		write(t, fs, name, body)
	}
	list := func(query string) (names []string, ids map[string]string) {
		t.Helper()
		resp := w.lakeBlob("GET", "tree?restype=container&comp=list&showonly=deleted"+query)
		want(t, resp, 200, "")
		var doc struct {
			Blobs struct {
				Blob []struct {
					Name, DeletionId string
					Deleted          bool
					Properties       struct{ ResourceType string }
				}
				BlobPrefix []struct{ Name string }
			}
		}
		if err := xml.Unmarshal([]byte(strings.TrimPrefix(text(resp), "\ufeff")), &doc); err != nil {
			t.Fatal(err)
		}
		ids = map[string]string{}
		for _, p := range doc.Blobs.BlobPrefix {
			names = append(names, p.Name)
		}
		for _, b := range doc.Blobs.Blob {
			if !b.Deleted {
				t.Errorf("%s is not deleted", b.Name)
			}
			names = append(names, b.Name+" "+b.Properties.ResourceType)
			ids[b.Name] = b.DeletionId
		}
		return names, ids
	}
	told := w.dfs("DELETE", "tree/a?recursive=true", "")
	want(t, told, 200, "")
	want(t, w.dfs("DELETE", "tree/c/three", ""), 200, "")
	want(t, w.lakeBlob("DELETE", "tree/four"), 202, "")
	want(t, w.dfs("HEAD", "tree/a/two", ""), 404, "PathNotFound")
	names, ids := list("")
	if got := strings.Join(names, ", "); got != "a directory, c/three file, four file" {
		t.Errorf("deleted: %s", got)
	}
	if ids["a"] != told.Header.Get("x-ms-deletion-id") {
		t.Errorf("deletion ID %s, told %s", ids["a"], told.Header.Get("x-ms-deletion-id"))
	}
	if names, _ := list("&delimiter=/"); strings.Join(names, ", ") != "c/, a directory, four file" {
		t.Errorf("deleted by directory: %v", names)
	}
	if names, _ := list("&prefix=c/"); strings.Join(names, ", ") != "c/three file" {
		t.Errorf("deleted in c: %v", names)
	}
	w.sound()
	undelete := func(path, id string) *http.Response {
		return w.dfs("PUT", "tree/"+path+"?comp=undelete", "", "x-ms-undelete-source", path+"?deletionid="+id)
	}
	want(t, undelete("a", "12345"), 404, "PathNotFound")
	write(t, fs, "four", "new")
	want(t, undelete("four", ids["four"]), 409, "PathAlreadyExists")
	resp := undelete("a", ids["a"])
	want(t, resp, 200, "")
	if resp.Header.Get("x-ms-resource-type") != "directory" {
		t.Error(resp.Header)
	}
	want(t, undelete("a", ids["a"]), 404, "PathNotFound")
	for path, body := range map[string]string{"a/b/one": "one", "a/two": long, "four": "new"} {
		if got := text(w.dfs("GET", "tree/"+path, "")); got != body {
			t.Errorf("%s has %d bytes, want %d", path, len(got), len(body))
		}
	}
	// The directory above may be gone by then.
	want(t, w.dfs("DELETE", "tree/c?recursive=true", ""), 200, "")
	want(t, undelete("c/three", ids["c/three"]), 200, "")
	if got := text(w.dfs("GET", "tree/c/three", "")); got != "three" {
		t.Errorf("c/three is %q", got)
	}
	// After its time all of a deleted directory goes.
	want(t, w.dfs("DELETE", "tree/a?recursive=true", ""), 200, "")
	w.clock.Advance(8 * 24 * time.Hour)
	if err := w.svc.eng.expirePast(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names, _ := list(""); len(names) != 0 || w.count(bucketFiles) != 0 || w.count(bucketDue) != 0 {
		t.Errorf("left: %v, %d files, %d due", names, w.count(bucketFiles), w.count(bucketDue))
	}
	// A file system that goes takes what it keeps with it.
	want(t, w.dfs("DELETE", "tree/c?recursive=true", ""), 200, "")
	want(t, w.dfs("DELETE", "tree?resource=filesystem", ""), 202, "")
	if err := w.svc.eng.reapAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.count(bucketPast) + w.count(bucketInline) + w.count(bucketBlobs); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	w.sound()
}
