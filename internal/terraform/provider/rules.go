package provider

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// applyRule checks a value by one of azurerm's named validation functions. It
// returns "" for a good value, else azurerm's message. A name without a rule here
// is not checked in the plan; the service has the last word anyway.
func applyRule(k *check, v any, key string, major int) string {
	if m, ok := v.(map[string]any); ok {
		return applyMapRule(k.Rule, m, key)
	}
	s, ok := v.(string)
	if !ok || obeys(k.Rule, s, major) {
		return ""
	}
	if k.Rule == "StringIsNotEmpty" || k.Rule == "EnhancedValidate" || s == "" && k.Text == "" {
		return fmt.Sprintf("expected %q to not be an empty string, got %v", key, s)
	}
	if k.Text == "" {
		return fmt.Sprintf("invalid value for %s: %q", key, s)
	}
	text := strings.ReplaceAll(k.Text, "KEY", key)
	return strings.ReplaceAll(text, "%q", fmt.Sprintf("%q", s))
}

// obeys reports whether a string keeps a rule. The patterns are azurerm's, and
// laxer or stricter than Azure's own.
func obeys(rule, s string, major int) bool {
	match := func(pattern string) bool {
		ok, err := regexp.MatchString(pattern, s)
		return err == nil && ok
	}
	switch rule {
	case "StringIsNotEmpty", "EnhancedValidate":
		return s != ""
	case "IsUUID":
		return match(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	case "IsUUIDOrEmpty":
		return s == "" || obeys("IsUUID", s, major)
	case "ValidateName": // of a resource group
		return match(`^[-\w._()]{1,90}$`) && !strings.HasSuffix(s, ".")
	case "StorageAccountName":
		return match(`\A([a-z0-9]{3,24})\z`)
	case "StorageContainerName":
		return s == "$root" || s == "$web" || match(`^[0-9a-z-]{3,63}$`) && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-") && !strings.Contains(s, "--")
	case "validateStorageDataLakeGen2FileSystemName":
		return match(`^[0-9a-z-]{3,63}$`) && !strings.HasPrefix(s, "-")
	case "VaultName":
		return match(`^[a-zA-Z0-9-]{3,24}$`)
	case "ContainerRegistryName":
		return match(`^[a-zA-Z0-9]+$`) && len(s) >= 5 && (len(s) < 50 || major > 3 && len(s) == 50)
	case "LogAnalyticsWorkspaceName":
		return match(`^[A-Za-z0-9][A-Za-z0-9-]+[A-Za-z0-9]$`) && len(s) >= 4 && len(s) <= 63
	case "WorkspaceName":
		return match(`^[a-zA-Z0-9][\w-]{2,32}$`)
	case "ComputeClusterName":
		return match(`^[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]$`)
	case "resourceComputeInstance":
		return match(`^[a-zA-Z][a-zA-Z0-9-]{3,24}$`)
	case "DataStoreName":
		return match(`^[a-zA-Z0-9][\w-]{0,254}$`)
	case "CIDR":
		_, _, err := net.ParseCIDR(s)
		return err == nil || net.ParseIP(s) != nil
	case "VirtualNetworkBgpCommunity":
		return match(`^\d+:\d+$`)
	case "ValidateResourceID":
		return match(`(?i)^/subscriptions/[^/]+(/|$)`)
	case "IsURLWithHTTPorHTTPS":
		u, err := url.Parse(s)
		return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	case "ADLSAccessControlPermissions":
		return match(`^[r-][w-][x-]$`)
	case "StorageEncryptionScopeName":
		return match(`^[0-9A-Za-z]{4,63}$`) || s == "$account-encryption-key"
	}
	return true
}

// applyMapRule checks tags and metadata.
func applyMapRule(rule string, m map[string]any, key string) string {
	switch rule {
	case "Validate", "StorageAccountTags": // of tags
		if len(m) > 50 {
			return "a maximum of 50 tags can be applied to each ARM resource"
		}
		longest := 512
		if rule == "StorageAccountTags" {
			longest = 128
		}
		for k, v := range m {
			if len(k) > longest {
				return fmt.Sprintf("the maximum length for a tag key is %d characters: %q is %d characters", longest, k, len(k))
			}
			if len(asString(v)) > 256 {
				return fmt.Sprintf("the maximum length for a tag value is 256 characters: the value for %q is %d characters", k, len(asString(v)))
			}
		}
	case "MetaDataKeys":
		for k := range m {
			if !regexp.MustCompile(`^[a-z_][a-z0-9_]*$`).MatchString(k) {
				return fmt.Sprintf("MetaData must start with letters or an underscores. Got %q.", k)
			}
		}
	}
	_ = key
	return ""
}
