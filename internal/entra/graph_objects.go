package entra

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// The sets of Microsoft Graph's directory.
const (
	setUsers             = "users"
	setGroups            = "groups"
	setApplications      = "applications"
	setServicePrincipals = "servicePrincipals"
)

// Application roles on Microsoft Graph that let a service principal change the
// directory.
const (
	GraphWriteUsers        = "User.ReadWrite.All"
	GraphWriteGroups       = "Group.ReadWrite.All"
	GraphWriteApplications = "Application.ReadWrite.All"
)

// graphRoutes is every operation there is.
func (d *Directory) graphRoutes() []graphRoute {
	one := func(typ string) func(*graphCall) (int, any, error) {
		return func(c *graphCall) (int, any, error) {
			p, err := c.find(typ)
			if err != nil {
				return 0, nil, err
			}
			return c.one(http.StatusOK, c.set(), graphObject(p))
		}
	}
	remove := func(typ string) func(*graphCall) (int, any, error) {
		return func(c *graphCall) (int, any, error) {
			p, err := c.find(typ)
			if err != nil {
				return 0, nil, err
			}
			if p.Kind == kindManagedIdentity {
				return 0, nil, badGraph("The service principal of a managed identity is removed with its resource.")
			}
			return http.StatusNoContent, nil, c.d.removePrincipal(c.tx, p) // an application stays
		}
	}
	users, groups, apps, sps := "/v1.0/"+setUsers, "/v1.0/"+setGroups, "/v1.0/"+setApplications, "/v1.0/"+setServicePrincipals
	return []graphRoute{
		{"GET /v1.0/me", "", (*graphCall).me},
		{"POST /v1.0/directoryObjects/getByIds", "", (*graphCall).byIDs},
		{"POST /v1.0/directoryObjects/{id}/checkMemberGroups", "", (*graphCall).checkMemberGroups},
		{"GET /v1.0/directoryObjects/{id}", "", (*graphCall).directoryObject},

		{"GET " + users, "", listPrincipals(setUsers, TypeUser, map[string]string{"userPrincipalName": byUPN})},
		{"POST " + users, GraphWriteUsers, (*graphCall).createUser},
		{"GET " + users + "/{id}", "", one(TypeUser)},
		{"PATCH " + users + "/{id}", GraphWriteUsers, (*graphCall).changeUser},
		{"DELETE " + users + "/{id}", GraphWriteUsers, remove(TypeUser)},
		{"POST " + users + "/{id}/getMemberGroups", "", (*graphCall).memberGroups},
		{"GET " + users + "/{id}/memberOf", "", (*graphCall).memberOf},

		{"GET " + groups, "", listPrincipals(setGroups, TypeGroup, nil)},
		{"POST " + groups, GraphWriteGroups, (*graphCall).createGroup},
		{"GET " + groups + "/{id}", "", one(TypeGroup)},
		{"PATCH " + groups + "/{id}", GraphWriteGroups, (*graphCall).changeGroup},
		{"DELETE " + groups + "/{id}", GraphWriteGroups, remove(TypeGroup)},
		{"GET " + groups + "/{id}/members", "", (*graphCall).members},
		{"POST " + groups + "/{id}/members/$ref", GraphWriteGroups, (*graphCall).addMember},
		{"DELETE " + groups + "/{id}/members/{member}/$ref", GraphWriteGroups, (*graphCall).removeMember},
		{"POST " + groups + "/{id}/getMemberGroups", "", (*graphCall).memberGroups},
		{"GET " + groups + "/{id}/memberOf", "", (*graphCall).memberOf},

		{"GET " + sps, "", listPrincipals(setServicePrincipals, TypeServicePrincipal,
			map[string]string{"appId": byAppID, "servicePrincipalNames": byAppID})},
		{"POST " + sps, GraphWriteApplications, (*graphCall).createServicePrincipal},
		{"GET " + sps + "/{id}", "", one(TypeServicePrincipal)},
		{"DELETE " + sps + "/{id}", GraphWriteApplications, remove(TypeServicePrincipal)},
		{"POST " + sps + "/{id}/getMemberGroups", "", (*graphCall).memberGroups},
		{"GET " + sps + "/{id}/memberOf", "", (*graphCall).memberOf},

		{"GET " + apps, "", (*graphCall).listApplications},
		{"POST " + apps, GraphWriteApplications, (*graphCall).createApplication},
		{"GET " + apps + "/{id}", "", (*graphCall).getApplication},
		{"PATCH " + apps + "/{id}", GraphWriteApplications, (*graphCall).changeApplication},
		{"DELETE " + apps + "/{id}", GraphWriteApplications, (*graphCall).deleteApplication},
		{"POST " + apps + "/{id}/addPassword", GraphWriteApplications, (*graphCall).addPassword},
		{"POST " + apps + "/{id}/removePassword", GraphWriteApplications, (*graphCall).removePassword},
	}
}

// find is the principal of a type that the path names: by object ID, and users by
// their UPN, too.
func (c *graphCall) find(typ string) (*principal, error) {
	id := c.r.PathValue("id")
	p, err := c.d.principal(c.tx, id)
	if errors.Is(err, ErrNoPrincipal) && typ == TypeUser {
		if p, err = first(&c.d.tables.principals, c.tx, byUPN, id); errors.Is(err, store.ErrNotFound) {
			err = ErrNoPrincipal
		}
	}
	if errors.Is(err, ErrNoPrincipal) || err == nil && p.Type != typ {
		return nil, noObject(id)
	}
	return p, err
}

func (c *graphCall) me() (int, any, error) {
	if c.caller.Type != TypeUser {
		return 0, nil, &graphError{http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow."}
	}
	return c.one(http.StatusOK, setUsers, graphObject(c.caller))
}

func (c *graphCall) directoryObject() (int, any, error) {
	doc, err := c.object(c.r.PathValue("id"))
	if errors.Is(err, ErrNoPrincipal) {
		return 0, nil, noObject(c.r.PathValue("id"))
	}
	if err != nil {
		return 0, nil, err
	}
	doc["@odata.context"] = graphAudience + "/v1.0/$metadata#directoryObjects/$entity"
	return http.StatusOK, doc, nil
}

// properties takes the given ones out of the body. What Graph has and Azimuth has
// not is refused with 501.
func (c *graphCall) properties(known ...string) (map[string]string, error) {
	out := map[string]string{}
	for name, v := range c.body {
		if !slices.Contains(known, name) {
			return nil, notInGraph("the property " + name + " of " + c.set())
		}
		switch v := v.(type) {
		case string:
			out[name] = v
		case bool:
			out[name] = fmt.Sprint(v)
		case nil:
			out[name] = ""
		}
	}
	return out, nil
}

func required(values map[string]string, names ...string) error {
	for _, name := range names {
		if values[name] == "" {
			return badGraph("A value is required for property '%s' of resource.", name)
		}
	}
	return nil
}

// set gives a principal the properties of a body that it takes as they are.
func (p *principal) set(values map[string]string) {
	for name, v := range values {
		switch name {
		case "displayName":
			p.DisplayName = v
		case "mailNickname":
			p.MailNickname = v
		case "description":
			p.Description = v
		case "accountEnabled":
			p.Disabled = v == "false"
		}
	}
}

const minPassword = 8 // characters, as Entra's password policy has it

// setPassword takes passwordProfile.password of the body.
func (c *graphCall) setPassword(p *principal) error {
	profile, _ := c.body["passwordProfile"].(map[string]any)
	if profile == nil {
		return nil
	}
	password, _ := profile["password"].(string)
	if len(password) < minPassword || len(password) > 256 {
		return badGraph("The specified password does not comply with password complexity requirements. Please provide a different password.")
	}
	hashed, err := hashPassword(password)
	if err != nil {
		return err
	}
	p.Password = &hashed
	return nil
}

func (c *graphCall) createUser() (int, any, error) {
	in, err := c.properties("displayName", "userPrincipalName", "mailNickname", "accountEnabled", "passwordProfile", "userType")
	if err == nil {
		err = required(in, "accountEnabled", "displayName", "mailNickname", "userPrincipalName")
	}
	if err == nil && c.body["passwordProfile"] == nil {
		err = badGraph("A password must be specified to create a new user.")
	}
	if err != nil {
		return 0, nil, err
	}
	upn := in["userPrincipalName"]
	if name, domain, _ := strings.Cut(upn, "@"); name == "" || !strings.EqualFold(domain, c.d.cfg.Domain) {
		return 0, nil, badGraph("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.")
	}
	switch _, err := first(&c.d.tables.principals, c.tx, byUPN, upn); {
	case err == nil:
		return 0, nil, badGraph("Another object with the same value for property userPrincipalName already exists.")
	case !errors.Is(err, store.ErrNotFound):
		return 0, nil, err
	}
	p := &principal{ObjectID: newID(), Type: TypeUser, UPN: upn, Created: c.d.cfg.Clock.Now()}
	p.set(in)
	if err := c.setPassword(p); err != nil {
		return 0, nil, err
	}
	if err := c.d.tables.principals.Put(c.tx, p); err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusCreated, setUsers, graphObject(p))
}

func (c *graphCall) changeUser() (int, any, error) {
	p, err := c.find(TypeUser)
	if err != nil {
		return 0, nil, err
	}
	in, err := c.properties("displayName", "mailNickname", "accountEnabled", "passwordProfile")
	if err != nil {
		return 0, nil, err
	}
	p.set(in)
	if err := c.setPassword(p); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.d.tables.principals.Put(c.tx, p)
}

func (c *graphCall) createGroup() (int, any, error) {
	in, err := c.properties("displayName", "description", "mailEnabled", "mailNickname", "securityEnabled", "groupTypes")
	if err == nil {
		err = required(in, "displayName", "mailEnabled", "mailNickname", "securityEnabled")
	}
	if err != nil {
		return 0, nil, err
	}
	if types, _ := c.body["groupTypes"].([]any); in["mailEnabled"] == "true" || in["securityEnabled"] == "false" || len(types) > 0 {
		return 0, nil, notInGraph("a group that is not a security group with assigned members")
	}
	made, err := c.d.CreateGroup(c.tx, in["displayName"])
	if err != nil {
		return 0, nil, err
	}
	p, err := c.d.principal(c.tx, made.ObjectID)
	if err != nil {
		return 0, nil, err
	}
	p.set(in)
	if err := c.d.tables.principals.Put(c.tx, p); err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusCreated, setGroups, graphObject(p))
}

func (c *graphCall) changeGroup() (int, any, error) {
	p, err := c.find(TypeGroup)
	if err != nil {
		return 0, nil, err
	}
	in, err := c.properties("displayName", "description", "mailNickname")
	if err != nil {
		return 0, nil, err
	}
	p.set(in)
	return http.StatusNoContent, nil, c.d.tables.principals.Put(c.tx, p)
}

// objects answers with a list of any objects.
func (c *graphCall) objects(all []*principal) (int, any, error) {
	value := []any{}
	for _, p := range all {
		doc := graphObject(p)
		if names := c.r.URL.Query().Get("$select"); names != "" {
			selectOnly(doc, names+",@odata.type")
		}
		value = append(value, doc)
	}
	return http.StatusOK, map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#directoryObjects", "value": value}, nil
}

func (c *graphCall) members() (int, any, error) {
	g, err := c.find(TypeGroup)
	if err != nil {
		return 0, nil, err
	}
	all, err := c.d.membersOf(c.tx, g.ObjectID)
	if err != nil {
		return 0, nil, err
	}
	return c.objects(all)
}

func (c *graphCall) addMember() (int, any, error) {
	g, err := c.find(TypeGroup)
	if err != nil {
		return 0, nil, err
	}
	ref, _ := c.body["@odata.id"].(string)
	id := ref[strings.LastIndexByte(ref, '/')+1:]
	if id == "" {
		return 0, nil, badGraph("The reference has no @odata.id.")
	}
	m, err := c.d.principal(c.tx, id)
	if errors.Is(err, ErrNoPrincipal) {
		return 0, nil, noObject(id)
	}
	if err != nil {
		return 0, nil, err
	}
	_, err = c.d.tables.members.Get(c.tx, g.ObjectID+"|"+m.ObjectID)
	switch {
	case err == nil:
		return 0, nil, badGraph("One or more added object references already exist for the following modified properties: 'members'.")
	case !errors.Is(err, store.ErrNotFound):
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.d.AddMember(c.tx, g.ObjectID, m.ObjectID)
}

func (c *graphCall) removeMember() (int, any, error) {
	g, err := c.find(TypeGroup)
	if err != nil {
		return 0, nil, err
	}
	member := strings.ToLower(c.r.PathValue("member"))
	was, err := c.d.RemoveMember(c.tx, g.ObjectID, member)
	if err == nil && !was {
		err = noObject(member)
	}
	return http.StatusNoContent, nil, err
}

// groupsOf is the groups of the object that the path names.
func (c *graphCall) groupsOf() ([]string, error) {
	id := c.r.PathValue("id")
	p, err := c.d.principal(c.tx, id)
	if errors.Is(err, ErrNoPrincipal) {
		if p, err = c.find(TypeUser); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return c.d.Groups(c.tx, p.ObjectID)
}

func (c *graphCall) memberGroups() (int, any, error) {
	groups, err := c.groupsOf()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, texts(groups), nil
}

func (c *graphCall) checkMemberGroups() (int, any, error) {
	groups, err := c.groupsOf()
	if err != nil {
		return 0, nil, err
	}
	asked := stringsIn(c.body["groupIds"])
	return http.StatusOK, texts(slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		return !slices.ContainsFunc(asked, func(a string) bool { return strings.EqualFold(a, g) })
	})), nil
}

func texts(values []string) any {
	if values == nil {
		values = []string{}
	}
	return map[string]any{"@odata.context": graphAudience + "/v1.0/$metadata#Collection(Edm.String)", "value": values}
}

// memberOf is the groups that the object is directly in.
func (c *graphCall) memberOf() (int, any, error) {
	id := strings.ToLower(c.r.PathValue("id"))
	if p, err := c.find(TypeUser); err == nil {
		id = p.ObjectID
	} else if _, err := c.d.principal(c.tx, id); errors.Is(err, ErrNoPrincipal) {
		return 0, nil, noObject(id)
	} else if err != nil {
		return 0, nil, err
	}
	var all []*principal
	for m, err := range c.d.tables.members.By(c.tx, byMember, store.Range{Prefix: store.Exact(id)}) {
		if err != nil {
			return 0, nil, err
		}
		g, err := c.d.principal(c.tx, m.Group)
		if err != nil {
			return 0, nil, err
		}
		all = append(all, g)
	}
	return c.objects(all)
}

func graphTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
