package storage

import (
	"errors"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// checkSubnets refuses network rules for subnets that no service endpoint leads from:
// the account would never see them. What Azure says of subnets that are not there is
// not known; they are taken.
func (p *provider) checkSubnets(put *arm.Put) error {
	if !put.Request.Body.Has("properties.networkAcls.virtualNetworkRules") {
		return nil
	}
	const service = "Microsoft.Storage"
	network, bare := "", []string{}
	for _, v := range put.Resource.Body.List("properties.networkAcls.virtualNetworkRules") {
		m, _ := v.(map[string]any)
		id, err := arm.ParseID(arm.Doc(m).String("id"))
		if err != nil {
			return arm.BadRequest("InvalidRequestPropertyValue", "The value '%s' is not allowed for property id of a virtual network rule.", arm.Doc(m).String("id"))
		}
		subnet, err := p.kernel.Resources().Get(put.Tx, id.Key())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		has := slices.ContainsFunc(subnet.Body.List("properties.serviceEndpoints"), func(v any) bool {
			m, _ := v.(map[string]any)
			name := arm.Doc(m).String("service")
			return strings.EqualFold(name, service) || strings.EqualFold(name, service+".Global")
		})
		if at := id.Parent().String(); !has && (network == "" || arm.Key(network) == arm.Key(at)) {
			network, bare = at, append(bare, id.Name())
		}
	}
	if len(bare) == 0 {
		return nil
	}
	return arm.BadRequest("NetworkAclsValidationFailure",
		"Validation of network acls failure: SubnetsHaveNoServiceEndpointsConfigured:Subnets %s of virtual network %s do not have ServiceEndpoints for %s resources configured. Add %s to subnet's ServiceEndpoints collection before trying to ACL %s resources to these subnets..",
		strings.Join(bare, ", "), network, service, service, service)
}
