package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

// What the served azurerm versions have no use for is answered as such.

var errNoSuchCall = errors.New("the built-in azurerm provider has none of these; use --provider registry")

// GetResourceIdentitySchemas says that there are none.
func (s *server) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

// UpgradeResourceIdentity refuses: no resource has an identity.
func (s *server) UpgradeResourceIdentity(context.Context, *tfprotov5.UpgradeResourceIdentityRequest) (*tfprotov5.UpgradeResourceIdentityResponse, error) {
	return &tfprotov5.UpgradeResourceIdentityResponse{Diagnostics: failure("resource identities are not supported", errNoSuchCall)}, nil
}

// MoveResourceState refuses: azurerm moves no state between types.
func (s *server) MoveResourceState(_ context.Context, req *tfprotov5.MoveResourceStateRequest) (*tfprotov5.MoveResourceStateResponse, error) {
	return &tfprotov5.MoveResourceStateResponse{Diagnostics: failure("moving "+req.SourceTypeName+" to "+req.TargetTypeName+" is not supported", errNoSuchCall)}, nil
}

// GenerateResourceConfig refuses; Terraform then generates configurations itself.
func (s *server) GenerateResourceConfig(context.Context, *tfprotov5.GenerateResourceConfigRequest) (*tfprotov5.GenerateResourceConfigResponse, error) {
	return &tfprotov5.GenerateResourceConfigResponse{Diagnostics: failure("generating configurations is not supported", errNoSuchCall)}, nil
}

// GetFunctions says that there are none. azurerm has two functions on resource
// IDs since 4.0; they are not among the tables.
func (s *server) GetFunctions(context.Context, *tfprotov5.GetFunctionsRequest) (*tfprotov5.GetFunctionsResponse, error) {
	return &tfprotov5.GetFunctionsResponse{}, nil
}

// CallFunction refuses.
func (s *server) CallFunction(_ context.Context, req *tfprotov5.CallFunctionRequest) (*tfprotov5.CallFunctionResponse, error) {
	return &tfprotov5.CallFunctionResponse{Error: &tfprotov5.FunctionError{Text: "provider::azurerm::" + req.Name + ": " + errNoSuchCall.Error()}}, nil
}

// ValidateEphemeralResourceConfig refuses.
func (s *server) ValidateEphemeralResourceConfig(_ context.Context, req *tfprotov5.ValidateEphemeralResourceConfigRequest) (*tfprotov5.ValidateEphemeralResourceConfigResponse, error) {
	return &tfprotov5.ValidateEphemeralResourceConfigResponse{Diagnostics: failure("ephemeral resources are not supported", errNoSuchCall)}, nil
}

// OpenEphemeralResource refuses.
func (s *server) OpenEphemeralResource(context.Context, *tfprotov5.OpenEphemeralResourceRequest) (*tfprotov5.OpenEphemeralResourceResponse, error) {
	return &tfprotov5.OpenEphemeralResourceResponse{Diagnostics: failure("ephemeral resources are not supported", errNoSuchCall)}, nil
}

// RenewEphemeralResource refuses.
func (s *server) RenewEphemeralResource(context.Context, *tfprotov5.RenewEphemeralResourceRequest) (*tfprotov5.RenewEphemeralResourceResponse, error) {
	return &tfprotov5.RenewEphemeralResourceResponse{Diagnostics: failure("ephemeral resources are not supported", errNoSuchCall)}, nil
}

// CloseEphemeralResource refuses.
func (s *server) CloseEphemeralResource(context.Context, *tfprotov5.CloseEphemeralResourceRequest) (*tfprotov5.CloseEphemeralResourceResponse, error) {
	return &tfprotov5.CloseEphemeralResourceResponse{Diagnostics: failure("ephemeral resources are not supported", errNoSuchCall)}, nil
}
