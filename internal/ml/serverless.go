package ml

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A job that names no compute runs on serverless compute: nodes that the service
// starts for it and takes away again. Here they are the nodes of a pool that no
// resource stands for, one for each workspace, VM size and tier.

// Serverless says what serverless compute is made of.
type Serverless interface {
	// Nodes is the pool, without its ID, from which a job gets nodes, and a sentence
	// about it for the job's log, or "". Its error is an *arm.Error.
	Nodes(tx store.Tx, ask ServerlessAsk) (pool compute.Pool, note string, err error)
}

// ServerlessAsk is what a job asks of serverless compute.
type ServerlessAsk struct {
	// Workspace is the ARM ID of the job's workspace, Location where that is, Subnet the
	// ARM ID of the subnet that it has for serverless compute, or "".
	Workspace, Location, Subnet string
	// Size is a VM size, or "" to have one chosen, Spot asks for low-priority
	// nodes, and Nodes is how many the job needs at the same time.
	Size  string
	Spot  bool
	Nodes int
}

const serverlessSegment = "/serverless/"

// ServerlessPools is what the IDs of a workspace's serverless pools begin with.
func ServerlessPools(workspaceID string) string { return arm.Key(workspaceID) + serverlessSegment }

// IsServerless reports whether a pool is one of serverless compute.
func IsServerless(poolID string) bool {
	// …/workspaces/NAME/serverless/PRIORITY/SIZE, where computes have two segments
	parts := strings.Split(poolID, "/")
	return len(parts) > 3 && "/"+parts[len(parts)-3]+"/" == serverlessSegment
}

// isServerless reports whether a compute's ID or name is the one by which clients
// ask for serverless compute.
func isServerless(id string) bool {
	return id == "" || strings.EqualFold(lastSegment(strings.TrimPrefix(id, "azureml:")), "serverless")
}

// readTier reads the tier of a serverless job. Of the tiers that the API knows, the
// documentation of serverless compute has Standard, which is the default, and Spot.
func (p *jobSpec) readTier(tier string) error {
	switch strings.ToLower(tier) {
	case "", "null", "standard":
	case "spot":
		p.Spot = true
	default:
		return arm.NotImplemented("the job tier '%s' of serverless compute; Standard and Spot are", tier)
	}
	return nil
}

// serverlessNodes is the pool that a serverless job needs.
func (s *Service) serverlessNodes(tx store.Tx, ws *workspace, spec *jobSpec) (compute.Pool, string, error) {
	if s.cfg.Serverless == nil {
		return compute.Pool{}, "", arm.NotImplemented("serverless compute")
	}
	pool, note, err := s.cfg.Serverless.Nodes(tx, ServerlessAsk{
		Workspace: ws.ID, Location: ws.Location, Subnet: ws.ServerlessSubnet, Size: spec.InstanceType, Spot: spec.Spot, Nodes: spec.Instances,
	})
	if err != nil {
		return compute.Pool{}, "", err
	}
	pool.ID = ServerlessPools(ws.ID) + strings.ToLower(pool.Priority+"/"+pool.VMSize)
	pool.Max = max(pool.Max, spec.Instances)
	return pool, note, nil
}

// enqueue gives a new job's work to the engine. Its errors are *arm.Error but for
// those of the store.
func (s *Service) enqueue(tx store.Tx, r *run, ws *workspace, spec *jobSpec) error {
	if spec.Compute == "" {
		pool, note, err := s.serverlessNodes(tx, ws, spec)
		if err != nil {
			return err
		}
		have, err := s.compute.PoolStatus(tx, pool.ID)
		if err != nil && !errors.Is(err, compute.ErrPoolNotFound) {
			return err
		}
		there := err == nil && !have.Deleting
		if there {
			pool.Max = max(pool.Max, have.Max) // for a larger job that waits
		}
		if !there || pool.Max != have.Max || pool.SubnetID != have.SubnetID || !slices.Equal(pool.Quotas, have.Quotas) {
			if err := submitError(s.compute.PutPool(tx, pool), spec); err != nil {
				return err
			}
		}
		r.Pool, r.Size = pool.ID, pool.VMSize
		r.Notes = append(r.Notes, fmt.Sprintf("The job runs on serverless compute: %d %s of %s (%s).",
			spec.Instances, map[bool]string{true: "node", false: "nodes"}[spec.Instances == 1], pool.VMSize, pool.Priority))
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	return submitError(s.compute.Submit(tx, compute.Item{
		ID: r.Item, PoolID: r.pool(), Nodes: spec.Instances, Priority: spec.Priority, Timeout: spec.Timeout, SubmittedAt: r.Created,
	}), spec)
}

// pool is the ID of the pool that the job gets its nodes from.
func (r *run) pool() string {
	if r.Pool != "" {
		return r.Pool
	}
	return arm.Key(r.Compute)
}

// target is what run history calls the job's compute.
func (r *run) target() string {
	if r.Pool != "" {
		return "serverless"
	}
	return lastSegment(r.Compute)
}

// dropServerless ends the serverless compute of a workspace that is deleted.
func (s *Service) dropServerless(tx store.Tx, workspaceID string) error {
	pools, err := s.compute.Pools(tx, ServerlessPools(workspaceID))
	if err != nil {
		return err
	}
	for _, p := range pools {
		if err := s.compute.DeletePool(tx, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// identities are those that a job of an identity type Managed can have: the
// compute's own, or, on serverless compute, the user-assigned ones of the
// workspace, its primary one first. "Serverless compute doesn't support
// system-assigned identity", says Azure's documentation.
func identities(on *arm.Resource, serverless bool) []identity {
	if !serverless {
		return principals(on)
	}
	primary := on.Body.String("properties.primaryUserAssignedIdentity")
	users := on.Body.Object("identity.userAssignedIdentities")
	var out []identity
	for _, name := range slices.Sorted(maps.Keys(users)) {
		m, ok := users[name].(map[string]any)
		if !ok {
			continue
		}
		one := identity{arm.Doc(m).String("principalId"), arm.Doc(m).String("clientId")}
		if strings.EqualFold(name, primary) {
			out = slices.Insert(out, 0, one)
		} else {
			out = append(out, one)
		}
	}
	return out
}

// checkIdentity refuses a job that asks for a managed identity that is not there.
func checkIdentity(spec *jobSpec, on *arm.Resource, what string) error {
	if spec.Identity != "Managed" {
		return nil
	}
	have := identities(on, spec.Compute == "")
	if len(have) == 0 {
		return userError("properties.identity", "The job asks for a managed identity, and %s has none.", what)
	}
	if id := spec.IdentityClient; id != "" && !slices.ContainsFunc(have, func(i identity) bool { return strings.EqualFold(i.Client, id) }) {
		return userError("properties.identity", "The job asks for the managed identity with the client ID '%s', which %s does not have.", id, what)
	}
	return nil
}
