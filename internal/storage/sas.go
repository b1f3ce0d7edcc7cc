package storage

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SAS is a shared access signature as it came in a query string. Fields
// have the names of their parameters where those are not plain.
type SAS struct {
	sv, ss, srt, sr, sp, st, se, spr, sip, si, sig, ses, sdd string
	rscc, rscd, rsce, rscl, rsct                             string

	// User delegation.
	skoid, sktid, skt, ske, sks, skv string
	saoid, suoid, scid               string
	delegatedTenant, delegatedUser   string // skdutid, sduoid
	srh, srq                         string

	// The table and the range of its keys, of the Table service.
	tn, spk, srk, epk, erk string

	// time is the snapshot or versionid parameter, which sr=bs and sr=bv sign.
	time string
}

// ParseSAS returns the SAS of a query, or nil when there is none. A parameter
// that is given twice is refused: which of the two was signed is unclear.
func ParseSAS(q url.Values) (*SAS, error) {
	if !q.Has("sig") {
		return nil, nil
	}
	t := &SAS{}
	for name, p := range map[string]*string{
		"sv": &t.sv, "ss": &t.ss, "srt": &t.srt, "sr": &t.sr, "sp": &t.sp, "st": &t.st, "se": &t.se,
		"spr": &t.spr, "sip": &t.sip, "si": &t.si, "sig": &t.sig, "ses": &t.ses, "sdd": &t.sdd,
		"rscc": &t.rscc, "rscd": &t.rscd, "rsce": &t.rsce, "rscl": &t.rscl, "rsct": &t.rsct,
		"skoid": &t.skoid, "sktid": &t.sktid, "skt": &t.skt, "ske": &t.ske, "sks": &t.sks, "skv": &t.skv,
		"saoid": &t.saoid, "suoid": &t.suoid, "scid": &t.scid,
		"tn": &t.tn, "spk": &t.spk, "srk": &t.srk, "epk": &t.epk, "erk": &t.erk,
		"skdutid": &t.delegatedTenant, "sduoid": &t.delegatedUser, "srh": &t.srh, "srq": &t.srq,
	} {
		vs := q[name]
		if len(vs) > 1 {
			return nil, AuthFailed("%s is given more than once", name)
		}
		if len(vs) == 1 {
			*p = vs[0]
		}
	}
	switch t.sr {
	case "bs":
		t.time = q.Get("snapshot")
	case "bv":
		t.time = q.Get("versionid")
	}
	if !IsVersion(t.sv) || t.sv < "2012-02-12" {
		return nil, AuthFailed("sv is mandatory and must be a service version. Found '%s'", t.sv)
	}
	return t, nil
}

// isAccount reports whether this is an account SAS.
func (t *SAS) isAccount() bool { return t.ss != "" || t.srt != "" }

// isDelegated reports whether this is a user delegation SAS.
func (t *SAS) isDelegated() bool { return t.skoid != "" }

// The service versions that changed what a SAS signs.
const (
	sasSigned2015 = "2015-04-05" // sip and spr; account SAS
	sasSigned2018 = "2018-11-09" // sr and the snapshot time; user delegation
	sasSigned2020 = "2020-02-10" // saoid, suoid, scid; sr=d
	sasScopes     = "2020-12-06" // ses
	sasDelegated  = "2025-07-05" // skdutid, sduoid
	sasDynamic    = "2026-04-06" // srh, srq
)

// AccountText is what an account SAS signs.
func (t *SAS) AccountText(account string) string {
	lines := []string{account, t.sp, t.ss, t.srt, t.st, t.se, t.sip, t.spr, t.sv}
	if t.sv >= sasScopes {
		lines = append(lines, t.ses)
	}
	return strings.Join(lines, "\n") + "\n"
}

// ServiceText is what a SAS of a service signs for the canonical resource.
func (t *SAS) ServiceText(service, resource string) string {
	lines := []string{t.sp, t.st, t.se, resource, t.si}
	if t.sv >= sasSigned2015 {
		lines = append(lines, t.sip, t.spr)
	}
	lines = append(lines, t.sv)
	switch service {
	case "queue":
		return strings.Join(lines, "\n")
	case "table":
		return strings.Join(append(lines, t.spk, t.srk, t.epk, t.erk), "\n")
	case "file":
		return strings.Join(append(lines, t.rscc, t.rscd, t.rsce, t.rscl, t.rsct), "\n")
	}
	if t.sv >= sasSigned2018 {
		lines = append(lines, t.sr, t.time)
	}
	if t.sv >= sasScopes {
		lines = append(lines, t.ses)
	}
	if t.sv >= "2013-08-15" {
		lines = append(lines, t.rscc, t.rscd, t.rsce, t.rscl, t.rsct)
	}
	return strings.Join(lines, "\n")
}

// DelegatedText is what a user delegation SAS signs. srh and srq stand for the
// headers and parameters of the request that they name.
func (t *SAS) DelegatedText(resource, srh, srq string) string {
	lines := []string{t.sp, t.st, t.se, resource, t.skoid, t.sktid, t.skt, t.ske, t.sks, t.skv}
	if t.sv >= sasSigned2020 {
		lines = append(lines, t.saoid, t.suoid, t.scid)
	}
	if t.sv >= sasDelegated {
		lines = append(lines, t.delegatedTenant, t.delegatedUser)
	}
	lines = append(lines, t.sip, t.spr, t.sv, t.sr, t.time)
	if t.sv >= sasScopes {
		lines = append(lines, t.ses)
	}
	if t.sv >= sasDynamic {
		lines = append(lines, srh, srq)
	}
	lines = append(lines, t.rscc, t.rscd, t.rsce, t.rscl, t.rsct)
	return strings.Join(lines, "\n")
}

// BlobResource is the canonical name that the SAS signs for a request to a container
// and blob. It is false when the SAS is not for such a request.
func (t *SAS) BlobResource(account, container, blob string) (string, bool) {
	name := "/" + account + "/" + container
	if t.sv >= "2015-02-21" {
		name = "/blob" + name
	}
	switch t.sr {
	case "c":
		return name, container != ""
	case "b", "bs", "bv":
		return name + "/" + blob, blob != ""
	case "d":
		depth, err := strconv.Atoi(t.sdd)
		if err != nil || depth < 0 || blob == "" {
			return "", false
		}
		parts := strings.Split(blob, "/")
		if depth > len(parts) {
			return "", false
		}
		if depth == 0 {
			return name + "/", true
		}
		return name + "/" + strings.Join(parts[:depth], "/"), true
	}
	return "", false
}

// ParseSASTime reads a time in one of the forms that Microsoft allows.
func ParseSASTime(v string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04Z", time.DateOnly} {
		if t, err := time.Parse(form, v); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// CheckSASTimes refuses a SAS outside its time, at now.
func CheckSASTimes(start, expiry string, now time.Time) error {
	end, ok := ParseSASTime(expiry)
	if !ok {
		return AuthFailed("Signed expiry time is missing or not a time: '%s'", expiry)
	}
	begin := time.Time{}
	if start != "" {
		if begin, ok = ParseSASTime(start); !ok {
			return AuthFailed("Signed start time is not a time: '%s'", start)
		}
	}
	if now.Before(begin) || !now.Before(end) {
		const form = "Mon, 02 Jan 2006 15:04:05 GMT"
		from := ""
		if start != "" {
			from = "Start [" + begin.Format(form) + "] - "
		}
		return AuthFailed("Signature not valid in the specified time frame: %sExpiry [%s] - Current [%s]", from, end.Format(form), now.Format(form))
	}
	return nil
}

// checkSASIP refuses a SAS that is not for the address.
func checkSASIP(sip string, ip netip.Addr) error {
	if sip == "" {
		return nil
	}
	first, last, isRange := strings.Cut(sip, "-")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return AuthFailed("sip is not an address or a range: '%s'", sip)
	}
	b := a
	if isRange {
		if b, err = netip.ParseAddr(last); err != nil {
			return AuthFailed("sip is not an address or a range: '%s'", sip)
		}
	}
	if ip.Compare(a.Unmap()) < 0 || ip.Compare(b.Unmap()) > 0 {
		return Refuse("AuthorizationSourceIPMismatch").With("SourceIP", ip.String())
	}
	return nil
}

// checkSASProtocol refuses a SAS that is not for the connection's protocol.
func checkSASProtocol(spr string, isTLS bool) error {
	switch spr {
	case "", "https,http", "http,https":
		return nil
	case "https":
		if isTLS {
			return nil
		}
		return Refuse("AuthorizationProtocolMismatch")
	}
	return AuthFailed("spr is not valid: '%s'", spr)
}

// Permissions are the letters of the SAS itself.
func (t *SAS) Permissions() string { return t.sp }

// ResourceType is the sr field.
func (t *SAS) ResourceType() string { return t.sr }

// Version is the service version that the SAS was made for.
func (t *SAS) Version() string { return t.sv }

// ResponseHeaders are the headers that the SAS sets on what is read with it.
func (t *SAS) ResponseHeaders() map[string]string {
	out := map[string]string{}
	for k, v := range map[string]string{"Content-Type": t.rsct, "Content-Encoding": t.rsce, "Content-Language": t.rscl,
		"Content-Disposition": t.rscd, "Cache-Control": t.rscc} {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// BlobSASResource is the canonical name that a SAS signs for a blob, or for a
// container when blob is empty. A SAS that is not for it is refused.
func BlobSASResource(t *SAS, a *Account, container, blob string) (string, error) {
	if t.sr == "d" && (!a.HNS || t.sv < sasSigned2020) {
		return "", AuthFailed("sr=d is for accounts with a hierarchical namespace, from version %s", sasSigned2020)
	}
	resource, ok := t.BlobResource(a.Name, container, blob)
	if !ok {
		if t.sr == "" || !strings.Contains(" c b bs bv d ", " "+t.sr+" ") {
			return "", AuthFailed("sr is mandatory. Cannot be empty")
		}
		return "", Refuse("AuthorizationFailure")
	}
	return resource, nil
}

// Table returns the fields of a SAS of the Table service: the table, and the
// first and last keys of the range of entities that it is for.
func (t *SAS) Table() (name, startPartition, startRow, endPartition, endRow string) {
	return t.tn, t.spk, t.srk, t.epk, t.erk
}
