package machinelearning

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// OutboundRuleType is the type of the rules of managed networks. A stored rule's
// properties are Azure's own: type, category, status and destination.
const OutboundRuleType = WorkspaceType + "/outboundRules"

// The types of rules, and their categories.
const (
	RuleFQDN            = "FQDN"
	RuleServiceTag      = "ServiceTag"
	RulePrivateEndpoint = "PrivateEndpoint"

	categoryUser     = "UserDefined"
	categoryRequired = "Required"
)

const target = "properties.destination"

func (p *provider) outboundRule() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                OutboundRuleType,
		SystemData:          true,
		NoProvisioningState: true,
		// clients take 200 or 202 from a PUT, never 201
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		Methods:   []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Name: arm.NameRule{
			// the pattern of the service's own specification
			Pattern: regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`),
			Text:    "The name of an outbound rule has 3 to 33 letters, digits, '-' and '_', and begins with a letter or digit.",
		},
		Index: func(r *arm.Resource) []string {
			if id := r.Private.String("connection"); id != "" {
				return []string{"connection|" + arm.Key(id)}
			}
			return nil
		},
		Put: func(_ context.Context, put *arm.Put) error {
			if isKind(put.Parent, kindProject) {
				return validationError("", "Project '%s' has the managed network of its hub, whose rules are changed there.", put.Parent.Name())
			}
			w := ruleWriter{p: p, tx: put.Tx, workspace: put.Parent, by: put.Resource.ModifiedBy, now: put.Now}
			return w.complete(put.Resource, put.Existing)
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			if !d.Cascade && isSystemRule(d.Resource) {
				return validationError("", "The outbound rule '%s' is of category %s and cannot be deleted.", d.Resource.Name(), d.Resource.Body.String("properties.category"))
			}
			return p.disconnect(d.Tx, d.Resource)
		},
	}
}

func isSystemRule(r *arm.Resource) bool {
	c := r.Body.String("properties.category")
	return c != "" && c != categoryUser
}

// disconnect removes the connection that a rule has at its target.
func (p *provider) disconnect(tx store.Tx, rule *arm.Resource) error {
	id := rule.Private.String("connection")
	rule.Private.Delete("connection")
	there, err := p.kernel.Resources().Exists(tx, id)
	if err != nil || !there {
		return err
	}
	return p.kernel.Resources().Remove(tx, id)
}

// ConnectionChanged keeps the status of the outbound rule whose connection it is: a
// rule of a connection that nobody approved is not active.
func ConnectionChanged(tx store.Tx, res *arm.Resources, connection *arm.Resource) error {
	var rules []*arm.Resource
	for r, err := range res.Find(tx, OutboundRuleType, "connection|"+arm.Key(connection.ID)) {
		if err != nil {
			return err
		}
		rules = append(rules, r)
	}
	for _, r := range rules {
		status := statusInactive
		if network.ConnectionState(connection) == "Approved" {
			status = statusActive
		}
		r.Body.Set("properties.status", status)
		if err := res.Put(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// checkRule checks what a rule says, and writes its enumerations in Azure's casing.
// existing is nil for a new one.
func (w ruleWriter) checkRule(r, existing *arm.Resource) error {
	body := r.Body
	if body.Object("properties") == nil {
		return validationError("properties", "The property 'properties' of outbound rule '%s' is missing.", r.Name())
	}
	typ, err := oneOf(body, "properties.type", RuleFQDN, RuleServiceTag, RulePrivateEndpoint)
	if err != nil {
		return err
	}
	if existing != nil && existing.Body.String("properties.type") != typ {
		return validationError("properties.type", "The outbound rule '%s' is of type %s, which cannot be changed to %s.", r.Name(), existing.Body.String("properties.type"), typ)
	}
	if existing != nil {
		body.Default("properties.category", existing.Body.String("properties.category"))
	}
	body.Default("properties.category", categoryUser)
	category, err := oneOf(body, "properties.category", categoryUser, categoryRequired, "Recommended", "Dependency")
	if err != nil {
		return err
	}
	// clients say that a request with such rules is a bad one; a document that was
	// read and is sent back as it was is none
	if system := existing != nil && isSystemRule(existing); system || category != categoryUser {
		if !system || !sameRule(r, existing) {
			return validationError("properties.category", "The outbound rule '%s' is of category %s: the service makes and changes these itself.", r.Name(), category)
		}
		return nil
	}
	if mode := IsolationMode(w.workspace); mode == IsolationDisabled {
		return validationError("", "The isolation mode of workspace '%s' is %s: it has no outbound rules.", w.workspace.Name(), mode)
	} else if mode == IsolationInternet && typ != RulePrivateEndpoint {
		return validationError("properties.type", "Only outbound rules of type %s are supported when the isolation mode is %s.", RulePrivateEndpoint, mode)
	}
	switch typ {
	case RuleFQDN:
		return checkNames(body)
	case RuleServiceTag:
		return checkServiceTag(body)
	}
	return w.checkEndpoint(r)
}

// sameRule reports whether a request leaves a rule as it is.
func sameRule(r, existing *arm.Resource) bool {
	a, b := r.Body.Object("properties").Clone(), existing.Body.Object("properties").Clone()
	a.Delete("status")
	b.Delete("status")
	a.Default("category", b.String("category"))
	return reflect.DeepEqual(a, b)
}

// oneOf reads an enumeration, and writes it in Azure's casing.
func oneOf(body arm.Doc, path string, values ...string) (string, error) {
	v := body.String(path)
	i := slices.IndexFunc(values, func(s string) bool { return strings.EqualFold(s, v) })
	if i < 0 {
		return "", validationError(path, "The value '%s' of '%s' is not one of %s.", v, path, strings.Join(values, ", "))
	}
	body.Set(path, values[i])
	return values[i], nil
}

var hostName = regexp.MustCompile(`^(\*\.|\*)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

// checkNames checks a destination of type FQDN: a name, or several with commas between
// them; each may begin with "*.".
func checkNames(body arm.Doc) error {
	s, ok := body.Get(target).(string)
	if !ok || s == "" {
		return validationError(target, "The destination of an outbound rule of type %s is a domain name.", RuleFQDN)
	}
	for n := range strings.SplitSeq(s, ",") {
		n = strings.TrimSpace(n)
		if len(n) > 253 || !hostName.MatchString(n) {
			return validationError(target, "The destination '%s' is not a domain name.", n)
		}
	}
	return nil
}

var serviceTag = regexp.MustCompile(`^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$`)

func checkServiceTag(body arm.Doc) error {
	if body.Object(target) == nil {
		return validationError(target, "The destination of an outbound rule of type %s is an object.", RuleServiceTag)
	}
	prefixes := body.List(target + ".addressPrefixes")
	if tag := body.String(target + ".serviceTag"); !serviceTag.MatchString(tag) && (tag != "" || len(prefixes) == 0) {
		return validationError(target+".serviceTag", "The service tag '%s' is invalid.", tag)
	}
	for _, v := range prefixes {
		s, _ := v.(string)
		_, err := netip.ParsePrefix(s)
		if _, alone := netip.ParseAddr(s); err != nil && alone != nil {
			return validationError(target+".addressPrefixes", "'%v' is not an address or a range of addresses.", v)
		}
	}
	if _, err := oneOf(body, target+".protocol", "*", "TCP", "UDP", "ICMP"); err != nil {
		return err
	}
	if body.Has(target + ".action") {
		if _, err := oneOf(body, target+".action", "Allow", "Deny"); err != nil {
			return err
		}
	}
	ports := body.String(target + ".portRanges")
	if _, ok := ParsePorts(ports); !ok {
		return validationError(target+".portRanges", "The port ranges '%s' are not ports and ranges of ports, with commas between them.", ports)
	}
	return nil
}

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

// ParsePorts reads the port ranges of a rule: "*", or ports and ranges of ports with
// commas between them.
func ParsePorts(s string) ([]Ports, bool) {
	if strings.TrimSpace(s) == "*" {
		return []Ports{{0, 65535}}, true
	}
	var out []Ports
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		if err != nil {
			return nil, false
		}
		last, err := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err != nil || last < first {
			return nil, false
		}
		out = append(out, Ports{uint16(first), uint16(last)})
	}
	return out, true
}

// checkEndpoint checks a rule that makes a private endpoint.
func (w ruleWriter) checkEndpoint(r *arm.Resource) error {
	body := r.Body
	id, group := body.String(target+".serviceResourceId"), body.String(target+".subresourceTarget")
	parsed, err := arm.ParseID(id)
	if err != nil || len(parsed.Providers) == 0 {
		return validationError(target+".serviceResourceId", "'%s' is not the ID of a resource.", id)
	}
	if !network.IsEndpointTarget(parsed.Type()) {
		return arm.NotImplemented("outbound rules whose private endpoint leads to '%s'", parsed.Type())
	}
	resource, err := w.p.kernel.Resources().Get(w.tx, id)
	if arm.Key(id) == arm.Key(w.workspace.ID) {
		resource, err = w.workspace, nil // which may be in the making
	}
	if errors.Is(err, store.ErrNotFound) {
		return arm.NotFound(parsed)
	}
	if err != nil {
		return err
	}
	groups, _ := network.EndpointGroups(resource)
	if !slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, group) }) {
		return validationError(target+".subresourceTarget", "'%s' is no sub-resource of '%s'. Those are %s.", group, id, strings.Join(groups, ", "))
	}
	for other, err := range w.p.kernel.Resources().Children(w.tx, w.workspace.ParsedID(), OutboundRuleType) {
		if err != nil {
			return err
		}
		if arm.Key(other.ID) != arm.Key(r.ID) && sameEndpoint(other, r) {
			return validationError(target, "The outbound rule '%s' has this destination already.", other.Name())
		}
	}
	body.Default(target+".sparkEnabled", false)
	if body.Bool(target+".sparkEnabled", false) {
		// the network for Spark, of which it is part, is not there
		body.Set(target+".sparkStatus", statusInactive)
	}
	return nil
}

// sameEndpoint reports whether two rules make an endpoint to the same thing.
func sameEndpoint(a, b *arm.Resource) bool {
	for _, r := range []*arm.Resource{a, b} {
		if r.Body.String("properties.type") != RulePrivateEndpoint {
			return false
		}
	}
	return arm.Key(a.Body.String(target+".serviceResourceId")) == arm.Key(b.Body.String(target+".serviceResourceId")) &&
		strings.EqualFold(a.Body.String(target+".subresourceTarget"), b.Body.String(target+".subresourceTarget"))
}
