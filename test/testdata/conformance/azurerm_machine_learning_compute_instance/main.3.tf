resource "azurerm_machine_learning_compute_instance" "it" {
  name                          = "ci-${local.name}"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  virtual_machine_size          = "Standard_DS3_v2"
  description                   = "to look around"
}
