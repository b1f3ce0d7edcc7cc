package jobspec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

// maxFileSize bounds a job, environment or conda file in bytes.
const maxFileSize = 4 << 20

// Options says how a job file is read.
type Options struct {
	// File is the name that problems are reported under. Default "job.yml".
	File string
	// Dir is what relative paths start from. With an empty Dir local paths are
	// kept as they are written, and neither checked nor read.
	Dir string
	// Set are overrides as `az ml job create --set` takes them: "key.path=value".
	// A value that begins with { or [ is read as YAML. They are applied in order.
	Set []string
}

// ParseFile reads a job file. Relative paths in it start from its directory,
// and have to exist. The error is Problems, or of the file system.
func ParseFile(path string, set ...string) (*Job, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read job file: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the directory of the job file: %w", err)
	}
	return Parse(text, Options{File: path, Dir: dir, Set: set})
}

// Parse reads the text of a job file. The error is Problems, sorted by line.
func Parse(text []byte, o Options) (*Job, error) {
	if o.File == "" {
		o.File = "job.yml"
	}
	d := &decoder{positions: map[string]Position{}, overrides: map[*yaml.Node]string{}}
	var job *Job
	if doc := d.parse(o.File, o.Dir, text); doc != nil {
		for _, arg := range o.Set {
			d.override(doc, arg)
		}
		if len(d.problems) == 0 {
			job = d.job(doc)
		}
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	d.warnings.sort()
	job.Warnings, job.file, job.positions = d.warnings, o.File, d.positions
	return job, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFileSize>>20)
	}
	return text, nil
}

// otherTypes are the job types of the CLI besides command.
func otherTypes() []string {
	return []string{"sweep", "pipeline", "automl", "spark", "parallel", "import", "data_transfer"}
}

// jobType finds out what kind of job a file is, "" after noting a problem. A
// file without type is a command job for the CLI; one whose $schema or keys say
// otherwise gets a better answer than thirty unknown keys.
func (d *decoder) jobType(o *object) string {
	n := o.take("type")
	schema, _ := d.str(o.doc, o.take("$schema"), "$schema")
	typ := ""
	if n != nil {
		s, ok := d.str(o.doc, n, "type")
		if !ok {
			return ""
		}
		typ = strings.ToLower(s)
	} else {
		base := strings.ToLower(schema[strings.LastIndex(schema, "/")+1:])
		for _, t := range otherTypes() {
			if strings.HasPrefix(base, strings.ReplaceAll(t, "_", "")+"job.") {
				typ, n = t, o.value["$schema"]
			}
		}
		switch {
		case typ != "":
		case o.has("jobs"):
			typ, n = "pipeline", o.keys["jobs"]
		case o.has("trial") || o.has("search_space"):
			typ, n = "sweep", o.node
		default:
			typ = "command"
		}
	}
	switch {
	case typ == "command", typ == "pipeline", typ == "sweep":
		return typ
	case slices.Contains(otherTypes(), typ):
		pos := d.at(o.doc, n)
		d.problems = append(d.problems, &Problem{Position: pos, Key: "type", Err: ErrNotImplemented,
			Message: fmt.Sprintf("%s jobs are %s; command, pipeline and sweep jobs are", typ, ErrNotImplemented)})
	default:
		words := append([]string{"command"}, otherTypes()...)
		d.failf(o.doc, n, "type", "%q is not one of %s%s", typ, strings.Join(words, ", "), hint(typ, words))
	}
	return ""
}

// maxName is how long names are at most. It is no part of the patterns, because
// each process of azimuth compiles them and a bound makes that slow.
const maxName = 255

func isName(pattern *regexp.Regexp, s string) bool {
	return len(s) <= maxName && pattern.MatchString(s)
}

// jobName is the pattern of a job's resource name in the REST API, of at most
// maxName letters.
var jobName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9\-_]*$`)

// ioName is what the CLI lets inputs and outputs be called.
var ioName = regexp.MustCompile(`^[a-zA-Z_]+[a-zA-Z0-9_]*$`)

// shmSize is the pattern of shmSize in the REST API with a number above 0.
var shmSize = regexp.MustCompile(`^0*[1-9][0-9]*[bBkKmMgG]$`)

func (d *decoder) job(doc *document) *Job {
	o := d.object(doc, doc.root, "")
	if o == nil {
		return nil
	}
	typ := d.jobType(o)
	if typ == "" {
		return nil
	}
	// What `az ml job show` prints besides what create takes; create ignores it.
	for _, k := range []string{"id", "status", "creation_context", "log_files", "parameters"} {
		o.take(k)
	}
	j := &Job{
		Name:           o.str("name"),
		DisplayName:    o.str("display_name"),
		Description:    o.str("description"),
		ExperimentName: o.name("experiment_name"),
		ParentJobName:  o.str("parent_job_name"),
		Tags:           o.stringMap("tags", true),
		Properties:     o.stringMap("properties", true),
	}
	if n := o.value["name"]; n != nil && j.Name != "" && !isName(jobName, j.Name) {
		d.failf(doc, n, "name", "a job name has up to 255 letters, digits, - and _, and begins with a letter or digit")
	}
	if typ == "pipeline" {
		d.pipeline(o, j)
		return j
	}
	if typ == "sweep" {
		d.sweep(o, j)
		return j
	}
	d.command(o, j)
	if !o.has("command") {
		o.missing("command", "")
	}
	if !o.has("environment") {
		o.missing("environment", `, for example environment: azureml:<name>@latest, or an image`)
	}
	o.close()
	if n := o.value["command"]; n != nil {
		d.expressions(o, n, j)
	}
	return j
}

// command reads what command jobs and the steps of pipelines have both.
func (d *decoder) command(o *object, j *Job) {
	j.Command = o.name("command")
	j.Code = d.code(o)
	j.Environment = d.environment(o)
	d.settings(o, j)
	j.Services = d.services(o)
}

// settings reads how and where a command runs.
func (d *decoder) settings(o *object, j *Job) {
	doc := o.doc
	j.EnvironmentVariables = o.stringMap("environment_variables", false)
	for _, k := range sortedKeys(j.EnvironmentVariables) {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			d.failf(doc, o.value["environment_variables"], o.key("environment_variables"), "%q cannot be the name of an environment variable", k)
		}
	}
	j.Compute = d.compute(o)
	j.Resources = d.resources(o)
	j.Distribution = d.distribution(o)
	if l := o.sub("limits"); l != nil {
		if v := l.integer("timeout", 1, 1<<40); v != nil {
			j.TimeoutSeconds = *v
		}
		l.close()
	}
	j.Inputs = d.inputs(o)
	j.Outputs = d.outputs(o)
	j.QueueSettings = d.queueSettings(o)
	j.Identity = d.identity(o)
}

// sub reads the object at a key, or nil.
func (o *object) sub(k string) *object {
	n := o.take(k)
	if n == nil {
		return nil
	}
	return o.d.object(o.doc, n, o.key(k))
}

func (d *decoder) code(o *object) Code {
	n := o.take("code")
	s, ok := d.str(o.doc, n, o.key("code"))
	if !ok {
		return Code{}
	}
	switch {
	case s == "":
		d.failf(o.doc, n, o.key("code"), "must not be empty; write . for the directory of the job file")
	case strings.HasPrefix(s, "azureml:"):
		return Code{Asset: d.assetRef(o.doc, n, o.key("code"), s)}
	case strings.HasPrefix(s, "git+") || strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://"):
		return Code{URL: s}
	default:
		return Code{Local: d.localPath(o.doc, n, o.key("code"), strings.TrimPrefix(s, "file:"), anyPath)}
	}
	return Code{}
}

func (d *decoder) compute(o *object) Compute { return d.computeAt(o, "compute") }

// computeAt reads a compute at any key.
func (d *decoder) computeAt(o *object, k string) Compute {
	n := o.take(k)
	s, ok := d.str(o.doc, n, o.key(k))
	if !ok {
		return Compute{}
	}
	name, prefixed := strings.CutPrefix(s, "azureml:")
	if b := d.binding(o.doc, n, o.key(k)); b != nil && b.Kind == pipeline.Input {
		return Compute{ARMID: b.String()} // the service puts the input's value there
	}
	switch {
	case strings.EqualFold(s, "local"):
		return Compute{Local: true}
	case strings.EqualFold(name, "serverless"):
		return Compute{Said: true}
	case strings.HasPrefix(name, "/"):
		if i := strings.LastIndex(strings.ToLower(name), "/computes/"); i < 0 || strings.Contains(name[i+len("/computes/"):], "/") || strings.HasSuffix(name, "/") {
			d.failf(o.doc, n, o.key(k), "%q is not the resource ID of a compute", name)
		}
		return Compute{ARMID: name}
	case name == "" || strings.ContainsAny(name, "/:@ \t\n<>"):
		d.failf(o.doc, n, o.key(k), `%q is not the name of a compute: write "azureml:<name>"`, name)
	case !prefixed:
		// The documented form has the prefix; the CLI's schema takes both.
		d.warnf(o.doc, n, o.key(k), `write "azureml:%s" to refer to a compute of the workspace`, s)
	}
	return Compute{Name: name}
}

func (d *decoder) resources(o *object) *Resources {
	r := o.sub("resources")
	if r == nil {
		return nil
	}
	out := &Resources{
		InstanceCount:    r.count("instance_count", 1),
		MaxInstanceCount: r.count("max_instance_count", 1),
		InstanceType:     r.str("instance_type"),
		ShmSize:          r.str("shm_size"),
		DockerArgs:       r.str("docker_args"),
		Locations:        r.strings("locations"),
	}
	if p := r.sub("properties"); p != nil {
		out.Properties = map[string]any{}
		for _, k := range p.order {
			out.Properties[k] = d.anything(o.doc, p.value[k], p.key(k), 0)
		}
	}
	if out.ShmSize != "" && !shmSize.MatchString(out.ShmSize) {
		d.failf(o.doc, r.value["shm_size"], r.key("shm_size"),
			"%q is not a size: a number above 0 and one of b, k, m, g, such as 2g", out.ShmSize)
	}
	if out.MaxInstanceCount != 0 && out.MaxInstanceCount < max(out.InstanceCount, 1) {
		d.failf(o.doc, r.value["max_instance_count"], r.key("max_instance_count"),
			"is %d, less than instance_count (%d)", out.MaxInstanceCount, max(out.InstanceCount, 1))
	}
	r.close()
	return out
}

func (d *decoder) distribution(o *object) *Distribution {
	t := o.sub("distribution")
	if t == nil {
		return nil
	}
	out := &Distribution{Type: t.enum("type", "pytorch", "mpi", "tensorflow", "ray")}
	optional := func(k string, low int64) *int {
		if v := t.integer(k, low, 1<<31-1); v != nil {
			i := int(*v)
			return &i
		}
		return nil
	}
	port := func(k string) int {
		if v := t.integer(k, 1, 65535); v != nil {
			return int(*v)
		}
		return 0
	}
	switch out.Type {
	case "pytorch", "mpi":
		out.ProcessCountPerInstance = t.count("process_count_per_instance", 1)
		if out.Type == "mpi" && !t.has("process_count_per_instance") {
			t.missing("process_count_per_instance", " with type: mpi")
		}
	case "tensorflow":
		out.WorkerCount = optional("worker_count", 1)
		out.ParameterServerCount = optional("parameter_server_count", 0)
	case "ray":
		out.Address = t.str("address")
		out.Port, out.DashboardPort = port("port"), port("dashboard_port")
		out.IncludeDashboard = t.boolean("include_dashboard")
		out.HeadNodeAdditionalArgs = t.str("head_node_additional_args")
		out.WorkerNodeAdditionalArgs = t.str("worker_node_additional_args")
	default:
		if !t.has("type") {
			t.missing("type", ": pytorch, mpi, tensorflow or ray")
		}
		return out // which keys are right depends on the type
	}
	t.close()
	return out
}

func (d *decoder) queueSettings(o *object) *QueueSettings {
	q := o.sub("queue_settings")
	if q == nil {
		return nil
	}
	out := &QueueSettings{
		JobTier:  q.enum("job_tier", "spot", "basic", "standard", "premium"),
		Priority: q.enum("priority", "low", "medium", "high"),
	}
	q.close()
	return out
}

func (d *decoder) identity(o *object) *Identity {
	i := o.sub("identity")
	if i == nil {
		return nil
	}
	out := &Identity{Type: i.enum("type", "user_identity", "managed", "aml_token", "managed_identity")}
	switch out.Type {
	case "managed_identity":
		out.Type = "managed"
		fallthrough
	case "managed":
		out.ClientID = i.str("client_id")
		out.ObjectID = i.str("object_id")
		out.ResourceID = i.str("msi_resource_id")
	case "":
		if !i.has("type") {
			i.missing("type", ": user_identity, managed or aml_token")
		}
		return out
	}
	i.close()
	return out
}

func (d *decoder) services(o *object) map[string]Service {
	all := o.sub("services")
	if all == nil {
		return nil
	}
	out := make(map[string]Service, len(all.order))
	for _, name := range all.order {
		s := all.sub(name)
		if s == nil {
			continue
		}
		// Set by the service; `az ml job show` prints them and create ignores them.
		for _, k := range []string{"endpoint", "status", "error_message"} {
			s.take(k)
		}
		// job_service_type is what older versions of the CLI call type.
		typeKey := "type"
		if !s.has("type") && s.has("job_service_type") {
			typeKey = "job_service_type"
		}
		svc := Service{
			Type:       s.enum(typeKey, "ssh", "tensor_board", "vs_code", "jupyter_lab"),
			Properties: s.stringMap("properties", false),
		}
		if v := s.integer("port", 1, 65535); v != nil {
			svc.Port = int(*v)
		}
		svc.AllNodes = s.enum("nodes", "all") == "all"
		switch svc.Type {
		case "ssh":
			svc.SSHPublicKeys = s.name("ssh_public_keys")
			if !s.has("ssh_public_keys") {
				s.missing("ssh_public_keys", " with type: ssh")
			}
		case "tensor_board":
			svc.LogDir = s.str("log_dir")
		case "":
			if !s.has(typeKey) {
				s.missing("type", ": ssh, tensor_board, vs_code or jupyter_lab")
			}
			continue
		}
		s.close()
		out[name] = svc
	}
	return out
}

// pathKind says what a local path may be.
type pathKind int

const (
	anyPath pathKind = iota
	filePath
	dirPath
)

// localPath makes a path absolute and checks that it is there.
func (d *decoder) localPath(doc *document, n *yaml.Node, key, path string, kind pathKind) string {
	if path == "" {
		d.failf(doc, n, key, "the path is empty")
		return ""
	}
	if strings.ContainsRune(path, 0) {
		d.failf(doc, n, key, "a path cannot hold a NUL character")
		return ""
	}
	if doc.dir == "" {
		return path
	}
	abs := filepath.FromSlash(path)
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(doc.dir, abs)
	}
	abs = filepath.Clean(abs)
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: key, Err: err,
			Message: fmt.Sprintf("there is no file or directory %s", abs)})
	case err != nil:
		d.problems = append(d.problems, &Problem{Position: d.at(doc, n), Key: key, Err: err, Message: err.Error()})
	case kind == filePath && info.IsDir():
		d.failf(doc, n, key, "%s is a directory, and a file is needed", abs)
	case kind == dirPath && !info.IsDir():
		d.failf(doc, n, key, "%s is a file, and a directory is needed", abs)
	}
	return abs
}

// DefaultExperimentName is the experiment that the CLI files a job under when
// the file names none: the name of the directory it was submitted from.
func DefaultExperimentName(workingDir string) string {
	name := filepath.Base(filepath.Clean(workingDir))
	name = strings.ReplaceAll(strings.TrimSuffix(name, filepath.Ext(name)), " ", "")
	if name == "" || name == "." || name == string(filepath.Separator) {
		return "Default"
	}
	return name
}
