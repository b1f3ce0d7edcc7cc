package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
)

// completeNames completes the names of what is in a collection of the workspace,
// when a server runs.
func (a *app) completeNames(f *mlFlags, collection string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const most = 200
		var names []string
		err := a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
			all, err := collect(cmd.Context(), s, ws.String("id")+"/"+collection, most)
			for _, d := range all {
				if strings.HasPrefix(d.String("name"), prefix) {
					names = append(names, d.String("name"))
				}
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) jobArchive(f *mlFlags, verb string, archived bool) *cobra.Command {
	var name string
	return a.nameFlag(f, &cobra.Command{
		Use: verb + " -n NAME", Short: strings.ToUpper(verb[:1]) + verb[1:] + " a job", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				_, err := s.change(cmd.Context(), jobPath(ws, name), func(props arm.Doc) error {
					props.Set("isArchived", archived)
					return nil
				})
				return err
			})
		},
	}, &name)
}

func (a *app) jobUpdate(f *mlFlags) *cobra.Command {
	var name string
	var set []string
	cmd := a.nameFlag(f, &cobra.Command{
		Use: "update -n NAME --set KEY=VALUE", Short: "Change the display name, description or tags of a job", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				j, err := s.change(cmd.Context(), jobPath(ws, name), func(props arm.Doc) error {
					return setTexts(props, set, map[string]string{"description": "description", "display_name": "displayName"})
				})
				if err != nil {
					return err
				}
				return a.print("json", j, func() *table { return jobTable([]arm.Doc{j}) })
			})
		},
	}, &name)
	cmd.Flags().StringArrayVar(&set, "set", nil, "display_name=TEXT, description=TEXT or tags.NAME=VALUE (repeatable)")
	cmd.MarkFlagRequired("set")
	return cmd
}

func (a *app) jobValidate() *cobra.Command {
	var file string
	var set []string
	cmd := &cobra.Command{
		Use: "validate -f FILE", Short: "Check a job file without submitting it", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			job, err := jobspec.ParseFile(file, set...)
			if err != nil {
				return err
			}
			for _, w := range job.Warnings {
				fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).yellow("warning:"), w)
			}
			a.step("%s describes a job", file)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the job's YAML file")
	cmd.MarkFlagRequired("file")
	cmd.MarkFlagFilename("file", "yml", "yaml")
	cmd.Flags().StringArrayVar(&set, "set", nil, "override a key of the file, KEY.PATH=VALUE (repeatable)")
	return cmd
}

// comparedJob is a job as compare shows it.
type comparedJob struct {
	Name        string             `json:"name"`
	DisplayName string             `json:"displayName"`
	Status      string             `json:"status"`
	Params      map[string]string  `json:"params"`
	Metrics     map[string]float64 `json:"metrics"`
}

func (a *app) jobCompare(f *mlFlags) *cobra.Command {
	return &cobra.Command{
		Use: "compare NAME NAME…", Short: "Show the inputs and metrics of jobs side by side",
		Long: `Show what jobs were given and what they reached, side by side: their literal inputs,
and the params and last metrics that they logged.`,
		Example: "  azimuth ml job compare brave_lake_1 calm_fox_2",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("give two jobs or more to compare, got %d", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(f, "jobs"),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				var jobs []comparedJob
				for _, name := range names {
					j, err := s.compared(cmd.Context(), ws, name)
					if err != nil {
						return err
					}
					jobs = append(jobs, j)
				}
				return a.print("table", jobs, func() *table { return compareTable(jobs) })
			})
		},
	}
}

// compared reads a job and its run.
func (s *session) compared(ctx context.Context, ws arm.Doc, name string) (comparedJob, error) {
	j, err := s.getJob(ctx, ws, name)
	if err != nil {
		return comparedJob{}, err
	}
	type pair struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	var answer struct {
		Run struct {
			Data struct {
				Params  []pair `json:"params"`
				Metrics []struct {
					Key   string `json:"key"`
					Value metric `json:"value"`
				} `json:"metrics"`
			} `json:"data"`
		} `json:"run"`
	}
	run := strings.Replace(runHistory(ws), "/history/", "/mlflow/", 1) + "/api/2.0/mlflow/runs/get?run_id=" + url.QueryEscape(j.String("name"))
	if err := s.client.DoURL(ctx, http.MethodGet, run, nil, &answer); err != nil {
		return comparedJob{}, fmt.Errorf("metrics of job %s: %w", name, err)
	}
	out := comparedJob{
		Name: j.String("name"), DisplayName: j.String("properties.displayName"), Status: j.String("properties.status"),
		Params: map[string]string{}, Metrics: map[string]float64{},
	}
	for name, v := range j.Object("properties.inputs") {
		if in, ok := v.(map[string]any); ok && strings.EqualFold(arm.Doc(in).String("jobInputType"), "literal") {
			out.Params[name] = arm.Doc(in).String("value")
		}
	}
	for _, p := range answer.Run.Data.Params {
		out.Params[p.Key] = p.Value
	}
	for _, m := range answer.Run.Data.Metrics {
		if v := float64(m.Value); v-v == 0 { // JSON has no NaN and no infinity
			out.Metrics[m.Key] = v
		}
	}
	return out, nil
}

// metric is a number, or one of the texts NaN, Infinity and -Infinity.
type metric float64

// UnmarshalJSON implements json.Unmarshaler.
func (m *metric) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	*m = metric(v)
	return err
}

func compareTable(jobs []comparedJob) *table {
	t := &table{header: []string{""}}
	display, status := []string{"display name"}, []string{"status"}
	params, metrics := map[string]bool{}, map[string]bool{}
	for _, j := range jobs {
		t.header = append(t.header, j.Name)
		display, status = append(display, j.DisplayName), append(status, j.Status)
		for name := range j.Params {
			params[name] = true
		}
		for name := range j.Metrics {
			metrics[name] = true
		}
	}
	t.add(display...)
	t.add(status...)
	for _, name := range slices.Sorted(maps.Keys(params)) {
		row := []string{name}
		for _, j := range jobs {
			row = append(row, j.Params[name])
		}
		t.add(row...)
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		row := []string{name}
		for _, j := range jobs {
			text := ""
			if v, ok := j.Metrics[name]; ok {
				text = strconv.FormatFloat(v, 'g', 6, 64)
			}
			row = append(row, text)
		}
		t.add(row...)
	}
	return t
}
