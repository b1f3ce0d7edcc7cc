package ml

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// An environment with a build context or a conda file has an image that is built, once:
// its name is the hash of all that goes into it.

// buildImage makes the image of an environment whose image cannot just be pulled. dir is
// a directory that it may use.
func (s *Service) buildImage(ctx context.Context, x *execution, dir string, log io.Writer) (string, error) {
	props := x.env.Body.Object("properties")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a directory for the build: %w", err)
	}
	defer os.RemoveAll(dir)
	dockerfile := "Dockerfile"
	if build := props.Object("build"); build != nil {
		if build.String("dockerfilePath") != "" {
			dockerfile = build.String("dockerfilePath")
		}
		if !filepath.IsLocal(dockerfile) {
			return "", fmt.Errorf("the Dockerfile '%s' is not in the build context", dockerfile)
		}
		if err := s.bringContext(ctx, x, build.String("contextUri"), dir); err != nil {
			return "", err
		}
		if _, err := os.Stat(filepath.Join(dir, dockerfile)); err != nil {
			return "", fmt.Errorf("there is no '%s' in the build context", dockerfile)
		}
	}
	if conda := props.String("condaFile"); conda != "" {
		base, err := s.baseImage(ctx, x, dir, dockerfile, log)
		if err != nil {
			return "", err
		}
		dockerfile = "Dockerfile"
		for name, text := range map[string]string{"conda.yml": conda, dockerfile: fmt.Sprintf(condaDockerfile, base)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return "", fmt.Errorf("write the build context: %w", err)
			}
		}
	}
	return s.build(ctx, dir, dockerfile, log)
}

// baseImage is what the packages of a conda file are added to. The directory is empty
// afterwards.
func (s *Service) baseImage(ctx context.Context, x *execution, dir, dockerfile string, log io.Writer) (string, error) {
	if x.env.Body.Object("properties.build") == nil {
		return s.cfg.Images.Pull(ctx, x.env.Body.String("properties.image"), x.puller(), log)
	}
	base, err := s.build(ctx, dir, dockerfile, log)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", fmt.Errorf("clear the build context: %w", err)
	}
	return base, nil
}

// build builds a directory under the name that it has by its content.
func (s *Service) build(ctx context.Context, dir, dockerfile string, log io.Writer) (string, error) {
	sum, err := hashTree(dir, dockerfile)
	if err != nil {
		return "", err
	}
	name := "localhost/azimuth-environment:" + sum
	return name, s.cfg.Images.Build(ctx, name, dir, dockerfile, log)
}

// bringContext downloads a build context. As with code, the service brings it itself.
func (s *Service) bringContext(ctx context.Context, x *execution, uri, dir string) error {
	var at *place
	err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		at, err = s.locate(ctx, tx, x.ws, uri)
		return err
	})
	var refused *arm.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("the build context '%s' cannot be had: %s", uri, refused.Message)
	}
	if err != nil {
		return err
	}
	if _, err := s.download(ctx, at, dir, false); err != nil {
		return fmt.Errorf("download the build context: %w", err)
	}
	return nil
}

// hashTree is a hash of the files below a directory and of which one is built.
func hashTree(dir, dockerfile string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", dockerfile)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %d\n", filepath.ToSlash(name), info.Size())
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the build context: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// condaDockerfile adds what a conda file asks for to an image, with the package manager
// that the image has. Where Azure puts the result is part of the name of a directory in
// its own builds, /azureml-envs/azureml_HASH.
const condaDockerfile = `FROM %s
COPY conda.yml /azureml-envs/conda.yml
RUN if command -v micromamba >/dev/null 2>&1; then micromamba create -y -p /azureml-envs/azimuth -f /azureml-envs/conda.yml; ` +
	`elif command -v mamba >/dev/null 2>&1; then mamba env create -p /azureml-envs/azimuth -f /azureml-envs/conda.yml; ` +
	`elif command -v conda >/dev/null 2>&1; then conda env create -p /azureml-envs/azimuth -f /azureml-envs/conda.yml; ` +
	`else echo "The image has neither conda nor mamba nor micromamba, so a conda file cannot be added to it."; exit 1; fi
ENV PATH=/azureml-envs/azimuth/bin:$PATH CONDA_PREFIX=/azureml-envs/azimuth CONDA_DEFAULT_ENV=/azureml-envs/azimuth
`
