package managedidentity

import (
	"context"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// system reads the system-assigned identities of other resources.
type system struct {
	dir    Directory
	kernel *arm.Kernel
}

// identity is the type by which the system-assigned identity of any resource is
// read: "default" at the resource. Azure's clientSecretUrl is left out, as nothing
// is served there.
func (s *system) identity() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                namespace + "/identities",
		Scope:               arm.OnAnything,
		NoProvisioningState: true,
		Virtual:             true,
		Methods:             []string{http.MethodGet},
		Default:             s.find,
		List: func(context.Context, *arm.Request, arm.ID) (*arm.Page, error) {
			return nil, arm.NotImplemented("GET of '%s'", namespace+"/identities")
		},
	}
}

func (s *system) find(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
	scope := id.Parent()
	if !strings.EqualFold(id.Name(), "default") || len(scope.Providers) == 0 {
		return nil, nil
	}
	of, err := s.kernel.Load(ctx, tx, scope)
	if err != nil || !strings.Contains(of.Body.String("identity.type"), "SystemAssigned") {
		return nil, err
	}
	who, err := s.dir.CreateIdentity(tx, of.ID, scope.FullName()) // it is there
	if err != nil {
		return nil, err
	}
	body := arm.Doc{
		"location":   of.Body.String("location"),
		"properties": map[string]any{"principalId": who.PrincipalID, "clientId": who.ClientID, "tenantId": who.TenantID},
	}
	if tags := of.Body.Object("tags"); tags != nil {
		body["tags"] = map[string]any(tags)
	}
	return &arm.Resource{ID: of.ID + "/providers/" + namespace + "/identities/default", Body: body, Private: arm.Doc{}}, nil
}
