package provider

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// dataLakeFilesystem works on the dfs data plane; azurerm has no ARM form of it.
func dataLakeFilesystem() *resourceType {
	return &resourceType{
		name:       "azurerm_storage_data_lake_gen2_filesystem",
		apiVersion: storageVersions(),
		fields:     []field{ours("name", "storage_account_id", "properties", "owner", "group", "ace", "default_encryption_scope")},
		store:      filesystemStore{},
		makeID: func(o *operation) (string, error) {
			return "https://" + o.host(lastSegment(asString(o.planned["storage_account_id"])), "dfs") + "/" + asString(o.planned["name"]), nil
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			account, name, err := o.filesystem(id)
			if err != nil {
				return nil, err
			}
			accountID, err := o.findAccount(o.ctx, account)
			if err != nil {
				return nil, err
			}
			return map[string]any{"name": name, "storage_account_id": accountID}, nil
		},
	}
}

// filesystem reads the account and the name from an ID.
func (o *operation) filesystem(id string) (account, name string, err error) {
	u, err := url.Parse(id)
	if err == nil {
		var ok bool
		account, ok = strings.CutSuffix(u.Host, ".dfs."+o.storageSuffix)
		name = strings.Trim(u.Path, "/")
		if ok && u.Scheme == "https" && account != "" && name != "" && !strings.Contains(name, "/") {
			return account, name, nil
		}
	}
	return "", "", fmt.Errorf("parsing %q: expected https://{account}.dfs.%s/{filesystem}", id, o.storageSuffix)
}

type filesystemStore struct{}

func (filesystemStore) open(o *operation) (*account, string, error) {
	_, name, err := o.filesystem(o.id)
	if err != nil {
		return nil, "", err
	}
	a, err := o.openAccount(o.ctx, asString(o.state()["storage_account_id"]))
	return a, name, err
}

func (s filesystemStore) create(o *operation) error {
	a, name, err := s.open(o)
	if err != nil {
		return err
	}
	if _, err := s.request(o, a, http.MethodHead, name, nil); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return err
	}
	header := map[string]string{}
	if len(asObject(o.planned["properties"])) > 0 {
		header["x-ms-properties"] = encodeProperties(o.planned["properties"])
	}
	if scope := asString(o.planned["default_encryption_scope"]); scope != "" {
		header["x-ms-default-encryption-scope"] = scope
	}
	if _, err := s.request(o, a, http.MethodPut, name, header); err != nil {
		return err
	}
	o.created = true
	return s.access(o, a, name)
}

// access sets the owner, the group and the access list of the root, as far as
// they are configured.
func (filesystemStore) access(o *operation, a *account, name string) error {
	header := map[string]string{}
	if v := asString(o.config["owner"]); v != "" {
		header["x-ms-owner"] = v
	}
	if v := asString(o.config["group"]); v != "" {
		header["x-ms-group"] = v
	}
	if aces := asList(o.config["ace"]); len(aces) > 0 {
		header["x-ms-acl"] = formatACL(aces)
	}
	if len(header) == 0 {
		return nil
	}
	if _, err := o.data(o.ctx, a, http.MethodPatch, "dfs", "/"+name+"/", "action=setAccessControl", header); err != nil {
		return fmt.Errorf("setting access control for the root of File System %q: %w", name, err)
	}
	return nil
}

func (s filesystemStore) read(o *operation) (map[string]any, error) {
	a, name, err := s.open(o)
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	h, err := s.request(o, a, http.MethodHead, name, nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	properties, err := decodeProperties(h.Get("x-ms-properties"))
	if err != nil {
		return nil, err
	}
	state := map[string]any{
		"name": name, "storage_account_id": asString(o.state()["storage_account_id"]),
		"properties": properties, "default_encryption_scope": h.Get("x-ms-default-encryption-scope"),
		"owner": "", "group": "", "ace": []any{},
	}
	// Accounts without a hierarchical namespace have no access control.
	root, err := o.data(o.ctx, a, http.MethodHead, "dfs", "/"+name+"/", "action=getAccessControl&upn=false", nil)
	if err == nil {
		state["owner"], state["group"] = root.Get("x-ms-owner"), root.Get("x-ms-group")
		state["ace"] = parseACL(root.Get("x-ms-acl"))
	} else if status := statusOf(err); !slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusNotImplemented}, status) {
		return nil, fmt.Errorf("retrieving the access control of File System %q: %w", name, err)
	}
	return state, nil
}

func (s filesystemStore) update(o *operation) error {
	a, name, err := s.open(o)
	if err != nil {
		return err
	}
	if !o.kind.Attributes["properties"].same(o.prior["properties"], o.planned["properties"]) {
		header := map[string]string{"x-ms-properties": encodeProperties(o.planned["properties"])}
		if _, err := s.request(o, a, http.MethodPatch, name, header); err != nil {
			return err
		}
	}
	return s.access(o, a, name)
}

func (s filesystemStore) remove(o *operation) error {
	a, name, err := s.open(o)
	if err != nil {
		return err
	}
	_, err = s.request(o, a, http.MethodDelete, name, nil)
	return err
}

// request works on the file system itself. Azure keeps a file system and a blob
// container of the same name as one thing, with the properties of one for the
// metadata of the other; where the dfs endpoint does not serve file systems, the
// container is used.
func (filesystemStore) request(o *operation, a *account, method, name string, header map[string]string) (http.Header, error) {
	h, err := o.data(o.ctx, a, method, "dfs", "/"+name, "resource=filesystem", header)
	if statusOf(err) != http.StatusNotImplemented {
		return h, err
	}
	query, sent := "restype=container", map[string]string{}
	if method == http.MethodPatch {
		method, query = http.MethodPut, "comp=metadata&restype=container"
	}
	if scope := header["x-ms-default-encryption-scope"]; scope != "" {
		sent["x-ms-default-encryption-scope"] = scope
	}
	properties, err := decodeProperties(header["x-ms-properties"])
	if err != nil {
		return nil, err
	}
	for k, v := range properties {
		plain, err := base64.StdEncoding.DecodeString(asString(v))
		if err != nil {
			return nil, fmt.Errorf("read the property %s: %w", k, err)
		}
		sent["x-ms-meta-"+k] = string(plain)
	}
	if h, err = o.data(o.ctx, a, method, "blob", "/"+name, query, sent); err != nil {
		return nil, err
	}
	coded := map[string]any{}
	for k, v := range metadataOf(h) {
		coded[k] = base64.StdEncoding.EncodeToString([]byte(asString(v)))
	}
	h.Set("x-ms-properties", encodeProperties(coded))
	return h, nil
}

// encodeProperties writes the x-ms-properties header, of which the values are
// base64. azurerm's argument holds the values encoded already.
func encodeProperties(v any) string {
	var out []string
	for k, value := range asObject(v) {
		out = append(out, k+"="+asString(value))
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

func decodeProperties(text string) (map[string]any, error) {
	out := map[string]any{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if _, err := base64.StdEncoding.DecodeString(v); !ok || err != nil {
			return nil, fmt.Errorf("read the properties of a file system: %q is not name=base64", pair)
		}
		out[k] = v
	}
	return out, nil
}

// formatACL and parseACL convert ace blocks to the form of the x-ms-acl header:
// [default:]type:[id]:permissions, with commas between.
func formatACL(aces []any) string {
	var out []string
	for _, e := range aces {
		ace := asObject(e)
		entry := asString(ace["type"]) + ":" + asString(ace["id"]) + ":" + asString(ace["permissions"])
		if asString(ace["scope"]) == "default" {
			entry = "default:" + entry
		}
		out = append(out, entry)
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

func parseACL(text string) []any {
	out := []any{}
	for entry := range strings.SplitSeq(text, ",") {
		scope := "access"
		if rest, ok := strings.CutPrefix(entry, "default:"); ok {
			scope, entry = "default", rest
		}
		parts := strings.Split(entry, ":")
		if len(parts) != 3 {
			continue
		}
		out = append(out, map[string]any{"scope": scope, "type": parts[0], "id": parts[1], "permissions": strings.TrimSuffix(parts[2], "+")})
	}
	return out
}
