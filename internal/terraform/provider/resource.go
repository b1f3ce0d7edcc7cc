package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// versions are the api-versions that azurerm uses, by major version.
type versions map[int]string

// resourceType is what a type needs besides its schema. Only name, id, apiVersion
// and fields are required.
type resourceType struct {
	name       string
	id         idForm
	apiVersion versions
	fields     []field
	update     updateMethod
	// aliases are arguments with an older name that say the same.
	aliases []alias
	// query is added to the address of PUT requests, as "skipValidation=true".
	query string
	// deleteQuery is added to the address of DELETE requests.
	deleteQuery func(*operation) string
	// serial says on what the changes of this type have to follow each other.
	serial func(*operation) string

	// validate checks a configuration, plan what is planned; both may change the
	// plan's values or refuse it.
	validate func(*checker)
	plan     func(*change)
	// makeID replaces id.build where an ID is not composed of arguments.
	makeID func(*operation) (string, error)
	// beforeCreate runs before anything is sent.
	beforeCreate func(*operation) error
	// encode completes the document that is sent.
	encode func(o *operation, doc map[string]any) error
	// afterWrite does what needs requests of its own, after create and update.
	afterWrite func(*operation) error
	// decode completes the state that is read.
	decode       func(o *operation, doc, state map[string]any) error
	beforeDelete func(*operation) error
	afterDelete  func(*operation) error
	// retryCreate says which errors of a create may pass.
	retryCreate func(error) bool
	// store does the requests of a type that is not an ARM document.
	store store
	// importID turns the ID given to import into arguments.
	importID func(o *operation, id string) (map[string]any, error)
}

type updateMethod int

const (
	// updateNone is for types of which every change makes a new resource.
	updateNone updateMethod = iota
	// updatePut reads the document, changes it and puts it back.
	updatePut
	// updatePatch sends what changes with PATCH.
	updatePatch
)

// store is a resource that lives elsewhere than in an ARM document.
type store interface {
	// read returns nil if there is none.
	read(o *operation) (map[string]any, error)
	create(o *operation) error
	update(o *operation) error
	remove(o *operation) error
}

// alias is an argument that had another name before, and may have meant the
// opposite.
type alias struct {
	name, old string
	inverse   bool
	// byDefault is the value of name if neither is configured.
	byDefault any
	majors    []int
}

// operation is one call on one resource.
type operation struct {
	*session
	ctx  context.Context
	typ  *resourceType
	kind *kind
	id   string
	// prior, planned and config are objects of the schema; any may be nil.
	prior, planned, config map[string]any
	// created says that the service has accepted a new resource.
	created bool
	// scratch is what hooks of one call leave for each other.
	scratch map[string]any
}

func (o *operation) version() string { return o.typ.apiVersion[o.major] }

// state is what the resource is, or is to be.
func (o *operation) state() map[string]any {
	if o.planned != nil {
		return o.planned
	}
	return o.prior
}

func (o *operation) path() string {
	if o.typ.query == "" {
		return o.id
	}
	return o.id + "?" + o.typ.query
}

func (o *operation) codec(explicit bool) codec {
	return codec{major: o.major, explicit: explicit}
}

// createRetries is how often a create is tried again that fails in a way that may
// pass: for about eight seconds. azurerm goes on until the create timeout, since in
// Azure it can take minutes until a principal is known everywhere.
const createRetries = 15

// alreadyExists is azurerm's error for a resource that is there but not in the
// state.
func (o *operation) alreadyExists() error {
	if o.major == 3 {
		//lint:ignore ST1005 azurerm's own words
		return fmt.Errorf("A resource with the ID %q already exists - to be managed via Terraform this resource needs to be imported into the State. Please see the resource documentation for %q for more information.", o.id, o.typ.name)
	}
	return fmt.Errorf("a resource with the ID %q already exists - to be managed via Terraform this resource needs to be imported into the State. Please see the resource documentation for %q for more information", o.id, o.typ.name)
}

// create makes the resource and returns its state. If it fails after the service
// accepted it, o.created is set.
func (o *operation) create() (map[string]any, error) {
	var err error
	if o.typ.makeID != nil {
		o.id, err = o.typ.makeID(o)
		if err != nil {
			return nil, err
		}
	} else {
		o.id = o.typ.id.build(o.subscription, o.planned)
	}
	if o.typ.store != nil {
		if err := o.typ.store.create(o); err != nil {
			var accepted *acceptedError
			o.created = o.created || errors.As(err, &accepted)
			return nil, fmt.Errorf("creating %q: %w", o.id, err)
		}
		o.created = true
		return o.readBack()
	}
	if _, err := o.get(o.ctx, o.id, o.version()); err == nil {
		return nil, o.alreadyExists()
	} else if !isNotFound(err) {
		return nil, fmt.Errorf("checking for presence of existing %q: %w", o.id, err)
	}
	if o.typ.beforeCreate != nil {
		if err := o.typ.beforeCreate(o); err != nil {
			return nil, err
		}
	}
	doc := map[string]any{}
	o.codec(false).encode(o.typ.fields, o.kind.Attributes, o.planned, doc)
	if o.typ.encode != nil {
		if err := o.typ.encode(o, doc); err != nil {
			return nil, err
		}
	}
	for try := 0; ; try++ {
		err = o.put(o.ctx, o.path(), o.version(), doc)
		if err == nil || o.typ.retryCreate == nil || !o.typ.retryCreate(err) || try >= createRetries {
			break
		}
		if waitErr := o.pause(try); waitErr != nil {
			break
		}
	}
	if err != nil {
		var accepted *acceptedError
		o.created = errors.As(err, &accepted)
		return nil, fmt.Errorf("creating %q: %w", o.id, err)
	}
	o.created = true
	if o.typ.afterWrite != nil {
		if err := o.typ.afterWrite(o); err != nil {
			return nil, err
		}
	}
	return o.readBack()
}

// readBack reads a resource that was just written.
func (o *operation) readBack() (map[string]any, error) {
	state, err := o.read(o.planned)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return nil, fmt.Errorf("retrieving %q: it was written, but is not there", o.id)
	}
	return state, nil
}

// modify updates the resource and returns its state.
func (o *operation) modify() (map[string]any, error) {
	if o.typ.store != nil {
		if err := o.typ.store.update(o); err != nil {
			return nil, fmt.Errorf("updating %q: %w", o.id, err)
		}
		return o.readBack()
	}
	doc := map[string]any{}
	o.codec(o.typ.update == updatePut).encode(o.typ.fields, o.kind.Attributes, o.planned, doc)
	if o.typ.encode != nil {
		if err := o.typ.encode(o, doc); err != nil {
			return nil, err
		}
	}
	var err error
	switch o.typ.update {
	case updatePatch:
		before := map[string]any{}
		o.codec(false).encode(o.typ.fields, o.kind.Attributes, o.prior, before)
		if patch := diffDocument(before, doc); len(patch) > 0 {
			err = o.patch(o.ctx, o.path(), o.version(), patch)
		}
	case updatePut:
		var existing map[string]any
		if existing, err = o.get(o.ctx, o.id, o.version()); err == nil {
			err = o.put(o.ctx, o.path(), o.version(), mergeDocument(existing, doc))
		}
	case updateNone:
		// What can change without a new resource is not the service's business.
	}
	if err != nil {
		return nil, fmt.Errorf("updating %q: %w", o.id, err)
	}
	if o.typ.afterWrite != nil {
		if err := o.typ.afterWrite(o); err != nil {
			return nil, err
		}
	}
	return o.readBack()
}

// read returns the resource's state, or nil if it is gone. before is the state so
// far: what the service does not give back stays as it is there.
func (o *operation) read(before map[string]any) (map[string]any, error) {
	state, _ := dropUnknown(before).(map[string]any)
	state = fillObject(o.kind.Attributes, state)
	state["id"] = o.id
	if o.typ.store != nil {
		read, err := o.typ.store.read(o)
		if err != nil {
			return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
		}
		if read == nil {
			return nil, nil
		}
		maps.Copy(state, read)
		return emptyBlocks(o.kind.Attributes, reconcile(o.kind.Attributes, before, state)), nil
	}
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("retrieving %q: %w", o.id, err)
	}
	if o.typ.id.pattern != "" {
		args, err := o.typ.id.parseFold(o.id)
		if err != nil {
			return nil, err
		}
		for name, v := range args {
			if o.kind.Attributes[name] != nil {
				state[name] = v
			}
		}
	}
	o.codec(false).decode(o.typ.fields, o.kind.Attributes, doc, state)
	decodeAliases(o.typ.aliases, o.major, state)
	if o.typ.decode != nil {
		if err := o.typ.decode(o, doc, state); err != nil {
			return nil, err
		}
	}
	return emptyBlocks(o.kind.Attributes, reconcile(o.kind.Attributes, before, state)), nil
}

// emptyBlocks makes blocks that nothing was said of empty, as Terraform has them.
func emptyBlocks(as attributes, state map[string]any) map[string]any {
	for name, a := range as {
		if !a.nested() || !a.Block {
			continue
		}
		if state[name] == nil {
			state[name] = []any{}
		}
		for _, e := range asList(state[name]) {
			if o := asObject(e); o != nil {
				emptyBlocks(a.Attributes, o)
			}
		}
	}
	return state
}

// destroy deletes the resource. One that is gone already is no error.
func (o *operation) destroy() error {
	if o.typ.beforeDelete != nil {
		if err := o.typ.beforeDelete(o); err != nil {
			return err
		}
	}
	var err error
	if o.typ.store != nil {
		err = o.typ.store.remove(o)
	} else {
		path := o.id
		if o.typ.deleteQuery != nil {
			if q := o.typ.deleteQuery(o); q != "" {
				path += "?" + q
			}
		}
		err = o.remove(o.ctx, path, o.version())
	}
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("deleting %q: %w", o.id, err)
	}
	if o.typ.afterDelete != nil {
		return o.typ.afterDelete(o)
	}
	return nil
}

func (al alias) applies(major int) bool {
	for _, m := range al.majors {
		if m == major {
			return true
		}
	}
	return len(al.majors) == 0
}

// decodeAliases gives the older names what was read for the newer ones.
func decodeAliases(aliases []alias, major int, state map[string]any) {
	for _, al := range aliases {
		switch {
		case !al.applies(major):
		case al.inverse:
			state[al.old] = !asBool(state[al.name])
		default:
			state[al.old] = state[al.name]
		}
	}
}

// planAliases gives both names of an argument the value of the configured one.
func planAliases(aliases []alias, major int, config, planned map[string]any, create bool) {
	for _, al := range aliases {
		if !al.applies(major) {
			continue
		}
		other := func(v any) any {
			if b, ok := v.(bool); ok && al.inverse {
				return !b
			}
			return v
		}
		switch {
		case config[al.name] != nil:
			planned[al.old] = other(planned[al.name])
		case config[al.old] != nil:
			planned[al.name] = other(planned[al.old])
		case create && al.byDefault != nil:
			planned[al.name], planned[al.old] = al.byDefault, other(al.byDefault)
		}
	}
}

// pause waits between attempts, longer each time up to a second.
func (o *operation) pause(try int) error {
	return clock.Sleep(o.ctx, o.clock, min(pollFloor<<min(try, 10), pollCeiling))
}

// timeout is for how long an operation may take: the timeouts block's word, else
// the schema's, else half an hour.
func (k *kind) timeout(operation string, states ...map[string]any) (time.Duration, error) {
	text := k.Timeouts[operation]
	for _, s := range states {
		if v := asString(asObject(s["timeouts"])[operation]); v != "" {
			text = v
			break
		}
	}
	if text == "" {
		return 30 * time.Minute, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("timeouts.%s: %w", operation, err)
	}
	return d, nil
}
