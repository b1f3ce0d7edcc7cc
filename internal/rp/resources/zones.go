package resources

import (
	"slices"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// zones are the availability zones of a region: three, where it has any. That a
// type may not have what its region has is not known here.
// https://learn.microsoft.com/azure/reliability/regions-list
func zones(_, _, location string) []string {
	with := []string{
		"australiaeast", "brazilsouth", "canadacentral", "centralindia", "centralus", "eastasia", "eastus", "eastus2",
		"francecentral", "germanywestcentral", "indonesiacentral", "israelcentral", "italynorth", "japaneast", "japanwest",
		"koreacentral", "mexicocentral", "newzealandnorth", "northeurope", "norwayeast", "polandcentral", "qatarcentral",
		"southafricanorth", "southcentralus", "southeastasia", "spaincentral", "swedencentral", "switzerlandnorth",
		"uaenorth", "uksouth", "westeurope", "westus2", "westus3",
	}
	if slices.Contains(with, arm.NormalizeLocation(location)) {
		return []string{"1", "2", "3"}
	}
	return nil
}
