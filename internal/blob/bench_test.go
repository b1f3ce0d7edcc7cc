package blob

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

const benchSize = 256 << 20

// BenchmarkRawCopy is the limit: one file written and synced.
func BenchmarkRawCopy(b *testing.B) {
	data := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		f := must[*os.File](b)(os.Create(filepath.Join(b.TempDir(), "f")))
		if _, err := f.Write(data); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		f.Close()
		os.Remove(f.Name())
	}
}

func benchWorld(b *testing.B) *world {
	w := newWorld(b)
	if err := w.svc.EnsureContainer(b.Context(), "acct", "box"); err != nil {
		b.Fatal(err)
	}
	return w
}

func BenchmarkUploadBlocks(b *testing.B) {
	w := benchWorld(b)
	c := w.client()
	data := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := c.UploadBuffer(b.Context(), "box", "big", data, &azblob.UploadBufferOptions{BlockSize: 8 << 20, Concurrency: 4}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutBlobBig(b *testing.B) {
	w := benchWorld(b)
	c := w.client()
	data := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := c.UploadBuffer(b.Context(), "box", "big", data, &azblob.UploadBufferOptions{BlockSize: benchSize}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDownload(b *testing.B) {
	w := benchWorld(b)
	if _, err := w.client().UploadBuffer(b.Context(), "box", "big", make([]byte, benchSize), &azblob.UploadBufferOptions{BlockSize: 8 << 20}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		resp, err := w.client().DownloadStream(b.Context(), "box", "big", nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != benchSize {
			b.Fatal(n, err)
		}
		resp.Body.Close()
	}
}

// BenchmarkPutSmall compares keeping small data in the store (16384 and less)
// with files, at 16 writers and without HTTP.
func BenchmarkPutSmall(b *testing.B) {
	for _, n := range []int{4 << 10, inlineLimit, inlineLimit + 1} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := benchWorld(b)
			data := make([]byte, n)
			var i atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := w.svc.PutBlob(b.Context(), "acct", "box", fmt.Sprint("b", i.Add(1)), bytes.NewReader(data), Headers{}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkHTTPSmall puts and gets 4 KiB with 16 clients over TLS. The clients
// sign with a SAS, so that their own work is small.
func BenchmarkHTTPSmall(b *testing.B) {
	for _, method := range []string{"PUT", "GET"} {
		b.Run(method, func(b *testing.B) {
			w := benchWorld(b)
			w.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			q := must[string](b)(storage.SignServiceSAS(w.accounts["acct"], storage.ServiceSAS{Container: "box", Permissions: "rw", Expiry: w.clock.Now().Add(1e12)}))
			data := strings.Repeat("x", 4<<10)
			send := func(method string, i int64) {
				var rd io.Reader
				if method == "PUT" {
					rd = strings.NewReader(data)
				}
				req, err := http.NewRequestWithContext(b.Context(), method, fmt.Sprintf("%sbox/b%d?%s", acctURL, i%1000, q), rd)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("x-ms-version", "2022-11-02")
				req.Header.Set("x-ms-blob-type", "BlockBlob")
				resp, err := w.http.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode > 299 {
					b.Error(resp.Status)
				}
			}
			if method == "GET" {
				for i := range int64(1000) {
					send("PUT", i)
				}
			}
			b.ResetTimer()
			var i atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					send(method, i.Add(1))
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func BenchmarkList100k(b *testing.B) {
	w := benchWorld(b)
	var i atomic.Int64
	done := make(chan error)
	for range 32 {
		go func() {
			for n := i.Add(1); n <= 100_000; n = i.Add(1) {
				if _, err := w.svc.PutBlob(b.Context(), "acct", "box", fmt.Sprintf("d%02d/blob-%06d", n%100, n), strings.NewReader("x"), Headers{}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 32 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	cc := w.client().ServiceClient().NewContainerClient("box")
	b.Run("flat", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for p := cc.NewListBlobsFlatPager(nil); p.More(); {
				page, err := p.NextPage(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				n += len(page.Segment.BlobItems)
			}
			if n != 100_000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("hierarchy", func(b *testing.B) {
		for b.Loop() {
			page, err := cc.NewListBlobsHierarchyPager("/", nil).NextPage(b.Context())
			if err != nil || len(page.Segment.BlobPrefixes) != 100 {
				b.Fatal(err)
			}
		}
	})
}
