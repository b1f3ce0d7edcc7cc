package blob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

func TestBatch(t *testing.T) {
	w := newWorld(t)
	box := w.keeping(RetentionPolicy{})
	ctx := t.Context()
	for i := range 40 {
		upload(t, box, fmt.Sprintf("d/a b%d", i), "x")
	}
	w.grant("writer", "action "+rbacPrefix+"containers/read", "")
	w.grant("writer", "data "+rbacPrefix+"containers/blobs/delete", "")
	svc := w.client().ServiceClient()
	b := must[*service.BatchBuilder](t)(svc.NewBatchBuilder())
	for i := range 20 {
		if err := b.Delete("box", fmt.Sprintf("d/a b%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete("box", "none", nil); err != nil {
		t.Fatal(err)
	}
	r := must[service.SubmitBatchResponse](t)(svc.SubmitBatch(ctx, b, nil))
	for i, x := range r.Responses {
		if i < 20 && x.Error != nil || x.RequestID == nil {
			t.Errorf("%d: %v", i, x.Error)
		}
	}
	wantCode(t, r.Responses[20].Error, bloberror.BlobNotFound)

	// With a token, in one container; and tiers.
	mine := w.serviceAs("writer").NewContainerClient("box")
	cb := must[*container.BatchBuilder](t)(mine.NewBatchBuilder())
	for i := 20; i < 30; i++ {
		if err := cb.Delete(fmt.Sprintf("d/a b%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range must[container.SubmitBatchResponse](t)(mine.SubmitBatch(ctx, cb, nil)).Responses {
		if x.Error != nil {
			t.Error(x.Error)
		}
	}
	cb = must[*container.BatchBuilder](t)(mine.NewBatchBuilder())
	if err := cb.SetTier("d/a b30", sdkblob.AccessTierCold, nil); err != nil {
		t.Fatal(err)
	}
	wantCode(t, must[container.SubmitBatchResponse](t)(mine.SubmitBatch(ctx, cb, nil)).Responses[0].Error, "AuthorizationPermissionMismatch")
	cb = must[*container.BatchBuilder](t)(box.NewBatchBuilder())
	if err := cb.SetTier("d/a b30", sdkblob.AccessTierCold, nil); err != nil {
		t.Fatal(err)
	}
	if err := must[container.SubmitBatchResponse](t)(box.SubmitBatch(ctx, cb, nil)).Responses[0].Error; err != nil {
		t.Error(err)
	}
	if p := must[sdkblob.GetPropertiesResponse](t)(box.NewBlobClient("d/a b30").GetProperties(ctx, nil)); *p.AccessTier != "Cold" {
		t.Errorf("tier %s", *p.AccessTier)
	}
	if got := len(strings.Fields(listed(t, box, container.ListBlobsInclude{}, 5000))); got != 20 { // each name has a space
		t.Errorf("%d words left", got)
	}

	// A SAS for the batch does nothing for what is in it.
	q := must[string](t)(storage.SignAccountSAS(w.accounts["acct"], storage.AccountSAS{Services: "b", ResourceTypes: "sco", Permissions: "rwd", Expiry: time.Now().Add(time.Hour)}))
	part := func(request string) string {
		return "--x\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n" + request + "\r\n\r\n"
	}
	send := func(path, body string) (int, string) {
		resp := w.get("POST", acctURL+path+"&"+q, body, "Content-Type", "multipart/mixed; boundary=x")
		return resp.StatusCode, text(resp)
	}
	if status, doc := send("?comp=batch", part("DELETE /box/d/a%20b31 HTTP/1.1")+"--x--"); status != 202 || !strings.Contains(doc, "HTTP/1.1 401 Unauthorized\r\n") || !strings.Contains(doc, "<Code>NoAuthenticationInformation</Code>") {
		t.Errorf("%d %s", status, doc)
	}
	for _, bad := range []string{
		"", "--x--", part("nonsense") + "--x--",
		part("GET /box/d/a%20b31 HTTP/1.1") + "--x--",
		part("DELETE /box?restype=container HTTP/1.1") + "--x--",
		part("POST /?comp=batch HTTP/1.1") + "--x--",
		part("DELETE /box/x HTTP/1.1\r\nContent-Length: 4") + "--x--",
		strings.Repeat(part("DELETE /box/x HTTP/1.1"), maxBatch+1) + "--x--",
	} {
		if status, doc := send("?comp=batch", bad); status != 400 {
			t.Errorf("%.60q: %d %s", bad, status, doc)
		}
	}
	if status, doc := send("box?restype=container&comp=batch", part("DELETE /other/x HTTP/1.1")+"--x--"); status != 400 {
		t.Errorf("another container: %d %s", status, doc)
	}
	w.sound()
}
