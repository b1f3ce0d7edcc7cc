package clientenv

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/atomicfile"
	"github.com/azimuth-ml/azimuth/internal/entra"
)

// The files of an Azure CLI configuration directory, as 2.45 reads and writes
// them with core.encrypt_token_cache off.
const (
	cliConfigFile  = "config"
	cliCloudsFile  = "clouds.config"
	cliProfileFile = "azureProfile.json"
	cliSecretsFile = "service_principal_entries.json"
	cliTokensFile  = "msal_token_cache.json"
)

// Settings a user may change later: the file is written once.
const cliConfig = `[cloud]
name = AzureCloud

[core]
collect_telemetry = no
encrypt_token_cache = false
first_run = no
survey_message = no

[auto-upgrade]
enable = no

[logging]
enable_log_file = no
`

// writeAzureCLI makes dir a configuration directory in which the service
// principal is signed in. What the user did there since (default group, output
// format, other sign-ins) is kept.
func writeAzureCLI(dir string, cfg Config) error {
	clouds := fmt.Sprintf("[AzureCloud]\nsubscription = %s\n", cfg.SubscriptionID)
	for name, content := range map[string]string{cliConfigFile: cliConfig, cliCloudsFile: clouds} {
		err := atomicfile.Create(filepath.Join(dir, name), []byte(content), 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := writeProfile(filepath.Join(dir, cliProfileFile), cfg); err != nil {
		return err
	}
	if err := writeSecrets(filepath.Join(dir, cliSecretsFile), cfg.Credentials); err != nil {
		return err
	}
	return dropExpired(filepath.Join(dir, cliTokensFile), cfg.Now)
}

type cliProfile struct {
	InstallationID string           `json:"installationId"`
	Subscriptions  []map[string]any `json:"subscriptions"`
}

type cliSubscription struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	State            string   `json:"state"`
	User             cliUser  `json:"user"`
	IsDefault        bool     `json:"isDefault"`
	TenantID         string   `json:"tenantId"`
	EnvironmentName  string   `json:"environmentName"`
	HomeTenantID     string   `json:"homeTenantId"`
	ManagedByTenants []string `json:"managedByTenants"`
}

type cliUser struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// bom is before every file that the CLI writes as "utf-8-sig", and need not be.
const bom = "\ufeff"

// readJSON reads a JSON file into v. It reports false, for a new beginning, if
// there is none or if it is not JSON: the CLI does the same.
func readJSON(path string, v any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return json.Unmarshal(bytes.TrimPrefix(data, []byte(bom)), v) == nil, nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(path, data, 0o600)
	return err
}

func writeProfile(path string, cfg Config) error {
	var profile cliProfile
	if _, err := readJSON(path, &profile); err != nil {
		return err
	}
	want := cliSubscription{
		ID: cfg.SubscriptionID, Name: cfg.SubscriptionName, State: "Enabled",
		User:             cliUser{Name: cfg.Credentials.ClientID, Type: "servicePrincipal"},
		IsDefault:        true,
		TenantID:         cfg.Credentials.TenantID,
		EnvironmentName:  "AzureCloud",
		HomeTenantID:     cfg.Credentials.TenantID,
		ManagedByTenants: []string{},
	}
	subscriptions := []any{want}
	for _, have := range profile.Subscriptions {
		user, _ := have["user"].(map[string]any)
		if have["id"] == want.ID {
			if have["tenantId"] == want.TenantID && user["name"] == want.User.Name && user["type"] == want.User.Type {
				return nil // signed in, perhaps with another subscription as the default
			}
			continue // of before a reset
		}
		have["isDefault"] = false
		subscriptions = append(subscriptions, have)
	}
	if profile.InstallationID == "" {
		profile.InstallationID = newUUID()
	}
	return writeJSON(path, map[string]any{"installationId": profile.InstallationID, "subscriptions": subscriptions})
}

// newUUID returns a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func writeSecrets(path string, c entra.Credentials) error {
	var have []map[string]any
	if _, err := readJSON(path, &have); err != nil {
		return err
	}
	entries := []map[string]any{{"client_id": c.ClientID, "tenant": c.TenantID, "client_secret": c.ClientSecret}}
	for _, e := range have {
		if e["client_id"] != c.ClientID || e["tenant"] != c.TenantID {
			entries = append(entries, e)
		}
	}
	return writeJSON(path, entries)
}

// dropExpired removes the access tokens that have expired at now from the CLI's
// cache.
func dropExpired(path string, now time.Time) error {
	var cache map[string]map[string]json.RawMessage
	if ok, err := readJSON(path, &cache); err != nil || !ok {
		return err
	}
	dropped := false
	for key, raw := range cache["AccessToken"] {
		var token struct {
			Secret string `json:"secret"`
		}
		if json.Unmarshal(raw, &token) != nil {
			continue
		}
		if exp, ok := expiry(token.Secret); ok && !now.Add(5*time.Minute).Before(exp) {
			delete(cache["AccessToken"], key)
			dropped = true
		}
	}
	if !dropped {
		return nil
	}
	return writeJSON(path, cache)
}

// expiry reads a JSON web token's end, unverified.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var c struct {
		Expires int64 `json:"exp"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Expires == 0 {
		return time.Time{}, false
	}
	return time.Unix(c.Expires, 0), true
}
