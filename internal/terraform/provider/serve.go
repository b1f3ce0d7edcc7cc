package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-log/tfsdklog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// Addresses under which terraform and tofu look the provider up.
const (
	TerraformAddress = "registry.terraform.io/hashicorp/azurerm"
	TofuAddress      = "registry.opentofu.org/hashicorp/azurerm"
)

// EnvReattach is the environment variable that tells terraform and tofu where
// providers are served already.
const EnvReattach = "TF_REATTACH_PROVIDERS"

// maxMessage is the largest protocol message, as HashiCorp's own servers have it.
const maxMessage = 256 << 20

// Serving is a provider that is being served.
type Serving struct {
	reattach *plugin.ReattachConfig
	stop     context.CancelFunc
	done     chan struct{}
}

// Serve serves the provider on a local socket until ctx is done or Close is
// called.
func (p *Provider) Serve(ctx context.Context) (*Serving, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &Serving{stop: stop, done: make(chan struct{})}
	srv := p.newServer()
	ready := make(chan *plugin.ReattachConfig, 1)
	go plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 5},
		Plugins: plugin.PluginSet{
			"provider": &tf5server.GRPCProviderPlugin{
				Name:         TerraformAddress,
				GRPCProvider: func() tfprotov5.ProviderServer { return srv },
			},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts,
				grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
				grpc.StatsHandler(&connections{srv: srv}))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off}),
		Test: &plugin.ServeTestConfig{
			Context:          ctx,
			ReattachConfigCh: ready,
			CloseCh:          s.done,
		},
	})
	select {
	case s.reattach = <-ready:
		return s, nil
	case <-s.done:
		stop()
		return nil, errors.New("serve the built-in provider: no local socket could be opened")
	case <-ctx.Done():
		stop()
		<-s.done
		return nil, fmt.Errorf("serve the built-in provider: %w", ctx.Err())
	}
}

// Close ends the serving and waits until it has ended.
func (s *Serving) Close() {
	s.stop()
	<-s.done
}

// Reattach is the value of EnvReattach: where the provider is served, under both
// of its addresses.
func (s *Serving) Reattach() (string, error) {
	type addr struct{ Network, String string }
	type entry struct {
		Protocol        string
		ProtocolVersion int
		Pid             int
		Test            bool
		Addr            addr
	}
	e := entry{
		Protocol:        string(s.reattach.Protocol),
		ProtocolVersion: s.reattach.ProtocolVersion,
		Pid:             s.reattach.Pid,
		Test:            true,
		Addr:            addr{s.reattach.Addr.Network(), s.reattach.Addr.String()},
	}
	raw, err := json.Marshal(map[string]entry{TerraformAddress: e, TofuAddress: e})
	if err != nil {
		return "", fmt.Errorf("write %s: %w", EnvReattach, err)
	}
	return string(raw), nil
}

// connection tells the connections of a server apart. Zero is none, as in tests
// that call the server directly.
type connection uint64

type connectionKey struct{}

func connectionOf(ctx context.Context) connection {
	c, _ := ctx.Value(connectionKey{}).(connection)
	return c
}

// connections numbers the connections of a server.
type connections struct {
	srv  *server
	last atomic.Uint64
}

// TagConn implements stats.Handler.
func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	// Without a sink the protocol library writes every message to the standard
	// error stream. This one obeys TF_LOG, and is the only one there is.
	ctx = tfsdklog.ContextWithTestLogging(ctx, "azurerm")
	return context.WithValue(ctx, connectionKey{}, connection(c.last.Add(1)))
}

// HandleConn implements stats.Handler.
func (c *connections) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		c.srv.forget(connectionOf(ctx))
	}
}

// TagRPC implements stats.Handler.
func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (c *connections) HandleRPC(context.Context, stats.RPCStats) {}
