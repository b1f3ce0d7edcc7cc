package vault

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const rotationBucket = "vault.rotation" // key of the object → rotationPolicy

// rotationPolicy says when a key gets a new version by itself:
// https://learn.microsoft.com/azure/key-vault/keys/how-to-configure-key-rotation
type rotationPolicy struct {
	ID         string             `json:"id,omitempty"`
	Actions    []lifetimeAction   `json:"lifetimeActions"`
	Attributes rotationAttributes `json:"attributes"`
}

type rotationAttributes struct {
	// Expiry is the life of a new version, as an ISO 8601 duration.
	Expiry  *string `json:"expiryTime,omitempty"`
	Created int64   `json:"created,omitempty"`
	Updated int64   `json:"updated,omitempty"`
}

type lifetimeAction struct {
	Trigger struct {
		AfterCreate  *string `json:"timeAfterCreate,omitempty"`
		BeforeExpiry *string `json:"timeBeforeExpiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
}

// span is a calendar duration of years, months, weeks and days: what a policy's
// times are made of.
type span struct{ years, months, days int }

var spanPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^P(?:(\d{1,5})Y)?(?:(\d{1,5})M)?(?:(\d{1,5})W)?(?:(\d{1,6})D)?$`)
})

func parseSpan(property, text string) (span, error) {
	m := spanPattern().FindStringSubmatch(strings.ToUpper(text))
	if m == nil || text == "P" {
		return span{}, badParameter("Property %s has an invalid value: '%s' is not a duration of years, months and days in ISO 8601 form, such as P90D.", property, text)
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // digits, or none
	}
	return span{n[0], n[1], 7*n[2] + n[3]}, nil
}

func (s span) after(t time.Time) time.Time  { return t.AddDate(s.years, s.months, s.days) }
func (s span) before(t time.Time) time.Time { return t.AddDate(-s.years, -s.months, -s.days) }

// about is the span's length in days, taking months for 30 and years for 365.
func (s span) about() int { return 365*s.years + 30*s.months + s.days }

// defaultPolicy is what Azure answers of a key for which nothing was set.
func defaultPolicy() *rotationPolicy {
	a := lifetimeAction{}
	before := "P30D"
	a.Trigger.BeforeExpiry, a.Action.Type = &before, "Notify"
	return &rotationPolicy{Actions: []lifetimeAction{a}}
}

// check refuses what Azure documents as out of bounds; the words are not known.
func (p *rotationPolicy) check() error {
	const least = 7 // days
	var life span
	if p.Attributes.Expiry != nil {
		var err error
		if life, err = parseSpan("expiryTime", *p.Attributes.Expiry); err != nil {
			return err
		}
		if life.about() < 28 {
			return badParameter("Property expiryTime has an invalid value: it is at least 28 days.")
		}
	}
	seen := map[string]bool{}
	for _, a := range p.Actions {
		kind := strings.ToLower(a.Action.Type)
		after, before := a.Trigger.AfterCreate, a.Trigger.BeforeExpiry
		switch {
		case kind != "rotate" && kind != "notify":
			return badParameter("Property type of a lifetime action has an invalid value: '%s'.", a.Action.Type)
		case seen[kind]:
			return badParameter("Property lifetimeActions has an invalid value: %s stands in it twice.", a.Action.Type)
		case (after == nil) == (before == nil):
			return badParameter("Property trigger has an invalid value: it is either timeAfterCreate or timeBeforeExpiry.")
		case kind == "notify" && before == nil:
			return badParameter("Property trigger has an invalid value: Notify goes with timeBeforeExpiry.")
		}
		seen[kind] = true
		property, text := "timeAfterCreate", after
		if before != nil {
			property, text = "timeBeforeExpiry", before
		}
		at, err := parseSpan(property, *text)
		if err != nil {
			return err
		}
		if at.about() < least || p.Attributes.Expiry != nil && life.about()-at.about() < least {
			return badParameter("Property %s has an invalid value: it is at least 7 days from the version's creation and its expiry.", property)
		}
	}
	return nil
}

// due is when a version is to be followed by another.
func (p *rotationPolicy) due(v *version) (time.Time, bool) {
	for _, a := range p.Actions {
		if !strings.EqualFold(a.Action.Type, "Rotate") {
			continue
		}
		switch after, before := a.Trigger.AfterCreate, a.Trigger.BeforeExpiry; {
		case after != nil:
			if s, err := parseSpan("", *after); err == nil {
				return s.after(v.Created), true
			}
		case before != nil && v.Expires != nil:
			if s, err := parseSpan("", *before); err == nil {
				return s.before(time.Unix(*v.Expires, 0)), true
			}
		}
	}
	return time.Time{}, false
}

func (c *call) policy(tx store.Tx) (*rotationPolicy, error) {
	p, err := get[rotationPolicy](tx, rotationBucket, c.slot.key())
	if errors.Is(err, store.ErrNotFound) {
		return defaultPolicy(), nil
	}
	return p, err
}

func (c *call) shownPolicy(o *object, p *rotationPolicy) any {
	p.ID = c.url("keys/" + o.Name + "/rotationpolicy")
	return p
}

func (c *call) getRotationPolicy() (any, error) {
	var o *object
	var p *rotationPolicy
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if o, err = c.slot.live(tx); err != nil {
			return err
		}
		p, err = c.policy(tx)
		return err
	}); err != nil {
		return nil, err
	}
	return c.shownPolicy(o, p), nil
}

func (c *call) setRotationPolicy() (any, error) {
	var in rotationPolicy
	if err := decode(c.r, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	var o *object
	if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) (err error) {
		if o, err = c.slot.live(tx); err != nil {
			return err
		}
		if o.Managed {
			return c.slot.managed()
		}
		old, err := c.policy(tx)
		if err != nil {
			return err
		}
		in.ID = ""
		in.Attributes.Created, in.Attributes.Updated = old.Attributes.Created, c.now.Unix()
		if in.Attributes.Created == 0 {
			in.Attributes.Created = c.now.Unix()
		}
		if in.Actions == nil {
			in.Actions = []lifetimeAction{}
		}
		return put(tx, rotationBucket, c.slot.key(), in)
	}); err != nil {
		return nil, err
	}
	return c.shownPolicy(o, &in), nil
}

// rotateDue makes the versions that the key's policy has asked for by now. It runs
// before anything is done with the key, so that nobody can tell that no version was
// made at its own moment; only lists of all keys may be behind.
func (c *call) rotateDue() error {
	for {
		var v *version
		var p *rotationPolicy
		err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
			if p, err = c.policy(tx); err != nil {
				return err
			}
			_, v, err = c.slot.at(tx, "")
			return err
		})
		var e *apiError
		if errors.As(err, &e) && e.Status == http.StatusNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		due, ok := p.due(v)
		if !ok || due.After(c.now) {
			return nil
		}
		next, err := c.successor(v, p, due)
		if err != nil {
			return err
		}
		if err := c.cfg.Store.Update(c.ctx, func(tx store.Tx) error {
			o, err := c.slot.live(tx)
			if err != nil || o.Current != v.ID {
				return err // someone else was first
			}
			_, err = c.slot.add(tx, c.now, next)
			return err
		}); err != nil && !errors.As(err, &e) {
			return err
		}
	}
}

// successor is a new version like v, made at a moment.
func (c *call) successor(v *version, p *rotationPolicy, at time.Time) (*version, error) {
	in := &keyRequest{Type: v.Key.Type, Ops: v.Key.Ops}
	in.Tags = v.Tags
	if p.Attributes.Expiry != nil {
		life, err := parseSpan("expiryTime", *p.Attributes.Expiry)
		if err != nil {
			return nil, err
		}
		end := life.after(at).Unix()
		in.Attributes = &attributes{Expires: &end}
	}
	if err := c.sizeOf(v, in); err != nil {
		return nil, err
	}
	next, err := c.generateKey(in)
	if err != nil {
		return nil, err
	}
	next.Created, next.Updated = at, at
	return next, nil
}

// sizeOf asks for a key of the size of another.
func (c *call) sizeOf(v *version, in *keyRequest) error {
	if isOct(v.Key.Type) {
		key, err := c.cfg.Sealer.Open(v.Value)
		if err != nil {
			return fmt.Errorf("open key: %w", err)
		}
		in.Size = len(key) * 8
		return nil
	}
	old, err := c.private(v)
	if err != nil {
		return err
	}
	switch k := old.(type) {
	case *rsa.PrivateKey:
		in.Size = k.N.BitLen()
	case *ecdsa.PrivateKey:
		in.Curve = k.Curve.Params().Name
	}
	return nil
}

// rotateKey makes a new version now.
func (c *call) rotateKey() (any, error) {
	_, v, err := c.find()
	if err != nil {
		return nil, err
	}
	var p *rotationPolicy
	if err := c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		p, err = c.policy(tx)
		return err
	}); err != nil {
		return nil, err
	}
	next, err := c.successor(v, p, c.now)
	if err != nil {
		return nil, err
	}
	o, err := c.add(next)
	if err != nil {
		return nil, err
	}
	return c.shownKey(o, next), nil
}
