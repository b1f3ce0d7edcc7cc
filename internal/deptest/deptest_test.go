package deptest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/azimuth-ml/azimuth"

type pkg struct {
	ImportPath  string
	Dir         string
	GoFiles     []string
	Imports     []string
	TestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// rule forbids imports. A pattern matches a path and everything below it.
type rule struct {
	from    string   // packages that the rule is about, below the module
	except  []string // of these, the ones it is not about
	forbid  []string
	because string
}

func rules() []rule {
	in := func(names ...string) []string {
		for i, n := range names {
			names[i] = module + "/internal/" + n
		}
		return names
	}
	upper := in("server", "cli")
	return []rule{
		{from: "internal/arm", forbid: append(in("rp", "rbac", "entra", "blob", "ml", "mlflow", "compute", "gateway", "preflight", "terraform", "client"), upper...),
			because: "the kernel knows no resource provider and no service"},
		{from: "internal/store", forbid: append(in("arm", "entra", "rbac"), upper...), because: "the store knows nothing of what it stores"},
		{from: "internal/clock", forbid: in(""), because: "the clock stands on nothing"},
		{from: "internal/compute", forbid: append(in("arm", "rp", "ml", "blob", "entra", "rbac"), upper...), because: "the engine runs work; it knows no Azure"},
		{from: "internal/entra", forbid: append(in("arm", "rp", "ml", "blob", "rbac"), upper...), because: "identity stands below the services"},
		{from: "internal/blob", forbid: append(in("arm", "rp", "ml", "rbac", "compute"), upper...), because: "data planes meet the rest at interfaces of their own"},
		{from: "internal/storage", forbid: append(in("arm", "rp", "ml", "rbac", "compute", "blob"), upper...), because: "it is below the data planes"},
		{from: "internal/oci", forbid: append(in("arm", "rp", "ml", "rbac", "entra", "compute", "blob"), upper...), because: "data planes meet the rest at interfaces of their own"},
		{from: "internal/files", forbid: append(in("arm", "rp", "ml", "rbac", "compute", "blob", "fileshare"), upper...), because: "data planes meet the rest at interfaces of their own"},
		{from: "internal/queue", forbid: append(in("arm", "rp", "ml", "rbac", "compute", "blob"), upper...), because: "data planes meet the rest at interfaces of their own"},
		{from: "internal/table", forbid: append(in("arm", "rp", "ml", "rbac", "compute", "blob"), upper...), because: "data planes meet the rest at interfaces of their own"},
		{from: "internal/rp", forbid: append(in("blob", "compute", "entra", "ml", "gateway"), upper...), because: "resource providers meet engines at interfaces of their own"},
		{from: "internal/server", forbid: in("cli"), because: "arrows point one way"},
		{from: "internal", except: []string{"internal/terraform", "internal/cli"}, forbid: []string{
			"github.com/hashicorp/terraform-plugin-go", "github.com/hashicorp/terraform-json", "github.com/hashicorp/hcl", "github.com/opentofu",
		}, because: "the Terraform libraries stay in internal/terraform (and the commands that show its answers)"},
		{from: "internal", except: []string{"internal/compute/kubernetes"}, forbid: []string{"k8s.io"}, because: "the Kubernetes client stays in its runner"},
		{from: "internal", except: []string{"internal/store/sqlite"}, forbid: []string{"modernc.org/sqlite"}, because: "the database stays behind the store"},
		{from: "internal", except: []string{"internal/cli"}, forbid: []string{"github.com/spf13/cobra"}, because: "the command line stays in internal/cli"},
	}
}

func below(p, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

func TestArrowsPointOneWay(t *testing.T) {
	all := packages(t)
	for _, r := range rules() {
		for _, p := range all {
			rel := strings.TrimPrefix(p.ImportPath, module+"/")
			if !below(rel, r.from) || slices.ContainsFunc(r.except, func(e string) bool { return below(rel, e) }) {
				continue
			}
			for _, imp := range p.Imports {
				for _, f := range r.forbid {
					if below(imp, f) && !below(imp, module+"/"+r.from) {
						t.Errorf("%s imports %s: %s", rel, imp, r.because)
					}
				}
			}
		}
	}
}

// TestHabits holds what no linter of ours does: one package comment each, no
// init, no mutable package variables that are written to by name convention, no
// os.Exit outside main, and no catch-all packages.
func TestHabits(t *testing.T) {
	for _, p := range packages(t) {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, bad := range []string{"pkg", "util", "utils", "common", "helpers"} {
			if slices.Contains(strings.Split(rel, "/"), bad) {
				t.Errorf("%s: no package is called %s", rel, bad)
			}
		}
		comments := 0
		fset := token.NewFileSet()
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, path.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				comments++
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Name.Name == "init" && n.Recv == nil {
						t.Errorf("%s: init()", fset.Position(n.Pos()))
					}
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "os" && n.Sel.Name == "Exit" && !below(rel, "cmd") {
						t.Errorf("%s: os.Exit outside main", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
		if len(p.GoFiles) > 0 && comments != 1 {
			t.Errorf("%s has %d package comments, want 1", rel, comments)
		}
	}
}
