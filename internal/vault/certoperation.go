package vault

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const certOpsBucket = "vault.certoperations" // key of the certificate → certOperation

// The states of an operation, as Azure writes them.
const (
	opInProgress = "inProgress"
	opCompleted  = "completed"
	opCancelled  = "cancelled"
	opFailed     = "failed"
)

// certOperation is the creation of a certificate's version. It is there until it is
// deleted or the next begins.
type certOperation struct {
	// ID is the version that it makes, RequestID its own.
	ID, RequestID   string
	Status, Details string
	Error           *operationError `json:",omitempty"`
	CancelRequested bool            `json:",omitempty"`
	CSR             []byte
	// Policy is what the certificate is made by.
	Policy        *certPolicy
	Tags          map[string]string `json:",omitempty"`
	Disabled      bool              `json:",omitempty"`
	PreserveOrder *bool             `json:",omitempty"`
	// Value is the private key in PKCS #8, sealed, until the operation is completed.
	Value []byte `json:",omitempty"`
}

type operationError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// operationBundle is an operation on the wire.
type operationBundle struct {
	ID              string          `json:"id"`
	Issuer          *issuerParams   `json:"issuer"`
	CSR             []byte          `json:"csr,omitempty"`
	CancelRequested bool            `json:"cancellation_requested"`
	Status          string          `json:"status"`
	Details         string          `json:"status_details,omitempty"`
	Error           *operationError `json:"error,omitempty"`
	Target          string          `json:"target,omitempty"`
	RequestID       string          `json:"request_id"`
	PreserveOrder   *bool           `json:"preserveCertOrder,omitempty"`
}

func (c *call) shownOperation(op *certOperation) *operationBundle {
	b := &operationBundle{
		ID: c.url("certificates/" + c.slot.name + "/pending"), Issuer: op.Policy.Issuer, CSR: op.CSR, CancelRequested: op.CancelRequested,
		Status: op.Status, Details: op.Details, Error: op.Error, RequestID: op.RequestID, PreserveOrder: op.PreserveOrder,
	}
	if op.Status == opCompleted {
		b.Target = c.url("certificates/" + c.slot.name)
	}
	return b
}

// accepted is an answer to something that goes on.
func (c *call) accepted(op *certOperation) any {
	b := c.shownOperation(op)
	return &reply{status: http.StatusAccepted, body: b, location: b.ID + "?api-version=" + c.r.URL.Query().Get("api-version") + "&request_id=" + op.RequestID}
}

// createCertificate begins a version. What the vault signs itself is there when the
// answer is; the answer says inProgress all the same, as Azure's does.
func (c *call) createCertificate() (any, error) {
	var in struct {
		Policy        *certPolicy `json:"policy"`
		PreserveOrder *bool       `json:"preserveCertOrder"`
		frame
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	in.dates()
	var issuer *issuer
	var old *version
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if err := c.notPending(tx); err != nil {
			return err
		}
		p, err := get[certPolicy](tx, policiesBucket, c.slot.key())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if in.Policy == nil {
			in.Policy = p
		}
		if in.Policy == nil {
			return badParameter("Property policy is missing.") // Azure's words are not known
		}
		in.Policy.complete()
		if err := in.Policy.check(c); err != nil {
			return err
		}
		if issuer, err = c.issuerOf(tx, in.Policy); err != nil {
			return err
		}
		key := slot{v: c.v, kind: keys, name: c.slot.name}
		if _, old, err = key.at(tx, ""); err != nil && !isAPIError(err) {
			return err
		}
		return nil
	}); err != nil {
		return nil, err
	}
	private, err := c.certKey(in.Policy, old)
	if err != nil {
		return nil, err
	}
	in.Policy.stamp(c.now)
	op, parts, err := c.begin(in.Policy, private, issuer, in.PreserveOrder, &in.frame)
	if err != nil {
		return nil, err
	}
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		if err := c.notPending(tx); err != nil {
			return err
		}
		return c.putOperation(tx, op, parts)
	}); err != nil {
		return nil, err
	}
	if op.Status == opCompleted {
		begun := *op
		begun.Status, begun.Details = opInProgress, "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer provider. Please check again later."
		return c.accepted(&begun), nil
	}
	return c.accepted(op), nil
}

// certKey is the key for a new version: a new one, or that of the version before.
func (c *call) certKey(p *certPolicy, old *version) (crypto.Signer, error) {
	if *p.Key.Reuse && old != nil && old.Managed && old.Key.Type == p.Key.Type {
		return c.private(old)
	}
	return generate(&keyRequest{Type: p.Key.Type, Size: p.Key.Size, Curve: p.Key.Curve})
}

// begin makes an operation and, when the vault signs the certificate itself, the
// versions too.
func (c *call) begin(p *certPolicy, private crypto.Signer, from *issuer, preserve *bool, f *frame) (*certOperation, *certParts, error) {
	csr, err := signingRequest(p, private)
	if err != nil {
		return nil, nil, err
	}
	var v version
	if err := f.change(&v); err != nil {
		return nil, nil, err
	}
	op := &certOperation{ID: newVersionID(), RequestID: newVersionID(), CSR: csr, Policy: p, Tags: v.Tags, Disabled: v.Disabled, PreserveOrder: preserve}
	if p.Issuer.Name == issuerSelf {
		der, err := selfSign(p, private, c.now)
		if err != nil {
			return nil, nil, err
		}
		got, err := parseChain([][]byte{der}, private)
		if err != nil {
			return nil, nil, err
		}
		op.Status = opCompleted
		parts, err := c.certVersions(op.ID, p, private, got, preserve, f)
		return op, parts, err
	}
	op.Status, op.Details = opInProgress, "Pending certificate created. Please Perform Merge to complete the request."
	if from != nil {
		// The code that Azure has for what its provider's side refuses.
		op.Status, op.Details = opFailed, ""
		op.Error = &operationError{"Certificate issuer error", fmt.Sprintf(
			"NotImplementedByAzimuth: Azimuth does not call certificate authorities, so the issuer '%s' (%s) issues nothing here. Merge a certificate made from the CSR of this operation, or use the issuer Self or Unknown.", p.Issuer.Name, from.Provider)}
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	if op.Value, err = c.cfg.Sealer.Seal(plain); err != nil {
		return nil, nil, fmt.Errorf("seal key: %w", err)
	}
	return op, nil, nil
}

// putOperation keeps an operation with its policy and what it has made: the
// versions, or the name of the certificate until there is one.
func (c *call) putOperation(tx store.Tx, op *certOperation, parts *certParts) error {
	if parts != nil {
		if err := c.addCertificate(tx, parts); err != nil {
			return err
		}
	} else {
		for _, s := range append([]slot{c.slot}, c.slot.companions()...) {
			if err := s.claim(tx, c.now); err != nil {
				return err
			}
		}
		_, current, err := c.slot.at(tx, "")
		if err != nil && !isAPIError(err) {
			return err
		}
		if err != nil || current.Cert.pending() {
			v := &version{ID: op.ID, Created: c.now, Updated: c.now, Disabled: true, Tags: op.Tags, Cert: &certInfo{PreserveOrder: op.PreserveOrder}}
			if _, err := c.slot.add(tx, c.now, v); err != nil {
				return err
			}
			if current != nil {
				if err := tx.Delete(versionsBucket, c.slot.versionKey(current.ID)); err != nil {
					return err
				}
			}
		}
	}
	if err := put(tx, policiesBucket, c.slot.key(), op.Policy); err != nil {
		return err
	}
	return put(tx, certOpsBucket, c.slot.key(), op)
}

func isAPIError(err error) bool {
	e := (*apiError)(nil)
	return errors.As(err, &e)
}

// notPending refuses a new version while one is being made.
func (c *call) notPending(tx store.Tx) error {
	op, err := get[certOperation](tx, certOpsBucket, c.slot.key())
	if errors.Is(err, store.ErrNotFound) || err == nil && op.Status != opInProgress {
		return nil
	}
	if err != nil {
		return err
	}
	return failure(http.StatusConflict, "Forbidden", "A new key vault certificate can not be created or imported while a pending key vault certificate's status is inProgress.")
}

// operation reads the operation that the request is about.
func (c *call) operation(tx store.Tx) (*certOperation, error) {
	o, err := c.slot.live(tx)
	if err != nil {
		return nil, c.pendingNotFound(err)
	}
	op, err := get[certOperation](tx, certOpsBucket, c.slot.key())
	if err != nil {
		return nil, c.pendingNotFound(err)
	}
	if id := c.r.URL.Query().Get("request_id"); id != "" && id != op.RequestID {
		return nil, c.pendingNotFound(store.ErrNotFound)
	}
	c.slot.name = o.Name
	return op, nil
}

func (c *call) pendingNotFound(err error) error {
	if !isAPIError(err) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return failure(http.StatusNotFound, "PendingCertificateNotFound", "Pending certificate not found: "+c.slot.name)
}

func (c *call) getOperation() (any, error) {
	var op *certOperation
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		op, err = c.operation(tx)
		return err
	}); err != nil {
		return nil, err
	}
	return c.shownOperation(op), nil
}

// cancelOperation stops an operation. The answer still says inProgress, as Azure
// documents it.
func (c *call) cancelOperation() (any, error) {
	var in struct {
		Cancel bool `json:"cancellation_requested"`
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	var op *certOperation
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if op, err = c.operation(tx); err != nil || !in.Cancel {
			return err
		}
		if op.Status != opInProgress {
			return badParameter("The certificate operation is %s and can not be canceled.", op.Status) // the words are not known
		}
		op.CancelRequested, op.Status, op.Details = true, opCancelled, ""
		return put(tx, certOpsBucket, c.slot.key(), op)
	}); err != nil {
		return nil, err
	}
	if in.Cancel {
		op.Status = opInProgress
	}
	return c.shownOperation(op), nil
}

// deleteOperation forgets an operation, and a certificate that has come to nothing
// with it.
func (c *call) deleteOperation() (any, error) {
	var op *certOperation
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if op, err = c.operation(tx); err != nil {
			return err
		}
		if err := tx.Delete(certOpsBucket, c.slot.key()); err != nil {
			return err
		}
		_, current, err := c.slot.at(tx, "")
		if err != nil || !current.Cert.pending() {
			return err
		}
		if err := tx.Delete(objectsBucket, c.slot.key()); err != nil {
			return err
		}
		return c.slot.forget(tx)
	}); err != nil {
		return nil, err
	}
	return c.shownOperation(op), nil
}

// merge completes an operation with a certificate that someone made from its CSR.
func (c *call) merge() (any, error) {
	var in struct {
		Chain []string `json:"x5c"`
		frame
	}
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	in.dates()
	var ders [][]byte
	for _, text := range in.Chain {
		der, err := decodeBase64(text)
		if err != nil {
			return nil, badParameter("Property x5c has an invalid value: it is not base64.")
		}
		ders = append(ders, der)
	}
	if len(ders) == 0 {
		return nil, badParameter("Property x5c is missing.")
	}
	var op *certOperation
	open := func(tx store.Tx) (err error) {
		if op, err = c.operation(tx); err == nil && op.Status == opCompleted {
			err = c.pendingNotFound(store.ErrNotFound)
		}
		return err
	}
	if err := c.cfg.Store.View(c.ctx, open); err != nil {
		return nil, err
	}
	private, err := c.private(&version{Value: op.Value})
	if err != nil {
		return nil, err
	}
	got, err := parseChain(ders, private)
	if err != nil {
		return nil, err
	}
	if in.Tags == nil {
		in.Tags = op.Tags
	}
	enabled := !op.Disabled
	if in.Attributes == nil {
		in.Attributes = &attributes{}
	}
	if in.Attributes.Enabled == nil {
		in.Attributes.Enabled = &enabled
	}
	parts, err := c.certVersions(op.ID, op.Policy, private, got, op.PreserveOrder, &in.frame)
	if err != nil {
		return nil, err
	}
	var b any
	var id string
	err = c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
		begun := op.RequestID
		if err := open(tx); err != nil {
			return err
		}
		if op.RequestID != begun {
			return c.pendingNotFound(store.ErrNotFound) // another has taken its place
		}
		if err := c.addCertificate(tx, parts); err != nil {
			return err
		}
		op.Status, op.Details, op.Error, op.Value = opCompleted, "", nil, nil
		if err := put(tx, certOpsBucket, c.slot.key(), op); err != nil {
			return err
		}
		o, v, err := c.slot.at(tx, op.ID)
		if err != nil {
			return err
		}
		id = c.id(o, v, false)
		b, err = c.bundle(tx, o, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, body: b, location: id + "?api-version=" + c.r.URL.Query().Get("api-version")}, nil
}

// renewDue makes the versions of a certificate that its policy has asked for by now.
// As with keys, it runs before anything is done with the certificate, its key or its
// secret, so that nobody can tell that no version was made at its own moment; only
// lists may be behind.
func (c *call) renewDue() error {
	at := *c
	at.slot = slot{v: c.v, kind: certificates, name: c.slot.name}
	for {
		var v, key *version
		var p *certPolicy
		due := false
		if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
			if _, v, err = at.slot.at(tx, ""); err != nil {
				return err
			}
			if v.Cert.pending() || v.Expires == nil || v.NotBefore == nil {
				return nil
			}
			if p, err = get[certPolicy](tx, policiesBucket, at.slot.key()); err != nil {
				return fmt.Errorf("read certificate policy: %w", err)
			}
			when, ok := p.renewal(time.Unix(*v.NotBefore, 0), time.Unix(*v.Expires, 0))
			if due = ok && !when.After(c.now); !due {
				return nil
			}
			at.now = when
			if _, key, err = (slot{v: c.v, kind: keys, name: c.slot.name}).at(tx, ""); err != nil {
				return err
			}
			return at.notPending(tx)
		}); isAPIError(err) {
			return nil // there is none, or one is being made
		} else if err != nil || !due {
			return err
		}
		if !at.now.After(v.Created) {
			return nil // by its policy it would be due for ever
		}
		private, err := at.certKey(p, key)
		if err != nil {
			return err
		}
		enabled := !v.Disabled
		op, parts, err := at.begin(p, private, nil, v.Cert.PreserveOrder, &frame{Tags: v.Tags, Attributes: &attributes{Enabled: &enabled}})
		if err != nil {
			return err
		}
		if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
			o, err := at.slot.live(tx)
			if err != nil || o.Current != v.ID {
				return err // someone else was first
			}
			return at.putOperation(tx, op, parts)
		}); err != nil && !isAPIError(err) {
			return err
		}
	}
}
