package instance

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// ticket lets a browser in: a link once, which becomes a session.
type ticket struct {
	Hash      string    `json:"hash"` // of its secret
	UID       string    `json:"uid"`
	Principal string    `json:"principal"`
	Session   bool      `json:"session,omitempty"`
	Expires   time.Time `json:"expires"`
}

const (
	linkLifetime    = 5 * time.Minute
	sessionLifetime = 12 * time.Hour
)

func tickets() store.Collection[ticket] {
	return store.Collection[ticket]{
		Name: "instance/ticket",
		Key:  func(t *ticket) string { return t.Hash },
		Indexes: map[string]func(*ticket) []string{
			"expires":  func(t *ticket) []string { return []string{t.Expires.UTC().Format(time.RFC3339)} },
			"instance": func(t *ticket) []string { return []string{t.UID} },
		},
	}
}

func hashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// issue makes a ticket and returns its secret, and forgets a few that are over.
func (s *Service) issue(tx store.Tx, uid, principal string, session bool, lifetime time.Duration) (secret string, expires time.Time, err error) {
	now := s.cfg.Clock.Now()
	var old []string
	for t, err := range s.tickets.By(tx, "expires", store.Range{Limit: 4}) {
		if err != nil {
			return "", time.Time{}, fmt.Errorf("issue a ticket: %w", err)
		}
		if !now.Before(t.Expires) {
			old = append(old, t.Hash)
		}
	}
	for _, hash := range old {
		if err := s.tickets.Delete(tx, hash); err != nil {
			return "", time.Time{}, fmt.Errorf("issue a ticket: %w", err)
		}
	}
	secret, expires = newSecret(), now.Add(lifetime)
	err = s.tickets.Put(tx, &ticket{Hash: hashSecret(secret), UID: uid, Principal: principal, Session: session, Expires: expires})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issue a ticket: %w", err)
	}
	return secret, expires, nil
}

// errNoTicket says that a secret is of no ticket that is good for what is asked.
var errNoTicket = errors.New("instance: no such ticket")

func (s *Service) ticket(tx store.Tx, uid, secret string, session bool) (*ticket, error) {
	t, err := s.tickets.Get(tx, hashSecret(secret))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoTicket
	}
	if err != nil {
		return nil, fmt.Errorf("look up a ticket: %w", err)
	}
	if t.UID != uid || t.Session != session || !s.cfg.Clock.Now().Before(t.Expires) {
		return nil, errNoTicket
	}
	return t, nil
}

// redeem turns a link's secret into a session's. It works once.
func (s *Service) redeem(tx store.Tx, uid, secret string) (session string, expires time.Time, err error) {
	t, err := s.ticket(tx, uid, secret, false)
	if err != nil {
		return "", time.Time{}, err
	}
	if err := s.tickets.Delete(tx, t.Hash); err != nil {
		return "", time.Time{}, fmt.Errorf("redeem a link: %w", err)
	}
	return s.issue(tx, uid, t.Principal, true, sessionLifetime)
}

func (s *Service) dropTickets(tx store.Tx, uid string) error {
	var all []string
	for t, err := range s.tickets.By(tx, "instance", store.Range{Prefix: store.Exact(uid)}) {
		if err != nil {
			return fmt.Errorf("forget tickets: %w", err)
		}
		all = append(all, t.Hash)
	}
	for _, hash := range all {
		if err := s.tickets.Delete(tx, hash); err != nil {
			return fmt.Errorf("forget tickets: %w", err)
		}
	}
	return nil
}

// cookieName is the name of the session's cookie. It differs by instance: a
// browser sends the cookies of every path that begins the same.
func cookieName(uid string) string { return "azimuth-instance-" + uid }

func setSession(w http.ResponseWriter, r *http.Request, uid, secret string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(uid), Value: secret, Path: cookiePath(r, uid), MaxAge: int(sessionLifetime / time.Second),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// cookiePath is the instance's own place on the local origin, which it shares
// with other things; its Azure host name is its own altogether.
func cookiePath(r *http.Request, uid string) string {
	if _, ok := azureName(r.Host); ok {
		return "/"
	}
	return basePath(uid)
}
