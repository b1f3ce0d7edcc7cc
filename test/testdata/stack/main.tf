# An environment with what people's files have and Azure minds: default storage
# with a hierarchical namespace, classic insights, a retired size, a compute
# without identity, low-priority nodes.
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 3.80"
    }
  }
}

provider "azurerm" {
  features {
    key_vault {
      purge_soft_delete_on_destroy = false
    }
  }
}

variable "data_scientist_object_id" {
  type    = string
  default = "11111111-2222-3333-4444-555555555555"
}

data "azurerm_client_config" "me" {}

locals {
  tags = { team = "vision" }
}

resource "azurerm_resource_group" "it" {
  name     = "rg-vision"
  location = "East US"
  tags     = local.tags
}

resource "azurerm_storage_account" "it" {
  name                     = "stvision001"
  location                 = azurerm_resource_group.it.location
  resource_group_name      = azurerm_resource_group.it.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
  min_tls_version          = "TLS1_2"
  is_hns_enabled           = true
  tags                     = local.tags
}

resource "azurerm_key_vault" "it" {
  name                      = "kv-vision"
  location                  = azurerm_resource_group.it.location
  resource_group_name       = azurerm_resource_group.it.name
  tenant_id                 = data.azurerm_client_config.me.tenant_id
  sku_name                  = "standard"
  purge_protection_enabled  = true
  enable_rbac_authorization = true
}

resource "azurerm_application_insights" "it" {
  name                = "ai-vision"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  application_type    = "web"
}

resource "azurerm_container_registry" "it" {
  name                = "acrvision001"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  sku                 = "Standard"
  admin_enabled       = false
}

resource "azurerm_virtual_network" "it" {
  name                = "vnet-vision"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  address_space       = ["10.9.0.0/16"]
}

resource "azurerm_subnet" "compute" {
  name                 = "snet-compute"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.it.name
  address_prefixes     = ["10.9.1.0/24"]
}

resource "azurerm_subnet" "endpoints" {
  name                 = "snet-private-endpoints"
  resource_group_name  = azurerm_resource_group.it.name
  virtual_network_name = azurerm_virtual_network.it.name
  address_prefixes     = ["10.9.2.0/24"]
}

resource "azurerm_machine_learning_workspace" "it" {
  name                          = "mlw-vision"
  location                      = azurerm_resource_group.it.location
  resource_group_name           = azurerm_resource_group.it.name
  friendly_name                 = "Vision"
  application_insights_id       = azurerm_application_insights.it.id
  key_vault_id                  = azurerm_key_vault.it.id
  storage_account_id            = azurerm_storage_account.it.id
  container_registry_id         = azurerm_container_registry.it.id
  public_network_access_enabled = true
  image_build_compute_name      = "cpu-cluster"
  tags                          = local.tags

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_role_assignment" "it" {
  for_each = {
    vault    = { scope = azurerm_key_vault.it.id, role = "Key Vault Administrator" }
    storage  = { scope = azurerm_storage_account.it.id, role = "Storage Blob Data Contributor" }
    registry = { scope = azurerm_container_registry.it.id, role = "AcrPush" }
  }
  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = azurerm_machine_learning_workspace.it.identity[0].principal_id
}

locals {
  clusters = {
    cpu-cluster  = { size = "Standard_D4s_v3", priority = "Dedicated", max = 10, idle = "PT15M", subnet = null }
    gpu-cluster  = { size = "Standard_NC6s_v3", priority = "Dedicated", max = 4, idle = "PT30M", subnet = null }
    low-cluster  = { size = "Standard_D8s_v3", priority = "LowPriority", max = 20, idle = "PT10M", subnet = null }
    vnet-cluster = { size = "Standard_NC6s_v3", priority = "Dedicated", max = 4, idle = "PT30M", subnet = azurerm_subnet.compute.id }
  }
}

resource "azurerm_machine_learning_compute_cluster" "it" {
  for_each                      = local.clusters
  name                          = each.key
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  vm_size                       = each.value.size
  vm_priority                   = each.value.priority
  subnet_resource_id            = each.value.subnet
  tags                          = local.tags

  scale_settings {
    min_node_count                       = 0
    max_node_count                       = each.value.max
    scale_down_nodes_after_idle_duration = each.value.idle
  }

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_machine_learning_compute_instance" "dev" {
  name                          = "ci-dev-user01"
  location                      = azurerm_resource_group.it.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.it.id
  virtual_machine_size          = "Standard_DS3_v2"

  assign_to_user {
    object_id = var.data_scientist_object_id
    tenant_id = data.azurerm_client_config.me.tenant_id
  }
}

output "workspace_id" {
  value = azurerm_machine_learning_workspace.it.id
}
