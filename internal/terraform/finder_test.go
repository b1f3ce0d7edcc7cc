package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opentofu/tofudl"
	"github.com/opentofu/tofudl/mockmirror"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// script is a program that answers `version` like terraform or tofu.
func script(line string) []byte { return []byte("#!/bin/sh\necho '" + line + "'\necho 'on linux'\n") }

func writeProgram(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeFinder finds nothing on PATH and cannot fetch anything.
func fakeFinder(t *testing.T) *Finder {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake programs are shell scripts")
	}
	return &Finder{
		Home: filepath.Join(t.TempDir(), "home"), Clock: clock.NewAdjustable(0),
		getenv:   func(string) string { return "" },
		lookPath: func(name string) (string, error) { return "", &exec.Error{Name: name, Err: exec.ErrNotFound} },
		download: func(context.Context, string) ([]byte, error) { return nil, errors.New("no network") },
		build:    func(context.Context, string, string, *progress) error { return errors.New("no Go") },
	}
}

func TestFindOnPath(t *testing.T) {
	dir := t.TempDir()
	terraform := writeProgram(t, filepath.Join(dir, "terraform"), script("Terraform v1.11.4"))
	tofu := writeProgram(t, filepath.Join(dir, "tofu"), script("OpenTofu v1.12.6"))
	renamed := writeProgram(t, filepath.Join(dir, "tf-1.9"), script("Terraform v1.9.0"))
	other := writeProgram(t, filepath.Join(dir, "other"), script("hello"))
	broken := writeProgram(t, filepath.Join(dir, "broken"), []byte("#!/bin/sh\necho no >&2; exit 1\n"))
	tests := []struct {
		name, explicit string
		onPath         map[string]string
		want           Tool
		fault          string
	}{
		{"terraform before tofu", "", map[string]string{"terraform": terraform, "tofu": tofu}, Tool{terraform, Terraform, "1.11.4"}, ""},
		{"tofu alone", "", map[string]string{"tofu": tofu}, Tool{tofu, OpenTofu, "1.12.6"}, ""},
		{"explicit", renamed, map[string]string{"terraform": terraform}, Tool{renamed, Terraform, "1.9.0"}, ""},
		{"explicit tofu under another name", tofu, nil, Tool{tofu, OpenTofu, "1.12.6"}, ""},
		{"explicit and missing", filepath.Join(dir, "none"), map[string]string{"terraform": terraform}, Tool{}, PathVariable},
		{"explicit and something else", other, nil, Tool{}, "neither terraform nor tofu"},
		{"explicit and broken", broken, nil, Tool{}, "exit status 1: no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fakeFinder(t)
			f.getenv = func(name string) string { return map[string]string{PathVariable: tt.explicit}[name] }
			f.lookPath = func(name string) (string, error) {
				if path := tt.onPath[name]; path != "" {
					return path, nil
				}
				if filepath.IsAbs(name) {
					return exec.LookPath(name)
				}
				return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
			}
			got, err := f.Find(t.Context())
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("got %+v, %v; want an error with %q", got, err, tt.fault)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	good := script("OpenTofu v" + OpenTofuVersion)
	tests := []struct {
		name     string
		download func(context.Context, string) ([]byte, error)
		build    func(context.Context, string, string, *progress) error
		fault    string
	}{
		{"release", func(context.Context, string) ([]byte, error) { return good, nil }, nil, ""},
		{"build when there is no network", nil, func(_ context.Context, _, out string, _ *progress) error {
			return os.WriteFile(out, good, 0o755)
		}, ""},
		{"build when the release does not run", func(context.Context, string) ([]byte, error) { return []byte("half a prog"), nil },
			func(_ context.Context, _, out string, _ *progress) error { return os.WriteFile(out, good, 0o755) }, ""},
		{"neither", nil, nil, "Install terraform"},
		{"both broken", func(context.Context, string) ([]byte, error) { return good[:12], nil },
			func(_ context.Context, _, out string, _ *progress) error {
				return os.WriteFile(out, script("Terraform v1.0.0"), 0o755)
			}, "is terraform 1.0.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fakeFinder(t)
			if tt.download != nil {
				f.download = tt.download
			}
			if tt.build != nil {
				f.build = tt.build
			}
			got, err := f.Find(t.Context())
			if tt.fault != "" {
				var missing *NotFoundError
				if !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("got %v, want a *NotFoundError with %q", err, tt.fault)
				}
				if _, err := os.Stat(f.installedPath()); err == nil {
					t.Error("a broken program was kept")
				}
			} else if err != nil || got.Path != f.installedPath() || got.Kind != OpenTofu {
				t.Errorf("got %+v, %v", got, err)
			}
			left, err := filepath.Glob(filepath.Join(f.toolsDir(), "fetch-*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
			if tt.fault == "" {
				f.download, f.build = nil, nil // a second time nothing is fetched
				f.download = func(context.Context, string) ([]byte, error) { return nil, errors.New("fetched again") }
				if _, err := f.Find(t.Context()); err != nil {
					t.Errorf("second time: %v", err)
				}
			}
		})
	}
}

func TestOneFetchAtATime(t *testing.T) {
	var fetches atomic.Int32
	first := fakeFinder(t)
	started, release := make(chan struct{}), make(chan struct{})
	first.download = func(context.Context, string) ([]byte, error) {
		fetches.Add(1)
		close(started)
		<-release
		return script("OpenTofu v" + OpenTofuVersion), nil
	}
	second := *first
	second.download = func(context.Context, string) ([]byte, error) {
		fetches.Add(1)
		return nil, errors.New("a second download")
	}
	waits := &lineWaiter{text: "waiting for another azimuth", seen: make(chan struct{})}
	second.Progress = waits
	var wg sync.WaitGroup
	failures := make(chan error, 2)
	find := func(f *Finder) {
		defer wg.Done()
		if _, err := f.Find(t.Context()); err != nil {
			failures <- err
		}
	}
	wg.Add(2)
	go find(first)
	<-started
	go find(&second)
	<-waits.seen // it is held up, and says so
	close(release)
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := acquireLock(t.Context(), clock.NewAdjustable(0), path, nil, "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := acquireLock(ctx, clock.NewAdjustable(0), path, nil, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := held.release(); err != nil {
		t.Fatal(err)
	}
	again, err := acquireLock(t.Context(), clock.NewAdjustable(0), path, nil, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.release(); err != nil {
		t.Fatal(err)
	}
}

// The real downloader against a mirror with its own key, and with the wrong one.
func TestDownloadRelease(t *testing.T) {
	want := script("OpenTofu v1.0.0")
	mirror := mockmirror.NewFromBinary(t, want)
	options := []tofudl.ConfigOpt{
		tofudl.ConfigAPIURL(mirror.APIURL()),
		tofudl.ConfigDownloadMirrorURLTemplate(mirror.DownloadMirrorURLTemplate()),
	}
	if got, err := downloadRelease(t.Context(), "1.0.0", options...); err == nil {
		t.Errorf("a release with a strange signature was accepted: %q", got)
	}
	got, err := downloadRelease(t.Context(), "1.0.0", append(options, tofudl.ConfigGPGKey(mirror.GPGKey()))...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := downloadRelease(t.Context(), OpenTofuVersion, options...); err == nil {
		t.Error("a release that is not there was downloaded")
	}
}

func TestBuildModuleIsTheOneInTools(t *testing.T) {
	for name, embedded := range buildModule() {
		want, err := os.ReadFile(filepath.Join("..", "..", "tools", "tofu", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(embedded, want) {
			t.Errorf("tofu/%s.txt differs from tools/tofu/%s: copy it", name, name)
		}
	}
	if want := "github.com/opentofu/opentofu v" + OpenTofuVersion; !strings.Contains(string(buildGoMod), want) {
		t.Errorf("tools/tofu does not require %s", want)
	}
}

func TestProgressIsSilentForQuickSteps(t *testing.T) {
	var out bytes.Buffer
	c := clock.NewManual(clock.NewAdjustable(0).Now())
	startProgress(&out, c, "quick").stop(nil)
	slow := startProgress(&out, c, "slow")
	c.Step(quietFor)
	slow.set("slow: 3 of 4")
	c.Step(everyLine)
	slow.stop(nil)
	failed := startProgress(&out, c, "fails")
	c.Step(quietFor)
	failed.stop(errors.New("x"))
	want := fmt.Sprintf("slow…\nslow: 3 of 4… (%s)\nslow: 3 of 4: done in %[1]s\nfails…\n", quietFor+everyLine)
	if out.String() != want {
		t.Errorf("wrote\n%s\nwant\n%s", &out, want)
	}
}

func TestOfflineIsTold(t *testing.T) {
	tests := map[string]bool{
		"│ Could not retrieve the list of available versions for provider hashicorp/azurerm:\n│ could not connect to registry.terraform.io: failed to request\n│ discovery document: Get": true,
		"Error: Failed to download module\n\ncould not download module: fatal: Could not resolve\nhost: github.com":                                                                       true,
		"Error: Failed to query available provider packages\n\nno available releases match the given constraints":                                                                         false,
		"Error: Unreadable module directory": false,
	}
	for output, want := range tests {
		if got := offline(output); got != want {
			t.Errorf("%t for %q", got, output)
		}
	}
}

func TestReattachIsUnderBothRegistries(t *testing.T) {
	tests := []struct{ in, source, want string }{
		{`{"registry.terraform.io/hashicorp/azurerm":1}`, "hashicorp/azurerm", `{"registry.opentofu.org/hashicorp/azurerm":1,"registry.terraform.io/hashicorp/azurerm":1}`},
		{`{"registry.opentofu.org/hashicorp/azurerm":1}`, "hashicorp/azurerm", `{"registry.opentofu.org/hashicorp/azurerm":1,"registry.terraform.io/hashicorp/azurerm":1}`},
		{`{"registry.opentofu.org/a/b":1,"registry.terraform.io/a/b":2}`, "a/b", `{"registry.opentofu.org/a/b":1,"registry.terraform.io/a/b":2}`},
		{`{"example.com/a/b":1}`, "example.com/a/b", `{"example.com/a/b":1}`},
	}
	for _, tt := range tests {
		r, err := parseReattach(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.environment(); err != nil || got != tt.want {
			t.Errorf("%s gave %s, %v", tt.in, got, err)
		}
		if !r.serves(tt.source) || r.serves("hashicorp/random") {
			t.Errorf("%s: wrong providers are served", tt.in)
		}
	}
	if _, err := parseReattach("nonsense"); err == nil {
		t.Error("nonsense was read")
	}
}
