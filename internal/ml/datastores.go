package ml

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The datastores that every workspace has.
const (
	blobStore     = "workspaceblobstore"
	artifactStore = "workspaceartifactstore"
	fileStore     = "workspacefilestore"
	workingStore  = "workspaceworkingdirectory"
)

// codeShare is the file share of workspaceworkingdirectory. Its name is the same
// in every workspace of Azure.
const codeShare = "code-391ff5ac-6576-460f-ba4d-7e03433c68b6"

func (s *Service) datastoreType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: typeDatastore,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^[a-z0-9_]{1,255}$`),
			Text:    "A datastore name has 1 to 255 lower-case letters, digits and underscores.",
			Error: func(name string) *arm.Error {
				return userError("name", "The datastore name '%s' is invalid. It must have 1 to 255 lower-case letters, digits and underscores.", name)
			},
		},
		SystemData: true, NoProvisioningState: true,
		PutStatus: [2]int{http.StatusCreated, http.StatusOK},
		Methods:   []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Validate:  s.validateDatastore,
		Put:       s.putDatastore,
		Delete: func(_ context.Context, d *arm.Delete) error {
			// Jobs need them. What Azure says to this is not known.
			if system(d.Resource.Name()) && !d.Cascade {
				return userError("name", "The datastore '%s' belongs to the workspace and cannot be deleted.", d.Resource.Name())
			}
			return nil
		},
		List:    s.listDatastores,
		Actions: []arm.Action{{Name: "listSecrets", Handle: s.listSecrets}},
	}
}

func system(name string) bool {
	_, ok := folds([]string{blobStore, artifactStore, fileStore, workingStore}, name)
	return ok
}

// secretOf names the property that holds the secret of a kind of credentials.
func secretOf(kind string) (property string, ok bool) {
	property, ok = map[string]string{
		"AccountKey": "key", "Sas": "sasToken", "ServicePrincipal": "clientSecret", "Certificate": "certificate", "None": "",
	}[kind]
	return property, ok
}

func (s *Service) validateDatastore(_ context.Context, p *arm.Put) error {
	props := p.Resource.Body.Object("properties")
	required := map[string][]string{
		"AzureBlob":         {"accountName", "containerName"},
		"AzureDataLakeGen2": {"accountName", "filesystem"},
		"AzureFile":         {"accountName", "fileShareName"},
	}
	kind := props.String("datastoreType")
	switch {
	case kind == "":
		return userError("properties.datastoreType", "The required property 'datastoreType' is missing.")
	case required[kind] == nil:
		if _, ok := folds([]string{"AzureDataLakeGen1", "OneLake", "Hdfs"}, kind); ok {
			return arm.NotImplemented("datastores of type '%s'", kind)
		}
		return userError("properties.datastoreType", "The datastore type '%s' is unknown.", kind)
	}
	for _, name := range required[kind] {
		if props.String(name) == "" {
			return userError("properties."+name, "The required property '%s' is missing.", name)
		}
	}
	creds := props.String("credentials.credentialsType")
	secret, ok := secretOf(creds)
	switch {
	case creds == "":
		return userError("properties.credentials", "The required property 'credentials' is missing.")
	case !ok:
		return userError("properties.credentials.credentialsType", "The credentials type '%s' is unknown.", creds)
	case creds == "Certificate":
		return arm.NotImplemented("datastores with a certificate")
	case secret != "" && !props.Has("credentials.secrets."+secret) && !system(p.ID.Name()):
		if p.Existing == nil || p.Existing.Body.String("properties.credentials.credentialsType") != creds {
			return userError("properties.credentials.secrets", "The credentials of type '%s' have no '%s'.", creds, secret)
		}
	}
	if creds == "AccountKey" && props.Has("credentials.secrets.key") {
		if _, err := base64.StdEncoding.DecodeString(props.String("credentials.secrets.key")); err != nil {
			return userError("properties.credentials.secrets.key", "The account key is not valid Base64.")
		}
	}
	return nil
}

// putDatastore moves the secret out of the document: it is never shown again
// but by listSecrets.
func (s *Service) putDatastore(_ context.Context, p *arm.Put) error {
	props := p.Resource.Body.Object("properties")
	if secret, _ := secretOf(props.String("credentials.credentialsType")); secret != "" {
		if v := props.String("credentials.secrets." + secret); v != "" && !system(p.ID.Name()) {
			p.Resource.Private.Set("secrets", map[string]any{secret: v})
		}
	} else {
		p.Resource.Private.Delete("secrets")
	}
	props.Delete("credentials.secrets")
	props.Delete("isDefault") // read-only
	props.Set("isDefault", strings.EqualFold(p.ID.Name(), blobStore))
	props.Default("protocol", "https")
	props.Default("endpoint", "core.windows.net")
	props.Default("serviceDataAccessAuthIdentity", "None")
	props.Default("tags", map[string]any{})
	return nil
}

// createDatastores stores the datastores of a new workspace, which reach its
// default storage account with the account's key.
func (s *Service) createDatastores(tx store.Tx, res *arm.Resource, now time.Time) error {
	ws := workspaceOf(res)
	account, err := arm.ParseID(ws.AccountID)
	if err != nil {
		return fmt.Errorf("the workspace's storage account: %w", err)
	}
	for _, d := range []struct{ name, kind, property, value string }{
		{blobStore, "AzureBlob", "containerName", ws.blobContainer()},
		{artifactStore, "AzureBlob", "containerName", artifactContainer},
		{fileStore, "AzureFile", "fileShareName", "azureml-filestore-" + ws.GUID},
		{workingStore, "AzureFile", "fileShareName", codeShare},
	} {
		id := ws.id.Child("datastores", d.name)
		switch there, err := s.kernel.Resources().Exists(tx, id.Key()); {
		case err != nil:
			return err
		case there: // the workspace is being updated
			continue
		}
		err := s.kernel.Resources().Put(tx, &arm.Resource{
			ID: id.String(), UID: uuid.NewString(), Created: now, Modified: now, CreatedBy: res.CreatedBy, ModifiedBy: res.CreatedBy, ETag: uuid.NewString(),
			Body: arm.Doc{"properties": map[string]any{
				"datastoreType": d.kind, d.property: d.value, "accountName": account.Name(), "endpoint": "core.windows.net", "protocol": "https",
				"isDefault": d.name == blobStore, "credentials": map[string]any{"credentialsType": "AccountKey"},
				"serviceDataAccessAuthIdentity": "None", "subscriptionId": account.Subscription, "resourceGroup": account.ResourceGroup,
				"tags": map[string]any{}, "properties": map[string]any{},
			}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// listSecrets shows the secret. The workspace's own datastores have none of
// their own: they always have the account's present key, where Azure copies it
// and wants resyncKeys after a rotation.
func (s *Service) listSecrets(ctx context.Context, req *arm.Request) (*arm.Response, error) {
	var ds *arm.Resource
	err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		ds, err = s.kernel.Load(ctx, tx, req.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	props := ds.Body.Object("properties")
	kind := props.String("credentials.credentialsType")
	secret, _ := secretOf(kind)
	out := map[string]any{"secretsType": kind}
	switch {
	case system(ds.Name()):
		account, err := s.cfg.Accounts.Account(ctx, strings.ToLower(props.String("accountName")))
		if errors.Is(err, blob.ErrNoAccount) {
			return nil, userError("properties.accountName", "The storage account '%s' of the datastore was not found.", props.String("accountName"))
		}
		if err != nil {
			return nil, fmt.Errorf("find storage account: %w", err)
		}
		// whoever has the key goes straight to the container, which a failure at
		// the workspace's creation may have left missing
		if c := props.String("containerName"); c != "" {
			if err := s.cfg.Blobs.EnsureContainer(ctx, account.Name, c); err != nil {
				return nil, fmt.Errorf("make container %s: %w", c, err)
			}
		}
		out["key"] = base64.StdEncoding.EncodeToString(account.Keys[0])
	case secret != "":
		out[secret] = ds.Private.String("secrets." + secret)
	}
	return arm.OK(out), nil
}
