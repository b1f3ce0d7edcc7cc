package test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docCommands are the command lines of a Markdown text: of its blocks that are
// fenced as sh or as nothing, or indented.
func docCommands(text string) (out []string) {
	const fence = "```"
	fenced, shell, indented := false, false, false
	blank := true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if info, ok := strings.CutPrefix(line, fence); ok {
			fenced, shell = !fenced, !fenced && (info == "" || info == "sh")
			blank = true
			continue
		}
		code, four := strings.CutPrefix(line, "    ")
		indented = four && (blank || indented)
		blank = strings.TrimSpace(line) == ""
		switch {
		case blank:
		case fenced && shell:
			out = append(out, line)
		case !fenced && indented:
			out = append(out, code)
		}
	}
	return out
}

func TestDocCommands(t *testing.T) {
	got := docCommands("a\n\n    one\n    two\nno\n    no\n\n```sh\nthree  # why\n\nfour\n```\n```\nfive\n```\n```text\nno\n```\n\n    six\n")
	if want := []string{"one", "two", "three  # why", "four", "five", "six"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// docNotRun are the lines that TestDocs cannot run, and why.
var docNotRun = map[string]string{
	"make test": "this test is part of it",
	"azimuth env --shell powershell | Invoke-Expression": "PowerShell; TestClientEnv in internal/clientenv reads its form",
	"terraform init": "on Azure",
	"podman build -t crmldevazm001.azurecr.io/train:1 .": "there may be no podman that works; TestRegistryImages pushes with it",
	"az acr login -n crmldevazm001 --expose-token --query accessToken -o tsv | podman login -u 00000000-0000-0000-0000-000000000000 --password-stdin crmldevazm001.azurecr.io": "as the line before",
	"podman push crmldevazm001.azurecr.io/train:1":                     "as the lines before",
	"terraform apply -var-file production.tfvars -var suffix=contoso1": "on Azure",
}

// docWords are what a reader puts in for the words of the docs.
func docWords(job, stack, dir string) *strings.Replacer {
	return strings.NewReplacer(
		"path/to/your/stack", stack,
		"OBJECT-ID", "00000000-0000-4000-8000-000000000001",
		" NAME", " "+job,
		" DIR", " "+dir,
		"-- python ", "-- python3 ",
		"| source", "| grep -q 'set -gx HTTPS_PROXY'",
	)
}

// TestDocs runs every command of the README and of the how-tos, as a reader of
// a fresh clone does.
func TestDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole examples")
	}
	needTerraform(t)
	for _, program := range []string{"az", "make", "bash", "python3", "jupyter-notebook"} {
		need(t, program)
	}
	clone := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", `cd .. && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0"`, clone).CombinedOutput()
	if err != nil {
		t.Fatalf("copy the repository: %v\n%s", err, out)
	}
	// Less training; all else as it is.
	edit(t, filepath.Join(clone, "examples/train/job.yml"), `epochs: 30`, `epochs: 2`)
	edit(t, filepath.Join(clone, "examples/train/train.py"), `"--epochs", type=int, default=30`, `"--epochs", type=int, default=2`)

	e := newEnv(t)
	stack := write(t, map[string]string{"main.tf": `
provider "azurerm" {
  features {}
}
resource "azurerm_resource_group" "mine" {
  name     = "rg-mine"
  location = "westeurope"
}
`})
	bin := filepath.Join(clone, "bin")
	shell := func(t *testing.T, dir, line string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(e.environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\nof the script:\n%s", err, out, line)
		}
	}
	shell(t, clone, "make build")

	var docs []string
	for _, pattern := range []string{"README.md", "docs/howto/*.md", "examples/*/README.md", "docs/coverage/README.md"} {
		found, err := fs.Glob(os.DirFS(clone), pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		docs = append(docs, found...)
	}
	// What a reader has who brings clients: a stack that terraform can plan without
	// providers, a script.
	plain := write(t, map[string]string{
		"main.tf":                  "resource \"terraform_data\" \"mine\" {\n}\n",
		"my_azure_ai_ml_script.py": "import os\nos.environ['HTTPS_PROXY']\n",
	})
	standing := map[string]bool{}
	for _, doc := range docs {
		text, err := os.ReadFile(filepath.Join(clone, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range docCommands(string(text)) {
			standing[strings.TrimSpace(line)] = true
		}
		dir := clone
		switch {
		case strings.HasPrefix(doc, "examples/train/"):
			dir = filepath.Dir(filepath.Join(clone, doc))
		case doc == "docs/howto/clients.md":
			dir = plain
		}
		t.Run(strings.ReplaceAll(doc, "/", "_"), func(t *testing.T) {
			shell(t, clone, "azimuth up examples/workspace")
			const job = "docs-job"
			if strings.Contains(string(text), " NAME") && e.try("ml", "job", "show", "-n", job).code != 0 {
				e.run("ml", "job", "create", "-f", filepath.Join(clone, "examples/train/job.yml"), "-n", job, "--stream")
			}
			script := []string{}
			words := docWords(job, stack, t.TempDir())
			for _, line := range docCommands(string(text)) {
				line = strings.TrimRight(regexp.MustCompile(`\s+#.*$`).ReplaceAllString(line, ""), " ")
				if _, ok := docNotRun[line]; ok {
					continue
				}
				// One shell for a document, since a line may need what the one before
				// it left; each line's end is checked.
				script = append(script, "echo '$' "+quote(line), words.Replace(line))
			}
			shell(t, dir, strings.Join(script, "\n"))
		})
	}
	for line := range docNotRun {
		if !standing[line] {
			t.Errorf("%q stands in no document any more", line)
		}
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func edit(t *testing.T, path, old, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%s does not say %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, text, 1)), 0o666); err != nil {
		t.Fatal(err)
	}
}
