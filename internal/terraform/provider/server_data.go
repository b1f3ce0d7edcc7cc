package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

// ValidateDataSourceConfig checks a configuration without asking any service.
func (s *server) ValidateDataSourceConfig(_ context.Context, req *tfprotov5.ValidateDataSourceConfigRequest) (*tfprotov5.ValidateDataSourceConfigResponse, error) {
	resp := &tfprotov5.ValidateDataSourceConfigResponse{}
	k := s.p.table.DataSources[req.TypeName]
	if k == nil {
		resp.Diagnostics = failure("validating the configuration", unknownDataSource(req.TypeName))
		return resp, nil
	}
	config, err := s.object(req.Config, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the configuration", err)
		return resp, nil
	}
	c := &checker{major: s.p.cfg.Major, config: config}
	c.check(k.Attributes)
	resp.Diagnostics = c.diags
	return resp, nil
}

func unknownDataSource(name string) error {
	return fmt.Errorf("the built-in azurerm provider does not know the data source %s", name)
}

// ReadDataSource reads a data source.
func (s *server) ReadDataSource(ctx context.Context, req *tfprotov5.ReadDataSourceRequest) (*tfprotov5.ReadDataSourceResponse, error) {
	resp := &tfprotov5.ReadDataSourceResponse{}
	k, ds := s.p.table.DataSources[req.TypeName], s.p.data[req.TypeName]
	if k == nil {
		resp.Diagnostics = failure("reading", unknownDataSource(req.TypeName))
		return resp, nil
	}
	if ds == nil {
		resp.Diagnostics = notImplemented("data." + req.TypeName)
		return resp, nil
	}
	config, err := s.object(req.Config, k.Attributes)
	if err != nil {
		resp.Diagnostics = failure("reading the configuration", err)
		return resp, nil
	}
	ses, err := s.session(ctx)
	if err != nil {
		resp.Diagnostics = failure("reading "+req.TypeName, err)
		return resp, nil
	}
	limit, err := k.timeout("read", config)
	if err != nil {
		resp.Diagnostics = failure("reading "+req.TypeName, err)
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	state, err := ses.readData(ctx, ds, k, config)
	if err != nil {
		resp.Diagnostics = []*tfprotov5.Diagnostic{problem(err, nil)}
		return resp, nil
	}
	if resp.State, err = dynamic(state, k.Attributes); err != nil {
		resp.Diagnostics = failure("writing the state of "+req.TypeName, err)
	}
	return resp, nil
}
