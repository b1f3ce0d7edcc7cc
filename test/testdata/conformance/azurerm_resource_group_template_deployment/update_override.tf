resource "azurerm_resource_group_template_deployment" "it" {
  parameters_content = jsonencode({ prefix = { value = "10.2.0.0/16" } })
  tags               = { team = "ml" }
}
