package ml

import (
	"context"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// workspace is what jobs need to know of their workspace.
type workspace struct {
	ID string // ARM ID
	// UID is the resource's, GUID the workspace ID that Azure ML knows it by.
	UID, GUID string
	Location  string
	// Account is the name of the default storage account, AccountID its ARM ID.
	Account, AccountID string
	// ServerlessSubnet is the ARM ID of the subnet of its serverless compute, or "".
	ServerlessSubnet string
	// Registry is the ARM ID of its container registry, or "".
	Registry string
	id       arm.ID
}

func workspaceOf(r *arm.Resource) *workspace {
	w := &workspace{
		ID: r.ID, UID: r.UID, GUID: r.Body.String("properties.workspaceId"),
		Location: arm.NormalizeLocation(r.Body.String("location")), AccountID: r.Body.String("properties.storageAccount"), id: r.ParsedID(),
		Registry:         r.Body.String("properties.containerRegistry"),
		ServerlessSubnet: r.Body.String("properties.serverlessComputeSettings.serverlessComputeCustomSubnet"),
	}
	if w.GUID == "" {
		w.GUID = r.UID
	}
	w.Account = strings.ToLower(lastSegment(w.AccountID))
	return w
}

func lastSegment(s string) string {
	s = strings.TrimSuffix(s, "/")
	return s[strings.LastIndexByte(s, '/')+1:]
}

// workspace loads the workspace that a resource is in.
func (s *Service) workspace(ctx context.Context, tx store.Tx, id arm.ID) (*workspace, error) {
	for !strings.EqualFold(id.Type(), typeWorkspace) && !id.IsZero() {
		id = id.Parent()
	}
	r, err := s.kernel.Load(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	return workspaceOf(r), nil
}

// The containers of a workspace's default storage account.
const artifactContainer = "azureml"

func (w *workspace) blobContainer() string { return "azureml-blobstore-" + w.GUID }

// host is the workspace's data plane.
func (w *workspace) host() string { return w.Location + ".api.azureml.ms" }

// privateHost is the host of its own that the workspace has, which private endpoints
// lead to. Whoever calls another host of its data plane is let in by the same rules.
func (w *workspace) privateHost() string {
	return w.GUID + ".workspace." + w.Location + ".api.azureml.ms"
}

// path is the workspace's ID as data plane paths have it.
func (w *workspace) path() string {
	return "/subscriptions/" + w.id.Subscription + "/resourceGroups/" + w.id.ResourceGroup +
		"/providers/" + Namespace + "/workspaces/" + w.id.Name()
}

// trackingURL is the MLflow tracking server of the workspace.
func (w *workspace) trackingURL() string { return "https://" + w.host() + "/mlflow/v1.0" + w.path() }

// artifactPrefix is where a job keeps its files in the artifact container.
func artifactPrefix(job string) string { return "ExperimentRun/dcid." + job }
