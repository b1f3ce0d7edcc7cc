package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/files"
	"github.com/azimuth-ml/azimuth/internal/fileshare"
	"github.com/azimuth-ml/azimuth/internal/queue"
	rp "github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/table"
)

// openStorage starts the services of storage accounts besides blobs.
func (s *Server) openStorage(ctx context.Context) (err error) {
	cfg := storage.Config{Store: s.store, Clock: s.clock, Accounts: accounts{s}, Access: blobAccess{s},
		TenantID: s.dir.TenantID(), Wall: time.Now, Logger: s.cfg.Log}
	s.queues = queue.Open(ctx, cfg)
	s.onClose(s.queues.Close)
	s.tables = table.Open(ctx, cfg)
	s.onClose(s.tables.Close)
	if s.files, err = fileshare.Open(s.cfg.Home.Path("files")); err != nil {
		return err
	}
	if err := s.files.Sweep(); err != nil {
		return err
	}
	s.shares = files.Open(ctx, files.Config{Config: cfg, Dirs: s.files})
	s.onClose(s.shares.Close)
	return nil
}

// accountData is all data of storage accounts: blobs, and what the other services
// keep.
type accountData struct{ containers }

// DeleteAccount implements rp.Containers.
func (a accountData) DeleteAccount(ctx context.Context, tx store.Tx, account string) error {
	if err := a.s.queues.ForgetIn(tx, account); err != nil {
		return err
	}
	if err := a.s.tables.ForgetIn(tx, account); err != nil {
		return err
	}
	if err := a.s.shares.ForgetIn(tx, account); err != nil {
		return err
	}
	return a.containers.DeleteAccount(ctx, tx, account)
}

// Reclaim implements rp.Containers.
func (a accountData) Reclaim() {
	a.containers.Reclaim()
	a.s.queues.Reclaim()
	a.s.tables.Reclaim()
	a.s.shares.Reclaim()
	if err := a.s.reclaimFiles(context.Background()); err != nil {
		a.s.cfg.Log.Error("remove the file shares of deleted accounts", "error", err)
	}
}

// queues lets ARM and the queue data plane see the same queues.
type queues struct{ s *Server }

// Item implements rp.Items.
func (q queues) Item(_ context.Context, tx store.Tx, account, name string) (*rp.Item, error) {
	found, err := q.s.queues.QueueIn(tx, account, name)
	if err != nil || found == nil {
		return nil, err
	}
	return &rp.Item{Name: found.Name, Metadata: found.Metadata, Messages: found.Messages}, nil
}

// ListItems implements rp.Items.
func (q queues) ListItems(_ context.Context, tx store.Tx, account, after string, limit int) ([]rp.Item, error) {
	list, err := q.s.queues.QueuesIn(tx, account, after, limit)
	out := make([]rp.Item, 0, len(list))
	for _, i := range list {
		out = append(out, rp.Item{Name: i.Name, Metadata: i.Metadata, Messages: i.Messages})
	}
	return out, err
}

// PutItem implements rp.Items.
func (q queues) PutItem(_ context.Context, tx store.Tx, account string, i rp.Item) error {
	return q.s.queues.PutQueueIn(tx, account, queue.Queue{Name: i.Name, Metadata: i.Metadata})
}

// DeleteItem implements rp.Items.
func (q queues) DeleteItem(_ context.Context, tx store.Tx, account, name string) error {
	return q.s.queues.DeleteQueueIn(tx, account, name)
}

// tables lets ARM and the table data plane see the same tables.
type tables struct{ s *Server }

func tableItem(t *table.Table) *rp.Item {
	i := &rp.Item{Name: t.Name}
	for _, p := range t.Policies {
		i.Policies = append(i.Policies, rp.Policy{ID: p.ID, Start: p.Start, Expiry: p.Expiry, Permission: p.Permissions})
	}
	return i
}

// accessPolicies is the policies of an item as the data planes keep them.
func accessPolicies(i rp.Item) []storage.AccessPolicy {
	var out []storage.AccessPolicy
	for _, p := range i.Policies {
		out = append(out, storage.AccessPolicy{ID: p.ID, Start: p.Start, Expiry: p.Expiry, Permissions: p.Permission})
	}
	return out
}

// Item implements rp.Items.
func (t tables) Item(_ context.Context, tx store.Tx, account, name string) (*rp.Item, error) {
	found, err := t.s.tables.TableIn(tx, account, name)
	if err != nil || found == nil {
		return nil, err
	}
	return tableItem(found), nil
}

// ListItems implements rp.Items.
func (t tables) ListItems(_ context.Context, tx store.Tx, account, after string, limit int) ([]rp.Item, error) {
	list, err := t.s.tables.TablesIn(tx, account, after, limit)
	out := make([]rp.Item, 0, len(list))
	for i := range list {
		out = append(out, *tableItem(&list[i]))
	}
	return out, err
}

// PutItem implements rp.Items.
func (t tables) PutItem(_ context.Context, tx store.Tx, account string, i rp.Item) error {
	return t.s.tables.PutTableIn(tx, account, table.Table{Name: i.Name, Policies: accessPolicies(i)})
}

// DeleteItem implements rp.Items.
func (t tables) DeleteItem(_ context.Context, tx store.Tx, account, name string) error {
	return t.s.tables.DeleteTableIn(tx, account, name)
}

// shares lets ARM and the file data plane see the same shares.
type shares struct{ s *Server }

func shareItem(x *files.Share) *rp.Item {
	i := &rp.Item{Name: x.Name, Metadata: x.Metadata, QuotaGiB: x.QuotaGiB, Tier: x.Tier, TierChanged: x.TierChanged, ETag: x.ETag,
		Modified: x.Modified, LeaseStatus: x.LeaseStatus, LeaseState: x.LeaseState, LeaseDuration: x.LeaseDuration}
	for _, p := range x.Policies {
		i.Policies = append(i.Policies, rp.Policy{ID: p.ID, Start: p.Start, Expiry: p.Expiry, Permission: p.Permissions})
	}
	return i
}

// Item implements rp.Items.
func (x shares) Item(_ context.Context, tx store.Tx, account, name string) (*rp.Item, error) {
	found, err := x.s.shares.ShareIn(tx, account, name)
	if err != nil || found == nil {
		return nil, err
	}
	return shareItem(found), nil
}

// ListItems implements rp.Items.
func (x shares) ListItems(_ context.Context, tx store.Tx, account, after string, limit int) ([]rp.Item, error) {
	list, err := x.s.shares.SharesIn(tx, account, after, limit)
	out := make([]rp.Item, 0, len(list))
	for i := range list {
		out = append(out, *shareItem(&list[i]))
	}
	return out, err
}

// PutItem implements rp.Items.
func (x shares) PutItem(_ context.Context, tx store.Tx, account string, i rp.Item) error {
	return x.s.shares.PutShareIn(tx, account, files.Share{Name: i.Name, Metadata: i.Metadata, Policies: accessPolicies(i), QuotaGiB: i.QuotaGiB, Tier: i.Tier})
}

// DeleteItem implements rp.Items.
func (x shares) DeleteItem(_ context.Context, tx store.Tx, account, name string) error {
	return x.s.shares.DeleteShareIn(tx, account, name)
}

// checkStorage looks at what the services of storage accounts besides blobs keep.
func (s *Server) checkStorage(ctx context.Context) []Check {
	const fix = "The store is damaged: restore azimuth.db from a backup, or delete what is named."
	var out []Check
	add := func(name, whole string, problems []string, err error) {
		c := Check{Name: name, OK: err == nil && len(problems) == 0, Detail: whole}
		if err != nil {
			c.Detail = err.Error()
		} else if !c.OK {
			c.Detail = strings.Join(problems, "; ")
		}
		if !c.OK {
			c.Fix = fix
		}
		out = append(out, c)
	}
	queues, messages, problems, err := queue.Check(ctx, s.store)
	add("queues", fmt.Sprintf("%d queues, %d messages", queues, messages), problems, err)
	tables, entities, problems, err := table.Check(ctx, s.store)
	add("tables", fmt.Sprintf("%d tables, %d entities", tables, entities), problems, err)
	return out
}
