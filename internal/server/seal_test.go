package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAllThatIsSealedIsNamed: a package that seals values names their places, and
// sealedPlaces has them. What it forgets is lost when the home's key is rotated.
func TestAllThatIsSealedIsNamed(t *testing.T) {
	seals, names := map[string]bool{}, map[string]bool{}
	fset := token.NewFileSet()
	if err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		dir := filepath.Dir(path)
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || dir == "../seal" || dir == "../server" {
			return err
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names[dir] = names[dir] || n.Recv == nil && n.Name.Name == "SealedPlaces"
			case *ast.CallExpr:
				s, ok := n.Fun.(*ast.SelectorExpr)
				seals[dir] = seals[dir] || ok && s.Sel.Name == "Seal" && len(n.Args) == 1
			}
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile("seal.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for dir := range seals {
		if !seals[dir] {
			continue
		}
		found++
		if !names[dir] || !strings.Contains(string(all), filepath.Base(dir)+".SealedPlaces()") {
			t.Errorf("internal/%s seals values: it has to have SealedPlaces, and sealedPlaces has to call it", strings.TrimPrefix(dir, "../"))
		}
	}
	if found < 4 {
		t.Errorf("only %d packages seal values; does this test still see them?", found)
	}
}
