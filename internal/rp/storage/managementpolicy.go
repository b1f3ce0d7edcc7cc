package storage

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// LifecycleRule is a rule of a management policy that is switched on.
type LifecycleRule struct {
	// Prefixes begin with the name of a container. None means all blobs.
	Prefixes []string
	// BlobTypes are "blockBlob" and "appendBlob".
	BlobTypes []string
	// Tags are index tags that a blob must have, all of them.
	Tags map[string]string
	// Base is about blobs, Snapshot and Version about what they were.
	Base, Snapshot, Version LifecycleActions
}

// LifecycleActions says at which age what happens; nil is never.
type LifecycleActions struct{ Delete, TierToCold, TierToCool *LifecycleAge }

// LifecycleAge is an age in days, since the moments that are not nil.
type LifecycleAge struct{ Created, Modified *float64 }

// The limits of policies, as Microsoft's "Lifecycle management policy structure"
// has them.
const (
	maxRules    = 100
	maxPrefixes = 10
	maxTagTerms = 10
)

// managementPolicy is the policy of an account. The blob data plane carries it out.
func (p *provider) managementPolicy() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                AccountType + "/managementPolicies",
		NoProvisioningState: true,
		PutStatus:           [2]int{http.StatusOK, http.StatusOK},
		Methods:             []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Name:                arm.NameRule{Pattern: regexp.MustCompile(`^default$`), Text: "A management policy is named default."},
		Validate: func(_ context.Context, put *arm.Put) error {
			if err := supports(put.Parent, "Blob", "blob"); err != nil {
				return err
			}
			_, err := lifecycleRules(put.Resource.Body)
			return err
		},
		Put: func(ctx context.Context, put *arm.Put) error {
			rules, err := lifecycleRules(put.Resource.Body)
			if err != nil {
				return err
			}
			put.Resource.Body.Set("properties.lastModifiedTime", arm.Timestamp(put.Now))
			return p.Containers.SetLifecycle(ctx, put.Tx, put.Parent.UID, rules)
		},
		Delete: func(ctx context.Context, d *arm.Delete) error {
			account, err := p.accountOf(ctx, d.Tx, d.Resource.ParsedID())
			if err != nil {
				return err
			}
			return p.Containers.SetLifecycle(ctx, d.Tx, account.UID, nil)
		},
		Default: func(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
			return nil, arm.Errorf(http.StatusNotFound, "ManagementPolicyNotFound", "No ManagementPolicy found for account %s", id.Parent().Name())
		},
	}
}

// policyRefused is the answer to a bad policy. Azure's own words are not known.
func policyRefused(format string, args ...any) error {
	return arm.InvalidProperty("properties.policy", format, args...)
}

// lifecycleRules reads a policy. What it may say and Azimuth does not do answers
// 501; rules that are switched off are checked, and not returned.
func lifecycleRules(body arm.Doc) ([]LifecycleRule, error) {
	list := body.List("properties.policy.rules")
	if len(list) == 0 || len(list) > maxRules {
		return nil, policyRefused("The policy has %d rules; it has 1 to %d.", len(list), maxRules)
	}
	names := map[string]bool{}
	var out []LifecycleRule
	for _, v := range list {
		m, _ := v.(map[string]any)
		doc := arm.Doc(m)
		name := doc.String("name")
		if name == "" || len(name) > 256 || names[name] {
			return nil, policyRefused("The rule name '%s' is empty, longer than 256 characters, or there twice.", name)
		}
		names[name] = true
		if t := doc.String("type"); t != "Lifecycle" {
			return nil, policyRefused("The type '%s' of rule '%s' is not Lifecycle.", t, name)
		}
		r, err := lifecycleRule(doc)
		if err != nil {
			return nil, err
		}
		if doc.Bool("enabled", true) {
			out = append(out, *r)
		}
	}
	return out, nil
}

func lifecycleRule(doc arm.Doc) (*LifecycleRule, error) {
	name := doc.String("name")
	r := &LifecycleRule{Tags: map[string]string{}}
	filters := doc.Object("definition.filters")
	for _, v := range filters.List("blobTypes") {
		s, _ := v.(string)
		t, ok := match(s, []string{"blockBlob", "appendBlob"})
		if !ok {
			return nil, policyRefused("The blob type '%s' of rule '%s' is not blockBlob or appendBlob.", s, name)
		}
		r.BlobTypes = append(r.BlobTypes, t)
	}
	if len(r.BlobTypes) == 0 {
		return nil, policyRefused("The rule '%s' has no blobTypes.", name)
	}
	for _, v := range filters.List("prefixMatch") {
		s, _ := v.(string)
		if s == "" || strings.HasPrefix(s, "/") {
			return nil, policyRefused("The prefix '%s' of rule '%s' does not begin with the name of a container.", s, name)
		}
		r.Prefixes = append(r.Prefixes, s)
	}
	tags := filters.List("blobIndexMatch")
	if len(r.Prefixes) > maxPrefixes || len(tags) > maxTagTerms {
		return nil, policyRefused("The rule '%s' has more than %d prefixes or %d tags.", name, maxPrefixes, maxTagTerms)
	}
	for _, v := range tags {
		m, _ := v.(map[string]any)
		tag := arm.Doc(m)
		if tag.String("op") != "==" || tag.String("name") == "" {
			return nil, policyRefused("A tag of rule '%s' has no name, or another op than ==.", name)
		}
		r.Tags[tag.String("name")] = tag.String("value")
	}
	actions := doc.Object("definition.actions")
	found := 0
	for part, to := range map[string]*LifecycleActions{"baseBlob": &r.Base, "snapshot": &r.Snapshot, "version": &r.Version} {
		n, err := lifecycleActions(to, actions.Object(part), name, part, r)
		if err != nil {
			return nil, err
		}
		found += n
	}
	if found == 0 {
		return nil, policyRefused("The rule '%s' has no action.", name)
	}
	return r, nil
}

// lifecycleActions reads what a rule does, and returns how many actions that are.
func lifecycleActions(to *LifecycleActions, doc arm.Doc, rule, part string, r *LifecycleRule) (int, error) {
	if doc == nil {
		return 0, nil
	}
	what := func(format string, args ...any) error {
		return arm.NotImplemented("%s of rule '%s' in '%s'", fmt.Sprintf(format, args...), rule, AccountType+"/managementPolicies")
	}
	if len(r.Tags) > 0 && part != "baseBlob" && len(doc) > 0 {
		return 0, policyRefused("The rule '%s' filters by tags, which snapshots and versions cannot be.", rule)
	}
	if doc.Bool("enableAutoTierToHotFromCool", false) {
		return 0, what("enableAutoTierToHotFromCool (tracks reads)")
	}
	for name, age := range map[string]**LifecycleAge{"delete": &to.Delete, "tierToCold": &to.TierToCold, "tierToCool": &to.TierToCool, "tierToArchive": nil, "tierToHot": nil} {
		days := doc.Object(name)
		if days == nil {
			continue
		}
		if age == nil {
			return 0, what("%s (there is no such tier, or it is of premium accounts)", name)
		}
		if name != "delete" && slices.Equal(r.BlobTypes, []string{"appendBlob"}) {
			return 0, policyRefused("The action '%s' of rule '%s' is not supported for append blobs.", name, rule)
		}
		if days.Has("daysAfterLastAccessTimeGreaterThan") {
			return 0, what("%s.daysAfterLastAccessTimeGreaterThan (tracks reads)", name)
		}
		a := &LifecycleAge{}
		n := 0
		for property, at := range map[string]**float64{"daysAfterCreationGreaterThan": &a.Created, "daysAfterModificationGreaterThan": &a.Modified} {
			v := days.Get(property)
			if v == nil {
				continue
			}
			f, ok := v.(float64)
			if !ok || f < 0 || f > 99999 || part != "baseBlob" && at == &a.Modified {
				return 0, policyRefused("The value '%v' is not allowed for %s.%s.%s of rule '%s'.", v, part, name, property, rule)
			}
			n++
			*at = &f
		}
		if n != 1 {
			return 0, policyRefused("The action %s.%s of rule '%s' has not exactly one age.", part, name, rule)
		}
		*age = a
	}
	n := 0
	for _, a := range []*LifecycleAge{to.Delete, to.TierToCold, to.TierToCool} {
		if a != nil {
			n++
		}
	}
	return n, nil
}
