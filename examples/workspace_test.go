package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/terraform"
	"github.com/azimuth-ml/azimuth/internal/terraform/provider"
)

// tool finds terraform, or else tofu.
func tool(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"terraform", "tofu"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("neither terraform nor tofu is installed")
	return ""
}

// stack copies the workspace stack, for azurerm 3.x if major is 3.
func stack(t *testing.T, major int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("workspace")); err != nil {
		t.Fatal(err)
	}
	if major == 3 {
		files, err := filepath.Glob("workspace/azurerm-3.x/*.tf")
		if err != nil || len(files) == 0 {
			t.Fatalf("no files for azurerm 3.x: %v", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestWorkspaceIsFormatted(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), tool(t), "fmt", "-check", "-diff", "-recursive", "workspace")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWorkspaceProviderVersions(t *testing.T) {
	for major, want := range map[int]int{3: 3, 5: 5} {
		c, err := terraform.LoadConfig(stack(t, major), false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.AzurermMajor(); err != nil || got != want {
			t.Errorf("written for azurerm %d (%v), want %d", got, err, want)
		}
	}
}

// inStack prepares a terraform command in a copy of the stack, with azurerm's
// schemas of a major version and no cloud behind them.
func inStack(t *testing.T, major int, args ...string) *exec.Cmd {
	t.Helper()
	bin := tool(t)
	p, err := provider.New(provider.Config{
		Major: major, HTTPClient: http.DefaultClient,
		Token:          func(context.Context, string) (string, error) { return "", errors.New("no cloud in this test") },
		SubscriptionID: "00000000-0000-0000-0000-000000000001", TenantID: "00000000-0000-0000-0000-0000000000aa",
		ClientID: "00000000-0000-0000-0000-0000000000bb", ObjectID: "00000000-0000-0000-0000-0000000000cc",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	reattach, err := s.Reattach()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Dir = stack(t, major)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, provider.EnvReattach + "=" + reattach}
	return cmd
}

// TestWorkspaceIsValid runs terraform validate against the schemas of every
// major version of azurerm.
func TestWorkspaceIsValid(t *testing.T) {
	for _, major := range []int{3, 4, 5} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			out, err := inStack(t, major, "validate", "-json").Output()
			var result struct {
				Valid       bool `json:"valid"`
				Diagnostics []struct {
					Severity, Summary, Detail string
					Range                     struct {
						Filename string
						Start    struct{ Line int }
					}
				} `json:"diagnostics"`
			}
			if jsonErr := json.Unmarshal(out, &result); jsonErr != nil {
				t.Fatalf("%v: %v\n%s", err, jsonErr, out)
			}
			// Deprecated arguments are warnings, and count as well.
			for _, d := range result.Diagnostics {
				t.Errorf("%s:%d: %s: %s: %s", d.Range.Filename, d.Range.Start.Line, d.Severity, d.Summary, d.Detail)
			}
			if !result.Valid {
				t.Error("not valid")
			}
		})
	}
}

// TestWorkspacePlans makes the plan of every environment.
func TestWorkspacePlans(t *testing.T) {
	const user = "-var=data_scientist_object_id=00000000-0000-0000-0000-0000000000dd"
	for _, c := range []struct {
		major int
		args  []string
		want  string
	}{
		{5, nil, "Plan: 28 to add, 0 to change, 0 to destroy."},
		{5, []string{"-var-file=dev.tfvars", user}, "Plan: 29 to add, 0 to change, 0 to destroy."},
		{5, []string{"-var-file=staging.tfvars"}, "Plan: 29 to add, 0 to change, 0 to destroy."},
		{5, []string{"-var-file=production.tfvars"}, "Plan: 29 to add, 0 to change, 0 to destroy."},
		{4, []string{"-var-file=production.tfvars", user}, "Plan: 30 to add, 0 to change, 0 to destroy."},
		{3, []string{"-var-file=production.tfvars", user}, "Plan: 30 to add, 0 to change, 0 to destroy."},
	} {
		t.Run(strings.Join(append([]string{strconv.Itoa(c.major)}, c.args...), " "), func(t *testing.T) {
			cmd := inStack(t, c.major, append([]string{"plan", "-no-color", "-input=false"}, c.args...)...)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want %q\n%s", err, c.want, out)
			}
		})
	}
}

// console evaluates an expression in the stack.
func console(t *testing.T, expression string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t), append([]string{"console"}, args...)...)
	cmd.Dir = t.TempDir()
	// The variables alone: the console wants providers for everything else.
	text, err := os.ReadFile("workspace/variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cmd.Dir, "variables.tf"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	cmd.Stdin = strings.NewReader("jsonencode(" + expression + ")\n")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

const everyVariable = "[var.environment, var.suffix, var.location, var.clusters, var.data_scientist_object_id, " +
	"var.registry_sku, var.purge_protection, var.soft_delete_days, var.log_retention_days, var.address_space, var.tags]"

func tfvars(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("workspace", name))
	if err != nil {
		t.Fatal(err)
	}
	return "-var-file=" + path
}

func TestDevIsTheDefault(t *testing.T) {
	defaults, err := console(t, everyVariable)
	if err != nil {
		t.Fatalf("%v\n%s", err, defaults)
	}
	dev, err := console(t, everyVariable, tfvars(t, "dev.tfvars"))
	if err != nil {
		t.Fatalf("%v\n%s", err, dev)
	}
	if defaults != dev {
		t.Errorf("without arguments\n%s\nand with dev.tfvars\n%s", defaults, dev)
	}
	if !strings.Contains(dev, "cpu-cluster") {
		t.Errorf("variables %s", dev)
	}
}

func TestVariables(t *testing.T) {
	for _, env := range []string{"staging", "production"} {
		if out, err := console(t, "var.environment", tfvars(t, env+".tfvars")); err != nil || !strings.Contains(out, env) {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
	for arg, want := range map[string]string{
		"environment=test":                         "must be dev, staging or production",
		"suffix=Contoso":                           "3 to 8 lower-case letters",
		"location=East US":                         "without spaces",
		"data_scientist_object_id=me":              "must be a GUID",
		"registry_sku=Gold":                        "Basic, Standard or Premium",
		"soft_delete_days=3":                       "7 to 90 days",
		"log_retention_days=7":                     "30 to 730 days",
		"address_space=172.17.0.0/16":              "other than 172.17.0.0/16",
		"address_space=10.1.0.0/28":                "such as 10.1.0.0/16",
		`clusters={gpu={vm_size="S",max_nodes=1}}`: "There must be a cpu-cluster",
		`clusters={cpu-cluster={vm_size="S",max_nodes=1,min_nodes=2}}`:                  "min_nodes <= max_nodes",
		`clusters={cpu-cluster={vm_size="S",max_nodes=1,idle="15m"}}`:                   "ISO 8601",
		`clusters={cpu-cluster={vm_size="S",max_nodes=1,priority="Spot"}}`:              "Dedicated or LowPriority",
		`clusters={cpu-cluster={vm_size="S",max_nodes=1},x-={vm_size="S",max_nodes=1}}`: "A cluster name has",
	} {
		out, err := console(t, "1", "-var", arg)
		flat := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ").Replace(out)), " ")
		if err == nil && !strings.Contains(flat, "Invalid value for variable") || !strings.Contains(flat, want) {
			t.Errorf("-var %s: %v, want %q\n%s", arg, err, want, out)
		}
	}
}
