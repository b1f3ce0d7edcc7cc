package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/gateway"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Every call that comes through the gateway comes from somewhere: from a node, which
// has a proxy credential that says so, or from the user's machine. What is decided of
// the two ends of a call is remembered until a resource changes.

const (
	networkBucket = "network"
	networkKeys   = "network/key"
	keyOfSites    = "sites"
	userAddress   = "address"
)

// DefaultUserAddress is the address by which firewalls know the user's machine until
// another is set. It is one of those that are kept for documentation (RFC 5737), so
// that no rule lets it in by chance.
const DefaultUserAddress = "203.0.113.10"

// networkPlaces is what is kept sealed here.
func networkPlaces() []seal.Place { return []seal.Place{seal.Whole(networkKeys)} }

// site is a place that calls come from.
type site struct {
	reach.Source
	key  string // reach.Source.Key
	node string // the node's ID, or ""
}

func newSite(src reach.Source, node string) *site { return &site{src, src.Key(), node} }

// held reports whether rules hold up what the site calls, and not only what it is
// answered.
func (s *site) held() bool { return s.Subnet != "" || s.Workspace != "" }

// networks is where calls come from.
type networks struct {
	key  []byte
	user atomic.Pointer[site]

	mu    sync.Mutex
	nodes map[string]*site // by the user of their credential
	told  map[string]bool  // what logs of jobs were told
}

// rememberedSites bounds what is kept of nodes in memory.
const rememberedSites = 4096

// openNetworks reads the key of the credentials and the user's address.
func (s *Server) openNetworks(ctx context.Context, sealer *seal.Sealer) error {
	s.networks.nodes, s.networks.told = map[string]*site{}, map[string]bool{}
	address := DefaultUserAddress
	err := s.store.Update(ctx, func(tx store.Tx) error {
		sealed, err := tx.Get(networkKeys, keyOfSites)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.networks.key = make([]byte, 32)
			rand.Read(s.networks.key)
			if sealed, err = sealer.Seal(s.networks.key); err != nil {
				return err
			}
			if err := tx.Put(networkKeys, keyOfSites, sealed); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if s.networks.key, err = sealer.Open(sealed); err != nil {
				return err
			}
		}
		b, err := tx.Get(networkBucket, userAddress)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			address = string(b)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open the networks: %w", err)
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("the address of the user's machine: %w", err)
	}
	s.setUser(a)
	return nil
}

func (s *Server) setUser(a netip.Addr) {
	s.networks.user.Store(newSite(reach.Source{Name: "the internet", Public: a}, ""))
}

// setUserAddress says, durably, which address firewalls know the user's machine by.
func (s *Server) setUserAddress(ctx context.Context, a netip.Addr) error {
	err := s.store.Update(ctx, func(tx store.Tx) error { return tx.Put(networkBucket, userAddress, []byte(a.String())) })
	if err != nil {
		return fmt.Errorf("keep the address of the user's machine: %w", err)
	}
	s.setUser(a)
	return nil
}

// placePrefix begins the users of credentials that name a resource, by its ID.
const placePrefix = "at-"

func placeUser(id string) string {
	return placePrefix + base64.RawURLEncoding.EncodeToString([]byte(id))
}

func (n *networks) password(user string) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(user))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24])
}

// credential is what a client at a place says to the proxy.
func (n *networks) credential(user string) *url.Userinfo {
	return url.UserPassword(user, n.password(user))
}

// siteOf finds where a call comes from. A credential that is not one of ours is a
// *gateway.Denial.
func (s *Server) siteOf(ctx context.Context, user, password string, given bool) (*site, error) {
	n := &s.networks
	if !given {
		return n.user.Load(), nil
	}
	if subtle.ConstantTimeCompare([]byte(password), []byte(n.password(user))) != 1 {
		return nil, &gateway.Denial{Status: http.StatusProxyAuthRequired, Reason: "the proxy credential is not one that this server gave to a node"}
	}
	if strings.HasPrefix(user, placePrefix) {
		return s.placeSite(ctx, user)
	}
	n.mu.Lock()
	at := n.nodes[user]
	n.mu.Unlock()
	if at != nil {
		return at, nil
	}
	at, err := s.nodeSite(ctx, user)
	if errors.Is(err, compute.ErrNodeNotFound) {
		return nil, &gateway.Denial{Status: http.StatusProxyAuthRequired, Reason: fmt.Sprintf("the node %s of the proxy credential is gone", user)}
	}
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.nodes) >= rememberedSites {
		clear(n.nodes)
	}
	n.nodes[user] = at
	return at, nil
}

// nodeSite is where a node of a cluster or of serverless compute stands.
func (s *Server) nodeSite(ctx context.Context, nodeID string) (at *site, err error) {
	err = s.store.View(ctx, func(tx store.Tx) error {
		node, pool, err := s.manager.NodeAndPool(tx, nodeID)
		if err != nil {
			return err
		}
		src := reach.Source{Name: "node " + nodeID, Subnet: pool.SubnetID}
		if pool.SubnetID != "" {
			src.Private, _ = netip.ParseAddr(node.Info.PrivateIP)
		}
		var workspace string
		if ml.IsServerless(pool.ID) {
			workspace, _, _ = strings.Cut(pool.ID, "/serverless/")
			src.Name += " of serverless compute"
		} else {
			id, err := arm.ParseID(pool.ID)
			if err != nil {
				return err
			}
			workspace = id.Parent().String()
			src.Name += " of " + id.Name()
			c, err := s.kernel.Resources().Get(tx, pool.ID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			src.PublicIP = err == nil && c.Body.Bool("properties.properties.enableNodePublicIp", true)
		}
		if pool.SubnetID == "" {
			src.Workspace, src.Azure = workspace, true
		}
		at = newSite(src, nodeID)
		return nil
	})
	return at, err
}

// placeSite is the place that a resource is, or stands in.
func (s *Server) placeSite(ctx context.Context, user string) (at *site, err error) {
	id, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(user, placePrefix))
	if err != nil {
		return nil, &gateway.Denial{Status: http.StatusProxyAuthRequired, Reason: "the proxy credential names no place"}
	}
	err = s.store.View(ctx, func(tx store.Tx) (err error) {
		at, err = arm.Recall(tx, s.kernel.Resources(), "site|"+user, func() (*site, error) {
			src, err := s.place(tx, string(id))
			if err != nil {
				return nil, err
			}
			return newSite(src, ""), nil
		})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = &gateway.Denial{Status: http.StatusProxyAuthRequired, Reason: fmt.Sprintf("the place %s of the proxy credential is gone", id)}
	}
	return at, err
}

// place is a subnet as a source of calls, or the one that a compute stands in. It
// returns store.ErrNotFound for what is not there and an *arm.Error for what is no
// place.
func (s *Server) place(tx store.Tx, id string) (reach.Source, error) {
	r, err := s.kernel.Resources().Get(tx, id)
	if err != nil {
		return reach.Source{}, err
	}
	if src, ok := reach.From(r); ok {
		return src, nil
	}
	return reach.Source{}, arm.BadRequest("InvalidPlace", "'%s' is neither a subnet nor a compute, which calls could come from.", id)
}

// decide decides about a call from a site to a host.
func (s *Server) decide(ctx context.Context, from *site, host string, port int) (v *reach.Verdict, err error) {
	if typ, _ := reach.Parse(host); typ == "" && !from.held() {
		return &reach.Verdict{Allowed: true, Via: reach.Public, Client: from.Public, Rule: "No rule is about " + host + "."}, nil
	}
	key := "reach|" + from.key + "|" + host
	if port == 80 {
		key += ":80"
	}
	err = s.store.View(ctx, func(tx store.Tx) (err error) {
		load := func() (*reach.Verdict, error) {
			v, err := reach.Decide(reach.Stored{Tx: tx, Resources: s.kernel.Resources()}, from.Source, reach.Destination{Host: host, Port: port})
			return &v, err
		}
		if port != 80 && port != 443 {
			v, err = load()
			return err
		}
		v, err = arm.Recall(tx, s.kernel.Resources(), key, load)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decide whether %s reaches %s: %w", from.Name, host, err)
	}
	return v, nil
}

// arrival is what is known of a request that has come in.
type arrival struct {
	from    *site
	host    string
	verdict *reach.Verdict
}

type arrivalKey struct{}

// networked decides about each request before anything else does. Packets that a
// network drops are answered by nothing: the connection is cut. A refusal is the
// service's own to say, which asks judge.
func (s *Server) networked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		user, password, given := gateway.ProxyCredential(ctx)
		from, err := s.siteOf(ctx, user, password, given)
		if err == nil {
			a := &arrival{from: from, host: plainHost(r.Host)}
			port := 443
			if r.TLS == nil {
				port = 80
			}
			if a.verdict, err = s.decide(ctx, from, a.host, port); err == nil {
				if !a.verdict.Allowed {
					s.tell(ctx, a.from, a.host, a.verdict)
					if !a.verdict.Reason.Refused() {
						panic(http.ErrAbortHandler)
					}
				}
				r = r.WithContext(context.WithValue(ctx, arrivalKey{}, a))
				if c := a.verdict.Client; c.IsValid() {
					// what shared access signatures, logs and telemetry go by
					r.RemoteAddr = netip.AddrPortFrom(c, remotePort(r.RemoteAddr)).String()
				}
				next.ServeHTTP(w, r)
				return
			}
		}
		if denied := (*gateway.Denial)(nil); errors.As(err, &denied) {
			err = arm.Errorf(http.StatusForbidden, "ProxyCredential", "%s", denied.Reason)
		}
		arm.WriteError(w, r, s.cfg.Log, err)
	})
}

func remotePort(address string) uint16 {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0
	}
	return a.Port()
}

func plainHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// judge is what was decided about the request's access to a resource: nil when no
// client asks but this server itself. It is the request's own verdict if that is
// about the resource, and else one about the host given: a copy's source is asked
// for what the client may.
func (s *Server) judge(ctx context.Context, typ, name, host string) (*reach.Verdict, error) {
	a, _ := ctx.Value(arrivalKey{}).(*arrival)
	if a == nil {
		return nil, nil
	}
	if t, n := reach.Parse(a.host); t == typ && n == strings.ToLower(name) {
		return a.verdict, nil
	}
	v, err := s.decide(ctx, a.from, strings.ToLower(host), 443)
	if err == nil && !v.Allowed {
		s.tell(ctx, a.from, host, v)
	}
	return v, err
}

// admitCall is the gateway's Admit: what a network drops does not connect.
func (s *Server) admitCall(ctx context.Context, user, password string, given bool, host string, port int) error {
	from, err := s.siteOf(ctx, user, password, given)
	if err != nil || !from.held() || host == AdminHost {
		return err
	}
	v, err := s.decide(ctx, from, host, port)
	if err != nil || v.Allowed || v.Reason.Refused() {
		return err
	}
	s.tell(ctx, from, host, v)
	return &gateway.Denial{Status: http.StatusForbidden, Reason: fmt.Sprintf("%s does not reach %s:%d. %s %s In Azure the connection would time out.", from.Name, host, port, v.Rule, v.Change)}
}

// tell writes into the log of the job that runs on a node why a call did not get
// through, once for each reason.
func (s *Server) tell(ctx context.Context, from *site, host string, v *reach.Verdict) {
	s.cfg.Log.Debug("a call does not get through", "from", from.Name, "host", host, "reason", v.Reason, "rule", v.Rule)
	if from.node == "" {
		return
	}
	how := "was refused"
	if !v.Reason.Refused() {
		how = "did not get through"
	}
	line := fmt.Sprintf("azimuth: a call to %s %s: %s %s", host, how, v.Rule, v.Change)
	var item string
	err := s.store.View(ctx, func(tx store.Tx) error {
		node, _, err := s.manager.NodeAndPool(tx, from.node)
		item = node.ItemID
		return err
	})
	if err == nil && item != "" && s.networks.first(item+"|"+from.node+"|"+line) {
		err = s.jobs.Note(ctx, item, from.node, line)
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("tell a job about its network", "node", from.node, "error", err)
	}
}

// first reports whether it is the first time that something is told.
func (n *networks) first(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[what] {
		return false
	}
	if len(n.told) >= rememberedSites {
		clear(n.told)
	}
	n.told[what] = true
	return true
}

// jobNetwork is what jobs are told of networks.
type jobNetwork struct{ s *Server }

// FromNode implements ml.Network.
func (j jobNetwork) FromNode(ctx context.Context, nodeID, host string) error {
	at, err := j.s.nodeSite(ctx, nodeID)
	if err != nil {
		return err
	}
	v, err := j.s.decide(ctx, at, strings.ToLower(host), 443)
	if err != nil || v.Allowed {
		return err
	}
	return fmt.Errorf("%s does not reach %s: %s %s", at.Name, host, v.Rule, v.Change)
}

// Admits implements ml.Network. The words are Azure's, the status is not documented.
func (j jobNetwork) Admits(ctx context.Context, guid, host string) error {
	v, err := j.s.judge(ctx, machinelearning.WorkspaceType, guid, host)
	if err != nil || v == nil || v.Allowed {
		return err
	}
	return arm.Errorf(http.StatusForbidden, "UserError", "Access to workspace was denied based on workspace private link configuration.")
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
