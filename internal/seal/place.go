package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Place is a bucket of the store in which there are sealed values. Every package
// that seals names its places, so that they are sealed anew when keys change, and
// looked at by checks.
type Place struct {
	Bucket string
	// Each calls f with every sealed value of a record and returns the record with
	// f's answers in their places.
	Each func(record []byte, f func(sealed []byte) ([]byte, error)) ([]byte, error)
}

// Whole is a bucket whose records are sealed values.
func Whole(bucket string) Place {
	return Place{bucket, func(record []byte, f func([]byte) ([]byte, error)) ([]byte, error) { return f(record) }}
}

// In is a bucket of JSON records of a type, which have sealed values where at
// points; those that are empty are passed over.
func In[T any](bucket string, at func(*T) []*[]byte) Place {
	return Place{bucket, func(record []byte, f func([]byte) ([]byte, error)) ([]byte, error) {
		var v T
		if err := json.Unmarshal(record, &v); err != nil {
			return nil, err
		}
		any := false
		for _, p := range at(&v) {
			if len(*p) == 0 {
				continue
			}
			out, err := f(*p)
			if err != nil {
				return nil, err
			}
			*p, any = out, true
		}
		if !any {
			return record, nil
		}
		return json.Marshal(&v)
	}}
}

// few is how many records are looked at in one transaction.
const few = 64

// walk calls visit with a few records of each place at a time.
func walk(places []Place, visit func(p Place, after string) (last string, err error)) error {
	for _, p := range places {
		for after := ""; ; {
			last, err := visit(p, after)
			if err != nil {
				return err
			}
			if last == "" {
				break
			}
			after = last
		}
	}
	return nil
}

// reseal seals every value with the primary key that is sealed with another. What does
// not open stays as it is, for nobody can do better; damaged counts such records.
func reseal(ctx context.Context, st store.Store, s *Sealer, places []Place) (damaged int, err error) {
	err = walk(places, func(p Place, after string) (last string, err error) {
		err = st.Update(ctx, func(tx store.Tx) error {
			var entries []store.Entry
			for e, err := range tx.Scan(p.Bucket, store.Range{After: after, Limit: few}) {
				if err != nil {
					return err
				}
				entries = append(entries, e)
			}
			last = ""
			bad := 0
			for _, e := range entries {
				last = e.Key
				changed := false
				record, err := p.Each(e.Value, func(sealed []byte) ([]byte, error) {
					if s.fresh(sealed) {
						return sealed, nil
					}
					changed = true
					plain, err := s.Open(sealed)
					if err != nil {
						return nil, err
					}
					return s.Seal(plain)
				})
				if errors.Is(err, ErrSealed) {
					bad++
					continue
				}
				if err != nil {
					return fmt.Errorf("seal anew %s of %s: %w", e.Key, p.Bucket, err)
				}
				if changed {
					if err := tx.Put(p.Bucket, e.Key, record); err != nil {
						return err
					}
				}
			}
			damaged += bad
			return nil
		})
		return last, err
	})
	return damaged, err
}

// Report is what Check found.
type Report struct {
	// Values is how many sealed values there are, in Records records; Bad is how many
	// of those have some that do not open. Problems names the first of them, as bucket
	// and key.
	Values, Records, Bad int
	Problems             []string
}

// Check opens every sealed value.
func Check(ctx context.Context, st store.Store, s *Sealer, places []Place) (Report, error) {
	const most = 20 // problems that are told one by one
	var r Report
	err := walk(places, func(p Place, after string) (last string, err error) {
		err = st.View(ctx, func(tx store.Tx) error {
			for e, err := range tx.Scan(p.Bucket, store.Range{After: after, Limit: few}) {
				if err != nil {
					return err
				}
				last = e.Key
				before := r.Values
				_, err := p.Each(e.Value, func(sealed []byte) ([]byte, error) {
					r.Values++
					_, err := s.Open(sealed)
					return sealed, err
				})
				if r.Values > before {
					r.Records++
				}
				if err != nil {
					if r.Bad++; r.Bad <= most {
						r.Problems = append(r.Problems, p.Bucket+" "+e.Key)
					}
				}
			}
			return nil
		})
		return last, err
	})
	return r, err
}

// anySealed reports whether the store has a sealed value.
func anySealed(ctx context.Context, st store.Store, places []Place) (bool, error) {
	s := &Sealer{} // which opens nothing
	r, err := Check(ctx, st, s, places)
	return r.Values > 0, err
}
