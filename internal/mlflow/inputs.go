package mlflow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Limits of one log-inputs request and of what it carries, as MLflow's server
// has them.
const (
	maxInputs        = 1000
	maxDatasetName   = 500
	maxDatasetDigest = 36
	maxDatasetSource = 65535
	maxDatasetText   = 16 << 20 // schema and profile
)

// datasetInput is a data set that a run used, with what it used it for.
type datasetInput struct {
	Tags    []pair  `json:"tags,omitempty"`
	Dataset dataset `json:"dataset"`
}

type dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"source_type"`
	Source     string `json:"source"`
	Schema     string `json:"schema,omitempty"`
	Profile    string `json:"profile,omitempty"`
}

func (d *dataset) check() error {
	for _, f := range []struct {
		name, value string
		required    bool
		most        int
	}{
		{"name", d.Name, true, maxDatasetName}, {"digest", d.Digest, true, maxDatasetDigest}, {"source_type", d.SourceType, true, maxDatasetName},
		{"source", d.Source, true, maxDatasetSource}, {"schema", d.Schema, false, maxDatasetText}, {"profile", d.Profile, false, maxDatasetText},
	} {
		if f.required && f.value == "" {
			return invalid("Missing value for required parameter '%s' of a dataset.", f.name)
		}
		if len(f.value) > f.most {
			return invalid("Dataset %s had length %d, which exceeded length limit of %d", f.name, len(f.value), f.most)
		}
	}
	return nil
}

// key is the data set's row: a run has each by name and digest once.
func (d *dataset) key(run string) string {
	sum := sha256.Sum256([]byte(d.Name + "\x00" + d.Digest))
	return rowKey(run, hex.EncodeToString(sum[:]))
}

func (s *Service) logInputs(c *call) (any, error) {
	var q struct {
		runRef
		Datasets []datasetInput `json:"datasets"`
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if len(q.Datasets) > maxInputs {
		return nil, invalid("A request can contain at most %d datasets. Got %d.", maxInputs, len(q.Datasets))
	}
	for i := range q.Datasets {
		if err := q.Datasets[i].Dataset.check(); err != nil {
			return nil, err
		}
		for _, t := range q.Datasets[i].Tags {
			if err := checkPair("tag", t); err != nil {
				return nil, err
			}
		}
	}
	return struct{}{}, s.changeRun(c, q.id(), func(tx store.Tx, r *run) error {
		for _, in := range q.Datasets {
			key := in.Dataset.key(runKey(r.Workspace, r.ID))
			if _, err := tx.Get(bucketInput, key); !errors.Is(err, store.ErrNotFound) {
				if err != nil {
					return err
				}
				continue // as in MLflow, what is there stays
			}
			b, err := json.Marshal(in)
			if err != nil {
				return fmt.Errorf("encode dataset %s: %w", in.Dataset.Name, err)
			}
			if err := tx.Put(bucketInput, key, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func inputs(tx store.Tx, run string) ([]datasetInput, error) {
	var out []datasetInput
	for e, err := range tx.Scan(bucketInput, store.Range{Prefix: run + "\x00"}) {
		if err != nil {
			return nil, err
		}
		var in datasetInput
		if err := json.Unmarshal(e.Value, &in); err != nil {
			return nil, fmt.Errorf("decode dataset: %w", err)
		}
		out = append(out, in)
	}
	return out, nil
}
