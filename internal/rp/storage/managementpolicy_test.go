package storage_test

import (
	"net/http"
	"strings"
	"testing"
)

// policyOf is a policy of one rule with filters and actions.
func policyOf(filters, actions string) string {
	return `{"properties":{"policy":{"rules":[{"name":"old","enabled":true,"type":"Lifecycle","definition":{"filters":{` + filters + `},"actions":{` + actions + `}}}]}}}`
}

func TestManagementPolicy(t *testing.T) {
	e, data := newEnv(t)
	e.Want(http.StatusOK, "PUT", account, body(``))
	at := account + "/managementPolicies/default"
	const blocks = `"blobTypes":["blockBlob"]`
	r := e.Want(http.StatusOK, "PUT", at, policyOf(blocks+`,"prefixMatch":["data/tmp"],"blobIndexMatch":[{"name":"k","op":"==","value":"v"}]`,
		`"baseBlob":{"tierToCool":{"daysAfterModificationGreaterThan":30},"delete":{"daysAfterCreationGreaterThan":90}}`))
	if r.Body.String("properties.lastModifiedTime") == "" || r.Body.String("name") != "default" {
		t.Errorf("policy %v", r)
	}
	if len(data.rules) != 1 || data.rules[0].Prefixes[0] != "data/tmp" || data.rules[0].Tags["k"] != "v" || *data.rules[0].Base.TierToCool.Modified != 30 ||
		*data.rules[0].Base.Delete.Created != 90 || data.rules[0].Base.TierToCold != nil {
		t.Errorf("rules %+v", data.rules)
	}
	for name, c := range map[string]struct {
		status              int
		code, text          string
		filters, actionText string
	}{
		"archive":     {501, "NotImplementedByAzimuth", "tierToArchive", blocks, `"baseBlob":{"tierToArchive":{"daysAfterModificationGreaterThan":1}}`},
		"last access": {501, "NotImplementedByAzimuth", "LastAccess", blocks, `"baseBlob":{"delete":{"daysAfterLastAccessTimeGreaterThan":1}}`},
		"hot again":   {501, "NotImplementedByAzimuth", "enableAutoTier", blocks, `"baseBlob":{"enableAutoTierToHotFromCool":true}`},
		"no action":   {400, "InvalidParameterValue", "no action", blocks, ``},
		"no type":     {400, "InvalidParameterValue", "blobTypes", ``, `"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1}}`},
		"page blobs":  {400, "InvalidParameterValue", "pageBlob", `"blobTypes":["pageBlob"]`, `"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1}}`},
		"tags":        {400, "InvalidParameterValue", "tags", blocks + `,"blobIndexMatch":[{"name":"k","op":"==","value":"v"}]`, `"snapshot":{"delete":{"daysAfterCreationGreaterThan":1}}`},
		"modified":    {400, "InvalidParameterValue", "not allowed", blocks, `"version":{"delete":{"daysAfterModificationGreaterThan":1}}`},
		"two ages":    {400, "InvalidParameterValue", "one age", blocks, `"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1,"daysAfterCreationGreaterThan":1}}`},
		"append":      {400, "InvalidParameterValue", "append", `"blobTypes":["appendBlob"]`, `"baseBlob":{"tierToCool":{"daysAfterModificationGreaterThan":1}}`},
	} {
		t.Run(name, func(*testing.T) {
			e.Refused(c.status, c.code, c.text, "PUT", at, policyOf(c.filters, c.actionText))
		})
	}
	e.Refused(400, "InvalidParameterValue", "0 rules", "PUT", at, `{"properties":{"policy":{"rules":[]}}}`)
	e.Refused(400, "InvalidResourceName", "default", "PUT", account+"/managementPolicies/other", policyOf(blocks, `"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1}}`))
	e.Want(http.StatusOK, "PUT", at, strings.Replace(policyOf(blocks, `"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1}}`), `"enabled":true`, `"enabled":false`, 1))
	if len(data.rules) != 0 {
		t.Errorf("a rule that is switched off: %+v", data.rules)
	}
	e.Want(http.StatusOK, "DELETE", at, nil)
	e.Refused(404, "ManagementPolicyNotFound", "stone", "GET", at, nil)
}
