package terraform

import _ "embed"

// The module that pins OpenTofu for a build from source is tools/tofu, where
// dependency updates reach it. go:embed cannot read another module's files, so
// copies are here; a test holds them equal.

//go:embed tofu/go.mod.txt
var buildGoMod []byte

//go:embed tofu/go.sum.txt
var buildGoSum []byte

// buildModule returns the files of the module.
func buildModule() map[string][]byte {
	return map[string][]byte{"go.mod": buildGoMod, "go.sum": buildGoSum}
}
