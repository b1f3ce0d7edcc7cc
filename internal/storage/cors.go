package storage

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Cross-origin requests are decided by the rules of the service, as Microsoft's
// "Cross-Origin Resource Sharing (CORS) support for Azure Storage" has it. Rules
// give nobody rights: they tell a browser what it may show to a page.

// corsMethods are the methods that a rule can allow.
const corsMethods = "DELETE GET HEAD MERGE PATCH POST OPTIONS PUT"

// commaList returns the members of a list with commas.
func commaList(s string) []string {
	var out []string
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// check refuses rules that Azure would not take.
func (s *corsSettings) check() error {
	if s == nil {
		return nil
	}
	if len(s.CorsRule) > 5 {
		return Refuse("InvalidXmlDocument").With("Reason", "A service has at most five CORS rules.")
	}
	node := func(name, value string) error {
		return Refuse("InvalidXmlNodeValue").With("XmlNodeName", name).With("XmlNodeValue", value)
	}
	for _, r := range s.CorsRule {
		if origins := commaList(r.AllowedOrigins); len(origins) == 0 || len(origins) > 64 {
			return node("AllowedOrigins", r.AllowedOrigins)
		}
		methods := commaList(r.AllowedMethods)
		if len(methods) == 0 {
			return node("AllowedMethods", r.AllowedMethods)
		}
		for _, m := range methods {
			if !HasWord(corsMethods, m) {
				return node("AllowedMethods", m)
			}
		}
		if r.MaxAgeInSeconds < 0 {
			return node("MaxAgeInSeconds", strconv.Itoa(r.MaxAgeInSeconds))
		}
	}
	return nil
}

// anyOrigin reports whether a rule is for all origins.
func (r *corsRule) anyOrigin() bool { return slices.Contains(commaList(r.AllowedOrigins), "*") }

// match returns the first rule that allows a request, or nil. Headers are those
// that a preflight asks for.
func (s *corsSettings) match(origin, method string, headers []string) *corsRule {
	for i := range s.CorsRule {
		r := &s.CorsRule[i]
		if (r.anyOrigin() || slices.Contains(commaList(r.AllowedOrigins), origin)) &&
			slices.Contains(commaList(r.AllowedMethods), method) && r.allowsHeaders(headers) {
			return r
		}
	}
	return nil
}

// allowsHeaders decides the headers of a preflight. A rule names whole headers, and
// prefixes of them with a star behind.
func (r *corsRule) allowsHeaders(headers []string) bool {
	allowed := commaList(strings.ToLower(r.AllowedHeaders))
	for _, h := range headers {
		h = strings.ToLower(h)
		if !slices.ContainsFunc(allowed, func(a string) bool {
			prefix, isPrefix := strings.CutSuffix(a, "*")
			return a == h || isPrefix && strings.HasPrefix(h, prefix)
		}) {
			return false
		}
	}
	return true
}

// CrossOrigin does what CORS asks for, once Arrive has found the account: it
// answers a preflight, which it reports, and puts on the answer to another
// request what lets a browser show it.
func CrossOrigin(w http.ResponseWriter, q *Request, st store.Store) (answered bool, err error) {
	origin, preflight := q.HTTP.Header.Get("Origin"), q.HTTP.Method == http.MethodOptions
	if origin == "" && !preflight {
		return false, nil
	}
	service := q.Service
	if service == "dfs" || service == "web" {
		service = "blob"
	}
	rules := &corsSettings{}
	err = st.View(q.HTTP.Context(), func(tx store.Tx) error {
		p, err := LoadProperties(tx, q.Account.UID, service)
		if p != nil && p.Cors != nil {
			rules = p.Cors
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read CORS rules: %w", err)
	}
	if preflight {
		return true, rules.preflight(w, q.HTTP)
	}
	rules.share(w.Header(), q.HTTP.Method, origin)
	return false, nil
}

// preflight answers a browser that asks whether a page may send a request. Nobody
// is authorised for that, and it does not matter what is there.
func (s *corsSettings) preflight(w http.ResponseWriter, req *http.Request) error {
	origin, method := req.Header.Get("Origin"), req.Header.Get("Access-Control-Request-Method")
	switch {
	case origin == "":
		return MissingHeader("Origin")
	case method == "":
		return MissingHeader("Access-Control-Request-Method")
	}
	asked := req.Header.Get("Access-Control-Request-Headers")
	r := s.match(origin, method, commaList(asked))
	if r == nil {
		return Refuse("CorsPreflightFailure")
	}
	h := w.Header()
	r.allowOrigin(h, origin)
	h["Access-Control-Allow-Methods"] = []string{method}
	if asked != "" {
		h["Access-Control-Allow-Headers"] = []string{asked}
	}
	h["Access-Control-Max-Age"] = []string{strconv.Itoa(r.MaxAgeInSeconds)}
	h["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusOK)
	return nil
}

// share puts on the answer to a request what the rules say.
func (s *corsSettings) share(h http.Header, method, origin string) {
	if len(s.CorsRule) == 0 {
		return
	}
	r := s.match(origin, method, nil)
	if (r == nil || !r.anyOrigin()) && (method == http.MethodGet || method == http.MethodHead) {
		h["Vary"] = []string{"Origin"} // a cache must not give it to another origin
	}
	if r == nil {
		return
	}
	r.allowOrigin(h, origin)
	if r.ExposedHeaders != "" {
		h["Access-Control-Expose-Headers"] = []string{r.ExposedHeaders}
	}
}

func (r *corsRule) allowOrigin(h http.Header, origin string) {
	if r.anyOrigin() {
		h["Access-Control-Allow-Origin"] = []string{"*"}
		return
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Allow-Credentials"] = []string{"true"}
}
