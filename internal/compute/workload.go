package compute

import "context"

// Workload is what items are made of. The Manager calls it from many
// goroutines, but never twice at once for one item. After a crash the Manager
// repeats the call that it cannot know to have completed, so each method must
// bear being called again for the same item.
type Workload interface {
	// Prepare builds the tasks of an item that got its nodes: one per node, in
	// the order of nodes, or any number with NodeID set. It may take long. ctx
	// ends when the item is canceled or the server stops; Prepare must then
	// return. An error ends the item as failed, with the error's text.
	Prepare(ctx context.Context, item Item, nodes []Node) ([]TaskSpec, error)
	// Started is called once all tasks were started; short tasks may have ended
	// by then. ctx ends when the item does. An error is logged and the call
	// repeated after a while.
	Started(ctx context.Context, item Item, nodes []Node) error
	// Preempted is called when an attempt has ended because nodes are taken away,
	// before they are: what the item has done so far can be saved for its next
	// attempt. Of a node that vanished without notice nothing may be left. ctx ends
	// when the server stops. An error is logged and the call repeated after a
	// while, as for Finished.
	Preempted(ctx context.Context, item Item, reason string) error
	// Finished is called when no task of the item is left, before its nodes are
	// given to others, and also for items that were never placed. An error is
	// logged and the call repeated after a while, the nodes being held all that
	// time: a failure that repeating cannot mend must be recorded by the
	// workload and answered with nil.
	Finished(ctx context.Context, item Item, outcome Outcome) error
}
