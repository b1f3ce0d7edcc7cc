package blob

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// pagesDoc is the answer of Get Page Ranges.
type pagesDoc struct {
	PageRange, ClearRange []struct{ Start, End int64 }
	NextMarker            string
}

func (w *world) pages(path string, headers ...string) (d pagesDoc) {
	w.tb.Helper()
	resp := w.do("GET", path, "", headers...)
	want(w.tb, resp, 200, "")
	if err := xml.Unmarshal([]byte(strings.TrimPrefix(text(resp), "\ufeff")), &d); err != nil {
		w.tb.Fatal(err)
	}
	return d
}

// TestPagesAreWhatWasWrittenLast writes, clears and resizes at random and compares
// with a plain slice of bytes, and snapshots with copies of it.
func TestPagesAreWhatWasWrittenLast(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	rows := func() int { return w.count(bucketPages) + w.count(bucketInline) + w.count(bucketFiles) }
	before := rows()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	size := int64(256 << 10)
	model, touched := make([]byte, size), make([]bool, size/pageUnit)
	want(t, w.do("PUT", "box/disk", "", "x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", fmt.Sprint(size)), 201, "")
	r := ref{uid: "uid-1", container: "box", name: "disk"}
	agree := func(*blobRec) error { return nil }
	type snap struct {
		at    string
		bytes []byte
		had   []bool
	}
	var snaps []snap
	changed := map[int]bool{} // pages written or cleared since the last snapshot
	for range 120 {
		n := int64(len(model))
		from := rnd.Int64N(n/pageUnit) * pageUnit
		length := min(n-from, (1+rnd.Int64N(96))*pageUnit)
		switch k := rnd.IntN(10); {
		case k < 6:
			data := bytes.Repeat([]byte{byte(1 + rnd.IntN(255))}, int(length))
			in := must[*intake](t)(w.svc.eng.files.take(bytes.NewReader(data), maxPageWrite, false))
			if _, err := w.svc.eng.writePages(ctx, r, byteRange{from, length}, in, agree); err != nil {
				t.Fatal(err)
			}
			copy(model[from:], data)
			for p := from / pageUnit; p < (from+length)/pageUnit; p++ {
				touched[p], changed[int(p)] = true, true
			}
		case k < 8:
			if _, err := w.svc.eng.writePages(ctx, r, byteRange{from, length}, nil, agree); err != nil {
				t.Fatal(err)
			}
			clear(model[from:][:length])
			for p := from / pageUnit; p < (from+length)/pageUnit; p++ {
				touched[p], changed[int(p)] = false, true
			}
		case k == 8:
			n = (1 + rnd.Int64N(size/pageUnit)) * pageUnit
			want(t, w.do("PUT", "box/disk?comp=properties", "", "x-ms-blob-content-length", fmt.Sprint(n)), 200, "")
			model = append(model[:min(n, int64(len(model)))], make([]byte, max(0, n-int64(len(model))))...)
			touched = append(touched[:min(n/pageUnit, int64(len(touched)))], make([]bool, max(0, n/pageUnit-int64(len(touched))))...)
			snaps = nil // what a resize cut off is not told as cleared
		case len(snaps) < 6:
			resp := w.do("PUT", "box/disk?comp=snapshot", "")
			want(t, resp, 201, "")
			snaps = append(snaps, snap{resp.Header.Get("x-ms-snapshot"), bytes.Clone(model), append([]bool(nil), touched...)})
			changed = map[int]bool{}
		}
	}
	if got, err := w.read("disk"); err != nil || !bytes.Equal(got, model) {
		t.Fatalf("the blob differs from what was written (%v)", err)
	}
	from := int64(len(model) / 3)
	resp := w.do("GET", "box/disk", "", "x-ms-range", fmt.Sprintf("bytes=%d-%d", from, 2*from))
	want(t, resp, 206, "")
	if text(resp) != string(model[from:2*from+1]) {
		t.Error("a range differs")
	}
	got := make([]bool, len(touched))
	for marker := ""; ; {
		d := w.pages("box/disk?comp=pagelist&maxresults=3&marker=" + marker)
		for _, p := range d.PageRange {
			for i := p.Start / pageUnit; i <= p.End/pageUnit; i++ {
				got[i] = true
			}
		}
		if marker = d.NextMarker; marker == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(touched) {
		t.Error("the page ranges are not those written")
	}
	for i, s := range snaps {
		resp := w.do("GET", "box/disk?snapshot="+s.at, "")
		want(t, resp, 200, "")
		if text(resp) != string(s.bytes) {
			t.Errorf("snapshot %d differs", i)
		}
	}
	if len(snaps) > 0 {
		last := snaps[len(snaps)-1]
		d := w.pages("box/disk?comp=pagelist&prevsnapshot=" + last.at)
		for _, p := range d.PageRange {
			for i := p.Start / pageUnit; i <= p.End/pageUnit; i++ {
				if !touched[i] || !changed[int(i)] {
					t.Errorf("page %d is told as written", i)
				}
				delete(changed, int(i))
			}
		}
		for _, p := range d.ClearRange {
			for i := p.Start / pageUnit; i <= p.End/pageUnit; i++ {
				if touched[i] || !last.had[i] {
					t.Errorf("page %d is told as cleared", i)
				}
				delete(changed, int(i))
			}
		}
		for i := range changed {
			if touched[i] || last.had[i] {
				t.Errorf("page %d changed and is not told", i)
			}
		}
	}
	if rep := must[*Report](t)(w.svc.Check(ctx)); len(rep.Problems) > 0 || rep.Orphans > 0 {
		t.Errorf("check: %+v", rep)
	}
	want(t, w.do("DELETE", "box/disk", "", "x-ms-delete-snapshots", "include"), 202, "")
	if err := w.svc.eng.reapAll(ctx); err != nil {
		t.Fatal(err)
	}
	if n := rows() - before; n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestPageBlobsWithTheSDK(t *testing.T) {
	w := newWorld(t)
	w.seed()
	ctx := t.Context()
	box := w.client().ServiceClient().NewContainerClient("box")
	disk := box.NewPageBlobClient("disk")
	if _, err := disk.Create(ctx, 64<<10, &pageblob.CreateOptions{SequenceNumber: to.Ptr[int64](7)}); err != nil {
		t.Fatal(err)
	}
	page := strings.Repeat("p", 4096)
	up, err := disk.UploadPages(ctx, streaming.NopCloser(strings.NewReader(page)), blob.HTTPRange{Offset: 8192, Count: 4096}, nil)
	if err != nil || *up.BlobSequenceNumber != 7 {
		t.Fatal(up, err)
	}
	_, err = disk.UploadPages(ctx, streaming.NopCloser(strings.NewReader(page)), blob.HTTPRange{Offset: 0, Count: 4096},
		&pageblob.UploadPagesOptions{SequenceNumberAccessConditions: &pageblob.SequenceNumberAccessConditions{IfSequenceNumberLessThan: to.Ptr[int64](7)}})
	if !bloberror.HasCode(err, bloberror.SequenceNumberConditionNotMet) {
		t.Errorf("err = %v", err)
	}
	if _, err := disk.UploadPages(ctx, streaming.NopCloser(strings.NewReader(page)), blob.HTTPRange{Offset: 64 << 10, Count: 4096}, nil); !bloberror.HasCode(err, bloberror.InvalidPageRange) {
		t.Errorf("err = %v", err)
	}
	if r, err := disk.UpdateSequenceNumber(ctx, &pageblob.UpdateSequenceNumberOptions{ActionType: to.Ptr(pageblob.SequenceNumberActionTypeIncrement)}); err != nil || *r.BlobSequenceNumber != 8 {
		t.Error(r, err)
	}
	snap, err := disk.CreateSnapshot(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.ClearPages(ctx, blob.HTTPRange{Offset: 8192, Count: 1024}, nil); err != nil {
		t.Fatal(err)
	}
	src := box.NewBlockBlobClient("src")
	if _, err := src.UploadBuffer(ctx, []byte(strings.Repeat("s", 2048)), nil); err != nil {
		t.Fatal(err)
	}
	q := must[string](t)(storage.SignServiceSAS(w.accounts["acct"], storage.ServiceSAS{Container: "box", Blob: "src", Permissions: "r", Expiry: w.clock.Now().Add(1e12)}))
	if _, err := disk.UploadPagesFromURL(ctx, src.URL()+"?"+q, 1024, 16384, 1024, nil); err != nil {
		t.Fatal(err)
	}
	page1, err := disk.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: snap.Snapshot}).NextPage(ctx)
	if err != nil || len(page1.PageRange) != 1 || *page1.PageRange[0].Start != 16384 || *page1.PageRange[0].End != 17407 ||
		len(page1.ClearRange) != 1 || *page1.ClearRange[0].Start != 8192 || *page1.ClearRange[0].End != 9215 {
		t.Errorf("difference %+v %v", page1.PageList, err)
	}
	// A copy shares the pages and goes its own way.
	if _, err := box.NewPageBlobClient("copy").StartCopyFromURL(ctx, disk.URL(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.ClearPages(ctx, blob.HTTPRange{Offset: 0, Count: 64 << 10}, nil); err != nil {
		t.Fatal(err)
	}
	down, err := w.client().DownloadStream(ctx, "box", "copy", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(down.Body)
	exp := make([]byte, 64<<10)
	copy(exp[8192:], page)
	clear(exp[8192:9216])
	copy(exp[16384:], strings.Repeat("s", 1024))
	if !bytes.Equal(got, exp) {
		t.Error("the copy differs")
	}
	props, err := disk.GetProperties(ctx, nil)
	if err != nil || *props.BlobType != blob.BlobTypePageBlob || *props.BlobSequenceNumber != 8 || *props.ContentLength != 64<<10 {
		t.Error(props, err)
	}
	// Made anew, it cannot be compared with its past.
	if _, err := disk.Create(ctx, 512, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: snap.Snapshot}).NextPage(ctx); !bloberror.HasCode(err, bloberror.BlobOverwritten) {
		t.Errorf("err = %v", err)
	}
	list, err := box.NewListBlobsFlatPager(&azblob.ListBlobsFlatOptions{Prefix: to.Ptr("disk")}).NextPage(ctx)
	if err != nil || *list.Segment.BlobItems[0].Properties.BlobType != "PageBlob" {
		t.Error(err)
	}
}

func TestPageRequestsThatAreWrong(t *testing.T) {
	w := newWorld(t)
	w.seed()
	want(t, w.do("PUT", "box/disk", "", "x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "4096"), 201, "")
	want(t, w.do("PUT", "box/flat", "x", "x-ms-blob-type", "BlockBlob"), 201, "")
	half := strings.Repeat("x", 256)
	one := strings.Repeat("x", 512)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"no length", "PUT", "box/d", "", []string{"x-ms-blob-type", "PageBlob"}, 400, "MissingRequiredHeader"},
		{"odd length", "PUT", "box/d", "", []string{"x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "100"}, 400, "InvalidHeaderValue"},
		{"too long", "PUT", "box/d", "", []string{"x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", fmt.Sprint(9 << 40)}, 400, "InvalidHeaderValue"},
		{"with a body", "PUT", "box/d", one, []string{"x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "512"}, 400, "InvalidHeaderValue"},
		{"no range", "PUT", "box/disk?comp=page", one, []string{"x-ms-page-write", "update"}, 400, "MissingRequiredHeader"},
		{"no action", "PUT", "box/disk?comp=page", one, []string{"x-ms-range", "bytes=0-511"}, 400, "MissingRequiredHeader"},
		{"odd range", "PUT", "box/disk?comp=page", half, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-255"}, 416, "InvalidPageRange"},
		{"open range", "PUT", "box/disk?comp=page", one, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-"}, 400, "InvalidHeaderValue"},
		{"length differs", "PUT", "box/disk?comp=page", half, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-511"}, 400, "InvalidHeaderValue"},
		{"clear with a body", "PUT", "box/disk?comp=page", one, []string{"x-ms-page-write", "clear", "x-ms-range", "bytes=0-511"}, 400, "InvalidHeaderValue"},
		{"behind the end", "PUT", "box/disk?comp=page", one, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=4096-4607"}, 416, "InvalidPageRange"},
		{"a block blob", "PUT", "box/flat?comp=page", one, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-511"}, 409, "InvalidBlobType"},
		{"ranges of a block blob", "GET", "box/flat?comp=pagelist", "", nil, 409, "InvalidBlobType"},
		{"not there", "PUT", "box/none?comp=page", one, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-511"}, 404, "BlobNotFound"},
		{"wrong MD5", "PUT", "box/disk?comp=page", one, []string{"x-ms-page-write", "update", "x-ms-range", "bytes=0-511", "Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="}, 400, "Md5Mismatch"},
		{"since nothing", "GET", "box/disk?comp=pagelist&prevsnapshot=2020-01-01T00:00:00.0000000Z", "", nil, 409, "PreviousSnapshotNotFound"},
		{"a block", "PUT", "box/disk?comp=block&blockid=AAAA", one, nil, 409, "InvalidBlobType"},
		{"another type", "PUT", "box/disk?comp=appendblock", one, nil, 409, "InvalidBlobType"},
		{"incremental copy", "PUT", "box/disk?comp=incrementalcopy", "", nil, 501, "NotImplementedByAzimuth"},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, w.do(c.method, c.path, c.body, c.headers...), c.status, c.code) })
	}
	if got, err := w.read("disk"); err != nil || !bytes.Equal(got, make([]byte, 4096)) {
		t.Errorf("something was written (%v)", err)
	}
}

// TestReadersOfPagesSurviveWriters reads while pages are written over, so that files
// vanish between being looked up and opened.
func TestReadersOfPagesSurviveWriters(t *testing.T) {
	w := newWorld(t)
	w.seed()
	const size = 1 << 20
	want(t, w.do("PUT", "box/disk", "", "x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", fmt.Sprint(size)), 201, "")
	done := make(chan error)
	go func() {
		r := ref{uid: "uid-1", container: "box", name: "disk"}
		for i := range 30 {
			in, err := w.svc.eng.files.take(bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, 64<<10)), maxPageWrite, false)
			if err == nil {
				_, err = w.svc.eng.writePages(t.Context(), r, byteRange{int64(i%4) * 64 << 10, 64 << 10}, in, func(*blobRec) error { return nil })
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		got, err := w.read("disk")
		if err != nil || len(got) != size {
			t.Fatal(len(got), err)
		}
		for at := 0; at < size; at += pageUnit {
			if p := got[at:][:pageUnit]; !bytes.Equal(p, bytes.Repeat(p[:1], pageUnit)) {
				t.Fatalf("page at %d is of two writes", at)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestConditionsOnTags(t *testing.T) {
	tags := map[string]string{"project": "contoso", "rank": "5", "a b": "x"}
	for expr, ok := range map[string]bool{
		`"project" = 'contoso'`:                                 true,
		`project='contoso' AND rank > '4'`:                      true,
		`"project" = 'other' OR "rank" <= '5'`:                  true,
		`"project" = 'other' OR "rank" = '5' AND "a b" = 'y'`:   false,
		`("project" = 'other' OR "rank" = '5') AND "a b" = 'x'`: true,
		`"none" <> 'x'`: true,
		`"none" = ''`:   false,
		`"rank" <> '5'`: false,
		`"project" = 'contoso' and (("rank" >= '5' or "rank" < '2'))`: true,
	} {
		e, err := parseTagExpression(expr)
		if err != nil || e(tags) != ok {
			t.Errorf("%s: want %t, %v", expr, ok, err)
		}
	}
	for _, expr := range []string{"", "x", `"a"`, `"a" = b`, `"a" = 'b' AND`, `("a" = 'b'`, `"a" = 'b')`, `'a' = 'b'`, `"a" ! 'b'`, `"a" = 'b' XOR "a" = 'b'`, strings.Repeat("(", 5000)} {
		if _, err := parseTagExpression(expr); err == nil {
			t.Errorf("%q is taken", expr)
		}
	}
	w := newWorld(t)
	w.seed()
	want(t, w.do("PUT", "box/b", "x", "x-ms-blob-type", "BlockBlob", "x-ms-tags", "rank=5"), 201, "")
	const yes, no = `"rank" = '5'`, `"rank" = '6'`
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "box/b", nil, 200}, {"HEAD", "box/b", nil, 200}, {"GET", "box/b?comp=metadata", nil, 200}, {"GET", "box/b?comp=tags", nil, 200},
		{"PUT", "box/b?comp=metadata", nil, 200}, {"PUT", "box/b?comp=properties", nil, 200},
		{"PUT", "box/b?comp=snapshot", nil, 201}, {"PUT", "box/b?comp=tier", []string{"x-ms-access-tier", "Cool"}, 200},
		{"PUT", "box/b?comp=lease", []string{"x-ms-lease-action", "acquire", "x-ms-lease-duration", "15"}, 201},
		{"PUT", "box/b?comp=lease", []string{"x-ms-lease-action", "break", "x-ms-lease-break-period", "0"}, 202},
		{"GET", "box/b?comp=blocklist", nil, 200},
		{"PUT", "box/b", []string{"x-ms-blob-type", "BlockBlob", "x-ms-tags", "rank=5"}, 201},
		{"DELETE", "box/b", []string{"x-ms-delete-snapshots", "include"}, 202},
	} {
		want(t, w.do(c.method, c.path, "", append(c.headers, "x-ms-if-tags", no)...), 412, "ConditionNotMet")
		want(t, w.do(c.method, c.path, "", append(c.headers, "x-ms-if-tags", yes)...), c.status, "")
	}
	want(t, w.do("PUT", "box/b", "x", "x-ms-blob-type", "BlockBlob", "x-ms-if-tags", yes), 412, "ConditionNotMet")
	want(t, w.do("PUT", "box/b", "x", "x-ms-blob-type", "BlockBlob", "x-ms-if-tags", "nonsense"), 400, "InvalidHeaderValue")
	want(t, w.do("PUT", "box/b?comp=block&blockid=AAAA", "x", "x-ms-if-tags", yes), 501, "NotImplementedByAzimuth")
}

func FuzzTagExpression(f *testing.F) {
	f.Add(`"a" = 'b' AND ("c" <> 'd' OR e >= 'f')`)
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := parseTagExpression(s); err == nil {
			e(map[string]string{"a": "b"})
			e(nil)
		}
	})
}
