package provider

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// server answers the provider protocol. One server has a session for each
// connection: Terraform connects once for each provider block, so blocks with an
// alias keep their own features and credentials.
type server struct {
	p *Provider

	schemaOnce sync.Once
	schemas    *tfprotov5.GetProviderSchemaResponse

	mu       sync.Mutex
	sessions map[connection]*session
	locks    map[string]*sync.Mutex
}

// Server returns the provider's protocol server, for callers that serve it
// themselves. See Serve.
func (p *Provider) Server() tfprotov5.ProviderServer { return p.newServer() }

func (p *Provider) newServer() *server {
	return &server{p: p, sessions: map[connection]*session{}, locks: map[string]*sync.Mutex{}}
}

func (s *server) session(ctx context.Context) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[connectionOf(ctx)]; ses != nil {
		return ses, nil
	}
	return nil, errUnconfigured
}

// lock makes changes under the same name follow each other.
func (s *server) lock(name string) (unlock func()) {
	s.mu.Lock()
	m := s.locks[name]
	if m == nil {
		m = &sync.Mutex{}
		s.locks[name] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// forget drops the session of a connection that has ended.
func (s *server) forget(c connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

// GetMetadata lists the types without their schemas.
func (s *server) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	resp := &tfprotov5.GetMetadataResponse{ServerCapabilities: capabilities()}
	for name := range s.p.table.Resources {
		resp.Resources = append(resp.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	for name := range s.p.table.DataSources {
		resp.DataSources = append(resp.DataSources, tfprotov5.DataSourceMetadata{TypeName: name})
	}
	return resp, nil
}

func capabilities() *tfprotov5.ServerCapabilities {
	return &tfprotov5.ServerCapabilities{GetProviderSchemaOptional: true}
}

// GetProviderSchema gives the schemas of every type of the table, whether or not
// it is implemented, so that configurations can be validated.
func (s *server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	s.schemaOnce.Do(func() {
		resp := &tfprotov5.GetProviderSchemaResponse{
			ServerCapabilities: capabilities(),
			Provider:           &tfprotov5.Schema{Block: s.p.table.Provider.protoBlock()},
			ResourceSchemas:    make(map[string]*tfprotov5.Schema, len(s.p.table.Resources)),
			DataSourceSchemas:  make(map[string]*tfprotov5.Schema, len(s.p.table.DataSources)),
		}
		for name, k := range s.p.table.Resources {
			resp.ResourceSchemas[name] = k.protoSchema()
		}
		for name, k := range s.p.table.DataSources {
			resp.DataSourceSchemas[name] = k.protoSchema()
		}
		s.schemas = resp
	})
	return s.schemas, nil
}

// PrepareProviderConfig checks the provider block.
func (s *server) PrepareProviderConfig(_ context.Context, req *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	resp := &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: req.Config}
	config, err := s.object(req.Config, s.p.table.Provider)
	if err != nil {
		resp.Diagnostics = failure("reading the provider block", err)
		return resp, nil
	}
	c := &checker{major: s.p.cfg.Major, config: config}
	c.check(s.p.table.Provider)
	resp.Diagnostics = c.diags
	return resp, nil
}

// ConfigureProvider checks the provider block against this cloud.
func (s *server) ConfigureProvider(ctx context.Context, req *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	resp := &tfprotov5.ConfigureProviderResponse{}
	config, err := s.object(req.Config, s.p.table.Provider)
	if err != nil {
		resp.Diagnostics = failure("reading the provider block", err)
		return resp, nil
	}
	config, _ = dropUnknown(config).(map[string]any)
	ses, err := s.p.newSession(ctx, config)
	if err != nil {
		resp.Diagnostics = failure("configuring the azurerm provider", err)
		return resp, nil
	}
	if ignored := ignoredCredentials(config); len(ignored) > 0 {
		resp.Diagnostics = []*tfprotov5.Diagnostic{{
			Severity: tfprotov5.DiagnosticSeverityWarning,
			Summary:  "credentials of the provider block are not used",
			Detail: fmt.Sprintf("The built-in provider signs in with client_id and client_secret, or as the principal that azimuth runs it for (%s). It does not use: %s.",
				ses.clientID, strings.Join(ignored, ", ")),
		}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[connectionOf(ctx)] = ses
	return resp, nil
}

// ignoredCredentials lists the arguments that ask for a way to sign in which the
// built-in provider does not have.
func ignoredCredentials(config map[string]any) []string {
	var out []string
	for _, name := range []string{
		"auxiliary_tenant_ids", "client_certificate", "client_certificate_path", "client_id_file_path", "client_secret_file_path",
		"oidc_token", "oidc_token_file_path", "oidc_request_token", "use_aks_workload_identity", "use_msi", "use_oidc",
	} {
		if !isZero(config[name]) {
			out = append(out, name)
		}
	}
	if (config["client_id"] == nil) != (config["client_secret"] == nil) {
		out = append(out, "client_id without client_secret, or the other way round")
	}
	return out
}

// StopProvider is answered by the protocol library, which cancels the contexts of
// the calls that are running.
func (s *server) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

// resource finds the schema and, if it is implemented, the mapping of a type.
func (s *server) resource(name string) (*kind, *resourceType, error) {
	k := s.p.table.Resources[name]
	if k == nil {
		return nil, nil, fmt.Errorf("the built-in azurerm provider does not know %s", name)
	}
	return k, s.p.types[name], nil
}

// object decodes a value of a block's type. Null gives nil.
func (s *server) object(v *tfprotov5.DynamicValue, as attributes) (map[string]any, error) {
	if v == nil {
		return nil, nil
	}
	val, err := v.Unmarshal(as.objectType())
	if err != nil {
		return nil, err
	}
	tree, err := fromTF(val)
	if err != nil {
		return nil, err
	}
	return asObject(tree), nil
}

// dynamic encodes a value of a block's type. nil gives null.
func dynamic(obj map[string]any, as attributes) (*tfprotov5.DynamicValue, error) {
	t := as.objectType()
	var tree any
	if obj != nil {
		tree = obj
	}
	val, err := toTF(tree, t)
	if err != nil {
		return nil, err
	}
	dv, err := tfprotov5.NewDynamicValue(t, val)
	if err != nil {
		return nil, err
	}
	return &dv, nil
}

// failure is an error diagnostic.
func failure(doing string, err error) []*tfprotov5.Diagnostic {
	return []*tfprotov5.Diagnostic{{
		Severity: tfprotov5.DiagnosticSeverityError,
		Summary:  doing,
		Detail:   err.Error(),
	}}
}

// problem is an error diagnostic as azurerm gives it: the error is its summary.
func problem(err error, at *tftypes.AttributePath) *tfprotov5.Diagnostic {
	return &tfprotov5.Diagnostic{
		Severity:  tfprotov5.DiagnosticSeverityError,
		Summary:   err.Error(),
		Attribute: at,
	}
}

// notImplemented is the answer for types that only have a schema.
func notImplemented(name string) []*tfprotov5.Diagnostic {
	return []*tfprotov5.Diagnostic{{
		Severity: tfprotov5.DiagnosticSeverityError,
		Summary:  name + " is not implemented by Azimuth's built-in provider yet; use --provider registry",
		Detail:   "The configuration is valid, but nothing was planned or changed. With --provider registry, HashiCorp's own azurerm provider is used instead.",
	}}
}
