package cli

import (
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/terraform"
)

// changes counts what an apply or destroy did.
type changes struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Destroy int `json:"destroy"`
	applied int
}

// progress turns terraform's events into lines for people.
type progress struct {
	app     *app
	style   style
	quiet   bool
	failed  bool
	planned changes
	changes changes
	// said holds the diagnostics that were shown: terraform repeats those of the
	// plan when it applies.
	said map[string]bool
}

func (p *progress) event(e terraform.Event) {
	switch e.Type {
	case "change_summary":
		c := changes{}
		if e.Changes != nil {
			c = changes{Add: e.Changes.Add, Change: e.Changes.Change, Destroy: e.Changes.Remove}
			if e.Changes.Operation == "plan" {
				p.planned = c
				return
			}
			c.applied = p.changes.applied
			p.changes = c
		}
	case "apply_complete":
		if e.Hook == nil || e.Hook.Action == "read" {
			return
		}
		p.changes.applied++
		p.line("%s %s %s", p.style.green("✓"), verb(e.Hook.Action), e.Hook.Resource.Addr)
	case "apply_progress":
		if e.Hook != nil {
			p.line("%s %s: still at it after %.0fs", p.style.dim("·"), e.Hook.Resource.Addr, e.Hook.ElapsedSeconds)
		}
	case "apply_errored":
		if e.Hook != nil {
			p.line("%s %s", p.style.red("✗"), e.Hook.Resource.Addr)
		}
	case "diagnostic":
		p.diagnostic(e.Diagnostic)
	}
}

func verb(action string) string {
	switch action {
	case "create":
		return "created"
	case "update":
		return "updated"
	case "delete":
		return "destroyed"
	}
	return action
}

func (p *progress) diagnostic(d *terraform.EventDiagnostic) {
	if d == nil {
		return
	}
	label := p.style.yellow("warning:")
	if d.Severity == "error" {
		p.failed = true
		label = p.style.red("error:")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", label, d.Summary)
	where := d.Address
	if d.Range != nil {
		where = strings.TrimSpace(fmt.Sprintf("%s:%d %s", d.Range.Filename, d.Range.Start.Line, where))
	}
	if where != "" {
		fmt.Fprintf(&b, "\n    at %s", where)
	}
	if d.Detail != "" {
		fmt.Fprintf(&b, "\n    %s", strings.ReplaceAll(strings.TrimSpace(d.Detail), "\n", "\n    "))
	}
	if p.said[b.String()] {
		return
	}
	if p.said == nil {
		p.said = map[string]bool{}
	}
	p.said[b.String()] = true
	fmt.Fprintln(p.app.stderr, b.String())
}

func (p *progress) line(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.app.stderr, "  "+format+"\n", args...)
	}
}

func (p *progress) summary() string {
	c := p.changes
	if c.Add+c.Change+c.Destroy == 0 {
		return "no changes: the environment matches the stack"
	}
	return fmt.Sprintf("%d added, %d changed, %d destroyed", c.Add, c.Change, c.Destroy)
}
