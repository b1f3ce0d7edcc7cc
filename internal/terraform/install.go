package terraform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opentofu/tofudl"
)

// install puts a working OpenTofu at path. It holds a lock meanwhile, and what
// it puts there has been run once, so a broken or half download is never kept.
func (f *Finder) install(ctx context.Context, path string) (err error) {
	lock, err := acquireLock(ctx, f.Clock, filepath.Join(f.toolsDir(), "opentofu.lock"), f.Progress,
		"another azimuth to fetch OpenTofu "+OpenTofuVersion)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if _, err := os.Stat(path); err == nil {
		return nil // the process that was waited for did it
	}
	work, err := os.MkdirTemp(f.toolsDir(), "fetch-")
	if err != nil {
		return fmt.Errorf("create directory to fetch OpenTofu into: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	missing := &NotFoundError{}
	got := filepath.Join(work, filepath.Base(path))
	if missing.Download = f.fromRelease(ctx, got); missing.Download != nil {
		if ctx.Err() != nil {
			return missing.Download
		}
		if f.Progress != nil {
			fmt.Fprintf(f.Progress, "OpenTofu %s cannot be downloaded (%v); building it\n", OpenTofuVersion, missing.Download)
		}
		if missing.Build = f.fromSource(ctx, work, got); missing.Build != nil {
			return missing
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create directory for OpenTofu: %w", err)
	}
	if err := os.Rename(got, path); err != nil {
		return fmt.Errorf("keep OpenTofu: %w", err)
	}
	return nil
}

// fromRelease downloads the pinned release, whose checksum and signature the
// downloader verifies.
func (f *Finder) fromRelease(ctx context.Context, out string) (err error) {
	p := startProgress(f.Progress, f.Clock, "downloading OpenTofu "+OpenTofuVersion)
	defer func() { p.stop(err) }()
	download := f.download
	if download == nil {
		download = func(ctx context.Context, version string) ([]byte, error) { return downloadRelease(ctx, version) }
	}
	binary, err := download(ctx, OpenTofuVersion)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, binary, 0o755); err != nil {
		return fmt.Errorf("write OpenTofu: %w", err)
	}
	return runs(ctx, out)
}

// fromSource builds the pinned version with the Go on this machine.
func (f *Finder) fromSource(ctx context.Context, work, out string) (err error) {
	p := startProgress(f.Progress, f.Clock, "building OpenTofu "+OpenTofuVersion+" from source (takes some minutes)")
	defer func() { p.stop(err) }()
	build := f.build
	if build == nil {
		build = buildFromProxy
	}
	if err := build(ctx, work, out, p); err != nil {
		return err
	}
	return runs(ctx, out)
}

// runs checks that a fetched program is what it should be.
func runs(ctx context.Context, path string) error {
	t, err := probe(ctx, path)
	if err != nil {
		return err
	}
	if t.Kind != OpenTofu {
		return fmt.Errorf("what was fetched as OpenTofu is %s %s", t.Kind, t.Version)
	}
	return nil
}

// downloadRelease gets a release's program for this machine. Servers that do
// not answer within seconds count as unreachable; a slow transfer does not.
func downloadRelease(ctx context.Context, version string, opts ...tofudl.ConfigOpt) ([]byte, error) {
	client := &http.Client{
		Timeout: 10 * time.Minute,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 20 * time.Second,
			ForceAttemptHTTP2:     true,
		},
	}
	defer client.CloseIdleConnections()
	dl, err := tofudl.New(append([]tofudl.ConfigOpt{tofudl.ConfigHTTPClient(client)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("prepare download: %w", err)
	}
	return dl.Download(ctx, tofudl.DownloadOptVersion(tofudl.Version(version)))
}

// buildFromProxy builds OpenTofu in dir through the pinned module that is
// embedded in this program.
func buildFromProxy(ctx context.Context, dir, out string, p *progress) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("no Go to build it with: %w", err)
	}
	for name, content := range buildModule() {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write build module: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, goTool, "build", "-v", "-mod=readonly", "-trimpath",
		// Else it calls itself a -dev version and its releases' constraints fail.
		"-ldflags=-s -w -X github.com/opentofu/opentofu/version.dev=no",
		"-o", out, "github.com/opentofu/opentofu/cmd/tofu")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GO111MODULE=on", "GOOS=", "GOARCH=")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("prepare go build: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go build: %w", err)
	}
	tail := followBuild(stderr, p)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, tail)
	}
	return nil
}

// followBuild reads what `go build -v` prints, a package or a module to a line,
// and returns the last lines.
func followBuild(r io.Reader, p *progress) string {
	var tail []string
	compiled := 0
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if tail = append(tail, line); len(tail) > 20 {
			tail = tail[1:]
		}
		if strings.HasPrefix(line, "go: downloading ") {
			p.set("building OpenTofu " + OpenTofuVersion + ": " + strings.TrimPrefix(line, "go: "))
			continue
		}
		compiled++
		p.set(fmt.Sprintf("building OpenTofu %s: %d packages compiled", OpenTofuVersion, compiled))
	}
	// A line longer than the buffer ends the scan; the build must not block on
	// a full pipe.
	_, _ = io.Copy(io.Discard, r)
	return string(bytes.TrimSpace([]byte(strings.Join(tail, "\n"))))
}
