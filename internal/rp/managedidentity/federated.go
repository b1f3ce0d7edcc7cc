package managedidentity

import (
	"context"
	"net/http"
	"regexp"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// FederatedType is the type of federated identity credentials.
const FederatedType = IdentityType + "/federatedIdentityCredentials"

// Federated is a federated identity credential: tokens of the issuer, for the
// subject and the audience, stand for the identity.
type Federated struct {
	// ClientID is that of the identity, Name unique in it.
	ClientID, Name, Issuer, Subject string
	Audiences                       []string
}

// federated is the type of credentials, which the directory takes tokens by.
func federated(dir Directory) *arm.ResourceType {
	return &arm.ResourceType{
		Type:                FederatedType,
		NoProvisioningState: true,
		SystemData:          true,
		Methods:             []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Name: arm.NameRule{
			// from the SDK's pattern of the parameter
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$`),
			Text:    "A federated identity credential has 3 to 120 letters, digits, - and _, and begins with a letter or digit.",
		},
		Put: func(_ context.Context, p *arm.Put) error {
			in := p.Resource.Body.Object("properties")
			f := Federated{
				ClientID: p.Parent.Body.String("properties.clientId"), Name: p.ID.Name(),
				Issuer: in.String("issuer"), Subject: in.String("subject"),
			}
			if err := p.Resource.Body.Decode("properties.audiences", &f.Audiences); err != nil {
				return err
			}
			p.Resource.Body = arm.Doc{"properties": map[string]any{
				"issuer": f.Issuer, "subject": f.Subject, "audiences": in["audiences"],
			}}
			return dir.PutFederated(p.Tx, f)
		},
		Delete: func(ctx context.Context, d *arm.Delete) error {
			parent, err := d.Kernel.Load(ctx, d.Tx, d.ID.Parent())
			if err != nil {
				return err
			}
			return dir.DeleteFederated(d.Tx, parent.Body.String("properties.clientId"), d.ID.Name())
		},
	}
}
