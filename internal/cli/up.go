package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/preflight"
	"github.com/azimuth-ml/azimuth/internal/terraform"
	"github.com/azimuth-ml/azimuth/internal/terraform/provider"
)

// stackFlags are what every command on a stack takes.
type stackFlags struct {
	provider string
	vars     []string
	varFiles []string
}

func (f *stackFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.provider, "provider", "builtin", "azurerm provider: builtin, or registry for HashiCorp's own")
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "set a variable, NAME=VALUE (repeatable)")
	cmd.Flags().StringArrayVar(&f.varFiles, "var-file", nil, "read variables from a file (repeatable)")
	cmd.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{"builtin", "registry"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *stackFlags) check() error {
	switch f.provider {
	case "builtin", "registry":
		return nil
	}
	return usagef("--provider is builtin or registry, not %q", f.provider)
}

func (a *app) upCommand() *cobra.Command {
	var sf stackFlags
	var serve serveFlags
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Apply a Terraform stack to a local Azure, starting the server if need be",
		Long: `Apply the Terraform stack in DIR (default: this directory) to the server of this
home, which is started in the background if it does not run. Prints what
changed, the stack's outputs, and what Azure itself would refuse.

DIR, its state, lock file and backend are not touched: the state is kept in the
home. Your own terraform or tofu is used, or OpenTofu is fetched once.`,
		Example: "  azimuth up examples/workspace\n  azimuth up infra -var environment=dev --strict",
		Args:    atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sf.check(); err != nil {
				return err
			}
			return a.up(cmd.Context(), dirArg(args), sf, serve)
		},
	}
	sf.register(cmd)
	serve.register(cmd)
	return cmd
}

func atMostOneDir(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one directory, got %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

func dirArg(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return "."
}

// stack is a directory ready for terraform to run in, against this cloud.
type stack struct {
	session *session
	config  *terraform.Config
	runner  *terraform.Runner
	close   func()
}

// openStack checks dir, starts the server if need be, finds terraform and serves
// the provider.
func (a *app) openStack(ctx context.Context, dir string, sf stackFlags, serve serveFlags) (*stack, error) {
	if err := checkStackDir(dir); err != nil {
		return nil, err
	}
	d, err := a.home()
	if err != nil {
		return nil, err
	}
	fresh := false
	if _, err := d.ReadServer(); err != nil {
		fresh = true
	}
	srv, err := a.startServer(ctx, serve)
	if err != nil {
		return nil, err
	}
	if fresh {
		a.step("started a server on %s (stop it with: azimuth stop)", srv.Address)
	}
	s, err := a.session(ctx, d, srv)
	if err != nil {
		return nil, err
	}
	finder := &terraform.Finder{Home: string(d), Progress: a.stderr, Clock: clock.NewAdjustable(0)}
	tool, err := finder.Find(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	st, err := terraform.OpenStack(string(d), dir)
	if err != nil {
		s.close()
		return nil, err
	}
	config, err := terraform.LoadConfig(dir, tool.Kind == terraform.OpenTofu)
	if err != nil {
		s.close()
		return nil, err
	}
	environ, err := a.clientEnv(ctx, s)
	if err != nil {
		s.close()
		return nil, err
	}
	out := &stack{session: s, config: config, close: s.close, runner: &terraform.Runner{
		Tool: tool, Stack: st, Clock: clock.NewAdjustable(0), Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr,
		Env: list(environ),
	}}
	if sf.provider == "registry" {
		return out, nil
	}
	major, err := config.AzurermMajor()
	if err != nil {
		s.close()
		return nil, err
	}
	p, err := provider.New(provider.Config{
		Major: major, HTTPClient: s.as.HTTP(), Token: s.as.Token,
		SubscriptionID: s.owner.SubscriptionID, TenantID: s.owner.TenantID, ClientID: s.caller.ClientID, ObjectID: s.caller.ObjectID,
		WorkDir: st.WorkDir(),
	})
	if err != nil {
		s.close()
		return nil, err
	}
	serving, err := p.Serve(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	out.close = func() { serving.Close(); s.close() }
	text, err := serving.Reattach()
	if err != nil {
		out.close()
		return nil, fmt.Errorf("serve the provider: %w", err)
	}
	out.runner.Reattach = text
	return out, nil
}

func checkStackDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return hint(fmt.Errorf("open stack: %w", err), "Give the directory that holds your .tf files.")
	}
	if !info.IsDir() {
		return usagef("%s is a file; give the directory that holds it", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open stack: %w", err)
	}
	for _, e := range entries {
		for _, suffix := range []string{".tf", ".tf.json", ".tofu", ".tofu.json"} {
			if strings.HasSuffix(e.Name(), suffix) {
				return nil
			}
		}
	}
	return hint(fmt.Errorf("%s has no Terraform files", dir), "Give the directory that holds your .tf files.")
}

func (a *app) up(ctx context.Context, dir string, sf stackFlags, serve serveFlags) error {
	st, err := a.openStack(ctx, dir, sf, serve)
	if err != nil {
		return err
	}
	defer st.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go a.keepServer(ctx, st.session, serve)

	p := &progress{app: a, style: a.style(a.stderr), quiet: a.output == "json"}
	start := time.Now()
	err = st.runner.Apply(ctx, terraform.ApplyOptions{Vars: sf.vars, VarFiles: sf.varFiles, Events: p.event})
	if err != nil {
		return a.applyError(ctx, st, p, err)
	}
	outputs, err := st.runner.Output(ctx)
	if err != nil {
		return err
	}
	found, err := a.findings(ctx, st)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.print("json", map[string]any{"changes": p.changes, "outputs": plainOutputs(outputs), "findings": found}, nil)
	}
	fmt.Fprintf(a.stdout, "%s %s (%s)\n", p.style.green("✓"), p.summary(), time.Since(start).Round(10*time.Millisecond))
	printOutputs(a.stdout, outputs)
	a.printFindings(found)
	return nil
}

// keepServer starts the server again if it dies while a stack is applied.
func (a *app) keepServer(ctx context.Context, s *session, serve serveFlags) {
	serve.listen = s.server.Address
	for ctx.Err() == nil {
		released := make(chan error, 1)
		go func() { released <- s.home.Released() }()
		select {
		case <-ctx.Done():
			return
		case err := <-released:
			if err != nil {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		a.step("the server ended; starting it again")
		if _, err := a.startServer(ctx, serve); err != nil {
			a.printError(err)
			return
		}
	}
}

// applyError is what to say when terraform failed: its own diagnostics were
// shown already.
func (a *app) applyError(ctx context.Context, st *stack, p *progress, err error) error {
	var exit *terraform.ExitError
	if !errors.As(err, &exit) || !p.failed {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	done := ""
	if p.changes.applied > 0 {
		done = fmt.Sprintf(" %s changed before that, and %s kept: mend the stack and run the same command again.", plural(p.changes.applied, "resource was", "resources were"), map[bool]string{true: "is", false: "are"}[p.changes.applied == 1])
	}
	code := exit.Code
	if code < 1 {
		code = exitFailure
	}
	return &exitError{code: code, err: fmt.Errorf("the stack was not applied whole.%s", done)}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func plainOutputs(outputs map[string]*tfjson.StateOutput) map[string]any {
	out := map[string]any{}
	for name, o := range outputs {
		if o.Sensitive {
			out[name] = "(sensitive)"
			continue
		}
		out[name] = o.Value
	}
	return out
}

func printOutputs(w io.Writer, outputs map[string]*tfjson.StateOutput) {
	if len(outputs) == 0 {
		return
	}
	plain := plainOutputs(outputs)
	width := 0
	for name := range plain {
		width = max(width, len(name))
	}
	fmt.Fprintln(w, "\nOutputs:")
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		v := plain[name]
		text, ok := v.(string)
		if !ok {
			b, err := json.Marshal(v)
			if err != nil {
				b = []byte("?")
			}
			text = string(b)
		}
		fmt.Fprintf(w, "  %-*s  %s\n", width, name, text)
	}
}

// finding is a preflight finding with the place in the user's files.
type finding struct {
	preflight.Finding
	Address string `json:"address,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
}

// findings asks the server what Azure would mind about this stack's resources.
func (a *app) findings(ctx context.Context, st *stack) ([]finding, error) {
	var answer struct{ Findings []preflight.Finding }
	if err := st.session.admin(ctx, http.MethodGet, "/v1/findings", nil, &answer); err != nil {
		return nil, fmt.Errorf("check the stack: %w", err)
	}
	if len(answer.Findings) == 0 {
		return []finding{}, nil
	}
	state, err := st.runner.ShowState(ctx)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{} // by lower-case resource ID
	if state.Values != nil {
		collectAddresses(state.Values.RootModule, addresses)
	}
	out := []finding{}
	for _, f := range answer.Findings {
		addr, ok := addresses[strings.ToLower(f.ResourceID)]
		if !ok {
			continue // not this stack's
		}
		item := finding{Finding: f, Address: addr}
		pos, ok := st.config.AttributePosition(addr, f.Argument)
		if !ok || f.Argument == "" {
			pos, ok = st.config.Position(addr)
		}
		if ok {
			item.File, item.Line = pos.File, pos.Line
		}
		out = append(out, item)
	}
	return out, nil
}

func collectAddresses(m *tfjson.StateModule, out map[string]string) {
	if m == nil {
		return
	}
	for _, r := range m.Resources {
		if id, ok := r.AttributeValues["id"].(string); ok && r.Mode == tfjson.ManagedResourceMode {
			out[strings.ToLower(id)] = r.Address
		}
	}
	for _, c := range m.ChildModules {
		collectAddresses(c, out)
	}
}

func (a *app) printFindings(found []finding) {
	if len(found) == 0 {
		return
	}
	st := a.style(a.stdout)
	refused := 0
	for _, f := range found {
		if f.Severity == preflight.Refused {
			refused++
		}
	}
	head := fmt.Sprintf("On Azure: %s", plural(len(found), "finding", "findings"))
	if refused > 0 {
		head += fmt.Sprintf(", of which Azure would refuse %d at create (--strict does, too)", refused)
	}
	fmt.Fprintf(a.stdout, "\n%s\n", st.bold(head+"."))
	for len(found) > 0 {
		// what is said alike of several resources is said once
		f := found[0]
		var same, rest []finding
		for _, g := range found {
			if g.Rule == f.Rule && g.Severity == f.Severity && g.Message == f.Message && g.Fix == f.Fix {
				same = append(same, g)
			} else {
				rest = append(rest, g)
			}
		}
		found = rest
		label := st.yellow(string(f.Severity))
		if f.Severity != preflight.Warning {
			label = st.red(string(f.Severity))
		}
		fmt.Fprintf(a.stdout, "\n  %s  [%s]\n", label, f.Rule)
		for _, g := range same {
			where := g.Address
			if g.File != "" {
				where = fmt.Sprintf("%s:%d %s", g.File, g.Line, g.Address)
			}
			fmt.Fprintf(a.stdout, "    %s\n", where)
		}
		msg := f.Message
		if f.Code != "" {
			msg = f.Code + ": " + msg
		}
		fmt.Fprintf(a.stdout, "    %s\n", msg)
		fmt.Fprintf(a.stdout, "    %s %s\n", st.bold("Fix:"), f.Fix)
	}
}
