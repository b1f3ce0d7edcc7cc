package preflight

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
)

const subnetOf = "properties.properties.subnet.id"

// P13 and §1.4 of aml-facts: nodes that do not reach what the workspace stands on run
// no job.
func computeNetwork(v *View, r *arm.Resource) (*Finding, error) {
	from, ok := reach.From(r)
	if !ok {
		return nil, nil
	}
	ws, err := v.Get(r.ParsedID().Parent().String())
	if err != nil || ws == nil {
		return nil, err
	}
	region := arm.NormalizeLocation(r.Body.String("location"))
	type need struct{ host, what, then string }
	var needs []need
	for _, l := range [][2]string{{"storageAccount", "the workspace's default storage"}, {"containerRegistry", "the workspace's registry"}} {
		to, err := v.Get(ws.Body.String("properties." + l[0]))
		if err != nil {
			return nil, err
		}
		if to != nil {
			needs = append(needs, need{reach.MainHost(to), l[1] + ", " + to.Name(), "Jobs fail."})
		}
	}
	// what nodes call themselves, in any network
	needs = append(needs, need{region + ".api.azureml.ms", "Azure Machine Learning", "Nodes do not become usable."},
		need{region + ".service.batch.azure.com", "Azure Batch, which manages nodes", "Nodes do not become usable."})
	for _, n := range needs {
		verdict, err := reach.Decide(reach.Stored{Tx: v.tx, Resources: v.res}, from, reach.Destination{Host: n.host})
		if err != nil {
			return nil, err
		}
		if verdict.Allowed {
			continue
		}
		return &Finding{
			Severity: Fails, Argument: "subnet_resource_id", Unverified: true,
			Message: fmt.Sprintf("The nodes do not reach %s: %s %s", n.what, verdict.Rule, n.then),
			Fix:     verdict.Change, Source: "Azure ML docs, how-to-secure-training-vnet (2024-04-08), how-to-secure-workspace-vnet (2024-07-08)",
		}, nil
	}
	return nil, nil
}

// §1.3: the containers of jobs are bridged over 172.17.0.0/16.
func dockerRange(v *View, r *arm.Resource) (*Finding, error) {
	subnet, err := v.Get(r.Body.String(subnetOf))
	if err != nil || subnet == nil {
		return nil, err
	}
	vnet, err := v.Get(subnet.ParsedID().Parent().String())
	if err != nil || vnet == nil {
		return nil, err
	}
	docker := netip.MustParsePrefix("172.17.0.0/16")
	for _, p := range vnet.Body.List("properties.addressSpace.addressPrefixes") {
		s, _ := p.(string)
		space, err := netip.ParsePrefix(s)
		if err != nil || !space.Overlaps(docker) {
			continue
		}
		return &Finding{
			Severity: Fails, Argument: "subnet_resource_id", Unverified: true,
			Message: fmt.Sprintf("The virtual network %s has addresses of 172.17.0.0/16, over which Docker bridges the containers of jobs: what has an address there is not reached.", vnet.Name()),
			Fix:     "Give the virtual network another range, such as 10.1.0.0/16.",
			Source:  "Azure ML docs, how-to-secure-training-vnet (2024-04-08)",
		}, nil
	}
	return nil, nil
}

// §1.3: a subnet needs a free address for each node.
func subnetTooSmall(v *View, r *arm.Resource) (*Finding, error) {
	if !isCluster(r) {
		return nil, nil
	}
	subnet, err := v.Get(r.Body.String(subnetOf))
	if err != nil || subnet == nil {
		return nil, err
	}
	most, room := r.Body.Int("properties.properties.scaleSettings.maxNodeCount", 0), network.Usable(subnet)
	if most <= room {
		return nil, nil
	}
	prefix := strings.TrimSpace(fmt.Sprint(network.Prefixes(subnet)))
	return &Finding{
		Severity: Warning, Argument: "subnet_resource_id",
		Message: fmt.Sprintf("The cluster grows to %d nodes, and the subnet %s %s has %d addresses to give: each node takes one, and Azure keeps five.", most, subnet.Name(), prefix, room),
		Fix:     "Give the subnet a wider range, or set a smaller max_node_count.",
		Source:  "Azure ML docs, how-to-secure-training-vnet (2024-04-08)",
	}, nil
}
