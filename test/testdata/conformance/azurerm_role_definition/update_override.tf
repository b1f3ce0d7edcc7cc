resource "azurerm_role_definition" "it" {
  description = "looks at networks and storage"

  permissions {
    actions      = ["Microsoft.Network/*/read", "Microsoft.Storage/*/read"]
    data_actions = ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"]
  }
}
