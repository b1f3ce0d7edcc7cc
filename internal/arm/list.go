package arm

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	defaultPage = 1000
	maxPage     = 1000
)

func (k *Kernel) list(ctx context.Context, req *Request, parent ID, t *ResourceType) (*Response, error) {
	req.ID, req.Type = parent, t
	var err error
	if t.Type == TypeResourceGroup {
		req.sees, err = k.visible(ctx, req, t.actionBase()+"/read", parent)
	} else {
		err = k.authorize(ctx, req, t.actionBase()+"/read", false, parent)
	}
	if err != nil {
		return nil, err
	}
	var page *Page
	if t.List != nil {
		page, err = t.List(ctx, req, parent)
	} else {
		page, err = k.listPage(ctx, req, parent, t)
	}
	if err != nil {
		return nil, err
	}
	return k.PageResponse(req, page), nil
}

// PageResponse writes a page with the link to the next one.
func (k *Kernel) PageResponse(req *Request, page *Page) *Response {
	value := page.Value
	if value == nil {
		value = []Doc{}
	}
	out := map[string]any{"value": value}
	if page.Next != "" {
		u := *req.HTTP.URL
		u.Scheme, u.Host = "https", req.HTTP.Host
		q := url.Values{}
		for name, v := range req.Query {
			q[name] = v
		}
		q.Set("$skipToken", page.Next)
		q.Del("$skiptoken")
		u.RawQuery = q.Encode()
		out["nextLink"] = u.String()
	}
	return OK(out)
}

// Paging reads how a page is asked for: its size, and the place to go on from.
func (req *Request) Paging() (size int, after string, err error) {
	if size, err = req.PageSize(); err != nil {
		return 0, "", err
	}
	after, err = req.SkipToken()
	return size, after, err
}

// PageSize reads $top.
func (req *Request) PageSize() (int, error) {
	s := req.Query.Get("$top")
	if s == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, BadRequest("InvalidTopParameter", "The value '%s' of $top is not a positive number.", s)
	}
	return min(n, maxPage), nil
}

// SkipToken decodes the $skipToken that EncodeToken made; "" when there is none.
func (req *Request) SkipToken() (string, error) {
	s := req.Query.Get("$skiptoken")
	if s == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", BadRequest("InvalidSkipToken", "The $skipToken is not one that this service gave out.")
	}
	return string(b), nil
}

// EncodeToken makes a $skipToken of a position.
func EncodeToken(position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(position))
}

func (k *Kernel) listPage(ctx context.Context, req *Request, parent ID, t *ResourceType) (*Page, error) {
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	limit := size + 1
	var wanted func(*Resource) bool
	if t.Filter != nil {
		wanted = t.Filter(req)
	}
	if wanted != nil {
		limit = 0 // how many are passed over is not known
	}
	page := &Page{}
	err = k.cfg.Store.View(ctx, func(tx store.Tx) error {
		if err := k.containerExists(ctx, tx, parent); err != nil {
			return err
		}
		index, entry, exact := "collection", collectionEntry(parent, t.Type), false
		if !t.isChild() && parent.Type() == TypeSubscription && t.Scope == InResourceGroup && t.Type != TypeResourceGroup {
			index, entry, exact = "type", typeEntry(parent.Subscription, t.Type), true
		}
		r := store.Range{Prefix: entry, After: after, Limit: limit}
		if exact {
			r.Prefix = store.Exact(entry)
		}
		var last *Resource
		for res, err := range k.res.opened(k.res.c.By(tx, index, r)) {
			if err != nil {
				return err
			}
			if wanted != nil && !wanted(res) {
				continue
			}
			if len(page.Value) == size {
				at := entry
				if !exact {
					at += last.Sort
				}
				page.Next = EncodeToken(k.res.c.Position(at, last))
				break
			}
			doc, err := k.render(ctx, tx, t, res)
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
			last = res
		}
		return nil
	})
	return page, err
}

// containerExists refuses a list in what is not there.
func (k *Kernel) containerExists(ctx context.Context, tx store.Tx, id ID) error {
	switch id.Type() {
	case TypeTenant, TypeSubscription:
		return nil
	}
	_, err := k.Load(ctx, tx, id)
	return err
}
