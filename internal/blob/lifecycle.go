package blob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// lifecyclePeriod is how often the rules of an account are carried out, and how
// long after they were written that is for the first time: Azure says once a day,
// and up to a day.
const lifecyclePeriod = 24 * time.Hour

// LifecyclePolicy is what is done to the blobs of an account because of their age.
type LifecyclePolicy struct {
	Rules []LifecycleRule `json:"rules"`
}

// LifecycleRule is one rule. Rules that are switched off are not in a policy.
type LifecycleRule struct {
	// Prefixes begin with the name of a container. None means all blobs.
	Prefixes []string `json:"prefixes,omitempty"`
	// Types are the types of blobs: block and append blobs.
	Types []Type `json:"types"`
	// Tags are index tags that a blob must have, all of them.
	Tags map[string]string `json:"tags,omitempty"`
	// Base is about blobs, Snapshot and Version about what they were.
	Base     LifecycleActions `json:"base,omitzero"`
	Snapshot LifecycleActions `json:"snapshot,omitzero"`
	Version  LifecycleActions `json:"version,omitzero"`
}

// LifecycleActions says at which age what happens; nil is never.
type LifecycleActions struct {
	Delete *LifecycleAge `json:"delete,omitempty"`
	Cold   *LifecycleAge `json:"cold,omitempty"`
	Cool   *LifecycleAge `json:"cool,omitempty"`
}

// LifecycleAge is an age in days. Of snapshots and versions only Created is looked
// at: when they became what they are.
type LifecycleAge struct {
	Created  *float64 `json:"created,omitempty"`
	Modified *float64 `json:"modified,omitempty"`
}

// lifecycleRec is the policy of an account.
type lifecycleRec struct {
	LifecyclePolicy
	Next int64 `json:"next"` // Unix nanoseconds of the next round
}

// SetLifecycleIn changes the policy of the account instance uid; nil is none.
func (s *Service) SetLifecycleIn(tx store.Tx, uid string, p *LifecyclePolicy) error {
	if p == nil || len(p.Rules) == 0 {
		return tx.Delete(bucketLifecycle, uid)
	}
	return storage.Save(tx, bucketLifecycle, uid, &lifecycleRec{LifecyclePolicy: *p, Next: s.cfg.Clock.Now().Add(lifecyclePeriod).UnixNano()})
}

// runLifecycles carries out the policies whose time has come. A round that a crash
// cut short is done again.
func (e *engine) runLifecycles(ctx context.Context) error {
	e.aging.Lock()
	defer e.aging.Unlock()
	now := e.clock.Now()
	due := map[string]*lifecycleRec{}
	err := e.store.View(ctx, func(tx store.Tx) error {
		for row, err := range tx.Scan(bucketLifecycle, store.Range{}) {
			if err != nil {
				return err
			}
			rec, err := storage.Decode[lifecycleRec](bucketLifecycle, row.Key, row.Value)
			if err != nil {
				return err
			}
			if rec.Next <= now.UnixNano() {
				due[row.Key] = rec
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for lifecycle policies: %w", err)
	}
	var failed error
	for uid, rec := range due {
		if err := (&lifecycle{e: e, uid: uid, rules: rec.Rules, now: now}).run(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("carry out the lifecycle policy of account %s: %w", uid, err))
			continue
		}
		err := e.store.Update(ctx, func(tx store.Tx) error {
			at, err := storage.Load[lifecycleRec](tx, bucketLifecycle, uid)
			if err != nil || at == nil || at.Next != rec.Next {
				return err // it was replaced meanwhile
			}
			at.Next = now.Add(lifecyclePeriod).UnixNano()
			return storage.Save(tx, bucketLifecycle, uid, at)
		})
		failed = errors.Join(failed, err)
	}
	return failed
}

// lifecycle is one round of one account.
type lifecycle struct {
	e     *engine
	uid   string
	rules []LifecycleRule
	now   time.Time
}

func (l *lifecycle) run(ctx context.Context) error {
	for after := ""; ; {
		cs, next, err := l.e.listContainers(ctx, l.uid, "", after, reapBatch)
		if err != nil {
			return err
		}
		for _, c := range cs {
			// Azure leaves its system containers alone.
			if c.Name == "$web" || c.Name == "$logs" {
				continue
			}
			if err := l.container(ctx, c.Name); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// within returns the prefix of the names in a container to which a prefix of a
// rule applies.
func within(prefix, container string) (rest string, ok bool) {
	name, rest, inside := strings.Cut(prefix, "/")
	if inside {
		return rest, name == container
	}
	return "", strings.HasPrefix(container, prefix)
}

// container does what the rules say in one container. Only the names are read
// that some rule is about.
func (l *lifecycle) container(ctx context.Context, container string) error {
	var prefixes []string
	q := listQuery{Max: 1000}
	for _, r := range l.rules {
		q.Snapshots = q.Snapshots || r.Snapshot != LifecycleActions{}
		q.Versions = q.Versions || r.Version != LifecycleActions{}
		if len(r.Prefixes) == 0 {
			prefixes = append(prefixes, "")
		}
		for _, p := range r.Prefixes {
			if rest, ok := within(p, container); ok {
				prefixes = append(prefixes, rest)
			}
		}
	}
	slices.Sort(prefixes)
	last, any := "", false
	for _, p := range prefixes {
		if any && strings.HasPrefix(p, last) {
			continue // it was read with the shorter one
		}
		last, any = p, true
		q.Prefix, q.After = p, ""
		for {
			items, next, err := l.e.list(ctx, ref{uid: l.uid, container: container}, q)
			if HasCode(err, "ContainerNotFound") {
				return nil
			}
			if err != nil {
				return err
			}
			for _, it := range items {
				if err := l.item(ctx, container, it); err != nil {
					return err
				}
			}
			if next == "" {
				break
			}
			q.After = next
		}
	}
	return nil
}

// errLifecycleSkip leaves a blob as it is.
var errLifecycleSkip = errors.New("left as it is")

// item does what the rules say to one blob, or to what one was.
func (l *lifecycle) item(ctx context.Context, container string, it listItem) error {
	do := l.verdict(container, it)
	if do == "" {
		return nil
	}
	at := ref{uid: l.uid, container: container, name: it.Name}
	if it.Past != nil {
		ticks, ok := parseTicks(it.at)
		if !ok {
			return fmt.Errorf("blob %q has a past at %q", it.Name, it.at)
		}
		at.at = &moment{version: it.Past.Kind == pastVersion, at: ticks}
	}
	same := func(b *blobRec) error {
		if b.ETag != it.Blob.ETag || b.Lease.Active(l.now.UnixNano()) {
			return errLifecycleSkip
		}
		return nil
	}
	var err error
	if do == "delete" {
		// Azure does not say what becomes of a blob with snapshots. It stays until
		// these are gone, as Delete Blob has it.
		_, err = l.e.remove(ctx, at, refuseSnapshots, same)
	} else {
		_, err = l.e.mark(ctx, at, func(b *blobRec) error {
			if err := same(b); err != nil {
				return err
			}
			b.Tier, b.TierChanged = do, l.now.UnixNano()
			return nil
		})
	}
	switch {
	case errors.Is(err, errLifecycleSkip), HasCode(err, "BlobNotFound"), HasCode(err, "SnapshotsPresent"), HasCode(err, "ContainerNotFound"):
		return nil
	case HasCode(err, "DirectoryIsNotEmpty"):
		return nil // the next round, when what is in it is gone
	}
	return err
}

// verdict is "delete", the tier to which an item goes, or "". Where several rules
// are met the cheapest wins, as Azure has it.
func (l *lifecycle) verdict(container string, it listItem) string {
	b := it.Blob
	best := ""
	rank := map[string]int{"": 0, "Cool": 1, "Cold": 2, "delete": 3}
	for i := range l.rules {
		r := &l.rules[i]
		if !r.about(container, it) {
			continue
		}
		actions, created, modified := r.Base, b.Created, b.Modified
		if it.Past != nil {
			ticks, ok := parseTicks(it.at)
			if !ok {
				continue
			}
			created = int64(ticks-storage.UnixTicks) * 100
			modified = created
			if actions = r.Version; it.Past.Kind == pastSnapshot {
				actions = r.Snapshot
			}
		}
		for do, age := range map[string]*LifecycleAge{"delete": actions.Delete, "Cold": actions.Cold, "Cool": actions.Cool} {
			if rank[do] > rank[best] && age.over(l.now, created, modified) {
				best = do
			}
		}
	}
	if best == "delete" || best == "" {
		return best
	}
	// Only block blobs have tiers, and a rule makes them colder only.
	if b.Type != BlockBlob || b.Dir != "" || rank[b.tier()] >= rank[best] {
		return ""
	}
	return best
}

// about reports whether a rule applies to an item.
func (r *LifecycleRule) about(container string, it listItem) bool {
	if !slices.Contains(r.Types, it.Blob.Type) {
		return false
	}
	for k, v := range r.Tags {
		if have, ok := it.Blob.Tags[k]; !ok || have != v {
			return false
		}
	}
	return len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool {
		rest, ok := within(p, container)
		return ok && strings.HasPrefix(it.Name, rest)
	})
}

// over reports whether something is older. The times are Unix nanoseconds.
func (a *LifecycleAge) over(now time.Time, created, modified int64) bool {
	if a == nil || a.Created == nil && a.Modified == nil {
		return false
	}
	old := func(since int64, days *float64) bool {
		return days == nil || float64(now.UnixNano()-since) > *days*float64(24*time.Hour)
	}
	return old(created, a.Created) && old(modified, a.Modified)
}
