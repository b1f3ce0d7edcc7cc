package blob

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

const (
	leaseA = "11111111-1111-1111-1111-111111111111"
	leaseB = "22222222-2222-2222-2222-222222222222"
)

// TestLeaseActions walks through what actions do in the states of a lease.
func TestLeaseActions(t *testing.T) {
	w := newWorld(t)
	w.seed()
	act := func(action string, headers ...string) *http.Response {
		return w.do("PUT", "box/dir/file?comp=lease", "", append([]string{"x-ms-lease-action", action}, headers...)...)
	}
	const id, proposed, duration, period = "x-ms-lease-id", "x-ms-proposed-lease-id", "x-ms-lease-duration", "x-ms-lease-break-period"
	state := func(want string) {
		t.Helper()
		h := w.do("HEAD", "box/dir/file", "").Header
		if got := fmt.Sprint(h.Get("x-ms-lease-status"), " ", h.Get("x-ms-lease-state"), " ", h.Get("x-ms-lease-duration")); got != want {
			t.Errorf("lease is %q, want %q", got, want)
		}
	}
	state("unlocked available ")
	for _, bad := range [][]string{{""}, {"dance"}, {"acquire"}, {"acquire", duration, "14"}, {"acquire", duration, "61"}, {"acquire", duration, "15", proposed, "x"}, {"renew"}, {"change", id, leaseA}, {"break", period, "61"}} {
		if r := act(bad[0], bad[1:]...); r.StatusCode != 400 {
			t.Errorf("%q: %d", bad, r.StatusCode)
		}
	}
	want(t, act("break"), 409, "LeaseNotPresentWithLeaseOperation")
	want(t, act("renew", id, leaseA), 409, "LeaseIdMismatchWithLeaseOperation")
	want(t, act("change", id, leaseA, proposed, leaseB), 409, "LeaseNotPresentWithLeaseOperation")

	before := w.do("HEAD", "box/dir/file", "").Header
	want(t, act("acquire", duration, "15", proposed, leaseA), 201, "")
	state("locked leased fixed")
	if after := w.do("HEAD", "box/dir/file", "").Header; after.Get("ETag") != before.Get("ETag") {
		t.Error("the ETag changed")
	}
	want(t, act("acquire", duration, "15"), 409, "LeaseAlreadyPresent")
	want(t, act("acquire", duration, "-1", proposed, leaseA), 201, "")
	state("locked leased infinite")
	want(t, act("change", id, leaseB, proposed, leaseA), 200, "") // it is so already
	want(t, act("change", id, leaseA, proposed, leaseB), 200, "")
	want(t, act("renew", id, leaseA), 409, "LeaseIdMismatchWithLeaseOperation")
	want(t, act("renew", id, leaseB), 200, "")
	resp := act("break", period, "20")
	if want(t, resp, 202, ""); resp.Header.Get("x-ms-lease-time") != "20" {
		t.Errorf("break: %v", resp.Header)
	}
	state("locked breaking ")
	want(t, act("acquire", duration, "15", proposed, leaseB), 409, "LeaseIsBreakingAndCannotBeAcquired")
	want(t, act("acquire", duration, "15", proposed, leaseA), 409, "LeaseAlreadyPresent")
	want(t, act("renew", id, leaseB), 409, "LeaseIsBrokenAndCannotBeRenewed")
	want(t, act("change", id, leaseB, proposed, leaseA), 409, "LeaseIsBreakingAndCannotBeChanged")
	w.clock.Advance(21 * time.Second)
	state("unlocked broken ")
	want(t, act("renew", id, leaseB), 409, "LeaseIsBrokenAndCannotBeRenewed")
	want(t, act("acquire", duration, "15", proposed, leaseA), 201, "")
	w.clock.Advance(16 * time.Second)
	state("unlocked expired ")
	want(t, act("renew", id, leaseA), 200, "")
	state("locked leased fixed")
	w.clock.Advance(16 * time.Second)
	want(t, w.do("PUT", "box/dir/file?comp=metadata", "", "x-ms-meta-a", "b"), 200, "")
	want(t, act("renew", id, leaseA), 409, "LeaseIdMismatchWithLeaseOperation") // it was written to
	want(t, act("acquire", duration, "60", proposed, leaseA), 201, "")
	want(t, act("release", id, leaseB), 409, "LeaseIdMismatchWithLeaseOperation")
	want(t, act("release", id, leaseA), 200, "")
	state("unlocked available ")
}

func TestLeasesKeepOthersOut(t *testing.T) {
	w := newWorld(t)
	cc := w.keeping(RetentionPolicy{})
	ctx := t.Context()
	bb := cc.NewBlockBlobClient("b")
	upload(t, cc, "b", "one")
	lc, err := lease.NewBlobClient(bb, &lease.BlobClientOptions{LeaseID: to.Ptr(leaseA)})
	if err != nil {
		t.Fatal(err)
	}
	must[lease.BlobAcquireResponse](t)(lc.AcquireLease(ctx, -1, nil))
	with := func(id string) *sdkblob.AccessConditions {
		return &sdkblob.AccessConditions{LeaseAccessConditions: &sdkblob.LeaseAccessConditions{LeaseID: &id}}
	}
	writes := map[string]func(ac *sdkblob.AccessConditions) error{
		"put": func(ac *sdkblob.AccessConditions) error {
			_, err := bb.Upload(ctx, sbody("two"), &blockblob.UploadOptions{AccessConditions: ac})
			return err
		},
		"block": func(ac *sdkblob.AccessConditions) error {
			o := &blockblob.StageBlockOptions{}
			if ac != nil {
				o.LeaseAccessConditions = ac.LeaseAccessConditions
			}
			_, err := bb.StageBlock(ctx, "AAAA", sbody("x"), o)
			return err
		},
		"metadata": func(ac *sdkblob.AccessConditions) error {
			_, err := bb.SetMetadata(ctx, map[string]*string{"a": to.Ptr("b")}, &sdkblob.SetMetadataOptions{AccessConditions: ac})
			return err
		},
		"properties": func(ac *sdkblob.AccessConditions) error {
			_, err := bb.SetHTTPHeaders(ctx, sdkblob.HTTPHeaders{}, &sdkblob.SetHTTPHeadersOptions{AccessConditions: ac})
			return err
		},
	}
	for name, write := range writes {
		for id, code := range map[string]bloberror.Code{"": bloberror.LeaseIDMissing, leaseB: bloberror.LeaseIDMismatchWithBlobOperation} {
			ac := with(id)
			if id == "" {
				ac = nil
			}
			if err := write(ac); !bloberror.HasCode(err, code) {
				t.Errorf("%s with %q: %v", name, id, err)
			}
		}
		if err := write(with(leaseA)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The lease outlives what is written, and reading needs none.
	p := must[sdkblob.GetPropertiesResponse](t)(bb.GetProperties(ctx, nil))
	if *p.LeaseState != lease.StateTypeLeased || *p.LeaseDuration != lease.DurationTypeInfinite {
		t.Errorf("lease %s", *p.LeaseState)
	}
	want(t, w.do("GET", "box/b", "", "x-ms-lease-id", leaseB), 412, "LeaseIdMismatchWithBlobOperation")
	want(t, w.do("GET", "box/b", "", "x-ms-lease-id", leaseA), 200, "")
	_, err = bb.Delete(ctx, nil)
	wantCode(t, err, bloberror.LeaseIDMissing)
	fs := w.dfsWithKey("acct").NewFileSystemClient("box")
	_, err = fs.NewFileClient("b").Delete(ctx, nil)
	wantDFS(t, err, "LeaseIdMissing")
	_, err = fs.NewFileClient("b").Rename(ctx, "c", nil)
	wantDFS(t, err, "LeaseIdMissing")
	must[sdkblob.DeleteResponse](t)(bb.Delete(ctx, &sdkblob.DeleteOptions{AccessConditions: with(leaseA)}))
	want(t, w.do("PUT", "box/new", "x", "x-ms-blob-type", "BlockBlob", "x-ms-lease-id", leaseA), 412, "LeaseNotPresentWithBlobOperation")

	lk, err := lease.NewContainerClient(cc, &lease.ContainerClientOptions{LeaseID: to.Ptr(leaseA)})
	if err != nil {
		t.Fatal(err)
	}
	must[lease.ContainerAcquireResponse](t)(lk.AcquireLease(ctx, 15, nil))
	_, err = cc.Delete(ctx, nil)
	wantCode(t, err, bloberror.LeaseIDMissing)
	if p := must[container.GetPropertiesResponse](t)(cc.GetProperties(ctx, nil)); *p.LeaseState != lease.StateTypeLeased {
		t.Errorf("container's lease %s", *p.LeaseState)
	}
	upload(t, cc, "free", "x") // what is in it is not locked
	must[lease.ContainerBreakResponse](t)(lk.BreakLease(ctx, &lease.ContainerBreakOptions{BreakPeriod: to.Ptr(int32(0))}))
	must[container.DeleteResponse](t)(cc.Delete(ctx, nil))
	w.sound()
}

func TestLeasesOfTheLake(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	write(t, fs, "a/f", "x")
	want(t, w.dfs("POST", "tree/a/f", "", "x-ms-lease-action", "acquire", "x-ms-lease-duration", "-1", "x-ms-proposed-lease-id", leaseA), 201, "")
	want(t, w.dfs("PATCH", "tree/a/f?action=append&position=1", "y"), 412, "LeaseIdMissing")
	want(t, w.dfs("PATCH", "tree/a/f?action=append&position=1", "y", "x-ms-lease-id", leaseA), 202, "")
	want(t, w.dfs("PATCH", "tree/a/f?action=flush&position=2", ""), 412, "LeaseIdMissing")
	want(t, w.dfs("PATCH", "tree/a/f?action=flush&position=2", "", "x-ms-lease-id", leaseA), 200, "")
	want(t, w.dfs("PATCH", "tree/a/f?action=setAccessControl", "", "x-ms-permissions", "0777"), 412, "LeaseIdMissing")
	if h := w.dfs("HEAD", "tree/a/f", "").Header; h.Get("x-ms-lease-state") != "leased" {
		t.Errorf("lease %v", h)
	}
	want(t, w.lakeBlob("DELETE", "tree/a/f"), 412, "LeaseIdMissing")
	want(t, w.dfs("DELETE", "tree/a/f", "", "x-ms-lease-id", leaseA), 200, "")
	// A directory's lease is about the directory, not about what is in it.
	want(t, w.dfs("POST", "tree/a", "", "x-ms-lease-action", "acquire", "x-ms-lease-duration", "-1", "x-ms-proposed-lease-id", leaseA), 201, "")
	want(t, w.dfs("PUT", "tree/a/g?resource=file", ""), 201, "")
	want(t, w.dfs("PATCH", "tree/a?action=setAccessControl", "", "x-ms-permissions", "0777"), 412, "LeaseIdMissing")
	want(t, w.dfs("DELETE", "tree/a?recursive=true", ""), 412, "LeaseIdMissing")
	want(t, w.dfs("PUT", "tree/b", "", "x-ms-rename-source", "/tree/a"), 412, "LeaseIdMissing")
	want(t, w.dfs("PUT", "tree/b", "", "x-ms-rename-source", "/tree/a", "x-ms-source-lease-id", leaseB), 412, "LeaseIdMismatchWithBlobOperation")
	want(t, w.dfs("PUT", "tree/b", "", "x-ms-rename-source", "/tree/a", "x-ms-source-lease-id", leaseA), 201, "")
	if h := w.dfs("HEAD", "tree/b", "").Header; h.Get("x-ms-lease-state") != "available" {
		t.Errorf("the lease after a move: %v", h)
	}
	want(t, w.dfs("DELETE", "tree/b?recursive=true", ""), 200, "")
}
