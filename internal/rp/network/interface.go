package network

import (
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// InterfaceType is the type of network interfaces.
const InterfaceType = namespace + "/networkInterfaces"

func subnetEntry(id string) string { return "subnet|" + arm.Key(id) }

// interfaceType is the network interfaces of private endpoints. Azure's other
// interfaces belong to machines that are not described one by one here.
func (p *provider) interfaceType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: InterfaceType, Tracked: true, ETag: true,
		Name:    networkName("network interface"),
		Methods: []string{http.MethodGet},
		Index: func(r *arm.Resource) []string {
			var out []string
			seen := map[string]bool{}
			for _, v := range r.Body.List("properties.ipConfigurations") {
				m, _ := v.(map[string]any)
				if id := arm.Key(arm.Doc(m).String("properties.subnet.id")); !seen[id] {
					seen[id] = true
					out = append(out, subnetEntry(id))
				}
			}
			return out
		},
	}
}
