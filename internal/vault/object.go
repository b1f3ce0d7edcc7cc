package vault

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Buckets. The first part of every key is the vault's UID, the second the kind.
const (
	objectsBucket  = "vault.objects"  // <uid>/<kind>/<name> → object
	deletedBucket  = "vault.deleted"  // <uid>/<kind>/<name> → object, until it is purged
	versionsBucket = "vault.versions" // <uid>/<kind>/<name>/<version> → version
)

// object is what has a name in a vault. Its versions are records of their own,
// and stay where they are while it is deleted.
type object struct {
	// Name is as it was first written: names are compared without case.
	Name string
	// Current is the version that was made last.
	Current string
	// Managed objects are the key and the secret of a certificate.
	Managed bool      `json:",omitempty"`
	Deleted *deletion `json:",omitempty"`
}

type deletion struct{ At, Purge time.Time }

// version is one version of an object. Its ID is 32 hexadecimal digits.
type version struct {
	ID               string
	Created, Updated time.Time
	Disabled         bool `json:",omitempty"`
	// NotBefore and Expires are Unix seconds, or nil. Azure hands values out
	// before and after all the same.
	NotBefore, Expires *int64    `json:",omitempty"`
	ContentType        string    `json:",omitempty"` // of secrets
	Key                *keyInfo  `json:",omitempty"`
	Cert               *certInfo `json:",omitempty"`
	// Managed versions belong to the certificate of their name.
	Managed bool              `json:",omitempty"`
	Tags    map[string]string `json:",omitempty"`
	// Value is sealed.
	Value []byte
}

func newVersionID() string {
	var b [16]byte
	rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

// slot is where an object of a vault is kept.
type slot struct {
	v    *Vault
	kind kind
	name string
	// op is what errors call the operation. An own operation is the certificate's on
	// its key and secret.
	op  string
	own bool
}

// companions are where a certificate's key and secret are kept.
func (s slot) companions() []slot {
	if s.kind != certificates {
		return nil
	}
	return []slot{{v: s.v, kind: keys, name: s.name, own: true}, {v: s.v, kind: secrets, name: s.name, own: true}}
}

// managed refuses what only the certificate does with its key and secret.
func (s slot) managed() *apiError {
	e := failure(http.StatusForbidden, "Forbidden", fmt.Sprintf("Operation %q is not allowed as this object's lifetime is managed by Key Vault.", s.op))
	e.Inner = s.kind.title() + "ManagedByKeyVault"
	return e
}

// claim refuses a name that is another's, for an object that is not there yet.
func (s slot) claim(tx store.Tx, now time.Time) error {
	o, err := get[object](tx, objectsBucket, s.key())
	if errors.Is(err, store.ErrNotFound) {
		return s.free(tx, now)
	}
	if err != nil {
		return err
	}
	switch {
	case o.Managed && !s.own:
		return s.managed()
	case s.own && !o.Managed: // Azure's words are not known
		return failure(http.StatusConflict, "Conflict", fmt.Sprintf(
			"A certificate can not have the name %s: there is a %s of that name that is not the certificate's.", s.name, s.kind.singular()))
	}
	return nil
}

func (s slot) key() string { return s.v.UID + "/" + string(s.kind) + "/" + strings.ToLower(s.name) }

func (s slot) versionKey(id string) string { return s.key() + "/" + strings.ToLower(id) }

// notFound is Azure's answer for what is not there; id is the name, or the name
// and a version.
func (s slot) notFound(id string) *apiError {
	return failure(http.StatusNotFound, s.kind.title()+"NotFound", fmt.Sprintf(
		"A %s with (name/id) %s was not found in this key vault. If you recently deleted this %[1]s you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182",
		s.kind.singular(), id))
}

func (s slot) deletedNotFound() *apiError {
	return failure(http.StatusNotFound, s.kind.title()+"NotFound", "Deleted "+s.kind.title()+" not found: "+s.name)
}

func get[T any](tx store.Tx, bucket, key string) (*T, error) {
	b, err := tx.Get(bucket, key)
	if err != nil {
		return nil, err
	}
	var v T
	return &v, json.Unmarshal(b, &v)
}

func put(tx store.Tx, bucket, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(bucket, key, b)
}

// live returns the object, which is there and not deleted.
func (s slot) live(tx store.Tx) (*object, error) {
	o, err := get[object](tx, objectsBucket, s.key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, s.notFound(s.name)
	}
	return o, err
}

// at returns a version of an object that is there; "" is the current one.
func (s slot) at(tx store.Tx, id string) (*object, *version, error) {
	o, err := s.live(tx)
	if err != nil {
		return nil, nil, err
	}
	if id == "" {
		id = o.Current
	}
	v, err := get[version](tx, versionsBucket, s.versionKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, s.notFound(s.name + "/" + id)
	}
	return o, v, err
}

// add makes a version of an object, and the object if there is none.
func (s slot) add(tx store.Tx, now time.Time, v *version) (*object, error) {
	if err := s.claim(tx, now); err != nil {
		return nil, err
	}
	o, err := get[object](tx, objectsBucket, s.key())
	if errors.Is(err, store.ErrNotFound) {
		o = &object{Name: s.name, Managed: s.own}
	} else if err != nil {
		return nil, err
	}
	o.Current = v.ID
	if err := put(tx, versionsBucket, s.versionKey(v.ID), v); err != nil {
		return nil, err
	}
	return o, put(tx, objectsBucket, s.key(), o)
}

// free refuses the name of an object that is deleted and can be recovered.
func (s slot) free(tx store.Tx, now time.Time) error {
	o, err := s.deleted(tx, now)
	if err != nil {
		return err
	}
	if o == nil {
		return s.forget(tx) // what is there, if anything, is over
	}
	e := failure(http.StatusConflict, "Conflict", fmt.Sprintf(
		"%s %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the %s can only be recovered or purged.",
		s.kind.title(), o.Name, s.kind.singular()))
	e.Inner = "ObjectIsDeletedButRecoverable"
	return e
}

// deleted returns the deleted object, or nil when there is none whose retention
// is not over.
func (s slot) deleted(tx store.Tx, now time.Time) (*object, error) {
	o, err := get[object](tx, deletedBucket, s.key())
	if errors.Is(err, store.ErrNotFound) || err == nil && !o.Deleted.Purge.After(now) {
		return nil, nil
	}
	return o, err
}

// delete puts an object where it can be recovered from.
func (s slot) delete(tx store.Tx, now time.Time) (*object, *version, error) {
	o, v, err := s.at(tx, "")
	if err != nil {
		return nil, nil, err
	}
	if o.Managed && !s.own {
		return nil, nil, s.managed()
	}
	if !s.own {
		if _, err := purgeOver(tx, now); err != nil {
			return nil, nil, err
		}
	}
	o.Deleted = &deletion{At: now, Purge: now.AddDate(0, 0, s.v.RetentionDays)}
	if err := tx.Delete(objectsBucket, s.key()); err != nil {
		return nil, nil, err
	}
	if err := put(tx, deletedBucket, s.key(), o); err != nil {
		return nil, nil, err
	}
	if err := put(tx, purgesBucket, s.purgeKey(o), purgeEntry{s.v.UID, s.kind, s.name}); err != nil {
		return nil, nil, err
	}
	for _, part := range s.companions() {
		if _, _, err := part.delete(tx, now); err != nil && !isAPIError(err) { // there is none while the certificate is pending
			return nil, nil, err
		}
	}
	return o, v, nil
}

// recover puts a deleted object back.
func (s slot) recover(tx store.Tx, now time.Time) (*object, *version, error) {
	o, err := s.deleted(tx, now)
	if err != nil {
		return nil, nil, err
	}
	if o == nil {
		return nil, nil, s.deletedNotFound()
	}
	if o.Managed && !s.own {
		return nil, nil, s.managed()
	}
	if err := tx.Delete(purgesBucket, s.purgeKey(o)); err != nil {
		return nil, nil, err
	}
	o.Deleted = nil
	if err := tx.Delete(deletedBucket, s.key()); err != nil {
		return nil, nil, err
	}
	if err := put(tx, objectsBucket, s.key(), o); err != nil {
		return nil, nil, err
	}
	for _, part := range s.companions() {
		if _, _, err := part.recover(tx, now); err != nil && !isAPIError(err) {
			return nil, nil, err
		}
	}
	return s.at(tx, "")
}

// forget removes a deleted object for good.
func (s slot) forget(tx store.Tx) error {
	if o, err := get[object](tx, deletedBucket, s.key()); err == nil {
		if err := tx.Delete(purgesBucket, s.purgeKey(o)); err != nil {
			return err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, bucket := range []string{deletedBucket, rotationBucket, policiesBucket, certOpsBucket} {
		if err := tx.Delete(bucket, s.key()); err != nil {
			return err
		}
	}
	if err := deleteAll(tx, versionsBucket, s.key()+"/"); err != nil {
		return err
	}
	for _, part := range s.companions() {
		o, err := get[object](tx, deletedBucket, part.key())
		if errors.Is(err, store.ErrNotFound) || err == nil && !o.Managed {
			continue
		}
		if err != nil {
			return err
		}
		if err := part.forget(tx); err != nil {
			return err
		}
	}
	return nil
}

// purgesBucket has what is deleted in the order in which it is to be purged.
const purgesBucket = "vault.purges" // <time>/<key of the object> → purgeEntry

type purgeEntry struct {
	UID  string
	Kind kind
	Name string
}

func (s slot) purgeKey(o *object) string {
	return o.Deleted.Purge.UTC().Format(time.RFC3339) + "/" + s.key()
}

// purgeOver removes what has been deleted for longer than its retention, a few at a
// time: every deletion brings it on, and so does the start of a server. It tells
// whether there may be more.
func purgeOver(tx store.Tx, now time.Time) (more bool, err error) {
	const few = 32
	var over []purgeEntry
	var passed []string
	for e, err := range tx.Scan(purgesBucket, store.Range{Limit: few}) {
		if err != nil {
			return false, err
		}
		at, _, _ := strings.Cut(e.Key, "/")
		if at > now.UTC().Format(time.RFC3339) {
			break
		}
		var p purgeEntry
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return false, err
		}
		over, passed = append(over, p), append(passed, e.Key)
	}
	gone := 0
	for i, p := range over {
		s := slot{v: &Vault{UID: p.UID}, kind: p.Kind, name: p.Name, own: true}
		o, err := get[object](tx, deletedBucket, s.key())
		if err == nil {
			if o.Deleted.Purge.After(now) {
				continue // within this second
			}
			err = s.forget(tx)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if err := tx.Delete(purgesBucket, passed[i]); err != nil {
			return false, err
		}
		gone++
	}
	return gone == few, nil
}

// deleteAll removes all below a prefix, a few at a time.
func deleteAll(tx store.Tx, bucket, prefix string) error {
	const few = 256
	for {
		var keys []string
		for e, err := range tx.Scan(bucket, store.Range{Prefix: prefix, Limit: few}) {
			if err != nil {
				return err
			}
			keys = append(keys, e.Key)
		}
		for _, k := range keys {
			if err := tx.Delete(bucket, k); err != nil {
				return err
			}
		}
		if len(keys) < few {
			return nil
		}
	}
}
