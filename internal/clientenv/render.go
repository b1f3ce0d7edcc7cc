package clientenv

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Shells are the names that Render knows.
func Shells() []string { return []string{"sh", "fish", "powershell", "dotenv", "json"} }

// Render writes e as commands of a shell, or as a dotenv or JSON file. In JSON,
// what is to be unset is null; dotenv cannot say it.
func (e *Env) Render(w io.Writer, shell string) error {
	for _, name := range e.Names() {
		if !validName(name) {
			return fmt.Errorf("render the environment: %q is not a variable's name", name)
		}
		if strings.ContainsRune(e.Vars[name], 0) {
			return fmt.Errorf("render the environment: the value of %s has a zero byte", name)
		}
	}
	var b strings.Builder
	switch shell {
	case "sh":
		for _, name := range e.Unset {
			fmt.Fprintf(&b, "unset %s\n", name)
		}
		for _, name := range e.Names() {
			fmt.Fprintf(&b, "export %s=%s\n", name, quoteSh(e.Vars[name]))
		}
	case "fish":
		for _, name := range e.Unset {
			fmt.Fprintf(&b, "set -e %s\n", name)
		}
		for _, name := range e.Names() {
			fmt.Fprintf(&b, "set -gx %s %s\n", name, quoteFish(e.Vars[name]))
		}
	case "powershell":
		for _, name := range e.Unset {
			fmt.Fprintf(&b, "Remove-Item Env:%s -ErrorAction SilentlyContinue\n", name)
		}
		for _, name := range e.Names() {
			fmt.Fprintf(&b, "$env:%s = %s\n", name, quotePowerShell(e.Vars[name]))
		}
	case "dotenv":
		for _, name := range e.Names() {
			fmt.Fprintf(&b, "%s=%s\n", name, quoteDotenv(e.Vars[name]))
		}
	case "json":
		doc := map[string]any{}
		for _, name := range e.Unset {
			doc[name] = nil
		}
		for name, value := range e.Vars {
			doc[name] = value
		}
		data, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return fmt.Errorf("render the environment: %w", err)
		}
		b.Write(data)
		b.WriteByte('\n')
	default:
		return fmt.Errorf("render the environment: unknown shell %q: use one of %s", shell, strings.Join(Shells(), ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func validName(name string) bool {
	for i, c := range name {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// quoteSh quotes for a POSIX shell: within single quotes nothing is special but
// the quote.
func quoteSh(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteFish quotes for fish, where a backslash escapes within single quotes.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quotePowerShell quotes for PowerShell, which takes typographic single quotes
// for plain ones.
func quotePowerShell(s string) string {
	return "'" + strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛").Replace(s) + "'"
}

// quoteDotenv leaves alone what needs no quotes, since some readers, docker's
// --env-file among them, take quotes for part of the value. Where the readers of
// dotenv files disagree, it follows the shell.
func quoteDotenv(s string) string {
	plain := !strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("_-.,:/@%+~=", c))
	})
	switch {
	case plain:
		return s
	case !strings.ContainsAny(s, "'\n"):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`", "\n", `\n`).Replace(s) + `"`
}
