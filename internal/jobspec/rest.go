package jobspec

import (
	"context"
	"fmt"
	"strings"
)

// Resolver turns what a job file names into what the REST API takes. The
// submitter implements it: it uploads local files, registers anonymous code and
// environment versions and looks names up in the workspace. An error of it is
// returned as a Problem at the key that it is about.
type Resolver interface {
	// CodeID returns the resource ID of the code version.
	CodeID(ctx context.Context, c Code) (string, error)
	// EnvironmentID returns the resource ID of the environment version.
	EnvironmentID(ctx context.Context, e Environment) (string, error)
	// ComputeID returns the resource ID of a compute that is neither local nor
	// serverless.
	ComputeID(ctx context.Context, c Compute) (string, error)
	// InputURI returns the URI of the data of an input that is not a literal.
	InputURI(ctx context.Context, name string, in Input) (string, error)
	// ComponentID returns the resource ID of the component version that ref names,
	// or where ref is nil of the anonymous one that spec describes.
	ComponentID(ctx context.Context, ref *AssetRef, spec map[string]any) (string, error)
}

// ToREST gives the body of PUT …/workspaces/{workspace}/jobs/{name}: an object
// with the one key "properties" (a CommandJob, PipelineJob or SweepJob). Keys that the file
// does not set are left out, for the service to fill. ExperimentName is left out
// when empty.
func (j *Job) ToREST(ctx context.Context, r Resolver) (map[string]any, error) {
	p := map[string]any{}
	kind := j.commandREST
	switch {
	case j.Pipeline != nil:
		kind = j.pipelineREST
	case j.Sweep != nil:
		kind = j.sweepREST
	}
	if err := kind(ctx, r, p); err != nil {
		return nil, err
	}
	if err := j.sharedREST(ctx, r, p); err != nil {
		return nil, err
	}
	return map[string]any{"properties": p}, nil
}

// commandREST adds to the properties of a job what makes it a command job.
func (j *Job) commandREST(ctx context.Context, r Resolver, p map[string]any) error {
	p["jobType"], p["command"] = "Command", j.Command
	if !j.Code.IsZero() {
		id, err := r.CodeID(ctx, j.Code)
		if err != nil {
			return j.ProblemAt("code", err)
		}
		p["codeId"] = id
	}
	id, err := r.EnvironmentID(ctx, j.Environment)
	if err != nil {
		return j.ProblemAt("environment", err)
	}
	p["environmentId"] = id
	resources := j.Resources.toREST()
	switch {
	case j.Compute.Local:
		// How the CLI marks a local run: no compute, and this property.
		props, _ := resources["properties"].(map[string]any)
		merged := map[string]any{"IsLocal": map[string]any{"IsLocal": true}}
		for k, v := range props {
			merged[k] = v
		}
		if resources == nil {
			resources = map[string]any{}
		}
		resources["properties"] = merged
	case !j.Compute.Serverless():
		id, err := r.ComputeID(ctx, j.Compute)
		if err != nil {
			return j.ProblemAt("compute", err)
		}
		p["computeId"] = id
	}
	if resources != nil {
		p["resources"] = resources
	}
	services := map[string]any{}
	for name, s := range j.Services {
		services[name] = s.toREST()
	}
	putMap(p, "services", services)
	putMap(p, "environmentVariables", j.EnvironmentVariables)
	if j.Distribution != nil {
		p["distribution"] = j.Distribution.toREST()
	}
	if j.TimeoutSeconds > 0 {
		p["limits"] = map[string]any{"jobLimitsType": "Command", "timeout": isoDuration(j.TimeoutSeconds)}
	}
	if j.QueueSettings != nil {
		putMap(p, "queueSettings", j.QueueSettings.toREST())
	}
	return nil
}

// sharedREST adds what all jobs have.
func (j *Job) sharedREST(ctx context.Context, r Resolver, p map[string]any) error {
	inputs := map[string]any{}
	for _, name := range sortedKeys(j.Inputs) {
		in := j.Inputs[name]
		if in.Type == "literal" {
			inputs[name] = map[string]any{"jobInputType": "literal", "value": in.Value}
			continue
		}
		uri, err := r.InputURI(ctx, name, in)
		if err != nil {
			return j.ProblemAt("inputs."+name, err)
		}
		v := map[string]any{"jobInputType": in.Type, "uri": uri}
		put(v, "mode", restMode(in.Mode))
		inputs[name] = v
	}
	outputs := map[string]any{}
	for name, out := range j.Outputs {
		v := map[string]any{"jobOutputType": out.Type}
		put(v, "mode", restMode(out.Mode))
		put(v, "uri", out.URI)
		put(v, "assetName", out.Name)
		put(v, "assetVersion", out.Version)
		outputs[name] = v
	}
	putMap(p, "inputs", inputs)
	putMap(p, "outputs", outputs)
	put(p, "displayName", j.DisplayName)
	put(p, "description", j.Description)
	put(p, "experimentName", j.ExperimentName)
	put(p, "parentJobName", j.ParentJobName)
	putMap(p, "tags", j.Tags)
	putMap(p, "properties", j.Properties)
	if j.Identity != nil {
		p["identity"] = j.Identity.toREST()
	}
	return nil
}

// The REST names of the CLI's words (azure-ai-ml constants). locations,
// maxInstanceCount, priority and Ray are in preview API versions alone.

func restMode(mode string) string {
	switch mode {
	case "ro_mount":
		return "ReadOnlyMount"
	case "rw_mount":
		return "ReadWriteMount"
	case "download":
		return "Download"
	case "upload":
		return "Upload"
	case "direct":
		return "Direct"
	case "eval_mount":
		return "EvalMount"
	case "eval_download":
		return "EvalDownload"
	}
	return ""
}

func (q *QueueSettings) toREST() map[string]any {
	v := map[string]any{}
	if q.JobTier != "" {
		v["jobTier"] = strings.ToUpper(q.JobTier[:1]) + q.JobTier[1:]
	}
	switch q.Priority {
	case "low":
		v["priority"] = 1
	case "medium":
		v["priority"] = 2
	case "high":
		v["priority"] = 3
	}
	return v
}

func (r *Resources) toREST() map[string]any {
	if r == nil {
		return nil
	}
	v := map[string]any{}
	put(v, "instanceCount", r.InstanceCount)
	put(v, "maxInstanceCount", r.MaxInstanceCount)
	put(v, "instanceType", r.InstanceType)
	put(v, "shmSize", r.ShmSize)
	put(v, "dockerArgs", r.DockerArgs)
	if len(r.Locations) > 0 {
		v["locations"] = r.Locations
	}
	putMap(v, "properties", r.Properties)
	return v
}

func (t *Distribution) toREST() map[string]any {
	v := map[string]any{}
	switch t.Type {
	case "pytorch":
		v["distributionType"] = "PyTorch"
		put(v, "processCountPerInstance", t.ProcessCountPerInstance)
	case "mpi":
		v["distributionType"] = "Mpi"
		put(v, "processCountPerInstance", t.ProcessCountPerInstance)
	case "tensorflow":
		v["distributionType"] = "TensorFlow"
		if t.WorkerCount != nil {
			v["workerCount"] = *t.WorkerCount
		}
		if t.ParameterServerCount != nil {
			v["parameterServerCount"] = *t.ParameterServerCount
		}
	case "ray":
		v["distributionType"] = "Ray"
		put(v, "address", t.Address)
		put(v, "port", t.Port)
		put(v, "dashboardPort", t.DashboardPort)
		put(v, "headNodeAdditionalArgs", t.HeadNodeAdditionalArgs)
		put(v, "workerNodeAdditionalArgs", t.WorkerNodeAdditionalArgs)
		if t.IncludeDashboard != nil {
			v["includeDashboard"] = *t.IncludeDashboard
		}
	}
	return v
}

func (i *Identity) toREST() map[string]any {
	v := map[string]any{}
	switch i.Type {
	case "user_identity":
		v["identityType"] = "UserIdentity"
	case "managed":
		v["identityType"] = "Managed"
	case "aml_token":
		v["identityType"] = "AMLToken"
	}
	put(v, "clientId", i.ClientID)
	put(v, "objectId", i.ObjectID)
	put(v, "resourceId", i.ResourceID)
	return v
}

func (s Service) toREST() map[string]any {
	v := map[string]any{}
	switch s.Type {
	case "ssh":
		v["jobServiceType"] = "SSH"
	case "tensor_board":
		v["jobServiceType"] = "TensorBoard"
	case "vs_code":
		v["jobServiceType"] = "VSCode"
	case "jupyter_lab":
		v["jobServiceType"] = "JupyterLab"
	}
	put(v, "port", s.Port)
	if s.AllNodes {
		v["nodes"] = map[string]any{"nodesValueType": "All"}
	}
	props := map[string]string{}
	for k, p := range s.Properties {
		props[k] = p
	}
	if s.SSHPublicKeys != "" {
		props["sshPublicKeys"] = s.SSHPublicKeys
	}
	if s.LogDir != "" {
		props["logDir"] = s.LogDir
	}
	putMap(v, "properties", props)
	return v
}

// ToREST gives the properties of the anonymous environment version that an
// inline environment becomes. contextURI is where the build context was
// uploaded to, and unused without one.
func (e Environment) ToREST(contextURI string) map[string]any {
	v := map[string]any{"isAnonymous": true, "osType": e.OSType}
	put(v, "image", e.Image)
	put(v, "condaFile", e.CondaFile)
	put(v, "description", e.Description)
	putMap(v, "tags", e.Tags)
	putMap(v, "properties", e.Properties)
	if e.BuildURL != "" {
		contextURI = e.BuildURL
	}
	if e.BuildURL != "" || e.BuildLocal != "" {
		v["build"] = map[string]any{"contextUri": contextURI, "dockerfilePath": e.DockerfilePath}
	}
	return v
}

// isoDuration writes seconds as the CLI does: days, hours, minutes, seconds.
func isoDuration(seconds int64) string {
	var b strings.Builder
	b.WriteByte('P')
	if days := seconds / 86400; days > 0 {
		fmt.Fprintf(&b, "%dD", days)
	}
	if seconds %= 86400; seconds > 0 {
		b.WriteByte('T')
		for _, u := range []struct {
			unit byte
			size int64
		}{{'H', 3600}, {'M', 60}, {'S', 1}} {
			if n := seconds / u.size; n > 0 {
				fmt.Fprintf(&b, "%d%c", n, u.unit)
			}
			seconds %= u.size
		}
	}
	return b.String()
}

func put[V comparable](m map[string]any, k string, v V) {
	var zero V
	if v != zero {
		m[k] = v
	}
}

func putMap[V any](m map[string]any, k string, v map[string]V) {
	if len(v) > 0 {
		m[k] = v
	}
}
