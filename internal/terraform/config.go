package terraform

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
)

// Pos is a place in one of the user's files.
type Pos struct {
	// File is the path under the directory that LoadConfig was given, in the
	// form in which it was given.
	File string
	// Line counts from 1.
	Line int
}

// String returns FILE:LINE.
func (p Pos) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Config is what the files of a stack say: its root module and every local
// module reached from it. Modules from a registry or another remote source are
// named in Calls but not read.
type Config struct {
	// Modules holds the root first; a module called several times is there once
	// for each address.
	Modules []*Module
	// Diagnostics is what the parser found wrong. The rest of Config holds what
	// could be read all the same; terraform itself reports the faults.
	Diagnostics hcl.Diagnostics
}

// Module is one module of a stack.
type Module struct {
	// Address is empty for the root, else like "module.net.module.subnets".
	Address string
	// Dir is the module's directory.
	Dir string
	// Requirements are the entries of required_providers.
	Requirements []Requirement
	// Calls are the module blocks.
	Calls []Call
	// Backends are the backend and cloud blocks.
	Backends []Block
	// Blocks are the resource, data, ephemeral, module, provider, variable and
	// output blocks.
	Blocks []Block
}

// Requirement is an entry of required_providers, or the version argument of a
// provider block.
type Requirement struct {
	// Name is the module's own name for the provider.
	Name string
	// Source is the source address as written, "" when left out.
	Source string
	// Version is the constraint as written, "" when left out.
	Version string
	// Pos is where the constraint, or else the entry, stands.
	Pos Pos
}

// Call is a module block.
type Call struct {
	Name, Source, Version string
	Pos                   Pos
}

// Local reports whether the called module is a directory beside the caller.
func (c Call) Local() bool {
	return strings.HasPrefix(c.Source, "./") || strings.HasPrefix(c.Source, "../") ||
		strings.HasPrefix(c.Source, `.\`) || strings.HasPrefix(c.Source, `..\`)
}

// Block is a block of a module and where it begins.
type Block struct {
	// Address is relative to the module: "azurerm_x.y", "data.azurerm_x.y",
	// "var.x", "output.x", "module.x", "provider.azurerm", "backend.s3", "cloud".
	Address string
	// Type is the resource type for resources, data sources and ephemeral
	// resources, and the label for backend and provider blocks.
	Type string
	Pos  Pos

	provider string
	body     hcl.Body
}

// LoadConfig reads the stack in dir. With tofu it reads .tofu files as OpenTofu
// does. It fails only when the directory cannot be read; faults in the files are
// left for terraform to report.
func LoadConfig(dir string, tofu bool) (*Config, error) {
	l := &configLoader{parser: hclparse.NewParser(), tofu: tofu, config: &Config{}}
	if err := l.module("", dir, nil); err != nil {
		return nil, err
	}
	return l.config, nil
}

// maxModules ends the reading of a stack that can only be a mistake.
const maxModules = 5000

type configLoader struct {
	parser *hclparse.Parser
	tofu   bool
	config *Config
}

// module reads a module and those it calls. callers are the directories of the
// modules on the way to it: one that calls itself is read once, and refused by
// terraform.
func (l *configLoader) module(address, dir string, callers []string) error {
	files, err := configFiles(dir, l.tofu)
	if err != nil {
		return fmt.Errorf("read module directory: %w", err)
	}
	m := &Module{Address: address, Dir: dir}
	l.config.Modules = append(l.config.Modules, m)
	for _, file := range files {
		l.file(m, file)
	}
	callers = append(slices.Clip(callers), filepath.Clean(dir))
	for _, call := range m.Calls {
		if !call.Local() {
			continue
		}
		child := filepath.Join(dir, filepath.FromSlash(call.Source))
		if slices.Contains(callers, child) || len(l.config.Modules) >= maxModules {
			continue
		}
		if info, err := os.Stat(child); err != nil || !info.IsDir() {
			continue // terraform names the call and the missing directory
		}
		if err := l.module(joinAddress(address, "module."+call.Name), child, callers); err != nil {
			return err
		}
	}
	return nil
}

// configFiles lists the files of a module that terraform, or OpenTofu, loads:
// primary files first, then override files, each in order of name.
func configFiles(dir string, tofu bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	present := make(map[string]bool, len(entries))
	for _, e := range entries {
		present[e.Name()] = true
	}
	var primary, override []string
	for _, e := range entries {
		name := e.Name()
		stem, isJSON, isTofu, ok := configName(name)
		if !ok || e.IsDir() || (isTofu && !tofu) {
			continue
		}
		if tofu && !isTofu {
			// main.tofu takes the place of main.tf.
			twin := stem + ".tofu"
			if isJSON {
				twin += ".json"
			}
			if present[twin] {
				continue
			}
		}
		path := filepath.Join(dir, name)
		if stem == "override" || strings.HasSuffix(stem, "_override") {
			override = append(override, path)
		} else {
			primary = append(primary, path)
		}
	}
	sort.Strings(primary)
	sort.Strings(override)
	return append(primary, override...), nil
}

// configName splits the name of a configuration file.
func configName(name string) (stem string, isJSON, isTofu, ok bool) {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return "", false, false, false
	}
	for _, ext := range []struct {
		suffix       string
		isJSON, tofu bool
	}{{".tf", false, false}, {".tf.json", true, false}, {".tofu", false, true}, {".tofu.json", true, true}} {
		if stem, found := strings.CutSuffix(name, ext.suffix); found {
			return stem, ext.isJSON, ext.tofu, true
		}
	}
	return "", false, false, false
}

// rootSchema and terraformSchema are read only.
var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "terraform"},
	{Type: "provider", LabelNames: []string{"name"}},
	{Type: "resource", LabelNames: []string{"type", "name"}},
	{Type: "data", LabelNames: []string{"type", "name"}},
	{Type: "ephemeral", LabelNames: []string{"type", "name"}},
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "output", LabelNames: []string{"name"}},
}}

var terraformSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "required_providers"},
	{Type: "backend", LabelNames: []string{"type"}},
	{Type: "cloud"},
}}

func (l *configLoader) file(m *Module, path string) {
	var f *hcl.File
	var diags hcl.Diagnostics
	if strings.HasSuffix(path, ".json") {
		f, diags = l.parser.ParseJSONFile(path)
	} else {
		f, diags = l.parser.ParseHCLFile(path)
	}
	l.config.Diagnostics = append(l.config.Diagnostics, diags...)
	if f == nil || f.Body == nil {
		return
	}
	content, _, diags := f.Body.PartialContent(rootSchema)
	l.config.Diagnostics = append(l.config.Diagnostics, diags...)
	for _, b := range content.Blocks {
		l.block(m, b)
	}
}

func (l *configLoader) block(m *Module, b *hcl.Block) {
	block := Block{Pos: posOf(b.DefRange), body: b.Body}
	switch b.Type {
	case "terraform":
		l.settings(m, b.Body)
		return
	case "provider":
		block.Address, block.Type = "provider."+b.Labels[0], b.Labels[0]
		if v, pos := stringArgument(b.Body, "version"); v != "" {
			m.Requirements = append(m.Requirements, Requirement{Name: b.Labels[0], Version: v, Pos: pos})
		}
	case "resource":
		block.Address, block.Type = b.Labels[0]+"."+b.Labels[1], b.Labels[0]
	case "data", "ephemeral":
		block.Address, block.Type = b.Type+"."+b.Labels[0]+"."+b.Labels[1], b.Labels[0]
	case "module":
		block.Address = "module." + b.Labels[0]
		call := Call{Name: b.Labels[0], Pos: block.Pos}
		call.Source, _ = stringArgument(b.Body, "source")
		call.Version, _ = stringArgument(b.Body, "version")
		m.Calls = append(m.Calls, call)
	case "variable":
		block.Address = "var." + b.Labels[0]
	case "output":
		block.Address = "output." + b.Labels[0]
	}
	if b.Type == "resource" || b.Type == "data" || b.Type == "ephemeral" {
		block.provider = providerName(b.Body, block.Type)
	}
	m.Blocks = append(m.Blocks, block)
}

func (l *configLoader) settings(m *Module, body hcl.Body) {
	content, _, _ := body.PartialContent(terraformSchema)
	for _, b := range content.Blocks {
		switch b.Type {
		case "backend":
			m.Backends = append(m.Backends, Block{Address: "backend." + b.Labels[0], Type: b.Labels[0], Pos: posOf(b.DefRange)})
		case "cloud":
			m.Backends = append(m.Backends, Block{Address: "cloud", Pos: posOf(b.DefRange)})
		case "required_providers":
			attrs, _ := b.Body.JustAttributes()
			for _, a := range attrs {
				m.Requirements = append(m.Requirements, requirement(a))
			}
			sort.Slice(m.Requirements, func(i, j int) bool {
				return m.Requirements[i].Pos.Line < m.Requirements[j].Pos.Line
			})
		}
	}
}

// requirement reads `name = "~> 3.0"` and `name = { source = …, version = … }`.
// configuration_aliases holds references, so the object is not evaluated whole.
func requirement(a *hcl.Attribute) Requirement {
	r := Requirement{Name: a.Name, Pos: posOf(a.NameRange)}
	if v, diags := a.Expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		r.Version, r.Pos = v.AsString(), posOf(a.Expr.Range())
		return r
	}
	pairs, diags := hcl.ExprMap(a.Expr)
	if diags.HasErrors() {
		return r
	}
	for _, kv := range pairs {
		k := hcl.ExprAsKeyword(kv.Key)
		if k == "" {
			if v, diags := kv.Key.Value(nil); !diags.HasErrors() && v.Type() == cty.String {
				k = v.AsString()
			}
		}
		v, diags := kv.Value.Value(nil)
		if diags.HasErrors() || v.IsNull() || v.Type() != cty.String {
			continue
		}
		switch k {
		case "source":
			r.Source = v.AsString()
		case "version":
			r.Version, r.Pos = v.AsString(), posOf(kv.Value.Range())
		}
	}
	return r
}

// providerName is the module's own name for the provider of a resource: that of
// its provider argument, else what its type begins with.
func providerName(body hcl.Body, resourceType string) string {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "provider"}}})
	if a := content.Attributes["provider"]; a != nil {
		if t, diags := hcl.AbsTraversalForExpr(a.Expr); !diags.HasErrors() {
			return t.RootName()
		}
	}
	name, _, _ := strings.Cut(resourceType, "_")
	return name
}

// stringArgument reads an argument that is a literal string.
func stringArgument(body hcl.Body, name string) (string, Pos) {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	a := content.Attributes[name]
	if a == nil {
		return "", Pos{}
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return "", Pos{}
	}
	return v.AsString(), posOf(a.Expr.Range())
}

func posOf(r hcl.Range) Pos { return Pos{File: r.Filename, Line: r.Start.Line} }

func joinAddress(module, rest string) string {
	if module == "" {
		return rest
	}
	return module + "." + rest
}
