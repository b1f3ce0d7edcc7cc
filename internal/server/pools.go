package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/network"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// pools lets clusters run on the compute engine.
type pools struct{ s *Server }

// PutPool implements machinelearning.Pools.
func (p pools) PutPool(tx store.Tx, in machinelearning.Pool) error {
	prefix, err := p.subnetPrefix(tx, in.SubnetID)
	if err != nil {
		return err
	}
	err = p.s.manager.PutPool(tx, compute.Pool{
		ID: in.ID, VMSize: in.VMSize, VCPUs: in.VCPUs, MemoryGiB: in.MemoryGiB, GPUs: in.GPUs, Priority: in.Priority,
		Min: in.Min, Max: in.Max, IdleTime: in.IdleTime, SubnetID: in.SubnetID, SubnetPrefix: prefix, Tags: in.Tags,
		Quotas: in.Quotas,
	})
	var over *compute.QuotaError
	if errors.As(err, &over) { // the text is Azure's
		return arm.BadRequest("BadRequest", "The specified subscription has a total vCPU quota of %d and cannot accomodate for at least %d requested managed compute node which maps to %d vCPUs.",
			over.Limit, over.Nodes, over.Cores)
	}
	return err
}

// Quotas implements machinelearning.Pools.
func (p pools) Quotas(tx store.Tx) (map[string]int, error) { return p.s.manager.Quotas(tx) }

// SetQuota implements machinelearning.Pools.
func (p pools) SetQuota(tx store.Tx, name string, cores int) error {
	return p.s.manager.SetQuota(tx, name, cores)
}

// subnetPrefix is the IPv4 range that a cluster's nodes take addresses from. It
// stays as it is while the cluster is there: Azure refuses to change it.
func (p pools) subnetPrefix(tx store.Tx, subnetID string) (string, error) {
	if subnetID == "" {
		return "", nil
	}
	r, err := p.s.kernel.Resources().Get(tx, subnetID)
	if err != nil {
		return "", fmt.Errorf("read the subnet of a cluster: %w", err)
	}
	for _, prefix := range network.Prefixes(r) {
		if prefix.Addr().Is4() {
			return prefix.String(), nil
		}
	}
	return "", nil
}

// DeletePool implements machinelearning.Pools.
func (p pools) DeletePool(tx store.Tx, id string) error { return p.s.manager.DeletePool(tx, id) }

// PoolStatus implements machinelearning.Pools.
func (p pools) PoolStatus(tx store.Tx, id string) (machinelearning.PoolStatus, error) {
	st, err := p.s.manager.PoolStatus(tx, id)
	if errors.Is(err, compute.ErrPoolNotFound) {
		err = store.ErrNotFound
	}
	if err != nil {
		return machinelearning.PoolStatus{}, err
	}
	out := machinelearning.PoolStatus{
		Preparing: st.Counts.Preparing, Idle: st.Counts.Idle, Running: st.Counts.Running,
		Leaving: st.Counts.Leaving, Preempted: st.Counts.Preempted, Unusable: st.Counts.Unusable,
		Current: st.Current, Target: st.Target, Resizing: st.Allocation == compute.Resizing, Since: st.AllocationSince,
	}
	for _, e := range st.Errors {
		out.Errors = append(out.Errors, e.Message)
	}
	return out, nil
}

// PoolNodes implements machinelearning.Pools.
func (p pools) PoolNodes(tx store.Tx, id string) ([]machinelearning.Node, error) {
	nodes, err := p.s.manager.Nodes(tx, id)
	if err != nil {
		return nil, err
	}
	out := make([]machinelearning.Node, len(nodes))
	for i, n := range nodes {
		out[i] = machinelearning.Node{
			ID: n.ID, State: strings.ToLower(string(n.State)), Job: n.ItemID, Port: n.Port,
			PrivateIP: n.Info.PrivateIP, PublicIP: n.Info.PublicIP,
		}
	}
	slices.SortFunc(out, func(a, b machinelearning.Node) int { return a.Port - b.Port })
	return out, nil
}

// subnetUsers names what stands in a subnet.
func (s *Server) subnetUsers(tx store.Tx, subnetID string) ([]string, error) {
	return machinelearning.InSubnet(tx, s.kernel.Resources(), subnetID)
}
