package test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	aml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// fixedToken is a credential that has its token already.
type fixedToken string

func (t fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// sdk drives the workspace of small.tf with the Azure SDK for Go.
type sdk struct {
	t       *testing.T
	ctx     context.Context
	clients *aml.ClientFactory
}

const sdkGroup, sdkWS = "rg-small", "mlw-small"

func newSDK(t *testing.T, e *env) *sdk {
	t.Helper()
	w := e.wire()
	clients, err := aml.NewClientFactory(strings.TrimPrefix(subscription, "/subscriptions/"), fixedToken(w.tokens[forARM]),
		&arm.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http}})
	if err != nil {
		t.Fatal(err)
	}
	return &sdk{t: t, ctx: t.Context(), clients: clients}
}

// got fails the test on an error.
func got[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// names are those of everything that a pager has.
func names[P any, V any](s *sdk, pager *runtime.Pager[P], values func(P) []V, name func(V) *string) string {
	s.t.Helper()
	var out []string
	for pager.More() {
		page, err := pager.NextPage(s.ctx)
		if err != nil {
			s.t.Fatalf("list: %v", err)
		}
		for _, v := range values(page) {
			out = append(out, *name(v))
		}
	}
	return strings.Join(out, " ")
}

func (s *sdk) same(what, have, want string) {
	s.t.Helper()
	if have != want {
		s.t.Errorf("%s: %q, want %q", what, have, want)
	}
}

func (s *sdk) refused(what string, err error, status int, code string) {
	s.t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || code != "" && e.ErrorCode != code {
		s.t.Errorf("%s: %v, want %d %s", what, err, status, code)
	}
}

var pollAtOnce = &runtime.PollUntilDoneOptions{Frequency: 50 * time.Millisecond}

// TestAzureSDKForGo drives a workspace with armmachinelearning v4.
func TestAzureSDKForGo(t *testing.T) {
	t.Parallel()
	e, _ := smallEnv(t)
	s := newSDK(t, e)
	s.workspaces()
	s.computes()
	s.datastores()
	s.codes()
	s.environments()
	s.data()
	s.models()
	s.components()
	s.jobs()
}

func (s *sdk) workspaces() {
	c := s.clients.NewWorkspacesClient()
	ws := got[aml.WorkspacesClientGetResponse](s.t, "workspace")(c.Get(s.ctx, sdkGroup, sdkWS, nil))
	s.same("workspace", *ws.Name+" "+string(*ws.Properties.ProvisioningState), sdkWS+" Succeeded")
	s.same("workspaces of the group", names(s, c.NewListByResourceGroupPager(sdkGroup, nil),
		func(p aml.WorkspacesClientListByResourceGroupResponse) []*aml.Workspace { return p.Value }, func(w *aml.Workspace) *string { return w.Name }), sdkWS)
	s.same("workspaces", names(s, c.NewListBySubscriptionPager(nil),
		func(p aml.WorkspacesClientListBySubscriptionResponse) []*aml.Workspace { return p.Value }, func(w *aml.Workspace) *string { return w.Name }), sdkWS)
	_, err := c.Get(s.ctx, sdkGroup, "mlw-none", nil)
	s.refused("a missing workspace", err, http.StatusNotFound, "ResourceNotFound")
}

func (s *sdk) computes() {
	c := s.clients.NewComputeClient()
	put := func(size string, most int32) aml.ComputeResource {
		s.t.Helper()
		poller := got[*runtime.Poller[aml.ComputeClientCreateOrUpdateResponse]](s.t, "create compute")(c.BeginCreateOrUpdate(s.ctx, sdkGroup, sdkWS, "sdk-cluster", aml.ComputeResource{
			Location: to.Ptr("westeurope"),
			Identity: &aml.ManagedServiceIdentity{Type: to.Ptr(aml.ManagedServiceIdentityTypeSystemAssigned)},
			Properties: &aml.AmlCompute{ComputeType: to.Ptr(aml.ComputeTypeAmlCompute), Properties: &aml.AmlComputeProperties{
				VMSize: to.Ptr(size), VMPriority: to.Ptr(aml.VMPriorityLowPriority),
				ScaleSettings: &aml.ScaleSettings{MinNodeCount: to.Ptr[int32](0), MaxNodeCount: to.Ptr(most), NodeIdleTimeBeforeScaleDown: to.Ptr("PT10M")},
			}},
		}, nil))
		return got[aml.ComputeClientCreateOrUpdateResponse](s.t, "created compute")(poller.PollUntilDone(s.ctx, pollAtOnce)).ComputeResource
	}
	made := put("STANDARD_DS3_V2", 2)
	props := made.Properties.(*aml.AmlCompute).Properties
	s.same("compute", *made.Name+" "+*props.VMSize+" "+string(*props.AllocationState), "sdk-cluster STANDARD_DS3_V2 Steady")
	if made.Identity == nil || made.Identity.PrincipalID == nil || *props.ScaleSettings.MaxNodeCount != 2 {
		s.t.Errorf("created compute: %+v", made)
	}
	up := got[*runtime.Poller[aml.ComputeClientUpdateResponse]](s.t, "resize")(c.BeginUpdate(s.ctx, sdkGroup, sdkWS, "sdk-cluster", aml.ClusterUpdateParameters{
		Properties: &aml.ClusterUpdateProperties{Properties: &aml.ScaleSettingsInformation{ScaleSettings: &aml.ScaleSettings{
			MinNodeCount: to.Ptr[int32](0), MaxNodeCount: to.Ptr[int32](5), NodeIdleTimeBeforeScaleDown: to.Ptr("PT20M"),
		}}},
	}, nil))
	resized := got[aml.ComputeClientUpdateResponse](s.t, "resized")(up.PollUntilDone(s.ctx, pollAtOnce))
	scale := resized.Properties.(*aml.AmlCompute).Properties.ScaleSettings
	if *scale.MaxNodeCount != 5 || *scale.NodeIdleTimeBeforeScaleDown != "PT20M" {
		s.t.Errorf("resized: %d, %s", *scale.MaxNodeCount, *scale.NodeIdleTimeBeforeScaleDown)
	}
	s.same("computes", names(s, c.NewListPager(sdkGroup, sdkWS, nil),
		func(p aml.ComputeClientListResponse) []*aml.ComputeResource { return p.Value }, func(r *aml.ComputeResource) *string { return r.Name }), "cpu-cluster sdk-cluster")
	s.same("nodes", names(s, c.NewListNodesPager(sdkGroup, sdkWS, "sdk-cluster", nil),
		func(p aml.ComputeClientListNodesResponse) []*aml.AmlComputeNodeInformation { return p.Nodes }, func(n *aml.AmlComputeNodeInformation) *string { return n.NodeID }), "")
	gone := got[*runtime.Poller[aml.ComputeClientDeleteResponse]](s.t, "delete compute")(c.BeginDelete(s.ctx, sdkGroup, sdkWS, "sdk-cluster", aml.UnderlyingResourceActionDelete, nil))
	got[aml.ComputeClientDeleteResponse](s.t, "deleted compute")(gone.PollUntilDone(s.ctx, pollAtOnce))
	_, err := c.Get(s.ctx, sdkGroup, sdkWS, "sdk-cluster", nil)
	s.refused("a deleted compute", err, http.StatusNotFound, "ResourceNotFound")
}

func (s *sdk) datastores() {
	c := s.clients.NewDatastoresClient()
	list := func(o *aml.DatastoresClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, o), func(p aml.DatastoresClientListResponse) []*aml.Datastore { return p.Value }, func(d *aml.Datastore) *string { return d.Name })
	}
	made := got[aml.DatastoresClientCreateOrUpdateResponse](s.t, "create datastore")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "extra", aml.Datastore{Properties: &aml.AzureBlobDatastore{
		DatastoreType: to.Ptr(aml.DatastoreTypeAzureBlob), AccountName: to.Ptr("stsmall001"), ContainerName: to.Ptr("data"),
		Credentials: &aml.AccountKeyDatastoreCredentials{CredentialsType: to.Ptr(aml.CredentialsTypeAccountKey), Secrets: &aml.AccountKeyDatastoreSecrets{
			SecretsType: to.Ptr(aml.SecretsTypeAccountKey), Key: to.Ptr("c2VjcmV0"),
		}},
	}}, nil))
	if d, ok := made.Properties.(*aml.AzureBlobDatastore); !ok || *d.ContainerName != "data" || *d.IsDefault {
		s.t.Errorf("datastore: %+v", made.Properties)
	}
	secrets := got[aml.DatastoresClientListSecretsResponse](s.t, "secrets")(c.ListSecrets(s.ctx, sdkGroup, sdkWS, "extra", nil))
	if k, ok := secrets.DatastoreSecretsClassification.(*aml.AccountKeyDatastoreSecrets); !ok || *k.Key != "c2VjcmV0" {
		s.t.Errorf("secrets: %+v", secrets.DatastoreSecretsClassification)
	}
	s.same("datastores page by page", list(&aml.DatastoresClientListOptions{Count: to.Ptr[int32](2)}), "extra workspaceartifactstore workspaceblobstore workspacefilestore workspaceworkingdirectory")
	s.same("default datastore", list(&aml.DatastoresClientListOptions{IsDefault: to.Ptr(true)}), "workspaceblobstore")
	s.same("datastores by name", list(&aml.DatastoresClientListOptions{Names: []string{"extra", "workspacefilestore"}}), "extra workspacefilestore")
	s.same("datastores by text", list(&aml.DatastoresClientListOptions{SearchText: to.Ptr("file")}), "workspacefilestore")
	got[aml.DatastoresClientDeleteResponse](s.t, "delete datastore")(c.Delete(s.ctx, sdkGroup, sdkWS, "extra", nil))
	_, err := c.Get(s.ctx, sdkGroup, sdkWS, "extra", nil)
	s.refused("a deleted datastore", err, http.StatusNotFound, "")
}

func (s *sdk) codes() {
	c := s.clients.NewCodeVersionsClient()
	pending := got[aml.CodeVersionsClientCreateOrGetStartPendingUploadResponse](s.t, "start upload")(c.CreateOrGetStartPendingUpload(s.ctx, sdkGroup, sdkWS, "code", "1", aml.PendingUploadRequestDto{
		PendingUploadType: to.Ptr(aml.PendingUploadTypeTemporaryBlobReference),
	}, nil))
	sas, ok := pending.BlobReferenceForConsumption.Credential.(*aml.SASCredentialDto)
	if !ok || !strings.Contains(*sas.SasURI, "sig=") {
		s.t.Fatalf("pending upload: %+v", pending.BlobReferenceForConsumption)
	}
	got[aml.CodeVersionsClientCreateOrUpdateResponse](s.t, "create code")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "code", "1", aml.CodeVersion{Properties: &aml.CodeVersionProperties{
		CodeURI: pending.BlobReferenceForConsumption.BlobURI, Properties: map[string]*string{"hash_sha256": to.Ptr("abc"), "hash_version": to.Ptr("202208")},
	}}, nil))
	list := func(o *aml.CodeVersionsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, "code", o), func(p aml.CodeVersionsClientListResponse) []*aml.CodeVersion { return p.Value }, func(d *aml.CodeVersion) *string { return d.Name })
	}
	s.same("codes", list(nil), "1")
	s.same("codes by hash", list(&aml.CodeVersionsClientListOptions{Hash: to.Ptr("abc"), HashVersion: to.Ptr("202208")}), "1")
	s.same("codes by another hash", list(&aml.CodeVersionsClientListOptions{Hash: to.Ptr("def")}), "")
	containers := s.clients.NewCodeContainersClient()
	at := got[aml.CodeContainersClientGetResponse](s.t, "code container")(containers.Get(s.ctx, sdkGroup, sdkWS, "code", nil))
	s.same("latest code", *at.Properties.LatestVersion+" "+*at.Properties.NextVersion, "1 2")
}

func (s *sdk) environments() {
	c := s.clients.NewEnvironmentVersionsClient()
	for _, version := range []string{"1", "2", "3"} {
		got[aml.EnvironmentVersionsClientCreateOrUpdateResponse](s.t, "create environment")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "plain", version, aml.EnvironmentVersion{
			Properties: &aml.EnvironmentVersionProperties{Image: to.Ptr("library/python:3.12-slim"), OSType: to.Ptr(aml.OperatingSystemTypeLinux)},
		}, nil))
	}
	list := func(o *aml.EnvironmentVersionsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, "plain", o), func(p aml.EnvironmentVersionsClientListResponse) []*aml.EnvironmentVersion { return p.Value }, func(d *aml.EnvironmentVersion) *string { return d.Name })
	}
	s.same("environments page by page", list(&aml.EnvironmentVersionsClientListOptions{Top: to.Ptr[int32](2)}), "3 2 1")
	s.same("environments, oldest first", list(&aml.EnvironmentVersionsClientListOptions{OrderBy: to.Ptr("createdtime asc")}), "1 2 3")
	two := got[aml.EnvironmentVersionsClientGetResponse](s.t, "environment")(c.Get(s.ctx, sdkGroup, sdkWS, "plain", "2", nil))
	two.Properties.IsArchived = to.Ptr(true)
	got[aml.EnvironmentVersionsClientCreateOrUpdateResponse](s.t, "archive environment")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "plain", "2", two.EnvironmentVersion, nil))
	s.same("active environments", list(nil), "3 1")
	s.same("archived environments", list(&aml.EnvironmentVersionsClientListOptions{ListViewType: to.Ptr(aml.ListViewTypeArchivedOnly)}), "2")
	two.Properties.Image = to.Ptr("another")
	_, err := c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "plain", "2", two.EnvironmentVersion, nil)
	s.refused("another image of an environment", err, http.StatusBadRequest, "UserError")
}

func (s *sdk) data() {
	c := s.clients.NewDataVersionsClient()
	put := func(version string, props aml.DataVersionBasePropertiesClassification) error {
		_, err := c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "table", version, aml.DataVersionBase{Properties: props}, nil)
		return err
	}
	for version, tag := range map[string]string{"1": "red", "2": "blue"} {
		if err := put(version, &aml.URIFileDataVersion{
			DataType: to.Ptr(aml.DataTypeURIFile), DataURI: to.Ptr("azureml://datastores/workspaceblobstore/paths/t" + version), Tags: map[string]*string{"colour": to.Ptr(tag)},
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.refused("a folder as a version of a file", put("3", &aml.URIFolderDataVersion{
		DataType: to.Ptr(aml.DataTypeURIFolder), DataURI: to.Ptr("azureml://datastores/workspaceblobstore/paths/t3/"),
	}), http.StatusBadRequest, "UserError")
	list := func(o *aml.DataVersionsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, "table", o), func(p aml.DataVersionsClientListResponse) []*aml.DataVersionBase { return p.Value }, func(d *aml.DataVersionBase) *string { return d.Name })
	}
	s.same("data by tag", list(&aml.DataVersionsClientListOptions{Tags: to.Ptr("colour=blue")}), "2")
	containers := s.clients.NewDataContainersClient()
	at := got[aml.DataContainersClientGetResponse](s.t, "data container")(containers.Get(s.ctx, sdkGroup, sdkWS, "table", nil))
	at.Properties.IsArchived = to.Ptr(true)
	got[aml.DataContainersClientCreateOrUpdateResponse](s.t, "archive data")(containers.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "table", at.DataContainer, nil))
	all := func(view aml.ListViewType) string {
		return names(s, containers.NewListPager(sdkGroup, sdkWS, &aml.DataContainersClientListOptions{ListViewType: to.Ptr(view)}),
			func(p aml.DataContainersClientListResponse) []*aml.DataContainer { return p.Value }, func(d *aml.DataContainer) *string { return d.Name })
	}
	s.same("active data", all(aml.ListViewTypeActiveOnly), "")
	s.same("archived data", all(aml.ListViewTypeArchivedOnly), "table")
	got[aml.DataVersionsClientDeleteResponse](s.t, "delete data")(c.Delete(s.ctx, sdkGroup, sdkWS, "table", "2", nil))
	s.same("data that is left", list(nil), "1")
}

func (s *sdk) models() {
	c := s.clients.NewModelVersionsClient()
	for _, version := range []string{"1", "2"} {
		m := got[aml.ModelVersionsClientCreateOrUpdateResponse](s.t, "create model")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "net", version, aml.ModelVersion{Properties: &aml.ModelVersionProperties{
			ModelType: to.Ptr("custom_model"), ModelURI: to.Ptr("azureml://datastores/workspaceblobstore/paths/m" + version), Stage: to.Ptr("Development"),
			Properties: map[string]*string{"n": to.Ptr(version)},
		}}, nil))
		s.same("state of the model", string(*m.Properties.ProvisioningState), "Succeeded")
	}
	list := func(o *aml.ModelVersionsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, "net", o), func(p aml.ModelVersionsClientListResponse) []*aml.ModelVersion { return p.Value }, func(d *aml.ModelVersion) *string { return d.Name })
	}
	s.same("models by property", list(&aml.ModelVersionsClientListOptions{Properties: to.Ptr("n=1")}), "1")
	s.same("models by version", list(&aml.ModelVersionsClientListOptions{Version: to.Ptr("2")}), "2")
	containers := s.clients.NewModelContainersClient()
	got[aml.ModelContainersClientCreateOrUpdateResponse](s.t, "create model container")(containers.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "other", aml.ModelContainer{Properties: &aml.ModelContainerProperties{}}, nil))
	s.same("models page by page", names(s, containers.NewListPager(sdkGroup, sdkWS, &aml.ModelContainersClientListOptions{Count: to.Ptr[int32](1)}),
		func(p aml.ModelContainersClientListResponse) []*aml.ModelContainer { return p.Value }, func(d *aml.ModelContainer) *string { return d.Name }), "net other")
}

func (s *sdk) components() {
	c := s.clients.NewComponentVersionsClient()
	spec := map[string]any{"name": "step", "version": "1", "type": "command", "command": "echo", "environment": "azureml:plain:1"}
	got[aml.ComponentVersionsClientCreateOrUpdateResponse](s.t, "create component")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "step", "1", aml.ComponentVersion{Properties: &aml.ComponentVersionProperties{ComponentSpec: spec}}, nil))
	one := got[aml.ComponentVersionsClientGetResponse](s.t, "component")(c.Get(s.ctx, sdkGroup, sdkWS, "step", "1", nil))
	if have, ok := one.Properties.ComponentSpec.(map[string]any); !ok || have["command"] != "echo" {
		s.t.Errorf("component: %v", one.Properties.ComponentSpec)
	}
	s.same("components", names(s, c.NewListPager(sdkGroup, sdkWS, "step", nil),
		func(p aml.ComponentVersionsClientListResponse) []*aml.ComponentVersion { return p.Value }, func(d *aml.ComponentVersion) *string { return d.Name }), "1")
}

// pipeline runs a pipeline of two steps.
func (s *sdk) pipeline(c *aml.JobsClient) {
	component := smallWS + "/components/step/versions/1"
	got[aml.JobsClientCreateOrUpdateResponse](s.t, "create pipeline")(c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, "steps", aml.JobBase{Properties: &aml.PipelineJob{
		JobType: to.Ptr(aml.JobTypePipeline), ComputeID: to.Ptr(smallWS + "/computes/cpu-cluster"), Settings: map[string]any{"continueOnStepFailure": false},
		Jobs: map[string]any{
			"one": map[string]any{"type": "command", "componentId": component},
			"two": map[string]any{"type": "command", "componentId": component},
		},
	}}, nil))
	for {
		p, ok := got[aml.JobsClientGetResponse](s.t, "pipeline")(c.Get(s.ctx, sdkGroup, sdkWS, "steps", nil)).Properties.(*aml.PipelineJob)
		if !ok || len(p.Jobs) != 2 || *p.Status != aml.JobStatusRunning && *p.Status != aml.JobStatusCompleted {
			s.t.Fatalf("pipeline: %+v", p)
		}
		if *p.Status == aml.JobStatusCompleted {
			return
		}
	}
}

func (s *sdk) jobs() {
	c := s.clients.NewJobsClient()
	job := func(command string, change func(*aml.CommandJob)) aml.JobBase {
		j := &aml.CommandJob{
			JobType: to.Ptr(aml.JobTypeCommand), Command: to.Ptr(command), ExperimentName: to.Ptr("sdk"),
			EnvironmentID: to.Ptr(smallWS + "/environments/plain/versions/1"), ComputeID: to.Ptr(smallWS + "/computes/cpu-cluster"),
			Limits: &aml.CommandJobLimits{JobLimitsType: to.Ptr(aml.JobLimitsTypeCommand), Timeout: to.Ptr("PT10M")},
			Inputs: map[string]aml.JobInputClassification{"n": &aml.LiteralJobInput{JobInputType: to.Ptr(aml.JobInputTypeLiteral), Value: to.Ptr("3")}},
		}
		if change != nil {
			change(j)
		}
		return aml.JobBase{Properties: j}
	}
	put := func(name string, body aml.JobBase) (aml.JobsClientCreateOrUpdateResponse, error) {
		return c.CreateOrUpdate(s.ctx, sdkGroup, sdkWS, name, body, nil)
	}
	status := func(name string) aml.JobStatus {
		return *got[aml.JobsClientGetResponse](s.t, "job")(c.Get(s.ctx, sdkGroup, sdkWS, name, nil)).Properties.(*aml.CommandJob).Status
	}
	for _, name := range []string{"first", "second"} {
		got[aml.JobsClientCreateOrUpdateResponse](s.t, "create job")(put(name, job("echo ${{inputs.n}}", func(j *aml.CommandJob) { j.Tags = map[string]*string{name: to.Ptr("yes")} })))
	}
	got[aml.JobsClientCreateOrUpdateResponse](s.t, "create job")(put("endless", job("sleep 600; echo ${{inputs.n}}", nil)))
	cancel := got[*runtime.Poller[aml.JobsClientCancelResponse]](s.t, "cancel")(c.BeginCancel(s.ctx, sdkGroup, sdkWS, "endless", nil))
	got[aml.JobsClientCancelResponse](s.t, "canceled")(cancel.PollUntilDone(s.ctx, pollAtOnce))
	s.same("canceled job", string(status("endless")), "Canceled")
	ended := []aml.JobStatus{aml.JobStatusCompleted, aml.JobStatusFailed, aml.JobStatusCanceled}
	for _, name := range []string{"first", "second"} {
		for !slices.Contains(ended, status(name)) {
			if err := s.ctx.Err(); err != nil {
				s.t.Fatal(err)
			}
		}
		s.same(name, string(status(name)), "Completed")
	}
	list := func(o *aml.JobsClientListOptions) string {
		s.t.Helper()
		return names(s, c.NewListPager(sdkGroup, sdkWS, o), func(p aml.JobsClientListResponse) []*aml.JobBase { return p.Value }, func(d *aml.JobBase) *string { return d.Name })
	}
	s.same("jobs", list(nil), "endless second first")
	s.same("jobs by tag", list(&aml.JobsClientListOptions{Tag: to.Ptr("first")}), "first")
	s.same("sweeps", list(&aml.JobsClientListOptions{JobType: to.Ptr("Sweep")}), "")
	first := got[aml.JobsClientGetResponse](s.t, "job")(c.Get(s.ctx, sdkGroup, sdkWS, "first", nil)).JobBase
	first.Properties.(*aml.CommandJob).IsArchived = to.Ptr(true)
	got[aml.JobsClientCreateOrUpdateResponse](s.t, "archive job")(put("first", first))
	s.same("active jobs", list(nil), "endless second")
	s.same("archived jobs", list(&aml.JobsClientListOptions{ListViewType: to.Ptr(aml.ListViewTypeArchivedOnly)}), "first")
	gone := got[*runtime.Poller[aml.JobsClientDeleteResponse]](s.t, "delete job")(c.BeginDelete(s.ctx, sdkGroup, sdkWS, "endless", nil))
	got[aml.JobsClientDeleteResponse](s.t, "deleted job")(gone.PollUntilDone(s.ctx, pollAtOnce))
	s.same("jobs that are left", list(nil), "second")
	s.pipeline(c)
	s.same("pipelines", list(&aml.JobsClientListOptions{JobType: to.Ptr("Pipeline")}), "steps")
	s.same("commands", list(&aml.JobsClientListOptions{JobType: to.Ptr("Command")}), "second")

	for what, body := range map[string]aml.JobBase{
		"an unknown input":  job("echo ${{inputs.nothing}}", nil),
		"too many nodes":    job("echo ${{inputs.n}}", func(j *aml.CommandJob) { j.Resources = &aml.JobResourceConfiguration{InstanceCount: to.Ptr[int32](9)} }),
		"a missing compute": job("echo ${{inputs.n}}", func(j *aml.CommandJob) { j.ComputeID = to.Ptr(smallWS + "/computes/none") }),
		"no steps":          {Properties: &aml.PipelineJob{JobType: to.Ptr(aml.JobTypePipeline), Jobs: map[string]any{}}},
		"an empty space": {Properties: &aml.SweepJob{JobType: to.Ptr(aml.JobTypeSweep), SearchSpace: map[string]any{}, SamplingAlgorithm: &aml.RandomSamplingAlgorithm{SamplingAlgorithmType: to.Ptr(aml.SamplingAlgorithmTypeRandom)},
			Objective: &aml.Objective{Goal: to.Ptr(aml.GoalMinimize), PrimaryMetric: to.Ptr("loss")},
			Trial:     &aml.TrialComponent{Command: to.Ptr("x"), EnvironmentID: to.Ptr(smallWS + "/environments/plain/versions/1")}}},
		"a bad timeout": job("echo ${{inputs.n}}", func(j *aml.CommandJob) { j.Limits.Timeout = to.Ptr("10m") }),
		"an output in no place": job("echo ${{inputs.n}}", func(j *aml.CommandJob) {
			j.Outputs = map[string]aml.JobOutputClassification{"o": &aml.URIFolderJobOutput{JobOutputType: to.Ptr(aml.JobOutputTypeURIFolder), URI: to.Ptr("azureml://datastores/none/paths/x")}}
		}),
	} {
		_, err := put("bad", body)
		s.refused(what, err, http.StatusBadRequest, "UserError")
	}
	for what, body := range map[string]aml.JobBase{
		"a Spark job": {Properties: &aml.SparkJob{JobType: to.Ptr(aml.JobTypeSpark), CodeID: to.Ptr(smallWS + "/codes/c/versions/1"),
			Entry: &aml.SparkJobPythonEntry{SparkJobEntryType: to.Ptr(aml.SparkJobEntryTypeSparkJobPythonEntry), File: to.Ptr("x.py")}}},
	} {
		_, err := put("bad", body)
		s.refused(what, err, http.StatusNotImplemented, "NotImplementedByAzimuth")
	}
}
