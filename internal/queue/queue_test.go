package queue

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/queueerror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/sas"

	"github.com/azimuth-ml/azimuth/internal/storage/storagetest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const base = "https://acct.queue.core.windows.net/"

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

func (w *world) key() *azqueue.SharedKeyCredential {
	cred, err := azqueue.NewSharedKeyCredential("acct", w.Key("acct"))
	if err != nil {
		w.TB.Fatal(err)
	}
	return cred
}

func (w *world) client() *azqueue.ServiceClient {
	c, err := azqueue.NewServiceClientWithSharedKeyCredential(base, w.key(), &azqueue.ClientOptions{ClientOptions: w.ClientOptions()})
	if err != nil {
		w.TB.Fatal(err)
	}
	return c
}

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code queueerror.Code) {
	t.Helper()
	if !queueerror.HasCode(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// checkClean fails the test unless the store is as it must be.
func (w *world) checkClean() {
	w.TB.Helper()
	_, _, problems, err := Check(w.TB.Context(), w.Store)
	if err != nil || len(problems) > 0 {
		w.TB.Errorf("check: %v %v", problems, err)
	}
}

func TestQueues(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.client()
	meta := map[string]*string{"owner": to.Ptr("ann")}
	ok[azqueue.CreateQueueResponse](t)(c.CreateQueue(ctx, "jobs", &azqueue.CreateOptions{Metadata: meta}))
	ok[azqueue.CreateQueueResponse](t)(c.CreateQueue(ctx, "jobs", &azqueue.CreateOptions{Metadata: meta}))
	_, err := c.CreateQueue(ctx, "jobs", nil)
	wantCode(t, err, queueerror.QueueAlreadyExists)
	for i := range 5 {
		ok[azqueue.CreateQueueResponse](t)(c.CreateQueue(ctx, fmt.Sprintf("jobs-%d", i), nil))
	}
	for _, bad := range []string{"J", "ab", "Jobs", "a--b", "-ab", "ab-", "a_b"} {
		if _, err := c.CreateQueue(ctx, bad, nil); err == nil {
			t.Errorf("queue %q was made", bad)
		}
	}
	var names []string
	pages := 0
	for p := c.NewListQueuesPager(&azqueue.ListQueuesOptions{Prefix: to.Ptr("jobs"), MaxResults: to.Ptr[int32](4), Include: azqueue.ListQueuesInclude{Metadata: true}}); p.More(); pages++ {
		page := ok[azqueue.ListQueuesResponse](t)(p.NextPage(ctx))
		for _, q := range page.Queues {
			names = append(names, *q.Name)
			if *q.Name == "jobs" && *q.Metadata["owner"] != "ann" {
				t.Errorf("metadata %v", q.Metadata)
			}
		}
	}
	if strings.Join(names, " ") != "jobs jobs-0 jobs-1 jobs-2 jobs-3 jobs-4" || pages != 2 {
		t.Errorf("listed %v in %d pages", names, pages)
	}
	q := c.NewQueueClient("jobs")
	ok[azqueue.SetMetadataResponse](t)(q.SetMetadata(ctx, &azqueue.SetMetadataOptions{Metadata: map[string]*string{"a": to.Ptr("1")}}))
	props := ok[azqueue.GetQueuePropertiesResponse](t)(q.GetProperties(ctx, nil))
	if *props.Metadata["A"] != "1" && *props.Metadata["a"] != "1" || *props.ApproximateMessagesCount != 0 {
		t.Errorf("properties %v", props)
	}
	exp := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	ok[azqueue.SetAccessPolicyResponse](t)(q.SetAccessPolicy(ctx, &azqueue.SetAccessPolicyOptions{QueueACL: []*azqueue.SignedIdentifier{
		{ID: to.Ptr("p"), AccessPolicy: &azqueue.AccessPolicy{Permission: to.Ptr("rap"), Expiry: &exp}}}}))
	acl := ok[azqueue.GetAccessPolicyResponse](t)(q.GetAccessPolicy(ctx, nil))
	if len(acl.SignedIdentifiers) != 1 || *acl.SignedIdentifiers[0].AccessPolicy.Permission != "rap" || !acl.SignedIdentifiers[0].AccessPolicy.Expiry.Equal(exp) {
		t.Errorf("policies %v", acl.SignedIdentifiers)
	}
	sp := ok[azqueue.GetServicePropertiesResponse](t)(c.GetServiceProperties(ctx, nil))
	if sp.Logging == nil || sp.HourMetrics == nil {
		t.Errorf("service properties %v", sp)
	}
	ok[azqueue.SetPropertiesResponse](t)(c.SetProperties(ctx, &azqueue.SetPropertiesOptions{CORS: []*azqueue.CORSRule{{AllowedHeaders: to.Ptr("*"), AllowedMethods: to.Ptr("GET"),
		AllowedOrigins: to.Ptr("*"), ExposedHeaders: to.Ptr("*"), MaxAgeInSeconds: to.Ptr[int32](5)}}}))
	if sp = ok[azqueue.GetServicePropertiesResponse](t)(c.GetServiceProperties(ctx, nil)); len(sp.CORS) != 1 {
		t.Errorf("service properties %v", sp)
	}
	storagetest.Want(t, w.Do("GET", base+"?restype=service&comp=stats", ""), 400, "InvalidQueryParameterValue")
	w.AddAccount("acct", "uid-1").SKU = "Standard_RAGRS"
	resp := w.Do("GET", strings.Replace(base, "acct", "acct-secondary", 1)+"?restype=service&comp=stats", "")
	if text := storagetest.Text(resp); resp.StatusCode != 200 || !strings.Contains(text, "<Status>live</Status>") {
		t.Errorf("statistics: %d %s", resp.StatusCode, text)
	}
	storagetest.Want(t, w.Do("DELETE", strings.Replace(base, "acct", "acct-secondary", 1)+"jobs", ""), 403, "InsufficientAccountPermissions")
	pre := w.Send(w.Request("OPTIONS", base+"jobs", "", "Origin", "https://a", "Access-Control-Request-Method", "GET"))
	if pre.StatusCode != 200 || pre.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: %d %v", pre.StatusCode, pre.Header)
	}
	ok[azqueue.DeleteQueueResponse](t)(c.DeleteQueue(ctx, "jobs", nil))
	_, err = q.GetProperties(ctx, nil)
	wantCode(t, err, queueerror.QueueNotFound)
	_, err = c.DeleteQueue(ctx, "jobs", nil)
	wantCode(t, err, queueerror.QueueNotFound)
}

func TestMessages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	q := w.client().NewQueueClient("jobs")
	ok[azqueue.CreateResponse](t)(q.Create(ctx, nil))
	const odd = "a<b>&\"'\r\n\u2028 ünï 🙂"
	first := ok[azqueue.EnqueueMessagesResponse](t)(q.EnqueueMessage(ctx, odd, nil)).Messages[0]
	if first.MessageID == nil || first.PopReceipt == nil || first.ExpirationTime.Sub(*first.InsertionTime) != 7*24*time.Hour {
		t.Errorf("put %+v", first)
	}
	for i := range 3 {
		ok[azqueue.EnqueueMessagesResponse](t)(q.EnqueueMessage(ctx, fmt.Sprint("m", i), nil))
	}
	ok[azqueue.EnqueueMessagesResponse](t)(q.EnqueueMessage(ctx, "later", &azqueue.EnqueueMessageOptions{VisibilityTimeout: to.Ptr[int32](60), TimeToLive: to.Ptr[int32](-1)}))
	peeked := ok[azqueue.PeekMessagesResponse](t)(q.PeekMessages(ctx, &azqueue.PeekMessagesOptions{NumberOfMessages: to.Ptr[int32](32)})).Messages
	// line ends are normalised by XML itself
	if len(peeked) != 4 || *peeked[0].MessageText != strings.ReplaceAll(odd, "\r\n", "\n") && *peeked[0].MessageText != odd || *peeked[0].DequeueCount != 0 {
		t.Errorf("peeked %d, first %q", len(peeked), *peeked[0].MessageText)
	}
	got := ok[azqueue.DequeueMessagesResponse](t)(q.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](2), VisibilityTimeout: to.Ptr[int32](30)})).Messages
	if len(got) != 2 || *got[1].MessageText != "m0" || *got[0].DequeueCount != 1 {
		t.Fatalf("got %v", got)
	}
	// the receipt of the put is no good any more
	_, err := q.DeleteMessage(ctx, *first.MessageID, *first.PopReceipt, nil)
	wantCode(t, err, queueerror.PopReceiptMismatch)
	up := ok[azqueue.UpdateMessageResponse](t)(q.UpdateMessage(ctx, *got[0].MessageID, *got[0].PopReceipt, "changed", &azqueue.UpdateMessageOptions{VisibilityTimeout: to.Ptr[int32](100)}))
	_, err = q.UpdateMessage(ctx, *got[0].MessageID, *got[0].PopReceipt, "again", nil)
	wantCode(t, err, queueerror.PopReceiptMismatch)
	ok[azqueue.DeleteMessageResponse](t)(q.DeleteMessage(ctx, *got[1].MessageID, *got[1].PopReceipt, nil))
	_, err = q.DeleteMessage(ctx, *got[1].MessageID, *got[1].PopReceipt, nil)
	wantCode(t, err, queueerror.MessageNotFound)
	if n := *ok[azqueue.GetQueuePropertiesResponse](t)(q.GetProperties(ctx, nil)).ApproximateMessagesCount; n != 4 {
		t.Errorf("%d messages", n)
	}
	w.Clock.Advance(70 * time.Second)
	var texts []string
	for _, m := range ok[azqueue.DequeueMessagesResponse](t)(q.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](32)})).Messages {
		texts = append(texts, *m.MessageText)
	}
	if fmt.Sprint(texts) != "[m1 m2 later]" {
		t.Errorf("then %v", texts)
	}
	w.Clock.Advance(30 * time.Second)
	again := ok[azqueue.DequeueMessagesResponse](t)(q.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](32)})).Messages
	i := -1
	for k, m := range again {
		if *m.MessageText == "changed" {
			i = k
		}
	}
	if i < 0 || *again[i].DequeueCount != 2 || up.PopReceipt == nil {
		t.Errorf("after the update: %v", again)
	}
	// what has expired is gone, what never expires is not
	w.Clock.Advance(8 * 24 * time.Hour)
	if n := *ok[azqueue.GetQueuePropertiesResponse](t)(q.GetProperties(ctx, nil)).ApproximateMessagesCount; n != 1 {
		t.Errorf("%d messages after a week", n)
	}
	w.checkClean()
	ok[azqueue.ClearMessagesResponse](t)(q.ClearMessages(ctx, nil))
	if n := *ok[azqueue.GetQueuePropertiesResponse](t)(q.GetProperties(ctx, nil)).ApproximateMessagesCount; n != 0 {
		t.Errorf("%d messages after a clear", n)
	}
	if err := w.svc.eng.reapGarbage(ctx); err != nil {
		t.Fatal(err)
	}
	w.empty(bucketVisible, bucketByID, bucketExpiry, bucketGarbage)
	_, err = q.EnqueueMessage(ctx, strings.Repeat("x", maxMessage+1), nil)
	wantCode(t, err, queueerror.RequestBodyTooLarge)
	ok[azqueue.EnqueueMessagesResponse](t)(q.EnqueueMessage(ctx, strings.Repeat("x", maxMessage), nil))
}

// empty fails the test unless the buckets are.
func (w *world) empty(buckets ...string) {
	w.TB.Helper()
	if err := w.Store.View(w.TB.Context(), func(tx store.Tx) error {
		for _, b := range buckets {
			for row, err := range tx.Scan(b, store.Range{Limit: 1}) {
				if err != nil {
					return err
				}
				w.TB.Errorf("%s has %s", b, row.Key)
			}
		}
		return nil
	}); err != nil {
		w.TB.Fatal(err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("PUT", base+"jobs", ""), 201, "")
	for _, tc := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "jobs/messages", "<QueueMessage></QueueMessage>", 400, "MissingRequiredXmlNode"},
		{"POST", "jobs/messages", "<!DOCTYPE x [<!ENTITY e \"x\">]><QueueMessage><MessageText>&e;</MessageText></QueueMessage>", 400, "InvalidXmlDocument"},
		{"POST", "jobs/messages", "x", 400, "InvalidXmlDocument"},
		{"POST", "jobs/messages?visibilitytimeout=-1", "", 400, "OutOfRangeQueryParameterValue"},
		{"POST", "jobs/messages?visibilitytimeout=x", "", 400, "InvalidQueryParameterValue"},
		{"POST", "jobs/messages?messagettl=0", "", 400, "OutOfRangeQueryParameterValue"},
		{"POST", "jobs/messages?messagettl=5&visibilitytimeout=5", "", 400, "InvalidQueryParameterValue"},
		{"GET", "jobs/messages?numofmessages=33", "", 400, "OutOfRangeQueryParameterValue"},
		{"GET", "jobs/messages?visibilitytimeout=0", "", 400, "OutOfRangeQueryParameterValue"},
		{"DELETE", "jobs/messages/x", "", 400, "MissingRequiredQueryParameter"},
		{"DELETE", "jobs/messages/x?popreceipt=y", "", 404, "MessageNotFound"},
		{"PUT", "jobs/messages/x?popreceipt=y", "", 400, "MissingRequiredQueryParameter"},
		{"GET", "nojobs/messages", "", 404, "QueueNotFound"},
		{"GET", "jobs/other", "", 400, "InvalidUri"},
		{"PATCH", "jobs", "", 405, "UnsupportedHttpVerb"},
		{"GET", "?comp=list&include=x", "", 400, "InvalidQueryParameterValue"},
		{"GET", "?comp=list&marker=x", "", 400, "InvalidQueryParameterValue"},
		{"OPTIONS", "jobs", "", 400, "MissingRequiredHeader"},
	} {
		storagetest.Want(t, w.Do(tc.method, base+tc.path, tc.body), tc.status, tc.code)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	storagetest.Want(t, w.Do("PUT", base+"jobs", ""), 201, "")
	storagetest.Want(t, w.Do("PUT", base+"other", ""), 201, "")
	storagetest.Want(t, w.Do("PUT", base+"jobs?comp=acl", "<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Expiry>2999-01-01</Expiry><Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>"), 204, "")
	const message = "<QueueMessage><MessageText>x</MessageText></QueueMessage>"
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
	storagetest.Want(t, send("GET", "jobs/messages", "", ""), 401, "NoAuthenticationInformation")
	later := time.Now().Add(time.Hour).UTC()
	service := func(v sas.QueueSignatureValues) string {
		if v.Identifier == "" {
			v.ExpiryTime = later
		}
		q, err := v.SignWithSharedKey(w.key())
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	add := service(sas.QueueSignatureValues{QueueName: "jobs", Permissions: "a"})
	storagetest.Want(t, send("POST", "jobs/messages", message, add), 201, "")
	storagetest.Want(t, send("GET", "jobs/messages", "", add), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("POST", "other/messages", message, add), 403, "AuthenticationFailed")
	storagetest.Want(t, send("DELETE", "jobs", "", add), 403, "AuthorizationFailure")
	storagetest.Want(t, send("GET", "?comp=list", "", add), 403, "AuthorizationFailure")
	policy := service(sas.QueueSignatureValues{QueueName: "jobs", Identifier: "p"})
	storagetest.Want(t, send("GET", "jobs/messages?peekonly=true", "", policy), 200, "")
	storagetest.Want(t, send("GET", "jobs/messages", "", policy), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("GET", "jobs/messages?peekonly=true", "", service(sas.QueueSignatureValues{QueueName: "jobs", Identifier: "nope"})), 403, "AuthenticationFailed")
	account := func(v sas.AccountSignatureValues) string {
		v.ExpiryTime = later
		q, err := v.SignWithSharedKey(w.key())
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	full := account(sas.AccountSignatureValues{Permissions: "rwdlacup", ResourceTypes: "sco"})
	storagetest.Want(t, send("GET", "?comp=list", "", full), 200, "")
	storagetest.Want(t, send("GET", "jobs?comp=acl", "", full), 403, "AuthorizationFailure")
	bad, err := url.ParseQuery(full)
	if err != nil {
		t.Fatal(err)
	}
	bad.Set("ss", "b")
	storagetest.Want(t, send("GET", "?comp=list", "", bad.Encode()), 403, "AuthenticationFailed")
	storagetest.Want(t, send("GET", "?comp=list", "", account(sas.AccountSignatureValues{Permissions: "l", ResourceTypes: "o"})), 403, "AuthorizationResourceTypeMismatch")

	bearer := []string{"Authorization", "Bearer good-ann"}
	storagetest.Want(t, send("POST", "jobs/messages", message, "", bearer...), 403, "AuthorizationPermissionMismatch")
	a, _ := w.Account(t.Context(), "acct")
	w.Grant("ann", "data", "queueServices/queues/messages/add/action", a.ID+"/queueServices/default/queues/jobs")
	storagetest.Want(t, send("POST", "jobs/messages", message, "", bearer...), 201, "")
	storagetest.Want(t, send("POST", "other/messages", message, "", bearer...), 403, "AuthorizationPermissionMismatch")
	storagetest.Want(t, send("GET", "?comp=list", "", "", bearer...), 403, "AuthorizationPermissionMismatch")
	w.Grant("ann", "action", "queueServices/queues/read", a.ID)
	storagetest.Want(t, send("GET", "?comp=list", "", "", bearer...), 200, "")
	storagetest.Want(t, send("GET", "?comp=list", "", "", "Authorization", "Bearer bad"), 401, "InvalidAuthenticationInfo")

	w.AddAccount("acct", "uid-1").AllowSharedKey = false
	storagetest.Want(t, send("POST", "jobs/messages", message, add), 403, "KeyBasedAuthenticationNotPermitted")
	storagetest.Want(t, w.Do("GET", base+"?comp=list", ""), 403, "KeyBasedAuthenticationNotPermitted")
}

// TestReadersShareNothing checks that many readers get each message once.
func TestReadersShareNothing(t *testing.T) {
	w := newWorld(t)
	q := w.client().NewQueueClient("jobs")
	ok[azqueue.CreateResponse](t)(q.Create(t.Context(), nil))
	const all = 120
	for i := range all {
		if _, err := w.svc.eng.add(t.Context(), "uid-1", "jobs", fmt.Sprint(i), 0, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var g sync.WaitGroup
	for range 6 {
		g.Go(func() {
			for {
				list, err := w.svc.eng.take(t.Context(), "uid-1", "jobs", 7, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if len(list) == 0 {
					return
				}
				for _, m := range list {
					mu.Lock()
					seen[m.Text]++
					mu.Unlock()
					if err := w.svc.eng.remove(t.Context(), "uid-1", "jobs", m.ID, m.Receipt); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	g.Wait()
	if len(seen) != all {
		t.Errorf("%d of %d messages", len(seen), all)
	}
	w.checkClean()
	if err := w.Store.Update(t.Context(), func(tx store.Tx) error { return w.svc.ForgetIn(tx, "uid-1") }); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.eng.reapGarbage(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.empty(bucketQueues, bucketVisible, bucketByID, bucketExpiry, bucketGarbage)
}

func TestExpiryOfQueuesThatNobodyUses(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		name := fmt.Sprintf("queue-%d", i)
		storagetest.Want(t, w.Do("PUT", base+name, ""), 201, "")
		for range purgeBatch + 1 {
			if _, err := w.svc.eng.add(t.Context(), "uid-1", name, "x", 0, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Clock.Advance(time.Hour)
	if err := w.svc.eng.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.empty(bucketVisible, bucketByID, bucketExpiry)
	w.checkClean()
}

func FuzzMessage(f *testing.F) {
	f.Add("<QueueMessage><MessageText>" + base64.StdEncoding.EncodeToString([]byte("x")) + "</MessageText></QueueMessage>")
	f.Add("<QueueMessage><MessageText><![CDATA[x]]></MessageText></QueueMessage>")
	f.Fuzz(func(t *testing.T, body string) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", base, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := readMessage(r)
		if err == nil && len(text) > maxMessage {
			t.Errorf("a message of %d bytes", len(text))
		}
	})
}
