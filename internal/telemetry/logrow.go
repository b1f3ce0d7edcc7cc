package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// LogRow is a row of one of Azure's tables for what resources log.
type LogRow struct {
	Table string
	At    time.Time
	// Resource is the ARM ID of what logged.
	Resource string
	// Columns has strings, int64, float64, bool, time.Time, and json.RawMessage
	// for dynamic columns. Others are not written.
	Columns map[string]any
}

// set sets a column to a text, if there is one.
func (r *LogRow) set(column, v string) {
	if v != "" {
		r.Columns[column] = v
	}
}

func (r *LogRow) write(b *logstore.Batch) {
	b.Begin(r.At)
	for _, name := range slices.Sorted(maps.Keys(r.Columns)) {
		switch v := r.Columns[name].(type) {
		case string:
			b.String(name, v)
		case int64:
			b.Int(name, v)
		case float64:
			b.Real(name, v)
		case bool:
			b.Bool(name, v)
		case time.Time:
			b.Time(name, v)
		case json.RawMessage:
			b.Dynamic(name, v)
		}
	}
	b.End()
}

// WriteLogs adds rows to tables of the workspace with the given ARM ID. The error
// for one that is not there wraps ErrNotFound.
func (s *Service) WriteLogs(ctx context.Context, workspace string, rows []LogRow) error {
	ws, err := s.cfg.Resources.Workspace(ctx, workspace)
	if err != nil {
		return fmt.Errorf("write resource logs: %w", err)
	}
	now := s.cfg.Clock.Now()
	batches := map[logstore.Key]*logstore.Batch{}
	for _, r := range rows {
		k := logstore.Key{Space: ws.UID, Table: r.Table, Resource: strings.ToLower(r.Resource)}
		if batches[k] == nil {
			batches[k] = logstore.NewBatch(k, now)
		}
		r.write(batches[k])
	}
	return s.store.Append(slices.Collect(maps.Values(batches))...)
}
