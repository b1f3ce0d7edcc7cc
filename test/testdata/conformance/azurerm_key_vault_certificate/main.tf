resource "azurerm_key_vault_certificate" "it" {
  name         = "web"
  key_vault_id = azurerm_key_vault.it.id

  certificate_policy {
    issuer_parameters {
      name = "Self"
    }

    key_properties {
      exportable = true
      key_type   = "EC"
      curve      = "P-256"
      reuse_key  = true
    }

    lifetime_action {
      action {
        action_type = "AutoRenew"
      }
      trigger {
        days_before_expiry = 30
      }
    }

    secret_properties {
      content_type = "application/x-pkcs12"
    }

    x509_certificate_properties {
      extended_key_usage = ["1.3.6.1.5.5.7.3.1"]
      key_usage          = ["digitalSignature", "keyAgreement"]
      subject            = "CN=web.example"
      validity_in_months = 12

      subject_alternative_names {
        dns_names = ["web.example", "www.web.example"]
      }
    }
  }

  depends_on = [azurerm_role_assignment.me]
}
