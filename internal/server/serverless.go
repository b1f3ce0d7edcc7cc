package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Azure documents neither how many serverless nodes there can be, other than the
// quota's, nor how long they stay. These are Azimuth's own: nodes stay as long as a
// cluster's do by default, and more than so many at once would drown a machine;
// a job that needs more gets them.
const (
	serverlessNodes = 16
	serverlessIdle  = 2 * time.Minute
)

// serverlessSizes are the VM sizes that a serverless job gets which names none, the
// first that can be had. Azure chooses a CPU size "based on quota, performance,
// cost, and disk size" and does not document which: the first is the default of a
// cluster in its command line.
func serverlessSizes() []string {
	return []string{"Standard_DS3_v2", "Standard_D4s_v3", "Standard_E4s_v3", "Standard_F4s_v2", "Standard_D2s_v3", "Standard_DS11_v2"}
}

// serverless says what serverless compute is made of.
type serverless struct{ s *Server }

// Nodes implements ml.Serverless.
func (v serverless) Nodes(tx store.Tx, ask ml.ServerlessAsk) (compute.Pool, string, error) {
	now := v.s.clock.Now()
	if err := machinelearning.ProvisionNetwork(tx, v.s.kernel, ask.Workspace, now); err != nil {
		return compute.Pool{}, "", err
	}
	var size catalog.VMSize
	if ask.Size == "" {
		var err error
		if size, err = v.choose(tx, ask, now); err != nil {
			return compute.Pool{}, "", err
		}
	} else {
		var ok bool
		if size, ok = v.s.catalog.VMSize(ask.Size); !ok {
			e := arm.BadRequest("VMSizeNotSupported", "The VM size '%s' is not one that Azure Machine Learning offers.", ask.Size)
			e.Target = "properties.resources.instanceType"
			return compute.Pool{}, "", e
		}
	}
	note := ""
	if size.Retired(now) {
		note = fmt.Sprintf("Azure retired the VM size %s on %s and would refuse this job.", size.Name, size.Retirement.Format(time.DateOnly))
	}
	prefix, err := pools(v).subnetPrefix(tx, ask.Subnet)
	if err != nil {
		return compute.Pool{}, "", err
	}
	priority := priorityOf(ask.Spot)
	return compute.Pool{
		VMSize: size.Name, VCPUs: size.VCPUs, MemoryGiB: size.MemoryGiB, GPUs: size.GPUs, Priority: priority,
		Max: serverlessNodes, IdleTime: serverlessIdle, SubnetID: ask.Subnet, SubnetPrefix: prefix,
		Quotas: machinelearning.Quotas(ask.Location, ask.Workspace, size.Family, priority),
	}, note, nil
}

func priorityOf(spot bool) string {
	if spot {
		return compute.LowPriority
	}
	return "Dedicated"
}

// choose takes the first size that is offered, has capacity and fits the quotas, or
// the first of all, which is then refused for the reason that holds.
func (v serverless) choose(tx store.Tx, ask ml.ServerlessAsk, now time.Time) (catalog.VMSize, error) {
	limits, err := v.s.manager.Quotas(tx)
	if err != nil {
		return catalog.VMSize{}, err
	}
	short, err := v.s.manager.Shortages(tx)
	if err != nil {
		return catalog.VMSize{}, err
	}
	var first catalog.VMSize
sizes:
	for _, name := range serverlessSizes() {
		size, ok := v.s.catalog.VMSize(name)
		if !ok || size.Retired(now) {
			continue
		}
		if first.Name == "" {
			first = size
		}
		for _, s := range short {
			if s == size.Name {
				continue sizes
			}
		}
		for _, q := range machinelearning.Quotas(ask.Location, ask.Workspace, size.Family, priorityOf(ask.Spot)) {
			if limit, ok := limits[q]; ok && limit < ask.Nodes*size.VCPUs {
				continue sizes
			}
		}
		return size, nil
	}
	if first.Name == "" {
		return first, arm.BadRequest("UserError", "No VM size is offered any more that a serverless job could be given: name one in resources.instance_type.")
	}
	return first, nil
}

// ServerlessCores implements machinelearning.Pools.
func (p pools) ServerlessCores(tx store.Tx) (map[string]int, error) {
	all, err := p.s.manager.Pools(tx, "")
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, st := range all {
		if !ml.IsServerless(st.ID) {
			continue
		}
		for _, q := range st.Quotas {
			out[q] += (st.Current - st.Counts.Preempted) * st.VCPUs
		}
	}
	return out, nil
}

// ServerlessPool is the serverless compute of one VM size and priority in a
// workspace.
type ServerlessPool struct {
	VMSize   string           `json:"vmSize"`
	Priority string           `json:"priority"`
	Max      int              `json:"max"`
	Resizing bool             `json:"resizing"`
	Nodes    []ServerlessNode `json:"nodes"`
}

// ServerlessNode is one of its nodes.
type ServerlessNode struct {
	Node    string `json:"node"`
	State   string `json:"state"`
	Address string `json:"address,omitempty"`
	Job     string `json:"job,omitempty"`
}

// serverlessPools lists the serverless compute of a workspace that has nodes.
func (s *Server) serverlessPools(r *http.Request) (any, error) {
	out := struct {
		Pools []ServerlessPool `json:"pools"`
	}{[]ServerlessPool{}}
	err := s.store.View(r.Context(), func(tx store.Tx) error {
		all, err := s.manager.Pools(tx, ml.ServerlessPools(r.URL.Query().Get("workspace")))
		if err != nil {
			return err
		}
		for _, st := range all {
			if st.Current == 0 {
				continue
			}
			nodes, err := pools{s}.PoolNodes(tx, st.ID)
			if err != nil {
				return err
			}
			p := ServerlessPool{VMSize: st.VMSize, Priority: st.Priority, Max: st.Max, Resizing: st.Allocation == compute.Resizing}
			for _, n := range nodes {
				p.Nodes = append(p.Nodes, ServerlessNode{Node: n.ID, State: n.State, Address: n.PrivateIP, Job: n.Job})
			}
			out.Pools = append(out.Pools, p)
		}
		return nil
	})
	return out, err
}
