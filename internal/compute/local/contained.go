package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/compute"
	"github.com/azimuth-ml/azimuth/internal/compute/container"
)

// contained is the container.json of a task that runs in a container: all that it
// takes to run and to remove it, with the server or without.
type contained struct {
	Engine    *container.Engine
	Container container.Container
}

// Labels of containers: the runner's directory and the task's ID.
const (
	labelRunner = "azimuth.runner"
	labelTask   = "azimuth.task"
)

// contain says how a task with an image runs; it returns nil for one without.
func (r *Runner) contain(d taskDir, spec compute.TaskSpec, n *node) (*contained, error) {
	if spec.Image == "" {
		return nil, nil
	}
	if r.containers == nil {
		return nil, errors.New("it has an image, and this server runs no containers")
	}
	c := container.Container{
		Name:   d.containerName(),
		Labels: map[string]string{labelRunner: r.dir, labelTask: spec.ID},
		Image:  spec.Image, Argv: spec.Argv, Env: spec.Env, Mark: taskVariable + "=" + spec.ID,
		Dir: spec.Dir, LogPath: spec.LogPath, PIDFile: filepath.Join(d.inside(), "pid"),
		CPUs: n.Spec.VCPUs, MemoryBytes: container.Memory(n.Spec.MemoryGiB), PIDs: container.MaxProcesses,
		Files: openFiles(), GPUs: len(n.GPUs) > 0,
	}
	mounts := append([]compute.Mount{{Path: spec.Dir}, {Path: filepath.Dir(spec.LogPath)}, {Path: d.inside()}}, spec.Mounts...)
	for i, m := range mounts {
		if !within(m, mounts[:i], true) && !within(m, mounts[i+1:], false) {
			c.Mounts = append(c.Mounts, container.Mount{Path: m.Path, ReadOnly: m.ReadOnly})
		}
	}
	return &contained{Engine: r.containers, Container: c}, nil
}

// containerName is unique among the containers of a machine.
func (d taskDir) containerName() string {
	sum := sha256.Sum256([]byte(d))
	return "azimuth-" + hex.EncodeToString(sum[:10])
}

// within reports whether a path is in the container by another mount already. Of
// two mounts of one path the earlier is taken.
func within(m compute.Mount, others []compute.Mount, earlier bool) bool {
	for _, o := range others {
		if o.Path == m.Path && earlier {
			return true
		}
		if o.ReadOnly == m.ReadOnly && strings.HasPrefix(m.Path, strings.TrimSuffix(o.Path, "/")+"/") {
			return true
		}
	}
	return false
}

// removeWithin is how long the end of a task whose supervisor is lost waits for an
// engine that does not remove the container.
const removeWithin = time.Minute

// removeContainer removes what a dead supervisor left of a container.
func (d taskDir) removeContainer(ctx context.Context) error {
	var c contained
	if err := readJSON(d.contained(), &c); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	return c.remove(ctx)
}

// remove tries until ctx ends.
func (c *contained) remove(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := c.Engine.Remove(ctx, c.Container.Name)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// sweepContainers removes containers of this runner whose tasks are not there any
// more or have ended: what an engine that was out of order did not remove.
func (r *Runner) sweepContainers() {
	if r.containers == nil {
		return
	}
	r.wg.Go(func() {
		// Listed before it is looked what runs: what starts from now on stays.
		all, err := r.containers.Labelled(r.ctx, labelRunner, r.dir)
		running := map[string]bool{}
		r.mu.Lock()
		for _, t := range r.tasks {
			running[t.containerName()] = !t.hasEnded()
		}
		r.mu.Unlock()
		for _, name := range all {
			if !running[name] {
				err = errors.Join(err, r.containers.Remove(r.ctx, name))
			}
		}
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("cannot remove containers that tasks left", logError, fmt.Errorf("sweep: %w", err))
		}
	})
}
