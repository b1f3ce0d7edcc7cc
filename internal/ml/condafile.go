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

// Images brings container images to where jobs run. Its errors are fit for the job's
// owner.
type Images interface {
	// Pull makes sure that an image is there and returns its name there.
	Pull(ctx context.Context, image string, by Puller, log io.Writer) (name string, err error)
	// Build makes an image of a directory with a Dockerfile, unless there is one of that
	// name, which is never that of another content.
	Build(ctx context.Context, name, dir, dockerfile string, log io.Writer) error
	// String names what runs the images.
	String() string
}

// Puller is with whose rights an image is pulled from a registry of this cloud.
type Puller struct {
	// Compute is the name of the compute that the job runs on, and Principal the
	// object ID of its managed identity, "" for none.
	Compute, Principal string
	// Node is the ID of a node that the job runs on.
	Node string
	// Registry is the ARM ID of the workspace's registry, or "". Its admin user stands
	// in for an identity, if it is on.
	Registry string
}

// puller is the one for a job's image.
func (x *execution) puller() Puller {
	_, principal := x.identity()
	by := Puller{Compute: lastSegment(x.run.Compute), Principal: principal, Registry: x.ws.Registry, Node: x.node}
	if x.run.Pool != "" {
		by.Compute = "serverless"
	}
	return by
}

// buildLog is the log of a job whose environment had to be prepared, under the
// name that Azure ML has for it.
const buildLog = "azureml-logs/20_image_build_log.txt"

// preparation is what there is to do for the job's environment, or nil.
func (s *Service) preparation(x *execution, root string) (func(ctx context.Context, log io.Writer) error, error) {
	props := x.env.Body.Object("properties")
	conda := props.String("condaFile")
	switch {
	case s.cfg.Images == nil && (conda == "" || s.cfg.Environments == nil):
		return nil, nil
	case s.cfg.Images == nil:
		return func(ctx context.Context, log io.Writer) (err error) {
			x.prepared, err = s.cfg.Environments.Prepare(ctx, conda, log)
			return err
		}, nil
	case conda != "" || props.Object("build") != nil:
		return func(ctx context.Context, log io.Writer) (err error) {
			x.image, err = s.buildImage(ctx, x, filepath.Join(root, "build"), log)
			return err
		}, nil
	}
	return func(ctx context.Context, log io.Writer) (err error) {
		x.image, err = s.cfg.Images.Pull(ctx, props.String("image"), x.puller(), log)
		return err
	}, nil
}

// prepareEnvironment prepares the job's environment, if there is anything to do for
// it. What there is to say is in the job's buildLog while it is being said.
func (s *Service) prepareEnvironment(ctx context.Context, x *execution, item compute.Item, root string) (err error) {
	prepare, err := s.preparation(x, root)
	if err != nil || prepare == nil {
		return err
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
		if err = prepare(ctx, file); err != nil {
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
