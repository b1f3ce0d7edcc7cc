package compute

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// AllocationState says whether a pool's number of nodes is changing. The words
// are Azure's.
type AllocationState string

// The allocation states of a pool.
const (
	Steady   AllocationState = "Steady"
	Resizing AllocationState = "Resizing"
)

// poolRecord is a pool as it is stored.
type poolRecord struct {
	Pool
	// Deleting says that the pool goes once its nodes and items are gone.
	Deleting bool `json:",omitempty"`
	// Ordinal counts the nodes that were ever started, for their names.
	Ordinal uint64
	// Allocation and Target are what the last plan made of the pool.
	Allocation      AllocationState
	AllocationSince time.Time
	Target          int
	// Preemption is how nodes are taken away, PreemptAt when the schedule takes the
	// next ones.
	Preemption Preemption `json:",omitzero"`
	PreemptAt  time.Time  `json:",omitzero"`
	// StartError is why the last start of a node failed; "" after one succeeded.
	StartError   string    `json:",omitempty"`
	StartErrorAt time.Time `json:",omitzero"`
}

// itemRecord is an item as it is stored.
type itemRecord struct {
	Item
	Seq   uint64
	Phase Phase
	// Since is when the item entered Phase.
	Since time.Time
	// NodeIDs are the nodes it has, in rank order.
	NodeIDs []string `json:",omitempty"`
	// TaskCount is how many tasks were started, from PhaseRunning on.
	TaskCount int       `json:",omitempty"`
	StartedAt time.Time `json:",omitzero"`
	EndedAt   time.Time `json:",omitzero"`
	// Preemptions counts the attempts that ended because nodes were taken away.
	Preemptions int `json:",omitempty"`
	// Stop, once set, says why the item is being ended.
	Stop *Stop `json:",omitempty"`
	// Outcome is set from PhaseFinalizing on.
	Outcome *Outcome `json:",omitempty"`
}

func (r *itemRecord) queued() QueuedItem {
	return QueuedItem{ID: r.ID, Nodes: r.Nodes, Priority: r.Priority, Seq: r.Seq}
}

const (
	indexPool = "pool"
	indexLive = "live"

	bucketChanges  = "compute/changes"
	bucketCounters = "compute/counters"
	// bucketShortages has the VM sizes that are short, by their lower-case names.
	bucketShortages = "compute/shortages"
	// bucketQuotas has the cores of quotas, by their names.
	bucketQuotas = "compute/quotas"
	counterItems = "items"
)

func poolRecords() store.Collection[poolRecord] {
	return store.Collection[poolRecord]{
		Name: "compute/pools",
		Key:  func(p *poolRecord) string { return p.ID },
	}
}

func nodeRecords() store.Collection[Node] {
	return store.Collection[Node]{
		Name:    "compute/nodes",
		Key:     func(n *Node) string { return n.ID },
		Indexes: map[string]func(*Node) []string{indexPool: func(n *Node) []string { return []string{n.PoolID} }},
	}
}

// itemRecords keeps done items out of its only index: nothing that the Manager
// does costs more because of them.
func itemRecords() store.Collection[itemRecord] {
	return store.Collection[itemRecord]{
		Name: "compute/items",
		Key:  func(r *itemRecord) string { return r.ID },
		Indexes: map[string]func(*itemRecord) []string{indexLive: func(r *itemRecord) []string {
			if r.Phase == PhaseDone {
				return nil
			}
			return []string{r.PoolID}
		}},
	}
}

// A change says that a record was written by somebody else than the Manager's
// loop, which then reads it again. It is written in the same transaction as the
// record, so the loop never sees one without the other.
type changeKind string

const (
	changePool changeKind = "pool"
	changeNode changeKind = "node"
	changeItem changeKind = "item"
	// changeShortage has a VM size for its ID.
	changeShortage changeKind = "shortage"
	// changeQuota has the name of a quota.
	changeQuota changeKind = "quota"
)

func markChanged(tx store.Tx, kind changeKind, id string) error {
	return tx.Put(bucketChanges, string(kind)+"\x00"+id, nil)
}

func splitChange(key string) (changeKind, string) {
	kind, id, _ := strings.Cut(key, "\x00")
	return changeKind(kind), id
}

// nextItemSeq counts submissions. Transactions run one after another, so the
// numbers are in the order in which submissions were committed.
func nextItemSeq(tx store.Tx) (uint64, error) {
	var n uint64
	b, err := tx.Get(bucketCounters, counterItems)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		if n, err = strconv.ParseUint(string(b), 10, 64); err != nil {
			return 0, fmt.Errorf("read the item counter: %w", err)
		}
	}
	n++
	return n, tx.Put(bucketCounters, counterItems, strconv.AppendUint(nil, n, 10))
}

// taskID names a task for ever: no two attempts and no two items share one.
func taskID(itemID string, attempt, index int) string {
	sum := sha256.Sum256([]byte(itemID))
	return fmt.Sprintf("%s-%d-%d", hex.EncodeToString(sum[:10]), attempt, index)
}

// nodeName follows the pattern of the node IDs that Azure's listNodes shows:
// "tvm-", a number of the pool, "_", a number of the node, "-", the time it was
// created.
func nodeName(poolID string, ordinal uint64, now time.Time) string {
	h := fnv.New32a()
	h.Write([]byte(poolID))
	return fmt.Sprintf("tvm-%010d_%d-%s", h.Sum32(), ordinal, now.UTC().Format("20060102t150405z"))
}

// firstPort is the first of the ports that Azure's listNodes shows.
const firstPort = 50000
