package provider

import (
	"fmt"
	"strings"
)

// computeID is the shape of the IDs of a workspace's computes.
func computeID() idForm {
	return idForm{
		pattern: "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}/computes/{name}",
		parent:  "machine_learning_workspace_id",
	}
}

func machineLearningComputeCluster() *resourceType {
	return &resourceType{
		name:       "azurerm_machine_learning_compute_cluster",
		id:         computeID(),
		apiVersion: machineLearningVersions(),
		update:     updatePut,
		fields: []field{
			tags(),
			identity(noIdentity()),
			constant("properties.computeType", "AmlCompute"),
			// The cluster's own region is sent, but the workspace's is read.
			send("location", "properties.computeLocation"),
			out("location", "location").as(location()),
			in("description", "properties.description").sentAs(""),
			in("local_auth_enabled", "properties.disableLocalAuth").as(inverted()),
			in("vm_size", "properties.properties.vmSize"),
			in("vm_priority", "properties.properties.vmPriority"),
			in("node_public_ip_enabled", "properties.properties.enableNodePublicIp"),
			in("subnet_resource_id", "properties.properties.subnet.id"),
			in("ssh_public_access_enabled", "properties.properties.remoteLoginPortPublicAccess").sentAs("Disabled").as(conversion{
				send: enabled().send,
				read: func(v any) any {
					if strings.EqualFold(asString(v), "NotSpecified") {
						return nil
					}
					return strings.EqualFold(asString(v), "Enabled")
				},
			}),
			block("scale_settings", "properties.properties.scaleSettings",
				in("min_node_count", "minNodeCount"),
				in("max_node_count", "maxNodeCount"),
				in("scale_down_nodes_after_idle_duration", "nodeIdleTimeBeforeScaleDown"),
			),
			block("ssh", "properties.properties.userAccountCredentials",
				in("admin_username", "adminUserName"),
				send("admin_password", "adminUserPassword"),
				in("key_value", "adminUserSshPublicKey"),
			),
		},
		encode: func(o *operation, doc map[string]any) error {
			if o.major == 3 && o.prior == nil && o.planned["node_public_ip_enabled"] == false && isZero(o.planned["subnet_resource_id"]) {
				return fmt.Errorf("`subnet_resource_id` must be set if `node_public_ip_enabled` is set to `false` or the workspace is not in a managed network")
			}
			ws, err := o.workspace()
			if err != nil {
				return err
			}
			doc["location"] = ws["location"]
			doc["sku"] = map[string]any{"name": getPath(ws, "sku.name"), "tier": getPath(ws, "sku.tier")}
			return nil
		},
		deleteQuery: deleteUnderlying,
	}
}

// deleteUnderlying asks for the nodes of a compute to be deleted with it.
func deleteUnderlying(*operation) string { return "underlyingResourceAction=Delete" }

// workspace reads the workspace that a compute belongs to.
func (o *operation) workspace() (map[string]any, error) {
	id := asString(o.state()["machine_learning_workspace_id"])
	doc, err := o.get(o.ctx, id, o.version())
	if err != nil {
		return nil, fmt.Errorf("retrieving the workspace %q: %w", id, err)
	}
	return doc, nil
}
