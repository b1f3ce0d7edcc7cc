package jobspec

import (
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) environment(o *object) Environment {
	n := o.take("environment")
	if n == nil {
		return Environment{}
	}
	if n = d.follow(o.doc, n, o.key("environment")); n == nil {
		return Environment{}
	}
	if n.Kind == yaml.MappingNode {
		return d.inlineEnvironment(o.doc, n, o.key("environment"))
	}
	s, ok := d.str(o.doc, n, o.key("environment"))
	if !ok {
		return Environment{}
	}
	if file, is := strings.CutPrefix(s, "file:"); is {
		return d.environmentFile(o.doc, n, o.key("environment"), file)
	}
	ref := d.assetRef(o.doc, n, o.key("environment"), s)
	if ref == nil {
		return Environment{}
	}
	return Environment{Asset: ref}
}

// environmentFile reads the environment YAML that file:path names. Its own
// relative paths start from its own directory.
func (d *decoder) environmentFile(doc *document, n *yaml.Node, key, path string) Environment {
	if doc.dir == "" {
		d.failf(doc, n, key, "an environment file can be read only beside a job file")
		return Environment{}
	}
	before := len(d.problems)
	abs := d.localPath(doc, n, key, path, filePath)
	if len(d.problems) > before {
		return Environment{}
	}
	text, err := readFile(abs)
	if err != nil {
		d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: key, Message: err.Error(), Err: err})
		return Environment{}
	}
	sub := d.parse(abs, filepath.Dir(abs), text)
	if sub == nil {
		return Environment{}
	}
	return d.inlineEnvironment(sub, sub.root, key)
}

func (d *decoder) inlineEnvironment(doc *document, n *yaml.Node, key string) Environment {
	o := d.object(doc, n, key)
	if o == nil {
		return Environment{}
	}
	for _, k := range []string{"name", "version"} {
		if o.take(k) != nil {
			d.warnf(doc, o.at(k), o.key(k), "not used: an environment defined in a job file is anonymous")
		}
	}
	return d.environmentBody(o)
}

// environmentBody reads what an environment is made of, and closes o.
func (d *decoder) environmentBody(o *object) Environment {
	doc := o.doc
	for _, k := range []string{"$schema", "id", "creation_context", "inference_config", "datastore"} {
		o.take(k) // no meaning for a command job
	}
	for _, k := range []string{"channels", "dependencies"} {
		if o.take(k) != nil {
			d.failf(doc, o.at(k), o.key(k), "belongs into the conda file, not into the environment")
		}
	}
	env := Environment{
		Image:       o.name("image"),
		OSType:      map[string]string{"linux": "Linux", "windows": "Windows", "": "Linux"}[o.enum("os_type", "linux", "windows")],
		Description: o.str("description"),
		Tags:        o.stringMap("tags", true),
		Properties:  o.stringMap("properties", true),
	}
	if b := o.sub("build"); b != nil {
		env.DockerfilePath = b.name("dockerfile_path")
		if env.DockerfilePath == "" {
			env.DockerfilePath = "Dockerfile"
		}
		pn := b.take("path")
		if path, ok := d.str(doc, pn, b.key("path")); ok {
			if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "git+") {
				env.BuildURL = path
			} else {
				env.BuildLocal = d.localPath(doc, pn, b.key("path"), strings.TrimPrefix(path, "file:"), dirPath)
			}
		} else if pn == nil {
			b.missing("path", "")
		}
		b.close()
	}
	if c := o.take("conda_file"); c != nil {
		env.CondaFile = d.condaFile(doc, c, o.key("conda_file"))
	}
	switch {
	case o.has("image") && o.has("build"):
		d.failf(doc, o.at("build"), o.key("build"), "an environment has image or build, not both")
	case o.has("build") && o.has("conda_file"):
		d.failf(doc, o.at("conda_file"), o.key("conda_file"), "a conda file goes with image, not with build")
	case !o.has("image") && !o.has("build"):
		o.missing("image", " (or build)")
	}
	o.close()
	return env
}

// condaFile returns the text of a conda environment, inline or from its file.
func (d *decoder) condaFile(doc *document, n *yaml.Node, key string) string {
	if n = d.follow(doc, n, key); n == nil {
		return ""
	}
	if n.Kind == yaml.MappingNode {
		v := d.anything(doc, n, key, 0)
		if len(d.problems) > 0 {
			return ""
		}
		text, err := yaml.Marshal(v)
		if err != nil {
			d.failf(doc, n, key, "%v", err)
		}
		return string(text)
	}
	path, ok := d.str(doc, n, key)
	if !ok {
		return ""
	}
	before := len(d.problems)
	abs := d.localPath(doc, n, key, strings.TrimPrefix(path, "file:"), filePath)
	if doc.dir == "" || len(d.problems) > before {
		return ""
	}
	text, err := readFile(abs)
	if err != nil {
		d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: key, Message: err.Error(), Err: err})
		return ""
	}
	if sub := d.parse(abs, filepath.Dir(abs), text); sub != nil && sub.root.Kind != yaml.MappingNode {
		d.failf(sub, sub.root, key, "a conda file is an object (name, channels, dependencies), found %s", describe(sub.root))
	}
	return string(text)
}
