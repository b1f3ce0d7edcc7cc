package ml

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// checkNetwork finds out whether the nodes of a job reach the data that is brought to
// them and back. In Azure the nodes move it themselves.
func (s *Service) checkNetwork(ctx context.Context, x *execution, nodes []compute.Node) error {
	if s.cfg.Network == nil {
		return nil
	}
	needs := map[string]string{(&place{Account: x.ws.Account}).host(): "the workspace's default storage"}
	if x.code != nil {
		needs[x.code.host()] = "the job's code"
	}
	for name, at := range x.inputs {
		needs[at.host()] = "input " + name
	}
	for name, at := range x.outputs {
		needs[at.host()] = "output " + name
	}
	for _, n := range nodes {
		for host, what := range needs {
			if err := s.cfg.Network.FromNode(ctx, n.ID, host); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	return nil
}

// Note appends a line to the logs of the processes that an item has on a node.
func (s *Service) Note(ctx context.Context, item, nodeID, line string) error {
	var tasks []task
	err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
		r, err := s.runs.Get(tx, item)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			tasks = r.Tasks
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("find the job to tell: %w", err)
	}
	for _, t := range tasks {
		if t.Node != nodeID {
			continue
		}
		if err := appendLine(t, line); err != nil {
			return fmt.Errorf("write into a job's log: %w", err)
		}
	}
	return nil
}

// appendLine writes to a log that is there. The job may have put a link in its place:
// one is not followed out of the job's directory.
func appendLine(t task, line string) error {
	rel, err := filepath.Rel(t.Root, t.Log)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(t.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
