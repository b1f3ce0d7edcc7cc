package ml

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// datastoreQuery is what a list of datastores is asked for.
type datastoreQuery struct {
	names   []string // in lower case; empty for all
	text    string   // in the name, in lower case
	def     *bool
	order   string
	asc     bool
	size    int
	skipped int
}

func readDatastoreQuery(req *arm.Request) (*datastoreQuery, error) {
	q := &datastoreQuery{text: strings.ToLower(req.Query.Get("searchtext")), order: strings.ToLower(req.Query.Get("orderby")), size: 30}
	if v := req.Query.Get("count"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return nil, userError("count", "The value '%s' of count is not a positive number.", v)
		}
		q.size = min(n, 1000)
	}
	for _, b := range []struct {
		name string
		set  func(bool)
	}{
		{"isDefault", func(v bool) { q.def = &v }},
		{"orderByAsc", func(v bool) { q.asc = v }},
	} {
		if v := req.Query.Get(strings.ToLower(b.name)); v != "" {
			is, err := strconv.ParseBool(v)
			if err != nil {
				return nil, userError(b.name, "The value '%s' of %s is neither true nor false.", v, b.name)
			}
			b.set(is)
		}
	}
	for n := range strings.SplitSeq(req.Query.Get("names"), ",") {
		if n = strings.ToLower(strings.TrimSpace(n)); n != "" {
			q.names = append(q.names, n)
		}
	}
	switch q.order {
	case "", "createdtime", "modifiedtime", "name":
	default:
		return nil, userError("orderBy", "The value '%s' of orderBy is none of createdtime, modifiedtime and name.", req.Query.Get("orderby"))
	}
	token, err := skipToken(req)
	if err != nil {
		return nil, err
	}
	if token != "" {
		if q.skipped, err = strconv.Atoi(token); err != nil || q.skipped < 0 {
			return nil, userError("$skip", "The value '%s' of $skip is not one that this service gave out.", token)
		}
	}
	return q, nil
}

func (q *datastoreQuery) match(r *arm.Resource) bool {
	name := strings.ToLower(r.Name())
	return (q.def == nil || *q.def == r.Body.Bool("properties.isDefault", false)) &&
		(len(q.names) == 0 || slices.Contains(q.names, name)) && strings.Contains(name, q.text)
}

func (q *datastoreQuery) sort(all []*arm.Resource) {
	if q.order == "" {
		return // by name; Azure's own order is not known
	}
	slices.SortStableFunc(all, func(a, b *arm.Resource) int {
		var n int
		switch q.order {
		case "createdtime":
			n = a.Created.Compare(b.Created)
		case "modifiedtime":
			n = a.Modified.Compare(b.Modified)
		default:
			n = cmp.Compare(strings.ToLower(a.Name()), strings.ToLower(b.Name()))
		}
		if !q.asc {
			n = -n
		}
		return n
	})
}

// listDatastores lists with $skip, count, isDefault, names, searchText, orderBy
// and orderByAsc. A workspace has few datastores: they are read all.
func (s *Service) listDatastores(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
	q, err := readDatastoreQuery(req)
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
		if _, err := s.kernel.Load(ctx, tx, parent); err != nil {
			return err
		}
		var all []*arm.Resource
		for r, err := range s.kernel.Resources().Children(tx, parent, typeDatastore) {
			if err != nil {
				return err
			}
			if q.match(r) {
				all = append(all, r)
			}
		}
		q.sort(all)
		all = all[min(q.skipped, len(all)):]
		if len(all) > q.size {
			all = all[:q.size]
			page.Next = arm.EncodeToken(strconv.Itoa(q.skipped + q.size))
		}
		for _, r := range all {
			doc, err := s.kernel.Render(ctx, tx, r)
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
		}
		return nil
	})
	return page, err
}
