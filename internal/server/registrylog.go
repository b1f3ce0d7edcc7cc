package server

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/diagnostic"
)

// registryEntry is something that was done with a registry: a login, or a
// manifest that was pushed, pulled or deleted. The operations are those of
// Microsoft's "Monitor Azure Container Registry data reference"; layers are in no
// log.
type registryEntry struct {
	l                          *loggedRequest
	operation, repository, tag string
}

func registryLog(l *loggedRequest) (string, diagnostic.Entry) {
	path := strings.TrimPrefix(l.http.URL.Path, "/")
	if path == "oauth2/exchange" || path == "oauth2/token" {
		return "ContainerRegistryLoginEvents", &registryEntry{l: l, operation: "Login"}
	}
	const category = "ContainerRegistryRepositoryEvents"
	if repo, ok := strings.CutPrefix(path, "acr/v1/"); ok && l.http.Method == http.MethodDelete {
		repository, tag, tagged := strings.Cut(repo, "/_tags/")
		e := &registryEntry{l: l, operation: "Delete", repository: repository, tag: tag}
		if tagged {
			e.operation = "Untag"
		}
		return category, e
	}
	repo, ok := strings.CutPrefix(path, "v2/")
	i := strings.LastIndex(repo, "/manifests/")
	if !ok || i < 0 {
		return "", nil // no category, so nobody wants it
	}
	e := &registryEntry{l: l, repository: repo[:i]}
	ref := repo[i+len("/manifests/"):]
	if !strings.Contains(ref, ":") {
		e.tag = ref
	} else if l.digest == "" {
		l.digest = ref
	}
	switch l.http.Method {
	case http.MethodPut:
		e.operation = "Push"
		l.mediaType = l.http.Header.Get("Content-Type")
	case http.MethodGet:
		e.operation = "Pull"
	case http.MethodDelete:
		if e.operation = "Delete"; e.tag != "" {
			e.operation = "Untag"
		}
	default:
		return "", nil
	}
	return category, e
}

// columns are what both forms of the log have.
func (e *registryEntry) columns() map[string]any {
	l := e.l
	address, _, err := net.SplitHostPort(l.http.RemoteAddr)
	if err != nil {
		address = l.http.RemoteAddr
	}
	c := map[string]any{
		"OperationName": e.operation, "CallerIpAddress": address, "CorrelationId": l.requestID, "DurationMs": strconv.FormatInt(l.took.Milliseconds(), 10),
		"LoginServer": strings.ToLower(l.http.Host), "ResultType": strconv.Itoa(l.status), "ResultDescription": http.StatusText(l.status),
		"Identity": l.note.ObjectID,
	}
	if e.repository == "" {
		return c
	}
	c["Repository"], c["UserAgent"], c["UserTenantId"] = e.repository, l.http.UserAgent(), l.tenant
	for name, v := range map[string]string{"Tag": e.tag, "Digest": l.digest} {
		if v != "" {
			c[name] = v
		}
	}
	if l.status < 300 && l.mediaType != "" && e.operation != "Delete" && e.operation != "Untag" {
		c["MediaType"] = l.mediaType
		if e.operation == "Push" && l.http.ContentLength > 0 {
			c["Size"] = l.http.ContentLength
		}
	}
	return c
}

// Row implements diagnostic.Entry.
func (e *registryEntry) Row(bool) (string, map[string]any) {
	table := "ContainerRegistryRepositoryEvents"
	if e.repository == "" {
		table = "ContainerRegistryLoginEvents"
	}
	return table, e.columns()
}

// Document implements diagnostic.Entry.
func (e *registryEntry) Document() map[string]any {
	c := e.columns()
	doc := map[string]any{
		"operationName": e.operation, "resultType": c["ResultType"], "resultDescription": c["ResultDescription"], "durationMs": c["DurationMs"],
		"callerIpAddress": c["CallerIpAddress"], "correlationId": c["CorrelationId"], "identity": c["Identity"], "loginServer": c["LoginServer"],
	}
	if e.repository != "" {
		doc["properties"] = map[string]any{"repository": e.repository, "tag": e.tag, "digest": e.l.digest, "mediaType": c["MediaType"], "userAgent": e.l.http.UserAgent()}
	}
	return doc
}
