package terraform

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"
)

// azurermMajors are the majors of hashicorp/azurerm that Azimuth serves, newest
// first, each with the newest release its schemas were taken from.
func azurermMajors() []azurermRelease {
	return []azurermRelease{{5, "5.2.0"}, {4, "4.81.0"}, {3, "3.117.1"}}
}

type azurermRelease struct {
	major  int
	newest string
}

// AzurermMajor tells which major of hashicorp/azurerm the stack is written for:
// the newest of 5, 4 and 3 that the version constraints of its root and local
// modules allow together, and 5 where there are none. A constraint that cannot
// be read, or that allows none, is a *ConfigError.
func (c *Config) AzurermMajor() (int, error) {
	var reqs []Requirement
	var all version.Constraints
	for _, m := range c.Modules {
		for _, r := range m.Requirements {
			if r.Version == "" || m.sourceOf(r.Name) != azurermSource {
				continue
			}
			parsed, err := version.NewConstraint(r.Version)
			if err != nil {
				return 0, &ConfigError{Pos: r.Pos, Message: fmt.Sprintf("azurerm version constraint %q is not valid", r.Version)}
			}
			reqs = append(reqs, r)
			all = append(all, parsed...)
		}
	}
	for _, release := range azurermMajors() {
		if len(all) == 0 || allowsMajor(all, reqs, release) {
			return release.major, nil
		}
	}
	message := fmt.Sprintf("azurerm version constraint %q allows no 3.x, 4.x or 5.x, which are the versions that Azimuth has", reqs[0].Version)
	if len(reqs) > 1 {
		var parts []string
		for _, r := range reqs {
			parts = append(parts, fmt.Sprintf("%q (%s)", r.Version, r.Pos))
		}
		message = "the azurerm version constraints " + strings.Join(parts, " and ") +
			" together allow no 3.x, 4.x or 5.x, which are the versions that Azimuth has"
	}
	return 0, &ConfigError{Pos: reqs[0].Pos, Message: message}
}

// versionNumber finds the versions inside a constraint.
var versionNumber = regexp.MustCompile(`\d+(\.\d+)*`)

// allowsMajor reports whether some version of a major meets every constraint.
// Which versions were published is not known here, so it tries those at which a
// constraint can change its answer: each version named in one and its
// neighbours, the newest release known, and one newer than all.
func allowsMajor(all version.Constraints, reqs []Requirement, release azurermRelease) bool {
	candidates := []string{
		release.newest,
		fmt.Sprintf("%d.0.0", release.major),
		fmt.Sprintf("%d.%d.0", release.major, farMinor),
	}
	for _, r := range reqs {
		for _, text := range versionNumber.FindAllString(r.Version, -1) {
			candidates = append(candidates, neighbours(text, release.major)...)
		}
	}
	for _, text := range candidates {
		v, err := version.NewVersion(text)
		if err == nil && v.Segments()[0] == release.major && all.Check(v) {
			return true
		}
	}
	return false
}

// farMinor stands for a minor or patch number that no release reaches.
const farMinor = 99999

// neighbours returns a version and those just below and above it, as far as
// they belong to the major.
func neighbours(text string, major int) []string {
	var s [3]int
	for i, part := range strings.SplitN(text, ".", 3) {
		n, err := strconv.Atoi(strings.SplitN(part, ".", 2)[0])
		if err != nil {
			return nil
		}
		s[i] = n
	}
	if s[0] != major {
		return nil
	}
	out := []string{
		fmt.Sprintf("%d.%d.%d", s[0], s[1], s[2]),
		fmt.Sprintf("%d.%d.%d", s[0], s[1], s[2]+1),
	}
	switch {
	case s[2] > 0:
		out = append(out, fmt.Sprintf("%d.%d.%d", s[0], s[1], s[2]-1))
	case s[1] > 0:
		out = append(out, fmt.Sprintf("%d.%d.%d", s[0], s[1]-1, farMinor))
	}
	return out
}
