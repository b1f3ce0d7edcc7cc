package local

// nodeLimits are the control groups of a node, and the limits.json of its tasks:
// the supervisor makes the groups when it starts the command.
type nodeLimits struct {
	Groups   []string // directories
	Settings []setting
}

// setting is what a file of a group is to say, if the group has such a file.
type setting struct{ File, Value string }

// errLimits says that a command was not started because of its node's limits.
type errLimits struct{ error }

func (e errLimits) Unwrap() error { return e.error }
