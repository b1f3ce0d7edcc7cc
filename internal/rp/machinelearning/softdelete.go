package machinelearning

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// retention is how long Azure keeps a deleted workspace.
const retention = 14 * 24 * time.Hour

// deletedWorkspace is a workspace whose name is held until Purge.
type deletedWorkspace struct {
	ID    string    `json:"id"`
	Purge time.Time `json:"purge"`
}

func deletedWorkspaces() store.Collection[deletedWorkspace] {
	return store.Collection[deletedWorkspace]{
		Name: "machinelearning.deleted",
		Key:  func(d *deletedWorkspace) string { return arm.Key(d.ID) },
	}
}

// forced reports whether a DELETE asks for the workspace to be purged.
func forced(req *arm.Request) bool { return strings.EqualFold(req.Query.Get("forcetopurge"), "true") }

// freeName refuses a new workspace while a deleted one holds its name.
func (p *provider) freeName(put *arm.Put) error {
	d, err := p.deleted.Get(put.Tx, put.ID.Key())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.HoldNames && d.Purge.After(put.Now) {
		return arm.BadRequest("BadRequest", "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete")
	}
	return p.deleted.Delete(put.Tx, put.ID.Key())
}

// purgeAbsent lets DELETE …?forceToPurge=true free the name of a workspace that
// was deleted before.
func (p *provider) purgeAbsent(_ context.Context, tx store.Tx, req *arm.Request) (bool, error) {
	d, err := p.deleted.Get(tx, req.ID.Key())
	if errors.Is(err, store.ErrNotFound) || err == nil && (!d.Purge.After(req.Now) || !forced(req)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, p.deleted.Delete(tx, req.ID.Key())
}
