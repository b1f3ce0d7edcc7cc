package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// bearerVersion is the first service version that takes bearer tokens.
const bearerVersion = "2017-11-09"

// Authorizer decides who may make a request to a storage account.
type Authorizer struct {
	Store  store.Store
	Clock  clock.Clock
	Access Access
	// Wall is the time that clients put on the requests they sign. It differs
	// from Clock once a user has advanced that; a signed request is in time when
	// its date is near either.
	Wall func() time.Time
	// TenantID is the tenant of user delegation keys.
	TenantID string
}

// Need is what an operation needs a caller to be allowed.
type Need struct {
	// Level is what the operation is about, as the srt field of an account SAS
	// writes it: 's', 'c' or 'o'. AnyLevel leaves that field out of account.
	Level    byte
	AnyLevel bool
	// SAS are the permissions of which a service or user delegation SAS needs
	// one; "" means that such a SAS cannot do the operation. Account is the same
	// for an account SAS.
	SAS, Account string
	// Create is added to both, where only something new is made.
	Create string
	// BearerOnly refuses account keys and SAS.
	BearerOnly bool
}

// Target is what a request is about, as its service knows it.
type Target interface {
	// SASResource is the canonical name that a service or user delegation SAS
	// signs for the target, or the refusal of a SAS that is not for it.
	SASResource(t *SAS) (string, error)
	// Policy returns the stored access policy of the target, nil if there is
	// none of that name or nothing that could have one.
	Policy(ctx context.Context, id string) (*AccessPolicy, error)
	// Allow decides by the roles of a principal.
	Allow(ctx context.Context, principal string) error
	// Anonymous decides about a request that nobody signed.
	Anonymous(ctx context.Context) error
}

// Delegate is what a Target with access control lists is besides.
type Delegate interface {
	// ActFor is called once a user delegation SAS has been allowed what its signer
	// may do. The signer vouches for authorized, to whom belongs what is made; of
	// unauthorized, only access control lists say what they may do. One of the two
	// is "".
	ActFor(ctx context.Context, authorized, unauthorized string) error
}

// Grant is by what a request was let pass.
type Grant struct {
	// SAS is set when it was one; Permissions are what it has.
	SAS         *SAS
	Permissions string
	// CreateOnly says that only something new may be made.
	CreateOnly bool
	// Key says that it was an account key.
	Key bool
}

// Authorize decides whether q may do what needs need. A nil need leaves what the
// SAS or principal is allowed to the caller.
func (a *Authorizer) Authorize(q *Request, need *Need, target Target) (*Grant, error) {
	header := q.HTTP.Header.Get("Authorization")
	scheme, credential, _ := strings.Cut(header, " ")
	tok, err := ParseSAS(q.Query)
	if err != nil {
		return nil, err
	}
	if tok != nil && (header == "" || tok.delegatedUser != "") {
		return a.sas(q, need, target, tok)
	}
	ctx := q.HTTP.Context()
	switch {
	case header == "":
		return &Grant{}, target.Anonymous(ctx)
	case strings.EqualFold(scheme, "Bearer"):
		if q.Version < bearerVersion {
			return nil, AuthFailed("Authentication scheme Bearer is not supported in this version.")
		}
		principal, err := a.Bearer(q)
		if err != nil {
			return nil, err
		}
		return &Grant{}, target.Allow(ctx, principal)
	case strings.EqualFold(scheme, "SharedKey"), strings.EqualFold(scheme, "SharedKeyLite"):
		if need != nil && need.BearerOnly {
			return nil, AuthFailed("Only authentication scheme Bearer is supported")
		}
		return &Grant{Key: true}, a.key(q, scheme, strings.TrimSpace(credential))
	}
	return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidAuthenticationInfo",
		Message: "Authentication information is not given in the correct format. Check the value of Authorization header."}
}

// Bearer returns the principal of the request's token.
func (a *Authorizer) Bearer(q *Request) (string, error) {
	principal, err := a.Access.Authorize(q.HTTP.Context(), q.HTTP)
	if errors.Is(err, ErrBadToken) {
		return "", Refuse("InvalidAuthenticationInfo").With("AuthenticationErrorDetail", err.Error())
	}
	return principal, err
}

// requestSkew is how far a signed request's date may be off.
const requestSkew = 15 * time.Minute

// checkDate refuses signed requests that are too old or too far ahead.
func (a *Authorizer) checkDate(value string) error {
	at, err := http.ParseTime(value)
	if err != nil {
		return AuthFailed("Date header in the request is incorrect.")
	}
	now, wall := a.Clock.Now(), a.Wall()
	for _, t := range []time.Time{now, wall} {
		if d := t.Sub(at); d <= requestSkew && d >= -requestSkew {
			return nil
		}
	}
	return AuthFailed("Request date header too old: '%s'", value)
}

// sas decides a request by its shared access signature.
func (a *Authorizer) sas(q *Request, need *Need, target Target, t *SAS) (*Grant, error) {
	if t.isDelegated() && t.isAccount() {
		return nil, AuthFailed("A SAS is for an account or of a user, not both")
	}
	if !t.isDelegated() && !q.Account.AllowSharedKey {
		return nil, Refuse("KeyBasedAuthenticationNotPermitted")
	}
	if need != nil && need.BearerOnly {
		return nil, AuthFailed("Only authentication scheme Bearer is supported")
	}
	if t.ses != "" {
		return nil, NotImplemented("a SAS with an encryption scope")
	}
	g := &Grant{}
	var err error
	switch {
	case t.isAccount():
		err = a.accountSAS(q, need, t, g)
	case t.isDelegated():
		err = a.delegatedSAS(q, need, target, t, g)
	default:
		err = a.serviceSAS(q, need, target, t, g)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSASProtocol(t.spr, q.HTTP.TLS != nil); err != nil {
		return nil, err
	}
	if err := checkSASIP(t.sip, ClientIP(q.HTTP)); err != nil {
		return nil, err
	}
	g.SAS = t
	return g, nil
}

func mismatch(text string) error {
	return AuthFailed("Signature did not match. String to sign used was %s", text)
}

// accountSAS verifies an account SAS. Signature and time come first, so that
// nothing is told to who cannot sign.
func (a *Authorizer) accountSAS(q *Request, need *Need, t *SAS, g *Grant) error {
	if t.sv < sasSigned2015 {
		return AuthFailed("sv must be %s or later for an account SAS", sasSigned2015)
	}
	text := t.AccountText(q.Account.Name)
	if !Signed(q.Account, text, t.sig) {
		return mismatch(text)
	}
	if err := CheckSASTimes(t.st, t.se, a.Clock.Now()); err != nil {
		return err
	}
	letter := q.Service[:1]
	if q.Service == "dfs" {
		letter = "b"
	}
	if !strings.Contains(t.ss, letter) {
		return Refuse("AuthorizationServiceMismatch")
	}
	if need == nil {
		return nil // the caller decides
	}
	if !strings.ContainsRune(t.srt, rune(need.Level)) && !need.AnyLevel {
		return Refuse("AuthorizationResourceTypeMismatch")
	}
	if need.Account == "" && need.Create == "" {
		return Refuse("AuthorizationFailure")
	}
	return g.permit(t.sp, need.Account, need.Create)
}

// permit decides by the permission letters of a SAS. With those of create alone
// the call may only make what is not there.
func (g *Grant) permit(have, any, create string) error {
	g.Permissions = have
	if strings.ContainsAny(have, any) {
		return nil
	}
	if create != "" && strings.ContainsAny(have, create) {
		g.CreateOnly = true
		return nil
	}
	return Refuse("AuthorizationPermissionMismatch")
}

// serviceSAS verifies a service SAS.
func (a *Authorizer) serviceSAS(q *Request, need *Need, target Target, t *SAS, g *Grant) error {
	resource, err := target.SASResource(t)
	if err != nil {
		return err
	}
	text := t.ServiceText(q.Service, resource)
	if !Signed(q.Account, text, t.sig) {
		return mismatch(text)
	}
	start, expiry, permissions := t.st, t.se, t.sp
	if t.si != "" {
		if start, expiry, permissions, err = storedPolicy(q.HTTP.Context(), target, t); err != nil {
			return err
		}
	}
	if err := CheckSASTimes(start, expiry, a.Clock.Now()); err != nil {
		return err
	}
	if need == nil {
		return nil
	}
	if need.SAS == "" {
		return Refuse("AuthorizationFailure")
	}
	return g.permit(permissions, need.SAS, need.Create)
}

// storedPolicy completes a SAS with the access policy it names. A field may be
// in one of the two only.
func storedPolicy(ctx context.Context, target Target, t *SAS) (start, expiry, permissions string, err error) {
	p, err := target.Policy(ctx, t.si)
	if err != nil {
		return "", "", "", err
	}
	if p == nil {
		return "", "", "", AuthFailed("The access policy of si was not found")
	}
	out := [3]string{}
	for i, f := range [3][2]string{{t.st, p.Start}, {t.se, p.Expiry}, {t.sp, p.Permissions}} {
		if f[0] != "" && f[1] != "" {
			return "", "", "", AuthFailed("Access policy fields can be associated with signature or SAS identifier but not both")
		}
		out[i] = f[0] + f[1]
	}
	return out[0], out[1], out[2], nil
}

// delegatedSAS verifies a user delegation SAS: its signature with the derived
// key, the times of both, and what its user may do now.
func (a *Authorizer) delegatedSAS(q *Request, need *Need, target Target, t *SAS, g *Grant) error {
	if t.sv < sasSigned2018 || t.sks != delegationService(q.Service) || t.skv == "" {
		return AuthFailed("The parameters of the user delegation key are not valid")
	}
	if t.si != "" {
		return AuthFailed("A user delegation SAS cannot name a stored access policy")
	}
	resource, err := target.SASResource(t)
	if err != nil {
		return err
	}
	srh, srq := "", ""
	if t.sv >= sasDynamic {
		srh, srq = signedExtras(q, t)
	} else if t.srh != "" || t.srq != "" {
		return AuthFailed("srh and srq are for version %s and later", sasDynamic)
	}
	key, err := a.verifyingKey(q, t)
	if err != nil {
		return err
	}
	text := t.DelegatedText(resource, srh, srq)
	given, err := base64.StdEncoding.DecodeString(t.sig)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	if err != nil || !hmac.Equal(m.Sum(nil), given) {
		return mismatch(text)
	}
	now := a.Clock.Now()
	if err := CheckSASTimes(t.st, t.se, now); err != nil {
		return err
	}
	if err := CheckSASTimes(t.skt, t.ske, now); err != nil {
		return err
	}
	if t.delegatedUser != "" {
		if t.sv < sasDelegated {
			return AuthFailed("sduoid is for version %s and later", sasDelegated)
		}
		principal, err := a.Bearer(q)
		if err != nil {
			return err
		}
		if !strings.EqualFold(principal, t.delegatedUser) {
			return AuthFailed("The bearer token is not of the user that sduoid names")
		}
	}
	if need == nil {
		return nil
	}
	if need.SAS == "" {
		return Refuse("AuthorizationFailure")
	}
	if err := g.permit(t.sp, need.SAS, need.Create); err != nil {
		return err
	}
	if err := target.Allow(q.HTTP.Context(), t.skoid); err != nil {
		return err
	}
	if t.saoid == "" && t.suoid == "" {
		return nil
	}
	d, ok := target.(Delegate)
	if !ok || !q.Account.HNS || t.saoid != "" && t.suoid != "" {
		return AuthFailed("saoid or suoid can be given for accounts with a hierarchical namespace")
	}
	return d.ActFor(q.HTTP.Context(), t.saoid, t.suoid)
}

// signedExtras are the headers and query parameters that srh and srq name, as
// they are on this request and as clients sign them.
func signedExtras(q *Request, t *SAS) (headers, params string) {
	if t.srh != "" {
		for name := range strings.SplitSeq(t.srh, ",") {
			headers += name + ":" + q.HTTP.Header.Get(name) + "\n"
		}
	}
	if t.srq != "" {
		for name := range strings.SplitSeq(t.srq, ",") {
			params += "\n" + name + ":" + q.Query.Get(name)
		}
	}
	return headers, params
}
