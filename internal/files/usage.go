package files

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// usage remembers how large shares are, so that not every write counts a tree.
type usage struct {
	mu sync.Mutex
	of map[string]*used // share ID → what it had
}

type used struct {
	bytes int64
	at    time.Time
}

// usageLife is how long a count is good for. Programs write to shares without
// telling.
const usageLife = 15 * time.Second

// measure counts the bytes of the files in a directory.
func measure(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what goes away while it is counted does not count
		}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure a share: %w", err)
	}
	return n, nil
}

// grow refuses what would make a share larger than its quota.
func (e *engine) grow(rec *shareRec, dir string, by int64) error {
	quota := int64(rec.Quota) << 30
	if by <= 0 {
		return nil
	}
	full := func() error {
		return storage.Refuse("ShareSizeLimitReached")
	}
	if by > quota {
		return full()
	}
	if total := e.dirs.Total(); total > 0 && quota > total && by < quota-total {
		return nil // the disk ends before
	}
	e.usage.mu.Lock()
	defer e.usage.mu.Unlock()
	u := e.usage.of[rec.ID]
	now := time.Now() // of the disk, not of the cloud
	if u == nil || now.Sub(u.at) > usageLife || u.bytes+by > quota {
		n, err := measure(dir)
		if err != nil {
			return err
		}
		u = &used{bytes: n, at: now}
		e.usage.of[rec.ID] = u
	}
	if u.bytes+by > quota {
		return full()
	}
	u.bytes += by
	return nil
}
