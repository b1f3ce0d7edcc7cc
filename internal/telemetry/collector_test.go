package telemetry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func (e *env) collect(key, name, body string, change func(header map[string]string)) answer {
	e.t.Helper()
	date := e.clock.Now().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "POST\n%d\napplication/json\nx-ms-date:%s\n/api/logs", len(body), date)
	header := map[string]string{"Content-Type": "application/json", "Log-Type": name, "X-Ms-Date": date,
		"Authorization": "SharedKey " + wsID + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	path := "/api/logs?api-version=2016-04-01"
	if change != nil {
		change(header)
	}
	if p, ok := header["path"]; ok {
		path = p
		delete(header, "path")
	}
	var list []string
	for k, v := range header {
		list = append(list, k, v)
	}
	return e.do("POST", wsID+".ods.opinsights.azure.com", path, []byte(body), list...)
}

func TestDataCollector(t *testing.T) {
	e := newEnv(t)
	e.fake.may["reader "+actionQueryTable+"Mine_CL/read"] = true
	one := `{"text":"x","number":1.5,"whole":3,"flag":true,"id":"7d3b1c2e-8f1a-4c5e-9d0b-1a2b3c4d5e6f","when":"2026-11-23T10:00:00Z","nested":{"a":[1]},"none":null}`
	for _, key := range []string{"first key", "second key"} {
		if a := e.collect(key, "Mine", "["+one+","+one+"]", func(h map[string]string) { h["Time-Generated-Field"] = "when" }); a.status != 200 || a.text != "" {
			t.Fatal(a)
		}
	}
	if a := e.collect("first key", "Mine", one, nil); a.status != 200 {
		t.Fatal(a)
	}
	rows := e.workspaceRows("Mine_CL")
	if len(rows) != 5 || rows[0]["text_s"] != "x" || rows[0]["number_d"] != "1.5" || rows[0]["whole_d"] != "3" || rows[0]["id_g"] == "" || rows[0]["nested_s"] != `{"a":[1]}` ||
		!strings.HasPrefix(rows[0]["TimeGenerated"], "2026-11-23T10:00:00") || !strings.HasPrefix(rows[4]["TimeGenerated"], "2026-11-23T12:00:00") || rows[0]["Type"] != "Mine_CL" {
		t.Errorf("%v", rows)
	}
	a := e.post("api.loganalytics.io", "/v1/workspaces/"+wsID+"/query", "Mine_CL | where flag_b and whole_d > 2 | summarize count() by text_s", asWho("reader", "https://api.loganalytics.io")...)
	if a.status != 200 || !strings.Contains(a.text, `[["x",5]]`) {
		t.Error(a)
	}
	for name, c := range map[string]struct {
		key, logType, body string
		change             func(map[string]string)
		status             int
		code               string
	}{
		"wrong key":  {"third key", "Mine", one, nil, 403, "InvalidAuthorization"},
		"no key":     {"first key", "Mine", one, func(h map[string]string) { delete(h, "Authorization") }, 403, "InvalidAuthorization"},
		"old date":   {"first key", "Mine", one, func(h map[string]string) { h["X-Ms-Date"] = start.Add(-time.Hour).Format(http.TimeFormat) }, 403, "InvalidAuthorization"},
		"no name":    {"first key", "", one, nil, 400, "MissingLogType"},
		"bad name":   {"first key", "a/b", one, nil, 400, "InvalidLogType"},
		"bad body":   {"first key", "Mine", "[1]", nil, 400, "InvalidDataFormat"},
		"no JSON":    {"first key", "Mine", "hello", nil, 400, "InvalidDataFormat"},
		"type":       {"first key", "Mine", one, func(h map[string]string) { h["Content-Type"] = "text/plain" }, 400, "UnsupportedContentType"},
		"no version": {"first key", "Mine", one, func(h map[string]string) { h["path"] = "/api/logs" }, 400, "MissingApiVersion"},
		"version":    {"first key", "Mine", one, func(h map[string]string) { h["path"] = "/api/logs?api-version=1" }, 400, "InvalidApiVersion"},
		"path":       {"first key", "Mine", one, func(h map[string]string) { h["path"] = "/other" }, 501, "NotImplementedByAzimuth"},
	} {
		if a := e.collect(c.key, c.logType, c.body, c.change); a.status != c.status || !strings.Contains(a.text, c.code) {
			t.Errorf("%s: %s", name, a)
		}
	}
	if n := len(e.workspaceRows("Mine_CL")); n != 5 {
		t.Errorf("%d rows", n)
	}
	e.fake.workspaces[0].DailyCap = 10
	if a := e.collect("first key", "Mine", one, nil); a.status != 429 {
		t.Errorf("over the cap: %s", a)
	}
	if strings.Contains(e.log.String(), "SharedKey") {
		t.Error("a signature is in the log")
	}
}
