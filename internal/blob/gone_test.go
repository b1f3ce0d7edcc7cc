package blob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/azimuth-ml/azimuth/internal/store"
)

func TestSoftDeleteOfContainers(t *testing.T) {
	w := newWorld(t)
	box := w.keeping(RetentionPolicy{ContainerDays: 7})
	svc := w.client().ServiceClient()
	ctx := t.Context()
	list := func(deleted bool) (out string, versions map[string]string) {
		t.Helper()
		for _, page := range []int32{1, 2, 5000} {
			var got []string
			versions = map[string]string{}
			for p := svc.NewListContainersPager(&service.ListContainersOptions{Include: service.ListContainersInclude{Deleted: deleted}, MaxResults: &page}); p.More(); {
				for _, c := range must[service.ListContainersResponse](t)(p.NextPage(ctx)).ContainerItems {
					s := *c.Name
					if c.Deleted != nil && *c.Deleted {
						s += "-"
						versions[*c.Name] = *c.Version
						if *c.Properties.RemainingRetentionDays > 7 || c.Properties.DeletedTime == nil {
							t.Errorf("deleted %+v", c.Properties)
						}
					}
					got = append(got, s)
				}
			}
			if s := strings.Join(got, " "); out == "" {
				out = s
			} else if s != out {
				t.Errorf("by %d: %q, %q before", page, s, out)
			}
		}
		return out, versions
	}
	upload(t, box, "b", "content")
	for _, name := range []string{"bo1", "box-2", "zzz"} {
		must[container.CreateResponse](t)(svc.NewContainerClient(name).Create(ctx, nil))
	}
	must[container.DeleteResponse](t)(box.Delete(ctx, nil))
	must[container.DeleteResponse](t)(svc.NewContainerClient("zzz").Delete(ctx, nil))
	if got, _ := list(false); got != "bo1 box-2" {
		t.Errorf("live %s", got)
	}
	got, versions := list(true)
	if got != "bo1 box- box-2 zzz-" {
		t.Errorf("all %s", got)
	}
	_, err := svc.RestoreContainer(ctx, "box", "none", nil)
	wantCode(t, err, bloberror.ContainerNotFound)
	must[service.RestoreContainerResponse](t)(svc.RestoreContainer(ctx, "box", versions["box"], nil))
	if got := content(ctx, box.NewBlobClient("b")); got != "content" {
		t.Errorf("restored %s", got)
	}
	_, err = svc.RestoreContainer(ctx, "box", versions["box"], nil)
	wantCode(t, err, bloberror.ContainerNotFound)
	// A new one under the name is in the way of the old.
	must[container.DeleteResponse](t)(box.Delete(ctx, nil))
	must[container.CreateResponse](t)(box.Create(ctx, nil))
	got, versions = list(true)
	if got != "bo1 box box- box-2 zzz-" {
		t.Errorf("both %s", got)
	}
	_, err = svc.RestoreContainer(ctx, "box", versions["box"], nil)
	wantCode(t, err, bloberror.ContainerAlreadyExists)
	want(t, w.do("PUT", "other?restype=container&comp=undelete", "", "x-ms-deleted-container-name", "box", "x-ms-deleted-container-version", versions["box"]), 501, "NotImplementedByAzimuth")
	want(t, w.do("PUT", "box?restype=container&comp=undelete", ""), 400, "MissingRequiredHeader")

	w.clock.Advance(8 * 24 * time.Hour)
	if err := w.svc.eng.expireGone(ctx); err != nil {
		t.Fatal(err)
	}
	if got, _ := list(true); got != "bo1 box box-2" {
		t.Errorf("after a week: %s", got)
	}
	w.sound()
	// What is kept goes with the account.
	upload(t, box, "b", "content")
	must[container.DeleteResponse](t)(box.Delete(ctx, nil))
	if err := w.store.Update(ctx, func(tx store.Tx) error { return w.svc.DeleteAccountIn(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	w.sound()
	if err := w.store.View(ctx, func(tx store.Tx) error {
		for _, bucket := range []string{bucketContainers, bucketGone, bucketGoneDue, bucketBlobs, bucketRetention, bucketInline} {
			for row, err := range tx.Scan(bucket, store.Range{}) {
				if err != nil {
					return err
				}
				return fmt.Errorf("left %s %q", bucket, row.Key)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
