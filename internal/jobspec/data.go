package jobspec

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// remote are the schemes of data that is already somewhere else.
var remote = regexp.MustCompile(`^(?:azureml://|https?:|wasbs?:|abfss?:|adl:)`)

// registryRef is an asset of a registry.
var registryRef = regexp.MustCompile(`^azureml://registries/([^/]+)/([^/]+)/([^/]+)/(versions|labels)/([^/]+)$`)

// assetRef reads azureml:name:version, azureml:name@label, a registry asset or
// a full resource ID. It returns nil after noting a problem.
func (d *decoder) assetRef(doc *document, n *yaml.Node, key, s string) *AssetRef {
	if strings.HasPrefix(s, "azureml://") {
		m := registryRef.FindStringSubmatch(s)
		if m == nil {
			d.failf(doc, n, key, "%q is not an asset of a registry: azureml://registries/<registry>/<kind>/<name>/versions/<version>, or …/labels/<label>", s)
			return nil
		}
		ref := &AssetRef{Registry: m[1], Kind: m[2], Name: m[3]}
		if m[4] == "labels" {
			ref.Label = m[5]
		} else {
			ref.Version = m[5]
		}
		return ref
	}
	name, prefixed := strings.CutPrefix(s, "azureml:")
	if !prefixed {
		d.failf(doc, n, key, `%q is not a reference to an asset: write "azureml:%s"`, s, withVersion(s))
		return nil
	}
	if strings.HasPrefix(strings.ToLower(name), "/subscriptions/") {
		if !strings.Contains(strings.ToLower(name), "/versions/") {
			d.failf(doc, n, key, "%q is not the resource ID of an asset version", name)
			return nil
		}
		return &AssetRef{ARMID: name}
	}
	ref := &AssetRef{}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		ref.Name, ref.Label = name[:i], name[i+1:]
	} else if i := strings.LastIndexByte(name, ':'); i >= 0 {
		ref.Name, ref.Version = name[:i], name[i+1:]
	} else {
		ref.Name = name
	}
	switch {
	case ref.Name == "" || strings.ContainsAny(ref.Name, "/ \t\n"):
		d.failf(doc, n, key, "%q is not the name of an asset", ref.Name)
	case ref.Version == "" && ref.Label == "":
		d.failf(doc, n, key, `no version: write "azureml:%s"`, withVersion(ref.Name))
	default:
		return ref
	}
	return nil
}

func withVersion(name string) string {
	if strings.ContainsAny(name, ":@") {
		return name
	}
	return name + ":<version>\" or \"azureml:" + name + "@latest"
}

func (d *decoder) inputs(o *object) map[string]Input {
	all := o.sub("inputs")
	if all == nil {
		return nil
	}
	out := make(map[string]Input, len(all.order))
	for _, name := range all.order {
		key := all.key(name)
		if !ioName.MatchString(name) {
			d.failf(o.doc, all.keys[name], key, "a name has letters, digits and _, and begins with a letter or _")
			continue
		}
		n := d.follow(o.doc, all.take(name), key)
		if n == nil {
			continue
		}
		b := d.binding(o.doc, n, key)
		switch {
		case b != nil:
			out[name] = Input{Type: "literal", Binding: b}
		case n.Kind == yaml.MappingNode:
			out[name] = d.input(o.doc, n, key)
		case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
			d.failf(o.doc, n, key, "expected a string, number, boolean or an object with type and path, found %s", describe(n))
		default:
			out[name] = Input{Type: "literal", Value: literal(n)}
		}
	}
	return out
}

func (d *decoder) input(doc *document, n *yaml.Node, key string) Input {
	o := d.object(doc, n, key)
	if o == nil {
		return Input{}
	}
	if o.has("value") {
		in := Input{Type: "literal"}
		v := d.follow(doc, o.take("value"), o.key("value"))
		switch {
		case v == nil:
		case v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null":
			d.failf(doc, v, o.key("value"), "expected a string, number or boolean, found %s", describe(v))
		default:
			in.Value = literal(v)
		}
		for _, k := range []string{"type", "path", "mode", "datastore"} {
			if o.has(k) {
				d.failf(doc, o.take(k), o.key(k), "a literal (value) has no %s", k)
			}
		}
		o.close()
		return in
	}
	in := Input{
		Type:      o.enum("type", "uri_folder", "uri_file", "mltable", "custom_model", "mlflow_model", "triton_model"),
		Mode:      o.enum("mode", "ro_mount", "download", "direct", "eval_mount", "eval_download"),
		Datastore: strings.TrimPrefix(o.str("datastore"), "azureml:"),
	}
	if in.Type == "" {
		in.Type = "uri_folder"
	}
	if strings.HasPrefix(in.Mode, "eval_") && in.Type != "mltable" {
		d.failf(doc, o.value["mode"], o.key("mode"), "%s is for inputs of type mltable alone, and this one is %s", in.Mode, in.Type)
	}
	pn := o.take("path")
	if in.Binding = d.binding(doc, pn, o.key("path")); in.Binding != nil {
		o.close()
		return in
	}
	path, ok := d.str(doc, pn, o.key("path"))
	if !ok {
		if pn == nil {
			o.missing("path", "")
		}
		o.close()
		return in
	}
	switch {
	case strings.Contains(path, "${{"):
		d.failf(doc, pn, o.key("path"), "expressions such as %q are for the inputs of pipeline steps", path)
	case strings.HasPrefix(path, "azureml://registries/"), strings.HasPrefix(path, "azureml:") && !strings.HasPrefix(path, "azureml://"):
		in.Asset = d.assetRef(doc, pn, o.key("path"), path)
	case strings.HasSuffix(in.Type, "_model") && runPath.MatchString(path): // what MLflow calls the artifacts of a run
		in.URI = runPath.ReplaceAllString(path, "azureml://jobs/$1/outputs/artifacts/paths/$2")
	case remote.MatchString(path):
		in.URI = path
	default:
		kind := anyPath
		switch in.Type {
		case "uri_file":
			kind = filePath
		case "uri_folder", "mltable":
			kind = dirPath
		}
		in.Local = d.localPath(doc, pn, o.key("path"), strings.TrimPrefix(path, "file:"), kind)
	}
	if in.Datastore != "" && in.Local == "" {
		d.failf(doc, o.value["datastore"], o.key("datastore"), "is where a local path is uploaded to, and the path is not local")
	}
	o.close()
	return in
}

func (d *decoder) outputs(o *object) map[string]Output {
	all := o.sub("outputs")
	if all == nil {
		return nil
	}
	out := make(map[string]Output, len(all.order))
	for _, name := range all.order {
		key := all.key(name)
		if !ioName.MatchString(name) {
			d.failf(o.doc, all.keys[name], key, "a name has letters, digits and _, and begins with a letter or _")
			continue
		}
		n := d.follow(o.doc, all.take(name), key)
		if n == nil {
			continue
		}
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
			out[name] = Output{Type: "uri_folder"}
			continue
		}
		if b := d.binding(o.doc, n, key); b != nil {
			out[name] = Output{Type: "uri_folder", Binding: b}
			continue
		}
		p := d.object(o.doc, n, key)
		if p == nil {
			continue
		}
		v := Output{
			Type: p.enum("type", "uri_folder", "uri_file", "mltable", "custom_model", "mlflow_model", "triton_model"),
			Mode: p.enum("mode", "rw_mount", "upload", "direct", "mount"),
			URI:  p.str("path"),
			Name: p.str("name"), Version: p.str("version"),
		}
		if v.Type == "" {
			v.Type = "uri_folder"
		}
		if v.Mode == "mount" {
			v.Mode = "rw_mount"
		}
		if v.URI != "" && !remote.MatchString(v.URI) {
			d.failf(o.doc, p.value["path"], p.key("path"), "an output goes to a datastore: azureml://datastores/<datastore>/paths/<path>")
		}
		if v.Version != "" && v.Name == "" {
			d.failf(o.doc, p.value["version"], p.key("version"), "a version needs a name")
		}
		p.close()
		out[name] = v
	}
	return out
}
