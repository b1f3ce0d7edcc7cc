package compute

import (
	"fmt"
	"time"
)

// WaitKind is the kind of thing that an item waits for.
type WaitKind uint8

// The kinds of waiting.
const (
	// WaitPlan: the item is new and has not been looked at.
	WaitPlan WaitKind = iota
	// WaitStarting: enough nodes are on their way.
	WaitStarting
	// WaitRetry: nodes could not be started; it will be tried again.
	WaitRetry
	// WaitBusy: other items use the nodes.
	WaitBusy
	// WaitBehind: nodes are free, but an earlier item has to have them.
	WaitBehind
	// WaitShortage: there is no capacity for the pool's VM size.
	WaitShortage
	// WaitQuota: a core quota leaves no room for the nodes.
	WaitQuota
	// WaitTooBig: the pool's maximum is now less than the item needs.
	WaitTooBig
)

// Reason is why an item waits. String says it in one sentence.
type Reason struct {
	Kind WaitKind
	// Needs is the item's number of nodes, Missing how many of them have yet to
	// come up, Have how many could be had without another item ending.
	Needs, Missing, Have int
	// Max is the pool's maximum.
	Max int
	// Ahead is how many items of the queue come before this one.
	Ahead int
	// Behind is the earlier item that the nodes are kept for, and BehindNeeds its
	// number of nodes.
	Behind      string
	BehindNeeds int
	// Detail is the error of the last failed start, Until when the next is; or
	// Detail is the VM size that is short, or the quota of Limit cores, of which
	// the item needs Cores.
	Detail string
	Until  time.Time
	Limit  int
	Cores  int
}

// String is one clear sentence for the person whose job it is.
func (r Reason) String() string {
	switch r.Kind {
	case WaitStarting:
		if r.Needs == 1 {
			return "The job waits for a node to start."
		}
		return fmt.Sprintf("The job waits for %d of its %s to start.", r.Missing, count(r.Needs, "node"))
	case WaitRetry:
		return fmt.Sprintf("The job waits for %s that could not be started (%s); the next try is at %s.",
			count(r.Missing, "node"), r.Detail, r.Until.UTC().Format(time.RFC3339))
	case WaitShortage:
		return fmt.Sprintf("The job waits for %s of size %s, for which there is no capacity at the moment.", count(max(1, r.Missing), "node"), r.Detail)
	case WaitBusy:
		s := fmt.Sprintf("All %s of the compute are in use", count(r.Max, "node"))
		if r.Max == 1 {
			s = "The compute's only node is in use"
		}
		if r.Have > 0 {
			s = fmt.Sprintf("The job needs %s at once, and only %d of the compute's %d can be had until other jobs end",
				count(r.Needs, "node"), r.Have, r.Max)
		}
		switch r.Ahead {
		case 0:
			return s + "; the job is the next in the queue."
		case 1:
			return s + "; 1 job is ahead of it in the queue."
		}
		return s + fmt.Sprintf("; %d jobs are ahead of it in the queue.", r.Ahead)
	case WaitBehind:
		return fmt.Sprintf("The free nodes are kept for an earlier job that needs %s at once (%s), which this one would delay.",
			count(r.BehindNeeds, "node"), lastSegment(r.Behind))
	case WaitQuota:
		return fmt.Sprintf("The job waits for the vCPU quota %s of %d: its %s need %d vCPUs, which other nodes leave no room for.",
			lastSegment(r.Detail), r.Limit, count(r.Needs, "node"), r.Cores)
	case WaitTooBig:
		if r.Limit > 0 || r.Detail != "" {
			return fmt.Sprintf("The job's %s need %d vCPUs, and the vCPU quota %s is now %d; it waits until the quota is raised.",
				count(r.Needs, "node"), r.Cores, lastSegment(r.Detail), r.Limit)
		}
		return fmt.Sprintf("The job needs %s, but the compute was resized to at most %d; it waits until the compute is made larger.",
			count(r.Needs, "node"), r.Max)
	}
	return "The job was submitted and has not been looked at yet."
}

// lastSegment is the name at the end of a resource ID.
func lastSegment(id string) string {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '/' {
			return id[i+1:]
		}
	}
	return id
}
