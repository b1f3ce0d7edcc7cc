package network

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The types of network security groups.
const (
	SecurityGroupType       = namespace + "/networkSecurityGroups"
	securityRuleType        = SecurityGroupType + "/securityRules"
	defaultSecurityRuleType = SecurityGroupType + "/defaultSecurityRules"
)

// networkName is the rule for most names of the namespace.
func networkName(what string) arm.NameRule {
	return arm.NameRule{
		Pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?$`),
		Text:    "The name of a " + what + " has 1 to 80 letters, digits, '_', '.' and '-', begins with a letter or digit and ends with one or with '_'.",
	}
}

func latency(seconds time.Duration) arm.Latency {
	return arm.Latency{Create: seconds * time.Second, Update: seconds * time.Second, Delete: seconds * time.Second}
}

func (p *provider) securityGroupType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: SecurityGroupType, Tracked: true, ETag: true, Latency: latency(3),
		Name: networkName("network security group"),
		Put: func(ctx context.Context, put *arm.Put) error {
			resourceGUID(put)
			for _, shown := range []string{"defaultSecurityRules", "subnets", "networkInterfaces"} {
				put.Resource.Body.Delete("properties." + shown)
			}
			return p.putChildren(ctx, put, p.securityRules)
		},
		Read: func(ctx context.Context, tx store.Tx, r *arm.Resource) error {
			if err := p.readChildren(ctx, tx, r, p.securityRules); err != nil {
				return err
			}
			r.Body.Set("properties.defaultSecurityRules", defaultRules(r.ID))
			return p.showUsers(tx, r, SubnetType, "properties.subnets")
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			users, err := p.usersOf(d.Tx, SubnetType, d.Resource.ID)
			if err != nil {
				return err
			}
			if users = staying(d, users); len(users) > 0 {
				return arm.BadRequest("InUseNetworkSecurityGroupCannotBeDeleted",
					"Network security group %s cannot be deleted because it is in use by the following resources: %s. In order to delete the Network security group, remove the association with the resource(s). To learn how to do this, see aka.ms/deletensg.",
					d.Resource.ID, strings.Join(users, ", "))
			}
			return nil
		},
	}
}

func (p *provider) securityRuleType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: securityRuleType, ETag: true, Latency: latency(2),
		Name: networkName("security rule"),
		Unimplemented: map[string]string{
			"properties.sourceApplicationSecurityGroups":      "matches application security groups",
			"properties.destinationApplicationSecurityGroups": "matches application security groups",
		},
		Put: func(ctx context.Context, put *arm.Put) error {
			return p.putChild(ctx, put, p.securityRules)
		},
		Delete: p.deleteChild,
	}
}

// defaultSecurityRuleType shows the rules that every group ends with.
func (p *provider) defaultSecurityRuleType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: defaultSecurityRuleType, ETag: true, Virtual: true, Methods: []string{http.MethodGet},
		Default: func(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
			for _, v := range defaultRules(id.Parent().String()) {
				doc := arm.Doc(v.(map[string]any))
				if strings.EqualFold(doc.String("name"), id.Name()) {
					return &arm.Resource{ID: doc.String("id"), Body: arm.Doc{"properties": doc.Get("properties")}}, nil
				}
			}
			return nil, nil
		},
		List: func(ctx context.Context, _ *arm.Request, group arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
				g, err := p.kernel.Load(ctx, tx, group)
				if err != nil {
					return err
				}
				for _, v := range defaultRules(g.ID) {
					page.Value = append(page.Value, v.(map[string]any))
				}
				return nil
			})
			return page, err
		},
	}
}

// DefaultRules are the rules of a direction, "Inbound" or "Outbound", that every group
// ends with.
func DefaultRules(group, direction string) []*arm.Resource {
	var out []*arm.Resource
	for _, v := range defaultRules(group) {
		m, _ := v.(map[string]any)
		if doc := arm.Doc(m); doc.String("properties.direction") == direction {
			out = append(out, &arm.Resource{ID: doc.String("id"), Body: doc})
		}
	}
	return out
}

// defaultRules are the six rules that Azure puts at the end of every group:
// https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview#default-security-rules
func defaultRules(group string) []any {
	var out []any
	for _, d := range []struct {
		name, description, source, destination, access, direction string
		priority                                                  int
	}{
		{"AllowVnetInBound", "Allow inbound traffic from all VMs in VNET", "VirtualNetwork", "VirtualNetwork", "Allow", "Inbound", 65000},
		{"AllowAzureLoadBalancerInBound", "Allow inbound traffic from azure load balancer", "AzureLoadBalancer", "*", "Allow", "Inbound", 65001},
		{"DenyAllInBound", "Deny all inbound traffic", "*", "*", "Deny", "Inbound", 65500},
		{"AllowVnetOutBound", "Allow outbound traffic from all VMs to all VMs in VNET", "VirtualNetwork", "VirtualNetwork", "Allow", "Outbound", 65000},
		{"AllowInternetOutBound", "Allow outbound traffic from all VMs to Internet", "*", "Internet", "Allow", "Outbound", 65001},
		{"DenyAllOutBound", "Deny all outbound traffic", "*", "*", "Deny", "Outbound", 65500},
	} {
		out = append(out, map[string]any{
			"name": d.name, "id": group + "/defaultSecurityRules/" + d.name, "type": defaultSecurityRuleType,
			"properties": map[string]any{
				"provisioningState": "Succeeded", "description": d.description, "protocol": "*",
				"sourcePortRange": "*", "destinationPortRange": "*",
				"sourceAddressPrefix": d.source, "destinationAddressPrefix": d.destination,
				"access": d.access, "priority": float64(d.priority), "direction": d.direction,
				"sourcePortRanges": []any{}, "destinationPortRanges": []any{}, "sourceAddressPrefixes": []any{}, "destinationAddressPrefixes": []any{},
			},
		})
	}
	return out
}

// completeSecurityRule checks a rule. Azure's codes and words for what is wrong
// are those that its users report.
func completeSecurityRule(_ context.Context, _ *arm.Put, c child) error {
	body := c.r.Body
	for path, values := range map[string][]string{
		"properties.access":    {"Allow", "Deny"},
		"properties.direction": {"Inbound", "Outbound"},
		"properties.protocol":  {"*", "Tcp", "Udp", "Icmp", "Ah", "Esp"},
	} {
		if err := oneOf(body, path, values...); err != nil {
			return err
		}
	}
	priority := body.Int("properties.priority", 0)
	if priority < 100 || priority > 4096 {
		return arm.BadRequest("SecurityRuleInvalidPriority", "Security rule has invalid Priority. Value provided: %d Allowed range 100-4096.", priority)
	}
	for _, side := range []string{"source", "destination"} {
		if err := matched(body, "properties."+side+"AddressPrefix", "properties."+side+"AddressPrefixes", validAddress, "SecurityRuleInvalidAddressPrefix",
			"Security rule has invalid Address prefix. Value provided: %s"); err != nil {
			return err
		}
		if err := matched(body, "properties."+side+"PortRange", "properties."+side+"PortRanges", validPorts, "SecurityRuleInvalidPortRange",
			"Security rule has invalid Port range. Value provided: %s. Value should be an integer OR integer range with '-' delimiter. Valid range 0-65535."); err != nil {
			return err
		}
	}
	for _, s := range c.siblings {
		if s.Body.Int("properties.priority", 0) == priority && strings.EqualFold(s.Body.String("properties.direction"), body.String("properties.direction")) {
			return arm.BadRequest("SecurityRuleConflict",
				"Security rule %s conflicts with rule %s. Rules cannot have the same Priority and Direction. To learn more, see aka.ms/nsgrules.", s.Name(), c.r.Name())
		}
	}
	return nil
}

// matched checks what a rule matches, which is one value or several. An empty
// value is none.
func matched(body arm.Doc, one, many string, valid func(string) bool, code, format string) error {
	var all []string
	if s := body.String(one); s != "" {
		all = append(all, s)
	} else {
		body.Delete(one)
	}
	for _, v := range body.List(many) {
		s, _ := v.(string)
		all = append(all, s)
	}
	if len(all) == 0 {
		// Azure's words are not known
		return arm.BadRequest("InvalidRequestFormat", "Cannot parse the request: neither %s nor %s has a value.", strings.TrimPrefix(one, "properties."), strings.TrimPrefix(many, "properties."))
	}
	for _, s := range all {
		if !valid(s) {
			return arm.BadRequest(code, format, s)
		}
	}
	body.Default(many, []any{})
	return nil
}

var serviceTag = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*$`)

// validAddress takes *, an address, a prefix or a service tag. Which tags there
// are changes weekly, so any word is taken for one.
func validAddress(s string) bool {
	return s == "*" || serviceTag.MatchString(s) || isAddress(s) || isPrefix(s)
}

func validPorts(s string) bool {
	if s == "*" {
		return true
	}
	from, to, ranged := strings.Cut(s, "-")
	first, ok := port(from)
	if !ok || !ranged {
		return ok
	}
	last, ok := port(to)
	return ok && first <= last
}

func port(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil
}
