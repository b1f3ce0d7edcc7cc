package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// NetworkQuestion asks whether a call gets through.
type NetworkQuestion struct {
	// From is a node, a compute, a subnet, an IP address, "internet" or
	// "AzureServices".
	From string `json:"from"`
	// To is a host, a URL, or the name or ID of a storage account, vault, registry or
	// workspace.
	To string `json:"to"`
	// Port is 443 if zero.
	Port int `json:"port,omitempty"`
}

// NetworkAnswer says whether it does, and why.
type NetworkAnswer struct {
	From    string `json:"from"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
	// Refused says that the call arrives, and is answered with a refusal.
	Refused bool     `json:"refused"`
	Rule    string   `json:"rule"`
	RuleID  string   `json:"ruleId,omitempty"`
	Change  string   `json:"change,omitempty"`
	Via     string   `json:"via,omitempty"`
	Target  string   `json:"target,omitempty"`
	Client  string   `json:"clientAddress,omitempty"`
	Steps   []string `json:"steps"`
}

// NetworkAddress is the address of the user's machine.
type NetworkAddress struct {
	Address string `json:"address"`
}

// NetworkPlace asks for the proxy credential of a place.
type NetworkPlace struct {
	From string `json:"from"`
}

// NetworkCredential is one.
type NetworkCredential struct {
	Name     string `json:"name"`
	User     string `json:"user"`
	Password string `json:"password"`
}

func (s *Server) networkRoutes(handle func(pattern string, f func(*http.Request) (any, error))) {
	read := func(r *http.Request, out any) error {
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 8<<10)).Decode(out); err != nil {
			return arm.BadRequest("InvalidRequestContent", "The body is not what is asked for here: %s.", err)
		}
		return nil
	}
	handle("POST /v1/network/explain", func(r *http.Request) (any, error) {
		var q NetworkQuestion
		if err := read(r, &q); err != nil {
			return nil, err
		}
		return s.explain(r.Context(), q)
	})
	handle("GET /v1/network/address", func(*http.Request) (any, error) {
		return NetworkAddress{s.networks.user.Load().Public.String()}, nil
	})
	handle("PUT /v1/network/address", func(r *http.Request) (any, error) {
		var in NetworkAddress
		if err := read(r, &in); err != nil {
			return nil, err
		}
		a, err := netip.ParseAddr(in.Address)
		if err != nil || a.Zone() != "" {
			return nil, arm.BadRequest("InvalidAddress", "%q is not an IP address.", in.Address)
		}
		return NetworkAddress{a.Unmap().String()}, s.setUserAddress(r.Context(), a.Unmap())
	})
	handle("POST /v1/network/credential", func(r *http.Request) (any, error) {
		var in NetworkPlace
		if err := read(r, &in); err != nil {
			return nil, err
		}
		at, user, err := s.findSource(r.Context(), in.From)
		if err != nil {
			return nil, err
		}
		if user == "" {
			return nil, arm.BadRequest("InvalidPlace", "%q is no place in the cloud's networks: name a subnet, a compute or a node.", in.From)
		}
		return NetworkCredential{Name: at.Name, User: user, Password: s.networks.password(user)}, nil
	})
	handle("GET /v1/network/subnets", func(r *http.Request) (any, error) { return s.subnets(r.Context()) })
}

func (s *Server) explain(ctx context.Context, q NetworkQuestion) (*NetworkAnswer, error) {
	from, _, err := s.findSource(ctx, q.From)
	if err != nil {
		return nil, err
	}
	host, port, err := s.findHost(ctx, q.To)
	if err != nil {
		return nil, err
	}
	if q.Port != 0 {
		port = q.Port
	}
	if port < 1 || port > 65535 {
		return nil, arm.BadRequest("InvalidPort", "%d is no port.", port)
	}
	v, err := s.decide(ctx, from, host, port)
	if err != nil {
		return nil, err
	}
	out := &NetworkAnswer{
		From: from.Name, Host: host, Port: port, Allowed: v.Allowed, Reason: string(v.Reason), Refused: v.Reason.Refused(),
		Rule: v.Rule, RuleID: v.RuleID, Change: v.Change, Via: v.Via, Target: v.Target, Client: addressText(v.Client), Steps: v.Steps,
	}
	if out.Steps == nil {
		out.Steps = []string{}
	}
	return out, nil
}

// findSource finds a source by what people call it, and the user of the proxy
// credential by which it is known, "" for none.
func (s *Server) findSource(ctx context.Context, text string) (*site, string, error) {
	switch {
	case text == "" || strings.EqualFold(text, "internet"):
		return s.networks.user.Load(), "", nil
	case strings.EqualFold(text, "AzureServices"):
		return newSite(reach.Source{Name: "a trusted service of Azure", Trusted: true}, ""), "", nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return newSite(reach.Source{Name: "the address " + a.String(), Public: a.Unmap()}, ""), "", nil
	}
	if at, err := s.nodeSite(ctx, text); err == nil || !errors.Is(err, compute.ErrNodeNotFound) {
		return at, text, err
	}
	id, err := s.findPlace(ctx, text)
	if err != nil {
		return nil, "", err
	}
	user := placeUser(id)
	at, err := s.placeSite(ctx, user)
	return at, user, err
}

// findPlace is the ARM ID of a compute or subnet by its name, by that with its
// parent's before it, or by its ID.
func (s *Server) findPlace(ctx context.Context, text string) (string, error) {
	var found []string
	err := s.store.View(ctx, func(tx store.Tx) error {
		res := s.kernel.Resources()
		if id, err := arm.ParseID(text); err == nil {
			if _, err := s.place(tx, id.String()); err != nil {
				return err
			}
			found = append(found, id.String())
			return nil
		}
		for parent, child := range map[string]string{network.VirtualNetworkType: network.SubnetType, machinelearning.WorkspaceType: machinelearning.ComputeType} {
			for p, err := range res.OfType(tx, s.kernel.Subscription(), parent) {
				if err != nil {
					return err
				}
				for c, err := range res.Children(tx, p.ParsedID(), child) {
					if err != nil {
						return err
					}
					if strings.EqualFold(c.Name(), text) || strings.EqualFold(p.Name()+"/"+c.Name(), text) {
						found = append(found, c.ID)
					}
				}
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", arm.Errorf(http.StatusNotFound, "PlaceNotFound", "There is no '%s'.", text)
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", arm.Errorf(http.StatusNotFound, "PlaceNotFound", "There is no node, compute or subnet '%s'.", text)
	case len(found) > 1:
		return "", arm.BadRequest("AmbiguousPlace", "'%s' can be any of %s: give one of these IDs.", text, strings.Join(found, ", "))
	}
	return found[0], nil
}

// findHost is the host and port of a URL, a host, or the main host of a resource by
// name or ID.
func (s *Server) findHost(ctx context.Context, text string) (string, int, error) {
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return "", 0, arm.BadRequest("InvalidDestination", "'%s' is not a URL.", text)
		}
		port := 443
		if u.Scheme == "http" {
			port = 80
		}
		if u.Port() != "" {
			if _, err := fmt.Sscanf(u.Port(), "%d", &port); err != nil {
				return "", 0, arm.BadRequest("InvalidDestination", "'%s' has no port.", text)
			}
		}
		return strings.ToLower(u.Hostname()), port, nil
	}
	if strings.Contains(text, ".") && !strings.Contains(text, "/") {
		return plainHost(text), 443, nil
	}
	var hosts []string
	err := s.store.View(ctx, func(tx store.Tx) error {
		res := s.kernel.Resources()
		if id, err := arm.ParseID(text); err == nil {
			r, err := res.Get(tx, id.String())
			if err != nil {
				return err
			}
			if h := reach.MainHost(r); h != "" {
				hosts = append(hosts, h)
			}
			return nil
		}
		w := reach.Stored{Tx: tx, Resources: res}
		for _, typ := range []string{storage.AccountType, keyvault.VaultType, containerregistry.RegistryType} {
			r, err := w.Named(typ, strings.ToLower(text))
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			hosts = append(hosts, reach.MainHost(r))
		}
		for r, err := range res.OfType(tx, s.kernel.Subscription(), machinelearning.WorkspaceType) {
			if err != nil {
				return err
			}
			if strings.EqualFold(r.Name(), text) {
				hosts = append(hosts, reach.MainHost(r))
			}
		}
		return nil
	})
	switch {
	case err == nil && len(hosts) == 1:
		return hosts[0], 443, nil
	case err == nil && len(hosts) > 1:
		return "", 0, arm.BadRequest("AmbiguousDestination", "'%s' can be any of %s: give one of these hosts.", text, strings.Join(hosts, ", "))
	case err == nil, errors.Is(err, store.ErrNotFound):
		return "", 0, arm.Errorf(http.StatusNotFound, "DestinationNotFound", "There is no storage account, vault, registry or workspace '%s'. A host such as pypi.org can be given, too.", text)
	}
	return "", 0, err
}

// Subnet is a subnet with what its addresses are given to.
type Subnet struct {
	Network       string `json:"network"`
	Name          string `json:"name"`
	ID            string `json:"id"`
	Prefix        string `json:"prefix"`
	Addresses     int    `json:"addresses"`
	Used          int    `json:"used"`
	SecurityGroup string `json:"securityGroup,omitempty"`
	RouteTable    string `json:"routeTable,omitempty"`
}

// Subnets is all of them.
type Subnets struct {
	Subnets []Subnet `json:"subnets"`
}

// subnets lists the subnets of all networks.
func (s *Server) subnets(ctx context.Context) (*Subnets, error) {
	out := &Subnets{Subnets: []Subnet{}}
	err := s.store.View(ctx, func(tx store.Tx) error {
		res := s.kernel.Resources()
		for n, err := range res.OfType(tx, s.kernel.Subscription(), network.VirtualNetworkType) {
			if err != nil {
				return err
			}
			for r, err := range res.Children(tx, n.ParsedID(), network.SubnetType) {
				if err != nil {
					return err
				}
				one := Subnet{Network: n.Name(), Name: r.Name(), ID: r.ID}
				for _, p := range network.Prefixes(r) {
					if one.Prefix == "" {
						one.Prefix = p.String()
					}
				}
				one.Addresses = network.Usable(r)
				taken, err := s.addressesTaken(tx, r.ID)
				if err != nil {
					return err
				}
				one.Used = len(taken)
				one.SecurityGroup = lastSegment(r.Body.String("properties.networkSecurityGroup.id"))
				one.RouteTable = lastSegment(r.Body.String("properties.routeTable.id"))
				out.Subnets = append(out.Subnets, one)
			}
		}
		return nil
	})
	return out, err
}

func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
