package storage

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const containerType = AccountType + "/blobServices/containers"

// container lives in the blob data plane, which creates and deletes containers
// as well.
func (p *provider) container() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                containerType,
		NoProvisioningState: true,
		Virtual:             true,
		Name: arm.NameRule{
			Pattern: regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62})$`),
			Text:    "A container name has 3 to 63 lower-case letters, digits and single hyphens, and begins and ends with a letter or digit.",
		},
		Unimplemented: map[string]string{
			"properties.immutableStorageWithVersioning.enabled": "makes blobs immutable",
			"properties.denyEncryptionScopeOverride":            "fixes the encryption scope",
			"properties.enableNfsV3AllSquash":                   "serves NFS",
			"properties.enableNfsV3RootSquash":                  "serves NFS",
		},
		Validate: func(_ context.Context, put *arm.Put) error {
			body := put.Resource.Body
			if len(put.ID.Name()) > 63 {
				return arm.BadRequest("InvalidResourceName", "The container name '%s' is longer than 63 characters.", put.ID.Name())
			}
			if s := body.String("properties.defaultEncryptionScope"); s != "" && s != accountScope {
				return arm.NotImplemented("property 'properties.defaultEncryptionScope' of '%s' (encrypts with a key of its own)", containerType)
			}
			return checkEnum(body, "properties.publicAccess", "None", "Blob", "Container")
		},
		Put:     p.putContainer,
		Delete:  p.deleteContainer,
		Default: p.loadContainer,
		List:    p.listContainers,
	}
}

// accountScope is the encryption scope of everything without one of its own.
const accountScope = "$account-encryption-key"

// accountOf loads the account that a container or service is in.
func (p *provider) accountOf(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
	for id.Type() != AccountType {
		id = id.Parent()
	}
	return p.kernel.Load(ctx, tx, id)
}

func (p *provider) putContainer(ctx context.Context, put *arm.Put) error {
	account, err := p.accountOf(ctx, put.Tx, put.ID)
	if err != nil {
		return err
	}
	c := Container{Name: put.ID.Name(), PublicAccess: "None", Metadata: map[string]string{}}
	if old, err := p.Containers.Container(ctx, put.Tx, account.UID, c.Name); err != nil {
		return err
	} else if old != nil {
		c = *old
	}
	body := put.Resource.Body
	if s := body.String("properties.publicAccess"); s != "" {
		c.PublicAccess = s
	}
	if body.Has("properties.metadata") {
		c.Metadata = map[string]string{}
		if err := body.Decode("properties.metadata", &c.Metadata); err != nil {
			return err
		}
	}
	if c.PublicAccess != "None" && !account.Body.Bool("properties.allowBlobPublicAccess", false) {
		return arm.Errorf(http.StatusConflict, "PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
	}
	c.Hierarchical = account.Body.Bool("properties.isHnsEnabled", false)
	if err := p.Containers.PutContainer(ctx, put.Tx, account.UID, c); err != nil {
		return err
	}
	now, err := p.Containers.Container(ctx, put.Tx, account.UID, c.Name)
	if err != nil {
		return err
	}
	put.Resource.Body = containerDoc(now)
	return nil
}

func containerDoc(c *Container) arm.Doc {
	props := map[string]any{
		"publicAccess": c.PublicAccess, "leaseStatus": capital(c.LeaseStatus), "leaseState": capital(c.LeaseState),
		"lastModifiedTime": arm.Timestamp(c.Modified), "hasImmutabilityPolicy": false, "hasLegalHold": false,
		"defaultEncryptionScope": accountScope, "denyEncryptionScopeOverride": false, "deleted": false, "remainingRetentionDays": 0,
	}
	if c.LeaseDuration != "" {
		props["leaseDuration"] = capital(c.LeaseDuration)
	}
	if len(c.Metadata) > 0 {
		m := map[string]any{}
		for name, v := range c.Metadata {
			m[name] = v
		}
		props["metadata"] = m
	}
	return arm.Doc{"etag": c.ETag, "properties": props}
}

// capital writes a word of the data plane as ARM does.
func capital(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

func (p *provider) loadContainer(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
	account, err := p.accountOf(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	c, err := p.Containers.Container(ctx, tx, account.UID, strings.ToLower(id.Name()))
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, arm.Errorf(http.StatusNotFound, "ContainerNotFound", "The specified container does not exist.")
	}
	return containerResource(account, c), nil
}

func containerResource(account *arm.Resource, c *Container) *arm.Resource {
	return &arm.Resource{
		ID:   account.ID + "/blobServices/default/containers/" + c.Name,
		Body: containerDoc(c), Private: arm.Doc{}, Modified: c.Modified,
	}
}

func (p *provider) deleteContainer(ctx context.Context, d *arm.Delete) error {
	account, err := p.accountOf(ctx, d.Tx, d.ID)
	if err != nil {
		return err
	}
	return p.Containers.DeleteContainer(ctx, d.Tx, account.UID, strings.ToLower(d.ID.Name()))
}

func (p *provider) listContainers(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	if f := req.Query.Get("$filter"); f != "" {
		return nil, arm.NotImplemented("$filter on containers")
	}
	list := func(tx store.Tx, account, after string, limit int) ([]Container, error) {
		return p.Containers.ListContainers(ctx, tx, account, after, limit)
	}
	return listStored(ctx, p, req, parent, list, func(c *Container) string { return c.Name }, containerResource)
}
