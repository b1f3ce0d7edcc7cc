package reach

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The types of resources with hosts of their own.
const (
	typeAccount   = "Microsoft.Storage/storageAccounts"
	typeVault     = "Microsoft.KeyVault/vaults"
	typeRegistry  = "Microsoft.ContainerRegistry/registries"
	typeWorkspace = "Microsoft.MachineLearningServices/workspaces"
)

// target is a destination of which is known what it is.
type target struct {
	host string
	port int
	// typ and resource are of what the host belongs to; resource is nil where that
	// is nothing, or not there.
	typ      string
	resource *arm.Resource
	// service is what a subnet's service endpoint for it is called, or "".
	service string
	// tags are the service tags that its public addresses are in, in lower case. All
	// but the last are narrower than Internet.
	tags []string
	// names are the private names of the host: the groups of private endpoints
	// that lead to it, with the zone and record of each.
	names []network.PrivateName
}

// tagged are the hosts of Azure that belong to no resource here, with their tags.
// The tags of Microsoft Graph and of the container images' data are not
// documented; these are the nearest.
var tagged = sync.OnceValue(func() map[string][]string {
	return map[string][]string{
		"login.microsoftonline.com":         {"AzureActiveDirectory"},
		"login.windows.net":                 {"AzureActiveDirectory"},
		"sts.windows.net":                   {"AzureActiveDirectory"},
		"graph.microsoft.com":               {"AzureActiveDirectory"},
		"graph.windows.net":                 {"AzureActiveDirectory"},
		"management.azure.com":              {"AzureResourceManager"},
		"management.core.windows.net":       {"AzureResourceManager"},
		"mcr.microsoft.com":                 {"MicrosoftContainerRegistry"},
		"data.mcr.microsoft.com":            {"MicrosoftContainerRegistry", "AzureFrontDoor.FirstParty"},
		"ml.azure.com":                      {"AzureMachineLearning", "AzureFrontDoor.FirstParty"},
		"azureml.ms":                        {"AzureMachineLearning"},
		"azureml.net":                       {"AzureMachineLearning"},
		"notebooks.azure.net":               {"AzureMachineLearning"},
		"batch.azure.com":                   {"BatchNodeManagement"},
		"applicationinsights.azure.com":     {"AzureMonitor"},
		"applicationinsights.io":            {"AzureMonitor"},
		"applicationinsights.microsoft.com": {"AzureMonitor"},
		"services.visualstudio.com":         {"AzureMonitor"},
		"monitor.azure.com":                 {"AzureMonitor"},
		"loganalytics.io":                   {"AzureMonitor"},
		"loganalytics.azure.com":            {"AzureMonitor"},
		"opinsights.azure.com":              {"AzureMonitor"},
		"azurecr.io":                        {"AzureContainerRegistry"},
		"vault.azure.net":                   {"AzureKeyVault"},
		"blob.core.windows.net":             {"Storage"},
		"dfs.core.windows.net":              {"Storage"},
		"file.core.windows.net":             {"Storage"},
		"queue.core.windows.net":            {"Storage"},
		"table.core.windows.net":            {"Storage"},
		"web.core.windows.net":              {"Storage"},
		"azurefd.net":                       {"AzureFrontDoor.FirstParty"},
	}
})

// Parse takes a host name apart: the type of the resource that it names, and the
// name, in lower case; both are "" for other hosts. Of a workspace the name is its
// workspace ID.
func Parse(host string) (typ, name string) {
	host = strings.ToLower(host)
	first, rest, _ := strings.Cut(host, ".")
	switch {
	case strings.HasSuffix(rest, ".core.windows.net"):
		return typeAccount, strings.TrimSuffix(first, "-secondary")
	case rest == "vault.azure.net":
		return typeVault, first
	case rest == "azurecr.io", strings.HasSuffix(rest, ".data.azurecr.io"):
		return typeRegistry, first
	case strings.HasPrefix(rest, "workspace.") && strings.HasSuffix(rest, ".api.azureml.ms"):
		return typeWorkspace, first
	}
	return "", ""
}

// find says what a destination is.
func find(w World, dst Destination) (*target, error) {
	t := &target{host: strings.TrimSuffix(strings.ToLower(dst.Host), "."), port: dst.Port}
	if t.port == 0 {
		t.port = 443
	}
	var tags []string
	for rest := t.host; rest != ""; {
		if found, ok := tagged()[rest]; ok {
			tags = found
			break
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	typ, name := Parse(t.host)
	region := ""
	if typ != "" {
		r, err := w.Named(typ, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			t.typ, t.resource = typ, r
			region = arm.NormalizeLocation(r.Body.String("location"))
			for _, n := range network.PrivateNames(r) {
				if strings.EqualFold(n.Host, t.host) {
					t.names = append(t.names, n)
				}
			}
		}
	}
	if region == "" && len(tags) > 0 {
		region = regionIn(t.host)
	}
	switch typ {
	case typeAccount:
		t.service = "Microsoft.Storage"
	case typeVault:
		t.service = "Microsoft.KeyVault"
	case typeRegistry:
		t.service = "Microsoft.ContainerRegistry"
	}
	for _, tag := range tags {
		t.tags = append(t.tags, strings.ToLower(tag))
		if region != "" {
			t.tags = append(t.tags, strings.ToLower(tag)+"."+region)
		}
	}
	if len(tags) > 0 {
		t.tags = append(t.tags, "azurecloud")
		if region != "" {
			t.tags = append(t.tags, "azurecloud."+region)
		}
	}
	t.tags = append(t.tags, "internet")
	return t, nil
}

// regionIn is the region that a host of Azure's names, such as
// "eastus.api.azureml.ms" and "westeurope-5.in.applicationinsights.azure.com", or "".
func regionIn(host string) string {
	for label := range strings.SplitSeq(host, ".") {
		label, _, _ = strings.Cut(label, "-")
		if slices.Contains(arm.Locations(), label) {
			return label
		}
	}
	return ""
}

// tag is how people would name the target in a rule.
func (t *target) tag() string {
	if len(t.tags) > 1 {
		return properTag(t.tags[0])
	}
	return "Internet"
}

func properTag(tag string) string {
	for _, tags := range tagged() {
		for _, have := range tags {
			if strings.EqualFold(have, tag) {
				return have
			}
		}
	}
	return tag
}

// match reports whether the target's public addresses are in what a rule names.
// Azimuth's services have no public addresses of their own, so a prefix other than
// all of the internet matches none.
func (t *target) match(prefix string) bool {
	return prefix == "*" || prefix == "0.0.0.0/0" || slices.Contains(t.tags, strings.ToLower(prefix))
}
