package machinelearning

import (
	"errors"
	"math"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The defaults of a cluster's scale settings, as the CLI's schema states them.
const defaultIdle = "PT120S"

// validateCluster checks the local rule of aml-facts §1.3: 0 ≤ min ≤ max,
// max ≥ 1, an ISO 8601 duration. The service's own words are not known, nor the
// bounds that it sets to the duration.
func validateCluster(put *arm.Put) error {
	const scale = "properties.properties.scaleSettings"
	body := put.Resource.Body
	switch v := body.String("properties.properties.vmPriority"); {
	case v == "" || strings.EqualFold(v, "Dedicated"), strings.EqualFold(v, "LowPriority"):
	default:
		return invalid("properties.properties.vmPriority", "The VM priority '%s' is not Dedicated or LowPriority.", v)
	}
	if !body.Has(scale + ".maxNodeCount") {
		return invalid(scale+".maxNodeCount", "The property 'maxNodeCount' is missing.")
	}
	for _, name := range []string{"minNodeCount", "maxNodeCount"} {
		if v := body.Get(scale + "." + name); v != nil {
			if f, ok := v.(float64); !ok || f != math.Trunc(f) || f < 0 || f > math.MaxInt32 {
				return invalid(scale+"."+name, "The property '%s' is %v, which is not a whole number of nodes.", name, v)
			}
		}
	}
	// maxNodes is Azure's limit for a cluster whose nodes do not communicate; others
	// can have fewer.
	const maxNodes = 65_000
	low, high := body.Int(scale+".minNodeCount", 0), body.Int(scale+".maxNodeCount", 0)
	switch {
	case high < 1:
		return invalid(scale+".maxNodeCount", "The property 'maxNodeCount' is %d; it is at least 1.", high)
	case high > maxNodes:
		return invalid(scale+".maxNodeCount", "The property 'maxNodeCount' is %d; a cluster has at most %d nodes.", high, maxNodes)
	case low > high:
		return invalid(scale+".minNodeCount", "The property 'minNodeCount' (%d) is greater than 'maxNodeCount' (%d).", low, high)
	}
	if v := body.Get(scale + ".nodeIdleTimeBeforeScaleDown"); v != nil {
		s, _ := v.(string)
		if _, err := iso8601.Duration(s); err != nil {
			return invalid(scale+".nodeIdleTimeBeforeScaleDown", "The property 'nodeIdleTimeBeforeScaleDown' is invalid: %s.", err)
		}
	}
	switch v := body.String("properties.properties.remoteLoginPortPublicAccess"); strings.ToLower(v) {
	case "", "enabled", "disabled", "notspecified":
	default:
		return invalid("properties.properties.remoteLoginPortPublicAccess", "The value '%s' is not Enabled, Disabled or NotSpecified.", v)
	}
	return nil
}

func (p *provider) putCluster(put *arm.Put) error {
	body, r := put.Resource.Body, put.Resource
	in := "properties.properties."
	// what the engine says is read from it each time
	for _, name := range liveProperties() {
		body.Delete(in + name)
	}
	body.Default(in+"osType", "Linux")
	body.Default(in+"vmPriority", "Dedicated")
	body.Default(in+"scaleSettings.minNodeCount", 0)
	body.Default(in+"scaleSettings.nodeIdleTimeBeforeScaleDown", defaultIdle)
	// after creation it is either of the two: closed in a network, else open
	if v := body.String(in + "remoteLoginPortPublicAccess"); v == "" || strings.EqualFold(v, "NotSpecified") {
		access := "Enabled"
		if body.Has(in + "subnet.id") {
			access = "Disabled"
		}
		if put.Existing != nil {
			access = put.Existing.Body.String(in + "remoteLoginPortPublicAccess")
		}
		body.Set(in+"remoteLoginPortPublicAccess", access)
	}
	size, err := p.size(put)
	if err != nil {
		return err
	}
	idle, err := iso8601.Duration(body.String(in + "scaleSettings.nodeIdleTimeBeforeScaleDown"))
	if err != nil {
		return err
	}
	priority := "Dedicated"
	if strings.EqualFold(body.String(in+"vmPriority"), "LowPriority") {
		priority = "LowPriority"
	}
	pool := Pool{
		ID: arm.Key(r.ID), VMSize: body.String(in + "vmSize"), VCPUs: size.VCPUs, MemoryGiB: size.MemoryGiB, GPUs: size.GPUs,
		Priority: priority, Min: body.Int(in+"scaleSettings.minNodeCount", 0), Max: body.Int(in+"scaleSettings.maxNodeCount", 0),
		IdleTime: idle, SubnetID: body.String(in + "subnet.id"), Tags: map[string]string{},
		Quotas: Quotas(body.String("location"), r.ParsedID().Parent().String(), size.Family, priority),
	}
	if err := body.Decode("tags", &pool.Tags); err != nil {
		return err
	}
	return poolError(p.Pools.PutPool(put.Tx, pool))
}

func liveProperties() []string {
	return []string{"allocationState", "allocationStateTransitionTime", "errors", "currentNodeCount", "targetNodeCount", "nodeStateCounts"}
}

func (p *provider) readCluster(tx store.Tx, r *arm.Resource) error {
	st, err := p.Pools.PoolStatus(tx, arm.Key(r.ID))
	if errors.Is(err, store.ErrNotFound) {
		st, err = PoolStatus{Since: r.Created}, nil
	}
	if err != nil {
		return err
	}
	state := "Steady"
	if st.Resizing {
		state = "Resizing"
	}
	in := "properties.properties."
	r.Body.Set(in+"allocationState", state)
	r.Body.Set(in+"allocationStateTransitionTime", st.Since.UTC().Format("2006-01-02T15:04:05.000Z"))
	r.Body.Set(in+"currentNodeCount", st.Current)
	r.Body.Set(in+"targetNodeCount", st.Target)
	r.Body.Set(in+"nodeStateCounts", map[string]any{
		"preparingNodeCount": st.Preparing, "runningNodeCount": st.Running, "idleNodeCount": st.Idle,
		"unusableNodeCount": st.Unusable, "leavingNodeCount": st.Leaving, "preemptedNodeCount": st.Preempted,
	})
	r.Body.Set(in+"errors", nil)
	if len(st.Errors) > 0 {
		list := []any{}
		for _, e := range st.Errors {
			list = append(list, map[string]any{"error": map[string]any{"code": "NodeError", "message": e}})
		}
		r.Body.Set(in+"errors", list)
	}
	return nil
}
