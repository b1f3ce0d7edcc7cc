package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// benchBody is a body of requests, as an SDK sends them, packed.
func benchBody(b *testing.B, items int) []byte {
	b.Helper()
	var body bytes.Buffer
	z, err := gzip.NewWriterLevel(&body, gzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	for i := range items {
		fmt.Fprintf(z, `{"time":"%s","iKey":"%s","name":"Microsoft.ApplicationInsights.Request","tags":{"ai.operation.id":"%032x","ai.operation.name":"GET /score","ai.operation.parentId":"%016x","ai.cloud.role":"scoring","ai.cloud.roleInstance":"node-%d","ai.internal.sdkVersion":"node:2.9.8"},"data":{"baseType":"RequestData","baseData":{"ver":2,"id":"%016x","name":"GET /score/%d","duration":"00:00:00.%03d0000","responseCode":"%d","success":true,"url":"https://score.example.com/score/%d?q=%d","properties":{"model":"digits","version":"%d"},"measurements":{"rows":%d}}}}`+"\n",
			start.Format(time.RFC3339Nano), keyOne, rand.Uint64(), rand.Uint64(), i%8, rand.Uint64(), i%20, i, 200+i%3, i%20, rand.Uint32(), i%5, i)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return body.Bytes()
}

// BenchmarkTrack is what taking in an item costs the server itself, without the
// gateway, TLS and a client.
func BenchmarkTrack(b *testing.B) {
	const items = 500
	e := newEnv(b)
	body := benchBody(b, items)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(http.MethodPost, "https://"+ingestionHost+"/v2.1/track", bytes.NewReader(body))
			r.Header.Set("Content-Encoding", "gzip")
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
	b.ReportMetric(float64(b.N)*items/b.Elapsed().Seconds(), "items/s")
}

// BenchmarkQuery is a summary of many rows, from segment files.
func BenchmarkQuery(b *testing.B) {
	const bodies = 200
	e := newEnv(b)
	body := benchBody(b, 1000)
	for range bodies {
		r := httptest.NewRequest(http.MethodPost, "https://"+ingestionHost+"/v2.1/track", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", "gzip")
		e.ServeHTTP(httptest.NewRecorder(), r)
	}
	if err := e.Service.store.Checkpoint(); err != nil {
		b.Fatal(err)
	}
	for name, query := range map[string]string{
		"count":     `requests | count`,
		"summarize": `requests | summarize count(), avg(duration) by name, resultCode`,
		"where":     `requests | where resultCode == "201" and duration > 100 | count`,
		"top":       `requests | top 10 by duration | project timestamp, name, duration, customDimensions`,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.answer(context.Background(), "reader", target{app: appOne, what: "query"}, &QueryRequest{Query: query}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(bodies*1000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
