package kql

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the engine answers into the scenarios")

// memTable is a Table of rows in memory.
type memTable struct {
	cols []Column
	time string
	rows [][]Value
	hint Hint       // of the last scan
	seen func(Hint) // if not nil, called for every scan
	fail error      // what a scan fails with
}

func (t *memTable) Columns() []Column  { return t.cols }
func (t *memTable) TimeColumn() string { return t.time }

func (t *memTable) Scan(ctx context.Context, hint Hint, yield func([]Value) bool) error {
	t.hint = hint
	if t.seen != nil {
		t.seen(hint)
	}
	if t.fail != nil {
		return t.fail
	}
	row := make([]Value, len(t.cols))
	for _, r := range t.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		// What was not asked for must not be looked at.
		for i := range row {
			row[i] = StringValue("not asked for")
		}
		for _, i := range hint.Columns {
			row[i] = r[i]
		}
		if !yield(row) {
			return nil
		}
	}
	return nil
}

type memSource struct {
	names  []string
	tables map[string]*memTable
}

func (s *memSource) Table(_ context.Context, name string) (Table, error) {
	if t, ok := s.tables[name]; ok {
		return t, nil
	}
	return nil, &UnknownTableError{Name: name}
}

func (s *memSource) Tables(context.Context) ([]string, error) { return s.names, nil }

func (s *memSource) add(name string, t *memTable) {
	if s.tables == nil {
		s.tables = map[string]*memTable{}
	}
	s.tables[name] = t
	s.names = append(s.names, name)
}

// A scenario file has tables, which all of its cases see, and cases:
//
//	-- table requests timestamp
//	timestamp:datetime | name:string
//	2024-01-01 | GET /
//
//	-- query what it shows
//	requests | count
//
//	-- result
//	Count:long
//	1
//
// or, in place of the result, "-- error" and a part of its message. A cell is the
// text of its value; null is null, and "" may be written for an empty string.
type scenario struct {
	name, query, result, want string
	line                      int
}

func readScenarios(t *testing.T, path string) (*memSource, []*scenario, []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src := &memSource{}
	var cases []*scenario
	var lines []string
	section, arg := "", ""
	var table *memTable
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		lines = append(lines, line)
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			section, arg, _ = strings.Cut(rest, " ")
			table = nil
			if section == "query" {
				cases = append(cases, &scenario{name: arg, line: n})
			}
			continue
		}
		switch section {
		case "table":
			if strings.TrimSpace(line) == "" {
				continue
			}
			cells := splitCells(line)
			if table == nil {
				name, timeColumn, _ := strings.Cut(arg, " ")
				table = &memTable{time: timeColumn}
				for _, c := range cells {
					name, typ, _ := strings.Cut(c, ":")
					table.cols = append(table.cols, Column{Name: name, Type: typeNamed(typ)})
				}
				src.add(name, table)
				continue
			}
			row := make([]Value, len(cells))
			for i, c := range cells {
				row[i] = cellValue(c, table.cols[i].Type)
			}
			table.rows = append(table.rows, row)
		case "query":
			cases[len(cases)-1].query += line + "\n"
		case "result", "error":
			c := cases[len(cases)-1]
			c.result = section
			if strings.TrimSpace(line) != "" {
				c.want += strings.TrimSpace(line) + "\n"
			}
		}
	}
	return src, cases, lines
}

func splitCells(line string) []string {
	cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
	for i := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|"), `\n`, "\n")
	}
	return cells
}

func cellValue(s string, t Type) Value {
	switch {
	case s == "null":
		return Value{}
	case s == `""`:
		return StringValue("")
	case t == Dynamic:
		return JSONValue(s)
	}
	return cast(StringValue(s), t)
}

func formatResult(res *Result) string {
	var b strings.Builder
	for i, c := range res.Columns {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(c.Name + ":" + c.Type.String())
	}
	b.WriteString("\n")
	for _, r := range res.Rows {
		for i, v := range r {
			if i > 0 {
				b.WriteString(" | ")
			}
			text := strings.ReplaceAll(strings.ReplaceAll(v.String(), "|", `\|`), "\n", `\n`)
			switch {
			case v.IsNull() && res.Columns[i].Type != String:
				text = "null"
			case text == "":
				text = `""`
			}
			b.WriteString(text)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.kql")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".kql"), func(t *testing.T) {
			src, cases, lines := readScenarios(t, path)
			answers := map[*scenario]string{}
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					got, section := runScenario(t, src, c.query)
					answers[c] = "-- " + section + "\n" + got
					switch {
					case *update:
					case section != c.result:
						t.Errorf("%s:%d: %s\ngot %s:\n%s", path, c.line, c.query, section, got)
					case section == "error" && !strings.Contains(got, strings.TrimSpace(c.want)):
						t.Errorf("%s:%d: %s\ngot:\n%s\nwant:\n%s", path, c.line, c.query, got, c.want)
					case section == "result" && normalCells(got) != normalCells(c.want):
						t.Errorf("%s:%d: %s\ngot:\n%s\nwant:\n%s", path, c.line, c.query, got, c.want)
					}
				})
			}
			if *update {
				writeScenarios(t, path, lines, cases, answers)
			}
		})
	}
}

func normalCells(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		out = append(out, strings.Join(splitCells(line), "|"))
	}
	return strings.Join(out, "\n")
}

func runScenario(t *testing.T, src Source, query string) (answer, section string) {
	t.Helper()
	q, err := Parse(query)
	if err == nil {
		var res *Result
		res, err = q.Run(t.Context(), src, Options{Now: time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)})
		if err == nil {
			return formatResult(res), "result"
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("not an *Error: %v", err)
	}
	return err.Error() + "\n", "error"
}

// writeScenarios puts the answers in place of what was expected.
func writeScenarios(t *testing.T, path string, lines []string, cases []*scenario, answers map[*scenario]string) {
	var b strings.Builder
	skip := false
	next := 0
	flush := func() {
		if next > 0 {
			b.WriteString("\n" + answers[cases[next-1]] + "\n")
		}
	}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			section, _, _ := strings.Cut(rest, " ")
			skip = section == "result" || section == "error"
			if section == "query" {
				flush()
				next++
			}
		}
		if !skip {
			b.WriteString(line + "\n")
		}
	}
	flush()
	text := b.String()
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	if err := os.WriteFile(path, []byte(strings.TrimRight(text, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOperatorNamesAreKnown(t *testing.T) {
	for _, name := range operatorNames() {
		p := &parser{text: name}
		p.toks, _ = lex(name)
		p.operator()
		var e *Error
		if errors.As(p.err, &e) && strings.Contains(e.Message, "unknown operator") {
			t.Errorf("%s: %v", name, e)
		}
	}
	if !slices.IsSorted(operatorNames()) {
		t.Error("the operators are not in order")
	}
}
