package blob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// authorizeSAS decides a call by its shared access signature.
func (s *Service) authorizeSAS(c *call, t *sasToken) error {
	if t.isDelegated() && t.isAccount() {
		return authFailed("A SAS is for an account or of a user, not both")
	}
	if !t.isDelegated() && !c.acct.AllowSharedKey {
		return refuse("KeyBasedAuthenticationNotPermitted")
	}
	if c.op != nil && c.op.bearerOnly {
		return authFailed("Only authentication scheme Bearer is supported")
	}
	if t.ses != "" {
		return notImplemented("a SAS with an encryption scope")
	}
	var err error
	switch {
	case t.isAccount():
		err = s.accountSAS(c, t)
	case c.service != "blob" && c.service != "dfs":
		return notImplemented("a service SAS of the " + c.service + " service")
	case t.isDelegated():
		err = s.delegatedSAS(c, t)
	default:
		err = s.serviceSAS(c, t)
	}
	if err != nil {
		return err
	}
	if err := checkSASProtocol(t.spr, c.r.TLS != nil); err != nil {
		return err
	}
	if err := checkSASIP(t.sip, clientIP(c.r)); err != nil {
		return err
	}
	c.sas = t
	return nil
}

func mismatch(text string) error {
	return authFailed("Signature did not match. String to sign used was %s", text)
}

// accountSAS verifies an account SAS. Signature and time come first, so that
// nothing is told to who cannot sign.
func (s *Service) accountSAS(c *call, t *sasToken) error {
	if t.sv < sasSigned2015 {
		return authFailed("sv must be %s or later for an account SAS", sasSigned2015)
	}
	text := t.accountText(c.acct.Name)
	if !signed(c.acct, text, t.sig) {
		return mismatch(text)
	}
	if err := checkSASTimes(t.st, t.se, s.cfg.Clock.Now()); err != nil {
		return err
	}
	letter := c.service[:1]
	if c.service == "dfs" {
		letter = "b"
	}
	if !strings.Contains(t.ss, letter) {
		return refuse("AuthorizationServiceMismatch")
	}
	if c.op == nil {
		return nil // the caller decides
	}
	if !strings.ContainsRune(t.srt, rune(c.op.level)) && c.op.name != "Get Account Information" {
		return refuse("AuthorizationResourceTypeMismatch")
	}
	if c.op.account == "" && c.op.create == "" {
		return refuse("AuthorizationFailure")
	}
	return c.permit(t.sp, c.op.account, c.op.create)
}

// permit decides by the permission letters of a SAS. With those of create alone
// the call may only make what is not there.
func (c *call) permit(have, any, create string) error {
	c.granted = have
	if strings.ContainsAny(have, any) {
		return nil
	}
	if create != "" && strings.ContainsAny(have, create) {
		c.addOnly = true
		return nil
	}
	return refuse("AuthorizationPermissionMismatch")
}

// scope is checked of service and user delegation SAS alike.
func (c *call) sasResource(t *sasToken) (string, error) {
	if t.sr == "d" && (!c.acct.HNS || t.sv < sasSigned2020) {
		return "", authFailed("sr=d is for accounts with a hierarchical namespace, from version %s", sasSigned2020)
	}
	resource, ok := t.resource(c.acct.Name, c.container, c.blob)
	if !ok {
		if t.sr == "" || !strings.Contains(" c b bs bv d ", " "+t.sr+" ") {
			return "", authFailed("sr is mandatory. Cannot be empty")
		}
		return "", refuse("AuthorizationFailure")
	}
	return resource, nil
}

// serviceSAS verifies a service SAS.
func (s *Service) serviceSAS(c *call, t *sasToken) error {
	resource, err := c.sasResource(t)
	if err != nil {
		return err
	}
	text := t.serviceText(resource)
	if !signed(c.acct, text, t.sig) {
		return mismatch(text)
	}
	start, expiry, permissions := t.st, t.se, t.sp
	if t.si != "" {
		if start, expiry, permissions, err = s.storedPolicy(c, t); err != nil {
			return err
		}
	}
	if err := checkSASTimes(start, expiry, s.cfg.Clock.Now()); err != nil {
		return err
	}
	if c.op == nil {
		return nil
	}
	if c.op.sas == "" {
		return refuse("AuthorizationFailure")
	}
	return c.permit(permissions, c.op.sas, c.op.create)
}

// storedPolicy completes a SAS with the access policy it names. A field may be
// in one of the two only.
func (s *Service) storedPolicy(c *call, t *sasToken) (start, expiry, permissions string, err error) {
	rec, err := s.eng.container(c.r.Context(), c.acct.UID, c.container)
	if HasCode(err, "ContainerNotFound") {
		return "", "", "", authFailed("Access policy fields can be associated with signature or SAS identifier; the container of si does not exist")
	}
	if err != nil {
		return "", "", "", err
	}
	for _, p := range rec.Policies {
		if p.ID != t.si {
			continue
		}
		out := [3]string{}
		for i, f := range [3][2]string{{t.st, p.Start}, {t.se, p.Expiry}, {t.sp, p.Permissions}} {
			if f[0] != "" && f[1] != "" {
				return "", "", "", authFailed("Access policy fields can be associated with signature or SAS identifier but not both")
			}
			out[i] = f[0] + f[1]
		}
		return out[0], out[1], out[2], nil
	}
	return "", "", "", authFailed("The access policy of si was not found")
}

// maxDelegation is how long a user delegation key can last.
const maxDelegation = 7 * 24 * time.Hour

// delegatedSAS verifies a user delegation SAS: its signature with the derived
// key, the times of both, and what its user may do now.
func (s *Service) delegatedSAS(c *call, t *sasToken) error {
	if t.sv < sasSigned2018 || t.sks != "b" || t.skv == "" {
		return authFailed("The parameters of the user delegation key are not valid")
	}
	if t.si != "" {
		return authFailed("A user delegation SAS cannot name a stored access policy")
	}
	resource, err := c.sasResource(t)
	if err != nil {
		return err
	}
	srh, srq := "", ""
	if t.sv >= sasDynamic {
		srh, srq = c.signedExtras(t)
	} else if t.srh != "" || t.srq != "" {
		return authFailed("srh and srq are for version %s and later", sasDynamic)
	}
	secret, err := s.eng.secret(c.r.Context(), c.acct.UID)
	if err != nil {
		return err
	}
	key := delegationKey(secret, t.skoid, t.sktid, t.skt, t.ske, t.sks, t.skv, t.delegatedTenant)
	text := t.delegatedText(resource, srh, srq)
	given, err := base64.StdEncoding.DecodeString(t.sig)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	if err != nil || !hmac.Equal(m.Sum(nil), given) {
		return mismatch(text)
	}
	now := s.cfg.Clock.Now()
	if err := checkSASTimes(t.st, t.se, now); err != nil {
		return err
	}
	if err := checkSASTimes(t.skt, t.ske, now); err != nil {
		return err
	}
	if t.suoid != "" {
		return notImplemented("a user delegation SAS with suoid")
	}
	if t.delegatedUser != "" {
		if t.sv < sasDelegated {
			return authFailed("sduoid is for version %s and later", sasDelegated)
		}
		principal, err := s.bearer(c)
		if err != nil {
			return err
		}
		if !strings.EqualFold(principal, t.delegatedUser) {
			return authFailed("The bearer token is not of the user that sduoid names")
		}
	}
	if c.op == nil {
		return nil
	}
	if c.op.sas == "" {
		return refuse("AuthorizationFailure")
	}
	if err := c.permit(t.sp, c.op.sas, c.op.create); err != nil {
		return err
	}
	return s.allow(c, t.skoid)
}

// signedExtras are the headers and query parameters that srh and srq name, as
// they are on this request and as clients sign them.
func (c *call) signedExtras(t *sasToken) (headers, params string) {
	if t.srh != "" {
		for name := range strings.SplitSeq(t.srh, ",") {
			headers += name + ":" + c.r.Header.Get(name) + "\n"
		}
	}
	if t.srq != "" {
		for name := range strings.SplitSeq(t.srq, ",") {
			params += "\n" + name + ":" + c.q.Get(name)
		}
	}
	return headers, params
}

// delegationKey derives the key that Get User Delegation Key hands out. Nothing
// of it is stored: its parameters come back in each SAS.
func delegationKey(secret []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s\n", len(p), p)
	}
	return m.Sum(nil)
}
