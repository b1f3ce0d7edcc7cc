// Package provider is Azimuth's built-in azurerm Terraform provider. It serves
// the resource types of a machine learning environment from the azimuth process
// itself, to a terraform or tofu that is told where to find it with
// TF_REATTACH_PROVIDERS, so that nothing is downloaded and nothing waits.
//
// It is data rather than code per type. Three things make a resource type:
//
//   - its schema, a row of the embedded tables (tables/README.md), one table per
//     major version of azurerm: 3, 4 and 5;
//   - its mapping, one type_*.go file: where each argument lives in the Azure
//     Resource Manager document, and hooks for what a mapping cannot say;
//   - its line in registry.go.
//
// A type of the tables without a mapping validates, and is refused in plan. An
// argument of a mapped type without a mapping is refused in plan as well, so that
// nothing is ever accepted and then ignored.
package provider
