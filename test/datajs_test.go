package test

import (
	"encoding/base64"
	"io"
	"net/http"
	"testing"
)

// TestStorageOfJavaScript drives blobs and a file system with @azure/storage-blob
// and @azure/storage-file-datalake, unmodified.
func TestStorageOfJavaScript(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "npm-blob")
	e := newEnv(t)
	e.serve()
	w := e.wire()
	flat, tree := w.storageAccount(t, "stscript001", ""), w.storageAccount(t, "stscript002", `"isHnsEnabled":true`)
	key := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	d.run(t, e, flat.Name, key(flat.Keys[0]), tree.Name, key(tree.Keys[0]))
	// Anybody sees the website that it left.
	for path, status := range map[string]int{"/": 200, "/none": 404} {
		resp, err := w.http.Get("https://stscript001.z13.web.core.windows.net" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status || status == http.StatusOK && string(b) != "<h1>home</h1>" {
			t.Errorf("%s: HTTP %d %s", path, resp.StatusCode, b)
		}
	}
}
