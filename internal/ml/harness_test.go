package ml_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/environment"
	"github.com/azimuth-ml/azimuth/internal/files"
	"github.com/azimuth-ml/azimuth/internal/fileshare"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	account   = "stdefault"
	accountID = rptest.Group + "/providers/Microsoft.Storage/storageAccounts/" + account
	wsID      = rptest.Group + "/providers/Microsoft.MachineLearningServices/workspaces/ws-One"
	wsGUID    = "11111111-2222-3333-4444-555555555555"
	clusterID = wsID + "/computes/cpu-cluster"
	envID     = wsID + "/environments/plain/versions/1"
	region    = "eastus"
)

// accounts is a storage account that is not in ARM.
type accounts struct{}

func testAccount() *blob.Account {
	return &blob.Account{
		Name: account, ID: accountID, UID: "uid-1", Kind: "StorageV2", SKU: "Standard_LRS",
		Keys: [2][]byte{bytes.Repeat([]byte{1}, 64), bytes.Repeat([]byte{2}, 64)}, AllowSharedKey: true, PublicNetwork: true,
	}
}

func (accounts) Account(_ context.Context, name string) (*blob.Account, error) {
	if name != account {
		return nil, fmt.Errorf("%q: %w", name, blob.ErrNoAccount)
	}
	return testAccount(), nil
}

type noAccess struct{}

func (noAccess) Authorize(context.Context, *http.Request) (string, error) {
	return "", blob.ErrBadToken
}
func (noAccess) Allowed(context.Context, string, string, bool, string) (bool, error) {
	return false, nil
}

// access authenticates like rptest and lets Owner do everything, and others
// what roles says.
type access struct{ roles map[string]bool }

func (a access) AuthenticateML(_ context.Context, r *http.Request) (arm.Caller, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return arm.Caller{}, arm.Errorf(http.StatusUnauthorized, "UserError", "no token")
	}
	return arm.Caller{ObjectID: rptest.ObjectID(token), TenantID: rptest.Tenant, Type: "ServicePrincipal", Name: "app-" + token}, nil
}

func (a access) Allowed(_ context.Context, principal, action string, _ bool, _ string) (bool, error) {
	return principal == rptest.ObjectID(rptest.Owner) || a.roles[principal+" "+action], nil
}

type identities struct{}

func (identities) Grant(tx store.Tx, grantID, principal string) ([]string, error) {
	return []string{"MSI_ENDPOINT=http://127.0.0.1/msi/token", "MSI_SECRET=secret-of-" + principal,
		"IDENTITY_ENDPOINT=http://127.0.0.1/msi/token", "IDENTITY_HEADER=secret-of-" + principal,
		"DEFAULT_IDENTITY_CLIENT_ID=client"}, tx.Put("test.grant", grantID, []byte(principal))
}

func (identities) SignIn(_ context.Context, tenant, client, secret string) (string, error) {
	if secret != "right" {
		return "", arm.Errorf(401, "AuthenticationFailed", "The client ID or secret is invalid.")
	}
	return "principal-of-" + client, nil
}

func (identities) Revoke(tx store.Tx, grantID string) error { return tx.Delete("test.grant", grantID) }

// blobs fails calls for tests of what happens then.
type blobs struct {
	*blob.Service
	mu   sync.Mutex
	fail func(what, name string) error
}

func (b *blobs) check(what, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		return nil
	}
	return b.fail(what, name)
}

func (b *blobs) PutBlob(ctx context.Context, account, container, name string, r io.Reader, h blob.Headers) (*blob.Properties, error) {
	if err := b.check("put", name); err != nil {
		return nil, err
	}
	return b.Service.PutBlob(ctx, account, container, name, r, h)
}

func (b *blobs) AppendBlob(ctx context.Context, account, container, name string, p []byte) (*blob.Properties, error) {
	if err := b.check("append", name); err != nil {
		return nil, err
	}
	return b.Service.AppendBlob(ctx, account, container, name, p)
}

// lateEnvironments are those of the harness, which options set.
type lateEnvironments struct{ h *harness }

func (l lateEnvironments) Prepare(ctx context.Context, condaFile string, log io.Writer) (*environment.Environment, error) {
	return l.h.environments.Prepare(ctx, condaFile, log)
}

// serverless has nodes of any size that begins with Standard_D.
type serverless struct{}

func (serverless) Nodes(_ store.Tx, ask ml.ServerlessAsk) (compute.Pool, string, error) {
	if ask.Size == "" {
		ask.Size = "Standard_DS3_v2"
	}
	if !strings.HasPrefix(ask.Size, "Standard_D") {
		return compute.Pool{}, "", arm.BadRequest("VMSizeNotSupported", "The VM size '%s' is not one.", ask.Size)
	}
	priority := "Dedicated"
	if ask.Spot {
		priority = compute.LowPriority
	}
	return compute.Pool{VMSize: ask.Size, VCPUs: 4, MemoryGiB: 14, Priority: priority, Max: 2, IdleTime: time.Minute, SubnetID: ask.Subnet, Quotas: []string{ask.Location + "/cores"}}, "", nil
}

// harness is a workspace with a cluster, on a real kernel, store and blob
// service. Nothing runs unless a test makes it.
type harness struct {
	*rptest.Env
	t       *testing.T
	ML      *ml.Service
	Manager *compute.Manager
	Blobs   *blobs
	Files   *lateFiles
	Roles   map[string]bool
	Ticks   chan time.Time
	Data    *httptest.Server // the data plane
	Storage *httptest.Server // the blob endpoint

	runner       compute.Runner
	nodeEnv      func(string) []string
	environments ml.Environments
	images       ml.Images // of the service that restart makes
	path         string    // instead of PATH, of the service that restart makes
	dir          string
	stop         func()
}

type option func(*harness)

func withRunner(make func(h *harness) compute.Runner) option {
	return func(h *harness) { h.runner = make(h) }
}

func newHarness(t *testing.T, opts ...option) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), Roles: map[string]bool{}, Ticks: make(chan time.Time)}
	h.open(opts...)
	t.Cleanup(func() { h.stop() })
	h.Want(201, "PUT", rptest.Group, map[string]any{"location": region})
	h.Want(201, "PUT", wsID, map[string]any{"location": region, "properties": map[string]any{"storageAccount": accountID, "workspaceId": wsGUID}})
	h.Want(201, "PUT", clusterID, map[string]any{
		"location": region, "identity": map[string]any{"type": "SystemAssigned"},
		"properties": map[string]any{"computeType": "AmlCompute", "properties": map[string]any{"vmSize": "Standard_DS3_v2"}},
	})
	h.Want(201, "PUT", envID, map[string]any{"properties": map[string]any{"image": "example.invalid/image:1"}})
	return h
}

// open starts everything on the home directory, which may be one that was used
// before.
func (h *harness) open(opts ...option) {
	h.t.Helper()
	var svc *ml.Service
	providers := []*arm.Provider{resources.Provider(), {
		Namespace: "Microsoft.MachineLearningServices",
		Types: []*arm.ResourceType{
			{
				Type: "Microsoft.MachineLearningServices/workspaces", Tracked: true,
				Put:    func(ctx context.Context, p *arm.Put) error { return svc.WorkspaceCreated(ctx, p) },
				Delete: func(ctx context.Context, d *arm.Delete) error { return svc.WorkspaceDeleted(ctx, d) },
			},
			{
				Type: "Microsoft.MachineLearningServices/workspaces/computes", Identity: []string{"SystemAssigned"},
				Put: func(_ context.Context, p *arm.Put) error {
					if p.Resource.Body.String("properties.computeType") != "AmlCompute" {
						return nil
					}
					return h.Manager.PutPool(p.Tx, compute.Pool{ID: p.ID.Key(), VMSize: "Standard_DS3_v2", VCPUs: 4, MemoryGiB: 14, Max: 3, IdleTime: time.Minute})
				},
				Delete: func(_ context.Context, d *arm.Delete) error {
					return h.Manager.DeletePool(d.Tx, d.Resource.ParsedID().Key())
				},
			},
		},
	}}
	late := &arm.Provider{Namespace: "Microsoft.MachineLearningServices"}
	providers = append(providers, late)

	// The descriptors are needed before the store is there; the service is made
	// with a store that is filled in below.
	lazy := &lazyStore{}
	sealer, err := seal.New(make([]byte, 32))
	h.must(err)
	if h.Env == nil {
		h.Env = &rptest.Env{Clock: clock.NewManual(rptest.Start())}
	}
	c := h.Clock
	tokens := &lateTokens{}
	h.Blobs, h.Files = &blobs{}, &lateFiles{}
	svc, err = ml.New(ml.Config{
		Store: lazy, Clock: c, Blobs: h.Blobs, Files: h.Files, Accounts: accounts{}, Identities: identities{}, Tokens: tokens,
		Authenticator: access{}, Authorizer: access{h.Roles},
		Capacity: func(context.Context) (compute.Capacity, error) { return compute.Capacity{CPUs: 2, MemoryGiB: 8}, nil },
		BaseEnv:  []string{"PATH=" + h.searchPath(), "LANG=C.UTF-8"},
		NodeEnv: func(node string) []string {
			if h.nodeEnv != nil {
				return h.nodeEnv(node)
			}
			return []string{"HTTPS_PROXY=http://proxy.invalid", "NODE=" + node}
		},
		Environments: lateEnvironments{h},
		Images:       h.images,
		Serverless:   serverless{},
		Ticks:        func(time.Duration) (<-chan time.Time, func()) { return h.Ticks, func() {} },
		Log:          slog.New(slog.DiscardHandler),
	})
	h.must(err)
	*late = *ml.Provider(svc)
	env, closeEnv := rptest.Open(h.t, rptest.Options{Path: filepath.Join(h.dir, "azimuth.db"), Clock: c}, providers...)
	h.Env, h.ML, lazy.Store = env, svc, env.Store
	h.must(env.Store.Update(h.t.Context(), func(tx store.Tx) error {
		tokens.RunTokens, err = ml.NewRunTokens(tx, sealer, c)
		return err
	}))
	h.Blobs.Service, err = blob.Open(h.t.Context(), blob.Config{
		Store: env.Store, Clock: c, Accounts: accounts{}, Access: noAccess{}, Dir: filepath.Join(h.dir, "blobs"), TenantID: rptest.Tenant,
	})
	h.must(err)
	dirs, err := fileshare.Open(filepath.Join(h.dir, "files"))
	h.must(err)
	h.Files.Service = files.Open(h.t.Context(), files.Config{Dirs: dirs, Config: storage.Config{
		Store: env.Store, Clock: c, Accounts: accounts{}, Access: noAccess{}, TenantID: rptest.Tenant,
	}})
	for _, o := range opts {
		o(h)
	}
	h.Manager = compute.NewManager(compute.Config{Store: env.Store, Clock: c, Runner: h.runner, Workload: svc})
	svc.Attach(h.Manager)
	svc.Start()
	host := func(name string, next http.Handler) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Host = name
			next.ServeHTTP(w, r)
		}))
	}
	h.Data = host(region+".api.azureml.ms", svc)
	h.Storage = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = account + ".blob.core.windows.net"
		h.Blobs.Service.ServeHTTP(w, r)
	}))
	h.stop = func() {
		h.Data.Close()
		h.Storage.Close()
		if err := svc.Close(); err != nil {
			h.t.Error(err)
		}
		if err := h.Blobs.Service.Close(); err != nil {
			h.t.Error(err)
		}
		if err := h.Files.Close(); err != nil {
			h.t.Error(err)
		}
		closeEnv()
		h.stop = func() {}
	}
}

// lateFiles is the file service, which is made after the service that uses it.
type lateFiles struct{ *files.Service }

// searchPath is where the jobs look for programs.
func (h *harness) searchPath() string {
	if h.path != "" {
		return h.path
	}
	return os.Getenv("PATH")
}

// restart ends everything without a word to anybody and starts it again.
func (h *harness) restart(opts ...option) {
	h.t.Helper()
	h.stop()
	h.open(opts...)
}

type lateTokens struct{ *ml.RunTokens }

type lazyStore struct{ store.Store }

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// job is a body for PUT with changes: dotted paths below properties.
func job(changes ...any) map[string]any {
	doc := arm.Doc{"properties": map[string]any{
		"jobType": "Command", "command": "echo hello", "environmentId": envID, "computeId": clusterID, "experimentName": "iris",
	}}
	for i := 0; i+1 < len(changes); i += 2 {
		path := "properties." + changes[i].(string)
		if changes[i+1] == nil {
			doc.Delete(path)
			continue
		}
		doc.Set(path, changes[i+1])
	}
	return doc
}

func (h *harness) jobID(name string) string { return wsID + "/jobs/" + name }

func (h *harness) submit(name string, changes ...any) *rptest.Result {
	h.t.Helper()
	return h.Want(201, "PUT", h.jobID(name), job(changes...))
}

func (h *harness) status(name string) string {
	h.t.Helper()
	return h.Want(200, "GET", h.jobID(name), nil).Body.String("properties.status")
}

// item is the compute item of a job.
func (h *harness) item(name string, attempt int) compute.Item {
	h.t.Helper()
	var it compute.Item
	h.must(h.Store.View(h.t.Context(), func(tx store.Tx) error {
		job, err := h.Kernel.Resources().Get(tx, h.jobID(name))
		if err != nil {
			return err
		}
		st, err := h.Manager.ItemStatus(tx, arm.Key(wsID)+"/jobs/"+job.UID+"/"+strings.ToLower(name))
		it = st.Item
		return err
	}))
	it.Attempt = attempt
	return it
}

// nodes makes n nodes with directories.
func (h *harness) nodes(n int) []compute.Node {
	h.t.Helper()
	var out []compute.Node
	for i := range n {
		id := fmt.Sprintf("tvm-1_%d-x", i+1)
		dir := filepath.Join(h.dir, "nodes", id, "work")
		h.must(os.MkdirAll(dir, 0o700))
		out = append(out, compute.Node{ID: id, Rank: i, Info: compute.NodeInfo{Dir: dir, Host: "127.0.0.1"}})
	}
	return out
}

// blobText is a blob of the default account, or "" and false.
func (h *harness) blobText(container, name string) (string, bool) {
	h.t.Helper()
	r, _, err := h.Blobs.OpenBlob(h.t.Context(), account, container, name)
	if blob.HasCode(err, "BlobNotFound") || blob.HasCode(err, "ContainerNotFound") {
		return "", false
	}
	h.must(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	h.must(err)
	return string(b), true
}

func (h *harness) putBlob(container, name, text string) {
	h.t.Helper()
	h.must(h.Blobs.EnsureContainer(h.t.Context(), account, container))
	_, err := h.Blobs.Service.PutBlob(h.t.Context(), account, container, name, strings.NewReader(text), blob.Headers{})
	h.must(err)
}

// tick makes the followed logs be looked at, twice, so that one look is over.
func (h *harness) tick() {
	h.t.Helper()
	for range 2 {
		select {
		case h.Ticks <- time.Time{}:
		case <-time.After(10 * time.Second):
			h.t.Fatal("nobody follows a log")
		}
	}
}

// data makes a request of the data plane.
func (h *harness) data(token, method, path string, body any) *rptest.Result {
	h.t.Helper()
	var b []byte
	if body != nil {
		var err error
		b, err = json.Marshal(body)
		h.must(err)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.Data.URL+path, bytes.NewReader(b))
	h.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	h.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	h.must(err)
	res := &rptest.Result{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	if len(raw) > 0 && raw[0] == '{' {
		h.must(json.Unmarshal(raw, &res.Body))
	}
	return res
}

// fetch reads a storage address with a shared access signature.
func (h *harness) fetch(address string) (int, string) {
	h.t.Helper()
	rest, ok := strings.CutPrefix(address, "https://"+account+".blob.core.windows.net")
	if !ok {
		h.t.Fatalf("%q is not an address of the storage account", address)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.Storage.URL+rest, nil)
	h.must(err)
	resp, err := h.Storage.Client().Do(req)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	return resp.StatusCode, string(b)
}

func envOf(spec compute.TaskSpec, name string) string {
	i := slices.IndexFunc(spec.Env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(spec.Env[i], name+"=")
}

var errBroken = errors.New("the disk is broken")
