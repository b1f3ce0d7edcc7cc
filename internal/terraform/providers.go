package terraform

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// azurermSource is the address of azurerm without a registry host.
const azurermSource = "hashicorp/azurerm"

// Hosts of the registries that terraform and tofu look in when a source names
// none.
const (
	terraformRegistry = "registry.terraform.io"
	opentofuRegistry  = "registry.opentofu.org"
)

// sourceOf returns the address of the provider that a module calls name, without
// the host where that is one of the two public registries:
// "hashicorp/azurerm", "example.com/acme/thing", "terraform.io/builtin/terraform".
func (m *Module) sourceOf(name string) string {
	source := ""
	for _, r := range m.Requirements {
		if r.Name == name && r.Source != "" {
			source = r.Source
		}
	}
	if source == "" {
		if name == "terraform" {
			return "terraform.io/builtin/terraform"
		}
		source = "hashicorp/" + name
	}
	source = strings.ToLower(source)
	if !strings.Contains(source, "/") {
		source = "hashicorp/" + source
	}
	return withoutHost(source)
}

// Providers returns the addresses of all providers that the root and the local
// modules name or imply, in order, without the ones built into terraform. The
// two public registries' hosts are left out of an address.
func (c *Config) Providers() []string {
	found := map[string]bool{}
	for _, m := range c.Modules {
		for _, r := range m.Requirements {
			found[m.sourceOf(r.Name)] = true
		}
		for _, b := range m.Blocks {
			switch {
			case b.provider != "":
				found[m.sourceOf(b.provider)] = true
			case strings.HasPrefix(b.Address, "provider."):
				found[m.sourceOf(b.Type)] = true
			}
		}
	}
	var out []string
	for source := range found {
		if !strings.HasPrefix(source, "terraform.io/builtin/") {
			out = append(out, source)
		}
	}
	sort.Strings(out)
	return out
}

// reattachments is a parsed TF_REATTACH_PROVIDERS: how to reach providers that
// run already, by address with host.
type reattachments map[string]json.RawMessage

// parseReattach reads the value of TF_REATTACH_PROVIDERS. A provider of one of
// the two public registries is put under the other's host too: a source without
// a host means another registry to terraform than to tofu, and a configuration
// may name either.
func parseReattach(text string) (reattachments, error) {
	out := reattachments{}
	if text == "" {
		return out, nil
	}
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return nil, fmt.Errorf("read reattach configuration: %w", err)
	}
	for key, how := range given {
		out[key] = how
		if source := withoutHost(key); source != key {
			for _, host := range []string{terraformRegistry, opentofuRegistry} {
				if _, named := given[host+"/"+source]; !named {
					out[host+"/"+source] = how
				}
			}
		}
	}
	return out, nil
}

// serves reports whether a provider, by its address as Config.Providers gives
// it, runs already.
func (r reattachments) serves(source string) bool {
	_, direct := r[source]
	_, public := r[terraformRegistry+"/"+source]
	return direct || public
}

// environment is the value of TF_REATTACH_PROVIDERS for terraform and tofu alike.
func (r reattachments) environment() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write reattach configuration: %w", err)
	}
	return string(text), nil
}

// withoutHost takes the host of a public registry off an address.
func withoutHost(source string) string {
	for _, host := range []string{terraformRegistry, opentofuRegistry} {
		source = strings.TrimPrefix(source, host+"/")
	}
	return source
}
