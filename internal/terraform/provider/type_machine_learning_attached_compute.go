package provider

import "fmt"

// attachedCompute is a compute that the service did not make and does not delete.
func attachedCompute(name, kind string, fields ...field) *resourceType {
	return &resourceType{
		name:       name,
		id:         computeID(),
		apiVersion: machineLearningVersions(),
		fields: append([]field{
			tags(),
			identity(noIdentity()),
			region(),
			constant("properties.computeType", kind),
			in("description", "properties.description").sentAs(""),
		}, fields...),
		deleteQuery: func(*operation) string { return "underlyingResourceAction=Detach" },
	}
}

// machineLearningInferenceCluster attaches a cluster of Azure's Kubernetes service,
// which azurerm reads first. Azimuth has none.
func machineLearningInferenceCluster() *resourceType {
	t := attachedCompute("azurerm_machine_learning_inference_cluster", "AKS",
		in("kubernetes_cluster_id", "properties.resourceId").as(conversion{read: func(v any) any { return canonicalID(asString(v)) }}),
		in("cluster_purpose", "properties.properties.clusterPurpose"),
		ours("ssl"),
	)
	t.encode = func(o *operation, doc map[string]any) error {
		id := asString(o.planned["kubernetes_cluster_id"])
		cluster, err := o.get(o.ctx, id, versions{3: "2023-09-02-preview", 4: "2025-10-01", 5: "2025-10-01"}[o.major])
		if err != nil {
			return fmt.Errorf("retrieving %q: %w", id, err)
		}
		fqdn := getPath(cluster, "properties.privateFQDN")
		if fqdn == nil {
			fqdn = getPath(cluster, "properties.fqdn")
		}
		setPath(doc, "properties.properties.clusterFqdn", fqdn)
		setPath(doc, "properties.computeLocation", cluster["location"])
		if ssl := first(o.planned["ssl"]); ssl != nil {
			setPath(doc, "properties.properties.sslConfiguration", sslConfiguration(ssl))
		}
		return nil
	}
	return t
}

func sslConfiguration(ssl map[string]any) map[string]any {
	status, label, name := "Disabled", asString(ssl["leaf_domain_label"]), asString(ssl["cname"])
	if asString(ssl["cert"]) != "" || asString(ssl["key"]) != "" || name != "" {
		status = "Enabled"
	}
	if label != "" {
		status, name = "Auto", ""
	}
	return map[string]any{
		"status": status, "cert": asString(ssl["cert"]), "key": asString(ssl["key"]), "cname": name,
		"leafDomainLabel": label, "overwriteExistingDomain": asBool(ssl["overwrite_existing_domain"]),
	}
}

func machineLearningSynapseSpark() *resourceType {
	return attachedCompute("azurerm_machine_learning_synapse_spark", "SynapseSpark",
		send("location", "properties.computeLocation"),
		in("synapse_spark_pool_id", "properties.resourceId"),
		in("local_auth_enabled", "properties.disableLocalAuth").as(inverted()),
	)
}
