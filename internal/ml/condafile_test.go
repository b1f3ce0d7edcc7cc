package ml_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/environment"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

// madeUp stands in for what prepares environments. It waits for next.
type madeUp struct {
	said chan struct{}
	next chan error
}

func (m madeUp) Prepare(ctx context.Context, text string, log io.Writer) (*environment.Environment, error) {
	fmt.Fprintf(log, "preparing %q\n", text)
	close(m.said)
	select {
	case err := <-m.next:
		return &environment.Environment{Bin: "/made/up/bin", Vars: []string{"VIRTUAL_ENV=/made/up"}, Summary: "It is made up."}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestCondaFile(t *testing.T) {
	m := madeUp{next: make(chan error, 1)}
	h := newHarness(t, func(h *harness) { h.environments = &m })
	h.Want(201, "PUT", wsID+"/environments/conda/versions/1", map[string]any{"properties": map[string]any{"image": "i", "condaFile": "dependencies: [six]"}})
	for i, failure := range []error{nil, errors.New("pip had nothing to give")} {
		name := fmt.Sprintf("j%d", i)
		log := "ExperimentRun/dcid." + name + "/azureml-logs/20_image_build_log.txt"
		h.submit(name, "environmentId", wsID+"/environments/conda/versions/1", "environmentVariables", map[string]any{"PATH": "/mine"})
		m.said = make(chan struct{})
		item, nodes := h.item(name, 1), h.nodes(2)
		done := make(chan error)
		go func() {
			specs, err := h.ML.Prepare(t.Context(), item, nodes)
			for _, s := range specs {
				if path := envOf(s, "PATH"); path != "/made/up/bin:/mine" || envOf(s, "VIRTUAL_ENV") != "/made/up" {
					t.Errorf("PATH is %q", path)
				}
				if b, err := os.ReadFile(s.LogPath); err != nil || !strings.HasSuffix(string(b), "The image of the environment conda:1 is not run here. It is made up.\n") {
					t.Errorf("log is %q, %v", b, err)
				}
			}
			if len(specs) != 2 && failure == nil {
				t.Errorf("%d tasks", len(specs))
			}
			done <- err
		}()
		select {
		case <-m.said:
		case err := <-done:
			t.Fatalf("nothing was prepared: %v", err)
		}
		h.tick() // what it says can be read while it goes on
		const said = "preparing \"dependencies: [six]\"\n"
		if got, _ := h.blobText("azureml", log); got != said {
			t.Errorf("log is %q", got)
		}
		m.next <- failure
		if err := <-done; !errors.Is(err, failure) {
			t.Errorf("Prepare said %v", err)
		}
		if got, _ := h.blobText("azureml", log); failure != nil && got != said+"pip had nothing to give\n" {
			t.Errorf("log is %q", got)
		}
		if logs := h.logFiles(name); logs["azureml-logs/20_image_build_log.txt"] == nil {
			t.Errorf("logs are %v", logs)
		}
	}
}

func (h *harness) logFiles(name string) map[string]any {
	h.t.Helper()
	return h.data(rptest.Owner, "GET", "/history/v1.0"+wsID+"/experiments/iris/runs/"+name+"/details", nil).Body.Object("logFiles")
}
