package provider

import (
	"errors"
	"fmt"
	"strings"
)

func datastoreID() idForm {
	return idForm{
		pattern: "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}/dataStores/{name}",
		parent:  "workspace_id",
	}
}

func machineLearningDatastoreBlobStorage() *resourceType {
	return &resourceType{
		name:       "azurerm_machine_learning_datastore_blobstorage",
		id:         datastoreID(),
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		query:      "skipValidation=true",
		fields: []field{
			send("name", "name"),
			constant("type", "AzureBlob"),
			constant("properties.datastoreType", "AzureBlob"),
			constant("properties.endpoint", "core.windows.net"),
			in("description", "properties.description").sentAs(""),
			in("service_data_auth_identity", "properties.serviceDataAccessAuthIdentity"),
			in("is_default", "properties.isDefault"),
			in("tags", "properties.tags").sentAs(map[string]any{}),
			ours("storage_container_id", "account_key", "shared_access_signature"),
		},
		validate: func(c *checker) {
			if c.major > 3 && c.config["account_key"] == nil && c.config["shared_access_signature"] == nil {
				if id := c.config["service_data_auth_identity"]; id == nil || id == "None" {
					c.refuse(nil, "one of `account_key` or `shared_access_signature` must be specified", "")
				}
			}
		},
		encode: func(o *operation, doc map[string]any) error {
			account, container, err := splitContainer(asString(o.planned["storage_container_id"]))
			if err != nil {
				return err
			}
			setPath(doc, "properties.accountName", lastSegment(account))
			setPath(doc, "properties.containerName", container)
			setPath(doc, "properties.credentials", accountCredentials(o.planned))
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			return o.readContainerID(doc, state, "containerName")
		},
	}
}

func machineLearningDatastoreDataLake() *resourceType {
	return &resourceType{
		name:       "azurerm_machine_learning_datastore_datalake_gen2",
		id:         datastoreID(),
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		query:      "skipValidation=true",
		fields: []field{
			send("name", "name"),
			constant("type", "AzureDataLakeGen2"),
			constant("properties.datastoreType", "AzureDataLakeGen2"),
			constant("properties.endpoint", "core.windows.net"),
			in("description", "properties.description").sentAs(""),
			in("service_data_identity", "properties.serviceDataAccessAuthIdentity"),
			out("is_default", "properties.isDefault").orElse(false),
			in("tags", "properties.tags").sentAs(map[string]any{}),
			ours("storage_container_id", "tenant_id", "client_id", "client_secret", "authority_url"),
		},
		encode: func(o *operation, doc map[string]any) error {
			p := o.planned
			account, container, err := splitContainer(asString(p["storage_container_id"]))
			if err != nil {
				return err
			}
			setPath(doc, "properties.accountName", lastSegment(account))
			setPath(doc, "properties.filesystem", container)
			if o.major > 3 {
				setPath(doc, "properties.subscriptionId", segmentAfter(account, "subscriptions"))
				setPath(doc, "properties.resourceGroup", segmentAfter(account, "resourceGroups"))
			}
			credentials := map[string]any{"credentialsType": "None"}
			if id := asString(p["client_id"]); id != "" {
				credentials = map[string]any{
					"credentialsType": "ServicePrincipal",
					"resourceUrl":     "https://datalake.azure.net/",
					"tenantId":        p["tenant_id"],
					"clientId":        id,
					"secrets":         map[string]any{"secretsType": "ServicePrincipal", "clientSecret": p["client_secret"]},
				}
				if url := asString(p["authority_url"]); url != "" {
					credentials["authorityUrl"] = url
				}
			}
			setPath(doc, "properties.credentials", credentials)
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			const none = "00000000-0000-0000-0000-000000000000"
			state["tenant_id"], state["client_id"] = "", ""
			c := asObject(getPath(doc, "properties.credentials"))
			if strings.EqualFold(asString(c["credentialsType"]), "ServicePrincipal") {
				if id := asString(c["tenantId"]); id != none {
					state["tenant_id"] = id
				}
				if id := asString(c["clientId"]); id != none {
					state["client_id"] = id
				}
			}
			return o.readContainerID(doc, state, "filesystem")
		},
	}
}

func machineLearningDatastoreFileShare() *resourceType {
	return &resourceType{
		name:       "azurerm_machine_learning_datastore_fileshare",
		id:         datastoreID(),
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		query:      "skipValidation=true",
		fields: []field{
			send("name", "name"),
			constant("type", "AzureFile"),
			constant("properties.datastoreType", "AzureFile"),
			constant("properties.endpoint", "core.windows.net"),
			in("description", "properties.description").sentAs(""),
			in("service_data_identity", "properties.serviceDataAccessAuthIdentity"),
			out("is_default", "properties.isDefault").orElse(false),
			in("tags", "properties.tags").sentAs(map[string]any{}),
			ours("storage_fileshare_id", "account_key", "shared_access_signature"),
		},
		encode: func(o *operation, doc map[string]any) error {
			account, share, err := splitItem(asString(o.planned["storage_fileshare_id"]), sharesOf(o.major), "file share")
			if err != nil {
				return err
			}
			setPath(doc, "properties.accountName", lastSegment(account))
			setPath(doc, "properties.fileShareName", share)
			setPath(doc, "properties.credentials", accountCredentials(o.planned))
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			return o.readItemID(doc, state, "storage_fileshare_id", "fileShareName", sharesOf(o.major))
		},
	}
}

// sharesOf stands between the IDs of an account and of a file share of it. Until 5.0
// azurerm has the name that roles are scoped by.
func sharesOf(major int) string {
	if major < 5 {
		return "/fileServices/default/fileshares/"
	}
	return "/fileServices/default/shares/"
}

// accountCredentials are those of a datastore: a key, a signature or none.
func accountCredentials(planned map[string]any) map[string]any {
	if key := asString(planned["account_key"]); key != "" {
		return map[string]any{"credentialsType": "AccountKey", "secrets": map[string]any{"secretsType": "AccountKey", "key": key}}
	}
	if sas := asString(planned["shared_access_signature"]); sas != "" {
		return map[string]any{"credentialsType": "Sas", "secrets": map[string]any{"secretsType": "Sas", "sasToken": sas}}
	}
	return map[string]any{"credentialsType": "None"}
}

// splitContainer reads the account's ID and the container's name from a
// container's ARM ID.
func splitContainer(id string) (account, container string, err error) {
	return splitItem(id, containersOf, "container")
}

// splitItem reads the account's ID and the name of what is in it from an ARM ID that
// has between in its middle.
func splitItem(id, between, what string) (account, name string, err error) {
	account, name, ok := strings.Cut(id, between)
	if !ok || name == "" || segmentAfter(account, "storageAccounts") == "" {
		return "", "", fmt.Errorf("parsing %q: expected the ID of a %s, /subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/Microsoft.Storage/storageAccounts/{storageAccount}%s{name}", id, what, between)
	}
	return account, name, nil
}

// readContainerID composes storage_container_id of the names that a datastore has.
func (o *operation) readContainerID(doc, state map[string]any, property string) error {
	return o.readItemID(doc, state, "storage_container_id", property, containersOf)
}

// readItemID composes the argument that names what a datastore leads to. The account's
// group is in the state, or else is looked up.
func (o *operation) readItemID(doc, state map[string]any, argument, property, between string) error {
	account := asString(getPath(doc, "properties.accountName"))
	item := asString(getPath(doc, "properties."+property))
	if account == "" || item == "" {
		return errors.New("the datastore leads to no account, or to nothing in it")
	}
	if was, name, err := splitItem(asString(state[argument]), between, "part"); err == nil && lastSegment(was) == account && name == item {
		return nil
	}
	id, err := o.findAccount(o.ctx, account)
	if err != nil {
		return err
	}
	state[argument] = id + between + item
	return nil
}
