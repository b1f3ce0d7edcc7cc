package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/directory"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azfile/service"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
)

// accountKey makes an account of its own and returns its key.
func (w *wire) accountKey(t *testing.T, name string) string {
	t.Helper()
	group := subscription + "/resourceGroups/rg-" + name
	if _, err := w.arm(t.Context(), http.MethodPut, group, groupAPI, `{"location":"westeurope"}`); err != nil {
		t.Fatal(err)
	}
	id := group + "/providers/Microsoft.Storage/storageAccounts/" + name
	if _, err := w.arm(t.Context(), http.MethodPut, id, "2023-01-01", `{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"}}`); err != nil {
		t.Fatal(err)
	}
	a, err := w.arm(t.Context(), http.MethodPost, id+"/listKeys", "2023-01-01", "")
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys []struct{ Value string } }
	if err := json.Unmarshal(a.body, &keys); err != nil || len(keys.Keys) == 0 {
		t.Fatalf("keys: %v in %s", err, a.body)
	}
	return keys.Keys[0].Value
}

// TestStorageServicesInJavaScript drives queues, tables and file shares with
// Azure's packages for JavaScript, unmodified.
func TestStorageServicesInJavaScript(t *testing.T) {
	t.Parallel()
	d := newNPMDriver(t, "npm-storage")
	e := newEnv(t)
	e.serve()
	key := e.wire().accountKey(t, "stjs")
	d.run(t, e, "stjs", key)
}

// TestStorageServicesOfAz does with the Azure CLI what people do most.
func TestStorageServicesOfAz(t *testing.T) {
	need(t, "az")
	t.Parallel()
	e := newEnv(t)
	e.serve()
	key := e.wire().accountKey(t, "staz")
	with := func(args ...string) []string { return append(args, "--account-name", "staz", "--account-key", key) }
	e.az(nil, with("storage", "share", "create", "-n", "box")...)
	file := filepath.Join(write(t, map[string]string{"a.txt": "hello\n"}), "a.txt")
	e.az(nil, with("storage", "file", "upload", "-s", "box", "--source", file, "--no-progress")...)
	if got := e.azNames(with("storage", "file", "list", "-s", "box")...); got != "a.txt" {
		t.Errorf("files %q", got)
	}
	e.az(nil, with("storage", "table", "create", "-n", "runs")...)
	e.az(nil, with("storage", "entity", "insert", "-t", "runs", "-e", "PartitionKey=p", "RowKey=1", "N=5")...)
	e.az(nil, with("storage", "queue", "create", "-n", "jobs")...)
	e.az(nil, with("storage", "message", "put", "-q", "jobs", "--content", "hi")...)
}

// storageLoad is clients of three services of one account, and what they were
// told is kept.
type storageLoad struct {
	queue    *azqueue.QueueClient
	table    *aztables.Client
	share    *directory.Client
	mu       sync.Mutex
	messages map[string]bool
	rows     map[string]int
	files    map[string]string
}

func newStorageLoad(t *testing.T, w *wire, account, key string) *storageLoad {
	t.Helper()
	options := policy.ClientOptions{Transport: w.http, Retry: policy.RetryOptions{MaxRetries: -1}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	qc, err := azqueue.NewSharedKeyCredential(account, key)
	must(err)
	queues, err := azqueue.NewServiceClientWithSharedKeyCredential("https://"+account+".queue.core.windows.net/", qc, &azqueue.ClientOptions{ClientOptions: options})
	must(err)
	tc, err := aztables.NewSharedKeyCredential(account, key)
	must(err)
	tables, err := aztables.NewServiceClientWithSharedKey("https://"+account+".table.core.windows.net/", tc, &aztables.ClientOptions{ClientOptions: options})
	must(err)
	fc, err := service.NewSharedKeyCredential(account, key)
	must(err)
	files, err := service.NewClientWithSharedKeyCredential("https://"+account+".file.core.windows.net/", fc, &service.ClientOptions{ClientOptions: options})
	must(err)
	return &storageLoad{queue: queues.NewQueueClient("jobs"), table: tables.NewClient("runs"), share: files.NewShareClient("box").NewRootDirectoryClient(),
		messages: map[string]bool{}, rows: map[string]int{}, files: map[string]string{}}
}

// TestStorageServicesSurviveCrashes kills the server under load: every message,
// entity and file that was acknowledged is there and whole.
// AZIMUTH_CRASH_ROUNDS sets how often.
func TestStorageServicesSurviveCrashes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.serve()
	ctx := t.Context()
	w := e.wire()
	key := w.accountKey(t, "stcrash")
	all := newStorageLoad(t, w, "stcrash", key)
	if _, err := all.queue.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := all.table.CreateTable(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := w.arm(ctx, http.MethodPut, subscription+"/resourceGroups/rg-stcrash/providers/Microsoft.Storage/storageAccounts/stcrash/fileServices/default/shares/box", "2023-01-01", "{}"); err != nil {
		t.Fatalf("share: %v %s", err, a.body)
	}
	for round := range crashRounds(t, 3) {
		var g sync.WaitGroup
		acknowledged := make(chan struct{}, 1024)
		load := func(op func(i int) error) {
			g.Go(func() {
				for i := 0; op(i) == nil; i++ {
					acknowledged <- struct{}{}
				}
			})
		}
		load(func(i int) error {
			text := fmt.Sprintf("%d-%d", round, i)
			_, err := all.queue.EnqueueMessage(ctx, text, nil)
			if err == nil {
				all.messages[text] = true
			}
			return err
		})
		load(func(i int) error {
			row := fmt.Sprintf("%d", i%7)
			all.mu.Lock()
			delete(all.rows, row) // it is the one or the other now
			all.mu.Unlock()
			_, err := all.table.UpsertEntity(ctx, []byte(fmt.Sprintf(`{"PartitionKey":"p","RowKey":"%s","N":%d}`, row, round*100_000+i)), nil)
			if err == nil {
				all.mu.Lock()
				all.rows[row] = round*100_000 + i
				all.mu.Unlock()
			}
			return err
		})
		load(func(i int) error {
			name, text := fmt.Sprintf("f-%d-%d", round, i), strings.Repeat(fmt.Sprintf("%d-%d\n", round, i), 1+i*300)
			f := all.share.NewFileClient(name)
			if _, err := f.Create(ctx, int64(len(text)), nil); err != nil {
				return err
			}
			_, err := f.UploadRange(ctx, 0, streaming.NopCloser(strings.NewReader(text)), nil)
			if err == nil {
				all.files[name] = text
			}
			return err
		})
		for range 40 {
			<-acknowledged
		}
		s.cmd.Process.Kill()
		go func() {
			for range acknowledged { //nolint:revive // what still comes
			}
		}()
		g.Wait()
		close(acknowledged)
		s.kill()
		s = e.serve()
		all.verify(t, ctx)
	}
	e.run("doctor")
}

// verify reads everything that was acknowledged.
func (l *storageLoad) verify(t *testing.T, ctx context.Context) {
	t.Helper()
	for {
		got, err := l.queue.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](32), VisibilityTimeout: to.Ptr[int32](int32(time.Hour / time.Second))})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Messages {
			delete(l.messages, *m.MessageText)
			if _, err := l.queue.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil); err != nil {
				t.Error(err)
			}
		}
		if len(got.Messages) == 0 {
			break
		}
	}
	for text := range l.messages {
		t.Errorf("the message %s is lost", text)
	}
	for row, n := range l.rows {
		r, err := l.table.GetEntity(ctx, "p", row, nil)
		if err != nil {
			t.Errorf("the entity %s: %v", row, err)
			continue
		}
		var e struct{ N int }
		if err := json.Unmarshal(r.Value, &e); err != nil || e.N != n {
			t.Errorf("the entity %s has %d, want %d (%v)", row, e.N, n, err)
		}
	}
	for name, text := range l.files {
		back := make([]byte, len(text))
		n, err := l.share.NewFileClient(name).DownloadBuffer(ctx, back, nil)
		if err != nil || string(back[:n]) != text {
			t.Errorf("the file %s has %d bytes, want %d (%v)", name, n, len(text), err)
		}
	}
}
