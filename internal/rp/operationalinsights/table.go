package operationalinsights

import (
	"context"
	"net/http"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

const tableType = WorkspaceType + "/tables"

// Table is a table of a workspace.
type Table struct {
	Name string
	// Custom tables are those that users made.
	Custom  bool
	Columns []Column
}

// Column is a column of a table, with its type as KQL names it.
type Column struct{ Name, Type string }

// table shows the tables of a workspace. A table's own retention, plan and columns
// cannot be set: a PUT or PATCH is not implemented.
func (p *provider) table() *arm.ResourceType {
	return &arm.ResourceType{
		Type: tableType, Virtual: true,
		Methods: []string{http.MethodGet},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			ws, tables, err := p.tablesOf(ctx, tx, id.Parent())
			if err != nil {
				return nil, err
			}
			for _, t := range tables {
				if strings.EqualFold(t.Name, id.Name()) {
					return tableResource(ws, &t), nil
				}
			}
			return nil, nil
		},
		List: func(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
			page := &arm.Page{}
			err := p.kernel.Store().View(ctx, func(tx store.Tx) error {
				ws, tables, err := p.tablesOf(ctx, tx, parent)
				if err != nil {
					return err
				}
				page.Value = nil
				for _, t := range tables {
					doc, err := p.kernel.Render(ctx, tx, tableResource(ws, &t))
					if err != nil {
						return err
					}
					page.Value = append(page.Value, doc)
				}
				return nil
			})
			return page, err
		},
	}
}

func (p *provider) tablesOf(ctx context.Context, tx store.Tx, workspace arm.ID) (*arm.Resource, []Table, error) {
	ws, err := p.kernel.Load(ctx, tx, workspace)
	if err != nil || p.deps.Tables == nil {
		return ws, nil, err
	}
	tables, err := p.deps.Tables(ctx, ws.UID)
	return ws, tables, err
}

func tableResource(ws *arm.Resource, t *Table) *arm.Resource {
	columns := []any{}
	for _, c := range t.Columns {
		columns = append(columns, map[string]any{"name": c.Name, "type": c.Type, "isDefaultDisplay": false, "isHidden": false})
	}
	kind, standard, own := "Microsoft", columns, []any{}
	if t.Custom {
		kind, standard, own = "CustomLog", []any{}, columns
	}
	days := ws.Body.Int("properties.retentionInDays", 30)
	return &arm.Resource{ID: ws.ID + "/tables/" + t.Name, Private: arm.Doc{}, Body: arm.Doc{"properties": map[string]any{
		"plan": "Analytics", "retentionInDays": days, "totalRetentionInDays": days, "archiveRetentionInDays": 0,
		"retentionInDaysAsDefault": true, "totalRetentionInDaysAsDefault": true, "provisioningState": "Succeeded",
		"schema": map[string]any{
			"name": t.Name, "tableType": kind, "tableSubType": "Any", "solutions": []any{"LogManagement"},
			"standardColumns": standard, "columns": own,
		},
	}}}
}

// savedSearch keeps a query for people. One that is to be called as a function in
// queries is not implemented.
func (p *provider) savedSearch() *arm.ResourceType {
	return &arm.ResourceType{
		Type: WorkspaceType + "/savedSearches", NoProvisioningState: true, ETag: true,
		PutStatus: [2]int{http.StatusOK, http.StatusOK},
		Methods:   []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Unimplemented: map[string]string{
			"properties.functionAlias":      "makes a function of queries",
			"properties.functionParameters": "makes a function of queries",
		},
		Validate: func(_ context.Context, put *arm.Put) error {
			for _, name := range []string{"category", "displayName", "query"} {
				if put.Resource.Body.String("properties."+name) == "" {
					return arm.InvalidProperty("properties."+name, "The property '%s' of saved search '%s' is required.", name, put.ID.Name())
				}
			}
			put.Resource.Body.Default("properties.version", 2)
			return nil
		},
	}
}
