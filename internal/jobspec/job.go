// Package jobspec reads Azure Machine Learning CLI v2 job files, the YAML that
// `az ml job create -f` takes, and turns them into the body of the REST call.
//
// Command, pipeline and sweep jobs are read. What is accepted follows Microsoft's "CLI (v2)
// command job YAML schema" (2025-04-14) and, where the page is silent, the
// schema of the azure-ai-ml package. Every problem names the file, line, column
// and key, and all problems of a file are reported together.
package jobspec

import (
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/pipeline"
)

// Job is a command, pipeline or sweep job as its file describes it. Local paths are absolute when
// the file was read with ParseFile.
type Job struct {
	// Name is the job's ID in the workspace; empty means the submitter makes one.
	Name string
	// DisplayName, Description, Tags and Properties are shown, not interpreted.
	// Tags and Properties with a null value in the file have the value "".
	DisplayName, Description string
	Tags, Properties         map[string]string
	// ExperimentName is empty when the file has none. The CLI then uses the name
	// of the directory the job was submitted from; see DefaultExperimentName.
	ExperimentName string
	// ParentJobName makes the job a child of another.
	ParentJobName string
	// Command is the shell command, with its ${{…}} expressions unexpanded.
	Command string
	// Code is the directory, or the reference to one, that the command runs in.
	Code Code
	// Environment is what the command runs inside.
	Environment Environment
	// EnvironmentVariables are set for the command.
	EnvironmentVariables map[string]string
	// Compute is where it runs.
	Compute Compute
	// Resources is nil when the file has none; the instance count is then 1.
	Resources *Resources
	// Distribution is nil for a command that runs once per job.
	Distribution *Distribution
	// TimeoutSeconds cancels the job after so long; 0 means no limit was given.
	TimeoutSeconds int64
	// Inputs and Outputs by name.
	Inputs  map[string]Input
	Outputs map[string]Output
	// QueueSettings is nil when the file has none.
	QueueSettings *QueueSettings
	// Services by name: endpoints into the running job.
	Services map[string]Service
	// Identity is nil when the file has none.
	Identity *Identity
	// Pipeline is set for a pipeline job, which has steps and no command.
	Pipeline *Pipeline
	// Sweep is set for a sweep job. Command, code, environment, resources and so on
	// are then those of its trials.
	Sweep *Sweep

	// Warnings are things that are accepted but probably not meant.
	Warnings Problems

	file      string
	positions map[string]Position
}

// InstanceCount is the number of nodes that the job needs, at least 1.
func (j *Job) InstanceCount() int {
	if j.Resources == nil || j.Resources.InstanceCount == 0 {
		return 1
	}
	return j.Resources.InstanceCount
}

// ProblemAt makes an error about a key, for problems that only the submitter
// can see (an unknown compute, say). It points at the key where the file has
// it and at the file where it does not.
func (j *Job) ProblemAt(key string, err error) *Problem {
	pos, ok := j.positions[key]
	if !ok {
		pos = Position{File: j.file}
	}
	return &Problem{Position: pos, Key: key, Message: err.Error(), Err: err}
}

// Code says where the job's source code is. The zero value means none.
type Code struct {
	// Local is a file or directory on this machine that has to be uploaded.
	Local string
	// Asset is a registered code version.
	Asset *AssetRef
	// URL is a remote location (git+https:, git+ssh:, http:, https:).
	URL string
}

// IsZero reports that the job has no code.
func (c Code) IsZero() bool { return c == Code{} }

// Compute says where the job runs. The zero value is serverless compute, which
// is what Azure uses when the file names no compute.
type Compute struct {
	// Name is a compute of the workspace.
	Name string
	// ARMID is the full ID of a compute, when it was given so.
	ARMID string
	// Local asks for a run on the submitter's own machine.
	Local bool
	// Said is set where the file says serverless, and not nothing.
	Said bool
}

// Serverless reports that the file leaves the choice of compute to Azure.
func (c Compute) Serverless() bool { return c == Compute{Said: c.Said} }

// AssetRef names a registered asset: a code, environment, data or model version.
type AssetRef struct {
	// ARMID is the full resource ID, when it was given so; the rest is then empty.
	ARMID string
	// Registry is empty for an asset of the workspace. Kind is the kind of a
	// registry's asset as its address has it: "environments", "models", ….
	Registry, Kind string
	// Name and one of Version and Label.
	Name, Version, Label string
}

// String gives the reference as a job file writes it.
func (a AssetRef) String() string {
	switch {
	case a.ARMID != "":
		return "azureml:" + a.ARMID
	case a.Registry != "" && a.Label != "":
		return fmt.Sprintf("azureml://registries/%s/%s/%s/labels/%s", a.Registry, a.Kind, a.Name, a.Label)
	case a.Registry != "":
		return fmt.Sprintf("azureml://registries/%s/%s/%s/versions/%s", a.Registry, a.Kind, a.Name, a.Version)
	case a.Label != "":
		return fmt.Sprintf("azureml:%s@%s", a.Name, a.Label)
	}
	return fmt.Sprintf("azureml:%s:%s", a.Name, a.Version)
}

// Environment is a reference to a registered environment or one defined inline.
type Environment struct {
	// Asset is set for a registered environment; the rest is then empty.
	Asset *AssetRef
	// Image is the base image of an inline environment.
	Image string
	// BuildLocal is a local Docker build context and BuildURL a remote one; at
	// most one of Image, BuildLocal and BuildURL is set. DockerfilePath is
	// relative to the context and defaults to "Dockerfile".
	BuildLocal, BuildURL, DockerfilePath string
	// CondaFile is the text of the conda environment file, or "".
	CondaFile string
	// OSType is "Linux" (default) or "Windows".
	OSType string
	// Description, Tags and Properties of an inline environment.
	Description      string
	Tags, Properties map[string]string
}

// Input is a literal or a piece of data.
type Input struct {
	// Type is "literal", "uri_file", "uri_folder", "mltable", "custom_model",
	// "mlflow_model" or "triton_model".
	Type string
	// Value is the text of a literal, as the CLI would send it.
	Value string
	// Local is a path on this machine that has to be uploaded first.
	Local string
	// Asset is a registered data or model version.
	Asset *AssetRef
	// URI is anything else: azureml://datastores/…, https:, wasbs:, abfss:, adl:.
	URI string
	// Mode is "ro_mount", "download", "direct", "eval_mount" or "eval_download",
	// or "" when the file gives none (the service then uses ro_mount).
	Mode string
	// Datastore is where a local path is uploaded to; "" is the default one.
	Datastore string
	// Binding is set for an input of a step that is bound to another value. All but
	// Mode is then without a meaning.
	Binding *pipeline.Binding
}

// Output is a place that the job writes to.
type Output struct {
	// Type is "uri_folder" (default), "uri_file", "mltable", "custom_model",
	// "mlflow_model" or "triton_model".
	Type string
	// Mode is "rw_mount", "upload", "direct", or "" (the service uses rw_mount).
	Mode string
	// URI is where to; "" leaves it to the service.
	URI string
	// Name and Version register the output as an asset.
	Name, Version string
	// Binding is set for an output of a step that is one of the pipeline's. All
	// else is then without a meaning.
	Binding *pipeline.Binding
}

// Resources is what the job needs of its compute.
type Resources struct {
	// InstanceCount is the number of nodes; 0 means not given (1).
	InstanceCount int
	// MaxInstanceCount is for elastic training; 0 means not given.
	MaxInstanceCount int
	// InstanceType applies to Kubernetes computes.
	InstanceType string
	// ShmSize is the container's shared memory, such as "2g".
	ShmSize string
	// DockerArgs are extra arguments of docker run.
	DockerArgs string
	// Locations are the regions in which the job may run.
	Locations []string
	// Properties are passed through.
	Properties map[string]any
}

// Distribution says how processes are started on the nodes.
type Distribution struct {
	// Type is "pytorch", "mpi", "tensorflow" or "ray".
	Type string
	// ProcessCountPerInstance is for pytorch and mpi; 0 means not given.
	ProcessCountPerInstance int
	// WorkerCount and ParameterServerCount are for tensorflow; nil: not given.
	WorkerCount, ParameterServerCount *int
	// The rest is for ray; zero values: not given.
	Address, HeadNodeAdditionalArgs, WorkerNodeAdditionalArgs string
	Port, DashboardPort                                       int
	IncludeDashboard                                          *bool
}

// QueueSettings are for serverless compute and job tiers.
type QueueSettings struct {
	// JobTier is "spot", "basic", "standard", "premium" or "".
	JobTier string
	// Priority is "low", "medium", "high" or "".
	Priority string
}

// Service is an endpoint into the running job.
type Service struct {
	// Type is "ssh", "tensor_board", "vs_code" or "jupyter_lab".
	Type string
	// Port is 0 when not given.
	Port int
	// AllNodes runs it on every node and not on the head node alone.
	AllNodes bool
	// SSHPublicKeys is for ssh, LogDir for tensor_board.
	SSHPublicKeys, LogDir string
	// Properties are passed through.
	Properties map[string]string
}

// Identity says as whom the job accesses data.
type Identity struct {
	// Type is "user_identity", "managed" or "aml_token".
	Type string
	// ClientID, ObjectID and ResourceID choose one of several managed identities.
	ClientID, ObjectID, ResourceID string
}

// Upload is something local that has to be in the workspace's storage before
// the job can be submitted.
type Upload struct {
	// Kind is "code", "input" or "build" (a Docker build context).
	Kind string
	// Name is the name of the input; empty for the others.
	Name string
	// Path is the local file or directory.
	Path string
	// Datastore is the one asked for; "" is the default one.
	Datastore string
}

// LocalUploads lists what is local, in a fixed order: code, build context, then
// inputs by name; then those of a pipeline's steps by name.
func (j *Job) LocalUploads() []Upload {
	var ups []Upload
	if j.Code.Local != "" {
		ups = append(ups, Upload{Kind: "code", Path: j.Code.Local})
	}
	if j.Environment.BuildLocal != "" {
		ups = append(ups, Upload{Kind: "build", Path: j.Environment.BuildLocal})
	}
	for _, name := range sortedKeys(j.Inputs) {
		if in := j.Inputs[name]; in.Local != "" {
			ups = append(ups, Upload{Kind: "input", Name: name, Path: in.Local, Datastore: in.Datastore})
		}
	}
	if j.Pipeline != nil {
		for _, name := range sortedKeys(j.Pipeline.Steps) {
			st := j.Pipeline.Steps[name]
			if ups = append(ups, st.Job.LocalUploads()...); st.Steps != nil {
				ups = append(ups, st.Steps.LocalUploads()...)
			}
		}
	}
	return ups
}
