package provider

// resourceTypes lists the resource types that are implemented.
func resourceTypes() []*resourceType {
	return []*resourceType{
		resourceGroup(),
		applicationInsights(),
		containerRegistry(),
		keyVault(),
		keyVaultAccessPolicy(),
		keyVaultCertificate(),
		keyVaultKey(),
		keyVaultSecret(),
		logAnalyticsWorkspace(),
		machineLearningComputeCluster(),
		machineLearningComputeInstance(),
		machineLearningDatastoreBlobStorage(),
		machineLearningDatastoreDataLake(),
		machineLearningWorkspace(),
		federatedIdentityCredential(),
		managementLock(),
		natGateway(),
		natGatewayPublicIPAssociation(),
		networkSecurityGroup(),
		networkSecurityRule(),
		privateDNSARecord(),
		privateDNSZone(),
		privateDNSZoneLink(),
		publicIP(),
		roleAssignment(),
		route(),
		routeTable(),
		roleDefinition(),
		storageAccount(),
		storageContainer(),
		dataLakeFilesystem(),
		subnet(),
		subnetNATGatewayAssociation(),
		subnetRouteTableAssociation(),
		subnetSecurityGroupAssociation(),
		userAssignedIdentity(),
		virtualNetwork(),
	}
}

// dataSources lists the data sources that are implemented.
func dataSources() []*dataSource {
	return []*dataSource{
		dataClientConfig(),
		dataKeyVaultKey(),
		dataKeyVaultSecret(),
		dataRoleDefinition(),
		dataSubscription(),
		dataSubscriptions(),
		dataStorageAccount(),
		dataStorageContainer(),
		dataPrivateDNSZone(),
		dataSubnet(),
		dataVirtualNetwork(),
		dataOf(applicationInsights(), "Application Insights"),
		dataOf(containerRegistry(), "Container Registry"),
		dataOf(keyVault(), "Key Vault"),
		dataOf(logAnalyticsWorkspace(), "Log Analytics Workspace"),
		dataOf(machineLearningWorkspace(), "Machine Learning Workspace"),
		dataOf(networkSecurityGroup(), "Network Security Group"),
		dataOf(resourceGroup(), "Resource Group"),
		dataOf(userAssignedIdentity(), "User Assigned Identity"),
	}
}
