package blob

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sasToken is a shared access signature as it came in a query string. Fields
// have the names of their parameters where those are not plain.
type sasToken struct {
	sv, ss, srt, sr, sp, st, se, spr, sip, si, sig, ses, sdd string
	rscc, rscd, rsce, rscl, rsct                             string

	// User delegation.
	skoid, sktid, skt, ske, sks, skv string
	saoid, suoid, scid               string
	delegatedTenant, delegatedUser   string // skdutid, sduoid
	srh, srq                         string

	// time is the snapshot or versionid parameter, which sr=bs and sr=bv sign.
	time string
}

// parseSAS returns the SAS of a query, or nil when there is none. A parameter
// that is given twice is refused: which of the two was signed is unclear.
func parseSAS(q url.Values) (*sasToken, error) {
	if !q.Has("sig") {
		return nil, nil
	}
	t := &sasToken{}
	for name, p := range map[string]*string{
		"sv": &t.sv, "ss": &t.ss, "srt": &t.srt, "sr": &t.sr, "sp": &t.sp, "st": &t.st, "se": &t.se,
		"spr": &t.spr, "sip": &t.sip, "si": &t.si, "sig": &t.sig, "ses": &t.ses, "sdd": &t.sdd,
		"rscc": &t.rscc, "rscd": &t.rscd, "rsce": &t.rsce, "rscl": &t.rscl, "rsct": &t.rsct,
		"skoid": &t.skoid, "sktid": &t.sktid, "skt": &t.skt, "ske": &t.ske, "sks": &t.sks, "skv": &t.skv,
		"saoid": &t.saoid, "suoid": &t.suoid, "scid": &t.scid,
		"skdutid": &t.delegatedTenant, "sduoid": &t.delegatedUser, "srh": &t.srh, "srq": &t.srq,
	} {
		vs := q[name]
		if len(vs) > 1 {
			return nil, authFailed("%s is given more than once", name)
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
	if !isVersion(t.sv) || t.sv < "2012-02-12" {
		return nil, authFailed("sv is mandatory and must be a service version. Found '%s'", t.sv)
	}
	return t, nil
}

// isAccount reports whether this is an account SAS.
func (t *sasToken) isAccount() bool { return t.ss != "" || t.srt != "" }

// isDelegated reports whether this is a user delegation SAS.
func (t *sasToken) isDelegated() bool { return t.skoid != "" }

// The service versions that changed what a SAS signs.
const (
	sasSigned2015 = "2015-04-05" // sip and spr; account SAS
	sasSigned2018 = "2018-11-09" // sr and the snapshot time; user delegation
	sasSigned2020 = "2020-02-10" // saoid, suoid, scid; sr=d
	sasScopes     = "2020-12-06" // ses
	sasDelegated  = "2025-07-05" // skdutid, sduoid
	sasDynamic    = "2026-04-06" // srh, srq
)

// accountText is what an account SAS signs.
func (t *sasToken) accountText(account string) string {
	lines := []string{account, t.sp, t.ss, t.srt, t.st, t.se, t.sip, t.spr, t.sv}
	if t.sv >= sasScopes {
		lines = append(lines, t.ses)
	}
	return strings.Join(lines, "\n") + "\n"
}

// serviceText is what a service SAS signs for the canonical resource.
func (t *sasToken) serviceText(resource string) string {
	lines := []string{t.sp, t.st, t.se, resource, t.si}
	if t.sv >= sasSigned2015 {
		lines = append(lines, t.sip, t.spr)
	}
	lines = append(lines, t.sv)
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

// delegatedText is what a user delegation SAS signs. srh and srq stand for the
// headers and parameters of the request that they name.
func (t *sasToken) delegatedText(resource, srh, srq string) string {
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

// resource is the canonical name that the SAS signs for a request to a container
// and blob. It is false when the SAS is not for such a request.
func (t *sasToken) resource(account, container, blob string) (string, bool) {
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

// parseSASTime reads a time in one of the forms that Microsoft allows.
func parseSASTime(v string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04Z", time.DateOnly} {
		if t, err := time.Parse(form, v); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// checkTimes refuses a SAS outside its time, at now.
func checkSASTimes(start, expiry string, now time.Time) error {
	end, ok := parseSASTime(expiry)
	if !ok {
		return authFailed("Signed expiry time is missing or not a time: '%s'", expiry)
	}
	begin := time.Time{}
	if start != "" {
		if begin, ok = parseSASTime(start); !ok {
			return authFailed("Signed start time is not a time: '%s'", start)
		}
	}
	if now.Before(begin) || !now.Before(end) {
		const form = "Mon, 02 Jan 2006 15:04:05 GMT"
		from := ""
		if start != "" {
			from = "Start [" + begin.Format(form) + "] - "
		}
		return authFailed("Signature not valid in the specified time frame: %sExpiry [%s] - Current [%s]", from, end.Format(form), now.Format(form))
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
		return authFailed("sip is not an address or a range: '%s'", sip)
	}
	b := a
	if isRange {
		if b, err = netip.ParseAddr(last); err != nil {
			return authFailed("sip is not an address or a range: '%s'", sip)
		}
	}
	if ip.Compare(a.Unmap()) < 0 || ip.Compare(b.Unmap()) > 0 {
		return refuse("AuthorizationSourceIPMismatch").With("SourceIP", ip.String())
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
		return refuse("AuthorizationProtocolMismatch")
	}
	return authFailed("spr is not valid: '%s'", spr)
}
