package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// operation is one step of a deployment that is over.
type operation struct {
	// Deployment is the lower-case ID of the deployment, Key the step's own.
	Deployment, Key string
	// What was done, "Create", to Target, a resource of a type and name.
	What               string
	Target, Type, Name string `json:",omitempty"`
	Begun, Ended       time.Time
	// Error is what it failed with, an error envelope.
	Error  json.RawMessage `json:",omitempty"`
	Status int             `json:",omitempty"`
	// Tracking ties it to the requests that it made.
	Tracking string
}

const operationBucket = "deploymentOperation"

func operationRecords() store.Collection[operation] {
	return store.Collection[operation]{
		Name: operationBucket,
		Key:  func(o *operation) string { return o.Deployment + "|" + o.ID() },
	}
}

// ID is the operation's ID: 16 hexadecimal digits, as Azure's are.
func (o *operation) ID() string {
	h := fnv.New64a()
	h.Write([]byte(o.Key))
	return fmt.Sprintf("%016X", h.Sum64())
}

// record keeps what came of a step.
func (d *deploying) record(ctx context.Context, o *operation, failed *arm.Error) {
	o.Deployment, o.Ended, o.Tracking = arm.Key(d.run.ID), d.s.kernel.Clock().Now(), uuid.NewString()
	if failed != nil {
		o.Error, o.Status = failed.Envelope(), failed.Status
	}
	err := d.s.kernel.Store().Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		r, err := d.s.runs.Get(tx, o.Deployment)
		if errors.Is(err, store.ErrNotFound) || err == nil && r.UID != d.run.UID {
			return nil // it was deleted
		}
		if err != nil {
			return err
		}
		return d.s.ops.Put(tx, o)
	})
	d.s.log("record an operation of a deployment", d.run.ID, err)
}

// succeeded are the steps of a deployment that are done.
func (s *Service) succeeded(ctx context.Context, id arm.ID) (map[string]bool, error) {
	out := map[string]bool{}
	err := s.kernel.Store().View(ctx, func(tx store.Tx) error {
		for o, err := range s.ops.All(tx, store.Range{Prefix: id.Key() + "|"}) {
			if err != nil {
				return err
			}
			if o.Error == nil {
				out[o.Key] = true
			}
		}
		return nil
	})
	return out, err
}

func (s *Service) forgetOperations(tx store.Tx, id arm.ID) error {
	var keys []string
	for o, err := range s.ops.All(tx, store.Range{Prefix: id.Key() + "|"}) {
		if err != nil {
			return err
		}
		keys = append(keys, s.ops.Key(o))
	}
	for _, k := range keys {
		if err := s.ops.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// deploymentOperation is the type of a deployment's operations.
func (s *Service) deploymentOperation() *arm.ResourceType {
	return &arm.ResourceType{
		Type: DeploymentType + "/operations", Virtual: true, NoProvisioningState: true,
		Methods: []string{http.MethodGet},
		Default: func(_ context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			o, err := s.ops.Get(tx, id.Parent().Key()+"|"+id.Name())
			if errors.Is(err, store.ErrNotFound) {
				return nil, arm.Errorf(http.StatusNotFound, "DeploymentOperationNotFound", "Deployment operation '%s' could not be found.", id.Name())
			}
			if err != nil {
				return nil, err
			}
			return &arm.Resource{ID: id.String(), Body: o.doc(id.Parent())}, nil
		},
		List: s.listOperations,
	}
}

func (o *operation) doc(deployment arm.ID) arm.Doc {
	props := map[string]any{
		"provisioningOperation": o.What, "provisioningState": stateSucceeded, "timestamp": arm.Timestamp(o.Ended),
		"duration": duration(o.Ended.Sub(o.Begun)), "trackingId": o.Tracking, "statusCode": "OK",
	}
	if o.Target != "" {
		props["targetResource"] = map[string]any{"id": o.Target, "resourceType": o.Type, "resourceName": o.Name}
	}
	if o.Error != nil {
		props["provisioningState"], props["statusCode"] = stateFailed, statusName(o.Status)
		props["statusMessage"] = o.Error
	}
	return arm.Doc{"id": deployment.Child("operations", o.ID()).String(), "operationId": o.ID(), "properties": props}
}

// statusName is a status as .NET names it.
func statusName(status int) string {
	name := ""
	for _, c := range http.StatusText(status) {
		if c != ' ' && c != '-' {
			name += string(c)
		}
	}
	return name
}

func (s *Service) listOperations(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = s.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := s.kernel.Load(ctx, tx, parent); err != nil {
			return err
		}
		last := ""
		for o, err := range s.ops.All(tx, store.Range{Prefix: parent.Key() + "|", After: after, Limit: size + 1}) {
			if err != nil {
				return err
			}
			if len(page.Value) == size {
				page.Next = arm.EncodeToken(last)
				return nil
			}
			page.Value, last = append(page.Value, o.doc(parent)), s.ops.Key(o)
		}
		return nil
	})
	return page, err
}
