package ml

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// place is where data is: a path in a container of a storage account, and with
// what right it is reached.
type place struct {
	Account, Container, Path string
	// Datastore is the name of the workspace's datastore, or "" for a URL.
	Datastore string
	// Credentials is "AccountKey", "Sas", "ServicePrincipal" or "None", Key the account
	// key, the signature or the client secret that the datastore holds, or "" for the
	// workspace's own datastores. Tenant and Client are a service principal's.
	Credentials    string
	Key            string
	Tenant, Client string
	// Type is the datastore's type. Of typeFile, Container is a file share.
	Type string
}

// typeFile is the type of datastores that are file shares.
const typeFile = "AzureFile"

// host is the service that it is in.
func (p *place) host() string {
	service := "blob"
	if p.Type == typeFile {
		service = "file"
	}
	return p.Account + "." + service + ".core.windows.net"
}

// url is where it is, for people.
func (p *place) url() string {
	return fmt.Sprintf("https://%s/%s/%s", p.host(), p.Container, p.Path)
}

var datastoreURI = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^azureml://(?:subscriptions/([^/]+)/resourcegroups/([^/]+)/(?:providers/Microsoft\.MachineLearningServices/)?workspaces/([^/]+)/)?datastores/([^/]+)/(?:paths(?:/|$))?(.*)$`)
})

var assetURI = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^azureml:(?://)?(?:locations/[^/]+/workspaces/[^/]+/)?(data|models)/([^/]+)/versions/([^/]+)$`)
})

var jobOutputURI = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^azureml://jobs/([^/]+)/outputs/([^/]+?)(?:/paths/(.*))?$`)
})

// locate says where a URI of a job or asset leads. Its errors are *arm.Error.
func (s *Service) locate(ctx context.Context, tx store.Tx, ws *workspace, uri string) (*place, error) {
	return s.locateDepth(ctx, tx, ws, uri, 0)
}

func (s *Service) locateDepth(ctx context.Context, tx store.Tx, ws *workspace, uri string, depth int) (*place, error) {
	if depth > 3 { // an asset that leads to an asset and so on
		return nil, userError("uri", "The URI '%s' leads in a circle.", uri)
	}
	if strings.HasPrefix(uri, "azureml:/subscriptions/") {
		uri = strings.TrimPrefix(uri, "azureml:")
	}
	if m := datastoreURI().FindStringSubmatch(uri); m != nil {
		if m[1] != "" && !(strings.EqualFold(m[1], ws.id.Subscription) && strings.EqualFold(m[2], ws.id.ResourceGroup) && strings.EqualFold(m[3], ws.id.Name())) {
			return nil, arm.NotImplemented("data in another workspace ('%s')", uri)
		}
		path, err := url.PathUnescape(m[5])
		if err != nil {
			path = m[5]
		}
		return s.inDatastore(ctx, tx, ws, m[4], path)
	}
	if m := jobOutputURI().FindStringSubmatch(uri); m != nil {
		job, err := s.kernel.Load(ctx, tx, ws.id.Child("jobs", m[1]))
		if err != nil {
			return nil, userError("uri", "The job '%s' of the URI '%s' was not found.", m[1], uri)
		}
		if m[2] == "default" || m[2] == "artifacts" { // Azure's documents have both names for what every job has
			return s.inDatastore(ctx, tx, ws, artifactStore, join(artifactPrefix(job.Name()), m[3]))
		}
		out, _ := job.Body.Object("properties.outputs")[m[2]].(map[string]any)
		to := arm.Doc(out).String("uri")
		if to == "" {
			return nil, userError("uri", "The job '%s' has no output '%s'.", m[1], m[2])
		}
		at, err := s.locateDepth(ctx, tx, ws, to, depth+1)
		if err == nil {
			at.Path = join(at.Path, m[3])
		}
		return at, err
	}
	if to, ok, err := s.assetPath(ctx, tx, ws, uri); err != nil || ok {
		if err != nil {
			return nil, err
		}
		return s.locateDepth(ctx, tx, ws, to, depth+1)
	}
	return fromURL(uri)
}

func join(dir, name string) string {
	if name == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// assetPath is the path of the data or model version that uri names, if it does.
func (s *Service) assetPath(ctx context.Context, tx store.Tx, ws *workspace, uri string) (string, bool, error) {
	var id arm.ID
	if strings.HasPrefix(uri, "/subscriptions/") {
		parsed, err := arm.ParseID(uri)
		if err != nil {
			return "", false, userError("uri", "The URI '%s' is not a resource ID.", uri)
		}
		id = parsed
	} else if m := assetURI().FindStringSubmatch(uri); m != nil {
		id = ws.id.Child(strings.ToLower(m[1]), m[2]).Child("versions", m[3])
	} else if rest, ok := strings.CutPrefix(uri, "azureml:"); ok && !strings.HasPrefix(rest, "/") && strings.Count(rest, ":") == 1 {
		name, version, _ := strings.Cut(rest, ":")
		id = ws.id.Child("data", name).Child("versions", version)
	} else if name, label, at := strings.Cut(rest, "@"); ok && at && !strings.Contains(rest, "/") {
		id = ws.id.Child("data", name).Child("labels", label)
	} else {
		return "", false, nil
	}
	id, err := s.labelled(ctx, tx, id, uri)
	if err != nil {
		return "", false, err
	}
	var property string
	switch strings.ToLower(id.Type()) {
	case strings.ToLower(typeWorkspace + "/data/versions"):
		property = "properties.dataUri"
	case strings.ToLower(typeWorkspace + "/models/versions"):
		property = "properties.modelUri"
	default:
		return "", false, userError("uri", "The URI '%s' names neither data nor a model.", uri)
	}
	if !strings.HasPrefix(id.Key(), ws.id.Key()+"/") {
		return "", false, arm.NotImplemented("assets of another workspace ('%s')", uri)
	}
	r, err := s.kernel.Load(ctx, tx, id)
	var missing *arm.Error
	if errors.As(err, &missing) {
		return "", false, userError("uri", "The asset version '%s' was not found.", id.FullName())
	}
	if err != nil {
		return "", false, err
	}
	to := r.Body.String(property)
	if to == "" {
		return "", false, userError("uri", "The asset version '%s' has no path.", id.FullName())
	}
	return to, true, nil
}

// labelled is the version that a label means, and any other ID as it is.
func (s *Service) labelled(ctx context.Context, tx store.Tx, id arm.ID, uri string) (arm.ID, error) {
	if !strings.HasSuffix(strings.ToLower(id.Type()), "/labels") {
		return id, nil
	}
	if !strings.EqualFold(id.Name(), "latest") {
		return id, arm.NotImplemented("the label '%s' of an asset; latest is", id.Name())
	}
	var missing *arm.Error
	r, err := s.kernel.Load(ctx, tx, id.Parent())
	if err != nil && !errors.As(err, &missing) {
		return id, err
	}
	version := ""
	if err == nil {
		version = r.Body.String("properties.latestVersion")
	}
	if version == "" {
		return id, userError("uri", "The asset of '%s' was not found, or has no version.", uri)
	}
	return id.Parent().Child("versions", version), nil
}

func (s *Service) inDatastore(ctx context.Context, tx store.Tx, ws *workspace, name, path string) (*place, error) {
	ds, err := s.kernel.Resources().Get(tx, ws.id.Child("datastores", name).Key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, userError("uri", "The datastore '%s' is not in the workspace '%s'.", name, ws.id.Name())
	}
	if err != nil {
		return nil, err
	}
	props := ds.Body.Object("properties")
	at := &place{
		Account: strings.ToLower(props.String("accountName")), Path: strings.TrimPrefix(path, "/"), Datastore: ds.Name(),
		Credentials: props.String("credentials.credentialsType"), Type: props.String("datastoreType"),
		Tenant: props.String("credentials.tenantId"), Client: props.String("credentials.clientId"),
	}
	if secret, _ := secretOf(at.Credentials); secret != "" {
		at.Key = ds.Private.String("secrets." + secret)
	}
	switch at.Type {
	case "AzureBlob":
		at.Container = props.String("containerName")
	case "AzureDataLakeGen2":
		at.Container = props.String("filesystem")
	case typeFile:
		at.Container = props.String("fileShareName")
		if at.Credentials == "Sas" {
			return nil, arm.NotImplemented("data in a datastore of type '%s' with a shared access signature ('%s')", at.Type, name)
		}
	default:
		return nil, arm.NotImplemented("data in a datastore of type '%s' ('%s')", at.Type, name)
	}
	switch at.Credentials {
	case "AccountKey", "None", "Sas", "ServicePrincipal":
	default:
		return nil, arm.NotImplemented("data in a datastore with credentials of type '%s' ('%s')", at.Credentials, name)
	}
	return at, nil
}

// fromURL reads https://ACCOUNT.blob…/CONTAINER/PATH, and wasbs:// and abfss://.
func fromURL(uri string) (*place, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" && u.Opaque != "" {
		return nil, userError("uri", "The URI '%s' is not understood.", uri)
	}
	account, rest, _ := strings.Cut(u.Hostname(), ".")
	storage := rest == "blob.core.windows.net" || rest == "dfs.core.windows.net"
	switch u.Scheme {
	case "https":
		container, path, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if !storage || container == "" {
			return nil, arm.NotImplemented("data from '%s'", u.Host)
		}
		at := &place{Account: strings.ToLower(account), Container: container, Path: path, Credentials: "None", Type: "AzureBlob"}
		if u.RawQuery != "" {
			at.Credentials, at.Key = "Sas", u.RawQuery
		}
		return at, nil
	case "wasbs", "abfss":
		if !storage || u.User == nil {
			return nil, userError("uri", "The URI '%s' is not of the form %s://CONTAINER@ACCOUNT…/PATH.", uri, u.Scheme)
		}
		return &place{Account: strings.ToLower(account), Container: u.User.Username(), Path: strings.TrimPrefix(u.Path, "/"), Credentials: "None", Type: "AzureBlob"}, nil
	}
	return nil, arm.NotImplemented("the URI '%s'", uri)
}

// mayUse checks that data at a place can be reached with the right that it is
// reached with: the datastore's key, signature or service principal, the principal's
// roles, or, to read it, everybody's. list says that it is a directory, of which some
// rights only reach the files.
func (s *Service) mayUse(ctx context.Context, at *place, principal string, write, list bool) error {
	account, err := s.cfg.Accounts.Account(ctx, at.Account)
	if errors.Is(err, blob.ErrNoAccount) {
		return fmt.Errorf("the storage account '%s' was not found. Azimuth reaches its own storage accounts alone, under the names of Azure's: make an account of that name here and put the data there, or take data of this workspace", at.Account)
	}
	if err != nil {
		return fmt.Errorf("find storage account %s: %w", at.Account, err)
	}
	if at.Credentials == "AccountKey" {
		if !account.AllowSharedKey {
			return fmt.Errorf("KeyBasedAuthenticationNotPermitted: the storage account '%s' does not permit key based authentication, with which the datastore '%s' reaches it", at.Account, at.Datastore)
		}
		if at.Key != "" && !keyOf(account, at.Key) {
			return fmt.Errorf("AuthenticationFailed: the key in the datastore '%s' is not one of the storage account '%s'", at.Datastore, at.Account)
		}
		return nil
	}
	switch at.Credentials {
	case "Sas":
		if err := s.cfg.Blobs.CheckSAS(ctx, at.Account, at.Container, at.Path, at.Key, write, list); err != nil {
			return fmt.Errorf("the shared access signature%s gives no access to the container '%s' of the storage account '%s': %w", ofDatastore(at), at.Container, at.Account, err)
		}
		return nil
	case "ServicePrincipal":
		if principal, err = s.cfg.Identities.SignIn(ctx, at.Tenant, at.Client, at.Key); err != nil {
			return fmt.Errorf("the service principal%s cannot sign in: %s", ofDatastore(at), plain(err))
		}
	default:
		if write || at.Type == typeFile {
			break
		}
		public, err := s.cfg.Blobs.PublicAccess(ctx, at.Account, at.Container)
		if err != nil {
			return fmt.Errorf("public access of container %s: %w", at.Container, err)
		}
		if public == "container" || public == "blob" && !list {
			return nil
		}
	}
	action := "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
	if write {
		action = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"
	}
	scope := account.ID + "/blobServices/default/containers/" + at.Container
	if at.Type == typeFile {
		action = strings.Replace(action, "blobServices/containers/blobs", "fileServices/fileshares/files", 1)
		scope = account.ID + "/fileServices/default/fileshares/" + at.Container
	}
	if principal == "" {
		return fmt.Errorf("AuthenticationFailed: the job has no identity to reach the storage account '%s' with: give its compute a managed identity and that a role on the account; on serverless compute, give the job the identity user_identity or managed", at.Account)
	}
	ok, err := s.cfg.Authorizer.Allowed(ctx, principal, action, true, scope)
	if err != nil {
		return fmt.Errorf("authorize %s: %w", action, err)
	}
	if !ok {
		return fmt.Errorf("AuthorizationPermissionMismatch: This request is not authorized to perform this operation using this permission. The identity '%s' may not %s in the container '%s' of the storage account '%s'",
			principal, map[bool]string{false: "read", true: "write"}[write], at.Container, at.Account)
	}
	return nil
}

func ofDatastore(at *place) string {
	if at.Datastore == "" {
		return ""
	}
	return " of the datastore '" + at.Datastore + "'"
}

func keyOf(a *blob.Account, key string) bool {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(raw, a.Keys[0]) == 1 || subtle.ConstantTimeCompare(raw, a.Keys[1]) == 1
}
