package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/entra"
)

// The kinds of identity and the sets of Microsoft Graph that they are in.
const (
	kindUser  = "user"
	kindGroup = "group"
	kindSP    = "sp"
)

func graphSet(kind string) string {
	return map[string]string{kindUser: "users", kindGroup: "groups", kindSP: "servicePrincipals"}[kind]
}

func (a *app) identityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "identity", Short: "Create users, groups and service principals, and give them roles",
		Long: `Create users, groups and service principals in the directory, and give them roles.
It is a short way to what "az ad" does through Microsoft Graph.`,
		Example: `  azimuth identity create sp deployer --role Contributor > deployer.json
  azimuth up --as deployer.json infra
  azimuth identity create user ada && azimuth identity create group ml-team
  azimuth identity add ml-team ada`,
	}
	cmd.AddCommand(a.identityCreate(), a.identityList(), a.identityShow(), a.identityDelete(), a.identityMember("add"), a.identityMember("remove"))
	return cmd
}

// identity is a principal as it is printed. A secret is printed once, when it is
// made; the fields of a service principal are those of entra.Credentials.
type identity struct {
	Kind           string   `json:"kind"`
	DisplayName    string   `json:"displayName"`
	UPN            string   `json:"userPrincipalName,omitempty"`
	Password       string   `json:"password,omitempty"`
	ObjectID       string   `json:"objectId"`
	ClientID       string   `json:"clientId,omitempty"`
	ClientSecret   string   `json:"clientSecret,omitempty"`
	TenantID       string   `json:"tenantId,omitempty"`
	SubscriptionID string   `json:"subscriptionId,omitempty"`
	Members        []string `json:"members,omitempty"`
	// Groups are those that it is directly in, Roles what it is assigned, also
	// through groups; "show" alone tells them.
	Groups []string `json:"groups,omitempty"`
	Roles  []role   `json:"roles,omitempty"`
}

// role is an assignment as it is printed.
type role struct {
	Name      string `json:"name"`
	Scope     string `json:"scope"`
	Condition string `json:"condition,omitempty"`
}

func (a *app) identityCreate() *cobra.Command {
	var role, scope, password string
	cmd := &cobra.Command{
		Use: "create user|group|sp NAME", Short: "Create a user, a group or a service principal",
		Long: `Create a user, a group or a service principal (sp), and give it a role if one is
named. The password of a user and the secret of a service principal are printed
once, and kept nowhere in the clear.`,
		Example: `  azimuth identity create sp deployer --role Contributor > deployer.json
  azimuth identity create user ada --password 'correct horse'
  azimuth identity create group ml-team --role "AzureML Data Scientist"`,
		ValidArgs: []string{kindUser, kindGroup, kindSP},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 || graphSet(args[0]) == "" || args[1] == "" {
				return usagef("%s takes user, group or sp, and a name", cmd.CommandPath())
			}
			if password != "" && args[0] != kindUser {
				return usagef("only a user has a password")
			}
			return nil
		},
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			var roleID string
			if role != "" { // before there is anybody to give it to
				if scope == "" {
					scope = "/subscriptions/" + s.owner.SubscriptionID
				}
				var err error
				if roleID, err = s.findRole(ctx, scope, role); err != nil {
					return err
				}
			}
			id, err := s.createIdentity(ctx, args[0], args[1], password)
			if err != nil {
				return fmt.Errorf("create %s %s: %w", args[0], args[1], err)
			}
			if roleID != "" {
				if err := s.assignRole(ctx, scope, roleID, id); err != nil {
					return fmt.Errorf("give %s the role %s at %s: %w", args[1], role, scope, err)
				}
			}
			return a.print("json", id, func() *table {
				t := &table{header: []string{"kind", "name", "object ID", "client ID", "secret"}}
				t.add(id.Kind, id.name(), id.ObjectID, id.ClientID, id.ClientSecret+id.Password)
				return t
			})
		}),
	}
	cmd.Flags().StringVar(&role, "role", "", "name of a role to give it, such as Contributor")
	cmd.Flags().StringVar(&scope, "scope", "", "where: the ID of a resource, a resource group or (default) the subscription")
	cmd.Flags().StringVar(&password, "password", "", "password of a user (default: one is made up and printed)")
	return cmd
}

func (i *identity) name() string {
	if i.UPN != "" {
		return i.UPN
	}
	return i.DisplayName
}

func (s *session) graph(ctx context.Context, method, path string, in, out any) error {
	return s.client.DoURL(ctx, method, client.GraphURL+"/v1.0/"+path, in, out)
}

func (s *session) createIdentity(ctx context.Context, kind, name, password string) (*identity, error) {
	out := &identity{Kind: kind, DisplayName: name}
	out.TenantID = s.owner.TenantID
	var made struct {
		ID, AppID, UserPrincipalName string
	}
	switch kind {
	case kindUser:
		out.UPN = name
		if !strings.Contains(name, "@") {
			out.UPN += "@" + entra.DefaultDomain
		}
		if password == "" {
			b := make([]byte, 15)
			rand.Read(b)
			password = base64.RawURLEncoding.EncodeToString(b)
			out.Password = password
		}
		nickname, _, _ := strings.Cut(name, "@")
		if err := s.graph(ctx, http.MethodPost, "users", map[string]any{
			"displayName": name, "userPrincipalName": out.UPN, "mailNickname": nickname, "accountEnabled": true,
			"passwordProfile": map[string]any{"password": password},
		}, &made); err != nil {
			return nil, err
		}
	case kindGroup:
		if err := s.graph(ctx, http.MethodPost, "groups", map[string]any{
			"displayName": name, "mailEnabled": false, "mailNickname": "group", "securityEnabled": true,
		}, &made); err != nil {
			return nil, err
		}
	case kindSP:
		var app struct{ ID, AppID string }
		var secret struct{ SecretText string }
		if err := s.graph(ctx, http.MethodPost, "applications", map[string]any{"displayName": name}, &app); err != nil {
			return nil, err
		}
		if err := s.graph(ctx, http.MethodPost, "applications/"+app.ID+"/addPassword", map[string]any{}, &secret); err != nil {
			return nil, err
		}
		if err := s.graph(ctx, http.MethodPost, "servicePrincipals", map[string]any{"appId": app.AppID}, &made); err != nil {
			return nil, err
		}
		out.ClientID, out.ClientSecret, out.SubscriptionID = app.AppID, secret.SecretText, s.owner.SubscriptionID
	}
	out.ObjectID = made.ID
	return out, nil
}

const (
	roleVersion = "2022-04-01"
	roles       = "/providers/Microsoft.Authorization/"
)

// findRole is the ID of a role by its name.
func (s *session) findRole(ctx context.Context, scope, name string) (string, error) {
	if _, err := arm.ParseID(scope); err != nil {
		return "", usagef("--scope: %v", err)
	}
	filter := url.QueryEscape("roleName eq '" + strings.ReplaceAll(name, "'", "''") + "'")
	for doc, err := range client.List[arm.Doc](ctx, s.client, scope+roles+"roleDefinitions?$filter="+filter, roleVersion) {
		if err != nil {
			return "", fmt.Errorf("find the role %s: %w", name, err)
		}
		return doc.String("id"), nil
	}
	return "", hint(fmt.Errorf("there is no role %q", name), "List them with: azimuth exec -- az rest --url '%s%sroleDefinitions?api-version=%s' --query 'value[].properties.roleName'",
		scope, roles, roleVersion)
}

func (s *session) assignRole(ctx context.Context, scope, roleID string, id *identity) error {
	typ := map[string]string{kindUser: entra.TypeUser, kindGroup: entra.TypeGroup, kindSP: entra.TypeServicePrincipal}[id.Kind]
	return s.client.Do(ctx, http.MethodPut, scope+roles+"roleAssignments/"+uuid.NewString(), roleVersion, map[string]any{
		"properties": map[string]any{"roleDefinitionId": roleID, "principalId": id.ObjectID, "principalType": typ},
	}, nil)
}

// graphPrincipal is an object as Microsoft Graph shows it.
type graphPrincipal struct {
	ODataType         string `json:"@odata.type"`
	ID                string `json:"id"`
	AppID             string `json:"appId"`
	DisplayName       string `json:"displayName"`
	UserPrincipalName string `json:"userPrincipalName"`
	Type              string `json:"servicePrincipalType"`
}

func (p *graphPrincipal) identity(kind string) *identity {
	out := &identity{Kind: kind, DisplayName: p.DisplayName, UPN: p.UserPrincipalName}
	out.ObjectID, out.ClientID = p.ID, p.AppID
	if p.Type == "ManagedIdentity" {
		out.Kind = "managed identity"
	}
	return out
}

// graphList is all of a list, through its pages.
func (s *session) graphList(ctx context.Context, path string) ([]graphPrincipal, error) {
	var out []graphPrincipal
	for next := client.GraphURL + "/v1.0/" + path; next != ""; {
		var page struct {
			Value    []graphPrincipal `json:"value"`
			NextLink string           `json:"@odata.nextLink"`
		}
		if err := s.client.DoURL(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, err
		}
		out, next = append(out, page.Value...), page.NextLink
	}
	return out, nil
}

func (a *app) identityList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users, groups with their members, and service principals", Args: noArgs,
		RunE: a.withSession(func(ctx context.Context, s *session, _ []string) error {
			all := []*identity{}
			for _, kind := range []string{kindUser, kindGroup, kindSP} {
				found, err := s.graphList(ctx, graphSet(kind))
				if err != nil {
					return fmt.Errorf("list: %w", err)
				}
				for _, p := range found {
					id := p.identity(kind)
					if kind == kindGroup {
						if id.Members, err = s.names(ctx, "groups/"+p.ID+"/members"); err != nil {
							return fmt.Errorf("list: %w", err)
						}
					}
					all = append(all, id)
				}
			}
			return a.print("table", all, func() *table {
				t := &table{header: []string{"kind", "name", "object ID", "client ID", "members"}}
				for _, id := range all {
					t.add(id.Kind, id.name(), id.ObjectID, id.ClientID, strings.Join(id.Members, ", "))
				}
				return t
			})
		}),
	}
}

var errAmbiguous = errors.New("more than one has that name: give the object ID")

// findIdentity finds a principal by object ID, client ID, UPN, or name, in this
// order.
func (s *session) findIdentity(ctx context.Context, name string, kinds ...string) (*identity, error) {
	quoted := "'" + strings.ReplaceAll(name, "'", "''") + "'"
	for _, property := range []string{"id", "appId", "userPrincipalName", "displayName"} {
		var found []*identity
		for _, kind := range kinds {
			switch {
			case property == "id":
				var p graphPrincipal
				err := s.graph(ctx, http.MethodGet, graphSet(kind)+"/"+url.PathEscape(name), nil, &p)
				if client.IsNotFound(err) {
					continue
				}
				if err != nil {
					return nil, err
				}
				found = append(found, p.identity(kind))
				continue
			case property == "appId" && kind != kindSP, property == "userPrincipalName" && kind != kindUser:
				continue
			}
			value := quoted
			if property == "userPrincipalName" && !strings.Contains(name, "@") {
				value = strings.TrimSuffix(quoted, "'") + "@" + entra.DefaultDomain + "'"
			}
			all, err := s.graphList(ctx, graphSet(kind)+"?$filter="+url.QueryEscape(property+" eq "+value))
			if err != nil {
				return nil, err
			}
			for _, p := range all {
				found = append(found, p.identity(kind))
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, fmt.Errorf("%q: %w", name, errAmbiguous)
		}
	}
	return nil, hint(fmt.Errorf("there is no %s %q", strings.Join(kinds, " or "), name), "List what there is with: azimuth identity list")
}

func (a *app) identityDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a user, a group or a service principal", Args: oneArg("a name or an object ID"),
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			id, err := s.findIdentity(ctx, args[0], kindUser, kindGroup, kindSP)
			if err != nil {
				return err
			}
			if id.ObjectID == s.owner.ObjectID {
				return errors.New("that is the owner of this home, whom every command signs in as")
			}
			if id.Kind == kindSP { // the application with its secrets takes it along
				apps, err := s.graphList(ctx, "applications?$filter="+url.QueryEscape("appId eq '"+id.ClientID+"'"))
				if err != nil {
					return fmt.Errorf("delete %s: %w", args[0], err)
				}
				for _, app := range apps {
					if err := s.graph(ctx, http.MethodDelete, "applications/"+app.ID, nil, nil); err != nil {
						return fmt.Errorf("delete %s: %w", args[0], err)
					}
				}
				if len(apps) > 0 {
					return nil
				}
			}
			set := graphSet(id.Kind)
			if set == "" {
				set = graphSet(kindSP)
			}
			if err := s.graph(ctx, http.MethodDelete, set+"/"+id.ObjectID, nil, nil); err != nil {
				return fmt.Errorf("delete %s: %w", args[0], err)
			}
			return nil
		}),
	}
}

// identityMember is "add" and "remove".
func (a *app) identityMember(verb string) *cobra.Command {
	short := map[string]string{"add": "Put somebody into a group", "remove": "Take somebody out of a group"}[verb]
	return &cobra.Command{
		Use: verb + " GROUP MEMBER", Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("%s takes a group and a member", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			group, err := s.findIdentity(ctx, args[0], kindGroup)
			if err != nil {
				return err
			}
			member, err := s.findIdentity(ctx, args[1], kindUser, kindSP, kindGroup)
			if err != nil {
				return err
			}
			if verb == "add" {
				err = s.graph(ctx, http.MethodPost, "groups/"+group.ObjectID+"/members/$ref",
					map[string]any{"@odata.id": client.GraphURL + "/v1.0/directoryObjects/" + member.ObjectID}, nil)
			} else {
				err = s.graph(ctx, http.MethodDelete, "groups/"+group.ObjectID+"/members/"+member.ObjectID+"/$ref", nil, nil)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", verb, args[1], err)
			}
			return nil
		}),
	}
}
