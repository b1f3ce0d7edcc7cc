package ml_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/ml"
)

// engine stands in for what brings images.
type engine struct{}

func (engine) Pull(_ context.Context, image string, by ml.Puller, log io.Writer) (string, error) {
	fmt.Fprintf(log, "pulling %s\n", image)
	if by.Compute != "cpu-cluster" {
		return "", fmt.Errorf("pulled by %+v", by)
	}
	if image == "missing" {
		return "", fmt.Errorf("pull the image %s: there is none", image)
	}
	return "hub/" + image, nil
}

// Build says what it was given.
func (engine) Build(_ context.Context, name, dir, dockerfile string, log io.Writer) error {
	b, err := os.ReadFile(filepath.Join(dir, dockerfile))
	fmt.Fprintf(log, "building %s\n%s", name[:strings.IndexByte(name, ':')], b)
	return err
}

func (engine) String() string { return "engine 1.0" }

// TestImages prepares jobs that run in containers, and those that cannot.
func TestImages(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	h.images = engine{}
	h.nodeEnv = func(string) []string {
		return []string{"SSL_CERT_FILE=" + bundle, "JAVA_TOOL_OPTIONS=-Da=b -Dstore=" + bundle, "HTTPS_PROXY=http://p"}
	}
	h.restart()
	h.putBlob("box", "context/Dockerfile", "FROM a\n")
	for i, tt := range []struct {
		environment map[string]any
		fails, log  string
	}{
		{environment: map[string]any{"image": "i"}, log: "pulling i\n"},
		{environment: map[string]any{"image": "missing"}, fails: "there is none", log: "pulling missing\npull the image missing: there is none\n"},
		{environment: map[string]any{"build": map[string]any{"contextUri": "https://x/y"}}, fails: "build context 'https://x/y' cannot be had"},
		{environment: map[string]any{"build": map[string]any{"contextUri": contextURI, "dockerfilePath": "../x"}}, fails: "not in the build context"},
		{environment: map[string]any{"build": map[string]any{"contextUri": contextURI, "dockerfilePath": "none"}}, fails: "no 'none' in the build context"},
	} {
		env := fmt.Sprintf("%s/environments/e%d/versions/1", wsID, i)
		h.Want(201, "PUT", env, map[string]any{"properties": tt.environment})
		name := fmt.Sprintf("j%d", i)
		h.submit(name, "environmentId", env)
		specs, err := h.ML.Prepare(t.Context(), h.item(name, 1), h.nodes(1))
		if tt.log != "" {
			if got, _ := h.blobText("azureml", "ExperimentRun/dcid."+name+"/azureml-logs/20_image_build_log.txt"); got != tt.log {
				t.Errorf("%v: log %q", tt.environment, got)
			}
		}
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%v: %v", tt.environment, err)
			}
			continue
		}
		if err != nil || len(specs) != 1 {
			t.Fatalf("%v: %d tasks, %v", tt.environment, len(specs), err)
		}
		s := specs[0]
		root := filepath.Dir(filepath.Dir(s.Dir))
		if s.Image != "hub/i" || len(s.Mounts) != 2 || s.Mounts[0] != (compute.Mount{Path: root}) || s.Mounts[1] != (compute.Mount{Path: bundle, ReadOnly: true}) {
			t.Errorf("the task is %+v", s)
		}
		if path := envOf(s, "PATH"); path != "" {
			t.Errorf("the container has the machine's PATH %q", path)
		}
		if b, err := os.ReadFile(s.LogPath); err != nil || !strings.Contains(string(b), "The job runs in a container of the image hub/i (engine 1.0).\n") {
			t.Errorf("log is %q, %v", b, err)
		}
	}
}

// TestImagesThatAreBuilt prepares jobs whose environments have a build context or a conda
// file.
func TestImagesThatAreBuilt(t *testing.T) {
	h := newHarness(t)
	h.images = engine{}
	h.restart()
	h.putBlob("box", "context/Dockerfile", "FROM a\n")
	h.putBlob("box", "context/other/Dockerfile", "FROM b\n")
	for i, tt := range []struct {
		environment map[string]any
		log         []string
	}{
		{map[string]any{"build": map[string]any{"contextUri": contextURI}}, []string{"building localhost/azimuth-environment\nFROM a\n"}},
		{map[string]any{"build": map[string]any{"contextUri": contextURI, "dockerfilePath": "other/Dockerfile"}}, []string{"FROM b\n"}},
		{map[string]any{"image": "i", "condaFile": "dependencies: [six]"}, []string{"pulling i\nbuilding localhost/azimuth-environment\nFROM hub/i\nCOPY conda.yml"}},
		{map[string]any{"build": map[string]any{"contextUri": contextURI}, "condaFile": "dependencies: [six]"}, []string{"FROM a\n", "FROM localhost/azimuth-environment:"}},
	} {
		env := fmt.Sprintf("%s/environments/e%d/versions/1", wsID, i)
		h.Want(201, "PUT", env, map[string]any{"properties": tt.environment})
		name := fmt.Sprintf("j%d", i)
		h.submit(name, "environmentId", env)
		specs, err := h.ML.Prepare(t.Context(), h.item(name, 1), h.nodes(1))
		if err != nil || len(specs) != 1 || !strings.HasPrefix(specs[0].Image, "localhost/azimuth-environment:") {
			t.Errorf("%v: %+v, %v", tt.environment, specs, err)
			continue
		}
		got, _ := h.blobText("azureml", "ExperimentRun/dcid."+name+"/azureml-logs/20_image_build_log.txt")
		for _, want := range tt.log {
			if !strings.Contains(got, want) {
				t.Errorf("%v: log %q", tt.environment, got)
			}
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(specs[0].Dir)), "build")); err != nil || len(left) > 0 {
			t.Errorf("left are %v, %v", left, err)
		}
	}
}

const contextURI = "https://" + account + ".blob.core.windows.net/box/context"
