package storage

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func FuzzSharedKey(f *testing.F) {
	f.Add("blob", "SharedKey acct:sig", "/c/b?comp=x&a=1&a=2", "x-ms-meta-a", "v")
	f.Add("table", "SharedKeyLite acct:", "/%2f//?a", "x-ms-", "\x80")
	f.Fuzz(func(t *testing.T, service, credential, target, header, value string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		q, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			return
		}
		r := &http.Request{Method: "GET", URL: u, Header: http.Header{header: {value, value}, "Authorization": {credential}}}
		c := &Request{HTTP: r, Query: q, Account: &Account{Name: "acct", Keys: [2][]byte{[]byte("k"), nil}}, Service: service}
		text := StringToSign(c, false, CompareCultural)
		if !signedOK(c.Account, text) {
			t.Error("a text signed here is not accepted")
		}
		if Signed(c.Account, text+"x", Sign([]byte("k"), text)) || Signed(c.Account, text, credential) {
			t.Error("a wrong signature is accepted")
		}
	})
}

func signedOK(a *Account, text string) bool { return Signed(a, text, Sign(a.Keys[0], text)) }

func FuzzSAS(f *testing.F) {
	f.Add("sv=2022-11-02&sr=c&sp=r&se=2030-01-01&sig=AAAA&sip=1.2.3.4-5&sdd=1", "c", "a/b")
	f.Add("sv=2026-04-06&sr=d&sdd=-1&sig=&skoid=x&sks=b&skv=y&skt=1&ske=2&srh=a,b&srq=,", "", "")
	a := &Account{Name: "acct", Keys: [2][]byte{[]byte("k1"), []byte("k2")}}
	f.Fuzz(func(t *testing.T, query, container, name string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		tok, err := ParseSAS(q)
		if err != nil || tok == nil {
			return
		}
		res, _ := tok.BlobResource("acct", container, name)
		for _, text := range []string{tok.ServiceText("blob", res), tok.ServiceText("table", res), tok.AccountText("acct"), tok.DelegatedText(res, "", "")} {
			if Signed(a, text, tok.sig) {
				t.Errorf("the signature %q is accepted", tok.sig)
			}
		}
		_ = CheckSASTimes(tok.st, tok.se, time.Unix(0, 0))
		_ = checkSASIP(tok.sip, ClientIP(&http.Request{RemoteAddr: "127.0.0.1:1"}))
	})
}
