package ml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/blob"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// While a job runs, its log files are copied to append blobs bit by bit. The
// length of the blob says where to go on, so nothing is lost or written twice
// when the server is killed.

// tails are the jobs whose logs are being followed.
type tails struct {
	mu sync.Mutex
	by map[string]*tail // by item
	wg sync.WaitGroup
}

type tail struct {
	stop context.CancelFunc
	done chan struct{}
}

// begin runs f for an item until it returns or end is called. It does nothing
// for an item that is being followed.
func (t *tails) begin(ctx context.Context, item string, f func(ctx context.Context)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[item] != nil {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	one := &tail{stop, make(chan struct{})}
	t.by[item] = one
	t.wg.Go(func() {
		f(ctx)
		t.mu.Lock()
		if t.by[item] == one {
			delete(t.by, item)
		}
		t.mu.Unlock()
		stop()
		close(one.done)
	})
}

// end stops following an item and returns when that has stopped.
func (t *tails) end(item string) {
	t.mu.Lock()
	one := t.by[item]
	t.mu.Unlock()
	if one != nil {
		one.stop()
		<-one.done
	}
}

func (t *tails) wait() { t.wg.Wait() }

// An append blob takes 50,000 blocks. Each look at a log that has grown costs
// one, so looks become rarer the more are used up: every 250 ms for the first
// 40 minutes of uninterrupted output, and still every minute after weeks.
func interval(blocks int) time.Duration {
	switch {
	case blocks < 10_000:
		return 250 * time.Millisecond
	case blocks < 20_000:
		return time.Second
	case blocks < 30_000:
		return 5 * time.Second
	case blocks < 40_000:
		return 15 * time.Second
	}
	return time.Minute
}

// chunk is the most bytes of one append, Azure's limit until 2022.
const chunk = 4 << 20

// follower copies one log.
type follower struct {
	s             *Service
	account, name string // of the blob
	path          string
	base          int64
	// offset is how much of the file is in the blob, known once ready is set.
	offset int64
	blocks int
	ready  bool
	buf    []byte
}

func (s *Service) follower(account, job string, t task) *follower {
	return &follower{s: s, account: account, name: artifactPrefix(job) + "/" + t.LogName, path: t.Log, base: t.Base}
}

// pump copies what the file has and the blob has not.
func (f *follower) pump(ctx context.Context) error {
	if !f.ready {
		size, blocks, err := f.s.blobLength(ctx, f.account, f.name)
		if err != nil {
			return err
		}
		f.offset, f.blocks, f.ready = max(0, size-f.base), blocks, true
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the job removed it, or its node is gone
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if f.buf == nil {
		f.buf = make([]byte, 64<<10)
	}
	for {
		n, err := file.ReadAt(f.buf, f.offset)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read log: %w", err)
		}
		p, err := f.s.cfg.Blobs.AppendBlob(ctx, f.account, artifactContainer, f.name, f.buf[:n])
		if err != nil {
			f.ready = false // it may have been written all the same
			return fmt.Errorf("append to log: %w", err)
		}
		f.offset += int64(n)
		f.blocks = p.CommittedBlocks
		if n == len(f.buf) && n < chunk { // much to copy: take more at once
			f.buf = make([]byte, min(chunk, 4*n))
		}
	}
}

// follow copies the logs of a running job until the job or the server ends.
func (s *Service) follow(item, account string, r *run) {
	s.tails.begin(s.ctx, item, func(ctx context.Context) {
		var logs []*follower
		for _, t := range r.Tasks {
			logs = append(logs, s.follower(account, r.Name, t))
		}
		if err := s.cfg.Blobs.EnsureContainer(ctx, account, artifactContainer); err != nil && ctx.Err() == nil {
			s.log.Warn("follow logs of job", "job", r.Job, "error", err)
		}
		for {
			next := interval(0)
			for _, f := range logs {
				if err := f.pump(ctx); err != nil && ctx.Err() == nil {
					s.log.Warn("follow log of job", "job", r.Job, "log", f.name, "error", err)
					next = time.Minute // Finished tries again, and says so if it cannot
				}
				next = max(next, interval(f.blocks))
			}
			tick, stop := s.cfg.Ticks(next)
			select {
			case <-tick:
				stop()
			case <-ctx.Done():
				stop()
				return
			}
		}
	})
}

// flush copies the rest of a job's logs.
func (s *Service) flush(ctx context.Context, account string, r *run) error {
	if err := s.cfg.Blobs.EnsureContainer(ctx, account, artifactContainer); err != nil {
		return err
	}
	for _, t := range r.Tasks {
		f := s.follower(account, r.Name, t)
		err := f.pump(ctx)
		if blob.HasCode(err, "BlockCountExceedsLimit") || blob.HasCode(err, "InvalidBlobType") {
			// no more fits, or the job wrote a blob of that name: put all of it
			err = s.upload(ctx, t.Log, &place{Account: account, Container: artifactContainer, Path: f.name})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endAttempt saves what an earlier attempt at a job logged, if its files are
// still there, before another begins.
func (s *Service) endAttempt(ctx context.Context, x *execution) {
	s.tails.end(x.run.Item)
	if len(x.run.Tasks) == 0 {
		return
	}
	if err := s.flush(ctx, x.ws.Account, x.run); err != nil {
		s.log.Warn("logs of an earlier attempt are incomplete", "job", x.run.Job, "error", err)
	}
	s.clean(x.run)
}

// logLength is the length of a job's log in the artifact store, and its number
// of blocks; zero when there is none.
func (s *Service) logLength(ctx context.Context, ws *workspace, job, log string) (int64, int, error) {
	return s.blobLength(ctx, ws.Account, artifactPrefix(job)+"/"+log)
}

func (s *Service) blobLength(ctx context.Context, account, name string) (int64, int, error) {
	p, err := s.cfg.Blobs.StatBlob(ctx, account, artifactContainer, name)
	if blob.HasCode(err, "BlobNotFound") || blob.HasCode(err, "ContainerNotFound") {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("length of log: %w", err)
	}
	return p.Size, p.CommittedBlocks, nil
}

// collectResults stores a job's logs, its outputs directory and its declared
// outputs, and at its end registers them. It can be repeated.
func (s *Service) collectResults(ctx context.Context, r *run, end bool) error {
	x, err := s.load(ctx, r.Item, true)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		// The compute may have been deleted under the job: the logs need only the
		// workspace.
		return errors.Join(err, s.flushOnly(ctx, r))
	}
	if err := s.flush(ctx, x.ws.Account, r); err != nil {
		return err
	}
	principal, _ := x.identity()
	for i := len(r.Tasks) - 1; i >= 0; i-- { // the first node's files win
		t := r.Tasks[i]
		if i > 0 && r.Tasks[i-1].Root == t.Root {
			continue
		}
		for _, dir := range []string{"outputs", "logs"} {
			at := &place{Account: x.ws.Account, Container: artifactContainer, Path: artifactPrefix(r.Name) + "/" + dir}
			if err := s.upload(ctx, filepath.Join(t.Root, dirWork, dir), at); err != nil {
				return err
			}
		}
		for name, at := range x.outputs {
			if x.spec.Outputs[name].Mode == "Direct" {
				continue // the command writes it there itself
			}
			if err := s.mayUse(ctx, at, principal, true, false); err != nil {
				return userError("properties.outputs."+name, "Output %s: %s", name, err)
			}
			if err := s.ensure(ctx, at); err != nil {
				return err
			}
			if err := s.upload(ctx, outputPath(t.Root, name), at); err != nil {
				return err
			}
		}
	}
	if !end {
		return nil
	}
	return s.register(ctx, x)
}

func (s *Service) flushOnly(ctx context.Context, r *run) error {
	var ws *workspace
	err := s.cfg.Store.View(ctx, func(tx store.Tx) error {
		job, err := s.kernel.Resources().Get(tx, r.Job)
		if err != nil {
			return err
		}
		ws, err = s.workspace(ctx, tx, job.ParsedID())
		return err
	})
	if err != nil {
		return err
	}
	return s.flush(ctx, ws.Account, r)
}
