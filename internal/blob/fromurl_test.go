package blob

import (
	"crypto/md5"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

func TestBlocksFromURL(t *testing.T) {
	w := newWorld(t)
	box := w.keeping(RetentionPolicy{})
	ctx := t.Context()
	data := strings.Repeat("0123456789", 4000)
	upload(t, box, "src", data)
	upload(t, box, "empty", "")
	q := must[string](t)(storage.SignServiceSAS(w.accounts["acct"], storage.ServiceSAS{Container: "box", Permissions: "r", Expiry: time.Now().Add(time.Hour)}))
	src := acctURL + "box/src?" + q
	bb := box.NewBlockBlobClient("dst")
	stage := func(id string, offset, count int64, o blockblob.StageBlockFromURLOptions) error {
		o.Range = sdkblob.HTTPRange{Offset: offset, Count: count}
		_, err := bb.StageBlockFromURL(ctx, id, src, &o)
		return err
	}
	sum := md5.Sum([]byte(data[5:25005]))
	if err := stage("AAAA", 5, 25000, blockblob.StageBlockFromURLOptions{SourceContentValidation: sdkblob.SourceContentValidationTypeMD5(sum[:])}); err != nil {
		t.Fatal(err)
	}
	if err := stage("BBBB", 0, 5, blockblob.StageBlockFromURLOptions{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, stage("CCCC", 0, 5, blockblob.StageBlockFromURLOptions{SourceContentValidation: sdkblob.SourceContentValidationTypeMD5(sum[:])}), bloberror.MD5Mismatch)
	wantCode(t, stage("CCCC", 40000, 5, blockblob.StageBlockFromURLOptions{}), bloberror.InvalidRange)
	wantCode(t, stage("CCCC", 0, 5, blockblob.StageBlockFromURLOptions{SourceModifiedAccessConditions: &sdkblob.SourceModifiedAccessConditions{SourceIfMatch: to.Ptr(azcore.ETag("x"))}}), bloberror.SourceConditionNotMet)
	must[blockblob.CommitBlockListResponse](t)(bb.CommitBlockList(ctx, []string{"AAAA", "BBBB"}, nil))
	if got := content(ctx, box.NewBlobClient("dst")); got != data[5:25005]+data[:5] {
		t.Errorf("%d bytes", len(got))
	}
	ab := box.NewAppendBlobClient("log")
	must[appendblob.CreateResponse](t)(ab.Create(ctx, nil))
	must[appendblob.AppendBlockFromURLResponse](t)(ab.AppendBlockFromURL(ctx, src, &appendblob.AppendBlockFromURLOptions{Range: sdkblob.HTTPRange{Offset: 1, Count: 3}}))
	must[appendblob.AppendBlockFromURLResponse](t)(ab.AppendBlockFromURL(ctx, src, nil))
	if got := content(ctx, box.NewBlobClient("log")); got != "123"+data {
		t.Errorf("%d bytes appended", len(got))
	}
	_, err := ab.AppendBlockFromURL(ctx, src, &appendblob.AppendBlockFromURLOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{MaxSize: to.Ptr(int64(50_000))}})
	wantCode(t, err, bloberror.MaxBlobSizeConditionNotMet)
	for url, code := range map[string]string{acctURL + "box/none?" + q: "CannotVerifyCopySource", acctURL + "box/empty?" + q: "InvalidInput", acctURL + "box/src?sig=x": "CannotVerifyCopySource"} {
		resp := w.do("PUT", "box/log?comp=appendblock", "", "x-ms-copy-source", url)
		if got := resp.Header.Get("x-ms-error-code"); got != code {
			t.Errorf("%s: %d %s, want %s", url, resp.StatusCode, got, code)
		}
	}
	w.sound()
}
