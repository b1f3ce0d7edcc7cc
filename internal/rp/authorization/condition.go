package authorization

import (
	"errors"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// checkCondition refuses a condition that is not understood, or that asks about
// what no service here tells: it could not be held to.
func checkCondition(condition, version string) error {
	if condition == "" {
		return nil
	}
	// The sentence is Azure's, which says no more; its code is not known.
	const invalid = "The given role assignment condition is invalid."
	if version != "" && version != abac.Version {
		return arm.BadRequest("BadRequest", "%s Its version is '%s'; it must be '%s'.", invalid, version, abac.Version)
	}
	c, err := abac.Parse(condition)
	if err != nil {
		return arm.BadRequest("BadRequest", "%s It is wrong %s.", invalid, err)
	}
	for _, a := range c.Attributes() {
		if !a.Told() {
			return arm.NotImplemented("conditions of role assignments on %s", a)
		}
	}
	return nil
}

// assignmentFacts tells conditions what is assigned to whom by a request that
// writes or removes an assignment: "constrained delegation".
// https://learn.microsoft.com/azure/role-based-access-control/delegate-role-assignments-overview
func (p *provider) assignmentFacts(req *arm.Request) *abac.Facts {
	return &abac.Facts{Attribute: func(tx store.Tx, a abac.Attribute) ([]string, error) {
		var props arm.Doc
		switch a.Source {
		case abac.FromRequest:
			if req.Body != nil {
				props = req.Body.Object("properties")
			}
		case abac.FromResource:
			r, err := p.kernel.Resources().Get(tx, req.ID.Key())
			if errors.Is(err, store.ErrNotFound) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			props = r.Body.Object("properties")
		case abac.FromEnvironment:
			if a.Name == abac.UTCNow {
				return []string{arm.Timestamp(req.Now)}, nil
			}
		}
		if props == nil {
			return nil, nil
		}
		switch a.Name {
		case abac.RoleDefinitionID:
			return some(guidOf(props.String("roleDefinitionId"))), nil
		case abac.PrincipalID:
			return some(props.String("principalId")), nil
		case abac.PrincipalType:
			// what the directory says, whatever the request says
			typ, ok, err := p.Directory.Lookup(tx, strings.ToLower(props.String("principalId")))
			if err != nil || !ok {
				return nil, err
			}
			return []string{typ}, nil
		}
		return nil, nil
	}}
}

func some(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}
