package provider

import (
	"fmt"
	"strings"
)

// resourceProviderRegistration is that a namespace is registered in the
// subscription. Its features cannot be registered here.
func resourceProviderRegistration() *resourceType {
	return &resourceType{
		name:       "azurerm_resource_provider_registration",
		id:         idForm{pattern: "/subscriptions/{}/providers/{name}"},
		apiVersion: versions{3: "2022-09-01", 4: "2022-09-01", 5: "2022-09-01"},
		store:      registrationStore{},
	}
}

type registrationStore struct{}

func (registrationStore) state(o *operation) (string, error) {
	doc, err := o.get(o.ctx, o.id, o.version())
	return asString(doc["registrationState"]), err
}

func (s registrationStore) create(o *operation) error {
	state, err := s.state(o)
	if isNotFound(err) {
		return fmt.Errorf("the Resource Provider %q was not found", lastSegment(o.id))
	}
	if err != nil {
		return err
	}
	if strings.EqualFold(state, "Registered") {
		return o.alreadyExists()
	}
	return s.post(o, "register")
}

func (registrationStore) post(o *operation, what string) error {
	_, err := o.do(o.ctx, "POST", o.id+"/"+what, o.version(), nil)
	return err
}

func (s registrationStore) read(o *operation) (map[string]any, error) {
	state, err := s.state(o)
	if isNotFound(err) || err == nil && !strings.EqualFold(state, "Registered") {
		return nil, nil
	}
	return map[string]any{"name": lastSegment(o.id)}, err
}

// update has nothing to do: only the name and features could change.
func (registrationStore) update(*operation) error { return nil }

func (s registrationStore) remove(o *operation) error { return s.post(o, "unregister") }
