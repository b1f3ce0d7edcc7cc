package oci

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/google/uuid"
)

// maxName is the most characters of a repository's name.
const maxName = 255

// call is one request to an operation.
type call struct {
	*Service
	ctx context.Context
	w   http.ResponseWriter
	r   *http.Request
	reg *Registry
	who identity
	// scoped says that the caller showed a token, which lets do acts and no more.
	scoped bool
	acts   []scope
	now    time.Time
	// repo is the repository, ref what else the path names: a tag, digest or upload.
	repo, ref string
}

// operation is one operation of the APIs.
type operation struct {
	// methods are those it serves, between spaces.
	methods string
	// path has {name} for a repository and {ref} for what else varies.
	path string
	// actions are those of scopes, one of which it takes.
	actions []string
	serve   func(*call) error
}

// operations are all there are.
func operations() []operation {
	pull, push, del := []string{actPull}, []string{actPush}, []string{actDelete}
	see, set := []string{actMetadataRead, actPull}, []string{actMetadataWrite}
	return []operation{
		{"GET HEAD", "v2/", nil, (*call).ping},
		{"GET", "v2/_catalog", []string{actCatalog}, (*call).catalog},
		{"GET", "v2/{name}/tags/list", see, (*call).tagNames},
		{"GET HEAD", "v2/{name}/manifests/{ref}", pull, (*call).getManifest},
		{"PUT", "v2/{name}/manifests/{ref}", push, (*call).putManifest},
		{"DELETE", "v2/{name}/manifests/{ref}", del, (*call).deleteManifest},
		{"GET", "v2/{name}/referrers/{ref}", pull, (*call).referrers},
		{"POST", "v2/{name}/blobs/uploads/", push, (*call).startUpload},
		{"GET", "v2/{name}/blobs/uploads/{ref}", push, (*call).uploadStatus},
		{"PATCH", "v2/{name}/blobs/uploads/{ref}", push, (*call).continueUpload},
		{"PUT", "v2/{name}/blobs/uploads/{ref}", push, (*call).endUpload},
		{"DELETE", "v2/{name}/blobs/uploads/{ref}", push, (*call).cancelUpload},
		{"GET HEAD", "v2/{name}/blobs/{ref}", pull, (*call).getBlob},
		{"DELETE", "v2/{name}/blobs/{ref}", del, (*call).deleteBlob},

		{"GET", "acr/v1/_catalog", []string{actCatalog}, (*call).catalog},
		{"GET", "acr/v1/{name}/_tags", see, (*call).listTags},
		{"GET", "acr/v1/{name}/_tags/{ref}", see, (*call).showTag},
		{"PATCH", "acr/v1/{name}/_tags/{ref}", set, (*call).changeTag},
		{"DELETE", "acr/v1/{name}/_tags/{ref}", del, (*call).deleteTag},
		{"GET", "acr/v1/{name}/_manifests", see, (*call).listManifests},
		{"GET", "acr/v1/{name}/_manifests/{ref}", see, (*call).showManifest},
		{"PATCH", "acr/v1/{name}/_manifests/{ref}", set, (*call).changeManifest},
		{"GET", "acr/v1/{name}", see, (*call).showRepository},
		{"PATCH", "acr/v1/{name}", set, (*call).changeRepository},
		{"DELETE", "acr/v1/{name}", del, (*call).deleteRepository},
	}
}

// match reports whether a path is the operation's, and what stands for {name} and
// {ref}. A name has as many segments as are left for it.
func (o *operation) match(path string) (name, ref string, ok bool) {
	head, tail, named := strings.Cut(o.path, "{name}")
	if !named {
		return "", "", path == o.path || path+"/" == o.path
	}
	rest, ok := strings.CutPrefix(path, head)
	if !ok {
		return "", "", false
	}
	middle, one := strings.CutSuffix(tail, "{ref}")
	if one {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return "", "", false
		}
		rest, ref = rest[:i+1], rest[i+1:]
		if ref == "" {
			return "", "", false
		}
	}
	name, ok = strings.CutSuffix(rest, middle)
	if !ok && !one && strings.HasSuffix(middle, "/") {
		name, ok = strings.CutSuffix(rest, strings.TrimSuffix(middle, "/"))
	}
	return name, ref, ok && name != ""
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("X-Ms-Correlation-Request-Id", uuid.NewString())
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	name := strings.TrimSuffix(host, Suffix)
	reg, err := s.cfg.Registries.Registry(r.Context(), name)
	if errors.Is(err, ErrNoRegistry) {
		// Azure has no address for the name; a proxy can only say so
		return &apiError{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "There is no container registry '" + name + "'."}
	}
	if err != nil {
		return err
	}
	if reg.Refused {
		return &apiError{Status: http.StatusForbidden, Code: "DENIED",
			Message: "client with IP '" + reg.Client + "' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."}
	}
	c := &call{Service: s, ctx: r.Context(), w: w, r: r, reg: reg, now: s.cfg.Clock.Now()}
	path := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case path == "oauth2/exchange" && r.Method == http.MethodPost:
		return c.exchange()
	case path == "oauth2/token" && (r.Method == http.MethodPost || r.Method == http.MethodGet):
		return c.token()
	}
	there := false
	for i := range s.operations {
		o := &s.operations[i]
		name, ref, ok := o.match(path)
		if !ok || name != "" && !s.isName(name) && strings.HasPrefix(path, "acr/") {
			continue // of /acr/v1 only what is a name is one: _deleted and others are not
		}
		there = true
		if !strings.Contains(" "+o.methods+" ", " "+r.Method+" ") {
			continue
		}
		c.repo, c.ref = name, ref
		return c.run(o)
	}
	if there {
		return known(errcode.ErrorCodeUnsupported, nil)
	}
	// who is nobody is not told what there is
	if err := s.authorize(c, need{}); err != nil {
		return err
	}
	if strings.HasPrefix(path, "acr/") || strings.HasPrefix(path, "oauth2/") {
		return notImplemented(r.Method + " /" + path)
	}
	return &apiError{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "There is nothing at this path."}
}

func (s *Service) isName(name string) bool {
	return len(name) <= maxName && s.repoName.MatchString(name)
}

// run checks names, asks who calls, and serves.
func (c *call) run(o *operation) error {
	n := need{Type: typeRepository, Name: c.repo, Actions: o.actions}
	if from := c.r.URL.Query().Get("from"); c.r.Method == http.MethodPost && c.isName(from) {
		n.From = from
	}
	switch {
	case len(o.actions) == 0:
		n = need{}
	case c.repo == "":
		n.Type, n.Name = typeRegistry, nameCatalog
	case !c.isName(c.repo):
		// not in the challenge: it may be anything
		if err := c.authorize(c, need{}); err != nil {
			return err
		}
		return known(errcode.ErrorCodeNameInvalid, nil)
	}
	if err := c.authorize(c, n); err != nil {
		return err
	}
	return o.serve(c)
}

func (c *call) ping() error {
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{})
	return nil
}
