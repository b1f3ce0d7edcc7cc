// Package vault is the data plane of key vaults, at {vault}.vault.azure.net. It
// answers the challenge that clients learn their authority from, and serves
// secrets, keys and certificates.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	seals "github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ErrNoVault is wrapped by Vaults.Vault when no vault has the name.
var ErrNoVault = errors.New("vault: no such vault")

// ErrBadToken is wrapped by Access.Authorize when the bearer token does not
// authenticate anyone. Its text is told to the client.
var ErrBadToken = errors.New("the bearer token was not accepted")

// Vault is a vault as far as its data plane needs to know it.
type Vault struct {
	// Name is the global name, ID the ARM resource ID, Location its region.
	Name, ID, Location string
	// UID names this instance of the vault.
	UID string
	// RBAC decides by role assignments; otherwise Policies decide.
	RBAC     bool
	Policies []Policy
	// Door is whether the caller's network may reach the vault, and Client is the
	// address that the caller is told it has, "" for none.
	Door   Door
	Client string
	// RetentionDays is how long what is deleted can be recovered.
	RetentionDays int
	// PurgeProtection keeps it for all of that time.
	PurgeProtection bool
	// Premium vaults have keys of type RSA-HSM and EC-HSM.
	Premium bool
}

// Door is how a vault stands to the network of a caller. The words of those that are
// shut are Azure's inner error codes.
type Door string

// The doors.
const (
	DoorOpen Door = ""
	// DoorFirewall: the vault's rules do not let the caller in.
	DoorFirewall Door = "ForbiddenByFirewall"
	// DoorClosed: public network access is off.
	DoorClosed Door = "ForbiddenByConnection"
)

// refusal is Azure's to a caller who stands before a shut door.
func (v *Vault) refusal(who Principal) error {
	text := "Public network access is disabled and request is not from a trusted service nor via an approved private link."
	if v.Door == DoorFirewall {
		text = "Client address is not authorized and caller is not a trusted service.\r\nClient address: " + v.Client
	}
	text += "\r\nCaller: appid=" + who.AppID + ";oid=" + who.ObjectID + ";iss=https://sts.windows.net/" + who.TenantID + "/" +
		"\r\nVault: " + v.Name + ";location=" + strings.ToLower(strings.ReplaceAll(v.Location, " ", ""))
	e := failure(http.StatusForbidden, "Forbidden", text)
	e.Inner = string(v.Door)
	return e
}

// Policy is an access policy.
type Policy struct {
	ObjectID string
	// Secrets, Keys and Certificates are the permissions on these, lower case.
	Secrets, Keys, Certificates []string
}

func (p *Policy) allows(k kind, permission string) bool {
	held := map[kind][]string{secrets: p.Secrets, keys: p.Keys, certificates: p.Certificates}[k]
	return slices.Contains(held, permission) || slices.Contains(held, "all")
}

// Principal is who calls.
type Principal struct {
	ObjectID, AppID, TenantID string
	// Groups are the object IDs of the groups that it is in: access policies name
	// groups, too.
	Groups []string
}

// is reports whether the principal is what an access policy names: itself, or a
// group that it is in.
func (p Principal) is(objectID string) bool {
	same := func(id string) bool { return strings.EqualFold(id, objectID) }
	return same(p.ObjectID) || slices.ContainsFunc(p.Groups, same)
}

// Vaults looks vaults up.
type Vaults interface {
	// Vault returns the vault with the global name, or an error that wraps
	// ErrNoVault.
	Vault(ctx context.Context, name string) (*Vault, error)
}

// Access decides about callers.
type Access interface {
	// Authorize verifies the bearer token of r for the audience
	// https://vault.azure.net. A token that is not good is an error that wraps
	// ErrBadToken.
	Authorize(ctx context.Context, r *http.Request) (Principal, error)
	// Allowed reports whether the principal may do a data action at the scope.
	Allowed(ctx context.Context, principalID, action string, scope string) (bool, error)
}

// Sealer encrypts what is kept.
type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Config is what a Service needs. All fields are required.
type Config struct {
	Store    store.Store
	Vaults   Vaults
	Access   Access
	Sealer   Sealer
	Clock    clock.Clock
	TenantID string
	Log      *slog.Logger
	// BodyTimeout is how long a client may take to send a request's body; zero is
	// half a minute. It is the machine's time.
	BodyTimeout time.Duration
}

// Service serves all vaults as an http.Handler.
type Service struct {
	cfg        Config
	operations []operation
	forms      map[kind]form
	names      *regexp.Regexp
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = 30 * time.Second
	}
	return &Service{cfg, operations(), forms(), objectName()}
}

const (
	suffix  = ".vault.azure.net"
	maxBody = 1 << 20
)

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w), limit: s.cfg.BodyTimeout}
	body, err := s.serve(w, r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	status := http.StatusOK
	if r, ok := body.(*reply); ok {
		status, body = r.status, r.body
		w.Header().Set("Location", r.location)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Log.Debug("write vault answer", "error", err)
	}
}

// timedBody is a request's body that has to come within a time.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration
	begun   bool
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		if err := b.control.SetReadDeadline(time.Now().Add(b.limit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // what else comes on the connection has its own time
		if err := b.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return n, err
		}
	}
	return n, err
}

// reply is an answer with another status than 200.
type reply struct {
	status   int
	body     any
	location string
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	name := strings.TrimSuffix(host, suffix)
	v, err := s.cfg.Vaults.Vault(r.Context(), name)
	if errors.Is(err, ErrNoVault) {
		// Azure has no address for the name; a proxy can only say so
		return nil, failure(http.StatusNotFound, "VaultNotFound", "There is no vault '"+name+"'.")
	}
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Authorization") == "" {
		s.challenge(w)
		return nil, failure(http.StatusUnauthorized, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
	}
	who, err := s.cfg.Access.Authorize(r.Context(), r)
	if errors.Is(err, ErrBadToken) {
		s.challenge(w)
		return nil, failure(http.StatusUnauthorized, "Unauthorized", err.Error())
	}
	if err != nil {
		return nil, err
	}
	note := diagnostic.NoteOf(r.Context())
	if note != nil {
		note.ObjectID, note.AppID = who.ObjectID, who.AppID
	}
	if v.Door != DoorOpen {
		return nil, v.refusal(who)
	}
	if strings.Trim(r.URL.Path, "/") == "" {
		return nil, failure(http.StatusNotFound, "NotFound", "There is nothing at the root of a vault.")
	}
	if r.URL.Query().Get("api-version") == "" {
		return nil, failure(http.StatusBadRequest, "BadParameter", "api-version must be specified")
	}
	o, c, err := s.route(r, v, who)
	if err != nil {
		return nil, err
	}
	if note != nil {
		note.Operation = o.logName()
	}
	if err := c.authorize(o); err != nil {
		return nil, err
	}
	if c.slot.name != "" {
		if err := c.renewDue(); err != nil {
			return nil, err
		}
	}
	if c.slot.kind == keys && c.slot.name != "" {
		if err := c.rotateDue(); err != nil {
			return nil, err
		}
	}
	return o.serve(c)
}

// challenge tells a client which authority to get a token from.
func (s *Service) challenge(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate",
		`Bearer authorization="https://login.microsoftonline.com/`+s.cfg.TenantID+`", resource="https://vault.azure.net"`)
}

// SealedPlaces is where this package keeps sealed values.
func SealedPlaces() []seals.Place {
	return []seals.Place{
		seals.In(versionsBucket, func(v *version) []*[]byte { return []*[]byte{&v.Value} }),
		seals.In(issuersBucket, func(i *issuer) []*[]byte { return []*[]byte{&i.Value} }),
		seals.In(certOpsBucket, func(op *certOperation) []*[]byte { return []*[]byte{&op.Value} }),
	}
}

// DeleteVault removes everything in a vault that is gone for good.
func (s *Service) DeleteVault(tx store.Tx, uid string) error {
	for _, bucket := range []string{objectsBucket, deletedBucket, versionsBucket, rotationBucket, policiesBucket, certOpsBucket, issuersBucket} {
		if err := deleteAll(tx, bucket, uid+"/"); err != nil {
			return err
		}
	}
	return tx.Delete(contactsBucket, uid)
}

// PurgeOver removes what has been deleted for longer than its retention, at the
// service's time. Deletions do as well, a few at a time.
func (s *Service) PurgeOver(ctx context.Context) error {
	for more := true; more; {
		if err := s.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
			more, err = purgeOver(tx, s.cfg.Clock.Now())
			return err
		}); err != nil {
			return fmt.Errorf("purge what is over in vaults: %w", err)
		}
	}
	return nil
}

func decode(r *http.Request, out any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return failure(http.StatusRequestTimeout, "RequestTimeout", "The request body did not come in time.")
	}
	if err != nil {
		return failure(http.StatusBadRequest, "BadParameter", "The request body could not be read.")
	}
	if len(b) > maxBody {
		return failure(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is too large.")
	}
	if err := json.Unmarshal(b, out); err != nil {
		return failure(http.StatusBadRequest, "BadParameter", "The request body is not valid JSON: "+err.Error())
	}
	return nil
}
