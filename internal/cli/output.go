package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// table is what a listing shows on a terminal.
type table struct {
	header []string
	rows   [][]string
	// exact leaves the header as it is: names in which case matters.
	exact bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes value as JSON, or the table when that is asked for. def is the
// format when --output is not given.
func (a *app) print(def string, value any, t func() *table) error {
	format := a.output
	if format == "" {
		format = def
	}
	if format == "json" || t == nil {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(value)
	}
	return t().write(a.stdout)
}

func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	header := strings.Join(t.header, "\t")
	if !t.exact {
		header = strings.ToUpper(header)
	}
	fmt.Fprintln(tw, header)
	for _, r := range t.rows {
		for i, c := range r {
			if c == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// style colours text on a terminal and leaves it alone in a pipe.
type style bool

func (a *app) style(w io.Writer) style { return style(isTerminal(w)) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func (s style) wrap(code, text string) string {
	if !s {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.wrap("1", t) }
func (s style) dim(t string) string    { return s.wrap("2", t) }
func (s style) red(t string) string    { return s.wrap("31", t) }
func (s style) green(t string) string  { return s.wrap("32", t) }
func (s style) yellow(t string) string { return s.wrap("33", t) }

// step says on stderr what is being done, for anything that takes longer than
// a moment.
func (a *app) step(format string, args ...any) {
	fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).dim("·"), fmt.Sprintf(format, args...))
}

// lastSegment is what follows the last slash of an ID.
func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
