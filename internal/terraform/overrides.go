package terraform

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// present is where providers can be had without init: those that run already,
// and those that the user's CLI configuration file takes from a directory, which
// `init` must not be run for: it would ask the registry all the same.
type present struct {
	running   reattachments
	overrides map[string]bool
}

// has reports whether a provider, by its address as Config.Providers gives it,
// is there without init.
func (p present) has(source string) bool { return p.running.serves(source) || p.overrides[source] }

// names lists what is there, by address.
func (p present) names() []string {
	var out []string
	for key := range p.running {
		out = append(out, key)
	}
	for source := range p.overrides {
		out = append(out, source)
	}
	return out
}

// devOverrides returns the addresses, as Config.Providers gives them, of the
// provider_installation.dev_overrides block of the CLI configuration file. What
// is wrong with the file terraform itself reports.
func (r *Runner) devOverrides(env []string) map[string]bool {
	path := ""
	for _, kv := range env {
		if name, value, _ := strings.Cut(kv, "="); name == "TF_CLI_CONFIG_FILE" {
			path = value
		}
	}
	if path == "" {
		path = r.defaultCLIConfig()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseDevOverrides(text)
}

// defaultCLIConfig is the file that terraform or tofu reads where no variable
// names one.
func (r *Runner) defaultCLIConfig() string {
	names := []string{".terraformrc"}
	if r.Tool.Kind == OpenTofu {
		names = []string{".tofurc", ".terraformrc"}
	}
	dir, err := os.UserHomeDir()
	if runtime.GOOS == "windows" {
		dir, err = os.UserConfigDir()
		for i, n := range names {
			names[i] = strings.TrimPrefix(strings.TrimSuffix(n, "rc")+".rc", ".")
		}
	}
	if err != nil {
		return ""
	}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// parseDevOverrides reads the keys of the dev_overrides blocks. The file is in
// the first version of HCL, whose quoted keys the second's parser refuses, so
// this goes by the tokens, which are the same.
func parseDevOverrides(text []byte) map[string]bool {
	out := map[string]bool{}
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	inside := false
	for i, t := range tokens {
		switch {
		case t.Type == hclsyntax.TokenIdent && string(t.Bytes) == "dev_overrides":
			inside = true
		case t.Type == hclsyntax.TokenCBrace:
			inside = false
		case inside && t.Type == hclsyntax.TokenQuotedLit && i+2 < len(tokens) && tokens[i+2].Type == hclsyntax.TokenEqual:
			out[withoutHost(strings.ToLower(string(t.Bytes)))] = true
		}
	}
	return out
}
