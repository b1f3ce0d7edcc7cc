package jobspec

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The CLI reads YAML 1.1 with Python's yaml.safe_load and sends a literal input
// as Python's str() of the value. These functions give the same text, so that a
// command sees here what it sees on Azure.

// yaml11Bool is what YAML 1.1 takes for a boolean when it is not quoted.
var yaml11Bool = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)

// yaml11Float is what YAML 1.1 takes for a number with a fraction: unlike YAML
// 1.2 it wants a point, and a sign in the exponent.
var yaml11Float = regexp.MustCompile(`^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)

// scalarTag is the tag that YAML 1.1 gives a scalar.
func scalarTag(n *yaml.Node) string {
	tag := n.ShortTag()
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	switch {
	case !plain:
		return tag
	case tag == "!!str" && yaml11Bool.MatchString(n.Value):
		return "!!bool"
	case tag == "!!float" && !yaml11Float.MatchString(n.Value) && !strings.HasPrefix(strings.TrimLeft(n.Value, "+-"), "."):
		return "!!str"
	}
	return tag
}

func truth(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return true
	}
	return false
}

// wholeNumber reads an integer, also one in quotes or written as 4.0, which the
// CLI's schema takes as well.
func wholeNumber(n *yaml.Node) (int64, bool) {
	if n.Kind != yaml.ScalarNode {
		return 0, false
	}
	switch n.ShortTag() {
	case "!!int":
		var v int64
		err := n.Decode(&v)
		return v, err == nil
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, false
		}
		return int64(f), true
	case "!!str":
		v, err := strconv.ParseInt(strings.TrimSpace(n.Value), 10, 64)
		return v, err == nil
	}
	return 0, false
}

// literal is the text that the CLI sends for a literal input.
func literal(n *yaml.Node) string {
	switch scalarTag(n) {
	case "!!bool":
		if truth(n.Value) {
			return "True"
		}
		return "False"
	case "!!int":
		if v, ok := wholeNumber(n); ok {
			return strconv.FormatInt(v, 10)
		}
	case "!!float":
		var f float64
		if err := n.Decode(&f); err == nil {
			return pythonFloat(f)
		}
	}
	return n.Value
}

// pythonFloat is Python's str() of a float: the shortest digits that read back
// as the same number, with an exponent below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
