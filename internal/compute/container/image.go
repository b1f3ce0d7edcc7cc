package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Images brings images to this machine.
type Images struct {
	engine *Engine

	mu      sync.Mutex
	pulling map[string]chan struct{} // closed when the pull has ended
}

// NewImages returns the images of an engine.
func NewImages(e *Engine) *Images {
	return &Images{engine: e, pulling: map[string]chan struct{}{}}
}

// String is the engine's name and version.
func (i *Images) String() string { return i.engine.String() }

// Pull makes sure that an image is on this machine and returns the name under which
// it is. What the engine says goes to log; its last words are the error. An image is
// pulled once, however many ask for it.
func (i *Images) Pull(ctx context.Context, image string, log io.Writer) (string, error) {
	ref, err := Reference(image)
	if err != nil {
		return "", err
	}
	done, err := i.turn(ctx, ref)
	if err != nil {
		return "", err
	}
	defer done()
	for _, name := range []string{image, ref} {
		if err := i.engine.client(ctx, "image", "inspect", name).Run(); err == nil {
			fmt.Fprintf(log, "The image %s is here already.\n", name)
			return name, nil
		}
	}
	fmt.Fprintf(log, "Pulling %s with %s.\n", ref, i.engine)
	cmd := i.engine.client(ctx, "pull", ref)
	last := &lastLine{}
	out := io.MultiWriter(log, last)
	cmd.Stdout, cmd.Stderr = out, out // one writer, so os/exec copies in one place
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if last.String() == "" {
			return "", fmt.Errorf("pull the image %s: %w", ref, err)
		}
		return "", fmt.Errorf("pull the image %s: %s", ref, last)
	}
	return ref, nil
}

// Build makes an image of a directory with a Dockerfile, unless there is one of that name.
// What the engine says goes to log; its last words are the error.
func (i *Images) Build(ctx context.Context, name, dir, dockerfile string, log io.Writer) error {
	done, err := i.turn(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if err := i.engine.client(ctx, "image", "inspect", name).Run(); err == nil {
		fmt.Fprintf(log, "The image %s is built already.\n", name)
		return nil
	}
	fmt.Fprintf(log, "Building %s with %s.\n", name, i.engine)
	cmd := i.engine.client(ctx, "build", "--tag", name, "--network", "host", "--file", filepath.Join(dir, dockerfile), dir)
	last := &lastLine{}
	out := io.MultiWriter(log, last)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("build the image of the environment: %s (%w)", last, err)
	}
	return nil
}

// Load makes sure that an image which is known by its digest is on this machine, and
// returns the name under which it is. name has the digest in it, so that what has the
// name is the image; write writes the image as an archive that the engine loads.
func (i *Images) Load(ctx context.Context, name string, write func(io.Writer) error, log io.Writer) error {
	done, err := i.turn(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if err := i.engine.client(ctx, "image", "inspect", name).Run(); err == nil {
		fmt.Fprintln(log, "The image is here already.")
		return nil
	}
	fmt.Fprintf(log, "Loading the image with %s.\n", i.engine)
	cmd := i.engine.client(ctx, "load", "--quiet")
	last := &lastLine{}
	cmd.Stdout = io.Discard
	cmd.Stderr = io.MultiWriter(log, last)
	in, out := io.Pipe()
	cmd.Stdin = in
	var g errgroup.Group
	g.Go(func() error {
		err := write(out)
		out.CloseWithError(err)
		return err
	})
	err = cmd.Run()
	in.Close() // a client that ended early reads no more
	werr := g.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case werr != nil && !errors.Is(werr, io.ErrClosedPipe):
		return werr
	case err != nil && last.String() != "":
		return fmt.Errorf("load the image: %s", last)
	case err != nil:
		return fmt.Errorf("load the image: %w", err)
	}
	return nil
}

// turn waits until nobody else pulls ref.
func (i *Images) turn(ctx context.Context, ref string) (done func(), err error) {
	for {
		i.mu.Lock()
		other := i.pulling[ref]
		if other == nil {
			mine := make(chan struct{})
			i.pulling[ref] = mine
			i.mu.Unlock()
			return func() {
				i.mu.Lock()
				defer i.mu.Unlock()
				delete(i.pulling, ref)
				close(mine)
			}, nil
		}
		i.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Reference is the full name of an image: without a registry it is one of Docker
// Hub, as in Azure ML. Its error says why the image cannot be had.
func Reference(image string) (string, error) {
	if image == "" || strings.HasPrefix(image, "-") || strings.ContainsAny(image, " \t\r\n") {
		return "", fmt.Errorf("%q is not the name of an image", image)
	}
	first, rest, nested := strings.Cut(image, "/")
	host, _, _ := strings.Cut(first, ":")
	switch {
	case nested && (host == "localhost" || strings.ContainsAny(first, ".:")):
		if rest == "" {
			return "", fmt.Errorf("%q is not the name of an image", image)
		}
		return image, nil
	case nested:
		return "docker.io/" + image, nil
	}
	return "docker.io/library/" + image, nil
}

// lastLine keeps the last line that is not empty of what is written.
type lastLine struct {
	mu         sync.Mutex
	line, last string
}

func (l *lastLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line += string(p)
	for {
		line, rest, ok := strings.Cut(l.line, "\n")
		if !ok {
			break
		}
		if s := strings.TrimSpace(line); s != "" {
			l.last = s
		}
		l.line = rest
	}
	const most = 4 << 10 // of a line without an end
	l.line = l.line[max(0, len(l.line)-most):]
	return len(p), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := strings.TrimSpace(l.line); s != "" {
		return s
	}
	return l.last
}
