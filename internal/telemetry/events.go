package telemetry

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// What Azimuth tells of jobs is in Azure's tables for them. In Azure diagnostic
// settings send these; here they come by themselves. The rows in requests and
// traces have no counterpart in Azure: each job that ends is one request, and
// each status one trace, under the job's name as the operation.

// sdkVersion marks the rows in application tables that come from here.
const sdkVersion = "azimuth"

// set sets a column to a text, if there is one.
func set(b *logstore.Batch, column, v string) {
	if v != "" {
		b.String(column, v)
	}
}

// part returns the segment that follows name in an ARM ID, or "".
func part(id, name string) string {
	_, rest, ok := cutFold(id, "/"+name+"/")
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}

// eventType is the type of a job event, in the words of Azure's documentation of
// AmlComputeJobEvent where it has one for the status.
func (e *JobEvent) eventType() string {
	switch e.Status {
	case "Queued":
		return "JobSubmitted"
	case "Completed":
		return "JobSucceeded"
	}
	return "Job" + e.Status
}

func (e *JobEvent) level() (severity int64, level string) {
	if e.Status == "Failed" {
		return 3, "Error"
	}
	return 1, "Informational"
}

func (e *JobEvent) message() string {
	m := "Job " + e.Name + " is " + e.Status
	if e.Reason != "" {
		m += ": " + e.Reason
	} else if e.ErrorMessage != "" {
		m += ": " + e.ErrorMessage
	}
	return m
}

// logs are the rows of Azure's tables for an event of a machine learning workspace.
func (o *outboxEvent) logs(workspace string) []LogRow {
	switch {
	case o.Job != nil:
		return o.Job.logs()
	case o.Node != nil:
		return []LogRow{o.Node.log(workspace)}
	}
	return nil
}

// logs are the job's: in AmlComputeJobEvent and in AmlRunStatusChangedEvent.
func (e *JobEvent) logs() []LogRow {
	_, level := e.level()
	job := LogRow{Table: "AmlComputeJobEvent", At: e.At, Resource: e.Workspace, Columns: map[string]any{
		"OperationName": e.eventType(), "EventType": e.eventType(), "ExecutionState": e.Status, "JobId": e.Name, "JobName": e.Name,
	}}
	job.set("ExperimentName", e.Experiment)
	job.set("ClusterName", part(e.Compute, "computes"))
	job.set("ClusterId", e.Compute)
	job.set("ClusterResourceGroupName", part(e.Compute, "resourceGroups"))
	job.set("ResourceGroupName", part(e.Workspace, "resourceGroups"))
	job.set("CustomerSubscriptionId", part(e.Workspace, "subscriptions"))
	job.set("WorkspaceName", part(e.Workspace, "workspaces"))
	job.set("ErrorDetails", e.ErrorCode)
	job.set("JobErrorMessage", e.ErrorMessage)

	root := e.Name
	if e.Parent != "" {
		root = e.Parent
	}
	run := LogRow{Table: "AmlRunStatusChangedEvent", At: e.At, Resource: e.Workspace, Columns: map[string]any{
		"OperationName": "Microsoft.MachineLearningServices/workspaces/experiments/runs/write", "RunId": e.Name, "RootRunId": root,
		"Status": e.Status, "Message": e.message(), "Level": level,
	}}
	run.set("ParentRunId", e.Parent)
	run.set("TriggeringUserName", e.User)
	run.set("Identity", e.User)
	run.set("WorkspaceName", part(e.Workspace, "workspaces"))
	if !e.Ended.IsZero() && !e.Created.IsZero() {
		run.set("DurationMs", strconv.FormatInt(e.Ended.Sub(e.Created).Milliseconds(), 10))
	}
	return []LogRow{job, run}
}

func (s *Service) writeJob(batch func(string) *logstore.Batch, e *JobEvent) {
	severity, _ := e.level()
	b := batch("AppTraces")
	b.Begin(e.At)
	b.String("Message", e.message())
	b.Int("SeverityLevel", severity)
	b.Int("ItemCount", 1)
	s.writeOperation(b, e)
	b.End()

	if e.Terminal {
		s.writeJobRequest(batch("AppRequests"), e)
	}
}

// writeJobRequest tells of a job as a request that took as long as the job ran.
func (s *Service) writeJobRequest(b *logstore.Batch, e *JobEvent) {
	begin := e.Started
	if begin.IsZero() {
		begin = e.At
	}
	b.Begin(begin)
	b.String("Id", e.Name)
	name := e.Experiment
	if name == "" {
		name = e.Name
	}
	b.String("Name", name)
	b.String("Source", "azimuth")
	b.Bool("Success", e.Status == "Completed")
	b.String("ResultCode", e.Status)
	b.Real("DurationMs", round7(float64(e.Ended.Sub(begin).Nanoseconds())/1e6))
	b.Int("ItemCount", 1)
	s.writeOperation(b, e)
	b.End()
}

// writeOperation sets the columns that tie the rows of a job together.
func (s *Service) writeOperation(b *logstore.Batch, e *JobEvent) {
	b.String("OperationId", e.Name)
	set(b, "OperationName", e.Experiment)
	set(b, "ParentId", e.Parent)
	set(b, "UserAuthenticatedId", e.User)
	set(b, "AppRoleName", part(e.Compute, "computes"))
	b.String("SDKVersion", sdkVersion)
	props := map[string]string{"job": e.Name, "status": e.Status}
	for name, v := range map[string]string{"experiment": e.Experiment, "compute": part(e.Compute, "computes"), "workspace": part(e.Workspace, "workspaces"),
		"parent": e.Parent, "errorCode": e.ErrorCode, "error": e.ErrorMessage, "reason": e.Reason} {
		if v != "" {
			props[name] = v
		}
	}
	if p, err := json.Marshal(props); err == nil { // strings only
		b.Dynamic("Properties", p)
	}
}

// log is the node's row in AmlComputeClusterNodeEvent.
func (e *NodeEvent) log(workspace string) LogRow {
	first := min(1, len(e.Event))
	row := LogRow{Table: "AmlComputeClusterNodeEvent", At: e.At, Resource: workspace, Columns: map[string]any{
		// Azure's table has no column for the state of a node
		"OperationName": "Node" + strings.ToUpper(e.Event[:first]) + e.Event[first:],
		"ClusterName":   part(e.Cluster, "computes"), "NodeId": e.Node,
	}}
	row.set("InternalOperationName", e.State)
	row.set("VmSize", e.VMSize)
	row.set("VmPriority", e.Priority)
	if !e.Allocated.IsZero() {
		row.Columns["NodeAllocationTime"] = e.Allocated
	}
	if !e.Booted.IsZero() {
		row.Columns["NodeBootTime"] = e.Booted
	}
	return row
}

func (s *Service) writeActivity(b *logstore.Batch, e ActivityEvent) {
	status, level := "Success", "Informational"
	switch {
	case e.Status >= 400:
		status, level = "Failure", "Error"
	case e.Status == 202:
		status = "Accept"
	}
	provider := providerOf(e.ResourceID)
	b.Begin(e.At)
	b.String("OperationNameValue", strings.ToUpper(e.Operation))
	b.String("OperationName", e.Operation)
	b.String("Level", level)
	b.String("ActivityStatusValue", status)
	b.String("ActivityStatus", status)
	b.String("ActivitySubstatusValue", strconv.Itoa(e.Status))
	set(b, "ActivitySubstatus", e.Code)
	b.String("CategoryValue", "Administrative")
	b.String("Category", "Administrative")
	set(b, "Caller", e.Caller)
	set(b, "CallerIpAddress", e.Address)
	set(b, "ResourceGroup", part(e.ResourceID, "resourceGroups"))
	set(b, "ResourceProviderValue", strings.ToUpper(provider))
	set(b, "ResourceProvider", provider)
	b.String("Resource", e.ResourceID[strings.LastIndexByte(e.ResourceID, '/')+1:])
	b.String("ResourceId", e.ResourceID)
	b.String(colResource, strings.ToLower(e.ResourceID))
	b.String("SubscriptionId", s.cfg.Subscription)
	id := uuid.NewString()
	set(b, "CorrelationId", e.CorrelationID)
	b.String("EventDataId", id)
	b.String("OperationId", e.CorrelationID)
	b.Time("EventSubmissionTimestamp", e.At)
	authorization := fmt.Appendf(nil, `{"action":%s,"scope":%s}`, appendQuoted(nil, []byte(e.Operation)), appendQuoted(nil, []byte(e.ResourceID)))
	b.Bytes("Authorization", authorization)
	b.Dynamic("Authorization_d", authorization)
	request := fmt.Appendf(nil, `{"method":%s,"clientIpAddress":%s}`, appendQuoted(nil, []byte(e.Method)), appendQuoted(nil, []byte(e.Address)))
	b.Bytes("HTTPRequest", request)
	if e.ObjectID != "" {
		claims := fmt.Appendf(nil, `{"http://schemas.microsoft.com/identity/claims/objectidentifier":%s}`, appendQuoted(nil, []byte(e.ObjectID)))
		b.Bytes("Claims", claims)
		b.Dynamic("Claims_d", claims)
	}
	b.End()
}

// providerOf is the namespace of the last resource that an ID names.
func providerOf(id string) string {
	i := strings.LastIndex(strings.ToLower(id), "/providers/")
	if i < 0 {
		return "Microsoft.Resources"
	}
	p, _, _ := strings.Cut(id[i+len("/providers/"):], "/")
	return p
}
