package entra

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

func FuzzParseToken(f *testing.F) {
	var k keyring
	if err := k.load(f.TempDir()); err != nil {
		f.Fatal(err)
	}
	good, err := k.sign(&claims{Audience: "a", ObjectID: "o"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, good + "x", "", "..", "a.b.c", strings.ToUpper(good), good + ".", "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := k.parse(token)
		if err == nil && token != good {
			t.Errorf("%q was taken for %+v", token, c)
		}
		if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errSignature) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{"appId eq 'x'", "servicePrincipalNames/any(c:c eq 'it''s')", "appId eq ''", "appId eq 'a' or appId eq 'b'",
		"servicePrincipalNames/any(c:d eq 'x')", "startswith(displayName,'a') and accountEnabled eq true"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		cond, ok := parseFilter(filter)
		if !ok {
			return
		}
		var again []string
		for _, c := range cond {
			value := "'" + strings.ReplaceAll(c.value, "'", "''") + "'"
			if c.prefix {
				again = append(again, "startswith("+c.property+","+value+")")
			} else {
				again = append(again, c.property+" eq "+value)
			}
		}
		if got, ok := parseFilter(strings.Join(again, " and ")); !ok || !slices.Equal(got, cond) {
			t.Errorf("%q: %v, then %v, %v", filter, cond, got, ok)
		}
	})
}

func TestParseFilter(t *testing.T) {
	for filter, want := range map[string]condition{
		"":                                      {},
		"appId eq 'x'":                          {{"appId", false, "x"}},
		" appId eq 'it''s' ":                    {{"appId", false, "it's"}},
		"appId eq ''":                           {{"appId", false, ""}},
		"servicePrincipalNames/any(c:c eq 'x')": {{"servicePrincipalNames", false, "x"}},
		"servicePrincipalNames/any(s: s eq 'a:b')":                     {{"servicePrincipalNames", false, "a:b"}},
		"startswith(displayName,'a b') and mailNickname eq 'b'":        {{"displayName", true, "a b"}, {"mailNickname", false, "b"}},
		"accountEnabled eq true and startswith(displayName, 'and b,')": {{"accountEnabled", false, "true"}, {"displayName", true, "and b,"}},
	} {
		if got, ok := parseFilter(filter); !ok || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", filter, got, ok, want)
		}
	}
	for _, bad := range []string{
		"appId eq 'a' or appId eq 'b'", "servicePrincipalNames/any(c:d eq 'x')", "appId ne 'x'", "appId eq 'a", "appId eq 'a' and", "and",
		"servicePrincipalNames/any(c:c eq 'x') or ''", "startswith(displayName,'a'", "startswith(,'a')", "endswith(displayName,'a')", "appId eq 'a'b", "a/b eq 'c'",
	} {
		if got, ok := parseFilter(bad); ok {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// A token of another tenant, though signed with our key, is not ours.
func TestClaims(t *testing.T) {
	d := &Directory{cfg: Config{TenantID: DefaultTenantID, Clock: clock.NewManual(time.Unix(1000, 0))}}
	good := claims{Audience: "a", Issuer: d.issuerV1(), TenantID: DefaultTenantID, Version: "1.0", NotBefore: 900, Expires: 2000}
	for name, c := range map[string]struct {
		change func(*claims)
		want   Reason
	}{
		"good":             {func(*claims) {}, 0},
		"version 2":        {func(c *claims) { c.Version, c.Issuer = "2.0", d.issuerV2() }, 0},
		"mixed versions":   {func(c *claims) { c.Version = "2.0" }, ReasonIssuer},
		"another issuer":   {func(c *claims) { c.Issuer = "https://evil.example/" }, ReasonIssuer},
		"another tenant":   {func(c *claims) { c.TenantID = "t" }, ReasonIssuer},
		"another audience": {func(c *claims) { c.Audience = "ab" }, ReasonAudience},
		"no audience":      {func(c *claims) { c.Audience = "" }, ReasonAudience},
		"from the future":  {func(c *claims) { c.NotBefore = 1100 }, ReasonTime},
		"a little ahead":   {func(c *claims) { c.NotBefore = 1030 }, 0},
		"expired":          {func(c *claims) { c.Expires = 900 }, ReasonTime},
		"never expires":    {func(c *claims) { c.Expires = 0 }, ReasonTime},
	} {
		token := good
		c.change(&token)
		err := d.checkClaims(&token, []string{"a/", ""})
		var refusal *AuthError
		errors.As(err, &refusal)
		if c.want == 0 && err != nil || c.want != 0 && (refusal == nil || refusal.Reason != c.want) {
			t.Errorf("%s: %v, want reason %d", name, err, c.want)
		}
	}
}
