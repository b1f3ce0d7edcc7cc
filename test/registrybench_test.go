package test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	benchLayers = 10
	benchLayer  = 50 << 20
)

// fileLayer is a layer that is a file, so that the client holds nothing of it.
type fileLayer struct {
	path   string
	digest v1.Hash
}

func (l fileLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l fileLayer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l fileLayer) Size() (int64, error)                 { return benchLayer, nil }
func (l fileLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }

// freshLayers writes layers that no registry has, and says how long the disk took.
func freshLayers(b *testing.B, dir string) (layers []v1.Layer, took time.Duration) {
	b.Helper()
	buf := make([]byte, 1<<20)
	for i := range benchLayers {
		if _, err := rand.Read(buf); err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		start := time.Now()
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		for range benchLayer / len(buf) {
			if _, err := f.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		digest, _, err := v1.SHA256(f)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		layers = append(layers, fileLayer{path, digest})
	}
	return layers, took
}

// BenchmarkRegistry pushes and pulls an image of 500 MiB in 10 layers with crane's
// library, beside what the disk takes to write and sync as much.
func BenchmarkRegistry(b *testing.B) {
	e := newEnv(b)
	s := e.serve()
	w := e.wire()
	group := subscription + "/resourceGroups/rg-bench"
	if _, err := w.arm(b.Context(), http.MethodPut, group, groupAPI, `{"location":"westeurope"}`); err != nil {
		b.Fatal(err)
	}
	if _, err := w.arm(b.Context(), http.MethodPut, group+"/providers/Microsoft.ContainerRegistry/registries/acrbench", "2023-07-01", `{"location":"westeurope","sku":{"name":"Premium"}}`); err != nil {
		b.Fatal(err)
	}
	c := crane{b, w, &authn.Basic{Username: w.owner.ClientID, Password: w.owner.ClientSecret}}
	dir := b.TempDir()
	const ref = "acrbench.azurecr.io/big:1"
	b.Run("push", func(b *testing.B) {
		b.SetBytes(benchLayers * benchLayer)
		var disk time.Duration
		for b.Loop() {
			b.StopTimer()
			layers, took := freshLayers(b, dir)
			disk += took
			img, err := mutate.AppendLayers(empty.Image, layers...)
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			c.push(ref, img)
		}
		b.ReportMetric(disk.Seconds()/float64(b.N), "s-of-disk/op")
		peak, _ := memory(b, s.cmd.Process.Pid)
		b.ReportMetric(peak, "MiB-server-peak")
	})
	b.Run("pull", func(b *testing.B) {
		b.SetBytes(benchLayers * benchLayer)
		for b.Loop() {
			img, err := remote.Image(c.ref(ref), c.opts()...)
			c.must(err)
			layers, err := img.Layers()
			c.must(err)
			for _, l := range layers {
				r, err := l.Compressed()
				c.must(err)
				_, err = io.Copy(io.Discard, r)
				c.must(err)
				c.must(r.Close())
			}
		}
		peak, _ := memory(b, s.cmd.Process.Pid)
		b.ReportMetric(peak, "MiB-server-peak")
	})
	b.Run("manifest", func(b *testing.B) {
		a, err := w.do(b.Context(), "", http.MethodGet, "https://acrbench.azurecr.io/oauth2/token?scope=repository:big:pull", map[string]string{
			"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(w.owner.ClientID+":"+w.owner.ClientSecret))}, "")
		c.must(err)
		var token struct {
			AccessToken string `json:"access_token"`
		}
		c.must(json.Unmarshal(a.body, &token))
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a, err := w.do(b.Context(), token.AccessToken, http.MethodGet, "https://acrbench.azurecr.io/v2/big/manifests/1", nil, "")
				if err != nil || a.status != http.StatusOK {
					b.Errorf("HTTP %d, %v", a.status, err)
				}
			}
		})
	})
}
