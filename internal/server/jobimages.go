package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/compute/container"
	"github.com/azimuth-ml/azimuth/internal/ml"
	"github.com/azimuth-ml/azimuth/internal/oci"
)

// jobImages brings the images of jobs to this machine: those of this cloud's
// registries out of their files, with the rights of the job's compute, others with
// the container engine.
type jobImages struct {
	s      *Server
	images *container.Images
}

// String implements ml.Images.
func (j jobImages) String() string { return j.images.String() }

// Build implements ml.Images.
func (j jobImages) Build(ctx context.Context, name, dir, dockerfile string, log io.Writer) error {
	return j.images.Build(ctx, name, dir, dockerfile, log)
}

// Pull implements ml.Images.
func (j jobImages) Pull(ctx context.Context, image string, by ml.Puller, log io.Writer) (string, error) {
	host, ref, _ := strings.Cut(image, "/")
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	registry, ok := strings.CutSuffix(host, oci.Suffix)
	if !ok {
		return j.images.Pull(ctx, image, log)
	}
	fail := func(err error) (string, error) { return "", fmt.Errorf("pull the image %s: %w", image, err) }
	reg, err := registries{j.s}.Registry(ctx, registry)
	if errors.Is(err, oci.ErrNoRegistry) {
		return fail(fmt.Errorf("there is no container registry %s in this cloud", registry))
	}
	if err != nil {
		return fail(err)
	}
	if err := (jobNetwork{j.s}).FromNode(ctx, by.Node, registry+oci.Suffix); err != nil {
		return fail(err)
	}
	as, err := j.admit(ctx, reg, by)
	if err != nil {
		return fail(err)
	}
	img, err := j.s.registries.Image(ctx, reg, ref, "linux", runtime.GOARCH)
	if err != nil {
		return fail(err)
	}
	fmt.Fprintf(log, "Pulling %s (%s) as %s.\n", image, img.Digest, as)
	repo, _, _ := strings.Cut(ref, "@")
	repo, _, _ = strings.Cut(repo, ":")
	_, hex, _ := strings.Cut(img.Digest, ":")
	name := "localhost/azimuth/" + registry + "/" + repo + ":" + hex
	if err := j.images.Load(ctx, name, func(w io.Writer) error { return img.WriteArchive(w, name) }, log); err != nil {
		return fail(err)
	}
	return name, nil
}

// admit decides with whose rights a registry's image is had, as in Azure: with those
// of the compute's identity or, of the workspace's own registry, with the admin user,
// while it is on.
func (j jobImages) admit(ctx context.Context, reg *oci.Registry, by ml.Puller) (as string, err error) {
	if by.Principal != "" {
		ok, err := j.s.registries.MayPull(ctx, reg, by.Principal)
		if err != nil {
			return "", err
		}
		if ok {
			return "the identity " + by.Principal + " of " + by.Compute, nil
		}
	}
	if reg.Admin != "" && arm.Key(by.Registry) == arm.Key(reg.ID) {
		return "the admin user of " + reg.Name, nil
	}
	if ok, err := j.s.registries.MayPull(ctx, reg, ""); err != nil || ok {
		return "nobody in particular", err
	}
	off := "enable the admin user of the registry, which is off"
	if arm.Key(by.Registry) != arm.Key(reg.ID) {
		off = "use the workspace's own registry with its admin user on"
	}
	if by.Principal == "" {
		return "", fmt.Errorf("the compute %s has no managed identity. Give it one with the role AcrPull on %s, or %s. In Azure the job fails with: unauthorized: authentication required", by.Compute, reg.ID, off)
	}
	return "", fmt.Errorf("the identity %s of the compute %s lacks the role AcrPull on %s. Assign it, or %s. In Azure the job fails with: unauthorized: authentication required", by.Principal, by.Compute, reg.ID, off)
}
