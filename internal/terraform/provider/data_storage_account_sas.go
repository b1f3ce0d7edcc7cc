package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// dataStorageAccountSAS signs an account SAS with the key of a connection string.
// It asks nobody.
func dataStorageAccountSAS() *dataSource {
	return &dataSource{
		name: "azurerm_storage_account_sas",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			if config["signed_version"] == nil {
				config = cloneObject(config)
				config["signed_version"] = o.kind.Attributes["signed_version"].Default
			}
			sas, err := accountSAS(config)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(sas))
			return map[string]any{"sas": sas, "id": hex.EncodeToString(sum[:])}, nil
		},
	}
}

// letters picks the letters of the flags that are set, in the order of names.
func letters(block any, names ...string) string {
	flags, out := first(block), ""
	for _, n := range names {
		name, letter, _ := strings.Cut(n, ":")
		if asBool(flags[name]) {
			out += letter
		}
	}
	return out
}

// accountSAS is the query string, with a question mark before it, that azurerm
// makes. The text that is signed is that of "Create an account SAS"; from version
// 2020-12-06 on it has the encryption scope, which azurerm leaves empty. Times,
// protocol and addresses are written as they are, as azurerm does: the ID is a hash
// of it all.
func accountSAS(config map[string]any) (string, error) {
	pairs := map[string]string{}
	for part := range strings.SplitSeq(asString(config["connection_string"]), ";") {
		if k, v, ok := strings.Cut(part, "="); ok {
			pairs[k] = v
		}
	}
	account := pairs["AccountName"]
	key, err := base64.StdEncoding.DecodeString(pairs["AccountKey"])
	if err != nil || account == "" || len(key) == 0 {
		return "", fmt.Errorf("the connection string of an account SAS has an AccountName and an AccountKey")
	}
	permissions := letters(config["permissions"], "read:r", "write:w", "delete:d", "list:l", "add:a", "create:c", "update:u", "process:p", "tag:t", "filter:f")
	services := letters(config["services"], "blob:b", "queue:q", "table:t", "file:f")
	types := letters(config["resource_types"], "service:s", "container:c", "object:o")
	start, expiry, ip := asString(config["start"]), asString(config["expiry"]), asString(config["ip_addresses"])
	version := asString(config["signed_version"])
	protocol := "https"
	if config["https_only"] == false {
		protocol = "https,http"
	}
	lines := []string{account, permissions, services, types, start, expiry, ip, protocol, version}
	if version >= "2020-12-06" {
		lines = append(lines, "")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(lines, "\n") + "\n"))
	out := "?sv=" + url.QueryEscape(version) + "&ss=" + url.QueryEscape(services) + "&srt=" + url.QueryEscape(types) +
		"&sp=" + url.QueryEscape(permissions) + "&se=" + expiry + "&st=" + start + "&spr=" + protocol
	if ip != "" {
		out += "&sip=" + ip
	}
	return out + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), nil
}
