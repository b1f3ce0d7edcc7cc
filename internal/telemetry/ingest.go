package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// audienceMonitor is the audience of the tokens that come with telemetry, with
// and without the slash that some clients add.
const audienceMonitor = "https://monitor.azure.com"

const actionSend = "Microsoft.Insights/Telemetry/Write" // a data action

// trackAnswer is the answer to /v2/track, in Azure's shape.
type trackAnswer struct {
	Received int          `json:"itemsReceived"`
	Accepted int          `json:"itemsAccepted"`
	AppID    *string      `json:"appId"`
	Errors   []trackError `json:"errors"`
}

type trackError struct {
	Index   int    `json:"index"`
	Status  int    `json:"statusCode"`
	Message string `json:"message"`
}

func (s *Service) serveIngestion(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(r.URL.Path, "/")
	switch {
	case path == "/v2/track", path == "/v2.1/track":
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			s.writeTrack(w, http.StatusMethodNotAllowed, &trackAnswer{Errors: []trackError{{0, http.StatusMethodNotAllowed, "The method is POST."}}})
			return
		}
		s.serveTrack(w, r)
	case strings.HasPrefix(path, "/api/profiles/") && strings.HasSuffix(path, "/appId") && r.Method == http.MethodGet:
		s.serveAppID(w, r, strings.TrimSuffix(strings.TrimPrefix(path, "/api/profiles/"), "/appId"))
	default:
		s.notImplemented(w, r)
	}
}

// serveAppID tells an SDK the application ID of its key: it names itself with it
// to those that it calls.
func (s *Service) serveAppID(w http.ResponseWriter, r *http.Request, key string) {
	c, err := s.cfg.Resources.ComponentByKey(r.Context(), key)
	switch {
	case errors.Is(err, ErrNotFound):
		http.Error(w, "", http.StatusNotFound)
	case err != nil:
		s.cfg.Log.Error("look up the application of a key", "error", err)
		http.Error(w, "", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, c.AppID)
	}
}

func (s *Service) writeTrack(w http.ResponseWriter, status int, a *trackAnswer) {
	if a.Errors == nil {
		a.Errors = []trackError{}
	}
	b, err := json.Marshal(a)
	if err != nil { // numbers and strings only
		b = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b)
}

// bodyStatus is the status for an error of readBody.
func bodyStatus(err error) int {
	switch {
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errEncoding):
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// hold waits until few enough bodies are in memory.
func (s *Service) hold(ctx context.Context) (release func(), err error) {
	select {
	case s.parsing <- struct{}{}:
		return func() { <-s.parsing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Service) serveTrack(w http.ResponseWriter, r *http.Request) {
	release, err := s.hold(r.Context())
	if err != nil {
		return // nobody waits for the answer
	}
	defer release()
	body, err := readBody(w, r)
	if err != nil {
		status := bodyStatus(err)
		s.writeTrack(w, status, &trackAnswer{Errors: []trackError{{0, status, err.Error()}}})
		return
	}
	in := s.intake(r)
	n := 0
	ok := items(body, func(item []byte, valid bool) {
		index := n
		n++
		if !valid {
			in.refuse(index, badItem("The item is not valid JSON."))
			return
		}
		in.item(index, item)
	})
	if !ok {
		s.writeTrack(w, http.StatusBadRequest, &trackAnswer{Received: 1, Errors: []trackError{{0, http.StatusBadRequest, "The body is not an array of JSON objects, or one on each line."}}})
		return
	}
	status, a := in.finish(n)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	s.writeTrack(w, status, a)
}

// items calls f with each item of a body: an array, one object, or objects on
// lines of their own. It reports false when the body is none of these.
func items(body []byte, f func(item []byte, valid bool)) bool {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return false
	}
	if body[0] == '[' {
		if !json.Valid(body) {
			return false
		}
		elements(body, func(v []byte) { f(v, true) })
		return true
	}
	if body[0] != '{' {
		return false
	}
	if first := bytes.IndexByte(body, '\n'); first < 0 || !json.Valid(bytes.TrimSpace(body[:first])) {
		if json.Valid(body) { // one object, on several lines perhaps
			f(body, true)
			return true
		}
		if first < 0 {
			return false
		}
	}
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		body = rest
		if line = bytes.TrimSpace(line); len(line) > 0 {
			f(line, json.Valid(line))
		}
	}
	return true
}

// intake is one request on its way into the store.
type intake struct {
	s       *Service
	r       *http.Request
	now     time.Time
	peer    string
	oldest  time.Time
	latest  time.Time
	senders map[string]*sender
	batches map[logstore.Key]*logstore.Batch
	errors  []trackError
	// accepted counts the items whose rows wait in batches, or were sampled out.
	accepted []int
	app      string
}

// sender is what one instrumentation key may do.
type sender struct {
	component *Component
	err       error
	batch     func(table string) *logstore.Batch
}

// maxAge is how old an item may be, and how far ahead: Azure's own limit, by its
// answers.
const maxAge = 48 * time.Hour

func (s *Service) intake(r *http.Request) *intake {
	in := &intake{s: s, r: r, now: s.cfg.Clock.Now(), senders: map[string]*sender{}, batches: map[logstore.Key]*logstore.Batch{}}
	// Clients stamp their items with the machine's clock, jobs perhaps with what
	// they were told of the injected one: either is right.
	wall := s.cfg.Wall().UTC()
	in.oldest, in.latest = in.now.Add(-maxAge), in.now.Add(maxAge)
	if old := wall.Add(-maxAge); old.Before(in.oldest) {
		in.oldest = old
	}
	if late := wall.Add(maxAge); late.After(in.latest) {
		in.latest = late
	}
	in.peer, _, _ = net.SplitHostPort(r.RemoteAddr)
	return in
}

func (in *intake) refuse(index int, err error) {
	e := &itemError{http.StatusInternalServerError, "The server failed on this item."}
	if !errors.As(err, &e) {
		in.s.cfg.Log.Error("take in telemetry", "error", err)
	}
	in.errors = append(in.errors, trackError{index, e.status, e.message})
}

// sender finds who sends under a key, once per request.
func (in *intake) sender(key []byte) *sender {
	if s, ok := in.senders[string(key)]; ok {
		return s
	}
	name := strings.ToLower(string(key))
	s := &sender{}
	s.component, s.err = in.s.admitKey(in.r, name)
	if s.err == nil {
		if in.app == "" {
			in.app = s.component.AppID
		}
		space, resource := s.component.space(), strings.ToLower(s.component.ID)
		last, lastTable := (*logstore.Batch)(nil), ""
		s.batch = func(table string) *logstore.Batch {
			if table != lastTable {
				k := logstore.Key{Space: space, Table: table, Resource: resource}
				if in.batches[k] == nil {
					in.batches[k] = logstore.NewBatch(k, in.now)
				}
				last, lastTable = in.batches[k], table
			}
			return last
		}
	}
	in.senders[string(key)] = s
	return s
}

// admitKey finds the component of a key, and decides whether the request may send
// to it. Its errors are *itemError, or the server's own.
func (s *Service) admitKey(r *http.Request, key string) (*Component, error) {
	if key == "" {
		return nil, badItem("Invalid instrumentation key")
	}
	c, err := s.cfg.Resources.ComponentByKey(r.Context(), undashed(key))
	if errors.Is(err, ErrNotFound) {
		return nil, badItem("Invalid instrumentation key")
	}
	if err != nil {
		return nil, err
	}
	return c, s.admit(r, c)
}

// undashed gives an instrumentation key its dashes, where a client left them out.
func undashed(key string) string {
	if len(key) != 32 || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(key) {
		return key
	}
	return strings.Join([]string{key[:8], key[8:12], key[12:16], key[16:20], key[20:]}, "-")
}

// admit decides whether the request may send to a component.
func (s *Service) admit(r *http.Request, c *Component) error {
	if !c.IngestionOpen || c.Workspace != nil && !c.Workspace.IngestionOpen {
		return &itemError{http.StatusForbidden, "Public network access for ingestion is disabled."}
	}
	if r.Header.Get("Authorization") != "" {
		who, err := s.cfg.Access.Authenticate(r.Context(), r, audienceMonitor, audienceMonitor+"/")
		if errors.Is(err, ErrBadToken) {
			return &itemError{http.StatusUnauthorized, err.Error()}
		}
		if err != nil {
			return err
		}
		ok, err := s.cfg.Access.Allowed(r.Context(), who, actionSend, true, c.ID)
		if err != nil {
			return err
		}
		if !ok {
			return &itemError{http.StatusForbidden, "The principal may not send telemetry to this component: it needs the role Monitoring Metrics Publisher."}
		}
	} else if c.DisableLocalAuth {
		return &itemError{http.StatusUnauthorized, "Local authentication is disabled for this component: send a bearer token for " + audienceMonitor + "."}
	}
	now := s.cfg.Clock.Now()
	if c.DailyCap >= 0 && s.store.Used(c.space(), strings.ToLower(c.ID), now) >= c.DailyCap ||
		c.Workspace != nil && c.Workspace.DailyCap >= 0 && s.store.Used(c.space(), "", now) >= c.Workspace.DailyCap {
		return &itemError{http.StatusPaymentRequired, "Daily quota exceeded"}
	}
	return nil
}

// item takes one item in.
func (in *intake) item(index int, p []byte) {
	e := parseEnvelope(p)
	from := in.sender(e.key)
	if from.err != nil {
		in.refuse(index, from.err)
		return
	}
	row, err := in.row(e, from.component)
	if err != nil {
		in.refuse(index, err)
		return
	}
	table := tableOf(e.baseType)
	if table == "" {
		in.refuse(index, badItem("The base type '%s' is not one of Application Insights'.", cut(e.baseType, 100)))
		return
	}
	if !in.sample(from.component, table, e, row) {
		in.accepted = append(in.accepted, index)
		return
	}
	if err := writeItem(from.batch, table, e.baseData, row); err != nil {
		in.refuse(index, err)
		return
	}
	in.accepted = append(in.accepted, index)
}

// row checks what all items have.
func (in *intake) row(e envelope, c *Component) (*row, error) {
	at, ok := parseTime(e.time)
	if !ok {
		return nil, badItem("100: Field 'time' on type 'Envelope' is required but missing or empty. Expected: string, Actual: undefined")
	}
	if err := in.inTime(at); err != nil {
		return nil, err
	}
	r := &row{at: at, tags: e.tags, count: 1, keepIP: c.KeepIP, peer: in.peer}
	if rate, ok := number(e.sampleRate); ok && rate > 0 && rate < 100 {
		r.count = int64(math.Round(100 / rate))
	}
	return r, nil
}

func (in *intake) inTime(at time.Time) error {
	switch {
	case at.Before(in.oldest):
		return badItem("103: Field 'time' on type 'Envelope' is older than the allowed min date. Expected: now - %dms, Actual: now - %dms",
			maxAge.Milliseconds(), in.now.Sub(at).Milliseconds())
	case at.After(in.latest):
		return badItem("Field 'time' on type 'Envelope' is later than the allowed max date. Expected: now + %dms, Actual: now + %dms",
			maxAge.Milliseconds(), at.Sub(in.now).Milliseconds())
	}
	return nil
}

// sample decides whether an item is kept where a component keeps only some of
// what comes in. All of an operation is kept, or nothing.
// https://learn.microsoft.com/azure/azure-monitor/app/sampling#ingestion-sampling
func (in *intake) sample(c *Component, table string, e envelope, r *row) bool {
	if c.SamplingPercentage <= 0 || c.SamplingPercentage >= 100 || r.count > 1 || table == "AppMetrics" || table == "AppPerformanceCounters" {
		return true
	}
	var operation []byte
	fields(e.tags, func(name, v []byte) {
		if string(name) == "ai.operation.id" {
			operation = text(v)
		}
	})
	h := fnv.New32a()
	if len(operation) > 0 {
		h.Write(operation)
	} else {
		h.Write(e.time)
		h.Write(e.baseData)
	}
	if float64(h.Sum32())/math.MaxUint32*100 >= c.SamplingPercentage {
		return false
	}
	r.count = int64(math.Round(100 / c.SamplingPercentage))
	return true
}

// finish makes what was accepted durable and returns the answer about n items.
func (in *intake) finish(n int) (int, *trackAnswer) {
	a := &trackAnswer{Received: n, Accepted: len(in.accepted), Errors: in.errors}
	if in.app != "" {
		a.AppID = &in.app
	}
	if err := in.append(); err != nil {
		for _, i := range in.accepted {
			a.Errors = append(a.Errors, trackError{i, err.status, err.message})
		}
		a.Accepted = 0
		return err.status, a
	}
	switch {
	case len(a.Errors) == 0:
		return http.StatusOK, a
	case a.Accepted > 0:
		return http.StatusPartialContent, a
	}
	return a.Errors[0].Status, a
}

func (in *intake) append() *itemError {
	batches := make([]*logstore.Batch, 0, len(in.batches))
	for _, b := range in.batches {
		batches = append(batches, b)
	}
	err := in.s.store.Append(batches...)
	if err == nil {
		return nil
	}
	in.s.cfg.Log.Error("keep telemetry", "error", err)
	message := "Nothing was kept: the server failed. Try again."
	if errors.Is(err, logstore.ErrFull) {
		message = "Nothing was kept: the disk that holds Azimuth's home is full. Free some space and try again."
	}
	return &itemError{http.StatusServiceUnavailable, message}
}

// notImplemented answers for what Azure has and Azimuth has not.
func (s *Service) notImplemented(w http.ResponseWriter, r *http.Request) {
	s.writeError(w, r, &apiError{Status: http.StatusNotImplemented, Code: "NotImplementedByAzimuth",
		Message: fmt.Sprintf("Azimuth does not implement %s %s at %s.", r.Method, r.URL.Path, r.Host)})
}
