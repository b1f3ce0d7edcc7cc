package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// session is a connection to the home's running server, signed in as the owner.
type session struct {
	home   home.Dir
	server home.Server
	owner  server.Owner
	client *client.Client
}

// connect reaches the running server of the home.
func (a *app) connect(context.Context) (*session, error) {
	d, err := a.home()
	if err != nil {
		return nil, err
	}
	s, err := d.ReadServer()
	if errors.Is(err, home.ErrNoServer) {
		return nil, hint(fmt.Errorf("no azimuth server runs for %s", d), "Start one with: azimuth up DIR  or  azimuth serve")
	}
	if err != nil {
		return nil, err
	}
	return a.session(d, s)
}

func (a *app) session(d home.Dir, s home.Server) (*session, error) {
	owner, err := server.ReadOwner(d)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(server.CACertificate(d))
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &session{home: d, server: s, owner: owner, client: client.New(client.Config{
		Address: s.Address, Roots: roots, Tenant: owner.TenantID, ClientID: owner.ClientID,
		ClientSecret: owner.ClientSecret, Subscription: owner.SubscriptionID,
	})}, nil
}

func (s *session) close() { s.client.Close() }

// admin calls Azimuth's own API, which is on a host name of its own.
func (s *session) admin(ctx context.Context, method, path string, in, out any) error {
	return s.client.DoURL(ctx, method, "https://"+server.AdminHost+path, in, out)
}
