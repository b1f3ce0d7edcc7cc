package provider

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// dataResources lists the resources of a group, a name, or a type, with all tags
// that are required.
func dataResources() *dataSource {
	return &dataSource{
		name: "azurerm_resources",
		read: func(o *operation, config map[string]any) (map[string]any, error) {
			group, name, typ := asString(config["resource_group_name"]), asString(config["name"]), asString(config["type"])
			if group == "" && name == "" && typ == "" {
				return nil, errors.New("at least one of `name`, `resource_group_name` or `type` must be specified")
			}
			var terms []string
			for _, t := range [][2]string{{"name", name}, {"resourceType", typ}} {
				if t[1] != "" {
					terms = append(terms, fmt.Sprintf("%s eq '%s'", t[0], strings.ReplaceAll(t[1], "'", "''")))
				}
			}
			path := "/subscriptions/" + o.subscription
			if group != "" {
				path += "/resourceGroups/" + group
			}
			path += "/resources"
			if len(terms) > 0 {
				path += "?$filter=" + url.QueryEscape(strings.Join(terms, " and "))
			}
			all, err := o.getAll(o.ctx, path, "2020-06-01")
			if err != nil {
				return nil, fmt.Errorf("getting resources: %w", err)
			}
			list := []any{}
			for _, v := range all {
				doc := asObject(v)
				if !hasTags(asObject(doc["tags"]), asObject(config["required_tags"])) {
					continue
				}
				segs := strings.Split(asString(doc["id"]), "/")
				elem := map[string]any{"id": doc["id"], "name": doc["name"], "type": doc["type"], "location": doc["location"], "tags": doc["tags"]}
				if len(segs) > 4 {
					elem["resource_group_name"] = segs[4]
				}
				list = append(list, elem)
			}
			// azurerm makes a new ID each time
			return map[string]any{"id": "resource-" + o.subscription, "resources": list, "name": name, "type": typ, "resource_group_name": group}, nil
		},
	}
}

func hasTags(have, want map[string]any) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}
