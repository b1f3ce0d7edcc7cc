package environment

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// condaFile is what a conda environment file asks for. Azure ML's condaFile
// property is the text of one. The format is conda's: "Creating an environment
// file manually" in its user guide.
type condaFile struct {
	channels []string
	packages []string // as conda writes them, python and pip among them
	pip      []string // lines of a requirements file
}

// parseConda reads a conda environment file. Its name and prefix do not matter.
func parseConda(text string) (*condaFile, error) {
	var doc struct {
		Channels     []string    `yaml:"channels"`
		Dependencies []yaml.Node `yaml:"dependencies"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("the conda file is not valid YAML: %w", err)
	}
	f := &condaFile{channels: doc.Channels}
	for _, n := range doc.Dependencies {
		switch n.Kind {
		case yaml.ScalarNode:
			f.packages = append(f.packages, strings.TrimSpace(n.Value))
		case yaml.MappingNode:
			var group map[string][]string
			if err := n.Decode(&group); err != nil {
				return nil, fmt.Errorf("line %d of the conda file: %w", n.Line, err)
			}
			for name, lines := range group {
				if name != "pip" {
					return nil, fmt.Errorf("line %d of the conda file: %q is no kind of dependency; conda knows pip", n.Line, name)
				}
				f.pip = append(f.pip, lines...)
			}
		default:
			return nil, fmt.Errorf("line %d of the conda file: a dependency is a package or a list for pip", n.Line)
		}
	}
	for _, line := range append(f.packages[:len(f.packages):len(f.packages)], f.pip...) {
		if line == "" || strings.ContainsAny(line, "\n\r\x00") {
			return nil, errors.New("the conda file has a dependency that is empty or has several lines")
		}
	}
	return f, nil
}

// python is the version that a conda file asks for, such as "3.10", or "".
func (f *condaFile) python() string {
	for _, p := range f.packages {
		if name, version := splitPackage(p); name == "python" {
			return strings.TrimSuffix(strings.TrimLeft(version, "=<>!~ "), ".*")
		}
	}
	return ""
}

// requirements are the packages for pip, and notes on what was translated. What
// conda and PyPI call differently, except for a few well-known names, pip does
// not find, and says so.
func (f *condaFile) requirements() (lines, notes []string) {
	for _, p := range f.packages {
		name, version := splitPackage(p)
		switch name {
		case "python", "pip":
			continue
		case "pytorch":
			name = "torch"
		case "matplotlib-base":
			name = "matplotlib"
		}
		line := name + pipVersion(version)
		lines = append(lines, line)
		notes = append(notes, fmt.Sprintf("conda's %s is taken from pip as %s", p, line))
	}
	return append(lines, f.pip...), notes
}

// splitPackage takes "channel::name=1.2=build" or "name >=1.2" apart. The build
// is left out.
func splitPackage(p string) (name, version string) {
	if _, after, ok := strings.Cut(p, "::"); ok {
		p = after
	}
	i := strings.IndexAny(p, "=<>!~ [")
	if i < 0 {
		return strings.ToLower(p), ""
	}
	name, version = strings.ToLower(p[:i]), strings.TrimSpace(p[i:])
	if version, ok := strings.CutPrefix(version, "="); ok && !strings.HasPrefix(version, "=") {
		version, _, _ = strings.Cut(version, "=")
		return name, "=" + strings.TrimSpace(version)
	}
	return name, version
}

// pipVersion is conda's "=1.2" or " 1.2", any version that begins with 1.2, for pip.
func pipVersion(v string) string {
	switch {
	case strings.HasPrefix(v, "=") && !strings.HasPrefix(v, "=="):
		v = v[1:]
	case v == "" || v[0] < '0' || v[0] > '9' || strings.ContainsAny(v, ",|"):
		return v // an operator that both have, or for pip to refuse
	}
	return "==" + strings.TrimSuffix(strings.TrimSuffix(v, "*"), ".") + ".*"
}
