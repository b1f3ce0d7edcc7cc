package provider

// resourceTypes lists the resource types that are implemented.
func resourceTypes() []*resourceType {
	return []*resourceType{
		resourceGroup(),
		applicationInsights(),
		containerRegistry(),
		keyVault(),
		logAnalyticsWorkspace(),
		machineLearningComputeCluster(),
		machineLearningComputeInstance(),
		machineLearningDatastoreBlobStorage(),
		machineLearningDatastoreDataLake(),
		machineLearningWorkspace(),
		roleAssignment(),
		storageAccount(),
		storageContainer(),
		dataLakeFilesystem(),
		subnet(),
		userAssignedIdentity(),
		virtualNetwork(),
	}
}

// dataSources lists the data sources that are implemented.
func dataSources() []*dataSource {
	return []*dataSource{
		dataClientConfig(),
		dataMachineLearningWorkspace(),
		dataResourceGroup(),
		dataRoleDefinition(),
		dataStorageAccount(),
		dataSubscription(),
	}
}
