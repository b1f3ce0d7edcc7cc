package resources

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// History is how many deployments a scope keeps: up to Limit. When there are more
// than High, the oldest are deleted until there are Low, as whoever deployed last.
type History struct{ Limit, High, Low int }

// AzureHistory is what Azure keeps.
// https://docs.azure.cn/azure-resource-manager/templates/deployment-history-deletions
func AzureHistory() History { return History{Limit: 800, High: 700, Low: 600} }

// historyBucket has, for each deployment, when it was last made.
const historyBucket = "deploymentHistory"

func historyKey(id arm.ID) string { return historyPrefix(id) + strings.ToLower(id.Name()) }

func historyPrefix(id arm.ID) string { return id.Parent().Key() + "|" }

// remember takes a deployment into the history of its scope. grooms says that
// old ones are to go.
func (s *Service) remember(tx store.Tx, id arm.ID, now time.Time) (grooms bool, err error) {
	n, there := 0, false
	for e, err := range tx.Scan(historyBucket, store.Range{Prefix: historyPrefix(id)}) {
		if err != nil {
			return false, err
		}
		n++
		there = there || e.Key == historyKey(id)
	}
	if n >= s.deps.History.Limit && !there {
		return false, arm.Errorf(http.StatusConflict, "DeploymentQuotaExceeded",
			"Creating the deployment '%s' would exceed the quota of '%d'. The current deployment count is '%d'. Please delete some deployments before creating a new one, or see https://aka.ms/800LimitFix for information on managing deployment limits.",
			id.Name(), s.deps.History.Limit, n)
	}
	return n >= s.deps.History.High, tx.Put(historyBucket, historyKey(id), []byte(arm.Timestamp(now)))
}

// groom deletes the oldest deployments of a scope, as far as the caller may.
func (s *Service) groom(id string, caller arm.Caller) {
	s.tasks.Go(func() {
		scope, err := arm.ParseID(id)
		if err != nil {
			return // IDs that were stored were parsed
		}
		type entry struct{ name, at string }
		var all []entry
		err = s.kernel.Store().View(s.ctx, func(tx store.Tx) error {
			for e, err := range tx.Scan(historyBucket, store.Range{Prefix: historyPrefix(scope)}) {
				if err != nil {
					return err
				}
				all = append(all, entry{strings.TrimPrefix(e.Key, historyPrefix(scope)), string(e.Value)})
			}
			return nil
		})
		s.log("list deployments", id, err)
		slices.SortFunc(all, func(a, b entry) int { return cmp.Or(strings.Compare(a.at, b.at), strings.Compare(a.name, b.name)) })
		for _, e := range all[:max(0, len(all)-s.deps.History.Low)] {
			if s.ctx.Err() != nil {
				return
			}
			if err := s.forget(s.ctx, scope.Parent().Child(DeploymentType, e.name), caller); err != nil {
				s.deps.Log.Debug("delete an old deployment", "deployment", e.name, "error", err)
			}
		}
	})
}

func (s *Service) forget(ctx context.Context, id arm.ID, caller arm.Caller) error {
	_, err := s.kernel.Act(ctx, arm.Act{Caller: caller, Method: http.MethodDelete, Path: id.String(), APIVersion: "2021-04-01"})
	return err
}
