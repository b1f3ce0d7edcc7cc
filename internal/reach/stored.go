package reach

import (
	"iter"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/containerregistry"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Stored is the World of the resources in a store.
type Stored struct {
	Tx        store.Tx
	Resources *arm.Resources
}

var _ World = Stored{}

// Get implements World.
func (w Stored) Get(id string) (*arm.Resource, error) { return w.Resources.Get(w.Tx, id) }

// Children implements World.
func (w Stored) Children(parent arm.ID, typ string) iter.Seq2[*arm.Resource, error] {
	return w.Resources.Children(w.Tx, parent, typ)
}

// ZoneLinks implements World.
func (w Stored) ZoneLinks(networkID string) iter.Seq2[*arm.Resource, error] {
	return network.ZoneLinks(w.Tx, w.Resources, networkID)
}

// Named implements World.
func (w Stored) Named(typ, name string) (*arm.Resource, error) {
	switch typ {
	case storage.AccountType:
		return storage.Account(w.Tx, w.Resources, name)
	case keyvault.VaultType:
		return keyvault.Vault(w.Tx, w.Resources, name)
	case containerregistry.RegistryType:
		return containerregistry.Registry(w.Tx, w.Resources, name)
	case machinelearning.WorkspaceType:
		return machinelearning.WorkspaceByGUID(w.Tx, w.Resources, name)
	}
	return nil, store.ErrNotFound
}

// From is what a resource is as a source of calls: a subnet, or a compute where it
// stands. It reports false for what is neither.
func From(r *arm.Resource) (Source, bool) {
	id := r.ParsedID()
	switch {
	case strings.EqualFold(id.Type(), network.SubnetType):
		return Source{Name: "subnet " + id.Parent().Name() + "/" + id.Name(), Subnet: r.ID}, true
	case strings.EqualFold(id.Type(), machinelearning.ComputeType):
		src := Source{
			Name: "compute " + id.Name(), Subnet: r.Body.String("properties.properties.subnet.id"),
			PublicIP: r.Body.Bool("properties.properties.enableNodePublicIp", true),
		}
		if src.Subnet == "" {
			src.Workspace, src.Azure = id.Parent().String(), true
		}
		return src, true
	}
	return Source{}, false
}

// MainHost is the host of a storage account (its blobs), vault, registry or workspace
// that people mean by its name, or "" of what has none.
func MainHost(r *arm.Resource) string {
	name := strings.ToLower(r.Name())
	switch typ := r.ParsedID().Type(); {
	case strings.EqualFold(typ, typeAccount):
		return name + ".blob.core.windows.net"
	case strings.EqualFold(typ, typeVault):
		return name + ".vault.azure.net"
	case strings.EqualFold(typ, typeRegistry):
		return name + ".azurecr.io"
	case strings.EqualFold(typ, typeWorkspace):
		return r.Body.String("properties.workspaceId") + ".workspace." + arm.NormalizeLocation(r.Body.String("location")) + ".api.azureml.ms"
	}
	return ""
}
