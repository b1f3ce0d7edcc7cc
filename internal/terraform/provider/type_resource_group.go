package provider

import (
	"errors"
	"fmt"
	"strings"
)

// azurerm asks a resource group for its contents before it deletes it, as its
// features block says by default.
func resourceGroup() *resourceType {
	return &resourceType{
		name:       "azurerm_resource_group",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{name}"},
		apiVersion: versions{3: "2020-06-01", 4: "2023-07-01", 5: "2023-07-01"},
		update:     updatePut,
		fields: []field{
			region(),
			in("managed_by", "managedBy"),
			tags(),
		},
		beforeDelete: func(o *operation) error {
			if !o.feature("resource_group.prevent_deletion_if_contains_resources", true) {
				return nil
			}
			left, err := o.getAll(o.ctx, o.id+"/resources?%24expand=provisioningState&%24top=500", o.version())
			if err != nil {
				return fmt.Errorf("listing the resources of Resource Group %q: %w", asString(o.prior["name"]), err)
			}
			if len(left) == 0 {
				return nil
			}
			return stillContains(asString(o.prior["name"]), left)
		},
	}
}

// stillContains is the error that azurerm gives for a group that is not empty,
// with its first sentence.
func stillContains(name string, left []any) error {
	var b strings.Builder
	fmt.Fprintf(&b, "deleting Resource Group %q: the Resource Group still contains Resources.\n\n", name)
	b.WriteString("The provider refuses to delete a Resource Group in which there are resources that it does not manage. These are still there:\n\n")
	for _, r := range left {
		fmt.Fprintf(&b, "* `%s`\n", asString(asObject(r)["id"]))
	}
	b.WriteString("\nSet `prevent_deletion_if_contains_resources` to `false` in the `resource_group` block of the provider's `features` to delete them with the group.")
	return errors.New(b.String())
}
