# For trying things out: small, and gone without a trace when destroyed. The
# same as the defaults.
environment      = "dev"
registry_sku     = "Standard"
purge_protection = false
soft_delete_days = 7

clusters = {
  cpu-cluster   = { vm_size = "Standard_D4s_v3", max_nodes = 2 }
  gpu-cluster   = { vm_size = "Standard_NC4as_T4_v3", max_nodes = 1 }
  batch-cluster = { vm_size = "Standard_D8s_v3", max_nodes = 2, idle = "PT5M" }
}
