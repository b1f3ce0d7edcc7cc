package jobspec

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// AssetKind is a kind of file besides those of jobs.
type AssetKind string

// The kinds, as `az ml` has them for commands.
const (
	DataAsset        AssetKind = "data"
	ModelAsset       AssetKind = "model"
	EnvironmentAsset AssetKind = "environment"
	DatastoreAsset   AssetKind = "datastore"
	ComponentAsset   AssetKind = "component"
)

// Asset is a data asset, a model, an environment, a component or a datastore as its file
// describes it.
type Asset struct {
	Kind AssetKind
	// Name is never empty. Version is empty where the service is to choose.
	Name, Version string
	Description   string
	Tags          map[string]string
	Properties    map[string]string
	// Type is a data type, a model type or a type of datastore, as the service
	// has it.
	Type string
	// Local is the path of data or a model that has to be uploaded, URI one that is
	// somewhere already; one of them is set.
	Local, URI string
	// Stage and Flavors are a model's.
	Stage   string
	Flavors map[string]any
	// Environment is an environment's content.
	Environment Environment
	// component is a component's content.
	component *Step
	// Datastore is a datastore's properties, as the service has them.
	Datastore map[string]any
	// Warnings are things that are accepted but probably not meant.
	Warnings Problems
}

// ParseAssetFile reads the file of an asset. Relative paths in it start from its
// directory, and have to exist. The error is Problems, or of the file system.
func ParseAssetFile(kind AssetKind, path string, set ...string) (*Asset, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s file: %w", kind, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the directory of the %s file: %w", kind, err)
	}
	return ParseAsset(kind, text, Options{File: path, Dir: dir, Set: set})
}

// ParseAsset reads the text of an asset's file. The error is Problems.
func ParseAsset(kind AssetKind, text []byte, o Options) (*Asset, error) {
	if o.File == "" {
		o.File = string(kind) + ".yml"
	}
	d := &decoder{positions: map[string]Position{}, overrides: map[*yaml.Node]string{}}
	var a *Asset
	if doc := d.parse(o.File, o.Dir, text); doc != nil {
		for _, arg := range o.Set {
			d.override(doc, arg)
		}
		if len(d.problems) == 0 {
			a = d.asset(kind, doc)
		}
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	d.warnings.sort()
	a.Warnings = d.warnings
	return a, nil
}

// assetName and datastoreName are what azure-ai-ml accepts, of at most maxName
// letters.
var (
	assetName     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	datastoreName = regexp.MustCompile(`^[a-z0-9_]+$`)
	runPath       = regexp.MustCompile(`^runs:/([^/]+)/(.+)$`)
)

func (d *decoder) asset(kind AssetKind, doc *document) *Asset {
	o := d.object(doc, doc.root, "")
	if o == nil {
		return nil
	}
	a := &Asset{Kind: kind, Name: o.name("name")}
	n := o.value["name"]
	switch {
	case n == nil:
		o.missing("name", "")
	case kind == DatastoreAsset && a.Name != "" && !isName(datastoreName, a.Name):
		d.failf(doc, n, "name", "a datastore's name has up to 255 lower-case letters, digits and underscores")
	case kind != DatastoreAsset && a.Name != "" && !isName(assetName, a.Name):
		d.failf(doc, n, "name", "a name has up to 255 letters, digits, hyphens, dots and underscores, and begins with a letter or digit")
	}
	if kind == DatastoreAsset {
		d.datastore(o, a)
		return a
	}
	if n := o.take("version"); n != nil { // 1 and "1" are the same version
		if n = d.follow(doc, n, "version"); n == nil {
			return nil
		}
		if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || !isName(assetName, n.Value) {
			d.failf(doc, n, "version", "a version has letters, digits, hyphens, dots and underscores, and begins with a letter or digit")
		}
		a.Version = n.Value
	}
	if kind == EnvironmentAsset {
		a.Environment = d.environmentBody(o)
		return a
	}
	if kind == ComponentAsset {
		a.component = &Step{Job: &Job{}}
		d.componentFile(doc, "", a.component)
		a.Description, _ = a.component.Spec["description"].(string)
		a.Tags = o.stringMap("tags", true)
		return a
	}
	for _, k := range []string{"$schema", "id", "creation_context", "datastore", "latest_version"} {
		o.take(k)
	}
	a.Description, a.Tags, a.Properties = o.str("description"), o.stringMap("tags", true), o.stringMap("properties", true)
	path := anyPath
	if kind == DataAsset {
		if a.Type = o.enum("type", "uri_folder", "uri_file", "mltable"); a.Type == "" {
			a.Type = "uri_folder"
		}
		path = map[string]pathKind{"uri_folder": dirPath, "uri_file": filePath, "mltable": dirPath}[a.Type]
	} else {
		if a.Type = o.enum("type", "custom_model", "mlflow_model", "triton_model"); a.Type == "" {
			a.Type = "custom_model"
		}
		a.Stage = o.str("stage")
		if n := o.take("flavors"); n != nil {
			a.Flavors, _ = d.anything(doc, n, "flavors", 0).(map[string]any)
		}
		o.take("job_name")
	}
	d.assetPath(o, a, path)
	o.close()
	return a
}

// ComponentSpec is the content of a component, as the service has it. What it is made of
// is registered with r. The version is the asset's.
func (a *Asset) ComponentSpec(ctx context.Context, r Resolver) (map[string]any, error) {
	j := &Job{Pipeline: &Pipeline{Steps: map[string]*Step{string(ComponentAsset): a.component}}}
	spec, err := j.componentSpec(ctx, r, string(ComponentAsset))
	if err != nil {
		return nil, err
	}
	spec["version"] = a.Version
	return spec, nil
}

func (d *decoder) assetPath(o *object, a *Asset, kind pathKind) {
	n := o.take("path")
	path, ok := d.str(o.doc, n, "path")
	switch {
	case n == nil:
		o.missing("path", "")
	case !ok:
	case remote.MatchString(path):
		a.URI = path
	case a.Kind == ModelAsset && runPath.MatchString(path): // what MLflow calls the artifacts of a run
		a.URI = runPath.ReplaceAllString(path, "azureml://jobs/$1/outputs/artifacts/paths/$2")
	case strings.HasPrefix(path, "azureml:"):
		d.failf(o.doc, n, "path", "%q is not a path: write one on this machine, or a URI such as azureml://datastores/<datastore>/paths/<path>", path)
	default:
		a.Local = d.localPath(o.doc, n, "path", strings.TrimPrefix(path, "file:"), kind)
	}
}

// datastore reads the file of a datastore into the properties that the service
// has for it.
func (d *decoder) datastore(o *object, a *Asset) {
	for _, k := range []string{"$schema", "id", "creation_context"} {
		o.take(k)
	}
	typ := o.enum("type", "azure_blob", "azure_file", "azure_data_lake_gen2")
	if !o.has("type") {
		o.missing("type", "")
	}
	a.Type = map[string]string{"azure_blob": "AzureBlob", "azure_file": "AzureFile", "azure_data_lake_gen2": "AzureDataLakeGen2"}[typ]
	a.Description, a.Tags = o.str("description"), o.stringMap("tags", true)
	p := map[string]any{"datastoreType": a.Type}
	put(p, "description", a.Description)
	putMap(p, "tags", a.Tags)
	place := map[string][2]string{
		"azure_blob": {"container_name", "containerName"}, "azure_file": {"file_share_name", "fileShareName"}, "azure_data_lake_gen2": {"filesystem", "filesystem"},
	}[typ]
	for _, k := range [][2]string{{"account_name", "accountName"}, place} {
		if k[0] == "" {
			continue
		}
		put(p, k[1], o.name(k[0]))
		if !o.has(k[0]) {
			o.missing(k[0], "")
		}
	}
	put(p, "endpoint", o.str("endpoint"))
	put(p, "protocol", o.enum("protocol", "https", "http", "abfss", "wasbs"))
	p["credentials"] = d.credentials(o)
	o.close()
	a.Datastore = p
}

func (d *decoder) credentials(o *object) map[string]any {
	c := o.sub("credentials")
	if c == nil {
		return map[string]any{"credentialsType": "None"} // whoever uses it comes as who they are
	}
	defer c.close()
	switch {
	case c.has("account_key"):
		return map[string]any{"credentialsType": "AccountKey", "secrets": map[string]any{"secretsType": "AccountKey", "key": c.name("account_key")}}
	case c.has("sas_token"):
		return map[string]any{"credentialsType": "Sas", "secrets": map[string]any{"secretsType": "Sas", "sasToken": c.name("sas_token")}}
	case c.has("client_secret"):
		out := map[string]any{"credentialsType": "ServicePrincipal", "secrets": map[string]any{"secretsType": "ServicePrincipal", "clientSecret": c.name("client_secret")}}
		for _, k := range [][2]string{{"tenant_id", "tenantId"}, {"client_id", "clientId"}, {"resource_url", "resourceUrl"}, {"authority_url", "authorityUrl"}} {
			put(out, k[1], c.str(k[0]))
		}
		return out
	}
	c.missing("account_key", " (or sas_token, or client_secret with tenant_id and client_id)")
	return nil
}
