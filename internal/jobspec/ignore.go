package jobspec

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ignoreRules are the patterns of one .amlignore or .gitignore file. The zero
// value ignores nothing.
type ignoreRules []ignoreRule

type ignoreRule struct {
	match   *regexp.Regexp
	negate  bool
	dirOnly bool
}

// readIgnore reads the ignore file of a directory: .amlignore, or else
// .gitignore. As in the CLI only the one in the top directory counts.
func readIgnore(dir string) (ignoreRules, error) {
	for _, name := range []string{".amlignore", ".gitignore"} {
		text, err := readFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return parseIgnore(text), nil
	}
	return nil, nil
}

// parseIgnore reads gitignore patterns. A line that is no valid pattern
// matches nothing, as in git.
func parseIgnore(text []byte) ignoreRules {
	var rules ignoreRules
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxFileSize+1)
	for lines.Scan() {
		if r, ok := parseIgnoreLine(strings.TrimSuffix(lines.Text(), "\r")); ok {
			rules = append(rules, r)
		}
	}
	return rules
}

func parseIgnoreLine(line string) (ignoreRule, bool) {
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	if line == "" || line[0] == '#' {
		return ignoreRule{}, false
	}
	var r ignoreRule
	if line[0] == '!' {
		r.negate, line = true, line[1:]
	}
	line, r.dirOnly = strings.CutSuffix(line, "/")
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return ignoreRule{}, false
	}
	expr := globExpr(line)
	if !anchored {
		expr = "(?:.*/)?" + expr
	}
	re, err := regexp.Compile("(?s)^" + expr + "$")
	if err != nil {
		return ignoreRule{}, false
	}
	r.match = re
	return r, true
}

// globExpr turns a gitignore glob into a regular expression.
func globExpr(glob string) string {
	var b strings.Builder
	for i := 0; i < len(glob); {
		rest := glob[i:]
		atStart := i == 0 || glob[i-1] == '/'
		switch {
		case atStart && strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 3
		case atStart && rest == "**":
			b.WriteString(".+")
			i += 2
		case rest[0] == '*':
			b.WriteString("[^/]*")
			for i < len(glob) && glob[i] == '*' {
				i++
			}
		case rest[0] == '?':
			b.WriteString("[^/]")
			i++
		case rest[0] == '[':
			class, n := globClass(rest)
			b.WriteString(class)
			i += n
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteString(regexp.QuoteMeta(rest[1:2]))
			i += 2
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
			i++
		}
	}
	return b.String()
}

// globClass reads [abc], [!a-z] and returns its expression and length. A
// bracket that is never closed stands for itself.
func globClass(s string) (expr string, length int) {
	i := 1
	not := ""
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		not, i = "^/", i+1
	}
	start := i
	for i < len(s) && (s[i] != ']' || i == start) {
		if s[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(s) {
		return `\[`, 1
	}
	var b strings.Builder
	for _, c := range []byte(s[start:i]) {
		if c == '[' || c == ']' || c == '^' || c == '&' || c == '~' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return "[" + not + b.String() + "]", i + 1
}

// ignored reports whether a path, relative with slashes, is ignored. The caller
// does not go into ignored directories, so that, as in git, nothing below one
// can be brought back.
func (rules ignoreRules) ignored(path string, dir bool) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		if r := rules[i]; (dir || !r.dirOnly) && r.match.MatchString(path) {
			return !r.negate
		}
	}
	return false
}
