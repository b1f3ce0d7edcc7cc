package terraform

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// realTool is the program that AZIMUTH_TERRAFORM names, or terraform or tofu on
// PATH. Where there is none the test is skipped, but not in CI.
func realTool(t *testing.T) Tool {
	t.Helper()
	for _, name := range []string{os.Getenv(PathVariable), "terraform", "tofu"} {
		if path, err := exec.LookPath(name); err == nil {
			tool, err := probe(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return tool
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("neither terraform nor tofu is on PATH")
	}
	t.Skip("neither terraform nor tofu is on PATH")
	return Tool{}
}

// testRunner returns a runner on files below a project directory, and what it
// prints.
func testRunner(t *testing.T, dir string, files map[string]string) (*Runner, *bytes.Buffer) {
	t.Helper()
	tool := realTool(t)
	out := &bytes.Buffer{}
	return &Runner{
		Tool: tool, Stack: newStack(t, dir, files), Clock: clock.NewAdjustable(0),
		Stdout: out, Stderr: out,
		// Nothing of the developer's own set-up.
		Env: []string{"TF_CLI_CONFIG_FILE=" + os.DevNull, "TF_CLI_ARGS=", "TF_WORKSPACE="},
	}, out
}

// unchanged returns a check that the user's directory is as it was.
func unchanged(t *testing.T, dir string) func() {
	t.Helper()
	before := listing(t, dir)
	return func() {
		t.Helper()
		if after := listing(t, dir); after != before {
			t.Errorf("the user's directory changed from\n%s\nto\n%s", before, after)
		}
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func apply(t *testing.T, r *Runner, out *bytes.Buffer, o ApplyOptions) string {
	t.Helper()
	out.Reset()
	if err := r.Apply(t.Context(), o); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	return out.String()
}

func output(t *testing.T, r *Runner, name string) any {
	t.Helper()
	outputs, err := r.Output(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if outputs[name] == nil {
		t.Fatalf("no output %q in %v", name, outputs)
	}
	return outputs[name].Value
}

const data = "resource \"terraform_data\" \"a\" {\n  input = var.v\n}\nvariable \"v\" {\n  default = \"default\"\n}\noutput \"v\" {\n  value = terraform_data.a.output\n}\n"

func TestApplyTwiceAndDestroy(t *testing.T) {
	r, out := testRunner(t, "", map[string]string{
		"main.tf": data, "terraform.tfstate": "not json", ".terraform/x": "", ".terraform.lock.hcl": "",
	})
	check := unchanged(t, r.Stack.Dir)
	if outputs, err := r.Output(t.Context()); err != nil || len(outputs) != 0 {
		t.Errorf("outputs before the first apply: %v, %v", outputs, err)
	}
	if got := apply(t, r, out, ApplyOptions{}); !strings.Contains(got, "1 added") {
		t.Errorf("first apply:\n%s", got)
	}
	if got := apply(t, r, out, ApplyOptions{}); !strings.Contains(got, "0 added, 0 changed, 0 destroyed") {
		t.Errorf("second apply:\n%s", got)
	}
	if got := output(t, r, "v"); got != "default" {
		t.Errorf("output %v", got)
	}
	state, err := r.ShowState(t.Context())
	if err != nil || len(state.Values.RootModule.Resources) != 1 {
		t.Errorf("state: %+v, %v", state, err)
	}
	for _, path := range []string{r.Stack.StatePath(), r.Stack.StatePath() + ".backup"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	out.Reset()
	if err := r.Destroy(t.Context(), ApplyOptions{}); err != nil || !strings.Contains(out.String(), "1 destroyed") {
		t.Errorf("destroy: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(r.Stack.Root, "init.sha256")); err == nil {
		t.Error("init ran for a stack that needs none")
	}
	check()
}

func TestVariables(t *testing.T) {
	r, out := testRunner(t, "stack", map[string]string{
		"stack/main.tf":     data,
		"elsewhere/x.hcl":   "v = \"file\"\n",
		"elsewhere/x.other": "",
	})
	r.Cwd = filepath.Join(filepath.Dir(r.Stack.Dir), "elsewhere")
	steps := []struct {
		files map[string]string
		o     ApplyOptions
		want  string
	}{
		{map[string]string{"terraform.tfvars": "v = \"tfvars\"\n"}, ApplyOptions{}, "tfvars"},
		{map[string]string{"z.auto.tfvars": "v = \"auto\"\n"}, ApplyOptions{}, "auto"},
		{nil, ApplyOptions{VarFiles: []string{"x.hcl"}}, "file"},
		{nil, ApplyOptions{VarFiles: []string{"x.hcl"}, Vars: []string{"v=flag"}}, "flag"},
		{nil, ApplyOptions{Extra: []string{"-var-file", "x.hcl"}}, "file"},
	}
	for _, step := range steps {
		writeFiles(t, r.Stack.Dir, step.files)
		apply(t, r, out, step.o)
		if got := output(t, r, "v"); got != step.want {
			t.Errorf("%+v gave %v, want %s", step.o, got, step.want)
		}
	}
}

func TestBackendsAreReplaced(t *testing.T) {
	backends := map[string]string{
		"s3":       "terraform {\n  backend \"s3\" {\n    bucket = \"b\"\n    key = \"k\"\n    region = \"r\"\n  }\n}\n",
		"azurerm":  "terraform {\n  backend \"azurerm\" {}\n}\n",
		"cloud":    "terraform {\n  cloud {\n    organization = \"o\"\n    workspaces {\n      name = \"w\"\n    }\n  }\n}\n",
		"override": "terraform {\n  backend \"s3\" {}\n}\n",
	}
	for name, text := range backends {
		t.Run(name, func(t *testing.T) {
			file := "backend.tf"
			if name == "override" {
				file = "z_override.tf"
			}
			r, out := testRunner(t, "", map[string]string{"main.tf": data, file: text})
			t.Setenv("TF_CLI_ARGS_init", "-backend-config=none.tfbackend")
			check := unchanged(t, r.Stack.Dir)
			apply(t, r, out, ApplyOptions{})
			before, err := os.Stat(filepath.Join(r.Stack.Root, "init.sha256"))
			if err != nil {
				t.Fatal(err)
			}
			if got := apply(t, r, out, ApplyOptions{}); !strings.Contains(got, "0 added") {
				t.Errorf("second apply:\n%s", got)
			}
			if after, err := os.Stat(filepath.Join(r.Stack.Root, "init.sha256")); err != nil || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("init ran again: %v", err)
			}
			check()

			// The block goes, and comes back: the state stays all the while.
			for _, step := range []func() error{
				func() error { return os.Remove(filepath.Join(r.Stack.Dir, file)) },
				func() error { return os.WriteFile(filepath.Join(r.Stack.Dir, file), []byte(text), 0o600) },
			} {
				if err := step(); err != nil {
					t.Fatal(err)
				}
				if got := apply(t, r, out, ApplyOptions{}); !strings.Contains(got, "0 added, 0 changed") {
					t.Errorf("after a change of the backend block:\n%s", got)
				}
			}
		})
	}
}

func TestModulesAndFilesBesideTheStack(t *testing.T) {
	r, out := testRunner(t, "env/dev", map[string]string{
		"env/dev/main.tf": `
module "x" { source = "../../modules/x" }
module "own" { source = "./own" }
output "x" { value = module.x.y }
output "own" { value = module.own.y }
output "root" { value = file("${path.module}/in.txt") }
output "plain" { value = file("../../top.txt") }
output "all" { value = fileset(path.module, "own/**") }
`,
		"env/dev/in.txt":          "in",
		"env/dev/own/main.tf":     "module \"inner\" {\n  source = \"../../../modules/x\"\n}\noutput \"y\" {\n  value = module.inner.y\n}\n",
		"modules/x/main.tf":       "module \"y\" {\n  source = \"../y\"\n}\noutput \"y\" {\n  value = \"${file(\"${path.module}/d.txt\")}${module.y.z}\"\n}\n",
		"modules/x/d.txt":         "data",
		"modules/y/main.tf":       "output \"z\" {\n  value = \"+y\"\n}\n",
		"top.txt":                 "top",
		"env/dev/own/deep/f.json": "{}",
	})
	check := unchanged(t, filepath.Dir(filepath.Dir(r.Stack.Dir)))
	apply(t, r, out, ApplyOptions{})
	for name, want := range map[string]string{"x": "data+y", "own": "data+y", "root": "in", "plain": "top"} {
		if got := output(t, r, name); got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	if got, ok := output(t, r, "all").([]any); !ok || len(got) != 2 {
		t.Errorf("fileset found %v", got)
	}
	check()

	// A module that is added needs another init, and gets it.
	writeFiles(t, r.Stack.Dir, map[string]string{"more.tf": "module \"more\" {\n  source = \"../../modules/y\"\n}\noutput \"more\" {\n  value = module.more.z\n}\n"})
	apply(t, r, out, ApplyOptions{})
	if got := output(t, r, "more"); got != "+y" {
		t.Errorf("added module gave %v", got)
	}
}

const groupStack = "terraform {\n  required_providers {\n    azurerm = {\n      source  = \"hashicorp/azurerm\"\n      version = \"~> 3.80\"\n    }\n  }\n}\nprovider \"azurerm\" {\n  features {}\n}\nresource \"azurerm_resource_group\" \"a\" {\n  name = \"a\"\n}\noutput \"id\" {\n  value = azurerm_resource_group.a.id\n}\n"

func TestServedProvider(t *testing.T) {
	for _, backend := range []string{"", "terraform {\n  backend \"azurerm\" {}\n}\n"} {
		r, out := testRunner(t, "", map[string]string{"main.tf": groupStack, "backend.tf": backend})
		r.Reattach = serveFake(t)
		// A proxy that answers nothing: whatever went to a registry would fail.
		r.Env = append(r.Env, "HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1")
		plan := filepath.Join(t.TempDir(), "plan")
		changes, err := r.Plan(t.Context(), plan, ApplyOptions{})
		if err != nil || !changes {
			t.Fatalf("plan: %v, %v\n%s", changes, err, out)
		}
		shown, err := r.ShowPlan(t.Context(), plan)
		if err != nil || len(shown.ResourceChanges) != 1 || shown.ResourceChanges[0].Address != "azurerm_resource_group.a" {
			t.Fatalf("plan shown: %+v, %v", shown, err)
		}
		var events []Event
		err = r.Apply(t.Context(), ApplyOptions{Events: func(e Event) { events = append(events, e) }})
		if err != nil {
			t.Fatalf("apply: %v\n%s", err, out)
		}
		done := false
		for _, e := range events {
			done = done || e.Type == "apply_complete" && e.Hook != nil && e.Hook.Resource.Addr == "azurerm_resource_group.a"
		}
		if !done {
			t.Errorf("no apply_complete in %+v", events)
		}
		if changes, err := r.Plan(t.Context(), plan, ApplyOptions{}); err != nil || changes {
			t.Errorf("plan after apply: %v, %v\n%s", changes, err, out)
		}
		if got := output(t, r, "id"); got != "/subscriptions/s/resourceGroups/a" {
			t.Errorf("id is %v", got)
		}
		if _, err := os.Stat(filepath.Join(r.Stack.WorkDir(), lockFileName)); err == nil {
			t.Error("a provider was locked")
		}
	}
}

func TestInitWithoutNetwork(t *testing.T) {
	r, _ := testRunner(t, "", map[string]string{"main.tf": groupStack})
	r.Env = append(r.Env, "HTTPS_PROXY=http://127.0.0.1:1", "TF_REGISTRY_DISCOVERY_RETRY=0", "TF_REGISTRY_CLIENT_TIMEOUT=1")
	err := r.Apply(t.Context(), ApplyOptions{})
	var failed *InitError
	if !errors.As(err, &failed) || !failed.Offline {
		t.Fatalf("got %v, want an offline *InitError", err)
	}
	for _, want := range []string{"provider hashicorp/azurerm", "network could not be reached", "providers mirror"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
}

func TestFaultsInTheFiles(t *testing.T) {
	tests := map[string]string{ // each fault is in line 2
		"syntax":    "\nresource \"terraform_data\" {\n",
		"reference": "output \"x\" {\n  value = local.nothing\n}\n",
		"fails":     "resource \"terraform_data\" \"a\" {\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			r, out := testRunner(t, "", map[string]string{"main.tf": text})
			err := r.Apply(t.Context(), ApplyOptions{})
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Code != 1 || !strings.HasSuffix(exit.Command, " apply") {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(out.String(), "Error: ") || !strings.Contains(out.String(), "main.tf line 2") {
				t.Errorf("terraform's own message is missing:\n%s", out)
			}
		})
	}
}

func TestPassthrough(t *testing.T) {
	r, out := testRunner(t, "", map[string]string{"main.tf": data, "sub/v.hcl": "v = \"from file\"\n"})
	r.Cwd = filepath.Join(r.Stack.Dir, "sub")
	tests := []struct {
		args   []string
		stdin  string
		status int
		want   string
	}{
		{[]string{"plan", "-detailed-exitcode", "-no-color", "-out=p.plan", "-var-file=v.hcl"}, "", 2, "1 to add"},
		{[]string{"apply", "-no-color", "p.plan"}, "", 0, "1 added"},
		{[]string{"output", "-raw", "v"}, "", 0, "from file"},
		{[]string{"state", "list"}, "", 0, "terraform_data.a"},
		{[]string{"console"}, "upper(var.v)\n", 0, "DEFAULT"},
		{[]string{"validate", "-no-color"}, "", 0, "valid"},
		{[]string{"no-such-command"}, "", 1, "no command named"},
		{[]string{"plan", "-no-such-flag"}, "", 1, "no-such-flag"},
	}
	for _, tt := range tests {
		out.Reset()
		r.Stdin = strings.NewReader(tt.stdin)
		status, err := r.Passthrough(t.Context(), tt.args)
		if err != nil || status != tt.status || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: status %d, %v\n%s", tt.args, status, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(r.Cwd, "p.plan")); err != nil {
		t.Errorf("the plan is not where the user asked for it: %v", err)
	}
}

// lineWaiter closes seen once a text has been written.
type lineWaiter struct {
	mu   sync.Mutex
	all  bytes.Buffer
	text string
	seen chan struct{}
}

func (w *lineWaiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	if w.text != "" && strings.Contains(w.all.String(), w.text) {
		w.text = ""
		close(w.seen)
	}
	return len(p), nil
}

// blocking is a stack whose apply waits until a file is removed.
func blocking(flag string) map[string]string {
	return map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {\n}\nresource \"terraform_data\" \"b\" {\n  depends_on = [terraform_data.a]\n  provisioner \"local-exec\" {\n    command = \"echo waiting; while [ -e " + flag + " ]; do sleep 0.05; done\"\n  }\n}\n"}
}

// A run that is cancelled stops in order: what was made is in the state.
func TestCancelledApplyKeepsItsState(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	writeFiles(t, filepath.Dir(flag), map[string]string{"flag": ""})
	r, _ := testRunner(t, "", blocking(flag))
	w := &lineWaiter{text: "waiting", seen: make(chan struct{})}
	r.Stdout, r.Stderr = w, w
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Apply(ctx, ApplyOptions{}) }()
	select {
	case <-w.seen:
	case err := <-done:
		t.Fatalf("ended early: %v\n%s", err, &w.all)
	}
	cancel()
	err := <-done
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		t.Fatalf("got %v\n%s", err, &w.all)
	}
	state, err := r.ShowState(t.Context())
	if err != nil || state.Values == nil || len(state.Values.RootModule.Resources) == 0 {
		t.Errorf("state after an interrupt: %+v, %v", state, err)
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), ApplyOptions{}); err != nil {
		t.Errorf("apply after an interrupt: %v\n%s", err, &w.all)
	}
}

// A terraform that is killed leaves no lock behind.
func TestKilledApplyDoesNotBlockTheNext(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	writeFiles(t, filepath.Dir(flag), map[string]string{"flag": ""})
	r, out := testRunner(t, "", blocking(flag))
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &lineWaiter{text: "waiting", seen: make(chan struct{})}
	cmd, err := r.command(invocation{args: []string{"apply", "-auto-approve"}, stdout: w, stderr: w})
	if err != nil {
		t.Fatal(err)
	}
	setProcessGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-w.seen
	kill(cmd)
	_ = cmd.Wait()
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), ApplyOptions{}); err != nil {
		t.Errorf("apply after a kill: %v\n%s", err, out)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TF_DATA_DIR", "theirs")
	t.Setenv("TF_REATTACH_PROVIDERS", "theirs")
	t.Setenv("TF_CLI_ARGS_init", "-backend-config=x")
	t.Setenv("TF_CLI_CONFIG_FILE", "rc.tfrc")
	t.Setenv("TF_VAR_kept", "yes")
	t.Setenv("CHECKPOINT_DISABLE", "")
	r := &Runner{Stack: newStack(t, "", map[string]string{"main.tf": ""}), Cwd: "/somewhere", Env: []string{"ARM_CLIENT_ID=a"}}
	for _, replaced := range []bool{false, true} {
		env, err := r.environment(replaced)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			got[name] = value
		}
		want := map[string]string{
			"TF_DATA_DIR": r.Stack.DataDir(), "TF_CLI_CONFIG_FILE": filepath.Join("/somewhere", "rc.tfrc"),
			"TF_VAR_kept": "yes", "ARM_CLIENT_ID": "a", "CHECKPOINT_DISABLE": "", "TF_CLI_ARGS_init": "-backend-config=x",
		}
		if replaced {
			delete(want, "TF_CLI_ARGS_init")
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
		if _, set := got["TF_REATTACH_PROVIDERS"]; set {
			t.Error("the developer's own reattach configuration was passed on")
		}
		if _, set := got["TF_CLI_ARGS_init"]; set == replaced {
			t.Errorf("arguments of init: set is %t", set)
		}
	}
}
