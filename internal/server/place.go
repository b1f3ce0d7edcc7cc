package server

import (
	"context"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/abac"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// withPlace tells the conditions of role assignments how a request of which a service
// tells the rest has come in. Of a call that this server makes itself nothing is told.
func withPlace(ctx context.Context) context.Context {
	facts := abac.From(ctx)
	from, _ := ctx.Value(arrivalKey{}).(*arrival)
	if facts == nil || from == nil {
		return ctx
	}
	v := from.verdict
	private := v.Via != reach.Public
	more := *facts
	more.Attribute = func(tx store.Tx, a abac.Attribute) ([]string, error) {
		switch {
		case a.Source != abac.FromEnvironment:
		case a.Name == abac.IsPrivateLink:
			return []string{strconv.FormatBool(private)}, nil
		case a.Name == abac.Endpoint && private:
			return []string{v.Via}, nil
		case a.Name == abac.Subnet && v.Subnet != "":
			return []string{v.Subnet}, nil
		}
		if facts.Attribute == nil {
			return nil, nil
		}
		return facts.Attribute(tx, a)
	}
	return abac.With(ctx, &more)
}
