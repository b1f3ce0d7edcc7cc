package mlflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// A metric's history is ordered by step, then time, then value, so that asking
// for it needs no sort and logging the same point twice (a client that repeats
// a request) keeps one. MLflow's own database has the same primary key.

// point is one logged value of a metric.
type point struct {
	Key       string  `json:"key"`
	Value     number  `json:"value"`
	Timestamp integer `json:"timestamp"`
	Step      integer `json:"step"`
}

func (p *point) place() string {
	return ascending(int64(p.Step)) + ascending(int64(p.Timestamp)) + orderedFloat(float64(p.Value))
}

// orderedFloat writes f so that strings sort as the numbers do, NaN first or
// last by its sign.
func orderedFloat(f float64) string {
	b := math.Float64bits(f)
	if b>>63 == 1 {
		b = ^b
	} else {
		b |= 1 << 63
	}
	s := strconv.FormatUint(b, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

func putMetric(tx store.Tx, run string, p point) error {
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode metric %s: %w", p.Key, err)
	}
	name, place := rowKey(run, p.Key), p.place()
	if err := tx.Put(bucketMetric, name+"\x00"+place, value); err != nil {
		return err
	}
	// the latest is that of the greatest step, then time, then value
	old, err := tx.Get(bucketLatest, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if i := bytes.IndexByte(old, 0); i >= 0 && string(old[:i]) > place {
		return nil
	}
	return tx.Put(bucketLatest, name, append([]byte(place+"\x00"), value...))
}

func decodePoint(value []byte) (p point, err error) {
	if err = json.Unmarshal(value, &p); err != nil {
		err = fmt.Errorf("decode metric: %w", err)
	}
	return p, err
}

func latestMetrics(tx store.Tx, run string) ([]point, error) {
	out := []point{}
	for e, err := range tx.Scan(bucketLatest, store.Range{Prefix: run + "\x00"}) {
		if err != nil {
			return nil, err
		}
		_, value, _ := bytes.Cut(e.Value, []byte{0})
		p, err := decodePoint(value)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// history yields at most limit points of a metric behind the place after.
func history(tx store.Tx, run, key, after string, limit int) (points []point, next string, err error) {
	prefix := rowKey(run, key) + "\x00"
	r := store.Range{Prefix: prefix}
	if after != "" {
		r.After = prefix + after
	}
	if limit > 0 {
		r.Limit = limit + 1
	}
	points = []point{}
	last := ""
	for e, err := range tx.Scan(bucketMetric, r) {
		if err != nil {
			return nil, "", err
		}
		if limit > 0 && len(points) == limit {
			return points, last, nil
		}
		p, err := decodePoint(e.Value)
		if err != nil {
			return nil, "", err
		}
		points = append(points, p)
		last = strings.TrimPrefix(e.Key, prefix)
	}
	return points, "", nil
}

// pair is a param or a tag.
type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func pairs(tx store.Tx, bucket, run string) ([]pair, error) {
	out := []pair{}
	prefix := run + "\x00"
	for e, err := range tx.Scan(bucket, store.Range{Prefix: prefix}) {
		if err != nil {
			return nil, err
		}
		out = append(out, pair{strings.TrimPrefix(e.Key, prefix), string(e.Value)})
	}
	return out, nil
}

func putParam(tx store.Tx, run, runID string, p pair) error {
	old, err := tx.Get(bucketParam, rowKey(run, p.Key))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil {
		if string(old) == p.Value {
			return nil
		}
		return invalid("Changing param values is not allowed. Param with key='%s' was already logged with value='%s' for run ID='%s'. Attempted logging new value '%s'.",
			p.Key, old, runID, p.Value)
	}
	return tx.Put(bucketParam, rowKey(run, p.Key), []byte(p.Value))
}

func putTag(tx store.Tx, run string, p pair) error {
	return tx.Put(bucketTag, rowKey(run, p.Key), []byte(p.Value))
}

// checkName refuses names of metrics, params and tags that MLflow refuses.
// NULs separate the parts of keys here, so they are refused too.
func checkName(kind, name string) error {
	switch {
	case name == "":
		return invalid("Missing value for required parameter 'key' of a %s.", kind)
	case len(name) > maxKey:
		return invalid("%s name '%.40s…' had length %d, which exceeded length limit of %d", title(kind), name, len(name), maxKey)
	case strings.HasPrefix(name, "/") || strings.Contains(name, "//") || strings.HasSuffix(name, "/") ||
		name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../"):
		return invalid("Invalid %s name: '%s'. Names may be treated as files in certain cases, and must not resolve to other names when treated as such.", kind, name)
	}
	for _, r := range name {
		if r < ' ' {
			return invalid("Invalid %s name: %q. It has a control character.", kind, name)
		}
	}
	return nil
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func checkPair(kind string, p pair) error {
	if err := checkName(kind, p.Key); err != nil {
		return err
	}
	most := maxTagValue
	if kind == "param" {
		most = maxParamValue
	}
	if len(p.Value) > most {
		return invalid("%s value for '%s' had length %d, which exceeded length limit of %d", title(kind), p.Key, len(p.Value), most)
	}
	return nil
}
