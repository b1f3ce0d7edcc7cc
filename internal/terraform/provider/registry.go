package provider

// resourceTypes lists the resource types that are implemented.
func resourceTypes() []*resourceType {
	return []*resourceType{
		resourceGroup(),
	}
}

// dataSources lists the data sources that are implemented.
func dataSources() []*dataSource {
	return []*dataSource{}
}
