locals {
  # Names that are unique in all of Azure have at most 24 characters.
  short = { dev = "dev", staging = "stg", production = "prd" }[var.environment]

  tags = merge(var.tags, {
    environment = var.environment
    team        = "data-science"
  })

  # Private endpoints need a Premium registry, and the other way round there is
  # no reason to pay for one.
  private = var.registry_sku == "Premium"
}

resource "azurerm_resource_group" "ml" {
  name     = "rg-ml-${var.environment}-${var.suffix}"
  location = var.location
  tags     = local.tags
}
