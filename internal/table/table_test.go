package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/azimuth-ml/azimuth/internal/storage/storagetest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const base = "https://acct.table.core.windows.net/"

type world struct {
	*storagetest.World
	svc *Service
}

func newWorld(tb testing.TB) *world {
	w := &world{World: storagetest.New(tb)}
	w.svc = Open(tb.Context(), w.Config())
	w.Serve(w.svc)
	return w
}

func (w *world) key() *aztables.SharedKeyCredential {
	cred, err := aztables.NewSharedKeyCredential("acct", w.Key("acct"))
	if err != nil {
		w.TB.Fatal(err)
	}
	return cred
}

func (w *world) client() *aztables.ServiceClient {
	c, err := aztables.NewServiceClientWithSharedKey(base, w.key(), &aztables.ClientOptions{ClientOptions: w.ClientOptions()})
	if err != nil {
		w.TB.Fatal(err)
	}
	return c
}

func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.ErrorCode != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func (w *world) checkClean() {
	w.TB.Helper()
	_, _, problems, err := Check(w.TB.Context(), w.Store)
	if err != nil || len(problems) > 0 {
		w.TB.Errorf("check: %v %v", problems, err)
	}
}

func TestTables(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client()
	ok[aztables.CreateTableResponse](t)(c.CreateTable(ctx, "Metrics", nil))
	_, err := c.CreateTable(ctx, "metrics", nil)
	wantCode(t, err, "TableAlreadyExists")
	for i := range 5 {
		ok[aztables.CreateTableResponse](t)(c.CreateTable(ctx, fmt.Sprintf("runs%d", i), nil))
	}
	for _, bad := range []string{"ab", "1abc", "a-b", "tables", strings.Repeat("x", 64)} {
		storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"`+bad+`"}`), 400, map[bool]string{true: "OutOfRangeInput", false: map[bool]string{true: "InvalidInput", false: "InvalidResourceName"}[bad == "tables"]}[len(bad) == 2 || len(bad) == 64])
	}
	var names []string
	pages := 0
	for p := c.NewListTablesPager(&aztables.ListTablesOptions{Top: to.Ptr[int32](4)}); p.More(); pages++ {
		for _, x := range ok[aztables.ListTablesResponse](t)(p.NextPage(ctx)).Tables {
			names = append(names, *x.Name)
		}
	}
	if strings.Join(names, " ") != "Metrics runs0 runs1 runs2 runs3 runs4" || pages != 2 {
		t.Errorf("listed %v in %d pages", names, pages)
	}
	p := c.NewListTablesPager(&aztables.ListTablesOptions{Filter: to.Ptr("TableName ge 'runs3' and TableName lt 'runt'")})
	if got := ok[aztables.ListTablesResponse](t)(p.NextPage(ctx)).Tables; len(got) != 2 {
		t.Errorf("filtered %d", len(got))
	}
	tc := c.NewClient("metrics")
	exp := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	ok[aztables.SetAccessPolicyResponse](t)(tc.SetAccessPolicy(ctx, &aztables.SetAccessPolicyOptions{TableACL: []*aztables.SignedIdentifier{
		{ID: to.Ptr("p"), AccessPolicy: &aztables.AccessPolicy{Permission: to.Ptr("ra"), Expiry: &exp, Start: &exp}}}}))
	acl := ok[aztables.GetAccessPolicyResponse](t)(tc.GetAccessPolicy(ctx, nil))
	if len(acl.SignedIdentifiers) != 1 || *acl.SignedIdentifiers[0].AccessPolicy.Permission != "ra" {
		t.Errorf("policies %v", acl.SignedIdentifiers)
	}
	if sp := ok[aztables.GetPropertiesResponse](t)(c.GetProperties(ctx, nil)); sp.Logging == nil {
		t.Errorf("service properties %v", sp)
	}
	ok[aztables.SetPropertiesResponse](t)(c.SetProperties(ctx, aztables.ServiceProperties{Cors: []*aztables.CorsRule{{AllowedHeaders: to.Ptr("*"), AllowedMethods: to.Ptr("GET"),
		AllowedOrigins: to.Ptr("*"), ExposedHeaders: to.Ptr("*"), MaxAgeInSeconds: to.Ptr[int32](5)}}}, nil))
	_, err = c.GetStatistics(ctx, nil)
	wantCode(t, err, "InvalidQueryParameterValue") // it is for the secondary endpoint
	ok[aztables.DeleteTableResponse](t)(c.DeleteTable(ctx, "METRICS", nil))
	_, err = c.DeleteTable(ctx, "METRICS", nil)
	wantCode(t, err, "ResourceNotFound")
	_, err = tc.GetAccessPolicy(ctx, nil)
	wantCode(t, err, "TableNotFound")
}

func TestEntities(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client().NewClient("runs")
	ok[aztables.CreateTableResponse](t)(c.CreateTable(ctx, nil))
	when := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	in := aztables.EDMEntity{
		Entity: aztables.Entity{PartitionKey: "o neil & co", RowKey: "ü 1"},
		Properties: map[string]any{
			"S": "a\"<\u2028>\n", "I": int32(-5), "L": aztables.EDMInt64(1 << 60), "D": 2.5, "W": float64(3), "B": true,
			"T": aztables.EDMDateTime(when), "G": aztables.EDMGUID("C9DA6455-213D-42C9-9A79-3E9149A57833"), "X": aztables.EDMBinary([]byte{0, 255}),
		},
	}
	added := ok[aztables.AddEntityResponse](t)(c.AddEntity(ctx, ok[[]byte](t)(json.Marshal(in)), nil))
	_, err := c.AddEntity(ctx, ok[[]byte](t)(json.Marshal(in)), nil)
	wantCode(t, err, "EntityAlreadyExists")
	get := func() (aztables.GetEntityResponse, aztables.EDMEntity) {
		t.Helper()
		r := ok[aztables.GetEntityResponse](t)(c.GetEntity(ctx, in.PartitionKey, in.RowKey, nil))
		var out aztables.EDMEntity
		if err := json.Unmarshal(r.Value, &out); err != nil {
			t.Fatal(err)
		}
		return r, out
	}
	r, out := get()
	for k, v := range in.Properties {
		want := fmt.Sprint(v)
		if k == "G" {
			want = strings.ToLower(want)
		}
		if k == "T" {
			v, want = time.Time(v.(aztables.EDMDateTime)), fmt.Sprint(aztables.EDMDateTime(when))
		}
		if got := fmt.Sprint(out.Properties[k]); got != want {
			t.Errorf("%s = %s (%T), want %s", k, got, out.Properties[k], want)
		}
	}
	if r.ETag != added.ETag || out.Timestamp == (aztables.EDMDateTime{}) {
		t.Errorf("ETag %q, of the insert %q", r.ETag, added.ETag)
	}
	// merge keeps what is not named, replace does not
	merge := aztables.EDMEntity{Entity: in.Entity, Properties: map[string]any{"I": int32(6), "N": "new"}}
	up := ok[aztables.UpdateEntityResponse](t)(c.UpdateEntity(ctx, ok[[]byte](t)(json.Marshal(merge)), &aztables.UpdateEntityOptions{IfMatch: &r.ETag, UpdateMode: aztables.UpdateModeMerge}))
	if _, out = get(); out.Properties["I"] != int32(6) || out.Properties["N"] != "new" || out.Properties["S"] != in.Properties["S"] {
		t.Errorf("merged %v", out.Properties)
	}
	_, err = c.UpdateEntity(ctx, ok[[]byte](t)(json.Marshal(merge)), &aztables.UpdateEntityOptions{IfMatch: &r.ETag, UpdateMode: aztables.UpdateModeReplace})
	wantCode(t, err, "UpdateConditionNotSatisfied")
	ok[aztables.UpdateEntityResponse](t)(c.UpdateEntity(ctx, ok[[]byte](t)(json.Marshal(merge)), &aztables.UpdateEntityOptions{IfMatch: &up.ETag, UpdateMode: aztables.UpdateModeReplace}))
	if _, out = get(); len(out.Properties) != 2 {
		t.Errorf("replaced %v", out.Properties)
	}
	other := aztables.EDMEntity{Entity: aztables.Entity{PartitionKey: "p", RowKey: ""}, Properties: map[string]any{"A": "1"}}
	_, err = c.UpdateEntity(ctx, ok[[]byte](t)(json.Marshal(other)), nil)
	wantCode(t, err, "ResourceNotFound")
	ok[aztables.UpsertEntityResponse](t)(c.UpsertEntity(ctx, ok[[]byte](t)(json.Marshal(other)), nil))
	other.Properties = map[string]any{"B": "2"}
	ok[aztables.UpsertEntityResponse](t)(c.UpsertEntity(ctx, ok[[]byte](t)(json.Marshal(other)), &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge}))
	resp := w.Do("GET", base+"runs(PartitionKey='p',RowKey='')?$select=A,B,C", "", "Accept", "application/json;odata=nometadata")
	if got := storagetest.Text(resp); got != `{"A":"1","B":"2","C":null}` {
		t.Errorf("selected %s", got)
	}
	ok[aztables.DeleteEntityResponse](t)(c.DeleteEntity(ctx, "p", "", nil))
	_, err = c.DeleteEntity(ctx, "p", "", nil)
	wantCode(t, err, "ResourceNotFound")
	_, err = c.GetEntity(ctx, "p", "", nil)
	wantCode(t, err, "ResourceNotFound")
	w.checkClean()
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"Runs"}`, "Prefer", "return-no-content"), 204, "")
	doc := `{"PartitionKey":"a","RowKey":"b","L@odata.type":"Edm.Int64","L":"5","D":1e3,"Z":null,"T":"2026-01-01T00:00:00Z","T@odata.type":"Edm.DateTime","N":"NaN","N@odata.type":"Edm.Double","big":12345678901}`
	resp := w.Do("POST", base+"Runs", doc, "Content-Type", "application/json", "Accept", "application/json;odata=fullmetadata")
	storagetest.Want(t, resp, 201, "")
	text := storagetest.Text(resp)
	for _, want := range []string{
		`"odata.metadata":"https://acct.table.core.windows.net/$metadata#Runs/@Element"`, `"odata.type":"acct.Runs"`,
		`"odata.id":"https://acct.table.core.windows.net/Runs(PartitionKey='a',RowKey='b')"`, `"odata.editLink":"Runs(PartitionKey='a',RowKey='b')"`,
		`"Timestamp@odata.type":"Edm.DateTime"`, `"L@odata.type":"Edm.Int64","L":"5"`, `"D@odata.type":"Edm.Double","D":1000.0`,
		`"N@odata.type":"Edm.Double","N":"NaN"`, `"T":"2026-01-01T00:00:00Z"`, `"big":12345678901.0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(text, `"Z"`) {
		t.Error("a null was kept")
	}
	got := storagetest.Text(w.Do("GET", base+"Runs()?$filter=L%20eq%205L", "", "Accept", "application/json;odata=minimalmetadata"))
	if !strings.HasPrefix(got, `{"odata.metadata":"https://acct.table.core.windows.net/$metadata#Runs","value":[{"odata.etag":"W/\"datetime'`) || !strings.Contains(got, `"D":1000.0`) {
		t.Errorf("minimal %s", got)
	}
	storagetest.Want(t, w.Do("POST", base+"Runs", `{"PartitionKey":"o'neil","RowKey":"''"}`), 201, "")
	storagetest.Want(t, w.Do("GET", base+"Runs(RowKey='%27%27%27%27',PartitionKey='o''neil')", ""), 200, "")
	storagetest.Want(t, w.Do("GET", base+"Runs", "", "Accept", "application/atom+xml"), 501, "NotImplementedByAzimuth")
	storagetest.Want(t, w.Do("GET", base+"Runs", "", "Accept", "text/html"), 415, "MediaTypeNotSupported")
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"runs"}`), 201, "")
	many := `{"PartitionKey":"a","RowKey":"b"`
	for i := range 253 {
		many += fmt.Sprintf(`,"P%d":1`, i)
	}
	large := `{"PartitionKey":"a","RowKey":"b"`
	for i := range 20 {
		large += fmt.Sprintf(`,"P%d":"%s"`, i, strings.Repeat("x", 30<<10))
	}
	for _, tc := range []struct {
		body string
		code string
	}{
		{`{"PartitionKey":"a"}`, "PropertiesNeedValue"},
		{`{"PartitionKey":"a","RowKey":5}`, "InvalidInput"},
		{`{"PartitionKey":"a/b","RowKey":"5"}`, "OutOfRangeInput"},
		{`{"PartitionKey":"` + strings.Repeat("x", 513) + `","RowKey":"5"}`, "KeyValueTooLarge"},
		{`{"PartitionKey":"a","RowKey":"b","x y":1}`, "PropertyNameInvalid"},
		{`{"PartitionKey":"a","RowKey":"b","` + strings.Repeat("x", 256) + `":1}`, "PropertyNameTooLong"},
		{`{"PartitionKey":"a","RowKey":"b","x":1,"x":2}`, "DuplicatePropertiesSpecified"},
		{`{"PartitionKey":"a","RowKey":"b","x":{"y":1}}`, "InvalidInput"},
		{`{"PartitionKey":"a","RowKey":"b","x":"5x","x@odata.type":"Edm.Int64"}`, "InvalidInput"},
		{`{"PartitionKey":"a","RowKey":"b","x":"1500-01-01T00:00:00Z","x@odata.type":"Edm.DateTime"}`, "OutOfRangeInput"},
		{`{"PartitionKey":"a","RowKey":"b","x":"` + strings.Repeat("x", 32<<10+1) + `"}`, "PropertyValueTooLarge"},
		{many + "}", "TooManyProperties"},
		{large + "}", "EntityTooLarge"},
		{`[]`, "InvalidInput"}, {``, "InvalidInput"}, {`{"PartitionKey":"a","RowKey":"b"} x`, "InvalidInput"},
	} {
		resp := w.Do("POST", base+"runs", tc.body, "Content-Type", "application/json")
		if resp.StatusCode != 400 || resp.Header.Get("x-ms-error-code") != tc.code {
			t.Errorf("%.60s: %d %s", tc.body, resp.StatusCode, storagetest.Text(resp))
		}
	}
	for path, code := range map[string]string{
		"runs(PartitionKey='a')": "InvalidUri", "runs(PartitionKey='a',RowKey='b'": "InvalidUri", "runs(PartitionKey='a',RowKey=b)": "InvalidUri",
		"runs(PartitionKey='a',RowKey='b',X='c')": "InvalidUri", "runs?$top=0": "InvalidQueryParameterValue", "runs?$top=1001": "InvalidQueryParameterValue",
		"runs?$filter=x": "", "runs?$filter=x%20eq": "InvalidInput", "runs?$orderby=x": "InvalidQueryParameterValue", "runs?NextPartitionKey=x": "InvalidQueryParameterValue",
	} {
		status := 400
		if code == "" {
			status = 200
		}
		storagetest.Want(t, w.Do("GET", base+path, ""), status, code)
	}
	storagetest.Want(t, w.Do("DELETE", base+"runs(PartitionKey='a',RowKey='b')", ""), 400, "MissingRequiredHeader")
	storagetest.Want(t, w.Do("DELETE", base+"runs(PartitionKey='a',RowKey='b')", "", "If-Match", "x"), 400, "InvalidHeaderValue")
	resp := w.Do("GET", base+"nothing()", "")
	storagetest.Want(t, resp, 404, "TableNotFound")
	if text := storagetest.Text(resp); !strings.HasPrefix(text, `{"odata.error":{"code":"TableNotFound","message":{"lang":"en-US","value":"The table specified does not exist.\nRequestId:`) {
		t.Errorf("error %s", text)
	}
}

// fill puts n entities into each of the partitions.
func (w *world) fill(table string, n int, partitions ...string) {
	w.TB.Helper()
	for _, pk := range partitions {
		if err := w.Store.Update(w.TB.Context(), func(tx store.Tx) error {
			t, err := findTable(tx, "uid-1", table)
			if err != nil {
				return err
			}
			for i := range n {
				e := &entity{pk: pk, rk: fmt.Sprintf("%05d", i), Properties: []property{{Name: "N", value: value{Kind: kindInt32, Text: fmt.Sprint(i)}}}}
				if _, err := w.svc.eng.apply(tx, t, write{mode: insert, ent: e}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			w.TB.Fatal(err)
		}
	}
}

func TestQueries(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client().NewClient("runs")
	ok[aztables.CreateTableResponse](t)(c.CreateTable(ctx, nil))
	w.fill("runs", 700, "", "a", "ab", "b", "ü")
	for _, tc := range []struct {
		filter string
		want   int
		pages  int
	}{
		{"", 3500, 4},
		{"PartitionKey eq 'a'", 700, 1},
		{"PartitionKey eq ''", 700, 1},
		{"PartitionKey gt ''", 2800, 3},
		{"PartitionKey gt 'a'", 2100, 3},
		{"PartitionKey ge 'a' and PartitionKey lt 'b'", 1400, 2},
		{"PartitionKey le 'a'", 1400, 2},
		{"'ab' le PartitionKey", 2100, 3},
		{"PartitionKey eq 'a' and RowKey ge '00690'", 10, 1},
		{"PartitionKey eq 'a' and RowKey gt '00690'", 9, 1},
		{"PartitionKey eq 'a' and (RowKey lt '00003' or N eq 600)", 4, 1},
		{"PartitionKey eq 'a' and RowKey eq '00003'", 1, 1},
		{"PartitionKey eq 'a' and PartitionKey eq 'b'", 0, 1},
		{"N lt 2 and not (PartitionKey eq 'a')", 8, 1},
		{"N ge 698L", 10, 1},
		{"N eq 5.0", 5, 1},
		{"N eq '5'", 0, 1},
		{"Missing eq 5 or N eq 1", 5, 1},
		{"Timestamp gt datetime'2020-01-01T00:00:00Z' and N eq 0", 5, 1},
	} {
		n, pages, last := 0, 0, ""
		for p := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: to.Ptr(tc.filter)}); p.More(); pages++ {
			for _, b := range ok[aztables.ListEntitiesResponse](t)(p.NextPage(ctx)).Entities {
				var e aztables.Entity
				if err := json.Unmarshal(b, &e); err != nil {
					t.Fatal(err)
				}
				key := e.PartitionKey + keySep + e.RowKey
				if n > 0 && key <= last {
					t.Fatalf("%s: %q comes after %q", tc.filter, key, last)
				}
				last = key
				n++
			}
		}
		if n != tc.want || pages != tc.pages {
			t.Errorf("%s: %d in %d pages, want %d in %d", tc.filter, n, pages, tc.want, tc.pages)
		}
	}
	p := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Top: to.Ptr[int32](3), Filter: to.Ptr("PartitionKey eq 'a'")})
	if n := len(ok[aztables.ListEntitiesResponse](t)(p.NextPage(ctx)).Entities); n != 3 || !p.More() {
		t.Errorf("a page of %d", n)
	}
	w.checkClean()
	if err := w.Store.Update(ctx, func(tx store.Tx) error { return w.svc.ForgetIn(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapGarbage(ctx); err != nil {
		t.Fatal(err)
	}
	if _, n, _, err := Check(ctx, w.Store); n != 0 || err != nil {
		t.Errorf("%d entities are left (%v)", n, err)
	}
}

// TestALongScanHasPages checks that a query that finds nothing does not read a
// whole table in one request.
func TestALongScanHasPages(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"runs"}`), 201, "")
	w.fill("runs", maxScan/2, "a", "b", "c")
	c := w.client().NewClient("runs")
	pages, n := 0, 0
	for p := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: to.Ptr("N eq 9999")}); p.More(); pages++ {
		n += len(ok[aztables.ListEntitiesResponse](t)(p.NextPage(t.Context())).Entities)
	}
	if pages != 2 || n != 3 {
		t.Errorf("%d in %d pages", n, pages)
	}
}

func TestTransactions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client().NewClient("runs")
	ok[aztables.CreateTableResponse](t)(c.CreateTable(ctx, nil))
	ent := func(rk string, n int) []byte {
		return []byte(fmt.Sprintf(`{"PartitionKey":"p","RowKey":"%s","N":%d}`, rk, n))
	}
	var all []aztables.TransactionAction
	for i := range 100 {
		all = append(all, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: ent(fmt.Sprintf("%03d", i), i)})
	}
	ok[aztables.TransactionResponse](t)(c.SubmitTransaction(ctx, all, nil))
	count := func() int {
		_, n, _, err := Check(ctx, w.Store)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count() != 100 {
		t.Errorf("%d entities", count())
	}
	ok[aztables.TransactionResponse](t)(c.SubmitTransaction(ctx, []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeDelete, Entity: ent("000", 0)},
		{ActionType: aztables.TransactionTypeUpdateMerge, Entity: ent("001", 9)},
		{ActionType: aztables.TransactionTypeInsertReplace, Entity: ent("new", 9)},
		{ActionType: aztables.TransactionTypeInsertMerge, Entity: ent("002", 9)},
	}, nil))
	// all or none
	for name, actions := range map[string][]aztables.TransactionAction{
		"exists":     {{ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}, {ActionType: aztables.TransactionTypeAdd, Entity: ent("001", 0)}},
		"not there":  {{ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}, {ActionType: aztables.TransactionTypeDelete, Entity: ent("000", 0)}},
		"twice":      {{ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}, {ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}},
		"partitions": {{ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}, {ActionType: aztables.TransactionTypeAdd, Entity: []byte(`{"PartitionKey":"q","RowKey":"x"}`)}},
		"too many":   append(all[:100:100], aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: ent("x", 0)}),
	} {
		if _, err := c.SubmitTransaction(ctx, actions, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if count() != 100 {
			t.Errorf("%s: %d entities", name, count())
		}
	}
	const batch = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
		"POST https://acct.table.core.windows.net/runs HTTP/1.1\r\nContent-Type: application/json\r\nPrefer: return-no-content\r\n\r\n" +
		`{"PartitionKey":"p","RowKey":"001"}` + "\r\n--c--\r\n--b--\r\n"
	resp := w.Do("POST", base+"$batch", batch, "Content-Type", "multipart/mixed; boundary=b")
	storagetest.Want(t, resp, 202, "")
	text := storagetest.Text(resp)
	for _, want := range []string{"HTTP/1.1 409 Conflict", `{"odata.error":{"code":"EntityAlreadyExists","message":{"lang":"en-US","value":"0:The specified entity already exists.`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	query := "--b\r\nContent-Type: application/http\r\n\r\nGET https://acct.table.core.windows.net/runs(PartitionKey='p',RowKey='001') HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n--b--\r\n"
	resp = w.Do("POST", base+"$batch", query, "Content-Type", "multipart/mixed; boundary=b")
	if text := storagetest.Text(resp); resp.StatusCode != 202 || !strings.Contains(text, "HTTP/1.1 200 OK") || !strings.Contains(text, `"N":9`) {
		t.Errorf("query in a batch: %d %s", resp.StatusCode, text)
	}
	w.checkClean()
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"Runs"}`), 201, "")
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"other"}`), 201, "")
	w.fill("runs", 10, "a", "b")
	sign := func(v aztables.SASSignatureValues) string {
		v.ExpiryTime = time.Now().Add(time.Hour)
		q, err := v.Sign(w.key())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	send := func(method, path, body, query string, headers ...string) *http.Response {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		if query != "" {
			path += sep + query
		}
		return w.Send(w.Request(method, base+path, body, headers...))
	}
	const item = "runs(PartitionKey='a',RowKey='00001')"
	read := sign(aztables.SASSignatureValues{TableName: "Runs", Permissions: "r"})
	storagetest.Want(t, send("GET", item, "", ""), 401, "NoAuthenticationInformation")
	storagetest.Want(t, send("GET", item, "", read), 200, "")
	storagetest.Want(t, send("GET", "other", "", read), 403, "AuthorizationFailure")
	storagetest.Want(t, send("DELETE", item, "", read, "If-Match", "*"), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("GET", "Tables", "", read), 403, "AuthorizationFailure")
	storagetest.Want(t, send("GET", item, "", strings.Replace(read, "tn=runs", "tn=other", 1)), 403, "AuthorizationFailure")
	storagetest.Want(t, send("GET", "other", "", strings.Replace(read, "tn=runs", "tn=other", 1)), 403, "AuthenticationFailed")
	update := sign(aztables.SASSignatureValues{TableName: "Runs", Permissions: "u"})
	storagetest.Want(t, send("PUT", item, "{}", update, "If-Match", "*"), 204, "")
	storagetest.Want(t, send("PUT", item, "{}", update), 403, "AuthorizationPermissionMismatch")
	both := sign(aztables.SASSignatureValues{TableName: "Runs", Permissions: "au"})
	storagetest.Want(t, send("PUT", item, "{}", both), 204, "")
	batch := func(keys string) string {
		return "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\nDELETE " + base + "runs(" + keys + ") HTTP/1.1\r\nIf-Match: *\r\n\r\n\r\n--c--\r\n--b--\r\n"
	}
	inBatch := func(sas string, want string, headers ...string) {
		t.Helper()
		resp := send("POST", "$batch", batch("PartitionKey='a',RowKey='00002'"), sas, append([]string{"Content-Type", "multipart/mixed; boundary=b"}, headers...)...)
		if text := storagetest.Text(resp); !strings.Contains(text, want) {
			t.Errorf("batch: %d %s, want %s", resp.StatusCode, text, want)
		}
	}
	inBatch(both, "AuthorizationPermissionMismatch")
	inBatch("", "AuthorizationPermissionMismatch", "Authorization", "Bearer good-ann")
	a, _ := w.Account(ctx, "acct")
	w.Grant("ann", "data", entities+"delete", a.ID+"/tableServices/default/tables/runs")
	inBatch("", "204 No Content", "Authorization", "Bearer good-ann")
	inBatch(sign(aztables.SASSignatureValues{TableName: "Runs", Permissions: "d"}), "ResourceNotFound")
	w.Grant("ann", "data", entities+"add/action", a.ID)
	bearer := []string{"Authorization", "Bearer good-ann"}
	storagetest.Want(t, send("PUT", item, "{}", "", bearer...), 403, "AuthorizationPermissionMismatch")
	w.Grant("ann", "data", entities+"update/action", a.ID)
	storagetest.Want(t, send("PUT", item, "{}", "", bearer...), 204, "")
	storagetest.Want(t, send("GET", item, "", "", bearer...), 403, "AuthorizationPermissionMismatch")

	w.AddAccount("acct", "uid-1").Keys[0] = []byte("fresh")
	storagetest.Want(t, send("GET", item, "", read), 403, "AuthenticationFailed")
}

// TestRangesOfSAS checks that who has a range of keys sees and changes no others.
func TestRangesOfSAS(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("POST", base+"Tables", `{"TableName":"runs"}`), 201, "")
	w.fill("runs", 10, "a", "b", "c")
	v := aztables.SASSignatureValues{TableName: "runs", Permissions: "raud", ExpiryTime: time.Now().Add(time.Hour),
		StartPartitionKey: "a", StartRowKey: "00008", EndPartitionKey: "b", EndRowKey: "00001"}
	q, err := v.Sign(w.key())
	if err != nil {
		t.Fatal(err)
	}
	// the client signs the range and leaves it out of what it returns
	q += "&spk=a&srk=00008&epk=b&erk=00001"
	resp := w.Send(w.Request("GET", base+"runs?"+q, "", "Accept", "application/json;odata=nometadata"))
	storagetest.Want(t, resp, 200, "")
	var doc struct{ Value []aztables.Entity }
	if err := json.Unmarshal([]byte(storagetest.Text(resp)), &doc); err != nil || len(doc.Value) != 4 {
		t.Errorf("%d entities (%v)", len(doc.Value), err)
	}
	storagetest.Want(t, w.Send(w.Request("GET", base+"runs(PartitionKey='a',RowKey='00007')?"+q, "")), 403, "AuthorizationFailure")
	storagetest.Want(t, w.Send(w.Request("GET", base+"runs(PartitionKey='a',RowKey='00008')?"+q, "")), 200, "")
	storagetest.Want(t, w.Send(w.Request("POST", base+"runs?"+q, `{"PartitionKey":"c","RowKey":"x"}`)), 403, "AuthorizationFailure")
	storagetest.Want(t, w.Send(w.Request("POST", base+"runs?"+q, `{"PartitionKey":"a","RowKey":"x"}`)), 201, "")
}

func TestFilters(t *testing.T) {
	e := &entity{pk: "p", rk: "r", Properties: []property{
		{"S", value{Text: "it's"}}, {"I", value{kindInt32, "5"}}, {"L", value{kindInt64, "9000000000"}}, {"D", value{kindDouble, "2.5"}},
		{"B", value{kindBoolean, "true"}}, {"T", value{kindDateTime, "2026-01-01T00:00:00Z"}},
		{"G", value{kindGUID, "c9da6455-213d-42c9-9a79-3e9149a57833"}}, {"X", value{kindBinary, "AP8="}}, {"I_n", value{kindDouble, "Infinity"}},
	}}
	for text, want := range map[string]bool{
		"S eq 'it''s'": true, "'it''s' eq S": true, "S gt 'a' and S lt 'z'": true, "I eq 5": true, "I ne 5": false, "5 lt I": false, "5 le I": true,
		"L eq 9000000000L": true, "L gt 5": true, "L eq 9000000000": true, "D eq 2.5": true, "D gt 2": true, "D lt -1e3": false, "B": true, "not B": false, "B eq true": true,
		"B ne false and not (I eq 6)": true, "T ge datetime'2026-01-01T00:00:00Z'": true, "T lt datetime'2026-01-01T00:00:00'": false,
		"G eq guid'C9DA6455-213D-42C9-9A79-3E9149A57833'": true, "X eq X'00ff'": true, "X eq binary'00FE'": false, "I_n gt 5": true, "I_n eq Infinity": true, "I gt -Infinity": true,
		"I eq 6 or I eq 5 and B": true, "(I eq 6 or I eq 5) and not B": false, "S": false, "true": true, "not false": true, "I eq L": false, "PartitionKey eq 'p' and RowKey ne 'x'": true,
		"Missing ne 'x'": false, "not (Missing eq 'x')": true, "S eq 5": false, "S ne 5": false,
	} {
		x, err := parseFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if x.holds(e) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	for _, bad := range []string{"", "S eq", "eq 5", "S eq 'x", "(S eq 'x'", "S eq 'x')", "S like 'x'", "S eq 'x' S", "startswith(S,'x')", "5", "I eq 5x", "T eq datetime'x'", "foo'x' eq S",
		"I eq --5", "I eq .", "S & 5", "and", "not", strings.Repeat("(", 200) + "B" + strings.Repeat(")", 200), strings.Repeat("not ", 300) + "B", "X eq X'0'", strings.Repeat("x", maxFilter+1)} {
		if _, err := parseFilter(bad); err == nil {
			t.Errorf("%.40s: no error", bad)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"PartitionKey eq 'a' and RowKey ge 'b'", "not (A gt 5L or B le datetime'2026-01-01') and C eq X'00'", "'x' lt RowKey", "PartitionKey gt '\x00' and RowKey lt ''"} {
		f.Add(s, "a", "b")
	}
	f.Fuzz(func(t *testing.T, text, pk, rk string) {
		x, err := parseFilter(text)
		if err != nil || checkKey(pk) != nil || checkKey(rk) != nil {
			return
		}
		// what the filter lets through is within the bounds that are read from it
		e := &entity{pk: pk, rk: rk}
		if !x.holds(e) {
			return
		}
		b := boundsOf(x)
		r := b.start("id")
		key := "id/" + e.key()
		_, one := b.partition.single()
		if !strings.HasPrefix(key, r.Prefix) || key <= r.After || b.partition.above(pk) || one && b.row.above(rk) {
			t.Errorf("%q lets %q %q through, which its bounds %+v leave out", text, pk, rk, b)
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\nPOST /t HTTP/1.1\r\n\r\n{}\r\n--c--\r\n--b--\r\n")
	f.Add("--b\r\nContent-Type: application/http\r\n\r\nGET /ttt() HTTP/1.1\r\n\r\n\r\n--b--")
	f.Fuzz(func(t *testing.T, body string) {
		items, query, err := readBatch("multipart/mixed; boundary=b", strings.NewReader(body))
		if err != nil {
			return
		}
		if len(items) == 0 || len(items) > maxBatch || query && len(items) != 1 {
			t.Errorf("%d requests", len(items))
		}
		for _, it := range items {
			_, _ = readWrite(it.req.Method, it.at, it.req.Header, strings.NewReader(string(it.body)))
		}
	})
}

func FuzzDocument(f *testing.F) {
	f.Add(`{"PartitionKey":"a","RowKey":"b","D":1e3,"L":"5","L@odata.type":"Edm.Int64","X":"AA==","X@odata.type":"Edm.Binary"}`)
	f.Fuzz(func(t *testing.T, body string) {
		e, err := readDocument(http.Header{}, strings.NewReader(body))
		if err != nil {
			return
		}
		// what is written can be read again, and is the same
		w := &writer{meta: full, account: "a", table: "t"}
		w.entity(e, true)
		again, err := readDocument(http.Header{}, strings.NewReader(w.String()))
		if err != nil {
			t.Fatalf("%s: %v", w.String(), err)
		}
		if fmt.Sprint(again.pk, again.rk, again.Properties) != fmt.Sprint(e.pk, e.rk, e.Properties) {
			t.Errorf("%v became %v", e, again)
		}
	})
}

func BenchmarkInsertAndQuery(b *testing.B) {
	w := newWorld(b)
	if err := w.Store.Update(b.Context(), func(tx store.Tx) error { return createIn(tx, "uid-1", "runs") }); err != nil {
		b.Fatal(err)
	}
	w.fill("runs", 20_000, "a")
	t, err := w.svc.eng.table(context.Background(), "uid-1", "runs")
	if err != nil {
		b.Fatal(err)
	}
	x, err := parseFilter("PartitionKey eq 'a' and RowKey ge '19990'")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		list, _, err := w.svc.eng.query(b.Context(), t, query{filter: x, top: 10})
		if err != nil || len(list) != 10 {
			b.Fatal(len(list), err)
		}
	}
}
