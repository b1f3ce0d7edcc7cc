package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/instance"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
	"github.com/azimuth-ml/azimuth/internal/rp/keyvault"
	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/store"
	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
	"github.com/azimuth-ml/azimuth/internal/vault"
)

// sealedPlaces is everything in a home that is sealed. What is not named here is lost
// when the home's key is rotated.
func sealedPlaces() []seal.Place {
	return slices.Concat(arm.SealedPlaces(), keyvault.SealedPlaces(), vault.SealedPlaces(), ml.SealedPlaces(), instance.SealedPlaces(), oci.SealedPlaces(), networkPlaces(), resources.SealedPlaces())
}

func sealHome(d home.Dir, st store.Store, given seal.Key, log *slog.Logger) *seal.Home {
	return &seal.Home{
		Store: st, File: d.SealKey(), Given: given, Places: sealedPlaces(), Now: time.Now, Log: log,
		Compact: func(ctx context.Context) error { return sqlite.Compact(ctx, d.Database()) },
	}
}

// RotateSealKey gives a home another key, as seal.Home.Rotate does. No server may run for the home: the error wraps home.ErrLocked then.
func RotateSealKey(ctx context.Context, d home.Dir, given, to seal.Key) (done seal.Rotation, err error) {
	unlock, err := d.Lock()
	if err != nil {
		return done, err
	}
	defer unlock()
	st, err := sqlite.Open(ctx, d.Database())
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return sealHome(d, st, given, slog.New(slog.DiscardHandler)).Rotate(ctx, to)
}

// checkSealed opens everything that is sealed.
func (s *Server) checkSealed(ctx context.Context) Check {
	c := Check{Name: "secrets"}
	report, err := seal.Check(ctx, s.store, s.sealer, sealedPlaces())
	switch {
	case err != nil:
		c.Detail = err.Error()
	case report.Bad > 0:
		c.Detail = fmt.Sprintf("%d of %d sealed records do not open, such as %s", report.Bad, report.Records, report.Problems[0])
		c.Fix = "Restore azimuth.db and seal.key from one backup, or set what is named again."
	default:
		c.OK = true
		c.Detail = fmt.Sprintf("%d sealed values, all open", report.Values)
	}
	return c
}
