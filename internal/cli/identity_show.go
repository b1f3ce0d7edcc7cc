package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
)

// names are the names of a list of principals.
func (s *session) names(ctx context.Context, path string) ([]string, error) {
	found, err := s.graphList(ctx, path)
	var out []string
	for _, p := range found {
		out = append(out, p.identity("").name())
	}
	return out, err
}

func (a *app) identityShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show somebody with groups and roles", Args: oneArg("a name or an object ID"),
		RunE: a.withSession(func(ctx context.Context, s *session, args []string) error {
			id, err := s.findIdentity(ctx, args[0], kindUser, kindGroup, kindSP)
			if err != nil {
				return err
			}
			set := graphSet(id.Kind)
			if set == "" { // a managed identity
				set = graphSet(kindSP)
			}
			if id.Kind == kindGroup {
				if id.Members, err = s.names(ctx, set+"/"+id.ObjectID+"/members"); err != nil {
					return fmt.Errorf("show %s: %w", args[0], err)
				}
			}
			if id.Groups, err = s.names(ctx, set+"/"+id.ObjectID+"/memberOf"); err != nil {
				return fmt.Errorf("show %s: %w", args[0], err)
			}
			if id.Roles, err = s.rolesOf(ctx, id.ObjectID); err != nil {
				return fmt.Errorf("show the roles of %s: %w", args[0], err)
			}
			return a.print("table", id, func() *table {
				t := &table{header: []string{id.Kind, id.name()}, exact: true}
				add := func(name, value string) {
					if value != "" {
						t.add(name, value)
					}
				}
				add("object ID", id.ObjectID)
				add("client ID", id.ClientID)
				add("members", strings.Join(id.Members, ", "))
				add("in groups", strings.Join(id.Groups, ", "))
				for _, r := range id.Roles {
					text := r.Name + " at " + r.Scope
					if r.Condition != "" {
						text += " if " + strings.Join(strings.Fields(r.Condition), " ")
					}
					add("role", text)
				}
				return t
			})
		}),
	}
}

// rolesOf is what a principal is assigned in the subscription, also through groups.
func (s *session) rolesOf(ctx context.Context, objectID string) ([]role, error) {
	scope := "/subscriptions/" + s.owner.SubscriptionID
	var out []role
	known := map[string]string{}
	filter := url.QueryEscape("assignedTo('" + objectID + "')")
	for doc, err := range client.List[arm.Doc](ctx, s.client, scope+roles+"roleAssignments?$filter="+filter, roleVersion) {
		if err != nil {
			return nil, err
		}
		r := role{Scope: doc.String("properties.scope"), Condition: doc.String("properties.condition")}
		id := doc.String("properties.roleDefinitionId")
		if known[id] == "" {
			var def arm.Doc
			if err := s.client.Do(ctx, "GET", id, roleVersion, nil, &def); err != nil {
				return nil, err
			}
			known[id] = def.String("properties.roleName")
		}
		r.Name = known[id]
		out = append(out, r)
	}
	return out, nil
}
