package files

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The methods in this file are for the rest of Azimuth. They authorise nobody:
// the caller has decided that already. account is the UID of an account.

// Share is a share as others see it.
type Share struct {
	Name     string
	Metadata map[string]string
	Policies []storage.AccessPolicy
	// QuotaGiB is how large the share may become; 0 leaves it as it is.
	QuotaGiB int
	// Tier is "" of a share that was given none.
	Tier        string
	TierChanged time.Time
	// ETag is quoted.
	ETag     string
	Modified time.Time
	// LeaseStatus, LeaseState and LeaseDuration are as in x-ms-lease-status and so
	// on. PutShareIn does not look at them.
	LeaseStatus, LeaseState, LeaseDuration string
}

func (s *Service) view(rec *shareRec) *Share {
	now := s.base.Clock.Now().UnixNano()
	out := &Share{Name: rec.Name, Metadata: rec.Metadata, Policies: rec.Policies, QuotaGiB: rec.Quota, Tier: rec.Tier,
		ETag: storage.ETag(rec.ETag), Modified: time.Unix(0, rec.Modified).UTC(), LeaseState: rec.Lease.State(now)}
	out.LeaseStatus, out.LeaseDuration = rec.Lease.Status(now)
	if rec.Tiered != 0 {
		out.TierChanged = time.Unix(0, rec.Tiered).UTC()
	}
	return out
}

// ShareIn returns a share, nil if there is none of the name.
func (s *Service) ShareIn(tx store.Tx, account, name string) (*Share, error) {
	rec, err := s.eng.find(tx, account, name)
	if storage.HasCode(err, "ShareNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.view(rec), nil
}

// SharesIn returns up to limit shares behind the name after, in the order of
// their names.
func (s *Service) SharesIn(tx store.Tx, account, after string, limit int) ([]Share, error) {
	names, err := s.eng.dirs.List(account)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []Share
	for _, n := range names {
		if n <= after {
			continue
		}
		if len(out) == limit {
			break
		}
		share, err := s.ShareIn(tx, account, n)
		if err != nil {
			return nil, err
		}
		if share != nil {
			out = append(out, *share)
		}
	}
	return out, nil
}

// PutShareIn makes a share or changes the one there is.
func (s *Service) PutShareIn(tx store.Tx, account string, in Share) error {
	rec, err := s.eng.find(tx, account, in.Name)
	switch {
	case storage.HasCode(err, "ShareNotFound"):
		rec = &shareRec{Name: in.Name, Metadata: maps.Clone(in.Metadata), Policies: in.Policies, Quota: in.QuotaGiB}
		if in.Tier != "" {
			rec.Tier, rec.Tiered = in.Tier, s.base.Clock.Now().UnixNano()
		}
		return s.eng.createIn(tx, account, rec)
	case err != nil:
		return err
	}
	rec.Metadata, rec.Policies = maps.Clone(in.Metadata), in.Policies
	if in.QuotaGiB != 0 {
		rec.Quota = in.QuotaGiB
	}
	if in.Tier != "" && in.Tier != rec.Tier && (rec.Tier != "" || in.Tier != standardTier) {
		rec.Tier, rec.Tiered = in.Tier, s.base.Clock.Now().UnixNano()
	}
	rec.Modified, rec.ETag = s.eng.stamp()
	return saveShare(tx, account, rec)
}

// DeleteShareIn removes a share with its files. Removing none is not an error.
func (s *Service) DeleteShareIn(tx store.Tx, account, name string) error {
	err := s.eng.removeIn(tx, account, name, func(rec *shareRec) error {
		_, err := rec.Lease.Held("", "Share", true, s.base.Clock.Now().UnixNano())
		return err
	})
	if storage.HasCode(err, "ShareNotFound") {
		return nil
	}
	return err
}

// SetRetentionIn says for how many days an account keeps deleted shares; 0 is not
// at all.
func (s *Service) SetRetentionIn(tx store.Tx, account string, days int) error {
	return tx.Put(bucketRetention, account, []byte(strconv.Itoa(days)))
}
