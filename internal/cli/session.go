package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// session is a connection to the home's running server, signed in as the owner.
type session struct {
	home   home.Dir
	server home.Server
	owner  server.Owner
	client *client.Client
	// caller is whom clients that are started sign in as, and as its own client:
	// the owner unless --as says otherwise.
	caller entra.Credentials
	as     *client.Client
	// place is where in the cloud's networks --from says that clients call from; nil
	// is this machine.
	place *url.Userinfo
}

// connect reaches the running server of the home.
func (a *app) connect(ctx context.Context) (*session, error) {
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
	return a.session(ctx, d, s)
}

func (a *app) session(ctx context.Context, d home.Dir, s home.Server) (*session, error) {
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
	out := &session{home: d, server: s, owner: owner, caller: owner.Credentials}
	signedIn := func(c entra.Credentials) *client.Client {
		return client.New(client.Config{
			Address: s.Address, Place: out.place, Roots: roots, Tenant: owner.TenantID, ClientID: c.ClientID,
			ClientSecret: c.ClientSecret, Subscription: owner.SubscriptionID,
		})
	}
	out.client = signedIn(owner.Credentials)
	if a.from != "" {
		var c server.NetworkCredential
		err := out.admin(ctx, http.MethodPost, "/v1/network/credential", server.NetworkPlace{From: a.from}, &c)
		out.client.Close()
		if err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		out.place = url.UserPassword(c.User, c.Password)
		out.client = signedIn(owner.Credentials)
	}
	out.as = out.client
	if a.asFile != "" {
		if out.caller, err = entra.LoadCredentials(a.asFile); err != nil {
			return nil, hint(fmt.Errorf("--as: %w", err), "The file is what this prints: azimuth identity create sp NAME")
		}
		out.as = signedIn(out.caller)
	}
	return out, nil
}

// withSession is what a command does with a connection to the home's server.
func (a *app) withSession(f func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		return f(cmd.Context(), s, args)
	}
}

func (s *session) close() {
	s.client.Close()
	s.as.Close()
}

// admin calls Azimuth's own API, which is on a host name of its own.
func (s *session) admin(ctx context.Context, method, path string, in, out any) error {
	return s.client.DoURL(ctx, method, "https://"+server.AdminHost+path, in, out)
}
