package blob

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// A client that sends its body slower than patienceBytes in patienceTime is cut
// off, so that nobody can hold connections and buffers for nothing.
const (
	patienceBytes = 64 << 10
	patienceTime  = time.Minute
)

// patientBody is a request's body that must make progress.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	now     func() time.Time // the machine's, by which connections time out
	patience,
	left int64 // nanoseconds, and bytes before the next deadline
	set bool
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// It is an error where there is no connection, as in a batch.
		b.set = b.control.SetReadDeadline(b.now().Add(time.Duration(b.patience))) == nil
		b.left = patienceBytes
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.set:
		// From here on the server waits for the client to go away.
		_ = b.control.SetReadDeadline(time.Time{}) // it is the client's connection
		b.set = false
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.set = false // so that it stays: the server would read on
		err = storage.Refuse("OperationTimedOut")
	}
	return n, err
}

// done gives the client some time for what is left of a body that was not read to
// its end, of which the server reads a little.
func (b *patientBody) done() {
	if b.set {
		_ = b.control.SetReadDeadline(b.now().Add(time.Duration(b.patience))) // it is the client's connection
	}
}

// patient holds the body of a request to its deadlines until the returned function
// is called.
func (s *Service) patient(w http.ResponseWriter, r *http.Request) (*http.Request, func()) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, func() {}
	}
	b := &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), now: s.cfg.Wall, patience: int64(s.patience)}
	r = r.WithContext(r.Context()) // a copy: the server keeps its own
	r.Body = b
	return r, b.done
}
