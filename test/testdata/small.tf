# The least environment that runs a job, plus an account that the cluster's
# identity may read one container of.
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.0"
    }
  }
}

provider "azurerm" {
  features {}
}

data "azurerm_client_config" "me" {}

variable "may_read" {
  type    = bool
  default = true
}

resource "azurerm_resource_group" "it" {
  name     = "rg-small"
  location = "westeurope"
}

resource "azurerm_storage_account" "it" {
  name                     = "stsmall001"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
}

resource "azurerm_storage_container" "data" {
  name               = "data"
  storage_account_id = azurerm_storage_account.it.id
}

resource "azurerm_storage_container" "closed" {
  name               = "closed"
  storage_account_id = azurerm_storage_account.it.id
}

resource "azurerm_key_vault" "it" {
  name                       = "kv-small"
  location                   = azurerm_resource_group.it.location
  resource_group_name        = azurerm_resource_group.it.name
  tenant_id                  = data.azurerm_client_config.me.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
}

resource "azurerm_log_analytics_workspace" "it" {
  name                = "log-small"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
}

resource "azurerm_application_insights" "it" {
  name                = "ai-small"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  workspace_id        = azurerm_log_analytics_workspace.it.id
  application_type    = "web"
}

resource "azurerm_machine_learning_workspace" "it" {
  name                    = "mlw-small"
  location                = azurerm_resource_group.it.location
  resource_group_name     = azurerm_resource_group.it.name
  application_insights_id = azurerm_application_insights.it.id
  key_vault_id            = azurerm_key_vault.it.id
  storage_account_id      = azurerm_storage_account.it.id

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_machine_learning_compute_cluster" "cpu" {
  name                          = "cpu-cluster"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  vm_size                       = "Standard_D4s_v3"
  vm_priority                   = "Dedicated"

  scale_settings {
    min_node_count                       = 0
    max_node_count                       = 2
    scale_down_nodes_after_idle_duration = "PT15M"
  }

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_role_assignment" "read" {
  count                = var.may_read ? 1 : 0
  scope                = "${azurerm_storage_account.it.id}/blobServices/default/containers/${azurerm_storage_container.data.name}"
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_machine_learning_compute_cluster.cpu.identity[0].principal_id
}

resource "azurerm_role_assignment" "read_secrets" {
  count                = var.may_read ? 1 : 0
  scope                = azurerm_key_vault.it.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_machine_learning_compute_cluster.cpu.identity[0].principal_id
}

resource "azurerm_role_assignment" "write_secrets" {
  scope                = azurerm_key_vault.it.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = data.azurerm_client_config.me.object_id
}

resource "azurerm_role_assignment" "me" {
  scope                = azurerm_storage_account.it.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = data.azurerm_client_config.me.object_id
}
