package provider

import (
	"errors"
	"strings"
)

func machineLearningComputeInstance() *resourceType {
	return &resourceType{
		name:       "azurerm_machine_learning_compute_instance",
		id:         computeID(),
		apiVersion: machineLearningVersions(),
		update:     updateNone,
		fields: []field{
			tags(),
			identity(noIdentity()),
			ours("location"), // azurerm 3 keeps it, and does nothing with it
			constant("properties.computeType", "ComputeInstance"),
			in("description", "properties.description").sentAs(""),
			in("local_auth_enabled", "properties.disableLocalAuth").as(inverted()),
			in("virtual_machine_size", "properties.properties.vmSize"),
			in("authorization_type", "properties.properties.computeInstanceAuthorizationType"),
			in("subnet_resource_id", "properties.properties.subnet.id"),
			in("node_public_ip_enabled", "properties.properties.enableNodePublicIp"),
			block("assign_to_user", "properties.properties.personalComputeInstanceSettings.assignedUser",
				in("object_id", "objectId"),
				in("tenant_id", "tenantId"),
			),
			block("ssh", "properties.properties.sshSettings",
				constant("sshPublicAccess", "Enabled"),
				in("public_key", "adminPublicKey"),
				out("username", "adminUserName"),
				out("port", "sshPort"),
			).sentAs(map[string]any{"sshPublicAccess": "Disabled"}).ifThere(func(o map[string]any) bool {
				return strings.EqualFold(asString(o["sshPublicAccess"]), "Enabled")
			}),
		},
		encode: func(o *operation, doc map[string]any) error {
			ws, err := o.workspace()
			if err != nil {
				return err
			}
			doc["location"] = normalizeLocation(asString(ws["location"]))
			if o.planned["node_public_ip_enabled"] == false && isZero(o.planned["subnet_resource_id"]) {
				if o.major == 3 {
					return errors.New("`subnet_resource_id` must be set if `node_public_ip_enabled` is set to `false`")
				}
				if !managedNetwork(ws) {
					return errors.New("`subnet_resource_id` must be set if `node_public_ip_enabled` is set to `false` and the workspace is NOT using a managed network (isolation_mode = \"Disabled\")")
				}
			}
			return nil
		},
		decode: func(o *operation, doc, state map[string]any) error {
			if o.major == 3 {
				state["node_public_ip_enabled"] = getPath(doc, "properties.properties.connectivityEndpoints.publicIpAddress") != nil
				if state["location"] == nil {
					state["location"] = normalizeLocation(asString(doc["location"]))
				}
			}
			return nil
		},
		deleteQuery: deleteUnderlying,
	}
}

// managedNetwork reports whether a workspace's computes are in a network that
// Azure manages.
func managedNetwork(workspace map[string]any) bool {
	mode := asString(getPath(workspace, "properties.managedNetwork.isolationMode"))
	return mode != "" && !strings.EqualFold(mode, "Disabled")
}
