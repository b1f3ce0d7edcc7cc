package machinelearning

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ConnectionType is the type of connections: how a workspace, a hub or a project
// reaches something outside, such as a Git repository or a package feed. They are
// kept for those who ask for them; nothing in Azimuth uses them by itself.
const ConnectionType = WorkspaceType + "/connections"

// secretFields are what a connection keeps to itself. The value is the credentials as
// the first API versions had them, in one string.
func secretFields() []string { return []string{"credentials", "value"} }

func (p *provider) connection() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                ConnectionType,
		SystemData:          true,
		NoProvisioningState: true,
		PutStatus:           [2]int{http.StatusOK, http.StatusOK},
		Name: arm.NameRule{
			// the pattern of the service's own specification
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`),
			Text:    "The name of a connection has 3 to 33 letters, digits, '-' and '_', and begins with a letter or digit.",
		},
		Filter: connectionFilter,
		Validate: func(_ context.Context, put *arm.Put) error {
			return validateConnection(put.Resource.Body)
		},
		Put: func(_ context.Context, put *arm.Put) error {
			keepSecrets(put)
			put.Force("properties.createdByWorkspaceArmId")
			put.Resource.Body.Default("properties.createdByWorkspaceArmId", put.Parent.ID)
			return nil
		},
		Read: func(_ context.Context, _ store.Tx, r *arm.Resource) error {
			// an identity is no secret; of all else there is none to be seen
			r.Body.Set("properties.credentials", nil)
			if r.Body.String("properties.authType") == "ManagedIdentity" {
				r.Body.Set("properties.credentials", r.Private.Get("credentials"))
			}
			return nil
		},
		Actions: []arm.Action{{Name: "listsecrets", Permission: ConnectionType + "/listsecrets/action", Handle: p.connectionSecrets}},
	}
}

// validateConnection checks what a connection says. Azure's words are not known.
func validateConnection(body arm.Doc) error {
	if body.Object("properties") == nil {
		return validationError("properties", "The property 'properties' of the connection is missing.")
	}
	if _, err := oneOf(body, "properties.authType", "PAT", "ManagedIdentity", "UsernamePassword", "None", "SAS", "AccountKey",
		"ServicePrincipal", "AccessKey", "ApiKey", "CustomKeys", "OAuth2", "AAD"); err != nil {
		return err
	}
	for _, name := range []string{"credentials", "metadata"} {
		if path := "properties." + name; body.Has(path) && body.Object(path) == nil {
			return validationError(path, "The property '%s' of the connection is not an object.", name)
		}
	}
	if v := body.Get("properties.value"); v != nil {
		if _, ok := v.(string); !ok {
			return validationError("properties.value", "The property 'value' of the connection is not a string.")
		}
	}
	return nil
}

// keepSecrets moves what a connection keeps to itself out of its document. A PUT says
// all of it anew, a PATCH what changes.
func keepSecrets(put *arm.Put) {
	r := put.Resource
	for _, name := range secretFields() {
		path := "properties." + name
		v := r.Body.Get(path)
		r.Body.Delete(path)
		if put.HTTP.Method == http.MethodPut {
			r.Private.Delete(name)
		}
		if m, ok := v.(map[string]any); ok && put.HTTP.Method == http.MethodPatch && r.Private.Object(name) != nil {
			r.Private.Object(name).Merge(m)
		} else if v != nil {
			r.Private.Set(name, v)
		}
	}
}

// connectionSecrets is POST …/listsecrets: the connection with what it keeps to itself.
func (p *provider) connectionSecrets(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var doc arm.Doc
	err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
		r, err := p.kernel.Load(ctx, tx, req.ID)
		if err != nil {
			return err
		}
		if doc, err = p.kernel.Render(ctx, tx, r); err != nil {
			return err
		}
		for _, name := range secretFields() {
			if v := r.Private.Get(name); v != nil {
				doc.Set("properties."+name, v)
			}
		}
		return nil
	})
	return arm.OK(doc), err
}

// connectionFilter is the filter of lists by ?category= and ?target=.
func connectionFilter(req *arm.Request) func(*arm.Resource) bool {
	category, target := req.Query.Get("category"), req.Query.Get("target")
	if category == "" && target == "" {
		return nil
	}
	return func(r *arm.Resource) bool {
		return (category == "" || strings.EqualFold(r.Body.String("properties.category"), category)) &&
			(target == "" || r.Body.String("properties.target") == target)
	}
}
