// Package machinelearning is the part of the resource provider
// Microsoft.MachineLearningServices that describes workspaces and their
// computes. Jobs and assets are in package ml, nodes in package compute; both
// are reached through interfaces.
package machinelearning

import (
	"context"
	"net/http"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	namespace = "Microsoft.MachineLearningServices"

	// WorkspaceType and ComputeType are the types of this package.
	WorkspaceType = namespace + "/workspaces"
	ComputeType   = WorkspaceType + "/computes"
)

// Pool is what a cluster asks of the engine that runs its nodes.
type Pool struct {
	// ID is the compute's ARM ID in lower case.
	ID string
	// VMSize is the size's name as the user wrote it; VCPUs, MemoryGiB and GPUs
	// are what one node of it has.
	VMSize    string
	VCPUs     int
	MemoryGiB float64
	GPUs      int
	// Priority is "Dedicated" or "LowPriority".
	Priority string
	// Min and Max bound the number of nodes, IdleTime is how long one stays
	// after its last job.
	Min, Max int
	IdleTime time.Duration
	// SubnetID is the subnet of the nodes, or "".
	SubnetID string
	Tags     map[string]string
	// Quotas are the core quotas that the nodes count against, by QuotaName.
	Quotas []string
}

// PoolStatus is how a pool is.
type PoolStatus struct {
	Preparing, Idle, Running, Leaving, Preempted, Unusable int
	// Current is the number of nodes, Target the number that it is, or was last,
	// changed to.
	Current, Target int
	// Resizing tells whether nodes are being added or removed, and Since since
	// when that has been so.
	Resizing bool
	Since    time.Time
	// Errors are sentences about nodes that failed.
	Errors []string
}

// Node is one machine of a pool.
type Node struct {
	ID string
	// State is Azure's NodeState: idle, running, preparing, unusable, leaving or
	// preempted.
	State string
	// Job is the ARM ID of the job that has the node, or "".
	Job string
	// PrivateIP and PublicIP are the node's addresses, or "".
	PrivateIP, PublicIP string
	Port                int
}

// Pools is the engine that runs the nodes of clusters.
type Pools interface {
	// PutPool creates a pool or changes it in place.
	PutPool(tx store.Tx, p Pool) error
	// DeletePool ends a pool. Deleting none is not an error.
	DeletePool(tx store.Tx, id string) error
	// PoolStatus says how a pool is; store.ErrNotFound when there is none.
	PoolStatus(tx store.Tx, id string) (PoolStatus, error)
	// PoolNodes returns the nodes of a pool, in the order of their IDs.
	PoolNodes(tx store.Tx, id string) ([]Node, error)
	// ServerlessCores returns the cores of the nodes that serverless jobs have now, by
	// the QuotaName of what they count against.
	ServerlessCores(tx store.Tx) (map[string]int, error)
	// Quotas returns the cores of the quotas that are limited, by QuotaName.
	Quotas(tx store.Tx) (map[string]int, error)
	// SetQuota sets one of them, or lifts it when cores is negative.
	SetQuota(tx store.Tx, name string, cores int) error
}

// Instance is what a compute instance asks of the engine that runs it.
type Instance struct {
	// UID is the resource's, which is never used again, and ID its ARM ID.
	UID, ID     string
	WorkspaceID string
	// Name and Location make its host name.
	Name, Location string
	// VMSize is the size's name; VCPUs, MemoryGiB and GPUs are what it has.
	VMSize    string
	VCPUs     int
	MemoryGiB float64
	GPUs      int
	// UserID is the object ID of the person it is for, PrincipalID that of its
	// managed identity, or "".
	UserID, PrincipalID string
	// IdleAfter is how long it runs on without activity; 0 is for ever.
	IdleAfter time.Duration
	// Schedules is schedules.computeStartStop as it was put.
	Schedules []any
	// SSH tells whether it is to be reached over SSH.
	SSH bool
	// SubnetID is the subnet that it stands in, or "".
	SubnetID string
}

// InstanceStatus is how an instance is, in Azure's words.
type InstanceStatus struct {
	State string
	// Operation and what follows are lastOperation.
	Operation, OperationStatus, OperationTrigger string
	OperationTime                                time.Time
	Applications                                 []Application
	Errors                                       []InstanceError
	// PrivateIP is the address that it has in its subnet, or "".
	PrivateIP string
}

// Application is a program on an instance that people open.
type Application struct{ Name, URI string }

// InstanceError is one entry of an instance's errors.
type InstanceError struct{ Code, Message string }

// Instances is the engine that runs compute instances.
type Instances interface {
	// PutInstance makes an instance or changes its settings. A refusal is an
	// *arm.Error.
	PutInstance(tx store.Tx, in Instance) error
	// InstanceAction asks for "Start", "Stop" or "Restart". A refusal is an
	// *arm.Error.
	InstanceAction(tx store.Tx, uid, action string) error
	// DeleteInstance ends an instance. Deleting none is not an error.
	DeleteInstance(tx store.Tx, uid string) error
	// InstanceStatus says how an instance is; store.ErrNotFound when there is
	// none.
	InstanceStatus(tx store.Tx, uid string) (InstanceStatus, error)
	// AwaitInstance returns once an instance is no longer on its way to a state,
	// or when that takes long.
	AwaitInstance(ctx context.Context, uid string)
}

// Lifecycle is what stands in workspaces besides computes.
type Lifecycle interface {
	// WorkspaceCreated makes what a new workspace has from the start. It is
	// called in the Put hook, once p.Resource is complete.
	WorkspaceCreated(ctx context.Context, p *arm.Put) error
	// WorkspaceDeleted ends what runs in a workspace, and forgets what it had, after its
	// children.
	WorkspaceDeleted(ctx context.Context, d *arm.Delete) error
	// WorkspaceKept ends what runs in a workspace that can be recovered.
	WorkspaceKept(ctx context.Context, d *arm.Delete) error
	// Keeps tells whether a resource in such a workspace is kept with it.
	Keeps(tx store.Tx, child *arm.Resource) (bool, error)
	// WorkspacePurged forgets what a kept workspace had. What has to wait until tx is
	// durable is given to after.
	WorkspacePurged(tx store.Tx, workspace *arm.Resource, after func(func())) error
}

// Deps is what the provider needs.
type Deps struct {
	Catalog   *catalog.Catalog
	Pools     Pools
	Instances Instances
	Lifecycle Lifecycle
	// HoldNames keeps a deleted workspace for 14 days, unless it is purged, so that it
	// can be recovered and its name is not used again, as Azure does.
	HoldNames bool
}

type provider struct {
	Deps
	kernel  *arm.Kernel
	deleted store.Collection[deletedWorkspace]
}

// Provider returns the descriptors of workspaces and computes.
func Provider(deps Deps) *arm.Provider {
	p := &provider{Deps: deps, deleted: deletedWorkspaces()}
	return &arm.Provider{
		Namespace: namespace,
		Types:     []*arm.ResourceType{p.workspace(), p.compute(), p.outboundRule(), p.connection()},
		Actions: []arm.Action{
			{Name: "locations/{}/vmSizes", Method: http.MethodGet, Permission: namespace + "/locations/vmsizes/read", Handle: p.vmSizes},
			{Name: "locations/{}/quotas", Method: http.MethodGet, Permission: namespace + "/locations/quotas/read", Handle: p.quotas},
			{Name: "locations/{}/updateQuotas", Permission: namespace + "/locations/updateQuotas/action", Handle: p.updateQuotas},
			{Name: "locations/{}/usages", Method: http.MethodGet, Permission: namespace + "/locations/usages/read", Handle: p.usages},
		},
		Bind: func(k *arm.Kernel) { p.kernel = k },
	}
}

// WorkspaceByGUID finds a workspace by its workspace ID, or returns store.ErrNotFound.
func WorkspaceByGUID(tx store.Tx, res *arm.Resources, guid string) (*arm.Resource, error) {
	for r, err := range res.Find(tx, WorkspaceType, "guid|"+guid) {
		return r, err
	}
	return nil, store.ErrNotFound
}

// SubnetIndex is the index entry of a compute by the subnet that it stands in.
func SubnetIndex(subnetID string) string { return "subnet|" + arm.Key(subnetID) }

// InSubnet is the IDs of the computes that stand in a subnet, and of the workspaces
// whose serverless compute does.
func InSubnet(tx store.Tx, res *arm.Resources, subnetID string) ([]string, error) {
	var out []string
	for _, typ := range []string{ComputeType, WorkspaceType} {
		for r, err := range res.Find(tx, typ, SubnetIndex(subnetID)) {
			if err != nil {
				return nil, err
			}
			out = append(out, r.ID)
		}
	}
	return out, nil
}
