package mlflow

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// search is one runs/search. Newest first, which clients ask for most, follows
// an index and costs what the page costs; any other order has to look at every
// run of the experiments.
type search struct {
	s           *Service
	session     Session
	experiments []string
	filter      filter
	order       []ordering
	stages      map[string]bool
	limit       int
	token       string

	found []runBody
	next  string
}

func (x *search) run(tx store.Tx) error {
	var ids []string
	for _, id := range x.experiments {
		e, err := x.s.experiment(tx, x.session.Workspace, id)
		var missed *Error
		if errors.As(err, &missed) {
			continue // MLflow finds nothing in an experiment that is not there
		}
		if err != nil {
			return err
		}
		ids = append(ids, e.ID)
	}
	x.experiments = ids
	if len(x.order) == 0 && len(ids) == 1 {
		return x.newest(tx, ids[0])
	}
	return x.sorted(tx)
}

// candidates calls yield with every run that matches, newest first in each
// experiment, until it returns false.
func (x *search) candidates(tx store.Tx, experiment, after string, yield func(*runValues) (bool, error)) error {
	prefix := x.session.Workspace + "/" + experiment + "/"
	for r, err := range x.s.runs.By(tx, "experiment", store.Range{Prefix: prefix, After: after}) {
		if err != nil {
			return err
		}
		if !x.stages[r.Stage] || !x.session.sees(r) {
			continue
		}
		v := &runValues{tx: tx, r: r}
		ok, err := x.filter.match(v)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if more, err := yield(v); err != nil || !more {
			return err
		}
	}
	return nil
}

func (x *search) newest(tx store.Tx, experiment string) error {
	var last *run
	return x.candidates(tx, experiment, x.token, func(v *runValues) (bool, error) {
		if len(x.found) == x.limit {
			x.next = x.s.runs.Position(x.session.Workspace+"/"+experiment+"/"+descending(last.Start), last)
			return false, nil
		}
		body, err := x.s.whole(tx, v.r)
		x.found, last = append(x.found, body), v.r
		return true, err
	})
}

func (x *search) sorted(tx store.Tx) error {
	skip := 0
	if x.token != "" {
		n, err := strconv.Atoi(x.token)
		if err != nil || n < 0 {
			return invalid("Invalid page token")
		}
		skip = n
	}
	type row struct {
		r    *run
		keys []value
	}
	var rows []row
	for _, id := range x.experiments {
		err := x.candidates(tx, id, "", func(v *runValues) (bool, error) {
			rw := row{r: v.r}
			for _, o := range x.order {
				key, err := v.value(o.kind, o.name)
				if err != nil {
					return false, err
				}
				rw.keys = append(rw.keys, key)
			}
			rows = append(rows, rw)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		for i, o := range x.order {
			if c := a.keys[i].compare(b.keys[i], o.descending); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(b.r.Start, a.r.Start), strings.Compare(a.r.ID, b.r.ID))
	})
	for i := min(skip, len(rows)); i < len(rows); i++ {
		if len(x.found) == x.limit {
			x.next = strconv.Itoa(i)
			return nil
		}
		body, err := x.s.whole(tx, rows[i].r)
		if err != nil {
			return err
		}
		x.found = append(x.found, body)
	}
	return nil
}

// compare orders two values; what has none comes last either way, as in MLflow.
func (v value) compare(w value, descending bool) int {
	if v.ok != w.ok {
		if v.ok {
			return -1
		}
		return 1
	}
	c := 0
	if v.numeric {
		c = cmp.Compare(v.number, w.number)
	} else {
		c = strings.Compare(v.text, w.text)
	}
	if descending {
		return -c
	}
	return c
}

// runValues is a run as a filter sees it.
type runValues struct {
	tx store.Tx
	r  *run
}

func (v *runValues) value(kind, name string) (value, error) {
	key := rowKey(runKey(v.r.Workspace, v.r.ID), name)
	row := func(bucket string) ([]byte, bool, error) {
		b, err := v.tx.Get(bucket, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil, false, nil
		}
		return b, err == nil, err
	}
	switch kind {
	case "metric":
		b, ok, err := row(bucketLatest)
		if !ok || err != nil {
			return value{numeric: true}, err
		}
		_, raw, _ := bytes.Cut(b, []byte{0})
		p, err := decodePoint(raw)
		return value{number: float64(p.Value), numeric: true, ok: true}, err
	case "param":
		b, ok, err := row(bucketParam)
		return value{text: string(b), ok: ok}, err
	case "tag":
		b, ok, err := row(bucketTag)
		return value{text: string(b), ok: ok}, err
	}
	switch lower(name) {
	case "run_id":
		return value{text: v.r.ID, ok: true}, nil
	case "run_name", "run name":
		return value{text: v.r.Name, ok: true}, nil
	case "status":
		return value{text: v.r.Status, ok: true}, nil
	case "user_id":
		return value{text: v.r.User, ok: true}, nil
	case "artifact_uri":
		return value{text: artifactURI(v.r), ok: true}, nil
	case "start_time", "created":
		return value{number: float64(v.r.Start), numeric: true, ok: true}, nil
	case "end_time":
		return value{number: float64(v.r.End), numeric: true, ok: v.r.End != 0}, nil
	}
	return value{}, invalid("Invalid attribute key '%s' specified. Valid keys are run_id, run_name, status, user_id, artifact_uri, start_time, end_time.", name)
}
