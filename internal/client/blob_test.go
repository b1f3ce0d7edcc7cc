package client

import (
	"net/url"
	"testing"
)

func TestWithPath(t *testing.T) {
	for _, blob := range []string{"a/b.txt", "we ird#?%41.txt", "%2e%2e/x", "a//b", "../up", "a+b&c=d;e", "näme/日本"} {
		target, err := WithPath("https://acct.blob.core.windows.net/box?sig=a%2Bb%3D", blob)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(target)
		if err != nil || u.Path != "/box/"+blob || u.Query().Get("sig") != "a+b=" || u.Fragment != "" {
			t.Errorf("%q became %s (%v)", blob, target, err)
		}
	}
}
