package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// operation is a long-running operation. By default operations are over before
// they are answered; with --realistic they take the type's Latency.
type operation struct {
	ID       string `json:"id"`
	Resource string `json:"resource"`
	Delete   bool   `json:"delete,omitempty"`
	Caller   Caller `json:"caller"`
	// Query is that of a DELETE, for hooks that run when it is over.
	Query url.Values `json:"query,omitempty"`
	Start time.Time  `json:"start"`
	End   time.Time  `json:"end"` // when it is, or will be, over
	Done  bool       `json:"done"`
	// Deferred operations are ended by the service that began them.
	Deferred bool `json:"deferred,omitempty"`
	// Canceled operations failed because someone wanted so.
	Canceled bool   `json:"canceled,omitempty"`
	Error    *Error `json:"error,omitempty"`
}

func operations() store.Collection[operation] {
	return store.Collection[operation]{
		Name: "operation",
		Key:  func(o *operation) string { return o.ID },
		Indexes: map[string]func(*operation) []string{
			"pending": func(o *operation) []string {
				if o.Done || o.Deferred {
					return nil
				}
				return []string{"pending"}
			},
			"end": func(o *operation) []string { return []string{Timestamp(o.End)} },
		},
	}
}

// keepOperations is how long the record of a finished operation can be asked
// for, by Azimuth's choice.
const keepOperations = 24 * time.Hour

const operationsPath = "/providers/Microsoft.Resources/locations/global/operationStatuses/"

// operationHeader is the header that tells a client where to poll, in both of
// ARM's styles.
func (k *Kernel) operationHeader(req *Request, op string) http.Header {
	base := fmt.Sprintf("https://%s/subscriptions/%s%s%s", req.HTTP.Host, k.cfg.Subscription, operationsPath, op)
	h := http.Header{}
	h.Set("Azure-AsyncOperation", base+"?api-version="+req.APIVersion)
	h.Set("Location", strings.Replace(base, "/operationStatuses/", "/operationResults/", 1)+"?api-version="+req.APIVersion)
	h.Set("Retry-After", k.retryAfter())
	return h
}

// soon is the header for a client that asks of a deferred operation under way.
func (k *Kernel) soon(h http.Header, op *operation) http.Header {
	if op.Deferred && !k.cfg.Realistic {
		h.Set("Retry-After", "1") // some take 0 for no answer, and 30 seconds instead
	}
	return h
}

func (k *Kernel) retryAfter() string {
	if k.cfg.Realistic {
		return "10"
	}
	return "0"
}

// startPutOperation makes a --realistic create or update take its time, and one
// of a type whose clients expect an operation be one.
func (k *Kernel) startPutOperation(tx store.Tx, p *Put) error {
	d, state := p.Type.Latency.Update, "Updating"
	if p.Existing == nil {
		d, state = p.Type.Latency.Create, "Creating"
	}
	if p.deferred {
		p.Resource.Operation = newUID()
		return k.putOperation(tx, &operation{ID: p.Resource.Operation, Resource: p.Resource.ID, Caller: p.Caller, Start: p.Now, End: p.Now, Deferred: true})
	}
	slow := k.cfg.Realistic && d > 0
	if !slow && !p.Type.LongRunningPut {
		return nil
	}
	r, end := p.Resource, p.Now
	r.Operation = newUID()
	if slow {
		end = p.Now.Add(d)
		r.State, r.ReadyAt = state, end
	}
	return k.putOperation(tx, &operation{ID: r.Operation, Resource: r.ID, Caller: p.Caller, Start: p.Now, End: end, Done: true})
}

// EndOperation ends a deferred operation; failed is nil for one that succeeded, and
// the reason for one that was canceled. One that is over or forgotten is left alone.
func (k *Kernel) EndOperation(tx store.Tx, id string, failed *Error, canceled bool) error {
	op, err := k.ops.Get(tx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && op.Done {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end operation %s: %w", id, err)
	}
	op.Done, op.End, op.Error, op.Canceled = true, k.cfg.Clock.Now(), failed, canceled
	return k.ops.Put(tx, op)
}

// OperationEnded wakes who waits for an operation to end, once its end is durable.
func (k *Kernel) OperationEnded(id string) {
	if over, ok := k.waiting.LoadAndDelete(id); ok {
		close(over.(chan struct{}))
	}
}

// patience is how long a question about a deferred operation waits for its end, by
// the machine's clock: clients that are told of one under way ask again after
// seconds, the Azure CLI after 30.
const patience = time.Second

// readOperation reads an operation; a deferred one gets some time to end first.
func (k *Kernel) readOperation(ctx context.Context, id string) (op *operation, err error) {
	read := func() error {
		return k.cfg.Store.View(ctx, func(tx store.Tx) error {
			op, err = k.ops.Get(tx, id)
			return err
		})
	}
	if err := read(); err != nil || !op.Deferred || op.Done {
		return op, err
	}
	over, _ := k.waiting.LoadOrStore(id, make(chan struct{}))
	if err := read(); err != nil || op.Done { // it ended in between
		k.OperationEnded(id)
		return op, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-over.(chan struct{}):
	case <-timer.C:
	case <-ctx.Done():
	}
	return op, read()
}

// putOperation stores an operation and forgets a few that are long over.
func (k *Kernel) putOperation(tx store.Tx, op *operation) error {
	var old []string
	for o, err := range k.ops.By(tx, "end", store.Range{Limit: 4}) {
		if err != nil {
			return err
		}
		if o.Done && op.Start.Sub(o.End) > keepOperations {
			old = append(old, o.ID)
		}
	}
	for _, id := range old {
		if err := k.ops.Delete(tx, id); err != nil {
			return err
		}
	}
	return k.ops.Put(tx, op)
}

// startDelete removes req.ID now or, for --realistic and resource groups, as a
// long-running operation.
func (k *Kernel) startDelete(ctx context.Context, req *Request) (*Response, error) {
	t := req.Type
	var after []func()
	var op *operation
	var was Doc
	gone := false
	err := k.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := k.guard(tx, t, req.ID, IntendDelete); err != nil {
			return err
		}
		r, err := k.res.Get(tx, req.ID.Key())
		if errors.Is(err, store.ErrNotFound) && t.Default != nil {
			r, err = k.otherwise(ctx, tx, req)
		}
		if errors.Is(err, store.ErrNotFound) {
			if g, ok := req.ID.Group(); ok && t.Type != TypeResourceGroup {
				if there, err := k.res.Exists(tx, g.Key()); err != nil || !there {
					return cmpErr(err, NotFound(g))
				}
			}
			if t.Type == TypeResourceGroup {
				return NotFound(req.ID) // the one DELETE of nothing that is a 404
			}
			if t.DeleteAbsent != nil {
				found, err := t.DeleteAbsent(ctx, &Delete{Request: req, Tx: tx, Root: req.ID, after: &after})
				gone = !found
				return err
			}
			gone = true
			return nil
		}
		if err != nil {
			return err
		}
		if err := checkETag(req, r); err != nil {
			return err
		}
		if t.DeleteBody {
			if was, err = k.render(ctx, tx, t, r); err != nil {
				return err
			}
		}
		latency := time.Duration(0)
		if k.cfg.Realistic {
			latency = t.Latency.Delete
		}
		if latency > 0 || t.DeleteStatus == http.StatusAccepted {
			op = &operation{ID: newUID(), Resource: r.ID, Delete: true, Caller: req.Caller, Query: req.Query, Start: req.Now, End: req.Now.Add(latency), Done: latency <= 0}
			if err := k.putOperation(tx, op); err != nil {
				return err
			}
		}
		if latency > 0 {
			r.State, r.ReadyAt, r.Operation = "Deleting", op.End, op.ID
			return k.res.Put(tx, r)
		}
		return k.remove(ctx, tx, req, r, &after)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range after {
		f()
	}
	switch {
	case gone:
		return &Response{Status: http.StatusNoContent}, nil
	case op != nil:
		if !op.Done {
			k.finishLater(op)
		}
		return &Response{Status: http.StatusAccepted, Header: k.operationHeader(req, op.ID)}, nil
	}
	if was != nil {
		return &Response{Status: t.DeleteStatus, Body: was}, nil
	}
	return &Response{Status: t.DeleteStatus}, nil
}

// otherwise is what a DELETE of something not stored under its ID removes: a
// virtual resource, or one stored under another ID that its Default knows.
func (k *Kernel) otherwise(ctx context.Context, tx store.Tx, req *Request) (*Resource, error) {
	r, err := defaulted(ctx, tx, req.Type, req.ID)
	if r == nil && err == nil {
		return nil, store.ErrNotFound
	}
	if err != nil || req.Type.Virtual {
		return r, err
	}
	return k.res.Get(tx, r.ID)
}

// finishLater carries a delete out when its time has come.
func (k *Kernel) finishLater(op *operation) {
	k.cfg.Clock.AfterFunc(op.End.Sub(k.cfg.Clock.Now()), func() {
		if err := k.finish(context.Background(), op.ID); err != nil && !errors.Is(err, store.ErrClosed) {
			k.cfg.Log.Error("finish operation", "operation", op.ID, "resource", op.Resource, "error", err)
		}
	})
}

func (k *Kernel) finish(ctx context.Context, opID string) error {
	var after []func()
	err := k.cfg.Store.Update(ctx, func(tx store.Tx) error {
		op, err := k.ops.Get(tx, opID)
		if err != nil || op.Done {
			return err
		}
		op.Done = true
		r, err := k.res.Get(tx, op.Resource)
		if err == nil {
			id := r.ParsedID()
			req := &Request{ID: id, Type: k.types.lookup(id.Type()), Caller: op.Caller, Query: op.Query, Kernel: k, Now: k.cfg.Clock.Now()}
			err = k.remove(ctx, tx, req, r, &after)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return k.ops.Put(tx, op)
	})
	if e := (*Error)(nil); errors.As(err, &e) {
		// the deletion was refused: the operation failed and the resource stays
		after = nil
		err = k.cfg.Store.Update(ctx, func(tx store.Tx) error {
			op, err := k.ops.Get(tx, opID)
			if err != nil {
				return err
			}
			op.Done, op.Error = true, e
			err = k.res.Update(tx, op.Resource, func(r *Resource) error { r.State = ""; return nil })
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return k.ops.Put(tx, op)
		})
	}
	if err != nil {
		return err
	}
	for _, f := range after {
		f()
	}
	return nil
}

// Resume takes up the operations that a former process left under way.
func (k *Kernel) Resume(ctx context.Context) error {
	return k.cfg.Store.View(ctx, func(tx store.Tx) error {
		for op, err := range k.ops.By(tx, "pending", store.Range{Prefix: store.Exact("pending")}) {
			if err != nil {
				return fmt.Errorf("resume operations: %w", err)
			}
			k.finishLater(op)
		}
		return nil
	})
}

// Accepted records an action that is over as a finished operation and answers
// 202 with the links to it: clients of some actions know no other answer.
func (k *Kernel) Accepted(tx store.Tx, req *Request) (*Response, error) {
	op := &operation{ID: newUID(), Resource: req.ID.String(), Delete: true, Caller: req.Caller, Start: req.Now, End: req.Now, Done: true}
	if err := k.putOperation(tx, op); err != nil {
		return nil, err
	}
	return &Response{Status: http.StatusAccepted, Header: k.operationHeader(req, op.ID)}, nil
}

// operationStatus answers GET of an Azure-AsyncOperation URL.
func (k *Kernel) operationStatus(ctx context.Context, req *Request, opID string, result bool) (*Response, error) {
	var doc Doc
	op, err := k.readOperation(ctx, opID)
	if err == nil && !op.Delete {
		err = k.cfg.Store.View(ctx, func(tx store.Tx) error {
			r, err := k.res.Get(tx, op.Resource)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			doc, err = k.Render(ctx, tx, r)
			return err
		})
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && op.Caller.ObjectID != req.Caller.ObjectID {
		return nil, Errorf(http.StatusNotFound, "OperationNotFound", "The operation '%s' was not found.", opID)
	}
	if err != nil {
		return nil, err
	}
	running := k.cfg.Clock.Now().Before(op.End) || !op.Done
	if result {
		switch {
		case running:
			return &Response{Status: http.StatusAccepted, Header: k.soon(k.operationHeader(req, op.ID), op)}, nil
		case op.Error != nil:
			return nil, op.Error
		case op.Delete || doc == nil:
			return &Response{Status: http.StatusOK}, nil
		}
		return OK(doc), nil
	}
	status := "Succeeded"
	switch {
	case running:
		status = "InProgress"
	case op.Error != nil && op.Canceled:
		status = "Canceled"
	case op.Error != nil:
		status = "Failed"
	}
	body := map[string]any{
		"id": req.HTTP.URL.Path, "name": op.ID, "status": status, "startTime": Timestamp(op.Start),
	}
	h := http.Header{}
	if running {
		h.Set("Retry-After", k.retryAfter())
		h = k.soon(h, op)
	} else {
		body["endTime"] = Timestamp(op.End)
		body["percentComplete"] = 100
		if op.Error != nil {
			body["error"] = op.Error.body()
		}
	}
	return &Response{Body: body, Header: h}, nil
}

// operationsList is GET /providers/NAMESPACE/operations: every operation that
// the descriptors give.
func (k *Kernel) operationsList(p *Provider) []Doc {
	var out []Doc
	for name, data := range operationNames(p) {
		parts := strings.Split(name, "/")
		out = append(out, Doc{
			"name": name, "isDataAction": data,
			"display": map[string]any{
				"provider": p.Namespace, "operation": parts[len(parts)-1],
				"resource": strings.Join(parts[1:len(parts)-1], "/"), "description": "",
			},
		})
	}
	slices.SortFunc(out, func(a, b Doc) int { return strings.Compare(a.String("name"), b.String("name")) })
	return out
}

// ProviderOperations are the operations of all providers as roles name them, by
// namespace, with whether each is a data action.
func (k *Kernel) ProviderOperations() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, p := range k.types.providers {
		out[p.Namespace] = operationNames(p)
	}
	return out
}

// operationNames are the operations that the descriptors of a namespace give, with
// whether each is a data action.
func operationNames(p *Provider) map[string]bool {
	names := map[string]bool{}
	add := func(name string, data bool) {
		if name != "" {
			names[name] = data
		}
	}
	for _, t := range p.Types {
		for method, verb := range map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodDelete: "delete"} {
			if t.allows(method) {
				add(t.actionBase()+"/"+verb, false)
			}
		}
		for _, a := range t.Actions {
			perm := a.Permission
			if perm == "" {
				perm = t.actionBase() + "/" + a.Name + "/action"
			}
			add(perm, a.Data)
		}
	}
	for _, a := range p.Actions {
		add(a.Permission, a.Data)
	}
	return names
}
