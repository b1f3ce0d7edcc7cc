package entra

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// GraphHost is the host name that GraphHandler serves.
const GraphHost = "graph.microsoft.com"

const (
	graphAudience = "https://" + GraphHost
	graphAppID    = "00000003-0000-0000-c000-000000000000"
	maxGraphIDs   = 1000 // getByIds takes no more
	maxGraphBody  = 256 << 10
)

// graphError is a refusal in Microsoft Graph's shape.
type graphError struct {
	status  int
	code    string
	message string
}

func (e *graphError) Error() string { return e.code + ": " + e.message }

// GraphHandler serves the part of Microsoft Graph 1.0 that clients of the other
// services need: to find and keep users, groups, applications and their service
// principals.
func (d *Directory) GraphHandler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range d.graphRoutes() {
		mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) {
			d.answerGraph(w, r, func() (int, any, error) { return d.serveGraph(w, r, route) })
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		d.answerGraph(w, r, func() (int, any, error) {
			if _, err := d.graphCaller(r, ""); err != nil {
				return 0, nil, err
			}
			return 0, nil, notInGraph(r.Method + " " + r.URL.Path)
		})
	})
}

func (d *Directory) answerGraph(w http.ResponseWriter, r *http.Request, serve func() (int, any, error)) {
	status, body, err := serve()
	if err == nil {
		if body == nil {
			w.WriteHeader(status)
			return
		}
		writeJSON(w, status, body)
		return
	}
	var refusal *graphError
	if !errors.As(err, &refusal) {
		d.log.Error("the directory failed", keyPath, r.URL.Path, keyError, err)
		refusal = &graphError{http.StatusInternalServerError, "InternalServerError", "The directory failed."}
	}
	d.writeGraphError(w, r, refusal)
}

func (d *Directory) writeGraphError(w http.ResponseWriter, r *http.Request, e *graphError) {
	id := newID()
	client := r.Header.Get("Client-Request-Id")
	if !isUUID(client) {
		client = id
	}
	w.Header().Set("Request-Id", id)
	w.Header().Set("Client-Request-Id", client)
	writeJSON(w, e.status, map[string]any{"error": map[string]any{
		"code":    e.code,
		"message": e.message,
		"innerError": map[string]string{
			"date":              d.cfg.Clock.Now().Format("2006-01-02T15:04:05"),
			"request-id":        id,
			"client-request-id": client,
		},
	}})
}

// graphRoute is one operation. The permission is what a service principal needs
// besides being able to read the directory; "" for reading.
type graphRoute struct {
	pattern, permission string
	serve               func(*graphCall) (int, any, error)
}

// graphCall is one call, inside a transaction: one that may write if the route
// has a permission.
type graphCall struct {
	d      *Directory
	tx     store.Tx
	r      *http.Request
	body   map[string]any
	caller *principal
}

// set is the set of objects that the path names, as Graph spells it.
func (c *graphCall) set() string {
	set, _, _ := strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/v1.0/"), "/")
	for _, known := range []string{setUsers, setGroups, setApplications, setServicePrincipals} {
		if strings.EqualFold(set, known) {
			return known
		}
	}
	return set
}

func (d *Directory) serveGraph(w http.ResponseWriter, r *http.Request, route graphRoute) (status int, body any, err error) {
	caller, err := d.graphCaller(r, route.permission)
	if err != nil {
		return 0, nil, err
	}
	c := &graphCall{d: d, r: r, caller: caller}
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxGraphBody)).Decode(&c.body)
		if err != nil || c.body == nil {
			return 0, nil, &graphError{http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload."}
		}
	}
	in := d.cfg.Store.View
	if route.permission != "" {
		in = d.cfg.Store.Update
	}
	err = in(r.Context(), func(tx store.Tx) (err error) {
		c.tx = tx
		status, body, err = route.serve(c)
		return err
	})
	return status, body, err
}

// noObject is the refusal of what is not in the directory.
func noObject(id string) *graphError {
	return &graphError{http.StatusNotFound, "Request_ResourceNotFound",
		fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)}
}

func badGraph(format string, args ...any) *graphError {
	return &graphError{http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf(format, args...)}
}

// one answers with one object of the set.
func (c *graphCall) one(status int, set string, doc map[string]any) (int, any, error) {
	q := c.r.URL.Query()
	for name := range q {
		if name != "$select" {
			return 0, nil, notInGraph("the query parameter " + name)
		}
	}
	delete(doc, "@odata.type") // the set says it
	selectOnly(doc, q.Get("$select"))
	doc["@odata.context"] = graphAudience + "/v1.0/$metadata#" + set + "/$entity"
	return status, doc, nil
}

// selectOnly leaves what $select names, or all.
func selectOnly(doc map[string]any, selected string) {
	if selected == "" {
		return
	}
	names := strings.Split(selected, ",")
	maps.DeleteFunc(doc, func(name string, _ any) bool { return !slices.Contains(names, name) })
}

func notInGraph(operation string) *graphError {
	return &graphError{http.StatusNotImplemented, "NotImplementedByAzimuth", operation + " is not implemented by Azimuth."}
}

// graphCaller checks who asks, and that they may read the directory and hold the
// permission, if there is one.
func (d *Directory) graphCaller(r *http.Request, permission string) (*principal, error) {
	token, err := d.bearer(r)
	var p *principal
	if err == nil {
		p, err = d.verify(r.Context(), token, []string{graphAudience, graphAppID})
	}
	var refusal *AuthError
	if errors.As(err, &refusal) {
		message := "Access token validation failure."
		switch refusal.Reason {
		case ReasonMissing, ReasonHeader:
			message = "Access token is empty."
		case ReasonAudience:
			message += " Invalid audience."
		case ReasonTime:
			message = "Lifetime validation failed, the token is expired."
		}
		return nil, &graphError{http.StatusUnauthorized, "InvalidAuthenticationToken", message}
	}
	if err != nil {
		return nil, err
	}
	// Users read their directory and, here, change nothing in it: what a tenant
	// lets its users do is a setting of each tenant.
	reads := p.Type != TypeServicePrincipal || slices.Contains(p.GraphRoles, GraphReadDirectory)
	if !reads || permission != "" && !slices.Contains(p.GraphRoles, permission) {
		return nil, &graphError{http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
	}
	return p, nil
}

func (c *graphCall) byIDs() (int, any, error) {
	ids, types := stringsIn(c.body["ids"]), stringsIn(c.body["types"])
	if len(ids) == 0 || len(ids) > maxGraphIDs {
		return 0, nil, badGraph("The property 'ids' must have between 1 and %d values.", maxGraphIDs)
	}
	value := []any{}
	seen := map[string]bool{}
	for _, id := range ids {
		doc, err := c.object(id)
		if errors.Is(err, ErrNoPrincipal) {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		id, _ = doc["id"].(string)
		kind, _ := doc["@odata.type"].(string)
		if seen[id] || !wantsType(types, strings.TrimPrefix(kind, "#microsoft.graph.")) {
			continue
		}
		seen[id] = true
		value = append(value, doc)
	}
	return http.StatusOK, map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#directoryObjects", "value": value}, nil
}

// object is any object of the directory.
func (c *graphCall) object(id string) (map[string]any, error) {
	p, err := c.d.principal(c.tx, id)
	if err == nil {
		return graphObject(p), nil
	}
	if !errors.Is(err, ErrNoPrincipal) {
		return nil, err
	}
	app, appErr := first(&c.d.tables.applications, c.tx, byObjectID, id)
	if errors.Is(appErr, store.ErrNotFound) {
		return nil, err
	}
	if appErr != nil {
		return nil, appErr
	}
	return graphApplication(app), nil
}

// stringsIn is the texts of a JSON array.
func stringsIn(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func wantsType(types []string, kind string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		return strings.EqualFold(t, kind) || strings.EqualFold(t, "directoryObject")
	})
}

// graphObject is a principal as Microsoft Graph shows it.
func graphObject(p *principal) map[string]any {
	doc := map[string]any{
		"@odata.type":     "#microsoft.graph.user",
		"id":              p.ObjectID,
		"displayName":     p.DisplayName,
		"deletedDateTime": nil,
	}
	switch p.Type {
	case TypeServicePrincipal:
		doc["@odata.type"] = "#microsoft.graph.servicePrincipal"
		doc["appId"] = p.AppID
		doc["accountEnabled"] = !p.Disabled
		doc["servicePrincipalType"] = p.Kind
		doc["servicePrincipalNames"] = []string{p.AppID}
		alternative := []string{}
		if p.ResourceID != "" {
			alternative = []string{"isExplicit=False", p.ResourceID}
			if strings.Contains(strings.ToLower(p.ResourceID), "/microsoft.managedidentity/userassignedidentities/") {
				alternative[0] = "isExplicit=True"
			}
		}
		doc["alternativeNames"] = alternative
		doc["passwordCredentials"], doc["keyCredentials"], doc["tags"] = []any{}, []any{}, []any{}
	case TypeGroup:
		doc["@odata.type"] = "#microsoft.graph.group"
		doc["mailEnabled"], doc["securityEnabled"], doc["groupTypes"] = false, true, []string{}
		doc["mailNickname"], doc["description"] = p.MailNickname, orNull(p.Description)
		doc["createdDateTime"] = p.Created.UTC().Format(time.RFC3339)
	default:
		doc["userPrincipalName"], doc["mailNickname"], doc["mail"] = p.UPN, p.MailNickname, nil
		doc["accountEnabled"] = !p.Disabled
		doc["givenName"], doc["surname"], doc["jobTitle"], doc["mobilePhone"] = nil, nil, nil, nil
		doc["businessPhones"] = []string{}
	}
	return doc
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
