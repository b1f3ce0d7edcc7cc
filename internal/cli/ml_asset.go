package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
	"github.com/azimuth-ml/azimuth/internal/submit"
)

// assetCommand is `ml data`, `ml model`, `ml environment` or `ml component`, which differ in
// little.
type assetCommand struct {
	app  *app
	ml   *mlFlags
	kind jobspec.AssetKind
	// options are flags of create that stand for keys of the file.
	options []assetOption
}

type assetOption struct{ flag, key, usage string }

func (a *app) mlAssetCommands(f *mlFlags) []*cobra.Command {
	common := []assetOption{{"version", "version", "version (default: the next)"}, {"description", "description", "description"}}
	path := assetOption{"path", "path", "a path on this machine, or a URI"}
	return []*cobra.Command{
		(&assetCommand{a, f, jobspec.DataAsset, append(common, path, assetOption{"type", "type", "uri_file, uri_folder or mltable"})}).command("data assets"),
		(&assetCommand{a, f, jobspec.ModelAsset, append(common, path, assetOption{"type", "type", "custom_model, mlflow_model or triton_model"},
			assetOption{"stage", "stage", "stage"})}).command("models"),
		(&assetCommand{a, f, jobspec.EnvironmentAsset, append(common, assetOption{"image", "image", "image"}, assetOption{"conda-file", "conda_file", "conda file"},
			assetOption{"build-context", "build.path", "directory with a Dockerfile"}, assetOption{"dockerfile-path", "build.dockerfile_path", "Dockerfile in --build-context"},
			assetOption{"os-type", "os_type", "linux or windows"})}).command("environments"),
		(&assetCommand{a, f, jobspec.ComponentAsset, common}).command("components of pipelines"),
	}
}

func (c *assetCommand) command(what string) *cobra.Command {
	cmd := &cobra.Command{Use: string(c.kind), Short: "Create, list, show, change and archive " + what}
	cmd.AddCommand(c.create(), c.list(), c.show(), c.update(), c.archive("archive", true), c.archive("restore", false))
	if c.kind == jobspec.ModelAsset {
		cmd.AddCommand(c.download())
	}
	return cmd
}

func (c *assetCommand) path(ws arm.Doc, name, version string) string {
	path := ws.String("id") + "/" + submit.Collection(c.kind) + "/" + url.PathEscape(name)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// nameFlags adds -n and -v.
func (c *assetCommand) nameFlags(cmd *cobra.Command, name, version *string) {
	cmd.Flags().StringVarP(name, "name", "n", "", "name of the "+string(c.kind))
	cmd.RegisterFlagCompletionFunc("name", c.app.completeNames(c.ml, submit.Collection(c.kind)))
	if version != nil {
		cmd.Flags().StringVarP(version, "version", "v", "", "version")
	}
}

// assetSource is where a create takes its definition from: a file, or flags
// alone, each with overrides.
func (a *app) assetSource(kind jobspec.AssetKind, file string, set []string) (*jobspec.Asset, error) {
	var asset *jobspec.Asset
	var err error
	if file != "" {
		asset, err = jobspec.ParseAssetFile(kind, file, set...)
	} else {
		wd, wdErr := os.Getwd()
		if wdErr != nil {
			return nil, wdErr
		}
		asset, err = jobspec.ParseAsset(kind, []byte("{}"), jobspec.Options{File: "the command line", Dir: wd, Set: set})
	}
	if err != nil {
		return nil, fmt.Errorf("the %s was not created:\n%w", kind, err)
	}
	for _, w := range asset.Warnings {
		fmt.Fprintf(a.stderr, "%s %s\n", a.style(a.stderr).yellow("warning:"), w)
	}
	return asset, nil
}

// createAsset uploads and creates.
func (a *app) createAsset(ctx context.Context, f *mlFlags, asset *jobspec.Asset, show func([]arm.Doc) *table) error {
	return a.withWorkspace(ctx, f, func(s *session, ws arm.Doc) error {
		sub := &submit.Submitter{Client: s.client, Workspace: ws.String("id"), Now: s.now, Progress: a.step}
		doc, err := sub.Asset(ctx, asset)
		if err != nil {
			return err
		}
		return a.print("json", doc, func() *table { return show([]arm.Doc{doc}) })
	})
}

func (c *assetCommand) create() *cobra.Command {
	var file, name string
	var set []string
	values := make([]string, len(c.options))
	cmd := &cobra.Command{
		Use: "create [-f FILE] [-n NAME]", Short: "Create a version, from a YAML file or from flags", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var flags []string
			if name != "" {
				flags = append(flags, "name="+name)
			}
			for i, o := range c.options {
				if cmd.Flags().Changed(o.flag) {
					flags = append(flags, o.key+"="+values[i])
				}
			}
			if file == "" && len(flags) == 0 {
				return usagef("give a file with -f, or a name and the rest as flags")
			}
			asset, err := c.app.assetSource(c.kind, file, append(flags, set...))
			if err != nil {
				return err
			}
			return c.app.createAsset(cmd.Context(), c.ml, asset, c.versions)
		},
	}
	c.nameFlags(cmd, &name, nil)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the YAML file")
	cmd.MarkFlagFilename("file", "yml", "yaml")
	for i, o := range c.options {
		short := map[string]string{"version": "v", "path": "p", "type": "t", "image": "i", "conda-file": "c", "build-context": "b", "dockerfile-path": "d"}[o.flag]
		cmd.Flags().StringVarP(&values[i], o.flag, short, "", o.usage)
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "override a key of the file, KEY.PATH=VALUE (repeatable)")
	return cmd
}

// viewFlags choose what lists show of what is archived, as az does.
type viewFlags struct{ archived, all bool }

func (v *viewFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&v.archived, "archived-only", false, "list what is archived")
	cmd.Flags().BoolVar(&v.all, "include-archived", false, "list what is archived, too")
	cmd.MarkFlagsMutuallyExclusive("archived-only", "include-archived")
}

func (v *viewFlags) query(q url.Values) {
	switch {
	case v.archived:
		q.Set("listViewType", "ArchivedOnly")
	case v.all:
		q.Set("listViewType", "All")
	}
}

// collect lists at most so many, 0 for all.
func collect(ctx context.Context, s *session, path string, most int) ([]arm.Doc, error) {
	all := []arm.Doc{}
	for d, err := range client.List[arm.Doc](ctx, s.client, path, mlAPI) {
		if err != nil {
			return nil, err
		}
		if all = append(all, d); len(all) == most {
			break
		}
	}
	return all, nil
}

func (c *assetCommand) list() *cobra.Command {
	var name string
	var most int
	var view viewFlags
	cmd := &cobra.Command{
		Use: "list [-n NAME]", Short: "List them, or with -n the versions of one, newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 0 {
				return usagef("--max-results is a number of results, not %d", most)
			}
			return c.app.withWorkspace(cmd.Context(), c.ml, func(s *session, ws arm.Doc) error {
				path, show, q := ws.String("id")+"/"+submit.Collection(c.kind), c.containers, url.Values{}
				if name != "" {
					path, show = c.path(ws, name, "")+"/versions", c.versions
				}
				if view.query(q); most > 0 {
					q.Set("$top", strconv.Itoa(min(most, 1000)))
				}
				if len(q) > 0 {
					path += "?" + q.Encode()
				}
				all, err := collect(cmd.Context(), s, path, most)
				if err != nil {
					return err
				}
				return c.app.print("table", all, func() *table { return show(all) })
			})
		},
	}
	c.nameFlags(cmd, &name, nil)
	cmd.Flags().IntVarP(&most, "max-results", "r", 0, "the most to list (default: all)")
	view.add(cmd)
	return cmd
}

func (c *assetCommand) containers(all []arm.Doc) *table {
	t := &table{header: []string{"name", "latest version", "created", "archived", "description"}}
	for _, d := range all {
		t.add(d.String("name"), d.String("properties.latestVersion"), created(d), yes(d.Bool("properties.isArchived", false)), d.String("properties.description"))
	}
	return t
}

func (c *assetCommand) versions(all []arm.Doc) *table {
	last := "path"
	if c.kind == jobspec.ComponentAsset {
		last = "display name"
	}
	t := &table{header: []string{"name", "version", "type", "created", "archived", last}}
	for _, d := range all {
		typ, path := d.String("properties.dataType"), d.String("properties.dataUri")
		switch c.kind {
		case jobspec.ModelAsset:
			typ, path = d.String("properties.modelType"), d.String("properties.modelUri")
		case jobspec.ComponentAsset:
			typ, path = d.String("properties.componentSpec.type"), d.String("properties.componentSpec.display_name")
		case jobspec.EnvironmentAsset:
			typ, path = d.String("properties.environmentType"), d.String("properties.image")
			if path == "" {
				path = d.String("properties.build.contextUri")
			}
		}
		t.add(nameOfVersion(d), d.String("name"), typ, created(d), yes(d.Bool("properties.isArchived", false)), path)
	}
	return t
}

// nameOfVersion is the name of the asset that a version is of.
func nameOfVersion(d arm.Doc) string {
	id, err := arm.ParseID(d.String("id"))
	if err != nil {
		return ""
	}
	return id.Parent().Name()
}

func created(d arm.Doc) string {
	at := d.String("systemData.createdAt")
	if ts, err := time.Parse(time.RFC3339, at); err == nil {
		return ts.Local().Format(time.DateTime)
	}
	return at
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// version reads the version of an asset, that of a label, or of neither the
// latest.
func (c *assetCommand) version(ctx context.Context, s *session, ws arm.Doc, name, version, label string) (arm.Doc, error) {
	missing := func(err error) error {
		if client.IsNotFound(err) {
			what := fmt.Sprintf("%s %q", c.kind, name)
			if version != "" {
				what = fmt.Sprintf("version %q of %s", version, what)
			}
			return hint(fmt.Errorf("there is no %s in workspace %s", what, ws.String("name")), "See what there is: azimuth ml %s list", c.kind)
		}
		return err
	}
	var d arm.Doc
	if version == "" {
		if label != "" && !strings.EqualFold(label, "latest") {
			return nil, usagef("--label is latest, not %q", label)
		}
		if err := s.client.Do(ctx, http.MethodGet, c.path(ws, name, ""), mlAPI, nil, &d); err != nil {
			return nil, missing(err)
		}
		latest := d.String("properties.latestVersion")
		if latest == "" {
			return nil, fmt.Errorf("%s %q has no version yet", c.kind, name)
		}
		version, d = latest, nil
	}
	err := s.client.Do(ctx, http.MethodGet, c.path(ws, name, version), mlAPI, nil, &d)
	return d, missing(err)
}

func (c *assetCommand) show() *cobra.Command {
	var name, version, label string
	cmd := &cobra.Command{
		Use: "show -n NAME [-v VERSION]", Short: "Show a version, the latest unless told", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.app.withWorkspace(cmd.Context(), c.ml, func(s *session, ws arm.Doc) error {
				d, err := c.version(cmd.Context(), s, ws, name, version, label)
				if err != nil {
					return err
				}
				return c.app.print("json", d, func() *table { return c.versions([]arm.Doc{d}) })
			})
		},
	}
	c.nameFlags(cmd, &name, &version)
	cmd.Flags().StringVarP(&label, "label", "l", "", "label instead of a version: latest")
	cmd.MarkFlagsMutuallyExclusive("version", "label")
	cmd.MarkFlagRequired("name")
	return cmd
}

// change reads, changes and writes back a document.
func (s *session) change(ctx context.Context, path string, change func(props arm.Doc) error) (arm.Doc, error) {
	var d arm.Doc
	if err := s.client.Do(ctx, http.MethodGet, path, mlAPI, nil, &d); err != nil {
		return nil, err
	}
	props := d.Object("properties")
	if err := change(props); err != nil {
		return nil, err
	}
	var out arm.Doc
	err := s.client.Do(ctx, http.MethodPut, path, mlAPI, map[string]any{"properties": props}, &out)
	return out, err
}

// setTexts applies --set to what may change of a job or an asset: keys, as files
// have them, of texts and tags.
func setTexts(props arm.Doc, set []string, texts map[string]string) error {
	for _, arg := range set {
		key, value, ok := strings.Cut(arg, "=")
		name, tag, isTag := strings.Cut(key, ".")
		switch {
		case !ok:
			return usagef("write --set KEY=VALUE, not %q", arg)
		case isTag && (name == "tags" || name == "properties") && tag != "":
			if props.Object(name) == nil {
				props.Set(name, map[string]any{})
			}
			props.Object(name)[tag] = value
		case !isTag && texts[name] != "":
			props.Set(texts[name], value)
		default:
			return usagef("%q cannot be changed; description and tags.NAME can", key)
		}
	}
	return nil
}

func (c *assetCommand) update() *cobra.Command {
	var name, version string
	var set []string
	cmd := &cobra.Command{
		Use: "update -n NAME -v VERSION --set KEY=VALUE", Short: "Change the description or tags of a version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.app.withWorkspace(cmd.Context(), c.ml, func(s *session, ws arm.Doc) error {
				texts := map[string]string{"description": "description"}
				if c.kind == jobspec.ModelAsset {
					texts["stage"] = "stage"
				}
				d, err := s.change(cmd.Context(), c.path(ws, name, version), func(props arm.Doc) error { return setTexts(props, set, texts) })
				if err != nil {
					return err
				}
				return c.app.print("json", d, func() *table { return c.versions([]arm.Doc{d}) })
			})
		},
	}
	c.nameFlags(cmd, &name, &version)
	cmd.Flags().StringArrayVar(&set, "set", nil, "description=TEXT or tags.NAME=VALUE (repeatable)")
	for _, f := range []string{"name", "version", "set"} {
		cmd.MarkFlagRequired(f)
	}
	return cmd
}

func (c *assetCommand) archive(verb string, archived bool) *cobra.Command {
	var name, version string
	cmd := &cobra.Command{
		Use: verb + " -n NAME [-v VERSION]", Short: strings.ToUpper(verb[:1]) + verb[1:] + " a version, or without -v the whole " + string(c.kind), Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.app.withWorkspace(cmd.Context(), c.ml, func(s *session, ws arm.Doc) error {
				_, err := s.change(cmd.Context(), c.path(ws, name, version), func(props arm.Doc) error {
					props.Set("isArchived", archived)
					return nil
				})
				return err
			})
		},
	}
	c.nameFlags(cmd, &name, &version)
	cmd.MarkFlagRequired("name")
	return cmd
}

func (c *assetCommand) download() *cobra.Command {
	var name, version, path string
	cmd := &cobra.Command{
		Use: "download -n NAME -v VERSION", Short: "Download the files of a model", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.app.withWorkspace(ctx, c.ml, func(s *session, ws arm.Doc) error {
				m, err := c.version(ctx, s, ws, name, version, "")
				if err != nil {
					return err
				}
				now, err := s.now(ctx)
				if err != nil {
					return err
				}
				d := &download{app: c.app, session: s, workspace: ws.String("id"), now: now, root: path}
				if err := d.uri(ctx, m.String("properties.modelUri"), name); err != nil {
					return err
				}
				if d.files == 0 {
					return fmt.Errorf("there is nothing at %s", m.String("properties.modelUri"))
				}
				fmt.Fprintf(c.app.stdout, "downloaded %s to %s\n", plural(d.files, "file", "files"), filepath.Join(path, name))
				return nil
			})
		},
	}
	c.nameFlags(cmd, &name, &version)
	cmd.Flags().StringVarP(&path, "download-path", "p", ".", "directory to download to")
	cmd.MarkFlagDirname("download-path")
	cmd.MarkFlagRequired("name")
	cmd.MarkFlagRequired("version")
	return cmd
}
