// Package route names what services can be asked, so that a test can ask all of
// it and see who is let in.
package route

// The names that stand in targets where a service has names of its own.
const (
	// Container is a container, file system, queue, table or share.
	Container = "box"
	// Item is what is in it, a secret of a vault, a repository.
	Item = "one"
)

// Route is one request that a service serves.
type Route struct {
	// Operation is the service's name for it.
	Operation string
	Method    string
	// Target is the path with its query, without the host.
	Target string
	// Header is what a request has besides its credentials, or nil.
	Header map[string]string
	// Body is what a request must have to be looked at; "" where anything will do.
	Body string
}
