# Like production where it matters, with fewer nodes.
environment        = "staging"
registry_sku       = "Premium"
purge_protection   = false
soft_delete_days   = 7
log_retention_days = 30
address_space      = "10.2.0.0/16"

clusters = {
  cpu-cluster   = { vm_size = "Standard_D4s_v3", max_nodes = 4 }
  gpu-cluster   = { vm_size = "Standard_NC4as_T4_v3", max_nodes = 2, idle = "PT30M" }
  batch-cluster = { vm_size = "Standard_D8s_v3", max_nodes = 4, idle = "PT10M" }
}
