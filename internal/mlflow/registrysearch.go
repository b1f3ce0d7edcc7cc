package mlflow

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// registrySearch is a search of models or versions. A registry is small beside
// what is tracked: what matches is sorted in memory, and a page token counts.
type registrySearch struct {
	filter filter
	order  []ordering
	limit  int
	skip   int
}

// most results of one page, as MLflow's server has them
const (
	maxModels   = 1000
	maxVersions = 200000
)

func (s *Service) readRegistrySearch(c *call, most int) (*registrySearch, error) {
	var q struct {
		Filter    string   `json:"filter"`
		Max       integer  `json:"max_results"`
		OrderBy   []string `json:"order_by"`
		PageToken string   `json:"page_token"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	x := &registrySearch{limit: int(q.Max)}
	switch {
	case q.Max == 0:
		x.limit = min(most, 10000)
	case q.Max < 0 || int(q.Max) > most:
		return nil, invalid("Invalid value %d for parameter 'max_results' supplied. It must be at least 1 and at most %d.", q.Max, most)
	}
	var err error
	if x.filter, err = parseFilter(q.Filter, "attribute", "tag"); err != nil {
		return nil, err
	}
	if x.order, err = parseOrder(q.OrderBy); err != nil {
		return nil, err
	}
	token, err := unpackToken(q.PageToken)
	if err != nil {
		return nil, err
	}
	if token != "" {
		if x.skip, err = strconv.Atoi(token); err != nil || x.skip < 0 {
			return nil, invalid("Invalid page token '%s'", q.PageToken)
		}
	}
	return x, nil
}

// only is the name that the filter asks models or versions to have, or "".
func (x *registrySearch) only() string {
	for _, c := range x.filter {
		if c.kind == "attribute" && c.name == "name" && c.op == "=" {
			return c.text
		}
	}
	return ""
}

type searched[T values] struct {
	of   T
	keys []value
}

// page orders what matches by the search's keys, then by usual, and
// returns the page with the token of the next.
func page[T values](x *registrySearch, all []T, usual func(a, b T) int) ([]T, string, error) {
	var rows []searched[T]
	for _, v := range all {
		ok, err := x.filter.match(v)
		if err != nil {
			return nil, "", err
		}
		if !ok {
			continue
		}
		row := searched[T]{of: v}
		for _, o := range x.order {
			key, err := v.value(o.kind, o.name)
			if err != nil {
				return nil, "", err
			}
			row.keys = append(row.keys, key)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b searched[T]) int {
		for i, o := range x.order {
			if c := a.keys[i].compare(b.keys[i], o.descending); c != 0 {
				return c
			}
		}
		return usual(a.of, b.of)
	})
	rows = rows[min(x.skip, len(rows)):]
	next := ""
	if len(rows) > x.limit {
		rows, next = rows[:x.limit], packToken(strconv.Itoa(x.skip+x.limit))
	}
	var out []T
	for _, r := range rows {
		out = append(out, r.of)
	}
	return out, next, nil
}

func answer(name string, found any, next string) map[string]any {
	out := map[string]any{name: found}
	if next != "" {
		out["next_page_token"] = next
	}
	return out
}

func (s *Service) searchModels(c *call) (any, error) {
	x, err := s.readRegistrySearch(c, maxModels)
	if err != nil {
		return nil, err
	}
	found, next := []modelBody{}, ""
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		var all []modelValues
		for m, err := range s.cfg.Models.AllModels(tx, c.WorkspaceID) {
			if err != nil {
				return err
			}
			all = append(all, modelValues{m})
		}
		var models []modelValues
		if models, next, err = page(x, all, func(a, b modelValues) int { return cmp.Compare(a.m.Name, b.m.Name) }); err != nil {
			return err
		}
		for _, m := range models {
			b, err := s.modelBody(tx, c.WorkspaceID, m.m)
			if err != nil {
				return err
			}
			found = append(found, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer("registered_models", found, next), nil
}

func (s *Service) searchVersions(c *call) (any, error) {
	x, err := s.readRegistrySearch(c, maxVersions)
	if err != nil {
		return nil, err
	}
	found, next := []versionBody{}, ""
	err = s.cfg.Store.View(c.ctx, func(tx store.Tx) error {
		var all []versionValues
		add := func(m *RegisteredModel) error {
			for v, err := range s.cfg.Models.ModelVersions(tx, c.WorkspaceID, m.Name) {
				if err != nil {
					return err
				}
				all = append(all, versionValues{m, v})
			}
			return nil
		}
		only := x.only()
		for m, err := range s.cfg.Models.AllModels(tx, c.WorkspaceID) {
			if err != nil {
				return err
			}
			if only == "" || only == m.Name {
				if err := add(m); err != nil {
					return err
				}
			}
		}
		newest := func(a, b versionValues) int {
			return cmp.Or(b.v.Updated.Compare(a.v.Updated), cmp.Compare(a.v.Name, b.v.Name), compareVersions(b.v.Version, a.v.Version))
		}
		versions, after, err := page(x, all, newest)
		if err != nil {
			return err
		}
		for _, v := range versions {
			found = append(found, v.v.body(v.m))
		}
		next = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer("model_versions", found, next), nil
}

// modelValues is a model as a filter sees it.
type modelValues struct{ m *RegisteredModel }

func (v modelValues) value(kind, name string) (value, error) {
	if kind == "tag" {
		s, ok := v.m.Tags[name]
		return value{text: s, ok: ok}, nil
	}
	switch lower(name) {
	case "name":
		return value{text: v.m.Name, ok: true}, nil
	case "creation_timestamp":
		return value{number: float64(millis(v.m.Created)), numeric: true, ok: true}, nil
	case "last_updated_timestamp", "timestamp":
		return value{number: float64(millis(v.m.Updated)), numeric: true, ok: true}, nil
	}
	return value{}, invalid("Invalid attribute key '%s' specified. Valid keys are name, creation_timestamp, last_updated_timestamp.", name)
}

// versionValues is a version as a filter sees it.
type versionValues struct {
	m *RegisteredModel
	v *ModelVersion
}

func (v versionValues) value(kind, name string) (value, error) {
	if kind == "tag" {
		s, ok := v.v.Tags[name]
		return value{text: s, ok: ok}, nil
	}
	switch lower(name) {
	case "name":
		return value{text: v.v.Name, ok: true}, nil
	case "run_id":
		return value{text: v.v.RunID, ok: v.v.RunID != ""}, nil
	case "source_path", "source":
		return value{text: v.v.Source, ok: true}, nil
	case "current_stage":
		return value{text: v.v.Stage, ok: true}, nil
	case "version_number", "version":
		n, err := strconv.ParseFloat(v.v.Version, 64)
		return value{number: n, numeric: true, ok: err == nil}, nil
	case "creation_timestamp":
		return value{number: float64(millis(v.v.Created)), numeric: true, ok: true}, nil
	case "last_updated_timestamp":
		return value{number: float64(millis(v.v.Updated)), numeric: true, ok: true}, nil
	}
	return value{}, invalid("Invalid attribute key '%s' specified. Valid keys are name, run_id, source_path, current_stage, version_number, creation_timestamp, last_updated_timestamp.", name)
}
