package abac

// The attributes that Azimuth's services tell, in lower case. Microsoft lists them
// in "Actions and attributes for Azure role assignment conditions" for Blob
// Storage and Queue Storage, and in "Delegate Azure role assignment management".
const (
	AccountName     = "microsoft.storage/storageaccounts:name"
	IsHNSEnabled    = "microsoft.storage/storageaccounts:ishnsenabled"
	EncryptionScope = "microsoft.storage/storageaccounts/encryptionscopes:name"
	ContainerName   = "microsoft.storage/storageaccounts/blobservices/containers:name"
	BlobPath        = "microsoft.storage/storageaccounts/blobservices/containers/blobs:path"
	BlobPrefix      = "microsoft.storage/storageaccounts/blobservices/containers/blobs:prefix"
	IsCurrent       = "microsoft.storage/storageaccounts/blobservices/containers/blobs:iscurrentversion"
	Snapshot        = "microsoft.storage/storageaccounts/blobservices/containers/blobs:snapshot"
	VersionID       = "microsoft.storage/storageaccounts/blobservices/containers/blobs:versionid"
	// BlobTags has a key; TagKeys is the keys of all.
	BlobTags  = "microsoft.storage/storageaccounts/blobservices/containers/blobs/tags"
	TagKeys   = "microsoft.storage/storageaccounts/blobservices/containers/blobs/tags" + keysMark
	QueueName = "microsoft.storage/storageaccounts/queueservices/queues:name"

	// Of role assignments: in the request when one is written, in the resource when
	// one is removed.
	RoleDefinitionID = "microsoft.authorization/roleassignments:roledefinitionid"
	PrincipalID      = "microsoft.authorization/roleassignments:principalid"
	PrincipalType    = "microsoft.authorization/roleassignments:principaltype"

	// Of the environment: the time, and how a request comes in. Endpoint and Subnet
	// are ARM IDs; a subnet is known by its service endpoint.
	UTCNow        = "utcnow"
	IsPrivateLink = "isprivatelink"
	Endpoint      = "microsoft.network/privateendpoints"
	Subnet        = "microsoft.network/virtualnetworks/subnets"
)

// Told reports whether Azimuth's services tell the attribute, so that a condition
// with it can be met.
func (a Attribute) Told() bool {
	if (a.Key != "") != (a.Name == BlobTags) {
		return false
	}
	switch a.Source {
	case FromResource:
		switch a.Name {
		case AccountName, IsHNSEnabled, EncryptionScope, ContainerName, BlobPath, IsCurrent, BlobTags, TagKeys, QueueName,
			RoleDefinitionID, PrincipalID, PrincipalType:
			return true
		}
	case FromRequest:
		switch a.Name {
		case BlobPrefix, Snapshot, VersionID, BlobTags, TagKeys, RoleDefinitionID, PrincipalID, PrincipalType:
			return true
		}
	case FromEnvironment:
		switch a.Name {
		case UTCNow, IsPrivateLink, Endpoint, Subnet:
			return true
		}
	case FromPrincipal: // custom security attributes: the directory has none
	}
	return false
}
