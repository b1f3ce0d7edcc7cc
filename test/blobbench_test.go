package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

const (
	benchSmall = 4 << 10
	benchBig   = 256 << 20
	benchBlock = 8 << 20
)

// blobHost is a Blob service that takes the load: this one, through CONNECT and
// TLS, or Azurite on its own port.
type blobHost struct {
	name string
	dial func() (net.Conn, error)
	host string // of the Host header
	base string // before the container
	sas  string
	pid  int
}

// storageAccount makes a storage account of the group rg-bench and returns it with
// its keys.
func (w *wire) storageAccount(t testing.TB, name, properties string) *storage.Account {
	t.Helper()
	ctx := t.Context()
	group := subscription + "/resourceGroups/rg-bench"
	id := group + "/providers/Microsoft.Storage/storageAccounts/" + name
	if _, err := w.arm(ctx, http.MethodPut, group, groupAPI, `{"location":"westeurope"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.arm(ctx, http.MethodPut, id, "2023-01-01",
		`{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{`+properties+`}}`); err != nil {
		t.Fatal(err)
	}
	a, err := w.arm(ctx, http.MethodPost, id+"/listKeys", "2023-01-01", "")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Keys []struct{ Value string } }
	if err := json.Unmarshal(a.body, &list); err != nil || len(list.Keys) != 2 {
		t.Fatalf("keys: %v %s", err, a.body)
	}
	out := &storage.Account{Name: name}
	for i, k := range list.Keys {
		if out.Keys[i], err = base64.StdEncoding.DecodeString(k.Value); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func accountSAS(t testing.TB, a *storage.Account) string {
	t.Helper()
	q, err := storage.SignAccountSAS(a, storage.AccountSAS{Services: "b", ResourceTypes: "sco", Permissions: "rwdlactf", Expiry: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// blobServer starts this server with an account and the container box.
func blobServer(b testing.TB) *blobHost {
	b.Helper()
	e := newEnv(b)
	s := e.serve()
	w := e.wire()
	acct := w.storageAccount(b, "stbench001", "")
	pem, err := os.ReadFile(filepath.Join(e.home, "ca", "ca.pem"))
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	h := &blobHost{name: "azimuth", host: "stbench001.blob.core.windows.net", sas: accountSAS(b, acct), pid: s.cmd.Process.Pid}
	cache := tls.NewLRUClientSessionCache(8)
	h.dial = func() (net.Conn, error) {
		c, err := net.Dial("tcp", e.addr)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(c, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", h.host, h.host)
		resp, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(c, 1<<10), 16), nil)
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("CONNECT: %s", resp.Status)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return tls.Client(c, &tls.Config{RootCAs: roots, ServerName: h.host, ClientSessionCache: cache}), nil
	}
	h.container(b)
	return h
}

// azurite starts npm's Azurite, if it is installed.
func azurite(b testing.TB) *blobHost {
	b.Helper()
	path, err := exec.LookPath("azurite-blob")
	if err != nil {
		b.Skip("npm's azurite is not installed (npm install -g azurite)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	cmd := exec.Command(path, "--silent", "--skipApiVersionCheck", "--blobPort", port, "--location", b.TempDir())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	const account = "devstoreaccount1"
	key, err := base64.StdEncoding.DecodeString("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
	if err != nil {
		b.Fatal(err)
	}
	h := &blobHost{name: "azurite", host: addr, base: "/" + account, pid: cmd.Process.Pid,
		sas: accountSAS(b, &storage.Account{Name: account, Keys: [2][]byte{key, key}})}
	h.dial = func() (c net.Conn, err error) {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
			if c, err = net.Dial("tcp", addr); err == nil {
				return c, nil
			}
		}
		return nil, err
	}
	h.container(b)
	return h
}

func (h *blobHost) container(b testing.TB) {
	b.Helper()
	c := h.client(b)
	if status, err := c.do("PUT", "/box?restype=container", nil, nil); err != nil || status != 201 {
		b.Fatal(status, err)
	}
}

// rawClient is a client that does nothing but write requests and read answers, so
// that what is measured is the server.
type rawClient struct {
	h   *blobHost
	c   net.Conn
	r   *bufio.Reader
	buf []byte
}

func (h *blobHost) client(b testing.TB) *rawClient {
	b.Helper()
	c, err := h.dial()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return &rawClient{h: h, c: c, r: bufio.NewReaderSize(c, 64<<10)}
}

// do sends a request and writes the body of its answer to out, if that is not nil.
func (c *rawClient) do(method, target string, body []byte, out io.Writer) (status int, err error) {
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	blobType := ""
	if method == "PUT" && sep == "?" {
		// Azurite takes a list of blocks that comes with this for a blob
		blobType = "x-ms-blob-type: BlockBlob\r\n"
	}
	c.buf = fmt.Appendf(c.buf[:0], "%s %s%s%s%s HTTP/1.1\r\nHost: %s\r\nx-ms-version: 2022-11-02\r\n%sContent-Length: %d\r\n\r\n",
		method, c.h.base, target, sep, c.h.sas, c.h.host, blobType, len(body))
	if len(body) <= 64<<10 {
		c.buf = append(c.buf, body...)
		body = nil
	}
	if _, err := c.c.Write(c.buf); err != nil {
		return 0, err
	}
	if len(body) > 0 {
		if _, err := c.c.Write(body); err != nil {
			return 0, err
		}
	}
	length := int64(-1)
	chunked := false
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if len(line) < 12 {
				return 0, fmt.Errorf("answer %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, err
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if out == nil {
		out = io.Discard
	}
	switch {
	case method == "HEAD" || status == 204 || status == 304:
	case chunked:
		_, err = io.Copy(out, httputil.NewChunkedReader(c.r))
		if err == nil {
			_, err = c.r.ReadSlice('\n')
		}
	case length > 0:
		_, err = io.CopyN(out, c.r, length)
	}
	return status, err
}

// load runs b.N requests on so many clients and reports their rate and what the
// server spent on one.
func (h *blobHost) load(b *testing.B, clients int, request func(c *rawClient, i int64) error) {
	b.Helper()
	cs := make(chan *rawClient, clients)
	for range clients {
		cs <- h.client(b)
	}
	before := cpu(b, h.pid)
	b.ResetTimer()
	var next atomic.Int64
	each(b, clients, clients, func(int) error {
		c := <-cs
		for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
			if err := request(c, i); err != nil {
				return err
			}
		}
		return nil
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64((cpu(b, h.pid)-before).Microseconds())/float64(b.N), "server-cpu-µs/op")
}

func succeeded(status int, err error) error {
	if err == nil && status > 299 {
		err = fmt.Errorf("HTTP %d", status)
	}
	return err
}

// BenchmarkBlobSmall puts and gets 4 KiB with 16 clients, on Azurite too when it
// is installed.
func BenchmarkBlobSmall(b *testing.B) {
	data := bytes.Repeat([]byte("x"), benchSmall)
	for name, start := range map[string]func(testing.TB) *blobHost{"azimuth": blobServer, "azurite": azurite} {
		b.Run(name, func(b *testing.B) {
			h := start(b)
			put := func(c *rawClient, i int64) error {
				return succeeded(c.do("PUT", fmt.Sprintf("/box/b%d", i%1000), data, nil))
			}
			b.Run("PUT", func(b *testing.B) { h.load(b, 16, put) })
			c := h.client(b)
			for i := range int64(1000) {
				if err := put(c, i); err != nil {
					b.Fatal(err)
				}
			}
			b.Run("GET", func(b *testing.B) {
				h.load(b, 16, func(c *rawClient, i int64) error {
					return succeeded(c.do("GET", fmt.Sprintf("/box/b%d", i%1000), nil, nil))
				})
			})
		})
	}
}

// BenchmarkBlobBig uploads and downloads 256 MiB, beside a copy on the same disk
// with a sync and a loopback connection as the limits.
func BenchmarkBlobBig(b *testing.B) {
	data := make([]byte, benchBig)
	for i := range data {
		data[i] = byte(i * 2654435761 >> 13)
	}
	b.Run("cp", func(b *testing.B) {
		dir := b.TempDir()
		from := filepath.Join(dir, "from")
		if err := os.WriteFile(from, data, 0o600); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(benchBig)
		for b.Loop() {
			if err := copySynced(from, filepath.Join(dir, "to")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("loopback", func(b *testing.B) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(data) }))
		defer s.Close()
		b.SetBytes(benchBig)
		for b.Loop() {
			resp, err := http.Get(s.URL)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	for name, start := range map[string]func(testing.TB) *blobHost{"azimuth": blobServer, "azurite": azurite} {
		b.Run(name, func(b *testing.B) {
			h := start(b)
			const streams = 4
			cs := make([]*rawClient, streams)
			for i := range cs {
				cs[i] = h.client(b)
			}
			upload := func() {
				var list strings.Builder
				list.WriteString("<BlockList>")
				blocks := benchBig / benchBlock
				for i := range blocks {
					fmt.Fprintf(&list, "<Latest>%s</Latest>", blockName(i))
				}
				list.WriteString("</BlockList>")
				var next atomic.Int64
				each(b, streams, streams, func(s int) error {
					for i := int(next.Add(1)) - 1; i < blocks; i = int(next.Add(1)) - 1 {
						if err := succeeded(cs[s].do("PUT", "/box/big?comp=block&blockid="+blockName(i), data[i*benchBlock:][:benchBlock], nil)); err != nil {
							return err
						}
					}
					return nil
				})
				if err := succeeded(cs[0].do("PUT", "/box/big?comp=blocklist", []byte(list.String()), nil)); err != nil {
					b.Fatal(err)
				}
			}
			b.Run("upload", func(b *testing.B) {
				b.SetBytes(benchBig)
				for b.Loop() {
					upload()
				}
			})
			upload()
			b.Run("download", func(b *testing.B) {
				b.SetBytes(benchBig)
				for b.Loop() {
					n := new(counter)
					if err := succeeded(cs[0].do("GET", "/box/big", nil, n)); err != nil || *n != benchBig {
						b.Fatal(*n, err)
					}
				}
			})
			if h.name == "azimuth" {
				peak, _ := memory(b, h.pid)
				b.Logf("peak memory of the server: %.0f MiB", peak)
			}
		})
	}
}

func blockName(i int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", i)) }

type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func copySynced(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src}); err != nil {
		return err
	}
	return dst.Sync()
}

// BenchmarkBlobList lists 100,000 blobs page by page. Memory must stay flat.
func BenchmarkBlobList(b *testing.B) {
	const blobs = 100_000
	h := blobServer(b)
	cs := make(chan *rawClient, 16)
	for range cap(cs) {
		cs <- h.client(b)
	}
	each(b, cap(cs), blobs, func(i int) error {
		c := <-cs
		defer func() { cs <- c }()
		return succeeded(c.do("PUT", fmt.Sprintf("/box/d%02d/blob-%06d", i%100, i), []byte("x"), nil))
	})
	c := <-cs
	before, _ := memory(b, h.pid)
	for b.Loop() {
		n, marker := 0, ""
		for {
			var page bytes.Buffer
			if err := succeeded(c.do("GET", "/box?restype=container&comp=list&marker="+marker, nil, &page)); err != nil {
				b.Fatal(err)
			}
			n += bytes.Count(page.Bytes(), []byte("<Blob>"))
			_, rest, ok := strings.Cut(page.String(), "<NextMarker>")
			if !ok {
				break
			}
			marker, _, _ = strings.Cut(rest, "<")
		}
		if n != blobs {
			b.Fatal(n)
		}
	}
	b.ReportMetric(blobs*float64(b.N)/b.Elapsed().Seconds(), "blobs/s")
	after, _ := memory(b, h.pid)
	b.ReportMetric(after-before, "more-peak-MiB")
}
