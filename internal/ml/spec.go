package ml

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/iso8601"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// jobSpec is a command job as its document describes it, checked.
type jobSpec struct {
	Command     string
	Code        string // ARM ID of a code version, or ""
	Environment string // ARM ID of an environment version, or an azureml:// ID
	Compute     string // ARM ID, or "" for serverless compute
	// InstanceType and Spot are what a job asks of serverless compute.
	InstanceType string
	Spot         bool
	Instances    int
	Priority     int
	Timeout      time.Duration
	Inputs       map[string]jobInput
	Outputs      map[string]jobOutput
	Env          map[string]string
	// Distribution is "", "PyTorch", "Mpi" or "TensorFlow", Processes how many
	// processes run on each node.
	Distribution string
	Processes    int
	// Workers and Servers are TensorFlow's counts.
	Workers, Servers int
	Identity         string // "AMLToken", "Managed" or "UserIdentity"
	IdentityClient   string // client ID of a user-assigned identity, or ""
}

type jobInput struct {
	Type  string // "literal", "uri_file", "uri_folder", "mltable", "custom_model" …
	Value string // of a literal
	URI   string
	Mode  string
}

type jobOutput struct {
	Type    string
	URI     string
	Mode    string
	Name    string // asset to register, or ""
	Version string
}

func inputTypes() []string {
	return []string{"uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model"}
}

// folds returns the member of list that s is, in any casing.
func folds(list []string, s string) (string, bool) {
	i := slices.IndexFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
	if i < 0 {
		return "", false
	}
	return list[i], true
}

// lastName is the last part of a path in a document.
func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// readSpec reads and checks what can be checked without looking anything up.
func readSpec(props arm.Doc) (*jobSpec, error) {
	p := &jobSpec{
		Command: props.String("command"), Code: props.String("codeId"), Environment: props.String("environmentId"),
		Compute: props.String("computeId"), Instances: props.Int("resources.instanceCount", 1), Processes: 1,
		Inputs: map[string]jobInput{}, Outputs: map[string]jobOutput{},
	}
	for _, path := range []string{
		"resources.instanceCount", "queueSettings.priority",
		"distribution.processCountPerInstance", "distribution.workerCount", "distribution.parameterServerCount",
	} {
		if v := props.Get(path); v != nil {
			if f, ok := v.(float64); ok && (f != math.Trunc(f) || math.Abs(f) > math.MaxInt32) || !ok && props.Int(path, math.MinInt) == math.MinInt {
				return nil, userError("properties."+path, "The value %v of '%s' is invalid: it must be a whole number.", v, lastName(path))
			}
		}
	}
	switch {
	case strings.TrimSpace(p.Command) == "":
		return nil, userError("properties.command", "The required property 'command' is missing.")
	case p.Environment == "":
		return nil, userError("properties.environmentId", "The required property 'environmentId' is missing.")
	case props.Has("resources.properties.IsLocal"):
		return nil, arm.NotImplemented("runs on the submitter's own machine (compute: local)")
	case p.Instances < 1:
		return nil, userError("properties.resources.instanceCount", "The value %d of 'instanceCount' is invalid: it must be at least 1.", p.Instances)
	}
	if err := checkTexts(props); err != nil {
		return nil, err
	}
	if t := props.String("limits.timeout"); t != "" {
		d, err := iso8601.Duration(t)
		if err != nil || d < time.Second {
			return nil, userError("properties.limits.timeout", "The value '%s' of 'timeout' is invalid: it must be an ISO 8601 duration of at least one second, such as PT1H.", t)
		}
		p.Timeout = d
	}
	if err := p.readQueue(props); err != nil {
		return nil, err
	}
	if isServerless(p.Compute) {
		p.Compute, p.InstanceType = "", props.String("resources.instanceType")
		if err := p.readTier(props.String("queueSettings.jobTier")); err != nil {
			return nil, err
		}
	}
	if err := p.readDistribution(props); err != nil {
		return nil, err
	}
	if err := p.readInputs(props.Object("inputs")); err != nil {
		return nil, err
	}
	if err := p.readOutputs(props.Object("outputs")); err != nil {
		return nil, err
	}
	if err := props.Decode("environmentVariables", &p.Env); err != nil {
		return nil, userError("properties.environmentVariables", "'environmentVariables' must map names to strings.")
	}
	for name := range p.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, userError("properties.environmentVariables", "The name '%s' of an environment variable is invalid.", name)
		}
	}
	switch t, ok := folds([]string{"AMLToken", "Managed", "UserIdentity"}, props.String("identity.identityType")); {
	case ok:
		p.Identity, p.IdentityClient = t, props.String("identity.clientId")
	case props.Has("identity.identityType"):
		return nil, userError("properties.identity", "The identity type '%s' is none of AMLToken, Managed and UserIdentity.", props.String("identity.identityType"))
	default:
		p.Identity = "AMLToken"
	}
	for name, v := range props.Object("services") {
		service, _ := v.(map[string]any)
		switch t := arm.Doc(service).String("jobServiceType"); strings.ToLower(t) {
		case "tracking", "studio", "":
		default:
			return nil, arm.NotImplemented("services of type '%s' in a job (properties.services.%s)", t, name)
		}
	}
	_, err := p.render(func(kind, name string) (string, bool) {
		_, in := p.Inputs[name]
		_, out := p.Outputs[name]
		return "", kind == "inputs" && in || kind == "outputs" && out
	})
	return p, err
}

// checkTexts checks what an update may change, too.
func checkTexts(props arm.Doc) error {
	for _, name := range []string{"tags", "properties"} {
		v := props.Get(name)
		if v == nil {
			continue
		}
		m, ok := v.(map[string]any)
		if !ok {
			return userError("properties."+name, "'%s' is not an object.", name)
		}
		for k, v := range m {
			if _, ok := v.(string); !ok && v != nil {
				return userError("properties."+name, "The value of '%s' in '%s' is not a string.", k, name)
			}
		}
	}
	for _, name := range []string{"displayName", "description", "experimentName"} {
		if v := props.Get(name); v != nil {
			if _, ok := v.(string); !ok {
				return userError("properties."+name, "'%s' is not a string.", name)
			}
		}
	}
	for _, r := range props.String("experimentName") {
		if r < ' ' { // part of keys here; Azure's own rule is not known
			return userError("properties.experimentName", "The experiment name %q has a control character.", props.String("experimentName"))
		}
	}
	if v := props.Get("isArchived"); v != nil {
		if _, ok := v.(bool); !ok {
			return userError("properties.isArchived", "'isArchived' is not a boolean.")
		}
	}
	return nil
}

// readQueue reads queueSettings. priority is in preview API versions: 1 is low,
// 2 medium (the default), 3 high.
func (p *jobSpec) readQueue(props arm.Doc) error {
	p.Priority = props.Int("queueSettings.priority", 2)
	if p.Priority < 1 || p.Priority > 3 {
		return userError("properties.queueSettings.priority", "The value %d of 'priority' is none of 1 (low), 2 (medium) and 3 (high).", p.Priority)
	}
	if _, ok := folds([]string{"", "Null", "Spot", "Basic", "Standard", "Premium"}, props.String("queueSettings.jobTier")); !ok {
		return userError("properties.queueSettings.jobTier", "The job tier '%s' is unknown.", props.String("queueSettings.jobTier"))
	}
	return nil // tiers are for serverless compute; a cluster has its own priority
}

// maxMPINodes is Azure's limit for an MPI job.
const maxMPINodes = 100

// maxProcesses is the most processes of a job. It is Azimuth's own: what a mistyped
// number asks for would drown the machine.
const maxProcesses = 4096

func (p *jobSpec) readDistribution(props arm.Doc) error {
	d := props.Object("distribution")
	if d == nil {
		return nil
	}
	switch t := d.String("distributionType"); strings.ToLower(t) {
	case "pytorch", "mpi":
		p.Distribution, p.Processes = "PyTorch", d.Int("processCountPerInstance", 1)
		if strings.EqualFold(t, "mpi") {
			p.Distribution = "Mpi"
		}
		if p.Processes < 1 {
			return userError("properties.distribution.processCountPerInstance", "The value %d of 'processCountPerInstance' is invalid: it must be at least 1.", p.Processes)
		}
		if p.Processes > maxProcesses/max(1, min(p.Instances, maxProcesses)) {
			return userError("properties.distribution.processCountPerInstance", "The job asks for %d processes on each of %d nodes; a job has at most %d.", p.Processes, p.Instances, maxProcesses)
		}
		if p.Distribution == "Mpi" && p.Instances > maxMPINodes {
			return userError("properties.resources.instanceCount", "The job asks for %d nodes; an MPI job runs on at most %d.", p.Instances, maxMPINodes)
		}
	case "tensorflow":
		p.Distribution, p.Servers = "TensorFlow", d.Int("parameterServerCount", 0)
		p.Workers = d.Int("workerCount", p.Instances-p.Servers)
		if p.Servers < 0 || p.Workers < 1 || p.Workers+p.Servers != p.Instances {
			return userError("properties.distribution", "The job's %d workers and %d parameter servers do not fit its %d nodes: each node runs one.", p.Workers, p.Servers, p.Instances)
		}
	default:
		return arm.NotImplemented("the distribution '%s'", t)
	}
	return nil
}

// bindingName is what an input or output may be called: it is used in
// expressions and as a file name.
func bindingName() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,254}$`) }

func (p *jobSpec) readInputs(inputs arm.Doc) error {
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		target := "properties.inputs." + name
		m, ok := inputs[name].(map[string]any)
		if !ok || !bindingName().MatchString(name) {
			return userError(target, "The input '%s' is invalid.", name)
		}
		doc := arm.Doc(m)
		in := jobInput{Type: doc.String("jobInputType"), URI: doc.String("uri"), Mode: doc.String("mode")}
		if strings.EqualFold(in.Type, "literal") {
			in.Type = "literal"
			switch v := doc.Get("value").(type) {
			case string:
				in.Value = v
			case float64, bool:
				in.Value = strings.TrimSpace(fmt.Sprint(v))
			default:
				return userError(target+".value", "The literal input '%s' has no value.", name)
			}
			p.Inputs[name] = in
			continue
		}
		t, ok := folds(inputTypes(), in.Type)
		if !ok {
			return userError(target+".jobInputType", "The type '%s' of the input '%s' is unknown.", in.Type, name)
		}
		in.Type = t
		if in.URI == "" {
			return userError(target+".uri", "The input '%s' has no uri.", name)
		}
		if in.Mode == "" {
			in.Mode = "ReadOnlyMount"
		}
		if in.Mode, ok = folds([]string{"ReadOnlyMount", "ReadWriteMount", "Download", "Direct", "EvalMount", "EvalDownload"}, in.Mode); !ok {
			return userError(target+".mode", "The mode '%s' of the input '%s' is unknown.", doc.String("mode"), name)
		}
		if strings.HasPrefix(in.Mode, "Eval") {
			return arm.NotImplemented("the input mode '%s'", in.Mode)
		}
		p.Inputs[name] = in
	}
	return nil
}

func (p *jobSpec) readOutputs(outputs arm.Doc) error {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if name == "default" {
			continue // computed; clients send it back
		}
		target := "properties.outputs." + name
		m, ok := outputs[name].(map[string]any)
		if !ok || !bindingName().MatchString(name) {
			return userError(target, "The output '%s' is invalid.", name)
		}
		doc := arm.Doc(m)
		out := jobOutput{
			Type: doc.String("jobOutputType"), URI: doc.String("uri"), Mode: doc.String("mode"),
			Name: doc.String("assetName"), Version: doc.String("assetVersion"),
		}
		if out.Type, ok = folds(inputTypes(), out.Type); !ok {
			return userError(target+".jobOutputType", "The type '%s' of the output '%s' is unknown.", doc.String("jobOutputType"), name)
		}
		if out.Mode == "" {
			out.Mode = "ReadWriteMount"
		}
		if out.Mode, ok = folds([]string{"ReadWriteMount", "Upload", "Direct"}, out.Mode); !ok {
			return userError(target+".mode", "The mode '%s' of the output '%s' is unknown.", doc.String("mode"), name)
		}
		p.Outputs[name] = out
	}
	return nil
}

func expression() *regexp.Regexp { return regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`) }

// render replaces ${{inputs.x}} and ${{outputs.x}} in the command. bind returns
// the text for a binding, and false for one that is not declared.
func (p *jobSpec) render(bind func(kind, name string) (string, bool)) (string, error) {
	var problem error
	out := expression().ReplaceAllStringFunc(p.Command, func(whole string) string {
		expr := expression().FindStringSubmatch(whole)[1]
		kind, name, _ := strings.Cut(expr, ".")
		text, ok := bind(kind, name)
		if !ok && problem == nil {
			problem = userError("properties.command", "The expression '%s' in the command names no input or output of the job.", whole)
		}
		return text
	})
	return out, problem
}

// checkReferences checks that what the job names is there.
func (s *Service) checkReferences(ctx context.Context, p *arm.Put, spec *jobSpec) error {
	if err := s.checkCompute(p, spec); err != nil {
		return err
	}
	if spec.Code != "" {
		code, err := s.child(p, "properties.codeId", spec.Code, typeWorkspace+"/codes/versions")
		if err != nil {
			return err
		}
		if there, err := p.Kernel.Resources().Exists(p.Tx, code.Key()); err != nil || !there {
			return cmpErr(err, userError("properties.codeId", "The code version '%s' was not found.", code.FullName()))
		}
	}
	if _, err := s.environmentOf(ctx, p.Tx, p.Parent, spec.Environment); err != nil {
		return err
	}
	ws := workspaceOf(p.Parent)
	for _, name := range slices.Sorted(maps.Keys(spec.Inputs)) {
		if in := spec.Inputs[name]; in.Type != "literal" {
			if _, err := s.locate(ctx, p.Tx, ws, in.URI); err != nil {
				return targeted(err, "properties.inputs."+name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Outputs)) {
		if out := spec.Outputs[name]; out.URI != "" {
			at, err := s.locate(ctx, p.Tx, ws, out.URI)
			if err != nil {
				return targeted(err, "properties.outputs."+name)
			}
			if at.Datastore == "" {
				return userError("properties.outputs."+name, "The output '%s' must be in a datastore: '%s' is not an azureml:// URI.", name, out.URI)
			}
		}
	}
	return nil
}

// checkCompute checks where the job is to run.
func (s *Service) checkCompute(p *arm.Put, spec *jobSpec) error {
	if spec.Compute == "" {
		if _, _, err := s.serverlessNodes(p.Tx, workspaceOf(p.Parent), spec); err != nil {
			return err
		}
		return checkIdentity(spec, p.Parent, "the workspace, from which serverless compute takes user-assigned identities,")
	}
	id, err := s.child(p, "properties.computeId", spec.Compute, typeCompute)
	if err != nil {
		return err
	}
	cluster, err := p.Kernel.Resources().Get(p.Tx, id.Key())
	if errors.Is(err, store.ErrNotFound) {
		return userError("properties.computeId", "The compute '%s' is not in the workspace '%s'.", id.Name(), p.Parent.Name())
	}
	if err != nil {
		return err
	}
	switch t := cluster.Body.String("properties.computeType"); {
	case strings.EqualFold(t, "AmlCompute"):
	case strings.EqualFold(t, "ComputeInstance"):
		return arm.NotImplemented("jobs on a compute instance ('%s')", id.Name())
	default:
		return userError("properties.computeId", "The compute '%s' is of type '%s' and cannot run a command job.", id.Name(), t)
	}
	return checkIdentity(spec, cluster, fmt.Sprintf("the compute '%s'", id.Name()))
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func targeted(err error, target string) error {
	var e *arm.Error
	if errors.As(err, &e) {
		out := *e
		out.Target = target
		return &out
	}
	return err
}

// child parses the ARM ID of something of a type in the job's own workspace.
func (s *Service) child(p *arm.Put, target, id, typ string) (arm.ID, error) {
	parsed, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(parsed.Type(), typ) {
		return arm.ID{}, userError(target, "'%s' is not the resource ID of a %s.", id, typ)
	}
	top := parsed
	for !strings.EqualFold(top.Type(), typeWorkspace) {
		top = top.Parent()
	}
	if top.Key() != arm.Key(p.Parent.ID) {
		return arm.ID{}, userError(target, "'%s' is not in the job's workspace.", id)
	}
	return parsed, nil
}

// identity is a managed identity of a compute.
type identity struct{ Principal, Client string }

// principals are the managed identities of a compute, the system's own first.
func principals(cluster *arm.Resource) []identity {
	var out []identity
	if id := cluster.Body.String("identity.principalId"); id != "" {
		out = append(out, identity{Principal: id})
	}
	users := cluster.Body.Object("identity.userAssignedIdentities")
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if m, ok := users[name].(map[string]any); ok {
			out = append(out, identity{arm.Doc(m).String("principalId"), arm.Doc(m).String("clientId")})
		}
	}
	return out
}
