package vault

import (
	"slices"
	"strings"
	"time"
)

// Content types of the secret that a certificate has.
const (
	contentPFX = "application/x-pkcs12"
	contentPEM = "application/x-pem-file"
)

// Issuers that are in every vault.
const (
	issuerSelf    = "Self"
	issuerUnknown = "Unknown"
)

const actionAutoRenew = "AutoRenew"

// certPolicy says how a certificate is made and renewed:
// https://learn.microsoft.com/rest/api/keyvault/certificates/create-certificate/create-certificate
type certPolicy struct {
	ID         string        `json:"id,omitempty"`
	Key        *keyProps     `json:"key_props,omitempty"`
	Secret     *secretProps  `json:"secret_props,omitempty"`
	X509       *x509Props    `json:"x509_props,omitempty"`
	Actions    []certAction  `json:"lifetime_actions,omitempty"`
	Issuer     *issuerParams `json:"issuer,omitempty"`
	Attributes *attributes   `json:"attributes,omitempty"`
}

type keyProps struct {
	Exportable *bool  `json:"exportable,omitempty"`
	Type       string `json:"kty,omitempty"`
	Size       int    `json:"key_size,omitempty"`
	Reuse      *bool  `json:"reuse_key,omitempty"`
	Curve      string `json:"crv,omitempty"`
}

type secretProps struct {
	ContentType string `json:"contentType"`
}

type x509Props struct {
	Subject string            `json:"subject,omitempty"`
	SANs    *alternativeNames `json:"sans,omitempty"`
	// EKUs and Usage are on the wire when they are empty, too: azurerm reads them
	// without a look.
	EKUs        []string `json:"ekus"`
	Usage       []string `json:"key_usage"`
	Months      int      `json:"validity_months,omitempty"`
	Constraints *struct {
		CA bool `json:"ca"`
	} `json:"basic_constraints,omitempty"`
}

type alternativeNames struct {
	Emails   []string `json:"emails,omitempty"`
	DNSNames []string `json:"dns_names,omitempty"`
	UPNs     []string `json:"upns,omitempty"`
}

func (n *alternativeNames) empty() bool {
	return n == nil || len(n.Emails)+len(n.DNSNames)+len(n.UPNs) == 0
}

type certAction struct {
	Trigger struct {
		Percentage *int `json:"lifetime_percentage,omitempty"`
		DaysBefore *int `json:"days_before_expiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"action_type"`
	} `json:"action"`
}

type issuerParams struct {
	Name         string `json:"name,omitempty"`
	Type         string `json:"cty,omitempty"`
	Transparency *bool  `json:"cert_transparency,omitempty"`
}

// complete fills in what the policy leaves out with what Azure takes for it.
func (p *certPolicy) complete() {
	if p.Issuer == nil {
		p.Issuer = &issuerParams{}
	}
	switch {
	case p.Issuer.Name == "" || strings.EqualFold(p.Issuer.Name, issuerUnknown):
		p.Issuer.Name = issuerUnknown
	case strings.EqualFold(p.Issuer.Name, issuerSelf):
		p.Issuer.Name = issuerSelf
	}
	if p.Key == nil {
		p.Key = &keyProps{}
	}
	if p.Key.Type == "" {
		p.Key.Type = "RSA"
	}
	if isEC(p.Key.Type) {
		if p.Key.Curve == "" {
			p.Key.Curve = "P-256"
		}
		if c := curve(p.Key.Curve); c != nil {
			p.Key.Size = c.Params().BitSize
		}
	} else if p.Key.Size == 0 {
		p.Key.Size = 2048
	}
	if p.Key.Exportable == nil {
		exportable := !strings.HasSuffix(p.Key.Type, "-HSM")
		p.Key.Exportable = &exportable
	}
	if p.Key.Reuse == nil {
		p.Key.Reuse = new(bool)
	}
	if p.Secret == nil || p.Secret.ContentType == "" {
		p.Secret = &secretProps{contentPFX}
	}
	if p.X509 == nil {
		p.X509 = &x509Props{}
	}
	if p.X509.Months == 0 {
		p.X509.Months = 12
	}
	if p.X509.EKUs == nil {
		p.X509.EKUs = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"} // TLS servers and clients
	}
	if p.X509.Usage == nil {
		p.X509.Usage = []string{"digitalSignature", "keyEncipherment"}
	}
	if p.Actions == nil {
		eighty, a := 80, certAction{}
		a.Trigger.Percentage, a.Action.Type = &eighty, actionAutoRenew
		if p.Issuer.Name == issuerUnknown {
			a.Action.Type = "EmailContacts"
		}
		p.Actions = []certAction{a}
	}
}

// check refuses what Azure documents as out of bounds; the words are not known
// unless said otherwise.
func (p *certPolicy) check(c *call) error {
	if err := c.checkType(p.Key.Type); err != nil {
		return err
	}
	if isOct(p.Key.Type) {
		return badParameter("Property kty has an invalid value: a certificate's key is RSA or EC.")
	}
	if strings.HasSuffix(p.Key.Type, "-HSM") && *p.Key.Exportable {
		return badParameter("Property exportable has an invalid value: a key in an HSM is not exportable.")
	}
	switch p.Secret.ContentType {
	case contentPFX, contentPEM:
	default:
		return badParameter("Property contentType has an invalid value: it is %s or %s.", contentPFX, contentPEM)
	}
	if p.X509.Subject == "" && p.X509.SANs.empty() {
		return badParameter("Property subject is missing: a certificate has a subject, subject alternative names or both.")
	}
	if _, err := parseSubject(p.X509.Subject); err != nil {
		return badParameter("Property subject has an invalid value: '%s' is not an X.500 distinguished name.", p.X509.Subject)
	}
	if p.X509.Months < 1 || p.X509.Months > 1200 {
		return badParameter("Property validity_months has an invalid value: it is 1 to 1200.")
	}
	if _, err := x509Extensions(p.X509); err != nil {
		return err
	}
	return p.checkActions()
}

func (p *certPolicy) checkActions() error {
	seen := map[string]bool{}
	for _, a := range p.Actions {
		percentage, days := a.Trigger.Percentage, a.Trigger.DaysBefore
		switch {
		case a.Action.Type != actionAutoRenew && a.Action.Type != "EmailContacts":
			return badParameter("Property action_type has an invalid value: '%s'.", a.Action.Type)
		case seen[a.Action.Type]:
			return badParameter("Property lifetime_actions has an invalid value: %s stands in it twice.", a.Action.Type)
		case (percentage == nil) == (days == nil):
			return badParameter("Property trigger has an invalid value: it is either lifetime_percentage or days_before_expiry.")
		case percentage != nil && (*percentage < 1 || *percentage > 99):
			return badParameter("Property lifetime_percentage has an invalid value: it is 1 to 99.")
		case days != nil && (*days < 1 || *days > 27*p.X509.Months):
			return badParameter("Property days_before_expiry has an invalid value: it is 1 to 27 times validity_months.")
		}
		seen[a.Action.Type] = true
	}
	return nil
}

// merge is the policy with what in says of it: a part that in has replaces it.
func (p certPolicy) merge(in *certPolicy) *certPolicy {
	if in.Key != nil {
		p.Key = in.Key
	}
	if in.Secret != nil {
		p.Secret = in.Secret
	}
	if in.X509 != nil {
		p.X509 = in.X509
	}
	if in.Actions != nil {
		p.Actions = in.Actions
	}
	if in.Issuer != nil {
		p.Issuer = in.Issuer
	}
	if in.Attributes != nil && in.Attributes.Enabled != nil {
		p.Attributes = &attributes{Enabled: in.Attributes.Enabled, Created: p.created()}
	}
	return &p
}

func (p *certPolicy) created() int64 {
	if p.Attributes == nil {
		return 0
	}
	return p.Attributes.Created
}

// stamp sets the times of a policy that is written now.
func (p *certPolicy) stamp(now time.Time) {
	enabled := p.Attributes == nil || p.Attributes.Enabled == nil || *p.Attributes.Enabled
	created := p.created()
	if created == 0 {
		created = now.Unix()
	}
	p.ID, p.Attributes = "", &attributes{Enabled: &enabled, Created: created, Updated: now.Unix()}
}

// renewal is when a certificate that is good from one time to another is to be
// followed by another. Only those that the vault signs itself are: Azure asks the
// owners of other authorities, and of unknown ones nobody.
func (p *certPolicy) renewal(from, to time.Time) (time.Time, bool) {
	if p.Issuer == nil || p.Issuer.Name != issuerSelf || p.Attributes != nil && p.Attributes.Enabled != nil && !*p.Attributes.Enabled {
		return time.Time{}, false
	}
	for _, a := range p.Actions {
		switch {
		case a.Action.Type != actionAutoRenew:
		case a.Trigger.DaysBefore != nil:
			return to.AddDate(0, 0, -*a.Trigger.DaysBefore), true
		case a.Trigger.Percentage != nil:
			return from.Add(to.Sub(from) / 100 * time.Duration(*a.Trigger.Percentage)), true
		}
	}
	return time.Time{}, false
}

func isEC(keyType string) bool { return keyType == "EC" || keyType == "EC-HSM" }

// certKeyOps are the operations of a certificate's key, by the key's usage:
// https://learn.microsoft.com/azure/key-vault/certificates/about-certificates#key-usage-flags-mapped-to-key-operations
func certKeyOps(keyType string, usage []string) []string {
	allowed := map[string][]string{
		"dataEncipherment": {"encrypt", "decrypt"}, "decipherOnly": {"decrypt"}, "encipherOnly": {"encrypt"},
		"digitalSignature": {"sign", "verify"}, "keyCertSign": {"sign", "verify"}, "nonRepudiation": {"sign", "verify"}, "cRLSign": {"sign", "verify"},
		"keyEncipherment": {"wrapKey", "unwrapKey"},
	}
	ops := []string{}
	for _, op := range keyOps(keyType) {
		if slices.ContainsFunc(usage, func(u string) bool { return slices.Contains(allowed[u], op) }) {
			ops = append(ops, op)
		}
	}
	return ops
}
