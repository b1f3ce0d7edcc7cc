package blob

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/datalakeerror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/directory"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/file"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/filesystem"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/sas"
	dfs "github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/service"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const lakeURL = "https://lake.dfs.core.windows.net/"

// lake adds an account with a hierarchical namespace and a file system "tree", and
// returns an SDK client with the account's key.
func (w *world) lake() (*dfs.Client, *filesystem.Client) {
	w.tb.Helper()
	w.addAccount("lake", "uid-lake").HNS = true
	svc := w.dfsWithKey("lake")
	fs := svc.NewFileSystemClient("tree")
	if _, err := fs.Create(w.tb.Context(), nil); err != nil {
		w.tb.Fatal(err)
	}
	return svc, fs
}

func (w *world) dfsWithKey(account string) *dfs.Client {
	w.tb.Helper()
	cred, err := azdatalake.NewSharedKeyCredential(account, base64.StdEncoding.EncodeToString(w.accounts[account].Keys[0]))
	if err != nil {
		w.tb.Fatal(err)
	}
	svc, err := dfs.NewClientWithSharedKeyCredential("https://"+account+".dfs.core.windows.net/", cred, &dfs.ClientOptions{ClientOptions: w.options().ClientOptions})
	if err != nil {
		w.tb.Fatal(err)
	}
	return svc
}

// lakeAs is the file system as a principal sees it.
func (w *world) lakeAs(principal string) *filesystem.Client {
	w.tb.Helper()
	svc, err := dfs.NewClient(lakeURL, fixedToken("good-"+principal), &dfs.ClientOptions{ClientOptions: w.options().ClientOptions})
	if err != nil {
		w.tb.Fatal(err)
	}
	return svc.NewFileSystemClient("tree")
}

func wantDFS(tb testing.TB, err error, code string) {
	tb.Helper()
	var r *azcore.ResponseError
	if code == "" {
		if err != nil {
			tb.Errorf("error %v, want none", err)
		}
		return
	}
	if !errors.As(err, &r) || r.ErrorCode != code {
		tb.Errorf("error %v, want %s", err, code)
	}
}

func sbody(s string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(s)) }

// write makes a file with a content.
func write(tb testing.TB, fs *filesystem.Client, path, content string) {
	tb.Helper()
	if err := writeTo(tb.Context(), fs, path, content); err != nil {
		tb.Fatal(path, err)
	}
}

func writeTo(ctx context.Context, fs *filesystem.Client, path, content string) error {
	f := fs.NewFileClient(path)
	if _, err := f.Create(ctx, nil); err != nil {
		return err
	}
	if content == "" {
		return nil
	}
	if _, err := f.AppendData(ctx, 0, sbody(content), nil); err != nil {
		return err
	}
	_, err := f.FlushData(ctx, int64(len(content)), nil)
	return err
}

func read(ctx context.Context, f *file.Client) (string, error) {
	resp, err := f.DownloadStream(ctx, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// paths lists a directory.
func paths(ctx context.Context, fs *filesystem.Client, dir string, recursive bool, page int32) (string, error) {
	var out []string
	o := &filesystem.ListPathsOptions{MaxResults: &page}
	if dir != "" {
		o.Prefix = &dir
	}
	for p := fs.NewListPathsPager(recursive, o); p.More(); {
		r, err := p.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, x := range r.Paths {
			name := *x.Name
			if x.IsDirectory != nil && *x.IsDirectory {
				name += "/"
			}
			out = append(out, name)
		}
	}
	return strings.Join(out, " "), nil
}

func wantPaths(tb testing.TB, fs *filesystem.Client, dir string, recursive bool, want string) {
	tb.Helper()
	for _, page := range []int32{1, 2, 3, 5000} {
		got, err := paths(tb.Context(), fs, dir, recursive, page)
		if err != nil || got != want {
			tb.Errorf("paths of %q by %d: %q, %v; want %q", dir, page, got, err, want)
		}
	}
}

func TestFileSystems(t *testing.T) {
	w := newWorld(t)
	svc, fs := w.lake()
	ctx := t.Context()
	_, err := fs.Create(ctx, nil)
	wantDFS(t, err, "FileSystemAlreadyExists") // the SDK asks the Blob service and translates
	p := must[filesystem.GetPropertiesResponse](t)(fs.GetProperties(ctx, nil))
	if p.ETag == nil {
		t.Error("no ETag")
	}
	must[filesystem.SetMetadataResponse](t)(fs.SetMetadata(ctx, &filesystem.SetMetadataOptions{Metadata: map[string]*string{"a": to.Ptr("b")}}))
	for i := range 3 {
		must[filesystem.CreateResponse](t)(svc.NewFileSystemClient(fmt.Sprintf("more-%d", i)).Create(ctx, nil))
	}
	n := 0
	for pager := svc.NewListFileSystemsPager(nil); pager.More(); {
		n += len(must[dfs.ListFileSystemsResponse](t)(pager.NextPage(ctx)).FileSystemItems)
	}
	if n != 4 {
		t.Errorf("%d file systems", n)
	}
	must[filesystem.DeleteResponse](t)(svc.NewFileSystemClient("more-1").Delete(ctx, nil))

	// The REST of the endpoint itself, as azurerm uses it.
	want(t, w.dfs("PUT", "raw?resource=filesystem", "", "x-ms-properties", "Hello=aGVsbG8=,n=/w=="), 201, "")
	want(t, w.dfs("PUT", "raw?resource=filesystem", ""), 409, "FilesystemAlreadyExists")
	resp := w.dfs("HEAD", "raw?resource=filesystem", "")
	if want(t, resp, 200, ""); resp.Header.Get("x-ms-properties") != "Hello=aGVsbG8=,n=/w==" || resp.Header.Get("x-ms-namespace-enabled") != "true" {
		t.Errorf("properties %v", resp.Header)
	}
	want(t, w.dfs("PATCH", "raw?resource=filesystem", "", "x-ms-properties", "x=eA=="), 200, "")
	if got := w.dfs("HEAD", "raw?resource=filesystem", "").Header.Get("x-ms-properties"); got != "x=eA==" {
		t.Errorf("properties %s", got)
	}
	for _, bad := range []string{"x", "x=?", "1x=eA==", "x=eA==,x=eA=="} {
		if r := w.dfs("PATCH", "raw?resource=filesystem", "", "x-ms-properties", bad); r.StatusCode != 400 {
			t.Errorf("%q: status %d", bad, r.StatusCode)
		}
	}
	resp = w.dfs("GET", "?resource=account&prefix=r&maxResults=1", "")
	var list struct{ Filesystems []filesystemItem }
	if err := json.Unmarshal([]byte(text(resp)), &list); err != nil || len(list.Filesystems) != 1 || list.Filesystems[0].Name != "raw" {
		t.Errorf("list %+v %v", list, err)
	}
	resp = w.dfs("PATCH", "none?resource=filesystem", "")
	want(t, resp, 404, "FilesystemNotFound")
	if doc := text(resp); !strings.HasPrefix(doc, `{"error":{"code":"FilesystemNotFound","message":"The specified filesystem does not exist.`) {
		t.Errorf("error document %s", doc)
	}
	want(t, w.dfs("DELETE", "raw?resource=filesystem", ""), 202, "")
	want(t, w.dfs("HEAD", "raw?resource=filesystem", ""), 404, "FilesystemNotFound")
	for q, code := range map[string]string{"tree/a?action=dance": "InvalidQueryParameterValue", "": "MissingRequiredQueryParameter", "tree?resource=filesystem": "MissingRequiredQueryParameter"} {
		want(t, w.dfs("GET", q, ""), 400, code)
	}
	want(t, w.dfs("PUT", "tree/a", "", "x-ms-undelete-source", "/tree/b"), 400, "InvalidHeaderValue")
	want(t, w.dfs("PUT", "tree/a", "", "x-ms-undelete-source", "b?deletionid=7"), 501, "NotImplementedByAzimuth")
}

// dfs sends a request to the lake with its key.
func (w *world) dfs(method, path, body string, headers ...string) *http.Response {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, lakeURL+path, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2023-11-03")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	acct := "lake"
	if strings.HasPrefix(path, "@flat/") {
		acct = "acct"
		req.URL, _ = url.Parse("https://acct.dfs.core.windows.net/" + strings.TrimPrefix(path, "@flat/"))
		req.Host = req.URL.Host
	}
	req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	c := &call{r: req, q: req.URL.Query(), acct: w.accounts[acct], service: "dfs", version: req.Header.Get("x-ms-version")}
	req.Header.Set("Authorization", "SharedKey "+acct+":"+storage.Sign(w.accounts[acct].Keys[0], storage.StringToSign(c.request(), false, strings.Compare)))
	return w.send(req)
}

func TestFilesOfTheLake(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	f := fs.NewFileClient("deep/er/a file+ü.bin")
	for _, n := range []int{1, inlineLimit + 1, 2<<20 + 7} {
		data := randomBytes(n)
		if err := f.UploadBuffer(ctx, data, &file.UploadBufferOptions{ChunkSize: 300_001, Concurrency: 3}); err == nil {
			t.Fatal("an upload to no file succeeded")
		} else {
			wantDFS(t, err, "PathNotFound")
		}
		must[file.CreateResponse](t)(f.Create(ctx, &file.CreateOptions{HTTPHeaders: &file.HTTPHeaders{ContentType: to.Ptr("x/y")}}))
		if err := f.UploadBuffer(ctx, data, &file.UploadBufferOptions{ChunkSize: 300_001, Concurrency: 3}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if _, err := f.DownloadBuffer(ctx, got, nil); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		resp := w.dfs("GET", "tree/deep/er/a%20file+%C3%BC.bin", "", "Range", "bytes=0-0")
		want(t, resp, 206, "")
		if text(resp) != string(data[:1]) || resp.Header.Get("x-ms-resource-type") != "file" {
			t.Errorf("range read: %v", resp.Header)
		}
		p := must[file.GetPropertiesResponse](t)(f.GetProperties(ctx, nil))
		if *p.ContentLength != int64(n) || *p.ResourceType != "file" || *p.Owner != superuser || *p.Permissions != "rw-r-----" {
			t.Errorf("properties %d %s %s %s", *p.ContentLength, *p.ResourceType, *p.Owner, *p.Permissions)
		}
		must[file.DeleteResponse](t)(f.Delete(ctx, nil))
	}
	wantPaths(t, fs, "", true, "deep/ deep/er/")

	// Append by append, and what a flush refuses.
	write(t, fs, "log", "0123")
	l := fs.NewFileClient("log")
	old := must[file.DownloadStreamResponse](t)(l.DownloadStream(ctx, nil))
	must[file.AppendDataResponse](t)(l.AppendData(ctx, 8, sbody("89"), nil))
	_, err := l.FlushData(ctx, 10, nil)
	wantDFS(t, err, "InvalidFlushPosition")
	must[file.AppendDataResponse](t)(l.AppendData(ctx, 4, sbody("4567"), nil))
	_, err = l.FlushData(ctx, 7, nil)
	wantDFS(t, err, "InvalidFlushPosition")
	_, err = l.AppendData(ctx, 2, sbody("x"), nil)
	wantDFS(t, err, "InvalidFlushPosition")
	must[file.FlushDataResponse](t)(l.FlushData(ctx, 8, &file.FlushDataOptions{RetainUncommittedData: to.Ptr(true), Close: to.Ptr(true)}))
	must[file.FlushDataResponse](t)(l.FlushData(ctx, 10, nil))
	must[file.AppendDataResponse](t)(l.AppendData(ctx, 10, sbody("end"), &file.AppendDataOptions{Flush: to.Ptr(true)}))
	must[file.AppendDataResponse](t)(l.AppendData(ctx, 13, sbody("given up"), nil))
	must[file.FlushDataResponse](t)(l.FlushData(ctx, 13, &file.FlushDataOptions{HTTPHeaders: &file.HTTPHeaders{ContentType: to.Ptr("text/log")}}))
	_, err = l.FlushData(ctx, 21, nil)
	wantDFS(t, err, "InvalidFlushPosition")
	if got, err := read(ctx, l); got != "0123456789end" || err != nil {
		t.Errorf("log %q %v", got, err)
	}
	if b, err := io.ReadAll(old.Body); string(b) != "0123" || err != nil {
		t.Errorf("a reader from before sees %q %v", b, err)
	}
	old.Body.Close()
	_, err = l.FlushData(ctx, 13, &file.FlushDataOptions{AccessConditions: &file.AccessConditions{ModifiedAccessConditions: &file.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag("x"))}}})
	wantDFS(t, err, "ConditionNotMet")

	// Blobs of every kind can be appended to, but append blobs.
	cc := w.blobOfLake()
	for i, content := range []string{"", "inline", strings.Repeat("file", inlineLimit)} {
		name := fmt.Sprintf("from-blob-%d", i)
		if _, err := cc.NewBlockBlobClient(name).Upload(ctx, sbody(content), nil); err != nil {
			t.Fatal(err)
		}
		n := fs.NewFileClient(name)
		must[file.AppendDataResponse](t)(n.AppendData(ctx, int64(len(content)), sbody("+more"), &file.AppendDataOptions{Flush: to.Ptr(true)}))
		if got, err := read(ctx, n); got != content+"+more" || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := cc.NewAppendBlobClient("ab").Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	_, err = fs.NewFileClient("ab").AppendData(ctx, 0, sbody("x"), nil)
	wantDFS(t, err, "InvalidFlushOperation")
	w.sound()
}

// sound checks all that is stored, after the reaper has done its work.
func (w *world) sound() {
	w.tb.Helper()
	if err := w.svc.eng.reapAll(w.tb.Context()); err != nil {
		w.tb.Error(err)
	}
	r, err := w.svc.Check(w.tb.Context())
	if err != nil || len(r.Problems) > 0 || r.Orphans > 0 {
		w.tb.Errorf("check: %+v, %v", r, err)
	}
}

// blobOfLake is the file system in the eyes of the Blob service.
func (w *world) blobOfLake() *container.Client {
	w.tb.Helper()
	cred, err := container.NewSharedKeyCredential("lake", base64.StdEncoding.EncodeToString(w.accounts["lake"].Keys[0]))
	if err != nil {
		w.tb.Fatal(err)
	}
	cc, err := container.NewClientWithSharedKeyCredential("https://lake.blob.core.windows.net/tree", cred, &container.ClientOptions{ClientOptions: w.options().ClientOptions})
	if err != nil {
		w.tb.Fatal(err)
	}
	return cc
}

func TestBothViewsOfALake(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	cc := w.blobOfLake()
	ctx := t.Context()
	upload := func(name string) {
		t.Helper()
		if _, err := cc.NewBlockBlobClient(name).Upload(ctx, sbody(name), nil); err != nil {
			t.Fatal(name, err)
		}
	}
	upload("a/b/c.txt")
	upload("a.txt")
	write(t, fs, "a/d", "by dfs")
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("empty").Create(ctx, &directory.CreateOptions{}))
	wantPaths(t, fs, "", true, "a/ a/b/ a/b/c.txt a/d a.txt empty/")
	wantPaths(t, fs, "", false, "a/ a.txt empty/")
	wantPaths(t, fs, "a", false, "a/b/ a/d")
	wantPaths(t, fs, "a/b", true, "a/b/c.txt")
	_, err := paths(ctx, fs, "none", true, 10)
	wantDFS(t, err, "PathNotFound")

	for _, size := range []int32{1, 2, 5000} {
		var flat []string
		for p := cc.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &size, Include: container.ListBlobsInclude{Metadata: true}}); p.More(); {
			for _, it := range must[container.ListBlobsFlatResponse](t)(p.NextPage(ctx)).Segment.BlobItems {
				name := *it.Name
				if m := it.Metadata[folderMark]; m != nil && *m == "true" {
					name += "/"
				}
				flat = append(flat, name)
			}
		}
		if got := strings.Join(flat, " "); got != "a/ a/b/ a/b/c.txt a/d a.txt empty/" {
			t.Errorf("blobs by %d: %s", size, got)
		}
		var top []string
		for p := cc.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{MaxResults: &size, Prefix: to.Ptr("a/")}); p.More(); {
			seg := must[container.ListBlobsHierarchyResponse](t)(p.NextPage(ctx)).Segment
			for _, x := range seg.BlobPrefixes {
				top = append(top, *x.Name)
			}
			for _, x := range seg.BlobItems {
				top = append(top, *x.Name)
			}
		}
		if got := strings.Join(top, " "); got != "a/b/ a/d" {
			t.Errorf("hierarchy by %d: %s", size, got)
		}
	}
	p, err := cc.NewBlobClient("a/b").GetProperties(ctx, nil)
	if err != nil || *p.Metadata["Hdi_isfolder"] != "true" || *p.ContentLength != 0 {
		t.Errorf("directory as a blob: %+v %v", p.Metadata, err)
	}
	_, err = cc.NewBlobClient("a/b").Delete(ctx, nil)
	wantDFS(t, err, "DirectoryIsNotEmpty")
	_, err = cc.NewBlockBlobClient("a/b").Upload(ctx, sbody("x"), nil)
	wantDFS(t, err, "ResourceTypeMismatch")
	_, err = cc.NewBlockBlobClient("a.txt/x").Upload(ctx, sbody("x"), nil)
	wantDFS(t, err, "PathConflict")
	// An empty blob with the mark is a directory.
	if _, err := cc.NewBlockBlobClient("marked/dir").Upload(ctx, sbody(""), nil); err != nil {
		t.Fatal(err)
	}
	resp := w.lakeBlob("PUT", "tree/marked/real", "x-ms-blob-type", "BlockBlob", "x-ms-meta-hdi_isfolder", "true")
	want(t, resp, 201, "")
	write(t, fs, "marked/real/file", "x")
	wantPaths(t, fs, "marked", true, "marked/dir marked/real/ marked/real/file")
	n := 0
	for b, err := range w.svc.ListBlobs(ctx, "lake", "tree", "") {
		if err != nil || b.Size == 0 && b.Name != "marked/dir" {
			t.Errorf("%+v, %v", b, err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d files", n)
	}
	// Staged blocks and copies go through the tree, too.
	bb := cc.NewBlockBlobClient("new/staged")
	if _, err := bb.StageBlock(ctx, "AAAA", sbody("block"), nil); err != nil {
		t.Fatal(err)
	}
	wantPaths(t, fs, "new", true, "")
	if _, err := bb.CommitBlockList(ctx, []string{"AAAA"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cc.NewBlobClient("copied/here").StartCopyFromURL(ctx, bb.URL(), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := read(ctx, fs.NewFileClient("copied/here")); got != "block" || err != nil {
		t.Errorf("copy %q %v", got, err)
	}
	w.sound()
}

// lakeBlob sends a request to the lake's Blob service with its key.
func (w *world) lakeBlob(method, path string, headers ...string) *http.Response {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, "https://lake.blob.core.windows.net/"+path, nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("x-ms-version", "2023-11-03")
	req.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	c := &call{r: req, q: req.URL.Query(), acct: w.accounts["lake"], service: "blob", version: "2023-11-03"}
	req.Header.Set("Authorization", "SharedKey lake:"+storage.Sign(w.accounts["lake"].Keys[0], storage.StringToSign(c.request(), false, strings.Compare)))
	return w.send(req)
}

func TestRenames(t *testing.T) {
	w := newWorld(t)
	svc, fs := w.lake()
	ctx := t.Context()
	for i := range 300 {
		if err := writeTo(ctx, fs, fmt.Sprintf("big/sub-%d/f", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	write(t, fs, "big/x", "content")
	rows := func() (n int) {
		if err := w.store.View(ctx, func(tx store.Tx) error {
			for row, err := range tx.Scan(bucketBlobs, store.Range{}) {
				if err != nil {
					return err
				}
				if row.Value != nil {
					n++
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := rows()
	d := fs.NewDirectoryClient("big")
	_, err := d.Rename(ctx, "no/where", nil)
	wantDFS(t, err, "RenameDestinationParentPathNotFound")
	_, err = d.Rename(ctx, "big/sub-1/in-itself", nil)
	wantDFS(t, err, "InvalidRenameSourcePath")
	_, err = fs.NewDirectoryClient("none").Rename(ctx, "other", nil)
	wantDFS(t, err, "SourcePathNotFound")
	_, err = d.Rename(ctx, "moved", &directory.RenameOptions{SourceAccessConditions: &directory.SourceAccessConditions{
		SourceModifiedAccessConditions: &directory.SourceModifiedAccessConditions{SourceIfMatch: to.Ptr(azcore.ETag("0x1"))}}})
	wantDFS(t, err, "SourceConditionNotMet")
	must[directory.RenameResponse](t)(d.Rename(ctx, "moved", nil))
	if after := rows(); after != before {
		t.Errorf("%d rows, %d before", after, before)
	}
	if got, err := read(ctx, fs.NewFileClient("moved/x")); got != "content" || err != nil {
		t.Errorf("moved file %q %v", got, err)
	}
	_, err = d.GetProperties(ctx, nil)
	wantDFS(t, err, string(datalakeerror.PathNotFound))

	// Files replace files, but not when they may not.
	write(t, fs, "one", "1")
	write(t, fs, "two", "2")
	one := fs.NewFileClient("one")
	_, err = one.Rename(ctx, "two", &file.RenameOptions{AccessConditions: &file.AccessConditions{ModifiedAccessConditions: &file.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}})
	wantDFS(t, err, "PathAlreadyExists")
	_, err = one.Rename(ctx, "moved", nil)
	wantDFS(t, err, "InvalidSourceOrDestinationResourceType")
	must[file.RenameResponse](t)(one.Rename(ctx, "two", nil))
	if got, err := read(ctx, fs.NewFileClient("two")); got != "1" || err != nil {
		t.Errorf("two is %q %v", got, err)
	}
	// A directory replaces an empty one only.
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("void").Create(ctx, nil))
	_, err = fs.NewDirectoryClient("void").Rename(ctx, "moved", nil)
	wantDFS(t, err, "DirectoryNotEmpty")
	must[directory.RenameResponse](t)(fs.NewDirectoryClient("moved").Rename(ctx, "void", nil))
	wantPaths(t, fs, "", false, "two void/")

	// Uncommitted data moves along, and to another file system, too.
	must[file.AppendDataResponse](t)(fs.NewFileClient("two").AppendData(ctx, 1, sbody("22"), nil))
	must[filesystem.CreateResponse](t)(svc.NewFileSystemClient("other").Create(ctx, nil))
	want(t, w.dfs("PUT", "other/t%20o", "", "x-ms-rename-source", "/tree/two"), 201, "")
	three := svc.NewFileSystemClient("other").NewFileClient("t o")
	must[file.FlushDataResponse](t)(three.FlushData(ctx, 3, nil))
	if got, err := read(ctx, three); got != "122" || err != nil {
		t.Errorf("three is %q %v", got, err)
	}
	for _, bad := range []string{"tree/two", "/tree/", "/tree/%zz", "/FS!/x"} {
		want(t, w.dfs("PUT", "tree/y", "", "x-ms-rename-source", bad), 400, "InvalidSourceUri")
	}
	w.sound()
}

func TestDeletesOfTheLake(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	for i := range 30 {
		write(t, fs, fmt.Sprintf("d/%d/f", i), strings.Repeat("x", 20_000))
	}
	want(t, w.dfs("DELETE", "tree/d", ""), 409, "DirectoryNotEmpty")
	want(t, w.dfs("DELETE", "tree/d?recursive=false", ""), 409, "DirectoryNotEmpty")
	must[directory.DeleteResponse](t)(fs.NewDirectoryClient("d").Delete(ctx, nil))
	wantPaths(t, fs, "", true, "")
	want(t, w.dfs("DELETE", "tree/d?recursive=true", ""), 404, "PathNotFound")
	want(t, w.dfs("DELETE", "tree?recursive=true", ""), 409, "PathConflict")
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if r := must[*Report](t)(w.svc.Check(ctx)); r.Blobs+r.Files+r.Orphans != 0 {
		t.Errorf("left %+v", r)
	}
	// azurerm deletes directories without the recursive parameter.
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("e").Create(ctx, nil))
	want(t, w.dfs("DELETE", "tree/e", ""), 200, "")
	// A file system goes with its tree.
	write(t, fs, "x/y/z", "bytes")
	must[filesystem.DeleteResponse](t)(fs.Delete(ctx, nil))
	for range 3 {
		if err := w.svc.eng.reapAll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketBlobs, store.Range{}) {
			if err != nil {
				return err
			}
			t.Errorf("left %s", row.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDFSOfAFlatAccount(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	fs := w.dfsWithKey("acct").NewFileSystemClient("box")
	if got, err := read(ctx, fs.NewFileClient("dir/file")); got != "0123456789" || err != nil {
		t.Errorf("file %q %v", got, err)
	}
	write(t, fs, "w/x", "written")
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("mk").Create(ctx, nil))
	wantPaths(t, fs, "", true, "dir/file mk/ w/x")
	wantPaths(t, fs, "", false, "dir/ mk/ w/")
	wantPaths(t, fs, "w", true, "w/x")
	_, err := fs.NewDirectoryClient("mk").GetAccessControl(ctx, nil)
	var r *azcore.ResponseError
	if !errors.As(err, &r) || r.StatusCode != 400 { // a HEAD has no code in its body
		t.Errorf("access control: %v", err)
	}
	_, err = fs.NewFileClient("w/x").SetAccessControl(ctx, &file.SetAccessControlOptions{Permissions: to.Ptr("0777")})
	wantDFS(t, err, "HierarchicalNamespaceNotEnabled")
	must[file.RenameResponse](t)(fs.NewFileClient("w/x").Rename(ctx, "v/y", nil))
	if got, err := read(ctx, fs.NewFileClient("v/y")); got != "written" || err != nil {
		t.Errorf("renamed %q %v", got, err)
	}
	_, err = fs.NewDirectoryClient("mk").Rename(ctx, "mk2", nil)
	wantDFS(t, err, "NotImplementedByAzimuth")
	for i := range flatDeletions + 5 {
		if _, err := w.svc.PutBlob(ctx, "acct", "box", fmt.Sprintf("mk/%d", i), strings.NewReader("x"), Headers{}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, w.dfs("DELETE", "@flat/box/mk", ""), 409, "DirectoryNotEmpty")
	resp := w.dfs("DELETE", "@flat/box/mk?recursive=true", "")
	token := resp.Header.Get("x-ms-continuation")
	if want(t, resp, 200, ""); token == "" {
		t.Error("no continuation")
	}
	resp = w.dfs("DELETE", "@flat/box/mk?recursive=true&continuation="+url.QueryEscape(token), "")
	if want(t, resp, 200, ""); resp.Header.Get("x-ms-continuation") != "" {
		t.Error("not done")
	}
	wantPaths(t, fs, "", true, "dir/file v/y")
	w.sound()
}

func TestDirectorySAS(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	write(t, fs, "in/f", "inside")
	write(t, fs, "out/f", "outside")
	u := must[string](t)(fs.NewDirectoryClient("in").GetSASURL(sas.DirectoryPermissions{Read: true, List: true, Write: true, Create: true}, time.Now().Add(time.Hour), nil))
	_, query, _ := strings.Cut(u, "?")
	get := func(path string) *http.Response {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		return w.get("GET", lakeURL+path+sep+query, "")
	}
	want(t, get("tree/in/f"), 200, "")
	want(t, get("tree/out/f"), 403, "AuthenticationFailed")
	want(t, get("tree?resource=filesystem&recursive=true&directory=in"), 200, "")
	want(t, get("tree?resource=filesystem&recursive=true&directory=out"), 403, "AuthenticationFailed")
	if r := get("tree?resource=filesystem&recursive=true"); r.StatusCode != 403 {
		t.Errorf("list of all: %d", r.StatusCode)
	}
}
