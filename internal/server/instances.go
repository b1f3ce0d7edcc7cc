package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute/local"
	"github.com/azimuth-ml/azimuth/internal/entra"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/instance"
	"github.com/azimuth-ml/azimuth/internal/rp/machinelearning"
	"github.com/azimuth-ml/azimuth/internal/rp/storage"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// openInstances makes the engine of compute instances. Their machines are not
// among the nodes of clusters: a runner has one engine.
func (s *Server) openInstances(sealer *seal.Sealer) (err error) {
	if s.machines, err = local.Open(local.Options{
		Dir: instanceNodes(s.cfg.Home), Clock: s.clock, BootDelay: s.bootDelay(), Log: s.cfg.Log, Taken: s.interfaceAddresses(s.runner.Addresses),
	}); err != nil {
		return err
	}
	s.onClose(func() error { s.machines.Close(); return nil })
	s.instances, err = instance.New(instance.Config{
		Store: s.store, Clock: s.clock, Wall: time.Now, Runner: s.machines, Dir: s.cfg.Home.Path("instances", "disks"),
		Files: instanceFiles{s}, Identities: jobIdentities{s}, Access: instanceAccess{s}, Sealer: sealer,
		BaseEnv: jobBaseEnv(), NodeEnv: func(id string) []string { return s.nodeEnv(placeUser(id)) },
		Origin: "http://" + s.listener.Addr().String(), Log: s.cfg.Log,
	})
	return err
}

func instanceNodes(d home.Dir) string { return d.Path("instances", "nodes") }

// instances lets ComputeInstance resources run on the engine.
type instances struct{ s *Server }

// PutInstance implements machinelearning.Instances.
func (i instances) PutInstance(tx store.Tx, in machinelearning.Instance) error {
	prefix, err := pools(i).subnetPrefix(tx, in.SubnetID)
	if err != nil {
		return err
	}
	schedules, err := instance.ParseSchedules(in.Schedules)
	if err == nil {
		err = i.s.instances.Put(tx, instance.Spec{
			UID: in.UID, ID: in.ID, WorkspaceID: in.WorkspaceID, Name: in.Name, Location: in.Location,
			VMSize: in.VMSize, VCPUs: in.VCPUs, MemoryGiB: in.MemoryGiB, GPUs: in.GPUs,
			UserID: in.UserID, PrincipalID: in.PrincipalID, IdleAfter: in.IdleAfter, Schedules: schedules, SSH: in.SSH,
			SubnetID: in.SubnetID, SubnetPrefix: prefix,
		})
	}
	if bad := (*instance.InvalidError)(nil); errors.As(err, &bad) {
		e := arm.BadRequest("BadRequest", "The property '%s' is invalid: %s", bad.Field, bad.Problem)
		e.Target = "properties.properties." + bad.Field
		return e
	}
	return err
}

// InstanceAction implements machinelearning.Instances.
func (i instances) InstanceAction(tx store.Tx, uid, action string) error {
	err := i.s.instances.Do(tx, uid, instance.Event(action))
	if not := (*instance.NotNowError)(nil); errors.As(err, &not) {
		// the words of Azure are not known
		return arm.BadRequest("BadRequest", "The request is not possible now: %s.", not)
	}
	if errors.Is(err, instance.ErrNotFound) {
		return arm.BadRequest("BadRequest", "The compute instance was made by an earlier version that ran nothing on it. Delete it and make it again.")
	}
	return err
}

// DeleteInstance implements machinelearning.Instances.
func (i instances) DeleteInstance(tx store.Tx, uid string) error {
	return i.s.instances.Do(tx, uid, instance.Delete)
}

// InstanceStatus implements machinelearning.Instances.
func (i instances) InstanceStatus(tx store.Tx, uid string) (machinelearning.InstanceStatus, error) {
	st, err := i.s.instances.Status(tx, uid)
	if errors.Is(err, instance.ErrNotFound) {
		err = store.ErrNotFound
	}
	if err != nil {
		return machinelearning.InstanceStatus{}, err
	}
	out := machinelearning.InstanceStatus{
		State: string(st.State), Operation: st.Last.Name, OperationStatus: st.Last.Status,
		OperationTrigger: st.Last.Trigger, OperationTime: st.Last.Time,
	}
	if st.SubnetID != "" {
		for a, node := range i.s.machines.Addresses(st.SubnetID) {
			if node == st.Node {
				out.PrivateIP = a.String()
			}
		}
	}
	for _, a := range st.Applications {
		out.Applications = append(out.Applications, machinelearning.Application(a))
	}
	for _, p := range st.Problems {
		out.Errors = append(out.Errors, machinelearning.InstanceError(p))
	}
	return out, nil
}

// instancePatience is how long a request waits for an instance to arrive where
// it was sent. It is longer than Jupyter has to end its kernels.
const instancePatience = 15 * time.Second

// AwaitInstance implements machinelearning.Instances.
func (i instances) AwaitInstance(ctx context.Context, uid string) {
	if i.s.cfg.Realistic {
		return // it takes minutes, of a clock that may stand still
	}
	ctx, cancel := context.WithTimeout(ctx, instancePatience)
	defer cancel()
	if err := i.s.instances.Await(ctx, uid); err != nil && ctx.Err() == nil {
		i.s.cfg.Log.Warn("wait for a compute instance", "error", err)
	}
}

// instanceAccess says who asks for an instance.
type instanceAccess struct{ s *Server }

// Authenticate implements instance.Access.
func (a instanceAccess) Authenticate(ctx context.Context, r *http.Request) (string, error) {
	caller, err := a.s.AuthenticateML(ctx, r)
	return caller.ObjectID, err
}

// Owner implements instance.Access.
func (a instanceAccess) Owner(objectID string) bool { return objectID == a.s.owner.ObjectID }

// instanceFiles finds the notebooks of a workspace's users, which Azure ML keeps
// in the share of the datastore workspaceworkingdirectory.
type instanceFiles struct{ s *Server }

// UserDir implements instance.Files.
func (f instanceFiles) UserDir(ctx context.Context, workspaceID, userID string) (string, error) {
	var account, share, user string
	err := f.s.store.View(ctx, func(tx store.Tx) error {
		ws, err := arm.ParseID(workspaceID)
		if err != nil {
			return err
		}
		ds, err := f.s.kernel.Load(ctx, tx, ws.Child("datastores", "workspaceworkingdirectory"))
		if err != nil {
			return err
		}
		share = ds.Body.String("properties.fileShareName")
		r, err := storage.Account(tx, f.s.kernel.Resources(), ds.Body.String("properties.accountName"))
		if err != nil {
			return fmt.Errorf("storage account %s: %w", ds.Body.String("properties.accountName"), err)
		}
		account = r.UID
		p, err := f.s.dir.Lookup(tx, userID)
		if errors.Is(err, entra.ErrNoPrincipal) {
			// a user of the real tenant, whom this directory does not know
			user = userID
			return nil
		}
		if err != nil {
			return err
		}
		user = userFolder(p)
		return nil
	})
	if err != nil {
		return "", err
	}
	dir, err := f.s.files.Share(account, share)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "Users", user)
	return dir, os.MkdirAll(dir, 0o700)
}

// userFolder is the name of a person's directory: what is before the @ of their
// name, else their object ID, with nothing in it that is special in a path.
func userFolder(p *entra.Principal) string {
	name, _, _ := strings.Cut(p.UPN, "@")
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return -1
	}, name)
	if name = strings.Trim(name, "."); name == "" {
		return p.ObjectID
	}
	return name
}

// reclaimFiles removes the file shares of accounts that are no more.
func (s *Server) reclaimFiles(ctx context.Context) error {
	return s.files.Reclaim(func([]string) (map[string]bool, error) {
		keep := map[string]bool{}
		err := s.store.View(ctx, func(tx store.Tx) error {
			for r, err := range s.kernel.Resources().OfType(tx, s.kernel.Subscription(), storage.AccountType) {
				if err != nil {
					return err
				}
				keep[r.UID] = true
			}
			return nil
		})
		return keep, err
	})
}
