package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/diagnostic"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/rp/insights"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
)

// loadDiagnostics has the diagnostic settings that there are carried out. One call
// runs at a time, so that the last to be told has read the latest.
func (s *Server) loadDiagnostics() {
	s.loading.Lock()
	defer s.loading.Unlock()
	var settings []diagnostic.Setting
	err := s.store.View(context.Background(), func(tx store.Tx) error {
		found, err := insights.Settings(tx, s.kernel)
		settings = nil
		for _, d := range found {
			settings = append(settings, diagnostic.Setting{
				Resource: d.Resource, Hosts: loggedHosts(d.Resource), Workspace: d.Workspace, Account: d.Account,
				Dedicated: d.Dedicated, Categories: d.Categories,
			})
		}
		return err
	})
	if err != nil {
		s.cfg.Log.Error("read diagnostic settings", "error", err)
		return
	}
	s.diagnostics.Load(settings)
}

// loggedHosts are the hosts of a resource's data plane.
func loggedHosts(resource string) []string {
	id, err := arm.ParseID(resource)
	if err != nil {
		return nil
	}
	switch strings.ToLower(id.Type()) {
	case "microsoft.keyvault/vaults":
		return []string{id.Name() + vaultHosts}
	case "microsoft.containerregistry/registries":
		return []string{strings.ToLower(id.Name()) + oci.Suffix}
	case "microsoft.storage/storageaccounts/blobservices":
		name := id.Parent().Name()
		return storageHosts(name, "blob", "dfs")
	case "microsoft.storage/storageaccounts/queueservices":
		return storageHosts(id.Parent().Name(), "queue")
	case "microsoft.storage/storageaccounts/tableservices":
		return storageHosts(id.Parent().Name(), "table")
	case "microsoft.storage/storageaccounts/fileservices":
		return storageHosts(id.Parent().Name(), "file")
	}
	return nil
}

const vaultHosts = ".vault.azure.net"

func storageHosts(account string, services ...string) (out []string) {
	for _, s := range services {
		for _, place := range []string{"", "-secondary"} {
			out = append(out, account+place+"."+s+".core.windows.net")
		}
	}
	return out
}

// sinks are the destinations of resource logs.
type sinks struct{ s *Server }

// ToWorkspace implements diagnostic.Sinks.
func (k sinks) ToWorkspace(ctx context.Context, workspace string, rows []diagnostic.Row) error {
	out := make([]telemetry.LogRow, len(rows))
	for i, r := range rows {
		out[i] = telemetry.LogRow(r)
	}
	err := k.s.telemetry.WriteLogs(ctx, workspace, out)
	if errors.Is(err, telemetry.ErrNotFound) {
		return fmt.Errorf("%w: %w", diagnostic.ErrGone, err)
	}
	return err
}

// ToAccount implements diagnostic.Sinks.
func (k sinks) ToAccount(ctx context.Context, account, container, name string, lines []byte) error {
	id, err := arm.ParseID(account)
	if err != nil {
		return err
	}
	// an account of this name elsewhere is another one
	err = k.s.store.View(ctx, func(tx store.Tx) error {
		there, err := k.s.kernel.Resources().Exists(tx, account)
		if err == nil && !there {
			err = fmt.Errorf("%w: %s", diagnostic.ErrGone, account)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := k.s.blobs.EnsureContainer(ctx, id.Name(), container); err != nil {
		return err
	}
	for len(lines) > 0 {
		// an append block is of a bounded size
		n := min(len(lines), maxLogAppend)
		if n < len(lines) {
			n = bytes.LastIndexByte(lines[:n], '\n') + 1
		}
		if _, err := k.s.blobs.AppendBlob(ctx, id.Name(), container, name, lines[:n]); err != nil {
			if blob.HasCode(err, "ContainerBeingDeleted") {
				return fmt.Errorf("%w: %w", diagnostic.ErrGone, err)
			}
			return err
		}
		lines = lines[n:]
	}
	return nil
}

// maxLogAppend is how many bytes of logs are appended at once.
const maxLogAppend = 4 << 20

// recording is an answer of which is noted what logs say of it.
type recording struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (r *recording) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (r *recording) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *recording) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// request is one request to a data plane that is to be logged.
type loggedRequest struct {
	resource string
	http     *http.Request
	note     diagnostic.Note
	status   int
	sent     int64
	at       time.Time
	took     time.Duration
	tenant   string
	// these are headers of the answer
	requestID, etag, modified, errorCode, digest, mediaType string
}

// logged logs the requests to a data plane for the resources of which a setting
// says so. entry makes a log of a request.
func (s *Server) logged(h http.Handler, entry func(*loggedRequest) (category string, e diagnostic.Entry)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource := s.diagnostics.ResourceAt(r.Host)
		if resource == "" {
			h.ServeHTTP(w, r)
			return
		}
		began := time.Now() // a duration goes by the machine's clock
		l := &loggedRequest{resource: resource, at: s.clock.Now(), tenant: s.dir.TenantID()}
		l.http = r.WithContext(diagnostic.With(r.Context(), &l.note))
		answer := &recording{ResponseWriter: w}
		h.ServeHTTP(answer, l.http)
		l.status, l.sent, l.took = answer.status, answer.bytes, time.Since(began)
		// services write some of these in lower case
		for name, to := range map[string]*string{"x-ms-request-id": &l.requestID, "ETag": &l.etag, "Last-Modified": &l.modified, "x-ms-error-code": &l.errorCode,
			"Docker-Content-Digest": &l.digest, "Content-Type": &l.mediaType} {
			for _, n := range []string{name, http.CanonicalHeaderKey(name)} {
				if v := w.Header()[n]; len(v) > 0 {
					*to = v[0]
				}
			}
		}
		if l.status == 0 {
			l.status = http.StatusOK
		}
		category, e := entry(l)
		s.diagnostics.Emit(diagnostic.Event{Resource: resource, Category: category, At: l.at, Entry: e})
	})
}

// milliseconds is how long a request took.
func (l *loggedRequest) milliseconds() float64 { return float64(l.took.Microseconds()) / 1000 }

// uri is what was asked for, without the signature of a SAS.
func (l *loggedRequest) uri() string {
	u := *l.http.URL
	u.Scheme, u.Host = "https", l.http.Host
	if l.http.TLS == nil {
		u.Scheme = "http"
	}
	if q := u.Query(); q.Has("sig") {
		q.Set("sig", "XXXXX")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// amlEntry is a row of a machine learning workspace's own tables.
type amlEntry telemetry.LogRow

// Row implements diagnostic.Entry.
func (e *amlEntry) Row(bool) (string, map[string]any) { return e.Table, e.Columns }

// Document implements diagnostic.Entry.
func (e *amlEntry) Document() map[string]any {
	return map[string]any{"operationName": e.Columns["OperationName"], "properties": e.Columns}
}

// tellDiagnostics has what a machine learning workspace logs sent on.
func (s *Server) tellDiagnostics(kept string, rows []telemetry.LogRow) {
	for i := range rows {
		r := &rows[i]
		s.diagnostics.Emit(diagnostic.Event{Resource: r.Resource, Category: r.Table, At: r.At, Entry: (*amlEntry)(r), Except: kept})
	}
}
