package telemetry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// everyType has one item of each type, and what its row is to have in the table.
func everyType() []struct {
	baseType, data, table string
	want                  map[string]string
} {
	const common = `"properties":{"a":"b","n":"1"},"measurements":{"m":1.5}`
	return []struct {
		baseType, data, table string
		want                  map[string]string
	}{
		{"RequestData", `{"id":"r1","name":"GET /","duration":"00:00:01.5000000","responseCode":"200","success":true,"url":"http://x/","source":"s",` + common + `}`, "requests",
			map[string]string{"id": "r1", "name": "GET /", "duration": "1500", "resultCode": "200", "success": "True", "url": "http://x/", "source": "s",
				"performanceBucket": "1sec-3sec", "itemType": "request", "itemCount": "1", "customDimensions": `{"a":"b","n":"1"}`, "customMeasurements": `{"m":1.5}`,
				"operation_Id": "op", "operation_ParentId": "pa", "cloud_RoleName": "role", "sdkVersion": "test:1", "iKey": keyOne, "appId": appOne, "client_IP": "0.0.0.0"}},
		{"RemoteDependencyData", `{"id":"d1","name":"SELECT","duration":"1.02:03:04.5","resultCode":0,"success":false,"data":"SELECT 1","target":"db","type":"SQL"}`, "dependencies",
			map[string]string{"id": "d1", "name": "SELECT", "duration": "93784500", "resultCode": "0", "success": "False", "data": "SELECT 1", "target": "db", "type": "SQL", "performanceBucket": ">=5min"}},
		{"ExceptionData", `{"exceptions":[{"id":1,"typeName":"Outer","message":"o","hasFullStack":true,"parsedStack":[{"level":0,"method":"f","assembly":"a","line":3}]},{"id":2,"outerId":1,"typeName":"Inner","message":"i","stack":"at g"}],"severityLevel":"Error"}`, "exceptions",
			map[string]string{"type": "Outer", "outerMessage": "o", "outerMethod": "f", "assembly": "a", "innermostType": "Inner", "innermostMessage": "i", "severityLevel": "3", "problemId": "Outer at f",
				"details": `[{"id":"1","type":"Outer","message":"o","parsedStack":[{"level":0,"method":"f","assembly":"a","line":3}],"severityLevel":"Error"},{"id":"2","outerId":"1","type":"Inner","message":"i","rawStack":"at g","severityLevel":"Error"}]`}},
		{"MessageData", `{"message":"hello \"you\" \u00e9","severityLevel":2}`, "traces", map[string]string{"message": `hello "you" é`, "severityLevel": "2", "itemType": "trace"}},
		{"EventData", `{"name":"clicked",` + common + `}`, "customEvents", map[string]string{"name": "clicked", "customDimensions": `{"a":"b","n":"1"}`}},
		{"MetricData", `{"metrics":[{"name":"loss","value":0.25}]}`, "customMetrics", map[string]string{"name": "loss", "value": "0.25", "valueSum": "0.25", "valueMin": "0.25", "valueMax": "0.25", "valueCount": "1"}},
		{"MetricData", `{"metrics":[{"name":"\\Process(x)\\Private Bytes","value":7,"kind":"Measurement"}]}`, "performanceCounters",
			map[string]string{"name": "Private Bytes", "counter": "Private Bytes", "category": "Process", "instance": "x", "value": "7"}},
		{"PerformanceCounterData", `{"categoryName":"Processor","counterName":"% Time","instanceName":"_Total","value":12.5}`, "performanceCounters",
			map[string]string{"name": "% Time", "category": "Processor", "instance": "_Total", "value": "12.5"}},
		{"PageViewData", `{"name":"home","url":"http://x/h","duration":"00:00:00.100","id":"p1"}`, "pageViews", map[string]string{"id": "p1", "name": "home", "url": "http://x/h", "duration": "100", "performanceBucket": "<250ms"}},
		{"PageViewPerfData", `{"name":"home","url":"http://x/h","perfTotal":"00:00:02","networkConnect":"00:00:00.1","sentRequest":"00:00:00.2","receivedResponse":"00:00:00.3","domProcessing":"00:00:00.4"}`, "browserTimings",
			map[string]string{"name": "home", "totalDuration": "2000", "networkDuration": "100", "sendDuration": "200", "receiveDuration": "300", "processingDuration": "400", "performanceBucket": "1sec-3sec"}},
		{"AvailabilityData", `{"id":"v1","name":"ping","duration":"00:00:00.3","success":true,"runLocation":"here","message":"ok"}`, "availabilityResults",
			map[string]string{"id": "v1", "name": "ping", "duration": "300", "success": "True", "location": "here", "message": "ok"}},
	}
}

func TestEveryTypeHasItsTableUnderBothNames(t *testing.T) {
	e := newEnv(t)
	for _, c := range everyType() {
		for _, key := range []string{keyOne, keyTwo} {
			if status, a := e.track(item(key, c.baseType, c.data)); status != 200 || a.Accepted != 1 || a.Received != 1 || len(a.Errors) != 0 {
				t.Fatalf("%s: %d %+v", c.baseType, status, a)
			}
		}
		rows := e.rows(keyOne, c.table)
		got := rows[len(rows)-1]
		if got["timestamp"] != "2026-11-23T12:00:00.0000000Z" || len(got["itemId"]) != 36 {
			t.Errorf("%s: %v", c.baseType, got)
		}
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: %s = %q, want %q", c.baseType, name, got[name], want)
			}
		}
		table := e.schema.classic[c.table].table
		rows = e.workspaceRows(table)
		got = rows[len(rows)-1]
		if got["Type"] != table || got["TenantId"] != wsID || got["_ResourceId"] != strings.ToLower(e.fake.components[1].ID) || got["IKey"] != keyTwo ||
			got["ResourceGUID"] != appTwo || got["_BilledSize"] == "" || got["TimeGenerated"] == "" {
			t.Errorf("%s in the workspace: %v", c.baseType, got)
		}
	}
	if got := e.workspaceRows("AppRequests")[0]; got["Success"] != "True" && got["Success"] != "true" || got["DurationMs"] != "1500" || got["Name"] != "GET /" {
		t.Errorf("AppRequests: %v", got)
	}
	if got := e.workspaceRows("AppMetrics")[0]; got["Sum"] != "0.25" || got["ItemCount"] != "1" {
		t.Errorf("AppMetrics: %v", got)
	}
}

func TestKeysSeeNothingOfEachOther(t *testing.T) {
	e := newEnv(t)
	body := ""
	for _, key := range []string{keyOne, keyTwo, keyTri} {
		body += item(key, "EventData", `{"name":"`+key+`"}`) + "\n"
	}
	if status, a := e.track(body); status != 200 || a.Accepted != 3 {
		t.Fatalf("%d %+v", status, a)
	}
	for _, key := range []string{keyOne, keyTwo, keyTri} {
		if rows := e.rows(key, "customEvents"); len(rows) != 1 || rows[0]["name"] != key || rows[0]["iKey"] != key {
			t.Errorf("%s sees %v", key, rows)
		}
	}
	if rows := e.workspaceRows("AppEvents"); len(rows) != 2 {
		t.Errorf("the workspace sees %v", rows)
	}
}

func TestBodies(t *testing.T) {
	e := newEnv(t)
	one := item(keyOne, "EventData", `{"name":"x"}`)
	gz := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(one), "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body, encoding string
		status         int
		accepted       int
		received       int
	}{
		"one":          {one, "", 200, 1, 1},
		"array":        {"[" + one + "," + one + "]", "", 200, 2, 2},
		"lines":        {one + "\r\n" + one + "\n\n" + one, "", 200, 3, 3},
		"indented":     {indented.String(), "", 200, 1, 1},
		"gzip":         {gz(one + "\n" + one), "gzip", 200, 2, 2},
		"bad line":     {one + "\n{\n" + one, "", 206, 2, 3},
		"empty":        {"", "", 400, 0, 1},
		"empty array":  {"[]", "", 200, 0, 0},
		"text":         {"hello", "", 400, 0, 1},
		"bad array":    {"[" + one, "", 400, 0, 1},
		"not gzip":     {one, "gzip", 400, 0, 0},
		"brotli":       {one, "br", 415, 0, 0},
		"bomb":         {gz(strings.Repeat(" ", maxBody+1)), "gzip", 413, 0, 0},
		"too large":    {strings.Repeat(" ", maxBody+1), "", 413, 0, 0},
		"other things": {`[1,null,"x",{}]`, "", 400, 0, 4},
	} {
		var header []string
		if c.encoding != "" {
			header = []string{"Content-Encoding", c.encoding}
		}
		status, a := e.track(c.body, header...)
		if status != c.status || a.Accepted != c.accepted || a.Received != c.received {
			t.Errorf("%s: %d %+v", name, status, a)
		}
	}
	if a := e.do("GET", ingestionHost, "/v2/track", nil); a.status != 405 {
		t.Errorf("GET: %s", a)
	}
	if a := e.do("POST", ingestionHost, "/v2/other", nil); a.status != 501 || !strings.Contains(a.text, "NotImplementedByAzimuth") {
		t.Errorf("other: %s", a)
	}
	if a := e.do("GET", "dc.services.visualstudio.com", "/api/profiles/"+keyOne+"/appId", nil); a.status != 200 || a.text != appOne {
		t.Errorf("the application of a key: %s", a)
	}
	if a := e.do("GET", "dc.services.visualstudio.com", "/api/profiles/none/appId", nil); a.status != 404 {
		t.Errorf("the application of no key: %s", a)
	}
}

func TestRefusedItems(t *testing.T) {
	e := newEnv(t)
	good := item(keyOne, "EventData", `{"name":"x"}`)
	for name, c := range map[string]struct {
		item, message string
		status        int
	}{
		"unknown key":  {item("44444444-4444-4444-4444-444444444444", "EventData", `{"name":"x"}`), "Invalid instrumentation key", 400},
		"no key":       {item("", "EventData", `{"name":"x"}`), "Invalid instrumentation key", 400},
		"unknown type": {item(keyOne, "WhoData", `{"name":"x"}`), "WhoData", 400},
		"no data":      {item(keyOne, "EventData", `null`), "baseData", 400},
		"no metrics":   {item(keyOne, "MetricData", `{"metrics":[]}`), "metrics", 400},
		"old": {strings.Replace(good, start.Format(time.RFC3339Nano), "2026-11-20T11:00:00Z", 1),
			"103: Field 'time' on type 'Envelope' is older than the allowed min date. Expected: now - 172800000ms, Actual: now - 262800000ms", 400},
		"ahead":   {strings.Replace(good, start.Format(time.RFC3339Nano), "2027-11-20T11:00:00Z", 1), "later than the allowed max date", 400},
		"no time": {strings.Replace(good, start.Format(time.RFC3339Nano), "", 1), "'time'", 400},
	} {
		status, a := e.track(c.item)
		if status != c.status || a.Accepted != 0 || len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, c.message) {
			t.Errorf("%s: %d %+v", name, status, a)
		}
		status, a = e.track("[" + good + "," + c.item + "," + good + "]")
		if status != 206 || a.Received != 3 || a.Accepted != 2 || len(a.Errors) != 1 || a.Errors[0].Index != 1 || a.Errors[0].Status != c.status {
			t.Errorf("%s among good ones: %d %+v", name, status, a)
		}
	}
	// the dashes of a key may be left out
	if status, a := e.track(strings.Replace(good, keyOne, strings.ReplaceAll(keyOne, "-", ""), 1)); status != 200 || a.Accepted != 1 {
		t.Errorf("without dashes: %d %+v", status, a)
	}
}

func TestWhoMaySend(t *testing.T) {
	e := newEnv(t)
	one := item(keyOne, "EventData", `{"name":"x"}`)
	bearer := func(who string) []string {
		return []string{"Authorization", "Bearer " + who + "@https://monitor.azure.com"}
	}
	try := func(name string, want int, header ...string) {
		t.Helper()
		if status, a := e.track(one, header...); status != want {
			t.Errorf("%s: %d %+v, want %d", name, status, a, want)
		}
	}
	try("key", 200)
	try("token", 200, bearer("sender")...)
	try("token of one without the role", 403, bearer("nobody")...)
	try("bad token", 401, bearer("ghost")...)
	try("token for another audience", 401, "Authorization", "Bearer sender@https://vault.azure.net")
	e.fake.components[0].DisableLocalAuth = true
	try("key without local authentication", 401)
	try("token without local authentication", 200, bearer("sender")...)
	e.fake.components[0].IngestionOpen = false
	try("closed", 403, bearer("sender")...)
	if strings.Contains(e.log.String(), keyOne) || strings.Contains(e.log.String(), "Bearer") {
		t.Errorf("a key or token is in the log: %s", e.log)
	}
}

func TestDailyCap(t *testing.T) {
	e := newEnv(t)
	one := item(keyTwo, "EventData", `{"name":"x"}`)
	for _, set := range []func(n int64){
		func(n int64) { e.fake.components[1].DailyCap = n },
		func(n int64) { e.fake.workspaces[0].DailyCap = n },
	} {
		set(100)
		accepted := 0
		for status := 200; status == 200; {
			var a trackAnswer
			status, a = e.track(one)
			accepted += a.Accepted
			if status != 200 && (status != 402 || a.Errors[0].Status != 402 || a.Errors[0].Message != "Daily quota exceeded") {
				t.Fatalf("%d %+v", status, a)
			}
		}
		if accepted == 0 || accepted > 3 {
			t.Errorf("%d items", accepted)
		}
		e.clock.Step(24 * time.Hour)
		e.fake.components[1].DailyCap = 1e9
		set(1e9)
		if status, a := e.track(strings.Replace(one, start.Format(time.RFC3339Nano), e.clock.Now().Format(time.RFC3339Nano), 1)); status != 200 {
			t.Errorf("on the next day: %d %+v", status, a)
		}
		e.fake.workspaces[0].DailyCap = -1
		one = item(keyTwo, "EventData", `{"name":"x"}`)
		one = strings.Replace(one, start.Format(time.RFC3339Nano), e.clock.Now().Add(24*time.Hour).Format(time.RFC3339Nano), 1)
		e.clock.Step(24 * time.Hour)
	}
}

func TestSampling(t *testing.T) {
	e := newEnv(t)
	e.track(strings.Replace(item(keyOne, "EventData", `{"name":"x"}`), `"tags"`, `"sampleRate":12.5,"tags"`, 1))
	if rows := e.rows(keyOne, "customEvents"); rows[0]["itemCount"] != "8" {
		t.Errorf("sampled by the SDK: %v", rows)
	}
	e.fake.components[1].SamplingPercentage = 25
	body := ""
	for i := range 400 {
		body += strings.Replace(item(keyTwo, "EventData", `{"name":"x"}`), `"op"`, fmt.Sprintf(`"op%d"`, i), 1) + "\n"
	}
	if status, a := e.track(body); status != 200 || a.Accepted != 400 {
		t.Errorf("%d %+v", status, a)
	}
	rows := e.rows(keyTwo, "customEvents")
	if len(rows) < 60 || len(rows) > 140 || rows[0]["itemCount"] != "4" {
		t.Errorf("%d rows, %v", len(rows), rows[0])
	}
}

func TestRetention(t *testing.T) {
	e := newEnv(t)
	send := func(key string) {
		t.Helper()
		one := strings.Replace(item(key, "EventData", `{"name":"x"}`), start.Format(time.RFC3339Nano), e.clock.Now().Format(time.RFC3339Nano), 1)
		if status, a := e.track(one); status != 200 {
			t.Fatalf("%d %+v", status, a)
		}
	}
	for range 40 {
		send(keyOne)
		send(keyTwo)
		e.clock.Step(24 * time.Hour)
	}
	if n, m := len(e.rows(keyOne, "customEvents")), len(e.rows(keyTwo, "customEvents")); n != 40 || m < 29 || m > 31 {
		t.Errorf("%d and %d rows", n, m)
	}
	if err := e.Forget("uid-one"); err != nil {
		t.Fatal(err)
	}
	if n, m := len(e.rows(keyOne, "customEvents")), len(e.rows(keyTwo, "customEvents")); n != 0 || m < 29 {
		t.Errorf("%d and %d rows", n, m)
	}
	// what has no resource any more goes by itself
	e.fake.workspaces = nil
	if err := e.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if spaces := e.Service.store.Spaces(); len(spaces) != 0 {
		t.Errorf("left: %v", spaces)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	e := newEnv(t)
	long := strings.Repeat("é", 40000)
	e.track(item(keyOne, "MessageData", `{"message":"`+long+`","properties":{"`+long+`":"`+long+`","n":5,"none":null}}`))
	row := e.rows(keyOne, "traces")[0]
	var props map[string]string
	if err := json.Unmarshal([]byte(row["customDimensions"]), &props); err != nil {
		t.Fatal(err)
	}
	if len([]rune(row["message"])) != maxMessage || len(props) != 2 || props["n"] != "5" || len([]rune(props[strings.Repeat("é", maxKey)])) != maxValue {
		t.Errorf("%d, %v", len([]rune(row["message"])), len(props))
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]float64{`"00:00:00.0010000"`: 1, `"0.00:01:00"`: 60000, `"2.00:00:00"`: 172800000, `"12"`: 12, `1.5`: 1.5, `"x"`: -1, `"1:2"`: -1, `"-1:00:00"`: -1, `""`: -1, `null`: -1} {
		if got, ok := parseDuration([]byte(text)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: %g %v", text, got, ok)
		}
	}
}

func FuzzItems(f *testing.F) {
	for _, c := range everyType() {
		f.Add([]byte(item(keyOne, c.baseType, c.data)))
	}
	f.Add([]byte("[{},{\"data\":{\"baseType\":\"EventData\",\"baseData\":{\"name\":\"\\ud800\"}}}]"))
	f.Fuzz(func(t *testing.T, p []byte) {
		items(p, func(one []byte, valid bool) {
			if !valid {
				return
			}
			env := parseEnvelope(one)
			batches := batchSet{}
			table := tableOf(env.baseType)
			if table == "" {
				return
			}
			writeItem(batches.get, table, env.baseData, &row{at: start, tags: env.tags, count: 1})
			for _, b := range maps.All(batches) {
				if b.Len() > len(p) {
					t.Error("more rows than bytes")
				}
			}
			// what is kept as JSON is JSON
			if p := properties(env.baseData); p != nil && !json.Valid(p) {
				t.Errorf("properties: %q", p)
			}
		})
	})
}
