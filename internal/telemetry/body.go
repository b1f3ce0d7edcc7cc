package telemetry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// maxBody is how large a body may be, as it comes and unpacked: what is packed so
// well that it is larger is no telemetry. Azure's limit is not documented; SDKs
// send at most a few MiB.
const maxBody = 16 << 20

var (
	errTooLarge = errors.New("the body is larger than 16 MiB, as it came or unpacked")
	errEncoding = errors.New("the Content-Encoding is not gzip or deflate")
	errPacked   = errors.New("the body could not be unpacked")
)

// readBody reads a body and unpacks it. Its errors are errTooLarge, errEncoding,
// errPacked, and those of the connection.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, maxBody)
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, unpackError(err)
		}
		defer z.Close()
		in = z
	case "deflate":
		z := flate.NewReader(in)
		defer z.Close()
		in = z
	default:
		return nil, errEncoding
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= maxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(in, maxBody+1))
	if err != nil {
		return nil, unpackError(err)
	}
	if buf.Len() > maxBody {
		return nil, errTooLarge
	}
	return buf.Bytes(), nil
}

func unpackError(err error) error {
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return errTooLarge
	}
	return errors.Join(errPacked, err)
}
