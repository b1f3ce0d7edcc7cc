// Package terraform finds and runs the user's terraform or tofu against a
// user's directory without touching that directory.
//
// A Stack is a private working copy of the directory under $AZIMUTH_HOME: it
// holds links to the user's files, and the state, lock file and data directory
// that terraform would otherwise leave beside them. A Finder gets the program,
// downloading or building OpenTofu where there is none. A Runner ties the two
// together and runs commands. A Config is what the stack's files say, read
// without running anything: which providers and modules it needs, which major
// of azurerm it is written for, and on which line each resource is.
package terraform
