package ml

import (
	"context"
	"encoding/base64"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// assetQuery is what a list of assets or of versions is asked for.
type assetQuery struct {
	view     string
	size     int
	after    string // position after which the page begins
	offset   int
	position func(*arm.Resource) string // in the order of the list
	natural  bool                       // the order is that of the store
	matches  []func(props arm.Doc, name string) bool
}

// readAssetQuery reads $top, count, $skip, $skipToken, offset, $orderBy,
// listViewType and the filters: tags, properties, hash, version, description and
// stage.
func readAssetQuery(req *arm.Request) (*assetQuery, error) {
	q := &assetQuery{}
	var err error
	if n := req.Query.Get("count"); n != "" {
		if q.size, err = strconv.Atoi(n); err != nil || q.size < 1 {
			return nil, userError("count", "The value '%s' of count is not a positive number.", n)
		}
		q.size = min(q.size, 1000)
	} else if q.size, err = req.PageSize(); err != nil {
		return nil, err
	}
	if q.after, err = skipToken(req); err != nil {
		return nil, err
	}
	if v := req.Query.Get("offset"); v != "" {
		if q.offset, err = strconv.Atoi(v); err != nil || q.offset < 0 {
			return nil, userError("offset", "The value '%s' of offset is not a number of results.", v)
		}
	}
	if q.view, err = listView(req); err != nil {
		return nil, err
	}
	if v := req.Query.Get("feed"); v != "" {
		return nil, arm.NotImplemented("listing assets by 'feed'")
	}
	if err := q.readOrder(req.Query.Get("$orderby")); err != nil {
		return nil, err
	}
	q.readFilters(req)
	return q, nil
}

// skipToken is the place to go on from: $skipToken, which links to next pages
// have, or $skip, which is documented.
func skipToken(req *arm.Request) (string, error) {
	after, err := req.SkipToken()
	skip := req.Query.Get("$skip")
	if err != nil || after != "" || skip == "" {
		return after, err
	}
	b, err := base64.RawURLEncoding.DecodeString(skip)
	if err != nil {
		return "", userError("$skip", "The value '%s' of $skip is not one that this service gave out.", skip)
	}
	return string(b), nil
}

func (q *assetQuery) readOrder(order string) error {
	at := func(r *arm.Resource) string { return r.Sort }
	switch strings.Join(strings.Fields(strings.ToLower(order)), " ") {
	case "", "createdtime desc":
		q.natural = true
	case "createdtime", "createdtime asc":
		at = func(r *arm.Resource) string { return arm.Timestamp(r.Created) }
	case "modifiedtime desc":
		at = func(r *arm.Resource) string { return newestFirst(r.Modified) }
	case "modifiedtime", "modifiedtime asc":
		at = func(r *arm.Resource) string { return arm.Timestamp(r.Modified) }
	default:
		return userError("$orderBy", "The order '%s' is not one of createdtime and modifiedtime, with asc or desc.", order)
	}
	q.position = func(r *arm.Resource) string { return at(r) + "|" + arm.Key(r.ID) }
	return nil
}

func (q *assetQuery) readFilters(req *arm.Request) {
	add := func(match func(arm.Doc, string) bool) { q.matches = append(q.matches, match) }
	for _, name := range []string{"tags", "properties"} {
		for want := range strings.SplitSeq(req.Query.Get(name)+","+req.Query.Get("$"+name), ",") { // $tags for data, tags for models
			if want = strings.TrimSpace(want); want == "" {
				continue
			}
			key, value, exact := strings.Cut(want, "=")
			add(func(props arm.Doc, _ string) bool {
				have, ok := props.Object(name)[key]
				return ok && (!exact || have == value)
			})
		}
	}
	if hash := req.Query.Get("hash"); hash != "" { // where azure-ai-ml puts it
		version := req.Query.Get("hashversion")
		add(func(props arm.Doc, _ string) bool {
			p := props.Object("properties")
			return p.String("hash_sha256") == hash && (version == "" || p.String("hash_version") == version)
		})
	}
	for _, name := range []string{"description", "stage"} {
		if want := req.Query.Get(name); want != "" {
			add(func(props arm.Doc, _ string) bool { return strings.EqualFold(props.String(name), want) })
		}
	}
	if want := req.Query.Get("version"); want != "" {
		add(func(_ arm.Doc, name string) bool { return strings.EqualFold(name, want) })
	}
}

// match reports whether an asset is in the list. Anonymous ones are only when
// they are looked for by their content, as azure-ai-ml does before an upload.
func (q *assetQuery) match(r *arm.Resource, byHash bool) bool {
	props := r.Body.Object("properties")
	archived := props.Bool("isArchived", false)
	if archived && q.view == viewA || !archived && q.view == viewZ || props.Bool("isAnonymous", false) && !byHash {
		return false
	}
	return !slices.ContainsFunc(q.matches, func(match func(arm.Doc, string) bool) bool { return !match(props, r.Name()) })
}

// listed yields the assets of the list in its order.
func (q *assetQuery) listed(all iter.Seq2[*arm.Resource, error], byHash bool) iter.Seq2[*arm.Resource, error] {
	if q.natural {
		return func(yield func(*arm.Resource, error) bool) {
			for r, err := range all {
				if err != nil {
					yield(nil, err)
					return
				}
				if q.match(r, byHash) && !yield(r, nil) {
					return
				}
			}
		}
	}
	return func(yield func(*arm.Resource, error) bool) {
		var found []*arm.Resource
		for r, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			if q.match(r, byHash) {
				found = append(found, r)
			}
		}
		slices.SortFunc(found, func(a, b *arm.Resource) int { return strings.Compare(q.position(a), q.position(b)) })
		for _, r := range found {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// listAssets lists containers, or the versions of one, newest first unless
// another order is asked for.
func (s *Service) listAssets(suffix string) func(context.Context, *arm.Request, arm.ID) (*arm.Page, error) {
	typ := typeWorkspace + "/" + suffix
	return func(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
		q, err := readAssetQuery(req)
		if err != nil {
			return nil, err
		}
		page := &arm.Page{}
		err = s.cfg.Store.View(ctx, func(tx store.Tx) error {
			if _, err := s.kernel.Load(ctx, tx, parent); err != nil {
				return err
			}
			var last *arm.Resource
			skip := q.offset
			for r, err := range q.listed(s.kernel.Resources().Children(tx, parent, typ), req.Query.Get("hash") != "") {
				if err != nil {
					return err
				}
				if q.after != "" { // lists are short: the place to go on from is found by looking
					if q.position(r) <= q.after {
						continue
					}
				} else if skip > 0 {
					skip--
					continue
				}
				if len(page.Value) == q.size {
					page.Next = arm.EncodeToken(q.position(last))
					return nil
				}
				doc, err := s.kernel.Render(ctx, tx, r)
				if err != nil {
					return err
				}
				page.Value, last = append(page.Value, doc), r
			}
			return nil
		})
		return page, err
	}
}
