package entra

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

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
// services need: to find a service principal by its names, and objects by ID.
func (d *Directory) GraphHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := d.serveGraph(w, r)
		if err == nil {
			writeJSON(w, http.StatusOK, body)
			return
		}
		var refusal *graphError
		if !errors.As(err, &refusal) {
			d.log.Error("the directory failed", keyPath, r.URL.Path, keyError, err)
			refusal = &graphError{http.StatusInternalServerError, "InternalServerError", "The directory failed."}
		}
		d.writeGraphError(w, r, refusal)
	})
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

func (d *Directory) serveGraph(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := d.graphCaller(r); err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case r.Method == http.MethodPost && path == "/v1.0/directoryObjects/getByIds":
		return d.graphByIDs(w, r)
	case r.Method == http.MethodGet && path == "/v1.0/servicePrincipals":
		return d.graphFind(r, "servicePrincipals", byAppID, parseFilter)
	case r.Method == http.MethodGet && path == "/v1.0/users":
		return d.graphFind(r, "users", byUPN, func(filter string) (string, bool) { return parseEquals(filter, "userPrincipalName") })
	}
	set, id, one := strings.Cut(strings.TrimPrefix(path, "/v1.0/"), "/")
	if one && r.Method == http.MethodGet && !strings.Contains(id, "/") {
		switch set {
		case "servicePrincipals":
			return d.graphGet(r, set, id, TypeServicePrincipal)
		case "users":
			return d.graphGet(r, set, id, TypeUser)
		}
	}
	return nil, notInGraph(r.Method + " " + r.URL.Path)
}

// graphGet is one member of a set, by its object ID; users by their UPN, too.
func (d *Directory) graphGet(r *http.Request, set, id, kind string) (any, error) {
	q := r.URL.Query()
	for name := range q {
		if name != "$select" {
			return nil, notInGraph("the query parameter " + name)
		}
	}
	var doc map[string]any
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		p, err := d.principal(tx, id)
		if errors.Is(err, ErrNoPrincipal) && kind == TypeUser {
			if p, err = first(&d.tables.principals, tx, byUPN, id); errors.Is(err, store.ErrNotFound) {
				err = ErrNoPrincipal
			}
		}
		if errors.Is(err, ErrNoPrincipal) || err == nil && p.Type != kind {
			return &graphError{http.StatusNotFound, "Request_ResourceNotFound",
				fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)}
		}
		if err != nil {
			return err
		}
		doc = graphObject(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	delete(doc, "@odata.type") // the set says it
	selectOnly(doc, q.Get("$select"))
	doc["@odata.context"] = graphAudience + "/v1.0/$metadata#" + set + "/$entity"
	return doc, nil
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

// graphCaller checks who asks, and that they may read the directory.
func (d *Directory) graphCaller(r *http.Request) error {
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
		return &graphError{http.StatusUnauthorized, "InvalidAuthenticationToken", message}
	}
	if err != nil {
		return err
	}
	if p.Type == TypeServicePrincipal && !slices.Contains(p.GraphRoles, GraphReadDirectory) {
		return &graphError{http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
	}
	return nil
}

func (d *Directory) graphByIDs(w http.ResponseWriter, r *http.Request) (any, error) {
	var q struct {
		IDs   []string `json:"ids"`
		Types []string `json:"types"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxGraphBody)).Decode(&q); err != nil {
		return nil, &graphError{http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload."}
	}
	if len(q.IDs) == 0 || len(q.IDs) > maxGraphIDs {
		return nil, &graphError{http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("The property 'ids' must have between 1 and %d values.", maxGraphIDs)}
	}
	value := []any{}
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		seen := map[string]bool{}
		for _, id := range q.IDs {
			p, err := d.principal(tx, id)
			if errors.Is(err, ErrNoPrincipal) {
				continue
			}
			if err != nil {
				return err
			}
			doc := graphObject(p)
			kind, _ := doc["@odata.type"].(string)
			kind = strings.TrimPrefix(kind, "#microsoft.graph.")
			if seen[p.ObjectID] || !wantsType(q.Types, kind) {
				continue
			}
			seen[p.ObjectID] = true
			value = append(value, doc)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#directoryObjects", "value": value}, nil
}

func wantsType(types []string, kind string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		return strings.EqualFold(t, kind) || strings.EqualFold(t, "directoryObject")
	})
}

// graphFind lists the one member of a set, or none, that a filter names. parse
// reads the filters that are understood.
func (d *Directory) graphFind(r *http.Request, set, index string, parse func(string) (string, bool)) (any, error) {
	q := r.URL.Query()
	for name := range q {
		if name != "$filter" && name != "$top" && name != "$select" {
			return nil, notInGraph("the query parameter " + name)
		}
	}
	name, ok := parse(q.Get("$filter"))
	if !ok {
		return nil, notInGraph(fmt.Sprintf("the filter %q on %s", q.Get("$filter"), set))
	}
	value := []any{}
	err := d.cfg.Store.View(r.Context(), func(tx store.Tx) error {
		p, err := first(&d.tables.principals, tx, index, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		doc := graphObject(p)
		delete(doc, "@odata.type") // a list of one type does not say it
		selectOnly(doc, q.Get("$select"))
		value = append(value, doc)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#" + set, "value": value}, nil
}

// parseFilter reads the two OData filters that name a service principal:
// appId eq '…' and servicePrincipalNames/any(c:c eq '…').
func parseFilter(filter string) (name string, ok bool) {
	filter = strings.TrimSpace(filter)
	if rest, ok := strings.CutPrefix(filter, "servicePrincipalNames/any("); ok {
		variable, rest, ok := strings.Cut(rest, ":")
		if !ok {
			return "", false
		}
		variable = strings.TrimSpace(variable)
		rest, ok = strings.CutSuffix(strings.TrimSpace(rest), ")")
		if !ok || variable == "" || strings.ContainsAny(variable, " '()") {
			return "", false
		}
		return parseEquals(rest, variable)
	}
	return parseEquals(filter, "appId")
}

// parseEquals reads property eq 'value', where a quote in the value is doubled.
func parseEquals(s, property string) (value string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), property+" eq '")
	if !ok {
		return "", false
	}
	rest, ok = strings.CutSuffix(rest, "'")
	if !ok {
		return "", false
	}
	value = strings.ReplaceAll(rest, "''", "'")
	if strings.Count(rest, "'") != 2*strings.Count(value, "'") {
		return "", false // a single quote: there is more than one value
	}
	return value, value != ""
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
		doc["accountEnabled"] = true
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
	case TypeGroup:
		doc["@odata.type"] = "#microsoft.graph.group"
	default:
		doc["userPrincipalName"] = p.UPN
	}
	return doc
}
