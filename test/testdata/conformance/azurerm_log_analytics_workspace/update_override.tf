resource "azurerm_log_analytics_workspace" "it" {
  retention_in_days = 60
  daily_quota_gb    = 2
  tags              = { team = "platform" }
}
