resource "azurerm_resource_group_template_deployment" "it" {
  name                = "net-${local.name}"
  resource_group_name = azurerm_resource_group.it.name
  deployment_mode     = "Incremental"
  parameters_content  = jsonencode({ prefix = { value = "10.1.0.0/16" } })
  template_content    = <<-JSON
    {
      "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
      "contentVersion": "1.0.0.0",
      "parameters": { "prefix": { "type": "string" } },
      "resources": [
        {
          "type": "Microsoft.Network/networkSecurityGroups",
          "apiVersion": "2023-09-01",
          "name": "nsg",
          "location": "[resourceGroup().location]"
        },
        {
          "type": "Microsoft.Network/virtualNetworks",
          "apiVersion": "2023-09-01",
          "name": "net",
          "location": "[resourceGroup().location]",
          "dependsOn": ["nsg"],
          "properties": {
            "addressSpace": { "addressPrefixes": ["[parameters('prefix')]"] },
            "subnets": [{
              "name": "first",
              "properties": {
                "addressPrefix": "[cidrSubnet(parameters('prefix'), 24, 1)]",
                "networkSecurityGroup": { "id": "[resourceId('Microsoft.Network/networkSecurityGroups', 'nsg')]" }
              }
            }]
          }
        }
      ],
      "outputs": { "net": { "type": "string", "value": "[resourceId('Microsoft.Network/virtualNetworks', 'net')]" } }
    }
  JSON
}

data "azurerm_resources" "made" {
  resource_group_name = azurerm_resource_group.it.name
  type                = "Microsoft.Network/virtualNetworks"
  depends_on          = [azurerm_resource_group_template_deployment.it]
}

output "net" {
  value = jsondecode(azurerm_resource_group_template_deployment.it.output_content).net.value
}

output "found" {
  value = data.azurerm_resources.made.resources[0].id
}
