package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Preempt asks for nodes of a cluster to be taken away.
type Preempt struct {
	// Cluster is the ARM ID of a low-priority cluster, Nodes how many.
	Cluster string `json:"cluster"`
	Nodes   int    `json:"nodes"`
}

// Preempted is what became of it.
type Preempted struct {
	Nodes []string `json:"nodes"`
}

// Preemption says how nodes of a low-priority cluster are taken away. It is not
// part of the ARM resource, so the files that describe the cluster stay as they
// are for Azure.
type Preemption struct {
	Cluster string `json:"cluster"`
	// Chance is how likely a node is to go within Per, a Go duration.
	Chance float64 `json:"chance"`
	Per    string  `json:"per,omitempty"`
	// Every, a Go duration, is when Nodes go by schedule.
	Every string `json:"every,omitempty"`
	Nodes int    `json:"nodes,omitempty"`
	// Notice is how long, in real time, tasks have between SIGTERM and SIGKILL.
	Notice string `json:"notice,omitempty"`
	// Fail ends the jobs of preempted nodes instead of queuing them again.
	Fail bool `json:"fail,omitempty"`
}

// Shortages are the VM sizes without capacity.
type Shortages struct {
	Sizes []string `json:"sizes"`
}

// Quota limits the cores of a region: of a family of VM sizes or of a total, by its
// name in Azure's usages.
type Quota struct {
	Location string `json:"location"`
	Name     string `json:"name"`
	// Cores is the limit; a negative one lifts it.
	Cores int `json:"cores"`
}

// quotaName finds a quota by its name, in any casing.
func (s *Server) quotaName(name string) (string, error) {
	names := []string{machinelearning.QuotaDedicated, machinelearning.QuotaLowPriority}
	for _, size := range s.catalog.VMSizes() {
		names = append(names, size.Family)
	}
	for _, n := range names {
		if n != "" && strings.EqualFold(n, name) {
			return n, nil
		}
	}
	return "", arm.BadRequest("InvalidVMFamilyName", "There is no quota '%s': it is the name of a family of VM sizes, such as standardDSv3Family, or %s or %s.",
		name, machinelearning.QuotaDedicated, machinelearning.QuotaLowPriority)
}

// computeRoutes are what a user can do to clusters that Azure does to them.
func (s *Server) computeRoutes(handle handle) {
	update := func(r *http.Request, f func(store.Tx) error) error {
		return computeError(s.store.Update(r.Context(), f))
	}
	handle("POST /v1/compute/preempt", func(r *http.Request) (any, error) {
		var in Preempt
		if err := readBody(r, &in); err != nil {
			return nil, err
		}
		out := Preempted{Nodes: []string{}}
		err := update(r, func(tx store.Tx) error {
			ids, err := s.clusterPools(tx, in.Cluster)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if len(out.Nodes) > 0 && len(out.Nodes) >= in.Nodes {
					break
				}
				nodes, err := s.manager.Preempt(tx, id, in.Nodes-len(out.Nodes))
				if err != nil {
					return err
				}
				out.Nodes = append(out.Nodes, nodes...)
			}
			return nil
		})
		return out, err
	})
	handle("GET /v1/compute/preemption", func(r *http.Request) (any, error) {
		id := r.URL.Query().Get("cluster")
		var st compute.PoolStatus
		err := s.store.View(r.Context(), func(tx store.Tx) (err error) {
			ids, err := s.clusterPools(tx, id)
			if err == nil {
				st, err = s.manager.PoolStatus(tx, ids[0])
			}
			return err
		})
		return showPreemption(id, st.Preemption), computeError(err)
	})
	handle("PUT /v1/compute/preemption", func(r *http.Request) (any, error) {
		var in Preemption
		if err := readBody(r, &in); err != nil {
			return nil, err
		}
		p, err := in.parse()
		if err != nil {
			return nil, err
		}
		err = update(r, func(tx store.Tx) error {
			ids, err := s.clusterPools(tx, in.Cluster)
			for _, id := range ids {
				if err = s.manager.SetPreemption(tx, id, p); err != nil {
					break
				}
			}
			return err
		})
		return showPreemption(in.Cluster, p), err
	})
	shortages := func(r *http.Request) (any, error) {
		var out Shortages
		err := s.store.View(r.Context(), func(tx store.Tx) (err error) {
			out.Sizes, err = s.manager.Shortages(tx)
			return err
		})
		return out, err
	}
	set := func(short bool) func(*http.Request) (any, error) {
		return func(r *http.Request) (any, error) {
			size, ok := s.catalog.VMSize(r.PathValue("size"))
			if !ok {
				return nil, arm.BadRequest("VMSizeNotSupported", "The VM size '%s' is not one that Azure Machine Learning offers.", r.PathValue("size"))
			}
			err := update(r, func(tx store.Tx) error { return s.manager.SetShortage(tx, size.Name, short) })
			if err != nil {
				return nil, err
			}
			return shortages(r)
		}
	}
	handle("PUT /v1/compute/quotas", func(r *http.Request) (any, error) {
		var in Quota
		if err := readBody(r, &in); err != nil {
			return nil, err
		}
		name, err := s.quotaName(in.Name)
		if err != nil {
			return nil, err
		}
		if in.Location == "" {
			return nil, arm.BadRequest("BadRequest", "The quota has no location.")
		}
		return in, update(r, func(tx store.Tx) error {
			return s.manager.SetQuota(tx, machinelearning.QuotaName(in.Location, name), in.Cores)
		})
	})
	handle("GET /v1/compute/serverless", s.serverlessPools)
	handle("GET /v1/compute/shortages", shortages)
	handle("PUT /v1/compute/shortages/{size}", set(true))
	handle("DELETE /v1/compute/shortages/{size}", set(false))
}

// clusterPools are the pools that a cluster's ARM ID stands for: its own, or, for
// "serverless", those that the workspace's Spot jobs have had nodes from.
func (s *Server) clusterPools(tx store.Tx, cluster string) ([]string, error) {
	id, err := arm.ParseID(cluster)
	if err != nil || !strings.EqualFold(id.Name(), "serverless") {
		return []string{arm.Key(cluster)}, nil
	}
	all, err := s.manager.Pools(tx, ml.ServerlessPools(id.Parent().String()))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		if p.Priority == compute.LowPriority && !p.Deleting {
			out = append(out, p.ID)
		}
	}
	if len(out) == 0 {
		return nil, arm.Errorf(http.StatusNotFound, "ResourceNotFound", "No serverless job of the tier Spot was submitted in the workspace yet.")
	}
	return out, nil
}

func readBody(r *http.Request, out any) error {
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<16)).Decode(out); err != nil {
		return arm.BadRequest("InvalidRequestContent", "The body is malformed: %s.", err)
	}
	return nil
}

func (p *Preemption) parse() (compute.Preemption, error) {
	out := compute.Preemption{Chance: p.Chance, Nodes: p.Nodes, Fail: p.Fail}
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{p.Per, &out.Per}, {p.Every, &out.Every}, {p.Notice, &out.Notice}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return out, arm.BadRequest("InvalidDuration", "%q is not a duration.", d.text)
		}
	}
	return out, nil
}

func showPreemption(cluster string, p compute.Preemption) Preemption {
	out := Preemption{Cluster: cluster, Chance: p.Chance, Nodes: p.Nodes, Fail: p.Fail, Notice: compute.DefaultNotice.String()}
	if p.Chance > 0 {
		out.Per = p.Per.String()
	}
	if p.Every > 0 {
		out.Every = p.Every.String()
	}
	if p.Notice > 0 {
		out.Notice = p.Notice.String()
	}
	return out
}

// computeError gives the engine's refusals a status.
func computeError(err error) error {
	var bad *compute.InvalidError
	switch {
	case errors.Is(err, compute.ErrPoolNotFound):
		return arm.Errorf(http.StatusNotFound, "ResourceNotFound", "There is no such compute cluster.")
	case errors.As(err, &bad):
		return arm.BadRequest("BadRequest", "The %s.", bad)
	}
	return err
}
