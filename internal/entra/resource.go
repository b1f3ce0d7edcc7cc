package entra

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

//go:embed resources.json
var resourcesJSON []byte

// resource is a service of Microsoft's that tokens can be asked for.
type resource struct {
	Name  string   `json:"name"`
	AppID string   `json:"appId"` // empty where we do not know it
	URIs  []string `json:"uris"`  // without a final slash; "https://*." stands for any host below
}

func builtinResources() ([]resource, error) {
	var out []resource
	if err := json.Unmarshal(resourcesJSON, &out); err != nil {
		return nil, fmt.Errorf("read the table of resources: %w", err)
	}
	return out, nil
}

// tokenVersion returns the version of the tokens that an audience takes. It
// reports false for an audience that the tenant does not know. Microsoft's own
// services take version 1; an application of the tenant takes what it was
// registered with.
func (d *Directory) tokenVersion(tx store.Tx, audience string) (version int, known bool, err error) {
	name := strings.ToLower(strings.TrimSuffix(audience, "/"))
	for i := range d.resources {
		r := &d.resources[i]
		if r.AppID != "" && name == r.AppID {
			return 1, true, nil
		}
		for _, uri := range r.URIs {
			if matchURI(uri, name) {
				return 1, true, nil
			}
		}
	}
	app, err := d.tables.applications.Get(tx, strings.TrimPrefix(name, "api://"))
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return max(app.TokenVersion, 1), true, nil
}

func matchURI(pattern, name string) bool {
	suffix, wild := strings.CutPrefix(pattern, "https://*")
	if !wild {
		return name == pattern
	}
	host, ok := strings.CutPrefix(name, "https://")
	return ok && len(host) > len(suffix) && strings.HasSuffix(host, suffix) && !strings.Contains(host, "/")
}
