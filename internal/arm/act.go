package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Act is a request that a service makes for a caller: with the caller's rights, and
// with all that such a request does over the wire.
type Act struct {
	Caller Caller
	// Method and Path are those of the request, which has the given version.
	Method, Path, APIVersion string
	// Body is that of a PUT, PATCH or POST.
	Body Doc
	// CorrelationID ties it to the request that it is made for.
	CorrelationID string
}

func (k *Kernel) acting(ctx context.Context, a Act) (*Request, path, error) {
	p, err := parsePath(a.Path)
	if err != nil {
		return nil, p, BadRequest("InvalidResourceId", "The path '%s' is not a resource path.", a.Path)
	}
	if err := k.known(&p.id); err != nil {
		return nil, p, err
	}
	r, err := http.NewRequestWithContext(ctx, a.Method, "https://"+Host, nil)
	if err != nil {
		return nil, p, fmt.Errorf("act: %w", err)
	}
	r.URL.Path = a.Path
	r.Header.Set("X-Ms-Correlation-Request-Id", a.CorrelationID)
	return &Request{
		Query: map[string][]string{"api-version": {a.APIVersion}}, Body: a.Body, APIVersion: a.APIVersion,
		Caller: a.Caller, HTTP: r, Kernel: k, Now: k.cfg.Clock.Now(),
	}, p, nil
}

// Act carries a request out. The error is that of the answer.
func (k *Kernel) Act(ctx context.Context, a Act) (*Response, error) {
	req, p, err := k.acting(ctx, a)
	if err != nil {
		return nil, err
	}
	resp, err := k.route(ctx, req, p)
	k.record(req.HTTP, req, p, resp, err)
	return resp, err
}

// Writable checks a PUT of a resource as far as that goes without writing: there
// is such a type, it may stand there and be named so, and the caller may write it.
func (k *Kernel) Writable(ctx context.Context, tx store.Tx, caller Caller, path string) error {
	id, err := ParseID(path)
	if err != nil {
		return BadRequest("InvalidResourceId", "The path '%s' is not a resource path.", path)
	}
	if err := k.known(&id); err != nil {
		return err
	}
	id = k.types.canonical(id)
	t := k.types.lookup(id.Type())
	if t == nil || !t.allows(http.MethodPut) {
		return k.uncovered("PUT", id.Type())
	}
	if err := k.placed(id, t); err != nil {
		return err
	}
	ok, err := k.auth.MightInTx(tx, caller.ObjectID, t.actionBase()+"/write", id.String())
	if err := decided(ok, err, &Request{Caller: caller}, t.actionBase()+"/write", id); err != nil {
		return err
	}
	there, err := k.res.Exists(tx, id.Key())
	if err != nil || there {
		return err
	}
	if err := t.Name.check(t.Type, id.Name()); err != nil {
		return err
	}
	return nil
}

// Trial is what would come of a PUT.
type Trial struct {
	// Before and After are the resource as GET answers it; Before is nil for what
	// is not there.
	Before, After Doc
	// Err is the answer's error; After is nil then.
	Err error
}

var errTrial = errors.New("nothing is kept of a trial")

// Try carries PUTs out, one after another, and takes all back: what has taken
// effect when it returns is nothing.
func (k *Kernel) Try(ctx context.Context, acts []Act) ([]Trial, error) {
	var out []Trial
	err := k.cfg.Store.Update(ctx, func(tx store.Tx) error {
		out = make([]Trial, len(acts))
		for i, a := range acts {
			if err := k.try(ctx, tx, a, &out[i]); err != nil {
				return err
			}
		}
		return errTrial
	})
	if err != nil && !errors.Is(err, errTrial) {
		return nil, err
	}
	return out, nil
}

// try is one PUT of Try. Its error is one of Azimuth's own: others are in t.
func (k *Kernel) try(ctx context.Context, tx store.Tx, a Act, t *Trial) error {
	req, p, err := k.acting(ctx, a)
	if err == nil {
		req.ID = k.types.canonical(p.id)
		req.Type = k.types.lookup(req.ID.Type())
		if req.Type == nil || p.trailing != "" || req.Type.Prepare != nil || !req.Type.allows(http.MethodPut) {
			err = k.uncovered("a trial of a PUT", req.ID.Type())
		}
	}
	if err == nil {
		err = k.placed(req.ID, req.Type)
	}
	if err != nil {
		t.Err = err
		return nil
	}
	r, err := k.Load(ctx, tx, req.ID)
	switch e := (*Error)(nil); {
	case err == nil:
		if t.Before, err = k.render(ctx, tx, req.Type, r); err != nil {
			return err
		}
	case !errors.As(err, &e):
		return err
	}
	if t.Err = k.authorizeChangeIn(tx, req, "/write"); t.Err != nil {
		return nil
	}
	if req.Type.Virtual {
		return nil // data planes write what cannot be taken back
	}
	resp, _, err := k.writeIn(ctx, tx, req, func(*Resource) (Doc, error) { return req.Body.Clone(), nil }, true)
	if err != nil {
		t.Err = err
		return nil
	}
	t.After, _ = resp.Body.(Doc)
	return nil
}

// Describe is what a provider says of a resource type: its name, locations and
// versions; nil when there is none such.
func (k *Kernel) Describe(namespace, typ string) Doc {
	t := k.types.lookup(namespace + "/" + typ)
	if t == nil {
		return nil
	}
	_, name, _ := strings.Cut(t.Type, "/")
	return describeType(t, name)
}

// TypeOf is the descriptor of a resource type, or nil.
func (k *Kernel) TypeOf(typ string) *ResourceType { return k.types.lookup(typ) }

// SubscriptionDoc is the subscription as GET answers it.
func (k *Kernel) SubscriptionDoc() Doc { return k.subscription() }

// Environment is the cloud's description as /metadata/endpoints gives it at its own host.
func (k *Kernel) Environment() Doc { return k.cloud(Host) }

// TypesBelow are the descriptors of the types that stand in a type, at any depth.
func (k *Kernel) TypesBelow(typ string) []*ResourceType {
	var out []*ResourceType
	prefix := strings.ToLower(typ) + "/"
	for _, t := range k.types.sortedTypes() {
		if strings.HasPrefix(strings.ToLower(t.Type), prefix) {
			out = append(out, t)
		}
	}
	return out
}
