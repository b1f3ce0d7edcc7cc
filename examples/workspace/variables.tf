# The defaults are the dev environment, the same as dev.tfvars.

variable "environment" {
  description = "Which environment this is. It is part of every name."
  type        = string
  default     = "dev"

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "The environment must be dev, staging or production."
  }
}

variable "suffix" {
  description = "Makes the names of storage accounts, vault and registry unique in all of Azure. Choose your own before you go there."
  type        = string
  default     = "azm001"

  validation {
    condition     = can(regex("^[a-z0-9]{3,8}$", var.suffix))
    error_message = "The suffix must be 3 to 8 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region of everything. A compute instance has to be in the workspace's region."
  type        = string
  default     = "eastus"

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "Write the region without spaces and in lower case, such as eastus."
  }
}

variable "clusters" {
  description = <<-EOT
    Compute clusters by name. Nodes are billed from the start of a job until they
    have been idle for the idle time; with min_nodes = 0 an idle cluster costs nothing.
    idle is an ISO 8601 duration. priority is Dedicated or LowPriority.
  EOT
  type = map(object({
    vm_size   = string
    max_nodes = number
    min_nodes = optional(number, 0)
    idle      = optional(string, "PT15M")
    priority  = optional(string, "Dedicated")
  }))
  default = {
    # 4 vCPU, 16 GiB
    cpu-cluster = { vm_size = "Standard_D4s_v3", max_nodes = 2 }
    # 4 vCPU, 28 GiB, 1 NVIDIA T4. New subscriptions have a quota of 0 for GPUs.
    gpu-cluster = { vm_size = "Standard_NC4as_T4_v3", max_nodes = 1 }
    # 8 vCPU, 32 GiB, for work that can wait. It was made for low-priority nodes;
    # Azure lists those as retired since 2026-03-31, so it is Dedicated here.
    batch-cluster = { vm_size = "Standard_D8s_v3", max_nodes = 2, idle = "PT5M" }
  }

  validation {
    condition     = contains(keys(var.clusters), "cpu-cluster")
    error_message = "There must be a cpu-cluster: jobs and image builds refer to it by name."
  }
  validation {
    condition     = alltrue([for n in keys(var.clusters) : can(regex("^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$", n))])
    error_message = "A cluster name has 3 to 24 letters, digits and -, begins with a letter and ends with a letter or digit."
  }
  validation {
    condition     = alltrue([for c in values(var.clusters) : c.min_nodes >= 0 && c.min_nodes <= c.max_nodes && c.max_nodes >= 1])
    error_message = "A cluster needs 0 <= min_nodes <= max_nodes and max_nodes >= 1."
  }
  validation {
    condition     = alltrue([for c in values(var.clusters) : can(regex("^PT([0-9]+H)?([0-9]+M)?([0-9]+S)?$", c.idle)) && c.idle != "PT"])
    error_message = "The idle time must be an ISO 8601 duration such as PT15M."
  }
  validation {
    condition     = alltrue([for c in values(var.clusters) : contains(["Dedicated", "LowPriority"], c.priority)])
    error_message = "The priority must be Dedicated or LowPriority."
  }
}

variable "data_scientist_object_id" {
  description = "Object ID in Entra of the user who gets a compute instance. Without one there is no instance."
  type        = string
  default     = null

  validation {
    condition     = var.data_scientist_object_id == null || can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.data_scientist_object_id))
    error_message = "The object ID must be a GUID."
  }
}

variable "registry_sku" {
  description = "SKU of the container registry. Only Premium can have private endpoints; with it a subnet for them is made."
  type        = string
  default     = "Standard"

  validation {
    condition     = contains(["Basic", "Standard", "Premium"], var.registry_sku)
    error_message = "The SKU must be Basic, Standard or Premium."
  }
}

variable "purge_protection" {
  description = "Keeps a deleted Key Vault, and its name, for the retention time. It cannot be turned off again."
  type        = bool
  default     = false
}

variable "soft_delete_days" {
  description = "How long a deleted Key Vault can be recovered, in days (7 to 90). It cannot be changed later."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90
    error_message = "Azure takes 7 to 90 days."
  }
}

variable "log_retention_days" {
  description = "How long logs and telemetry are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "Azure takes 30 to 730 days."
  }
}

variable "address_space" {
  description = "Address range of the virtual network, a /16. Not 172.17.0.0/16, which is Docker's own bridge."
  type        = string
  default     = "10.1.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.address_space, 8, 255)) && !startswith(var.address_space, "172.17.")
    error_message = "Write an address range such as 10.1.0.0/16, other than 172.17.0.0/16."
  }
}

variable "tags" {
  description = "Tags of every resource, besides environment and team."
  type        = map(string)
  default     = {}
}
