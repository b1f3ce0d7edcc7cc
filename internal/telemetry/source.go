package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/telemetry/kql"
	"github.com/azimuth-ml/azimuth/internal/telemetry/logstore"
)

// activitySpace has the activity log, which is the subscription's.
const activitySpace = "activity"

const activityTable = "AzureActivity"

// diagnosticsTable is where resources log that have no table of their own.
const diagnosticsTable = "AzureDiagnostics"

// customSuffix ends the names of tables that users make.
const customSuffix = "_CL"

// source is what one query can read: the tables of a workspace, or of a
// component.
type source struct {
	s         *Service
	space     string
	workspace *Workspace // nil for a component that keeps its own rows
	component *Component // nil for a query of a workspace
	retention int        // days
	// allowed decides about a table; nil allows all.
	allowed func(ctx context.Context, table string) error
}

// Table implements kql.Source.
func (q *source) Table(ctx context.Context, name string) (kql.Table, error) {
	v, err := q.view(name)
	if err != nil {
		return nil, err
	}
	if q.allowed != nil {
		if err := q.allowed(ctx, v.name); err != nil {
			return nil, err
		}
	}
	return &table{source: q, view: v}, nil
}

// Tables implements kql.Source.
func (q *source) Tables(context.Context) ([]string, error) {
	var out []string
	for _, name := range q.s.schema.names {
		if q.component == nil || q.ownsAll() && !strings.HasPrefix(name, "App") {
			out = append(out, name)
		}
	}
	if q.component != nil {
		for _, v := range q.s.schema.classic {
			out = append(out, v.name)
		}
	}
	for _, name := range q.s.store.Tables(q.space) {
		if strings.HasSuffix(name, customSuffix) && q.component == nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ownsAll reports whether the query is of a component that keeps its own rows,
// and with them what Azimuth has to say about jobs and nodes.
func (q *source) ownsAll() bool { return q.component != nil && q.component.Workspace == nil }

func (q *source) view(name string) (*view, error) {
	if q.component != nil {
		if v := q.s.schema.classic[name]; v != nil {
			return v, nil
		}
	}
	if name == diagnosticsTable && q.component == nil {
		return q.diagnostics()
	}
	if v := q.s.schema.workspace[name]; v != nil && (q.component == nil || strings.HasPrefix(name, "App") || q.ownsAll()) {
		return v, nil
	}
	if q.component == nil && strings.HasSuffix(name, customSuffix) {
		return q.custom(name)
	}
	return nil, &kql.UnknownTableError{Name: name}
}

// diagnostics is the view of AzureDiagnostics, whose columns are those that every
// workspace has, and those that were sent.
func (q *source) diagnostics() (*view, error) {
	base := q.s.schema.workspace[diagnosticsTable]
	sent, err := q.s.store.Columns(q.space, diagnosticsTable)
	if err != nil {
		return nil, err
	}
	v := *base
	v.columns = slices.Clone(base.columns)
	slices.SortFunc(sent, func(a, b logstore.Column) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range sent {
		if !slices.ContainsFunc(base.columns, func(b column) bool { return b.stored == c.Name }) {
			v.columns = append(v.columns, stored(c.Name, c.Kind))
		}
	}
	return &v, nil
}

// stored is the column of a view that shows one of the store as it is.
func stored(name string, k logstore.Kind) column {
	types := map[logstore.Kind]kql.Type{logstore.String: kql.String, logstore.Int: kql.Long, logstore.Real: kql.Real,
		logstore.Bool: kql.Bool, logstore.Time: kql.DateTime, logstore.Dynamic: kql.Dynamic}
	return column{Column: kql.Column{Name: name, Type: types[k]}, stored: name, kind: k}
}

// custom is the view of a table whose columns are those that were sent.
func (q *source) custom(name string) (*view, error) {
	columns, err := q.s.store.Columns(q.space, name)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		return nil, &kql.UnknownTableError{Name: name}
	}
	v := &view{name: name, table: name, itemType: name}
	add := func(name string, k logstore.Kind) { v.columns = append(v.columns, stored(name, k)) }
	add(colTime, logstore.Time)
	slices.SortFunc(columns, func(a, b logstore.Column) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range columns {
		if c.Name != colResource {
			add(c.Name, c.Kind)
		}
	}
	for _, c := range []string{colTenant, colSource, colType, colResource, colSubscripion} {
		add(c, logstore.String)
	}
	add(colBilled, logstore.Real)
	add(colBillable, logstore.String)
	return v, nil
}

// table is a view that a query reads.
type table struct {
	source *source
	view   *view
}

// Columns implements kql.Table.
func (t *table) Columns() []kql.Column {
	out := make([]kql.Column, len(t.view.columns))
	for i, c := range t.view.columns {
		out[i] = c.Column
	}
	return out
}

// TimeColumn implements kql.Table.
func (t *table) TimeColumn() string {
	for _, c := range t.view.columns {
		if c.stored == colTime {
			return c.Name
		}
	}
	return ""
}

// Scan implements kql.Table.
func (t *table) Scan(ctx context.Context, hint kql.Hint, yield func(row []kql.Value) bool) error {
	q := t.source
	scan := logstore.Scan{Space: q.space, Table: t.view.table, From: hint.From, To: hint.To, Columns: map[string]bool{}}
	if q.retention > 0 {
		scan.Since = q.s.cfg.Clock.Now().Add(-time.Duration(q.retention) * 24 * time.Hour)
	}
	if t.view.table == activityTable {
		scan.Space = activitySpace
	}
	if q.component != nil && strings.HasPrefix(t.view.table, "App") {
		scan.Resource = strings.ToLower(q.component.ID)
	}
	for _, i := range hint.Columns {
		scan.Columns[t.view.columns[i].stored] = true
		if t.view.columns[i].stored == colBucket {
			scan.Columns[durationColumn(t.view.table)] = true
		}
	}
	senders := map[string]*Component{}
	row := make([]kql.Value, len(t.view.columns))
	var failed error
	err := q.s.store.Scan(ctx, scan, func(b *logstore.Block) bool {
		get := make([]func(int) kql.Value, len(hint.Columns))
		for n, i := range hint.Columns {
			if get[n], failed = t.getter(ctx, b, t.view.columns[i], senders); failed != nil {
				return false
			}
		}
		for r := range b.Rows {
			for n, i := range hint.Columns {
				row[i] = get[n](r)
			}
			if !yield(row) {
				return false
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

// durationColumn is the column that a table's performance bucket is about.
func durationColumn(table string) string {
	if table == "AppBrowserTimings" {
		return "TotalDurationMs"
	}
	return "DurationMs"
}

func constant(v kql.Value) func(int) kql.Value { return func(int) kql.Value { return v } }

func constantText(s string) func(int) kql.Value { return constant(kql.StringValue(s)) }

// getter returns what gives a column's value in each row of a block.
func (t *table) getter(ctx context.Context, b *logstore.Block, c column, senders map[string]*Component) (func(int) kql.Value, error) {
	switch c.stored {
	case colTime:
		times := b.Times()
		return func(i int) kql.Value { return kql.UnixNanoValue(times.Int(i)) }, nil
	case colType:
		return constantText(t.view.itemType), nil
	case colTenant:
		if t.source.workspace == nil {
			return constantText(""), nil
		}
		return constantText(t.source.workspace.CustomerID), nil
	case colSource:
		return constantText("Azure"), nil
	case colBillable:
		return constantText("True"), nil
	case colSubscripion:
		return constantText(t.source.s.cfg.Subscription), nil
	case colBilled:
		sizes := b.Sizes()
		return func(i int) kql.Value { return kql.RealValue(float64(sizes.Int(i))) }, nil
	case colItem:
		numbers := b.Numbers()
		return func(i int) kql.Value { return kql.StringValue(itemID(numbers.Int(i))) }, nil
	case colBucket:
		d := b.Column(durationColumn(t.view.table), logstore.Real)
		return func(i int) kql.Value {
			if d == nil || !d.Has(i) {
				return kql.StringValue("")
			}
			return kql.StringValue(performanceBucket(d.Real(i)))
		}, nil
	case colResource:
		if b.Column(colResource, logstore.String) == nil {
			return constantText(b.Resource), nil
		}
	case colGUID, colKey:
		from, err := t.source.s.senderOf(ctx, b.Resource, senders)
		if err != nil {
			return nil, err
		}
		if c.stored == colKey {
			return constantText(from.InstrumentationKey), nil
		}
		return constantText(from.AppID), nil
	}
	return storedGetter(b, c), nil
}

// storedGetter gives the values of a column that the store has.
func storedGetter(b *logstore.Block, c column) func(int) kql.Value {
	v := b.Column(c.stored, c.kind)
	if c.kind == logstore.Real && v == nil {
		if n := b.Column(c.stored, logstore.Int); n != nil {
			return func(i int) kql.Value {
				if !n.Has(i) {
					return kql.Value{}
				}
				return kql.RealValue(float64(n.Int(i)))
			}
		}
	}
	if v == nil {
		if c.Type == kql.String { // strings are never null
			return constantText("")
		}
		return constant(kql.Value{})
	}
	none := kql.Value{}
	if c.Type == kql.String {
		none = kql.StringValue("")
	}
	var get func(int) kql.Value
	switch {
	case c.kind == logstore.String:
		get = func(i int) kql.Value { return kql.StringValue(v.String(i)) }
	case c.kind == logstore.Dynamic:
		get = func(i int) kql.Value { return kql.JSONValue(v.String(i)) }
	case c.kind == logstore.Real:
		get = func(i int) kql.Value { return kql.RealValue(v.Real(i)) }
	case c.kind == logstore.Time:
		get = func(i int) kql.Value { return kql.UnixNanoValue(v.Int(i)) }
	case c.kind == logstore.Bool && c.Type == kql.String:
		get = func(i int) kql.Value {
			if v.Int(i) != 0 {
				return kql.StringValue("True")
			}
			return kql.StringValue("False")
		}
	case c.kind == logstore.Bool:
		get = func(i int) kql.Value { return kql.BoolValue(v.Int(i) != 0) }
	case c.Type == kql.Int:
		get = func(i int) kql.Value { return kql.IntValue(int32(min(max(v.Int(i), math.MinInt32), math.MaxInt32))) }
	default:
		get = func(i int) kql.Value { return kql.LongValue(v.Int(i)) }
	}
	return func(i int) kql.Value {
		if !v.Has(i) {
			return none
		}
		return get(i)
	}
}

// senderOf finds the component that sent the rows of a block, or an empty one for
// a component that is gone.
func (s *Service) senderOf(ctx context.Context, id string, known map[string]*Component) (*Component, error) {
	if c, ok := known[id]; ok {
		return c, nil
	}
	c, err := s.cfg.Resources.Component(ctx, id)
	if errors.Is(err, ErrNotFound) {
		c, err = &Component{}, nil
	}
	if err != nil {
		return nil, err
	}
	known[id] = c
	return c, nil
}

// itemID makes an identifier of a row's number: always the same, and unlike
// others.
func itemID(n int64) string {
	mix := func(x uint64) uint64 { // splitmix64
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	a := mix(uint64(n))
	b := mix(a ^ uint64(n))
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", uint32(a>>32), uint16(a>>16), uint16(a), uint16(b>>48), b&0xffffffffffff)
}
