package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// resourceGroupTemplateDeployment is a deployment of a template. Destroying it
// deletes what the template made, unless the features block says otherwise.
func resourceGroupTemplateDeployment() *resourceType {
	return &resourceType{
		name:       "azurerm_resource_group_template_deployment",
		id:         idForm{pattern: "/subscriptions/{}/resourceGroups/{resource_group_name}/providers/Microsoft.Resources/deployments/{name}"},
		apiVersion: versions{3: "2020-06-01", 4: "2020-06-01", 5: "2020-06-01"},
		fields:     []field{ours("deployment_mode", "template_content", "parameters_content", "output_content", "debug_level", "template_spec_version_id", "tags")},
		store:      templateStore{},
		plan:       planTemplateDeployment,
	}
}

func planTemplateDeployment(c *change) {
	changed := false
	for _, name := range []string{"template_content", "parameters_content"} {
		s, ok := c.planned[name].(string)
		if !ok {
			changed = changed || isUnknown(c.planned[name])
			continue
		}
		normal, err := normalJSON(s)
		if err != nil {
			c.refuse(name, "%q contains invalid JSON: %w", name, err)
			continue
		}
		c.planned[name] = normal
		changed = changed || c.differs(name)
	}
	if changed && !c.create() {
		c.planned["output_content"] = unknown
	}
}

// normalJSON is JSON as azurerm keeps it in the state: without spaces and with names in
// order. No text stays none.
func normalJSON(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", nil
	}
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

type templateStore struct{}

func (templateStore) body(o *operation) (map[string]any, error) {
	props := map[string]any{"mode": o.planned["deployment_mode"]}
	for attr, name := range map[string]string{"template_content": "template", "parameters_content": "parameters"} {
		s := asString(o.planned[attr])
		if s == "" {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			return nil, fmt.Errorf("expanding `%s`: %w", attr, err)
		}
		props[name] = v
	}
	if level := asString(o.planned["debug_level"]); level != "" {
		props["debugSetting"] = map[string]any{"detailLevel": level}
	}
	if id := asString(o.planned["template_spec_version_id"]); id != "" {
		props["templateLink"] = map[string]any{"id": id}
	}
	doc := map[string]any{"properties": props}
	if tags := asObject(o.planned["tags"]); len(tags) > 0 {
		doc["tags"] = tags
	}
	return doc, nil
}

func (s templateStore) create(o *operation) error {
	if _, err := o.get(o.ctx, o.id, o.version()); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return err
	}
	return s.update(o)
}

func (s templateStore) update(o *operation) error {
	doc, err := s.body(o)
	if err != nil {
		return err
	}
	// azurerm validates first, with the same words for what is wrong
	if _, err := o.do(o.ctx, "POST", o.id+"/validate", o.version(), doc); err != nil {
		return fmt.Errorf("validating: %w", err)
	}
	return o.put(o.ctx, o.id, o.version(), doc)
}

func (templateStore) read(o *operation) (map[string]any, error) {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	exported, err := o.do(o.ctx, "POST", o.id+"/exportTemplate", o.version(), nil)
	if err != nil {
		return nil, fmt.Errorf("retrieving the template: %w", err)
	}
	args, err := o.typ.id.parseFold(o.id)
	if err != nil {
		return nil, err
	}
	params := map[string]any{}
	for name, v := range asObject(getPath(doc, "properties.parameters")) {
		param := map[string]any{}
		for k, x := range asObject(v) {
			if !strings.EqualFold(k, "type") {
				param[k] = x
			}
		}
		params[name] = param
	}
	state := map[string]any{
		"name": args["name"], "resource_group_name": args["resource_group_name"],
		"deployment_mode": getPath(doc, "properties.mode"), "template_spec_version_id": getPath(doc, "properties.templateLink.id"),
		"debug_level": getPath(doc, "properties.debugSetting.detailLevel"), "tags": doc["tags"],
	}
	for attr, v := range map[string]any{
		"template_content": exported.doc["template"], "parameters_content": params, "output_content": getPath(doc, "properties.outputs"),
	} {
		if v == nil {
			v = map[string]any{}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		state[attr] = string(b)
	}
	return state, nil
}

func (templateStore) remove(o *operation) error {
	if o.feature("template_deployment.delete_nested_items_during_deletion", true) {
		if err := removeDeployed(o); err != nil {
			return fmt.Errorf("removing items provisioned by this Template Deployment: %w", err)
		}
	}
	return o.remove(o.ctx, o.id, o.version())
}

// removeDeployed deletes what a deployment made. What is in use goes after what uses
// it: as azurerm does, it tries until nothing more goes.
func removeDeployed(o *operation) error {
	doc, err := o.get(o.ctx, o.id, o.version())
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	left := asList(getPath(doc, "properties.outputResources"))
	for len(left) > 0 {
		var still []any
		var errs []error
		for _, r := range left {
			id := asString(asObject(r)["id"])
			if err := o.remove(o.ctx, id, o.version()); err != nil && !isNotFound(err) {
				still, errs = append(still, r), append(errs, err)
			}
		}
		if len(still) == len(left) {
			return errors.Join(errs...)
		}
		left = still
	}
	return nil
}
