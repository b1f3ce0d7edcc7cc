package ml_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJobsReadAndWriteFileShares runs a job whose code, inputs and outputs are in
// the share of the datastore workspacefilestore.
func TestJobsReadAndWriteFileShares(t *testing.T) {
	h := newHarness(t)
	share := "azureml-filestore-" + wsGUID
	h.must(h.Files.EnsureShare(t.Context(), account, share))
	for name, text := range map[string]string{"src/train.py": "print('hi')", "data/iris.csv": "1,2,3", "data/dir/a.txt": "a", "data/dir/b/c.txt": "c"} {
		h.must(h.Files.PutFile(t.Context(), account, share, name, strings.NewReader(text)))
	}
	const store = "azureml://datastores/workspacefilestore/paths/"
	h.submit("j1", "command", "python train.py ${{inputs.data}} ${{inputs.dir}} ${{outputs.model}}",
		"inputs.data", map[string]any{"jobInputType": "uri_file", "uri": store + "data/iris.csv"},
		"inputs.dir", map[string]any{"jobInputType": "uri_folder", "uri": store + "data/dir/", "mode": "Download"},
		"outputs.model", map[string]any{"jobOutputType": "uri_folder", "uri": store + "out/model"})
	s := h.prepare("j1", 1, 1)[0]
	data := filepath.Join(strings.TrimSuffix(s.Dir, "/exe/wd"), "cap/data-capability/wd")
	for file, text := range map[string]string{data + "/INPUT_data/iris.csv": "1,2,3", data + "/INPUT_dir/a.txt": "a", data + "/INPUT_dir/b/c.txt": "c"} {
		if b, err := os.ReadFile(file); err != nil || string(b) != text {
			t.Errorf("%s is %q, %v, want %q", file, b, err, text)
		}
	}
	h.started("j1", 1)
	h.write(data+"/OUTPUT_model/deep/m.bin", "m")
	h.finish("j1", 1, completed())
	f, err := h.Files.OpenFile(t.Context(), account, share, "out/model/deep/m.bin")
	h.must(err)
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "m" {
		t.Errorf("the output is %q (%v)", b, err)
	}
	h.submit("j2", "inputs.d", map[string]any{"jobInputType": "uri_file", "uri": store + "nope"})
	if _, err := h.ML.Prepare(t.Context(), h.item("j2", 1), h.nodes(1)); err == nil || !strings.Contains(err.Error(), ".file.core.windows.net/"+share+"/nope was not found") {
		t.Errorf("a file that is not there: %v", err)
	}
}
