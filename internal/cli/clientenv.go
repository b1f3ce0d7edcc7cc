package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/azimuth-ml/azimuth/internal/clientenv"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// clientEnv prepares the environment in which a client uses the session's cloud.
func (a *app) clientEnv(ctx context.Context, s *session) (*clientenv.Env, error) {
	ca, err := os.ReadFile(server.CACertificate(s.home))
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	dir := s.home.Path("client")
	if s.caller.ClientID != s.owner.ClientID {
		dir = filepath.Join(dir, "as-"+s.caller.ClientID)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("prepare the environment: %w", err)
		}
	}
	e, err := clientenv.Prepare(clientenv.Config{
		Dir: dir, Address: s.server.Address, CACertificate: ca,
		Credentials: s.caller, SubscriptionID: s.owner.SubscriptionID, SubscriptionName: server.SubscriptionName,
		Now: now, Getenv: os.Getenv, Proxy: s.place,
	})
	if err != nil {
		return nil, err
	}
	for _, w := range e.Warnings {
		fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).yellow("warning:"), w)
	}
	return e, nil
}

// list is the environment as KEY=VALUE, with what is to be unset made empty.
func list(e *clientenv.Env) []string {
	var out []string
	for _, name := range e.Unset {
		out = append(out, name+"=")
	}
	for _, name := range e.Names() {
		out = append(out, name+"="+e.Vars[name])
	}
	return out
}
