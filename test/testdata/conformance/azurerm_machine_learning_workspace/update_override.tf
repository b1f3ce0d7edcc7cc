resource "azurerm_machine_learning_workspace" "it" {
  description   = "The lab's workspace"
  friendly_name = "Lab"
  tags          = { team = "platform" }
}
