package terraform

import (
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// fakeAzurerm is an azurerm with one resource type that remembers nothing: what
// was created is read back as it is in the state.
type fakeAzurerm struct{ tfprotov5.ProviderServer }

const fakeAddress = "registry.terraform.io/hashicorp/azurerm"

// serveFake serves the fake from this process until the test ends and returns
// the value of TF_REATTACH_PROVIDERS, under terraform's address only.
func serveFake(t *testing.T) string {
	t.Helper()
	t.Setenv("TF_LOG_SDK", "off") // the protocol server traces to the standard error otherwise
	ctx, stop := context.WithCancel(context.Background())
	ready, closed := make(chan *plugin.ReattachConfig), make(chan struct{})
	go plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 5},
		GRPCServer:      plugin.DefaultGRPCServer,
		Plugins: plugin.PluginSet{"provider": &tf5server.GRPCProviderPlugin{
			Name:         fakeAddress,
			GRPCProvider: func() tfprotov5.ProviderServer { return fakeAzurerm{} },
		}},
		Logger: hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off}),
		Test:   &plugin.ServeTestConfig{Context: ctx, ReattachConfigCh: ready, CloseCh: closed},
	})
	t.Cleanup(func() { stop(); <-closed })
	config := <-ready
	text, err := json.Marshal(map[string]any{fakeAddress: map[string]any{
		"Protocol": config.Protocol, "ProtocolVersion": config.ProtocolVersion, "Pid": config.Pid, "Test": true,
		"Addr": map[string]string{"Network": config.Addr.Network(), "String": config.Addr.String()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (fakeAzurerm) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	return &tfprotov5.GetMetadataResponse{Resources: []tfprotov5.ResourceMetadata{{TypeName: "azurerm_resource_group"}}}, nil
}

func (fakeAzurerm) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	return &tfprotov5.GetProviderSchemaResponse{
		Provider: &tfprotov5.Schema{Block: &tfprotov5.SchemaBlock{BlockTypes: []*tfprotov5.SchemaNestedBlock{{
			TypeName: "features", Nesting: tfprotov5.SchemaNestedBlockNestingModeList, Block: &tfprotov5.SchemaBlock{},
		}}}},
		ResourceSchemas: map[string]*tfprotov5.Schema{"azurerm_resource_group": {Block: &tfprotov5.SchemaBlock{
			Attributes: []*tfprotov5.SchemaAttribute{
				{Name: "id", Type: tftypes.String, Computed: true},
				{Name: "name", Type: tftypes.String, Required: true},
			},
		}}},
	}, nil
}

func (fakeAzurerm) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func (fakeAzurerm) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (fakeAzurerm) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (fakeAzurerm) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func (fakeAzurerm) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func groupType() tftypes.Object {
	return tftypes.Object{AttributeTypes: map[string]tftypes.Type{"id": tftypes.String, "name": tftypes.String}}
}

func (fakeAzurerm) UpgradeResourceState(_ context.Context, r *tfprotov5.UpgradeResourceStateRequest) (*tfprotov5.UpgradeResourceStateResponse, error) {
	v, err := r.RawState.Unmarshal(groupType())
	if err != nil {
		return nil, err
	}
	dv, err := tfprotov5.NewDynamicValue(groupType(), v)
	return &tfprotov5.UpgradeResourceStateResponse{UpgradedState: &dv}, err
}

func (fakeAzurerm) ReadResource(_ context.Context, r *tfprotov5.ReadResourceRequest) (*tfprotov5.ReadResourceResponse, error) {
	return &tfprotov5.ReadResourceResponse{NewState: r.CurrentState}, nil
}

// withID returns a value with its id replaced; nothing stays nothing.
func withID(raw *tfprotov5.DynamicValue, id any) (*tfprotov5.DynamicValue, error) {
	v, err := raw.Unmarshal(groupType())
	if err != nil || v.IsNull() {
		return raw, err
	}
	var fields map[string]tftypes.Value
	if err := v.As(&fields); err != nil {
		return nil, err
	}
	fields["id"] = tftypes.NewValue(tftypes.String, id)
	dv, err := tfprotov5.NewDynamicValue(groupType(), tftypes.NewValue(groupType(), fields))
	return &dv, err
}

func (fakeAzurerm) PlanResourceChange(_ context.Context, r *tfprotov5.PlanResourceChangeRequest) (*tfprotov5.PlanResourceChangeResponse, error) {
	prior, err := r.PriorState.Unmarshal(groupType())
	if err != nil {
		return nil, err
	}
	planned := r.ProposedNewState
	if prior.IsNull() {
		planned, err = withID(planned, tftypes.UnknownValue)
	}
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: planned}, err
}

func (fakeAzurerm) ApplyResourceChange(_ context.Context, r *tfprotov5.ApplyResourceChangeRequest) (*tfprotov5.ApplyResourceChangeResponse, error) {
	state, err := withID(r.PlannedState, "/subscriptions/s/resourceGroups/a")
	return &tfprotov5.ApplyResourceChangeResponse{NewState: state}, err
}
