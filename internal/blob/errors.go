package blob

import "github.com/azimuth-ml/azimuth/internal/storage"

type (
	// Error is a refusal in the storage services' own terms.
	Error = storage.Error
	// Detail is one additional element of an error document.
	Detail = storage.Detail
)

// HasCode reports whether err is a storage error with the code.
func HasCode(err error, code string) bool { return storage.HasCode(err, code) }

func refuse(code string) *Error                  { return storage.Refuse(code) }
func notImplemented(operation string) *Error     { return storage.NotImplemented(operation) }
func badHeader(name, value string) *Error        { return storage.BadHeader(name, value) }
func missingHeader(name string) *Error           { return storage.MissingHeader(name) }
func badQuery(name, value, reason string) *Error { return storage.BadQuery(name, value, reason) }
