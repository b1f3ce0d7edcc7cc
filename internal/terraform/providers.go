package terraform

import (
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
	for _, host := range []string{terraformRegistry, opentofuRegistry} {
		source = strings.TrimPrefix(source, host+"/")
	}
	return source
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

// Reattach says how to reach a provider that runs already, in the terms of
// TF_REATTACH_PROVIDERS (go-plugin's ReattachConfig).
type Reattach struct {
	// Protocol is "grpc".
	Protocol string
	// ProtocolVersion is 5 or 6, of the provider plugin protocol.
	ProtocolVersion int
	// Pid is the provider's process.
	Pid int
	// Test must be true for a provider that is to outlive the command:
	// otherwise terraform ends the process.
	Test bool
	Addr ReattachAddr
}

// ReattachAddr is where the provider listens.
type ReattachAddr struct {
	// Network is "unix" or "tcp".
	Network string
	String  string
}

// reattachKeys returns the keys under which terraform and tofu look for a
// provider. A source without a host means another registry to each, and a
// configuration may name either host, so both are there always.
func reattachKeys(source string) []string {
	if strings.Count(source, "/") != 1 {
		return []string{source}
	}
	return []string{terraformRegistry + "/" + source, opentofuRegistry + "/" + source}
}
