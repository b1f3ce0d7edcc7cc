package machinelearning

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A hub is a workspace that lends what it stands on, and its network, to projects,
// which are workspaces too. In Terraform they are azurerm_ai_foundry and
// azurerm_ai_foundry_project. What Azure AI Foundry itself serves in them (agents,
// models, prompt flows) is not here.

// The kinds of workspaces.
const (
	kindDefault = "Default"
	kindHub     = "Hub"
	kindProject = "Project"
)

func isKind(ws *arm.Resource, kind string) bool {
	return strings.EqualFold(ws.Body.String("kind"), kind)
}

// inherited are the properties that a project has of its hub. A request that sets one
// is refused: azurerm says that the service answers an error to a project's document
// that is sent back with them.
func inherited() []string {
	return []string{"storageAccount", "keyVault", "applicationInsights", "containerRegistry", "managedNetwork", "encryption"}
}

func hubIndex(id string) string { return "hub|" + arm.Key(id) }

// validateKind checks what is of hubs and projects alone, and gives a project what it
// inherits. Azure's words are not known.
func (p *provider) validateKind(ctx context.Context, put *arm.Put) error {
	const hubID = "properties.hubResourceId"
	body := put.Resource.Body
	body.Default("kind", kindDefault)
	if e := put.Existing; e != nil && !isKind(e, body.String("kind")) {
		return validationError("kind", "Workspace '%s' is of kind '%s', which cannot be changed to '%s'.", put.ID.Name(), e.Body.String("kind"), body.String("kind"))
	}
	body.Delete("properties.associatedWorkspaces") // is read from projects
	if !isKind(put.Resource, kindProject) {
		if body.String(hubID) != "" {
			return validationError(hubID, "Only a workspace of kind %s has a hub.", kindProject)
		}
		return nil
	}
	put.Keep(hubID)
	if err := put.Immutable(hubID); err != nil {
		return err
	}
	for _, name := range inherited() {
		if put.Request.Body.Has("properties." + name) {
			return validationError("properties."+name, "The property '%s' of project '%s' is that of its hub, and cannot be set.", name, put.ID.Name())
		}
	}
	parsed, err := arm.ParseID(body.String(hubID))
	if err != nil || !strings.EqualFold(parsed.Type(), WorkspaceType) {
		return validationError(hubID, "The property 'hubResourceId' of project '%s' is '%s', which is not the ID of a hub.", put.ID.Name(), body.String(hubID))
	}
	hub, err := p.kernel.Load(ctx, put.Tx, parsed)
	if err != nil {
		return err
	}
	if !isKind(hub, kindHub) {
		return validationError(hubID, "Workspace '%s' is of kind '%s' and has no projects.", hub.ID, hub.Body.String("kind"))
	}
	if at, is := arm.NormalizeLocation(hub.Body.String("location")), arm.NormalizeLocation(body.String("location")); at != is {
		return validationError("location", "Project '%s' is in location '%s', its hub in '%s'. They must be in the same.", put.ID.Name(), is, at)
	}
	inherit(put.Resource, hub)
	return nil
}

// inherit gives a project what its hub has.
func inherit(project, hub *arm.Resource) {
	for _, name := range append(inherited(), "publicNetworkAccess") {
		path := "properties." + name
		project.Body.Delete(path)
		if v := hub.Body.Clone().Get(path); v != nil {
			project.Body.Set(path, v)
		}
	}
}

// projects are those of a hub, in the order of their IDs.
func (p *provider) projects(tx store.Tx, hub string) ([]*arm.Resource, error) {
	var out []*arm.Resource
	for r, err := range p.kernel.Resources().Find(tx, WorkspaceType, hubIndex(hub)) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *arm.Resource) int { return strings.Compare(arm.Key(a.ID), arm.Key(b.ID)) })
	return out, nil
}

// inheritAll lets the projects of a hub follow it.
func (p *provider) inheritAll(tx store.Tx, hub *arm.Resource) error {
	if !isKind(hub, kindHub) {
		return nil
	}
	projects, err := p.projects(tx, hub.ID)
	if err != nil {
		return err
	}
	for _, r := range projects {
		inherit(r, hub)
		if err := p.kernel.Resources().Put(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// readHub lists a hub's projects in its document.
func (p *provider) readHub(tx store.Tx, r *arm.Resource) error {
	if !isKind(r, kindHub) {
		return nil
	}
	projects, err := p.projects(tx, r.ID)
	if err != nil {
		return err
	}
	ids := []any{}
	for _, project := range projects {
		ids = append(ids, project.ID)
	}
	r.Body.Set("properties.associatedWorkspaces", ids)
	return nil
}

// deleteHub refuses to remove a hub that has projects, unless they go with it.
// Azure's words, and its code, are not known.
func (p *provider) deleteHub(d *arm.Delete) error {
	if !isKind(d.Resource, kindHub) {
		return nil
	}
	projects, err := p.projects(d.Tx, d.Resource.ID)
	if err != nil {
		return err
	}
	var stay []string
	for _, r := range projects {
		if !d.GoesToo(r.ID) {
			stay = append(stay, r.ID)
		}
	}
	if len(stay) > 0 {
		return arm.Errorf(http.StatusConflict, "Conflict", "Hub '%s' has projects and cannot be deleted before them: %s.", d.Resource.Name(), strings.Join(stay, ", "))
	}
	return nil
}

// ofKind is the filter of lists of workspaces by ?kind=, which may name several.
func ofKind(req *arm.Request) func(*arm.Resource) bool {
	kinds := req.Query.Get("kind")
	if kinds == "" {
		return nil
	}
	return func(r *arm.Resource) bool {
		for k := range strings.SplitSeq(kinds, ",") {
			if isKind(r, strings.TrimSpace(k)) {
				return true
			}
		}
		return false
	}
}
