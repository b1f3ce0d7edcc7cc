package ml

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/environment"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Environments prepares what conda files ask for. Its errors are fit for the
// job's owner.
type Environments interface {
	Prepare(ctx context.Context, condaFile string, log io.Writer) (*environment.Environment, error)
}

// buildLog is the log of a job whose environment had to be prepared, under the
// name that Azure ML has for it.
const buildLog = "azureml-logs/20_image_build_log.txt"

// prepareEnvironment prepares the conda file of the job's environment, if it has
// one. What there is to say is in the job's buildLog while it is being said.
func (s *Service) prepareEnvironment(ctx context.Context, x *execution, item compute.Item, root string) (err error) {
	text := x.env.Body.String("properties.condaFile")
	if text == "" || s.cfg.Environments == nil {
		return nil
	}
	t := task{LogName: buildLog, Log: filepath.Join(root, "exe", filepath.Base(buildLog))}
	file, err := os.OpenFile(t.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer file.Close()
	if t.Base, _, err = s.logLength(ctx, x.ws, x.run.Name, t.LogName); err != nil {
		return err
	}
	if err := s.cfg.Blobs.EnsureContainer(ctx, x.ws.Account, artifactContainer); err != nil {
		return err
	}
	err = s.update(ctx, item.ID, func(_ store.Tx, r *run) error {
		if !slices.Contains(r.Logs, t.LogName) {
			r.Logs = append(r.Logs, t.LogName)
		}
		return nil
	})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.prepared, err = s.cfg.Environments.Prepare(ctx, text, file)
		if err != nil {
			fmt.Fprintln(file, err)
		}
	}()
	log := s.follower(x.ws.Account, x.run.Name, t)
	for {
		tick, stop := s.cfg.Ticks(max(interval(log.blocks), time.Second))
		select {
		case <-tick:
			stop()
			_ = log.pump(ctx) // it is tried again, and below
			continue
		case <-done:
			stop()
		}
		break
	}
	if perr := log.pump(context.WithoutCancel(ctx)); perr != nil {
		s.log.Warn("the log of preparing a job's environment is incomplete", "job", x.run.Job, "error", perr)
	}
	return err
}
