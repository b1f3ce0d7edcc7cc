resource "azurerm_ai_foundry_project" "it" {
  description   = "The lab's project"
  friendly_name = "Lab"
  tags          = { team = "research" }
}
