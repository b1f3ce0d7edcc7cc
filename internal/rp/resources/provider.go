// Package resources is the resource provider Microsoft.Resources: resource
// groups.
package resources

import "github.com/azimuth-ml/azimuth/internal/arm"

const namespace = "Microsoft.Resources"

// Provider returns the descriptors of the namespace. The kernel adds what it
// serves itself.
func Provider() *arm.Provider {
	return &arm.Provider{Namespace: namespace, Types: []*arm.ResourceType{resourceGroup()}}
}
