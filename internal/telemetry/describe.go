package telemetry

import (
	"context"
	"strings"
)

// TableInfo is a table that a workspace has.
type TableInfo struct {
	Name string
	// Custom tables are those that users made by sending to them.
	Custom  bool
	Columns []TableColumn
}

// TableColumn is a column of a table, with its type in KQL.
type TableColumn struct{ Name, Type string }

// WorkspaceTables describes the tables that queries of a workspace can read, in the
// order of their names. The workspace is given by its UID.
func (s *Service) WorkspaceTables(ctx context.Context, uid string) ([]TableInfo, error) {
	q := &source{s: s, space: uid, workspace: &Workspace{UID: uid}}
	names, err := q.Tables(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]TableInfo, 0, len(names))
	for _, name := range names {
		v, err := q.view(name)
		if err != nil {
			return nil, err
		}
		t := TableInfo{Name: name, Custom: strings.HasSuffix(name, customSuffix)}
		for _, c := range v.columns {
			t.Columns = append(t.Columns, TableColumn{Name: c.Name, Type: c.Type.String()})
		}
		out = append(out, t)
	}
	return out, nil
}
