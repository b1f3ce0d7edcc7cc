package arm

import (
	"slices"
	"strings"
)

// Locations is the regions that Azimuth accepts: those in which Azure's price
// list of June 2026 has machines (shared catalogue), in Azure's short form.
func Locations() []string {
	return []string{
		"australiacentral", "australiacentral2", "australiaeast", "australiasoutheast", "brazilsouth",
		"brazilsoutheast", "canadacentral", "canadaeast", "centralindia", "centralus", "eastasia", "eastus",
		"eastus2", "francecentral", "francesouth", "germanynorth", "germanywestcentral", "indonesiacentral",
		"israelcentral", "italynorth", "japaneast", "japanwest", "jioindiacentral", "jioindiawest",
		"koreacentral", "koreasouth", "malaysiawest", "mexicocentral", "newzealandnorth", "northcentralus",
		"northeurope", "norwayeast", "norwaywest", "polandcentral", "qatarcentral", "southafricanorth",
		"southafricawest", "southcentralus", "southeastasia", "southindia", "spaincentral", "swedencentral",
		"swedensouth", "switzerlandnorth", "switzerlandwest", "uaecentral", "uaenorth", "uksouth", "ukwest",
		"westcentralus", "westeurope", "westindia", "westus", "westus2", "westus3",
	}
}

// NormalizeLocation is a region in its short form: "East US" is "eastus".
func NormalizeLocation(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, " ", ""))
}

func knownLocation(normalized string) bool { return slices.Contains(Locations(), normalized) }
