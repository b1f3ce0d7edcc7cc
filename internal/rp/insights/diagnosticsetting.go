package insights

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	settingType  = namespace + "/diagnosticSettings"
	settingIndex = "all"
	accountType  = "Microsoft.Storage/storageAccounts"
	// maxSettings is how many a resource can have.
	maxSettings = 5
)

// DiagnosticSetting is what a setting has sent, for the part that sends it.
type DiagnosticSetting struct {
	// Resource, Workspace and Account are ARM IDs; the last two may be "".
	Resource, Workspace, Account string
	// Dedicated asks for tables of the resource type's own.
	Dedicated bool
	// Categories are those that are sent here, groups resolved.
	Categories []string
}

// destinations are where a setting can send to. What has a reason is not
// implemented.
func destinations() []struct{ property, reason string } {
	return []struct{ property, reason string }{
		{"workspaceId", ""}, {"storageAccountId", ""},
		{"eventHubAuthorizationRuleId", "sends to an event hub"}, {"serviceBusRuleId", "sends to a service bus"},
		{"marketplacePartnerId", "sends to a partner's solution"},
	}
}

// diagnosticSetting has what a resource logs sent elsewhere.
func (p *provider) diagnosticSetting() *arm.ResourceType {
	missing := map[string]string{}
	for _, d := range destinations() {
		if d.reason != "" {
			missing["properties."+d.property] = d.reason
		}
	}
	changed := func() {
		if p.deps.SettingsChanged != nil {
			p.deps.SettingsChanged()
		}
	}
	return &arm.ResourceType{
		Type: settingType, Scope: arm.OnAnything, NoProvisioningState: true,
		PutStatus:     [2]int{http.StatusOK, http.StatusOK},
		Methods:       []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Unimplemented: missing,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[^<>*%&:\\?+/]{1,260}$`),
			Text:    `A setting has up to 260 characters, and none of <>*%&:\?+/.`,
		},
		Index: func(*arm.Resource) []string { return []string{settingIndex} },
		Validate: func(ctx context.Context, put *arm.Put) error {
			if p.deps.SettingsChanged == nil {
				return arm.NotImplemented("diagnostic settings")
			}
			return p.validateSetting(ctx, put)
		},
		Put: func(_ context.Context, put *arm.Put) error {
			body := put.Resource.Body
			for _, list := range []string{"logs", "metrics"} {
				items := body.List("properties." + list)
				if items == nil {
					items = []any{}
				}
				for _, v := range items {
					if m, ok := v.(map[string]any); ok {
						arm.Doc(m).Default("enabled", false)
					}
				}
				body.Set("properties."+list, items)
			}
			put.After(changed)
			return nil
		},
		Delete: func(_ context.Context, d *arm.Delete) error {
			d.After(changed)
			return nil
		},
	}
}

// asked is one entry of logs or metrics that is enabled.
type asked struct{ category, group, kind string }

// name is the category or group, for messages.
func (a asked) name() string { return a.category + a.group }

func enabledOf(body arm.Doc) (out []asked, err error) {
	for list, kind := range map[string]string{"logs": "Logs", "metrics": "Metrics"} {
		for _, v := range body.List("properties." + list) {
			m, ok := v.(map[string]any)
			if !ok {
				return nil, arm.InvalidProperty("properties."+list, "An entry of %s is not an object.", list)
			}
			d := arm.Doc(m)
			a := asked{category: d.String("category"), group: d.String("categoryGroup"), kind: kind}
			if (a.category == "") == (a.group == "") {
				return nil, arm.InvalidProperty("properties."+list, "An entry of %s has not exactly one of category and categoryGroup.", list)
			}
			if d.Bool("retentionPolicy.enabled", false) && d.Int("retentionPolicy.days", 0) > 0 {
				// Azure has retired it: lifecycle rules of the account do that.
				return nil, arm.NotImplemented("retentionPolicy of '%s' in '%s'", a.name(), settingType)
			}
			if d.Bool("enabled", false) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// resolve finds the categories that are asked for and sent. Of a group, those that
// are missing here do not come; a category that is asked for by its name and
// missing is refused, and a group of which nothing is there.
func resolve(all []category, want []asked) ([]string, error) {
	var sent []string
	for _, a := range want {
		found, there := false, false
		var lacks []string
		for _, c := range all {
			if c.kind != a.kind || !strings.EqualFold(c.name, a.category) && (a.group == "" || !slices.Contains(c.groups, a.group)) {
				continue
			}
			found = true
			switch {
			case c.state == stateMissing:
				lacks = append(lacks, c.name)
				continue
			case c.state == stateSent && !slices.Contains(sent, c.name):
				sent = append(sent, c.name)
			}
			there = true
		}
		if !found {
			// Azure's whole text is not known
			var names []string
			for _, c := range all {
				if c.kind == a.kind {
					names = append(names, "'"+c.name+"'")
				}
			}
			return nil, arm.BadRequest("BadRequest", "Category '%s' is not supported, supported ones are: [%s]", a.name(), strings.Join(names, ", "))
		}
		if !there {
			return nil, arm.NotImplemented("sending %s (%s) of '%s'", a.name(), strings.Join(lacks, ", "), settingType)
		}
	}
	return sent, nil
}

func (p *provider) validateSetting(ctx context.Context, put *arm.Put) error {
	body := put.Resource.Body
	all, err := p.categoriesOf(put.ID.Parent())
	if err != nil {
		return err
	}
	want, err := enabledOf(body)
	if err != nil {
		return err
	}
	if _, err := resolve(all, want); err != nil {
		return err
	}
	if t := body.String("properties.logAnalyticsDestinationType"); t != "" && t != "Dedicated" && t != "AzureDiagnostics" {
		return arm.InvalidProperty("properties.logAnalyticsDestinationType", "The value '%s' is not Dedicated or AzureDiagnostics.", t)
	}
	sinks := 0
	for property, sink := range map[string]struct{ typ, action string }{
		"workspaceId":      {workspaceType, workspaceType + "/sharedKeys/action"},
		"storageAccountId": {accountType, accountType + "/listKeys/action"},
	} {
		path := "properties." + property
		text := body.String(path)
		if text == "" {
			body.Delete(path)
			continue
		}
		sinks++
		id, err := arm.ParseID(text)
		if err != nil || !strings.EqualFold(id.Type(), sink.typ) {
			return arm.InvalidProperty(path, "'%s' is not the ID of a resource of type %s.", text, sink.typ)
		}
		if there, err := p.kernel.Resources().Exists(put.Tx, text); err != nil {
			return err
		} else if !there {
			// Azure's words are not known
			return arm.Errorf(http.StatusNotFound, "ResourceNotFound", "The %s '%s' of diagnostic setting '%s' was not found.", property, text, put.ID.Name())
		}
		if err := put.AllowedLinked(ctx, sink.action, id); err != nil {
			return err
		}
	}
	if sinks == 0 {
		return arm.BadRequest("BadRequest", "At least one data sink needs to be specified.")
	}
	return p.checkOthers(put, want)
}

// checkOthers compares a setting with the others of the resource.
func (p *provider) checkOthers(put *arm.Put, want []asked) error {
	n := 0
	for other, err := range p.kernel.Resources().Children(put.Tx, put.ID.Parent(), settingType) {
		if err != nil {
			return err
		}
		if strings.EqualFold(other.Name(), put.ID.Name()) {
			continue
		}
		n++
		theirs, err := enabledOf(other.Body)
		if err != nil {
			return err
		}
		for _, d := range destinations() {
			sink := put.Resource.Body.String("properties." + d.property)
			if sink == "" || !strings.EqualFold(sink, other.Body.String("properties."+d.property)) {
				continue
			}
			for _, a := range want {
				if slices.Contains(theirs, a) {
					return arm.Errorf(http.StatusConflict, "Conflict",
						"Data sink '%s' is already used in diagnostic setting '%s' for category '%s'. Data sinks can't be reused in different settings on the same category for the same resource.",
						sink, other.Name(), a.name())
				}
			}
		}
	}
	if put.Creating() && n >= maxSettings {
		// Azure's words are not known
		return arm.BadRequest("BadRequest", "The resource has %d diagnostic settings already, which is the most.", n)
	}
	return nil
}

// Settings returns what all diagnostic settings have sent. k is the kernel that the
// provider was given to.
func Settings(tx store.Tx, k *arm.Kernel) ([]DiagnosticSetting, error) {
	categories, err := readCategories(categoriesText)
	if err != nil {
		return nil, err
	}
	var out []DiagnosticSetting
	for r, err := range k.Resources().Find(tx, settingType, settingIndex) {
		if err != nil {
			return nil, fmt.Errorf("read diagnostic settings: %w", err)
		}
		want, err := enabledOf(r.Body)
		if err != nil {
			return nil, fmt.Errorf("diagnostic setting %s: %w", r.ID, err)
		}
		resource := r.ParsedID().Parent()
		s := DiagnosticSetting{
			Resource: resource.String(), Workspace: r.Body.String("properties.workspaceId"), Account: r.Body.String("properties.storageAccountId"),
			Dedicated: r.Body.String("properties.logAnalyticsDestinationType") == "Dedicated",
		}
		if s.Categories, err = resolve(categories[strings.ToLower(resource.Type())], want); err != nil {
			return nil, fmt.Errorf("diagnostic setting %s: %w", r.ID, err)
		}
		if len(s.Categories) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}
