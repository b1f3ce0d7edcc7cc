package telemetry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// The HTTP Data Collector API, by which anybody with a key of a workspace adds
// rows to tables of their own.
// https://learn.microsoft.com/azure/azure-monitor/logs/data-collector-api

// collectorError is an error of this API, in its shape and words.
type collectorError struct {
	status        int
	code, message string
}

func (e *collectorError) Error() string { return e.message }

// maxField is the longest text of a field; what is longer is cut.
const maxField = 32 << 10

// maxSkew is how far the date of a signed request may be off.
const maxSkew = 15 * time.Minute

func (s *Service) serveCollector(w http.ResponseWriter, r *http.Request, customer string) {
	if strings.TrimRight(r.URL.Path, "/") != "/api/logs" || r.Method != http.MethodPost {
		s.notImplemented(w, r)
		return
	}
	release, err := s.hold(r.Context())
	if err != nil {
		return
	}
	defer release()
	err = s.collect(w, r, customer)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	e := &collectorError{http.StatusInternalServerError, "UnspecifiedError", "The service encountered an internal error. Retry the request."}
	if !errors.As(err, &e) {
		s.cfg.Log.Error("take in a custom log", "error", err)
	}
	body, encodeErr := json.Marshal(map[string]string{"Error": e.code, "Message": e.message})
	if encodeErr != nil { // strings only
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(e.status)
	w.Write(body)
}

func (s *Service) collect(w http.ResponseWriter, r *http.Request, customer string) error {
	switch v := r.URL.Query().Get("api-version"); v {
	case "2016-04-01":
	case "":
		return &collectorError{http.StatusBadRequest, "MissingApiVersion", "The API version wasn't specified."}
	default:
		return &collectorError{http.StatusBadRequest, "InvalidApiVersion", "The API version '" + v + "' isn't recognized."}
	}
	ws, err := s.cfg.Resources.WorkspaceByCustomer(r.Context(), customer)
	if errors.Is(err, ErrNotFound) {
		return &collectorError{http.StatusBadRequest, "InvalidCustomerId", "The workspace ID is invalid."}
	}
	if err != nil {
		return err
	}
	name := r.Header.Get("Log-Type")
	switch {
	case name == "":
		return &collectorError{http.StatusBadRequest, "MissingLogType", "The value required by the log type wasn't specified."}
	case !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,99}$`).MatchString(name):
		return &collectorError{http.StatusBadRequest, "InvalidLogType", "The log type has letters, digits and underscores, up to 100, and begins with a letter."}
	}
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(contentType), "application/json") {
		return &collectorError{http.StatusBadRequest, "UnsupportedContentType", "The content type is not application/json."}
	}
	if err := s.verifySharedKey(r, ws, customer); err != nil {
		return err
	}
	if !ws.IngestionOpen {
		return &collectorError{http.StatusForbidden, "Forbidden", "Public network access for ingestion is disabled."}
	}
	if ws.DailyCap >= 0 && s.store.Used(ws.UID, "", s.cfg.Clock.Now()) >= ws.DailyCap {
		return &collectorError{http.StatusTooManyRequests, "TooManyRequests", "The daily quota of the workspace is exceeded."}
	}
	body, err := readBody(w, r)
	if err != nil {
		return &collectorError{bodyStatus(err), "InvalidDataFormat", err.Error()}
	}
	return s.keepCustom(r, ws, name, body)
}

// verifySharedKey checks the signature of a request.
func (s *Service) verifySharedKey(r *http.Request, ws *Workspace, customer string) error {
	denied := &collectorError{http.StatusForbidden, "InvalidAuthorization", "The service failed to authenticate the request. Verify that the workspace ID and connection key are valid."}
	if ws.DisableLocalAuth {
		return denied
	}
	id, signature, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "SharedKey "), ":")
	if !ok || !strings.EqualFold(id, customer) {
		return denied
	}
	given, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	if err != nil {
		return denied
	}
	date := r.Header.Get("X-Ms-Date")
	at, err := http.ParseTime(date)
	if err != nil || at.Sub(s.cfg.Wall()).Abs() > maxSkew && at.Sub(s.cfg.Clock.Now()).Abs() > maxSkew {
		return denied
	}
	text := "POST\n" + strconv.FormatInt(r.ContentLength, 10) + "\n" + r.Header.Get("Content-Type") + "\nx-ms-date:" + date + "\n/api/logs"
	good := false
	for _, key := range ws.Keys {
		if len(key) == 0 {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		if hmac.Equal(mac.Sum(nil), given) {
			good = true
		}
	}
	if !good {
		return denied
	}
	return nil
}

// keepCustom adds records to the table of a log type.
func (s *Service) keepCustom(r *http.Request, ws *Workspace, name string, body []byte) error {
	badFormat := &collectorError{http.StatusBadRequest, "InvalidDataFormat", "Invalid JSON was submitted: the body is an array of objects, or one object."}
	if !json.Valid(body) {
		return badFormat
	}
	now := s.cfg.Clock.Now()
	b := logstore.NewBatch(logstore.Key{Space: ws.UID, Table: name + customSuffix, Resource: strings.ToLower(r.Header.Get("X-Ms-AzureResourceId"))}, now)
	timeField := r.Header.Get("Time-Generated-Field")
	failed := false
	record := func(p []byte) {
		if space(p, 0) >= len(p) || p[space(p, 0)] != '{' {
			failed = true
			return
		}
		at := now
		if timeField != "" {
			fields(p, func(field, v []byte) {
				if string(field) != timeField {
					return
				}
				// what is further off is stamped with the time at which it came
				if t, ok := parseTime(text(v)); ok && now.Sub(t) < maxAge && t.Sub(now) < 24*time.Hour {
					at = t
				}
			})
		}
		b.Begin(at)
		fields(p, func(field, v []byte) { putCustom(b, string(field), v) })
		b.End()
	}
	if trimmed := body[space(body, 0):]; len(trimmed) > 0 && trimmed[0] == '[' {
		elements(body, record)
	} else {
		record(body)
	}
	if failed {
		return badFormat
	}
	err := s.store.Append(b)
	if errors.Is(err, logstore.ErrFull) {
		s.cfg.Log.Error("keep a custom log", "error", err)
		return &collectorError{http.StatusServiceUnavailable, "ServiceUnavailable", "Nothing was kept: the disk that holds Azimuth's home is full. Free some space and try again."}
	}
	return err
}

// putCustom sets a column whose name tells its type, as this API names them.
func putCustom(b *logstore.Batch, name string, v []byte) {
	if name == "" || len(name) > 100 || name[0] == 0 || len(v) == 0 {
		return
	}
	switch v[0] {
	case '"':
		p := text(v)
		if t, ok := parseTime(p); ok {
			b.Time(name+"_t", t)
			return
		}
		if id, err := uuid.ParseBytes(p); err == nil && len(p) == 36 {
			b.String(name+"_g", id.String())
			return
		}
		b.Bytes(name+"_s", p[:min(len(p), maxField)])
	case 't', 'f':
		b.Bool(name+"_b", v[0] == 't')
	case '{', '[':
		// nested values become text
		b.Bytes(name+"_s", []byte(strings.ToValidUTF8(string(v[:min(len(v), maxField)]), "\uFFFD")))
	case 'n':
	default:
		if f, ok := number(v); ok && !math.IsInf(f, 0) {
			b.Real(name+"_d", f)
		}
	}
}
