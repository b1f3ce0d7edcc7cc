package network

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Endpoint is a private endpoint to be connected. It need not be a resource of this
// subscription: services keep some in networks of their own.
type Endpoint struct {
	// ID is what connections name as the endpoint, Name begins the connection's
	// name.
	ID, Name string
	// Approved makes the connection at once. Others wait for an owner of the
	// target, who is shown Message.
	Approved bool
	Message  string
	By       arm.Author
	At       time.Time
}

// EndpointGroups are the groups of a resource to which private endpoints can lead,
// by the type of the resource; ok is false where Azimuth knows no endpoints to the
// type.
func EndpointGroups(target *arm.Resource) (groups []string, ok bool) {
	t, ok := findTarget(target.ParsedID().Type())
	if !ok {
		return nil, false
	}
	for _, g := range t.groups(target) {
		groups = append(groups, g.id)
	}
	return groups, true
}

// IsEndpointTarget reports whether private endpoints can lead to resources of a type.
func IsEndpointTarget(typ string) bool {
	_, ok := findTarget(typ)
	return ok
}

// ApprovalAction is what somebody must be allowed to do at a target of the given
// type for connections to be approved at once.
func ApprovalAction(typ string) string { return typ + "/PrivateEndpointConnectionsApproval/action" }

// Connect makes the connection of an endpoint at a target, and returns the
// connection's ID. The group is one of EndpointGroups.
func Connect(tx store.Tx, res *arm.Resources, target *arm.Resource, group string, e Endpoint) (string, error) {
	t, ok := findTarget(target.ParsedID().Type())
	if !ok {
		return "", fmt.Errorf("connect to %s: no endpoints lead to its type", target.ID)
	}
	for _, g := range t.groups(target) {
		if strings.EqualFold(g.id, group) {
			group = g.id
		}
	}
	state := map[string]any{"status": "Approved", "description": "Auto-Approved", t.required: "None"}
	if !e.Approved {
		state["status"], state["description"] = "Pending", e.Message
	}
	conn := &arm.Resource{
		ID:  target.ParsedID().Child("privateEndpointConnections", e.Name+"."+uuid.NewString()).String(),
		UID: uuid.NewString(), ETag: uuid.NewString(), Private: arm.Doc{},
		Created: e.At, CreatedBy: e.By, Modified: e.At, ModifiedBy: e.By,
		Body: arm.Doc{"properties": map[string]any{
			"privateEndpoint": map[string]any{"id": e.ID}, "groupIds": []any{group},
			"privateLinkServiceConnectionState": state,
		}},
	}
	return conn.ID, res.Put(tx, conn)
}

// ConnectionState is the state of a connection of private endpoints: Approved,
// Pending, Rejected or Disconnected.
func ConnectionState(connection *arm.Resource) string {
	return connection.Body.String("properties.privateLinkServiceConnectionState.status")
}
