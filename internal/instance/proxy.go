package instance

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	// LocalPath is where Local is served on the local origin.
	LocalPath = "/instances/"
	// LinkPath is below an instance's host name: POST makes a link for a browser.
	LinkPath = "/.azimuth/link"
	openPath = ".azimuth/open"

	hostSuffix  = ".azureml.net"
	jupyterPath = "/jupyter"
)

// hostSuffixes are behind the name and region of an instance. The reference's
// example of a resource has the first; firewall rules in the documents name the
// others.
func hostSuffixes() []string {
	return []string{".instances.azureml.ms", ".instances.azureml.net", hostSuffix}
}

// basePath is where Jupyter thinks it is, on either origin.
func basePath(uid string) string { return LocalPath + uid + "/" }

// azureName returns the "name.region" of an instance's host name.
func azureName(host string) (string, bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, suffix := range hostSuffixes() {
		if rest, ok := strings.CutSuffix(host, suffix); ok {
			return rest, strings.Count(rest, ".") == 1
		}
	}
	return "", false
}

// ServeHTTP serves the host names that instances report, to callers with a
// bearer token or a session. Jupyter is there at /jupyter, at the root, and
// where its own pages say that it is.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := azureName(r.Host)
	if !ok {
		arm.WriteError(w, r, s.log, arm.NotImplemented("%s at %s", r.Method, r.Host))
		return
	}
	rec, err := s.find(r.Context(), func(tx store.Tx) (*record, error) {
		for rec, err := range s.records.By(tx, byHost, store.Range{Prefix: store.Exact(name), Limit: 1}) {
			return rec, err
		}
		return nil, ErrNotFound
	})
	if err != nil {
		arm.WriteError(w, r, s.log, err)
		return
	}
	if r.URL.Path == LinkPath {
		s.serveLink(w, r, rec)
		return
	}
	s.serve(w, r, rec)
}

// Local serves LocalPath on the origin that a browser reaches without a proxy.
// Whoever serves it must refuse host names that are not this machine's.
func (s *Service) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _, slash := strings.Cut(strings.TrimPrefix(r.URL.Path, LocalPath), "/")
		rec, err := s.find(r.Context(), func(tx store.Tx) (*record, error) {
			rec, err := s.get(tx, uid)
			if err == nil && rec.State == Deleting {
				err = ErrNotFound
			}
			return rec, err
		})
		if err != nil {
			arm.WriteError(w, r, s.log, err)
			return
		}
		if !slash {
			http.Redirect(w, r, basePath(uid), http.StatusFound)
			return
		}
		s.serve(w, r, rec)
	})
}

func (s *Service) find(ctx context.Context, look func(store.Tx) (*record, error)) (rec *record, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		rec, err = look(tx)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil, arm.Errorf(http.StatusNotFound, "ComputeNotFound", "There is no compute instance at this address.")
	}
	return rec, err
}

// below is what is behind an instance's base in a path, escaped or not.
func below(path, uid string) string {
	if rest, ok := strings.CutPrefix(path, basePath(uid)); ok {
		return rest
	}
	if path == jupyterPath {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, jupyterPath+"/"); ok {
		return rest
	}
	return strings.TrimPrefix(path, "/")
}

// serve answers for one instance.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, rec *record) {
	path := below(r.URL.Path, rec.Spec.UID)
	if path == openPath {
		s.serveOpen(w, r, rec)
		return
	}
	if err := s.admit(r, rec); err != nil {
		if e := (*arm.Error)(nil); errors.As(err, &e) && e.Status == http.StatusUnauthorized && strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "This compute instance needs a link that lets your browser in. Get one with:\n\n  azimuth ml compute connect -n "+rec.Spec.Name, http.StatusUnauthorized)
			return
		}
		arm.WriteError(w, r, s.log, err)
		return
	}
	s.times.observe(s.cfg.Wall(), s.cfg.Clock.Now())
	switch {
	case rec.State != Running:
		arm.WriteError(w, r, s.log, arm.Errorf(http.StatusConflict, "ComputeInstanceNotRunning", "The compute instance '%s' is %s.", rec.Spec.Name, rec.State))
		return
	case rec.Task == "":
		why := "Jupyter is being started."
		if rec.Problem != nil {
			why = rec.Problem.Message
		}
		w.Header().Set("Retry-After", "1")
		arm.WriteError(w, r, s.log, arm.Errorf(http.StatusServiceUnavailable, "JupyterNotRunning", "%s", why))
		return
	}
	up, err := s.upstream(rec)
	if err != nil {
		arm.WriteError(w, r, s.log, err)
		return
	}
	if err := s.awaitReady(r.Context(), up); err != nil {
		if r.Context().Err() != nil {
			return
		}
		w.Header().Set("Retry-After", "1")
		arm.WriteError(w, r, s.log, arm.Errorf(http.StatusServiceUnavailable, "JupyterNotRunning", "Jupyter does not answer; its log is %s.", s.logPath(rec.Spec.UID)))
		return
	}
	to := target{up, path, below(r.URL.EscapedPath(), rec.Spec.UID)}
	s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, to)))
}

// admit lets in the instance's user and the home's owner, who show a bearer
// token or a session. With a session, which a browser sends by itself, a request
// that may do something must come from the instance's own pages.
func (s *Service) admit(r *http.Request, rec *record) error {
	var principal string
	if r.Header.Get("Authorization") != "" {
		var err error
		if principal, err = s.cfg.Access.Authenticate(r.Context(), r); err != nil {
			return err
		}
	} else {
		c, err := r.Cookie(cookieName(rec.Spec.UID))
		if err != nil {
			return arm.Errorf(http.StatusUnauthorized, "AuthenticationFailed", "The request has neither a bearer token nor a session.")
		}
		var t *ticket
		err = s.cfg.Store.View(r.Context(), func(tx store.Tx) (err error) {
			t, err = s.ticket(tx, rec.Spec.UID, c.Value, true)
			return err
		})
		if errors.Is(err, errNoTicket) {
			return arm.Errorf(http.StatusUnauthorized, "AuthenticationFailed", "The session is over.")
		}
		if err != nil {
			return err
		}
		if !ownPage(r) {
			return arm.Errorf(http.StatusForbidden, "CrossOriginRequest", "The request comes from another site's page.")
		}
		principal = t.Principal
	}
	return s.mayUse(rec, principal)
}

func (s *Service) mayUse(rec *record, principal string) error {
	if strings.EqualFold(principal, rec.Spec.UserID) || s.cfg.Access.Owner(principal) {
		return nil
	}
	// the words of Azure are not known
	return arm.Errorf(http.StatusForbidden, "Forbidden", "The compute instance '%s' is assigned to another user.", rec.Spec.Name)
}

// ownPage reports whether a request with a cookie may come from a page of the
// same origin. Reading needs no proof: another site cannot see the answer, and a
// session's cookie is not sent along with what its pages embed.
func ownPage(r *http.Request) bool {
	upgrade := r.Header.Get("Upgrade") != ""
	safe := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !upgrade
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "https") == (r.TLS != nil)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return safe
	}
	// another site: only a link to a page that is shown by itself
	return safe && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// Link is the answer of LinkPath.
type Link struct {
	// URL opens in any browser on this machine, once, until ExpiresOn.
	URL       string    `json:"url"`
	ExpiresOn time.Time `json:"expiresOn"`
}

// serveLink makes a link. It takes a bearer token alone: a session must not be
// good for another.
func (s *Service) serveLink(w http.ResponseWriter, r *http.Request, rec *record) {
	principal, err := s.cfg.Access.Authenticate(r.Context(), r)
	if err == nil {
		err = s.mayUse(rec, principal)
	}
	if err == nil && r.Method != http.MethodPost {
		err = arm.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "A link is made with POST.")
	}
	if err != nil {
		arm.WriteError(w, r, s.log, err)
		return
	}
	var link Link
	err = s.cfg.Store.Update(r.Context(), func(tx store.Tx) error {
		secret, expires, err := s.issue(tx, rec.Spec.UID, principal, false, linkLifetime)
		link = Link{s.cfg.Origin + basePath(rec.Spec.UID) + openPath + "?code=" + secret, expires}
		return err
	})
	if err != nil {
		arm.WriteError(w, r, s.log, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(link); err != nil {
		s.log.Debug("write answer", logError, err)
	}
}

// serveOpen turns a link into a session.
func (s *Service) serveOpen(w http.ResponseWriter, r *http.Request, rec *record) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet {
		http.Error(w, "A link is opened with GET.", http.StatusMethodNotAllowed)
		return
	}
	var session string
	err := s.cfg.Store.Update(r.Context(), func(tx store.Tx) (err error) {
		session, _, err = s.redeem(tx, rec.Spec.UID, r.URL.Query().Get("code"))
		return err
	})
	switch {
	case errors.Is(err, errNoTicket):
		http.Error(w, "This link has been used or is too old. Get another with:\n\n  azimuth ml compute connect -n "+rec.Spec.Name, http.StatusForbidden)
		return
	case err != nil:
		arm.WriteError(w, r, s.log, err)
		return
	}
	setSession(w, r, rec.Spec.UID, session)
	http.Redirect(w, r, basePath(rec.Spec.UID), http.StatusSeeOther)
}

type targetKey struct{}

// target is where a request goes: path, and path as it was escaped (names of
// files may hold %2F), below the base.
type target struct {
	up            upstream
	path, escaped string
}

// newProxy returns the way to Jupyter, WebSockets included. Jupyter sees its own
// token and none of the caller's credentials, and none of its cookies come out:
// who may do what has been decided here.
func (s *Service) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			t, _ := p.In.Context().Value(targetKey{}).(target)
			host := strings.TrimPrefix(t.up.base, "http://")
			u := p.Out.URL
			u.Scheme, u.Host, p.Out.Host = "http", host, host
			u.Path, u.RawPath = basePath(t.up.uid)+t.path, basePath(t.up.uid)+t.escaped
			for _, name := range []string{"Cookie", "Origin", "Referer", "X-Xsrftoken"} {
				p.Out.Header.Del(name)
			}
			p.Out.Header.Set("Authorization", "token "+t.up.token)
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Set-Cookie")
			resp.Header.Set("Referrer-Policy", "same-origin")
			return nil
		},
		// Proxies of the server's own environment have no part in this.
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the caller has gone
			}
			s.log.Warn("Jupyter does not answer", logError, err)
			arm.WriteError(w, r, s.log, arm.Errorf(http.StatusBadGateway, "JupyterNotReached", "Jupyter did not answer."))
		},
	}
}
