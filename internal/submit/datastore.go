package submit

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// sasLife is how long a shared access signature made here is good.
const sasLife = 2 * time.Hour

// ContainerURL is a shared access URL for the container behind a datastore of
// the workspace, made with the datastore's own credentials, as Azure ML's
// clients make it. now is the cloud's time.
func ContainerURL(ctx context.Context, c *client.Client, workspace, datastore string, write bool, now time.Time) (string, error) {
	path := workspace + "/datastores/" + url.PathEscape(datastore)
	var ds, secret arm.Doc
	if err := c.Do(ctx, http.MethodGet, path, APIVersion, nil, &ds); err != nil {
		return "", fmt.Errorf("datastore %s: %w", datastore, err)
	}
	if t := ds.String("properties.datastoreType"); !strings.EqualFold(t, "AzureBlob") {
		return "", fmt.Errorf("datastore %s is of type %s; files are moved to and from AzureBlob datastores only", datastore, t)
	}
	if err := c.Do(ctx, http.MethodPost, path+"/listSecrets", APIVersion, nil, &secret); err != nil {
		return "", fmt.Errorf("datastore %s: %w", datastore, err)
	}
	account, container := ds.String("properties.accountName"), ds.String("properties.containerName")
	base := fmt.Sprintf("https://%s.blob.core.windows.net/%s?", account, container)
	switch kind := secret.String("secretsType"); kind {
	case "Sas":
		return base + strings.TrimPrefix(secret.String("sasToken"), "?"), nil
	case "AccountKey":
		key, err := base64.StdEncoding.DecodeString(secret.String("key"))
		if err != nil {
			return "", fmt.Errorf("datastore %s: its account key is malformed: %w", datastore, err)
		}
		perms := "rl"
		if write {
			perms = "rcwl"
		}
		q, err := storage.SignServiceSAS(&storage.Account{Name: account, Keys: [2][]byte{key}}, storage.ServiceSAS{
			Container: container, Permissions: perms, Expiry: now.Add(sasLife), HTTPSOnly: true,
		})
		if err != nil {
			return "", fmt.Errorf("datastore %s: %w", datastore, err)
		}
		return base + q, nil
	default:
		return "", fmt.Errorf("datastore %s has credentials of type %q, which this command cannot use", datastore, kind)
	}
}
