package oci

import (
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	maxPage = 1000
	// defaultPage is how many Azure's own API lists at once.
	defaultPage = 100
)

// list gathers what a scan yields.
func list[T any](seq iter.Seq2[*T, error]) ([]*T, error) {
	var out []*T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// page reads n, the most entries that are asked for.
func (c *call) page(most int) (int, error) {
	text := c.r.URL.Query().Get("n")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, known(errcode.ErrorCodePaginationNumberInvalid, map[string]string{"n": text})
	}
	return min(n, maxPage), nil
}

// next tells where the list goes on.
func (c *call) next(params map[string]string) {
	q := url.Values{}
	for k, v := range params {
		if v != "" {
			q.Set(k, v)
		}
	}
	u := url.URL{Path: c.r.URL.Path, RawQuery: q.Encode()}
	c.w.Header().Set("Link", "<"+u.String()+`>; rel="next"`)
}

// take collects up to n of what a scan yields and is shown, and says whether there
// is more.
func take[T any](seq iter.Seq2[*T, error], n int, shown func(*T) bool) (out []*T, more bool, err error) {
	if n == 0 {
		return nil, false, nil
	}
	for v, err := range seq {
		if err != nil {
			return nil, false, err
		}
		if !shown(v) {
			continue
		}
		if len(out) == n {
			return out, true, nil
		}
		out = append(out, v)
	}
	return out, false, nil
}

// catalog lists the names of repositories.
func (c *call) catalog() error {
	n, err := c.page(defaultPage)
	if err != nil {
		return err
	}
	var repos []*repository
	more := false
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		r := store.Range{Prefix: key(c.reg.UID, "")}
		if last := c.r.URL.Query().Get("last"); last != "" {
			r.After = key(c.reg.UID, last)
		}
		repos, more, err = take(c.tables.repositories.All(tx, r), n, func(r *repository) bool { return !r.Locks.NoList })
		return err
	})
	if err != nil {
		return err
	}
	names := make([]string, len(repos))
	for i, r := range repos {
		names[i] = r.Name
	}
	if more {
		c.next(map[string]string{"last": names[len(names)-1], "n": strconv.Itoa(n)})
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"repositories": names})
	return nil
}

// mustExist is repository that refuses one that is not there.
func (c *call) mustExist(tx store.Tx) (*repository, error) {
	r, err := c.repository(tx)
	if err == nil && r == nil {
		err = known(errcode.ErrorCodeNameUnknown, map[string]string{"name": c.repo})
	}
	return r, err
}

// tagNames lists the names of the tags of a repository.
func (c *call) tagNames() error {
	n, err := c.page(maxPage)
	if err != nil {
		return err
	}
	var tags []*tagRec
	more := false
	err = c.cfg.Store.View(c.ctx, func(tx store.Tx) (err error) {
		if _, err := c.mustExist(tx); err != nil {
			return err
		}
		r := store.Range{Prefix: key(c.reg.UID, c.repo, "")}
		if last := c.r.URL.Query().Get("last"); last != "" {
			r.After = key(c.reg.UID, c.repo, last)
		}
		tags, more, err = take(c.tables.tags.All(tx, r), n, func(t *tagRec) bool { return !t.Locks.NoList })
		return err
	})
	if err != nil {
		return err
	}
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = t.Name
	}
	if more {
		c.next(map[string]string{"last": names[len(names)-1], "n": strconv.Itoa(n)})
	}
	c.writeJSON(c.w, http.StatusOK, "application/json; charset=utf-8", map[string]any{"name": c.repo, "tags": names})
	return nil
}
