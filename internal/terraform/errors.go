package terraform

import (
	"fmt"
	"strings"
)

// ExitError reports that terraform ran and failed. Its own messages have gone to
// the Runner's writers already.
type ExitError struct {
	// Command is what was run, such as "terraform apply".
	Command string
	// Code is the exit status; -1 when a signal ended the program.
	Code int
	// Output is the end of what the program printed where it was captured, and
	// empty where it was shown to the user as it came.
	Output string
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s exited with status %d", e.Command, e.Code)
	if e.Code < 0 {
		msg = e.Command + " was killed"
	}
	if out := strings.TrimSpace(e.Output); out != "" {
		msg += ":\n" + out
	}
	return msg
}

// InitError reports that `terraform init` failed for a stack that needs it.
type InitError struct {
	// Command is what was run.
	Command string
	// Needs says in words why the stack needs init at all.
	Needs []string
	// Offline is true when the output says that a registry, a module source or
	// a download could not be reached.
	Offline bool
	// Output is what init printed.
	Output string
}

func (e *InitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s failed:\n%s", e.Command, strings.TrimSpace(e.Output))
	if !e.Offline {
		return b.String()
	}
	fmt.Fprintf(&b, "\n\nThis stack needs init for %s, and the network could not be reached.", strings.Join(e.Needs, ", "))
	b.WriteString("\nRun the command once where the network is there: what it fetches is kept for later runs.")
	b.WriteString("\nOr point terraform at a local mirror: `terraform providers mirror DIR` on a machine that is online," +
		" then a provider_installation block with filesystem_mirror in the CLI configuration file" +
		" (TF_CLI_CONFIG_FILE). A proxy is taken from HTTPS_PROXY.")
	return b.String()
}

// NotFoundError reports that there is no terraform and no tofu, and that none
// could be had.
type NotFoundError struct {
	// Download and Build are why each way of getting OpenTofu failed.
	Download, Build error
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("neither terraform nor tofu is on PATH, and OpenTofu %s could not be fetched.\n"+
		"  release download: %v\n"+
		"  build from source: %v\n"+
		"Install terraform (https://developer.hashicorp.com/terraform/install) or OpenTofu"+
		" (https://opentofu.org/docs/intro/install/), or set %s to the program's path.",
		OpenTofuVersion, e.Download, e.Build, PathVariable)
}

// Unwrap returns the two causes.
func (e *NotFoundError) Unwrap() []error { return []error{e.Download, e.Build} }

// ConfigError is a fault in the user's files, with its place.
type ConfigError struct {
	Pos     Pos
	Message string
}

func (e *ConfigError) Error() string { return e.Pos.String() + ": " + e.Message }

// offline tells from the output of init whether the network was the cause. The
// phrases are those of terraform 1.x and OpenTofu 1.x and of Go's dialer.
func offline(output string) bool {
	// Long lines are wrapped by the program, with a frame at the left.
	flat := strings.Join(strings.FieldsFunc(output, func(r rune) bool {
		return r == '\n' || r == '│' || r == ' ' || r == '\t' || r == '\r'
	}), " ")
	for _, phrase := range []string{
		"could not connect to registry",
		"could not connect to ",
		"failed to request discovery document",
		"failed to retrieve authentication checksums",
		"Failed to query available provider packages: could not query provider registry",
		"the request failed after",
		"no such host",
		"connection refused",
		"network is unreachable",
		"i/o timeout",
		"Client.Timeout exceeded",
		"TLS handshake timeout",
		"Could not resolve host",
		"proxyconnect",
	} {
		if strings.Contains(flat, phrase) {
			return true
		}
	}
	return false
}
