package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
	"github.com/azimuth-ml/azimuth/internal/submit"
)

func (a *app) mlJobCommand(f *mlFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "job", Short: "Create, list, show, stream, cancel, compare and download jobs"}
	cmd.AddCommand(a.jobCreate(f), a.jobValidate(), a.jobList(f), a.jobShow(f), a.jobStream(f), a.jobCancel(f), a.jobDownload(f),
		a.jobUpdate(f), a.jobArchive(f, "archive", true), a.jobArchive(f, "restore", false), a.jobCompare(f))
	return cmd
}

func (a *app) jobCreate(f *mlFlags) *cobra.Command {
	var file, name string
	var set []string
	var stream bool
	cmd := &cobra.Command{
		Use: "create -f FILE", Short: "Submit the job that a YAML file describes",
		Example: "  azimuth ml job create -f examples/train/job.yml --stream\n  azimuth ml job create -f job.yml --set inputs.epochs=5",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			job, err := jobspec.ParseFile(file, set...)
			if err != nil {
				return fmt.Errorf("the job was not submitted:\n%w", err)
			}
			for _, w := range job.Warnings {
				fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).yellow("warning:"), w)
			}
			if name != "" {
				job.Name = name
			}
			if job.ExperimentName == "" {
				wd, err := os.Getwd()
				if err != nil {
					return err
				}
				job.ExperimentName = jobspec.DefaultExperimentName(wd)
			}
			return a.withWorkspace(ctx, f, func(s *session, ws arm.Doc) error {
				sub := &submit.Submitter{Client: s.client, Workspace: ws.String("id"), Now: s.now, Progress: a.step}
				doc, err := sub.Submit(ctx, job)
				if err != nil {
					return fmt.Errorf("the job was not submitted: %w", err)
				}
				if stream {
					return a.stream(ctx, s, ws, doc)
				}
				return a.print("json", doc, func() *table { return jobTable([]arm.Doc{doc}) })
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the job's YAML file")
	cmd.MarkFlagRequired("file")
	cmd.MarkFlagFilename("file", "yml", "yaml")
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the job (default: one is made)")
	cmd.Flags().StringArrayVar(&set, "set", nil, "override a key of the file, KEY.PATH=VALUE (repeatable)")
	cmd.Flags().BoolVarP(&stream, "stream", "s", false, "show the job's log until it ends; exits with 1 unless it completes")
	return cmd
}

// now is the cloud's time.
func (s *session) now(ctx context.Context) (time.Time, error) {
	var c struct{ Now time.Time }
	err := s.admin(ctx, http.MethodGet, "/v1/clock", nil, &c)
	return c.Now, err
}

func jobPath(ws arm.Doc, name string) string {
	return ws.String("id") + "/jobs/" + url.PathEscape(name)
}

func (a *app) jobList(f *mlFlags) *cobra.Command {
	var most int
	var view viewFlags
	var tag, parent string
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs, newest first", Args: noArgs,
		Long: "List jobs, newest first. The steps of a pipeline, and the trials of a sweep, are listed with --parent-job-name, in their order.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 {
				return usagef("--max-results is a positive number, not %d", most)
			}
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				if parent != "" {
					all, err := s.children(cmd.Context(), ws, parent, most)
					if err != nil {
						return err
					}
					return a.print("table", all, func() *table { return jobTable(all) })
				}
				path := ws.String("id") + "/jobs"
				q := url.Values{"$top": {strconv.Itoa(min(most, 1000))}}
				view.query(q)
				if tag != "" {
					q.Set("tag", tag)
				}
				all, err := collect(cmd.Context(), s, path+"?"+q.Encode(), most)
				if err != nil {
					return err
				}
				return a.print("table", all, func() *table { return jobTable(all) })
			})
		},
	}
	cmd.Flags().IntVarP(&most, "max-results", "r", 50, "the most jobs to list")
	cmd.Flags().StringVar(&tag, "tag", "", "list jobs with this tag alone")
	cmd.Flags().StringVar(&parent, "parent-job-name", "", "list the steps of this pipeline, or the trials of this sweep")
	cmd.RegisterFlagCompletionFunc("parent-job-name", a.completeNames(f, "jobs"))
	view.add(cmd)
	return cmd
}

func jobTable(all []arm.Doc) *table {
	t := &table{header: []string{"name", "status", "experiment", "compute", "created", "display name"}}
	for _, j := range all {
		t.add(j.String("name"), j.String("properties.status"), j.String("properties.experimentName"), jobCompute(j), created(j), j.String("properties.displayName"))
	}
	return t
}

// jobCompute is the name of the compute of a job; "" for one that has none of its own.
func jobCompute(j arm.Doc) string {
	id := j.String("properties.computeId")
	if id == "" && strings.EqualFold(j.String("properties.jobType"), "Command") {
		return nameServerless
	}
	return lastSegment(id)
}

// children are the jobs of the steps of a pipeline that were submitted.
func (s *session) children(ctx context.Context, ws arm.Doc, parent string, most int) ([]arm.Doc, error) {
	steps, err := s.steps(ctx, ws, parent)
	if client.IsNotFound(err) {
		_, err = s.getJob(ctx, ws, parent) // says what to do
	}
	var all []arm.Doc
	for _, st := range steps[:min(most, len(steps))] {
		j, err := s.getJob(ctx, ws, st.RunID)
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	return all, err
}

// step is a step of a pipeline as run history has it.
type step struct {
	RunID      string
	Status     string
	Properties map[string]string
}

// name is the step's name in the pipeline.
func (s step) name() string { return s.Properties["azimuth.step"] }

// steps are those of a pipeline that were submitted.
func (s *session) steps(ctx context.Context, ws arm.Doc, pipeline string) ([]step, error) {
	var answer struct{ Value []step }
	err := s.client.DoURL(ctx, http.MethodGet, runHistory(ws)+"/runs/"+url.PathEscape(pipeline)+"/children", nil, &answer)
	return answer.Value, err
}

// nameFlag adds the flag that names a job.
func (a *app) nameFlag(f *mlFlags, cmd *cobra.Command, name *string) *cobra.Command {
	cmd.Flags().StringVarP(name, "name", "n", "", "name of the job")
	cmd.MarkFlagRequired("name")
	cmd.RegisterFlagCompletionFunc("name", a.completeNames(f, "jobs"))
	return cmd
}

// getJob reads a job. A missing one is an error that says what to do.
func (s *session) getJob(ctx context.Context, ws arm.Doc, name string) (arm.Doc, error) {
	var j arm.Doc
	err := s.client.Do(ctx, http.MethodGet, jobPath(ws, name), mlAPI, nil, &j)
	if client.IsNotFound(err) {
		return nil, hint(fmt.Errorf("there is no job %q in workspace %s", name, ws.String("name")), "See what there is: azimuth ml job list")
	}
	return j, err
}

func (a *app) jobShow(f *mlFlags) *cobra.Command {
	var name string
	return a.nameFlag(f, &cobra.Command{
		Use: "show -n NAME", Short: "Show a job", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				j, err := s.getJob(cmd.Context(), ws, name)
				if err != nil {
					return err
				}
				return a.print("json", j, func() *table { return jobTable([]arm.Doc{j}) })
			})
		},
	}, &name)
}

func (a *app) jobStream(f *mlFlags) *cobra.Command {
	var name string
	return a.nameFlag(f, &cobra.Command{
		Use: "stream -n NAME", Short: "Show a job's log until the job ends", Args: noArgs,
		Long: "Show a job's log from the beginning until the job ends. Exits with 1 unless the job completes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				j, err := s.getJob(cmd.Context(), ws, name)
				if err != nil {
					return err
				}
				return a.stream(cmd.Context(), s, ws, j)
			})
		},
	}, &name)
}

func (a *app) jobCancel(f *mlFlags) *cobra.Command {
	var name string
	return a.nameFlag(f, &cobra.Command{
		Use: "cancel -n NAME", Short: "Cancel a job", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withWorkspace(cmd.Context(), f, func(s *session, ws arm.Doc) error {
				if _, err := s.getJob(cmd.Context(), ws, name); err != nil {
					return err
				}
				return s.client.Do(cmd.Context(), http.MethodPost, jobPath(ws, name)+"/cancel", mlAPI, nil, nil)
			})
		},
	}, &name)
}

func (a *app) jobDownload(f *mlFlags) *cobra.Command {
	var name, path, output string
	var all bool
	cmd := a.nameFlag(f, &cobra.Command{
		Use: "download -n NAME", Short: "Download a job's logs and outputs",
		Long: `Download a job's logs and outputs: what is under artifacts/ is what the job wrote
to outputs/ and its logs; with --all, or --output-name, also the outputs that the
job declares, under named-outputs/.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withWorkspace(ctx, f, func(s *session, ws arm.Doc) error {
				j, err := s.getJob(ctx, ws, name)
				if err != nil {
					return err
				}
				now, err := s.now(ctx)
				if err != nil {
					return err
				}
				d := &download{app: a, session: s, workspace: ws.String("id"), now: now, root: path}
				if output == "" || all {
					if err := d.folder(ctx, "workspaceartifactstore", "ExperimentRun/dcid."+j.String("name")+"/", "artifacts"); err != nil {
						return err
					}
				}
				if output != "" || all {
					if err := d.outputs(ctx, j, output); err != nil {
						return err
					}
				}
				if d.files == 0 {
					return fmt.Errorf("job %s (%s) has nothing to download yet", j.String("name"), j.String("properties.status"))
				}
				fmt.Fprintf(a.stdout, "downloaded %s to %s\n", plural(d.files, "file", "files"), d.where())
				if d.skipped > 0 {
					return fmt.Errorf("%s could not be downloaded", plural(d.skipped, "file", "files"))
				}
				return nil
			})
		},
	}, &name)
	cmd.Flags().StringVarP(&path, "download-path", "p", ".", "directory to download to")
	cmd.Flags().StringVar(&output, "output-name", "", "download this declared output only")
	cmd.Flags().BoolVar(&all, "all", false, "download the declared outputs, too")
	cmd.MarkFlagDirname("download-path")
	return cmd
}

type download struct {
	app             *app
	session         *session
	workspace, root string
	now             time.Time
	files, skipped  int
	dirs            []string
}

func (d *download) where() string { return strings.Join(d.dirs, ", ") }

// folder downloads what is under a prefix of a datastore's container.
func (d *download) folder(ctx context.Context, datastore, prefix, into string) error {
	return d.blobs(ctx, datastore, prefix, prefix, into)
}

// file downloads one blob by its own name.
func (d *download) file(ctx context.Context, datastore, name, into string) error {
	return d.blobs(ctx, datastore, name, name[:strings.LastIndexByte(name, '/')+1], into)
}

// blobs downloads the blobs whose names begin with prefix, by what follows trim.
func (d *download) blobs(ctx context.Context, datastore, prefix, trim, into string) error {
	c := d.session.client
	sas, err := submit.ContainerURL(ctx, c, d.workspace, datastore, false, d.now)
	if err != nil {
		return err
	}
	dir := filepath.Join(d.root, into)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	root, err := os.OpenRoot(dir) // nothing is written outside it, whatever names and links say
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	defer root.Close()
	d.dirs = append(d.dirs, dir)
	for b, err := range c.ListBlobs(ctx, sas, prefix) {
		if err != nil {
			return err
		}
		rel := filepath.FromSlash(strings.TrimPrefix(b.Name, trim))
		if rel == "" || prefix != trim && b.Name != prefix {
			continue // the folder's own blob, or a neighbour of the one file
		}
		if !filepath.IsLocal(rel) {
			d.skip(b.Name, errors.New("its name points out of the directory"))
			continue
		}
		f, err := createIn(root, rel)
		if err != nil {
			d.skip(b.Name, err)
			continue
		}
		target, err := client.WithPath(sas, b.Name)
		if err == nil {
			var n int64
			if n, err = c.ReadBlob(ctx, target, 0, f); err == nil && n < b.Size {
				err = fmt.Errorf("got %d of %d bytes", n, b.Size)
			}
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("download %s: %w", b.Name, err)
		}
		d.files++
	}
	return nil
}

// skip says that a blob cannot be a file here. The others are downloaded all the
// same.
func (d *download) skip(name string, why error) {
	d.skipped++
	fmt.Fprintf(d.app.stderr, "%s skipped %q: %s\n", d.app.style(d.app.stderr).yellow("warning:"), name, why)
}

func createIn(root *os.Root, path string) (*os.File, error) {
	if err := root.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	return root.Create(path)
}

// outputs downloads the declared outputs, or the one that is named.
func (d *download) outputs(ctx context.Context, j arm.Doc, only string) error {
	declared := j.Object("properties.outputs")
	if only != "" && declared[only] == nil {
		return fmt.Errorf("job %s declares no output %q", j.String("name"), only)
	}
	for name := range declared {
		if name == "default" || only != "" && name != only {
			continue
		}
		if err := d.uri(ctx, j.String("properties.outputs."+name+".uri"), filepath.Join("named-outputs", name)); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
	}
	return nil
}

// uri downloads what is at a URI of a datastore: a folder, or one file.
func (d *download) uri(ctx context.Context, uri, into string) error {
	if m := jobArtifacts.FindStringSubmatch(uri); m != nil {
		uri = "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid." + m[1] + "/" + m[2]
	}
	_, rest, ok := strings.Cut(uri, "/datastores/")
	if !ok {
		return fmt.Errorf("%q is not in a datastore of the workspace", uri)
	}
	store, path, _ := strings.Cut(rest, "/paths/")
	path = strings.TrimSuffix(path, "/")
	before := d.files
	if err := d.folder(ctx, store, path+"/", into); err != nil || d.files > before {
		return err
	}
	return d.file(ctx, store, path, into)
}

// jobArtifacts is a URI of what a job left in its artifacts.
var jobArtifacts = regexp.MustCompile(`^azureml://jobs/([^/]+)/outputs/(?:default|artifacts)/paths/(.*)$`)
