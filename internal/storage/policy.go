package storage

import (
	"encoding/xml"
	"net/http"
	"strings"
)

// AccessPolicy is a stored access policy; empty fields are left to the SAS.
type AccessPolicy struct {
	ID          string `json:"id"`
	Start       string `json:"start,omitempty"`
	Expiry      string `json:"expiry,omitempty"`
	Permissions string `json:"perm,omitempty"`
}

// FindPolicy returns the policy with the ID, nil if there is none.
func FindPolicy(all []AccessPolicy, id string) *AccessPolicy {
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

// Policies writes the element SignedIdentifiers.
func (x *XML) Policies(all []AccessPolicy) {
	x.Raw("<SignedIdentifiers>")
	for _, p := range all {
		x.Raw("<SignedIdentifier>")
		x.Element("Id", p.ID)
		x.Raw("<AccessPolicy>")
		x.Optional("Start", p.Start)
		x.Optional("Expiry", p.Expiry)
		x.Optional("Permission", p.Permissions)
		x.Raw("</AccessPolicy></SignedIdentifier>")
	}
	x.Raw("</SignedIdentifiers>")
}

// signedIdentifiers is the document of stored access policies.
type signedIdentifiers struct {
	XMLName    xml.Name `xml:"SignedIdentifiers"`
	Identifier []struct {
		ID     string `xml:"Id"`
		Policy struct {
			Start, Expiry, Permission string
		} `xml:"AccessPolicy"`
	} `xml:"SignedIdentifier"`
}

// ReadPolicies reads up to five stored access policies with permissions of the
// letters.
func ReadPolicies(r *http.Request, letters string) ([]AccessPolicy, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	var in signedIdentifiers
	if err := ReadXML(r, &in); err != nil {
		return nil, err
	}
	if len(in.Identifier) > 5 {
		return nil, Refuse("InvalidXmlDocument").With("Reason", "There are at most five stored access policies.")
	}
	var out []AccessPolicy
	seen := map[string]bool{}
	for _, id := range in.Identifier {
		p := AccessPolicy{ID: id.ID, Start: id.Policy.Start, Expiry: id.Policy.Expiry, Permissions: id.Policy.Permission}
		if p.ID == "" || len(p.ID) > 64 || seen[p.ID] {
			return nil, Refuse("InvalidXmlNodeValue").With("XmlNodeName", "Id").With("XmlNodeValue", p.ID)
		}
		seen[p.ID] = true
		for name, v := range map[string]string{"Start": p.Start, "Expiry": p.Expiry} {
			if _, ok := ParseSASTime(v); v != "" && !ok {
				return nil, Refuse("InvalidXmlNodeValue").With("XmlNodeName", name).With("XmlNodeValue", v)
			}
		}
		for _, r := range p.Permissions {
			if !strings.ContainsRune(letters, r) {
				return nil, Refuse("InvalidXmlNodeValue").With("XmlNodeName", "Permission").With("XmlNodeValue", p.Permissions)
			}
		}
		out = append(out, p)
	}
	return out, nil
}
