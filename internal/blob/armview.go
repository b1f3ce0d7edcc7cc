package blob

import (
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// ContainerInfo is a container as the management plane shows and changes it. The
// methods in this file work in the caller's transaction and authorise nobody.
type ContainerInfo struct {
	Name string
	// PublicAccess is "", "blob" or "container".
	PublicAccess string
	Metadata     map[string]string
	// ETag is quoted.
	ETag     string
	Modified time.Time
	// LeaseStatus, LeaseState and LeaseDuration are as headers say them;
	// PutContainerIn does not look at them.
	LeaseStatus, LeaseState, LeaseDuration string
	// Hierarchical tells PutContainerIn that a new container's account has a
	// hierarchical namespace.
	Hierarchical bool
}

func (c *containerRec) info(now time.Time) ContainerInfo {
	status, duration := c.Lease.Status(now.UnixNano())
	return ContainerInfo{
		LeaseStatus: status, LeaseState: c.Lease.State(now.UnixNano()), LeaseDuration: duration,
		Name: c.Name, PublicAccess: c.Public, Metadata: c.Metadata,
		ETag: etagString(c.ETag), Modified: time.Unix(0, c.Modified).UTC(), Hierarchical: c.Tree,
	}
}

// ContainerIn returns a container of the account instance uid, or an error with
// the code ContainerNotFound.
func (s *Service) ContainerIn(tx store.Tx, uid, name string) (ContainerInfo, error) {
	c, err := findContainer(tx, uid, name)
	if err != nil {
		return ContainerInfo{}, err
	}
	return c.info(s.cfg.Clock.Now()), nil
}

// ContainersIn returns up to limit containers behind the name after, in the order
// of their names.
func (s *Service) ContainersIn(tx store.Tx, uid, after string, limit int) ([]ContainerInfo, error) {
	r := store.Range{Prefix: containerKey(uid, ""), Limit: limit}
	if after != "" {
		r.After = containerKey(uid, after)
	}
	var out []ContainerInfo
	for row, err := range tx.Scan(bucketContainers, r) {
		if err != nil {
			return nil, fmt.Errorf("list containers: %w", err)
		}
		c, err := storage.Decode[containerRec](bucketContainers, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, c.info(s.cfg.Clock.Now()))
	}
	return out, nil
}

// PutContainerIn creates a container, or changes the metadata and public access
// of one that is there.
func (s *Service) PutContainerIn(tx store.Tx, uid string, in ContainerInfo) error {
	if err := checkContainerName(in.Name); err != nil {
		return err
	}
	c, err := findContainer(tx, uid, in.Name)
	if HasCode(err, "ContainerNotFound") {
		c, err = &containerRec{Name: in.Name, ID: storage.RandomHex(12), Tree: in.Hierarchical}, nil
	}
	if err != nil {
		return err
	}
	c.Public, c.Metadata = in.PublicAccess, in.Metadata
	c.Modified, c.ETag = s.eng.stamp()
	return storage.Save(tx, bucketContainers, containerKey(uid, in.Name), c)
}

// DeleteContainerIn removes a container with its blobs, as far as the account's
// policy does not keep it. Removing none is not an error. Its space comes back in the background, after Reclaim or a restart.
func (s *Service) DeleteContainerIn(tx store.Tx, uid, name string) error {
	c, err := findContainer(tx, uid, name)
	if HasCode(err, "ContainerNotFound") {
		return nil
	}
	if err != nil {
		return err
	}
	return s.eng.dropContainer(tx, uid, c)
}

// DeleteAccountIn removes everything that an account instance has. Its space
// comes back in the background, after Reclaim or a restart. The caller sees to it
// that the account is not found any more.
func (s *Service) DeleteAccountIn(tx store.Tx, uid string) error {
	if err := s.eng.discard(tx, garbage{Kind: "gone", ID: uid}); err != nil {
		return err
	}
	return s.eng.discard(tx, garbage{Kind: "account", ID: uid})
}

// Reclaim tells the service that a transaction which deleted something is
// durable, so that it can begin to free the space.
func (s *Service) Reclaim() { s.eng.reaper.Kick() }
