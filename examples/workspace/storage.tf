# The workspace's own account: code, logs, outputs, snapshots.
#
# Azure refuses a default account with a hierarchical namespace ("Cannot use
# storage with HNS enabled."), so data that wants one has an account of its own
# below.
resource "azurerm_storage_account" "default" {
  name                     = "stml${local.short}${var.suffix}"
  location                 = azurerm_resource_group.ml.location
  resource_group_name      = azurerm_resource_group.ml.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
  min_tls_version          = "TLS1_2"

  # Compute instances mount the account's file share with its key. Without them
  # this can be false.
  shared_access_key_enabled = true

  # The defaults of these differ between the versions of the provider.
  https_traffic_only_enabled       = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false

  tags = local.tags
}

# The data lake: an ADLS Gen2 account, whose directories are real and can be
# renamed and protected as such.
resource "azurerm_storage_account" "lake" {
  name                     = "stlake${local.short}${var.suffix}"
  location                 = azurerm_resource_group.ml.location
  resource_group_name      = azurerm_resource_group.ml.name
  account_tier             = "Standard"
  account_replication_type = "LRS"
  min_tls_version          = "TLS1_2"
  is_hns_enabled           = true

  # Terraform itself makes the file system below with the key. With
  # storage_use_azuread in the provider block this can be false.
  shared_access_key_enabled = true

  https_traffic_only_enabled       = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false

  tags = local.tags
}

# A file system is what ADLS Gen2 calls a container. azurerm_storage_container
# would do as well, but its arguments changed from 3.x to 5.x.
resource "azurerm_storage_data_lake_gen2_filesystem" "data" {
  name               = "data"
  storage_account_id = azurerm_storage_account.lake.id
}

# Jobs reach it as azureml://datastores/lake/paths/…
resource "azurerm_machine_learning_datastore_datalake_gen2" "lake" {
  name                 = "lake"
  workspace_id         = azurerm_machine_learning_workspace.ml.id
  storage_container_id = "${azurerm_storage_account.lake.id}/blobServices/default/containers/${azurerm_storage_data_lake_gen2_filesystem.data.name}"

  # No secret is kept: whoever reads does so with an identity of its own.
  service_data_identity = "WorkspaceSystemAssignedIdentity"
}
