package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/telemetry"
)

// The resource types that have logs, and the versions of Azure that list them.
const (
	componentType   = "Microsoft.Insights/components"
	componentAPI    = "2020-02-02"
	logsType        = "Microsoft.OperationalInsights/workspaces"
	logsAPI         = "2022-10-01"
	outputAnnotated = "more-output" // further formats that a command knows
)

// logsFlags say whose logs are meant.
type logsFlags struct{ app, workspace string }

// logsResult is a table of the query API's answer.
type logsResult struct {
	Columns []struct{ Name, Type string } `json:"columns"`
	Rows    [][]any                       `json:"rows"`
}

func (a *app) logsCommand() *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use: "logs", Short: "Query telemetry: Application Insights and Log Analytics",
		Long: `Query what applications, jobs, nodes and the control plane have told: the tables of
Application Insights (requests, traces, …) and of Log Analytics workspaces
(AppRequests, AmlComputeJobEvent, AzureActivity, …).`,
	}
	cmd.PersistentFlags().StringVar(&f.app, "app", "", "Application Insights component, by name or application ID (default: the only one)")
	cmd.PersistentFlags().StringVar(&f.workspace, "workspace", "", "Log Analytics workspace instead, by name or workspace ID")
	cmd.RegisterFlagCompletionFunc("app", a.completeLogs(componentType, componentAPI))
	cmd.RegisterFlagCompletionFunc("workspace", a.completeLogs(logsType, logsAPI))
	cmd.AddCommand(a.logsQuery(&f), a.logsTables(&f))
	return cmd
}

func (a *app) logsQuery(f *logsFlags) *cobra.Command {
	var timespan string
	cmd := &cobra.Command{
		Use: "query KQL", Short: "Run a query in the Kusto Query Language",
		Long: `Run a query in the Kusto Query Language. What Azimuth knows of the language is in
docs/kql.md; a query that uses anything else is refused, and the answer names it.`,
		Example: `  azimuth logs query 'requests | summarize count(), avg(duration) by name, resultCode'
  azimuth logs query 'traces | where timestamp > ago(1h) | project timestamp, message' --output tsv
  azimuth logs query 'AzureActivity | take 10' --workspace log-ml --timespan PT1H`,
		Annotations: map[string]string{outputAnnotated: "tsv"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("logs query takes one argument, the query: put it in quotes")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withLogs(cmd.Context(), f, func(s *session, base string) error {
				res, err := s.queryLogs(cmd.Context(), base, telemetry.QueryRequest{Query: args[0], Timespan: timespan})
				if err != nil {
					return err
				}
				return a.printLogs(res)
			})
		},
	}
	cmd.Flags().StringVar(&timespan, "timespan", "", "only rows of this time: PT1H for the last hour, or START/END (default: all)")
	return cmd
}

func (a *app) logsTables(f *logsFlags) *cobra.Command {
	return &cobra.Command{
		Use: "tables", Short: "List the tables, with the number of rows in each", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withLogs(ctx, f, func(s *session, base string) error {
				var meta struct{ Tables []struct{ Name string } }
				if err := s.as.DoURL(ctx, http.MethodGet, base+"/metadata", nil, &meta); err != nil {
					return fmt.Errorf("list tables: %w", err)
				}
				type entry struct {
					Name string `json:"name"`
					Rows int64  `json:"rows"`
				}
				out := []entry{}
				for _, t := range meta.Tables {
					res, err := s.queryLogs(ctx, base, telemetry.QueryRequest{Query: t.Name + " | count"})
					if err != nil {
						return err
					}
					e := entry{Name: t.Name}
					if len(res.Rows) == 1 && len(res.Rows[0]) == 1 {
						if n, ok := res.Rows[0][0].(float64); ok {
							e.Rows = int64(n)
						}
					}
					out = append(out, e)
				}
				return a.print("table", out, func() *table {
					t := &table{header: []string{"table", "rows"}}
					for _, e := range out {
						t.add(e.Name, fmt.Sprint(e.Rows))
					}
					return t
				})
			})
		},
	}
}

// queryLogs runs a query at a component or workspace, whose address in the query
// API base is.
func (s *session) queryLogs(ctx context.Context, base string, q telemetry.QueryRequest) (*logsResult, error) {
	var out struct {
		Tables []logsResult `json:"tables"`
		Error  *struct{ Message string }
	}
	if err := s.as.DoURL(ctx, http.MethodPost, base+"/query", q, &out); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	if out.Error != nil {
		return nil, hint(fmt.Errorf("query: there are more rows than an answer may have"), "Ask for fewer: end the query with | take 1000, or summarize")
	}
	if len(out.Tables) == 0 {
		return &logsResult{}, nil
	}
	return &out.Tables[0], nil
}

// printLogs prints an answer as a table, as tab-separated values, or as JSON
// objects.
func (a *app) printLogs(res *logsResult) error {
	cells := func(row []any) []string {
		out := make([]string, len(row))
		for i, v := range row {
			out[i] = cell(v)
		}
		return out
	}
	names := make([]string, len(res.Columns))
	for i, c := range res.Columns {
		names[i] = c.Name
	}
	switch a.output {
	case "json":
		objects := []map[string]any{}
		for _, row := range res.Rows {
			o := map[string]any{}
			for i, v := range row {
				o[names[i]] = v
			}
			objects = append(objects, o)
		}
		return a.print("json", objects, nil)
	case "tsv":
		escape := strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
		for _, row := range res.Rows {
			line := cells(row)
			for i := range line {
				line[i] = escape.Replace(line[i])
			}
			if _, err := fmt.Fprintln(a.stdout, strings.Join(line, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	t := &table{header: names, exact: true}
	shorten := strings.NewReplacer("\t", " ", "\n", " ", "\r", "")
	for _, row := range res.Rows {
		line := cells(row)
		for i := range line {
			line[i] = shorten.Replace(line[i])
			if r := []rune(line[i]); len(r) > maxCell {
				line[i] = string(r[:maxCell-1]) + "…"
			}
		}
		t.add(line...)
	}
	return t.write(a.stdout)
}

// maxCell is how wide a cell of a table is shown, in characters.
const maxCell = 80

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil { // it came as JSON
		return ""
	}
	return string(b)
}

// withLogs calls do with the address of whose logs are meant.
func (a *app) withLogs(ctx context.Context, f *logsFlags, do func(s *session, base string) error) error {
	if f.app != "" && f.workspace != "" {
		return usagef("--app and --workspace are one or the other")
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	base, err := s.logsBase(ctx, f)
	if err != nil {
		return err
	}
	return do(s, base)
}

func appBase(d arm.Doc) string {
	return "https://api.applicationinsights.io/v1/apps/" + url.PathEscape(d.String("properties.AppId"))
}

func logsBaseOf(d arm.Doc) string {
	return "https://api.loganalytics.io/v1/workspaces/" + url.PathEscape(d.String("properties.customerId"))
}

func (s *session) logsBase(ctx context.Context, f *logsFlags) (string, error) {
	if f.workspace != "" {
		all, err := s.listLogs(ctx, logsType, logsAPI)
		if err != nil {
			return "", err
		}
		d, err := pick(all, "Log Analytics workspace", "--workspace", f.workspace, "properties.customerId")
		return logsBaseOf(d), err
	}
	apps, err := s.listLogs(ctx, componentType, componentAPI)
	if err != nil {
		return "", err
	}
	if f.app == "" && len(apps) == 0 {
		all, err := s.listLogs(ctx, logsType, logsAPI)
		if err != nil {
			return "", err
		}
		if len(all) == 0 {
			return "", hint(fmt.Errorf("there is no Application Insights component and no Log Analytics workspace"), "Make some with: azimuth up examples/workspace")
		}
		d, err := pick(all, "Log Analytics workspace", "--workspace", "", "properties.customerId")
		return logsBaseOf(d), err
	}
	d, err := pick(apps, "Application Insights component", "--app", f.app, "properties.AppId")
	return appBase(d), err
}

// pick finds the resource of a name or ID; the only one when that is empty.
func pick(all []arm.Doc, what, flag, name, id string) (arm.Doc, error) {
	var names []string
	for _, d := range all {
		if name != "" && (strings.EqualFold(d.String("name"), name) || strings.EqualFold(d.String(id), name) || strings.EqualFold(d.String("id"), name)) {
			return d, nil
		}
		names = append(names, d.String("name"))
	}
	switch {
	case name != "" && len(all) == 0:
		return nil, fmt.Errorf("there is no %s", what)
	case name != "":
		return nil, hint(fmt.Errorf("there is no %s %q", what, name), "There are: %s", strings.Join(names, ", "))
	case len(all) == 1:
		return all[0], nil
	}
	return nil, hint(fmt.Errorf("there are %d of type %s", len(all), what), "Choose one with %s: %s", flag, strings.Join(names, ", "))
}

// listLogs lists the resources of a type.
func (s *session) listLogs(ctx context.Context, typ, version string) ([]arm.Doc, error) {
	out := []arm.Doc{}
	for d, err := range client.List[arm.Doc](ctx, s.as, "/subscriptions/"+s.owner.SubscriptionID+"/providers/"+typ, version) {
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// completeLogs completes the names of resources of a type.
func (a *app) completeLogs(typ, version string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		s, err := a.connect(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer s.close()
		all, err := s.listLogs(cmd.Context(), typ, version)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, d := range all {
			if strings.HasPrefix(d.String("name"), prefix) {
				names = append(names, d.String("name"))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
