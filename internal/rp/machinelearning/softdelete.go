package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Azure keeps a deleted workspace, with its run history, assets, datastores and the
// jobs that have ended, and lets it be recovered. Computes, and jobs that have not
// ended, are gone at once
// (https://learn.microsoft.com/azure/machine-learning/concept-soft-delete).

// retention is how long Azure keeps a deleted workspace.
const retention = 14 * 24 * time.Hour

// recovers is the property by which a PUT recovers a deleted workspace. It is of API
// versions before 2023; what the portal sends today is not known.
const recovers = "properties.allowRecoverSoftDeletedWorkspace"

// deletedWorkspace is a workspace that can be recovered, and whose name is held, until
// Purge. What it had was set aside by the kernel, unless it went with its group.
type deletedWorkspace struct {
	ID    string    `json:"id"`
	Purge time.Time `json:"purge"`
}

func deletedWorkspaces() store.Collection[deletedWorkspace] {
	return store.Collection[deletedWorkspace]{
		Name: "machinelearning.deleted",
		Key:  func(d *deletedWorkspace) string { return arm.Key(d.ID) },
		Indexes: map[string]func(*deletedWorkspace) []string{
			"purge": func(d *deletedWorkspace) []string { return []string{arm.Timestamp(d.Purge)} },
		},
	}
}

// forced reports whether a DELETE asks for the workspace to be purged.
func forced(req *arm.Request) bool { return strings.EqualFold(req.Query.Get("forcetopurge"), "true") }

// held reports whether the name of a workspace is held once it is deleted. Azure
// does not keep one that has user-assigned identities alone.
func (p *provider) held(d *arm.Delete) bool {
	kind := d.Resource.Body.String("identity.type")
	user := strings.Contains(kind, "UserAssigned") && !strings.Contains(kind, "SystemAssigned")
	return p.HoldNames && !forced(d.Request) && !user
}

// setAside tells what is kept of a workspace that is deleted by itself.
func (p *provider) setAside(d *arm.Delete) func(*arm.Resource) (bool, error) {
	if !p.held(d) {
		return nil
	}
	return func(child *arm.Resource) (bool, error) { return p.Lifecycle.Keeps(d.Tx, child) }
}

// hold keeps a deleted workspace, or ends it.
func (p *provider) hold(ctx context.Context, d *arm.Delete) error {
	if _, err := p.expire(ctx, d.Tx, d.Request, d.After); err != nil {
		return err
	}
	if !p.held(d) {
		return p.Lifecycle.WorkspaceDeleted(ctx, d)
	}
	if err := p.deleted.Put(d.Tx, &deletedWorkspace{ID: d.Resource.ID, Purge: d.Now.Add(retention)}); err != nil {
		return err
	}
	if d.Cascade {
		return p.Lifecycle.WorkspaceDeleted(ctx, d)
	}
	return p.Lifecycle.WorkspaceKept(ctx, d)
}

// deletedNamed is the workspace that was deleted under an ID, or nil when there is none
// or its retention is over.
func (p *provider) deletedNamed(tx store.Tx, id string, now time.Time) (*deletedWorkspace, error) {
	d, err := p.deleted.Get(tx, arm.Key(id))
	if errors.Is(err, store.ErrNotFound) || err == nil && !d.Purge.After(now) {
		return nil, nil
	}
	return d, err
}

// freeName refuses a new workspace while a deleted one holds its name, or makes the
// new one the deleted one where the request says so.
func (p *provider) freeName(ctx context.Context, put *arm.Put) error {
	allowed := strings.EqualFold(put.Resource.Body.String(recovers), "true") || put.Resource.Body.Bool(recovers, false)
	put.Resource.Body.Delete(recovers)
	if !put.Creating() {
		return nil
	}
	d, err := p.deletedNamed(put.Tx, put.ID.Key(), put.Now)
	if err != nil {
		return err
	}
	if d == nil || !p.HoldNames {
		return p.purge(ctx, put.Tx, put.Request, put.ID.Key(), put.After)
	}
	if !allowed {
		return arm.BadRequest("BadRequest", "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete")
	}
	was, err := p.kernel.Resources().Aside(put.Tx, d.ID)
	if errors.Is(err, store.ErrNotFound) {
		return validationError(recovers, "Workspace '%s' was deleted with its resource group and cannot be recovered. Purge it.", put.ID.Name())
	}
	if err != nil {
		return err
	}
	return p.recover(put, was)
}

// recover lets a PUT go on as the change of what was deleted. Its computes and its
// network are not there any more, and its own identity is another one.
func (p *provider) recover(put *arm.Put, was *arm.Resource) error {
	r := put.Resource
	r.ID, r.UID, r.Created, r.CreatedBy, r.Private = was.ID, was.UID, was.Created, was.CreatedBy, was.Private.Clone()
	was.Body.Delete("identity.principalId")
	was.Body.Delete("identity.tenantId")
	was.Body.Delete(managedNetwork + ".status")
	if !r.Body.Has("identity") && was.Body.Has("identity") {
		r.Body.Set("identity", map[string]any(was.Body.Object("identity").Clone()))
	}
	put.Existing = was
	for _, name := range []string{"storageAccount", "keyVault", "applicationInsights", "containerRegistry", "hubResourceId"} {
		put.Keep("properties." + name)
		id := r.Body.String("properties." + name)
		if id == "" {
			continue
		}
		if there, err := p.kernel.Resources().Exists(put.Tx, id); err != nil {
			return err
		} else if !there {
			return validationError("properties."+name, "Workspace '%s' cannot be recovered without '%s'.", put.ID.Name(), id)
		}
	}
	put.Keep("tags", "properties.description", "properties.friendlyName", "properties.imageBuildCompute", "properties.publicNetworkAccess",
		"properties.serverlessComputeSettings", "properties.primaryUserAssignedIdentity")
	if err := p.kernel.Resources().RestoreChildren(put.Tx, was.ID); err != nil {
		return err
	}
	return p.deleted.Delete(put.Tx, put.ID.Key())
}

// purge ends a deleted workspace, if there is one under an ID.
func (p *provider) purge(ctx context.Context, tx store.Tx, req *arm.Request, id string, after func(func())) error {
	if err := p.deleted.Delete(tx, arm.Key(id)); err != nil {
		return err
	}
	ws, err := p.kernel.PurgeAside(ctx, tx, req, id, after)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Lifecycle.WorkspacePurged(tx, ws, after)
}

// purgeAbsent lets DELETE …?forceToPurge=true purge a workspace that was deleted
// before.
func (p *provider) purgeAbsent(ctx context.Context, d *arm.Delete) (bool, error) {
	was, err := p.deletedNamed(d.Tx, d.ID.Key(), d.Now)
	if err != nil || was == nil || !forced(d.Request) {
		return false, err
	}
	return true, p.purge(ctx, d.Tx, d.Request, was.ID, d.After)
}

// PurgeOver ends the deleted workspaces whose retention is over at a time.
func PurgeOver(ctx context.Context, k *arm.Kernel, lifecycle Lifecycle, now time.Time) error {
	p := &provider{Deps: Deps{Lifecycle: lifecycle}, kernel: k, deleted: deletedWorkspaces()}
	req := &arm.Request{Kernel: k, Query: url.Values{}, Now: now}
	for more := true; more; {
		var after []func()
		if err := k.Store().Update(ctx, func(tx store.Tx) (err error) {
			after = nil
			more, err = p.expire(ctx, tx, req, func(f func()) { after = append(after, f) })
			return err
		}); err != nil {
			return fmt.Errorf("purge workspaces that are over: %w", err)
		}
		for _, f := range after {
			f()
		}
	}
	return nil
}

// expire ends the deleted workspaces whose retention is over, a few at a time: every
// deletion of a workspace brings it on. It tells whether there may be more.
func (p *provider) expire(ctx context.Context, tx store.Tx, req *arm.Request, after func(func())) (more bool, err error) {
	const few = 4
	var over []string
	for d, err := range p.deleted.By(tx, "purge", store.Range{Limit: few}) {
		if err != nil {
			return false, err
		}
		if d.Purge.After(req.Now) {
			break
		}
		over = append(over, d.ID)
	}
	for _, id := range over {
		if err := p.purge(ctx, tx, req, id, after); err != nil {
			return false, err
		}
	}
	return len(over) == few, nil
}
