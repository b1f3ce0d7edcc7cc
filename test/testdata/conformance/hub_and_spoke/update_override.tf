resource "azurerm_virtual_network" "hub" {
  tags = { team = "platform" }
}

resource "azurerm_machine_learning_workspace" "it" {
  description = "The lab's workspace"
}
