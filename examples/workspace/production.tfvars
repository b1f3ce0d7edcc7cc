# Purge protection and the retention time can never be reduced again.
environment        = "production"
registry_sku       = "Premium"
purge_protection   = true
soft_delete_days   = 90
log_retention_days = 90
address_space      = "10.3.0.0/16"

clusters = {
  cpu-cluster   = { vm_size = "Standard_D4s_v3", max_nodes = 10 }
  gpu-cluster   = { vm_size = "Standard_NC4as_T4_v3", max_nodes = 4, idle = "PT30M" }
  batch-cluster = { vm_size = "Standard_D8s_v3", max_nodes = 20, idle = "PT10M" }
}
