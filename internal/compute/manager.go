package compute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Config is what a Manager is made of. All but Log and Grace must be set.
type Config struct {
	Store    store.Store
	Clock    clock.Clock
	Runner   Runner
	Workload Workload
	Log      *slog.Logger
	// Observer is told what becomes of nodes; nil tells nobody.
	Observer Observer
	// Grace is how long a task has between the polite signal and the kill, in
	// real time. The default is 10 s.
	Grace time.Duration
	// Random returns numbers from 0 to less than 1; it decides about preemptions.
	// The default is math/rand/v2's.
	Random func() float64
}

const defaultGrace = 10 * time.Second

// Manager carries out plans. Run does all of it on one goroutine, the loop: it
// takes in what happened, brings the records forward in one transaction, and
// only when that is durable starts what the records now ask for. What to start
// is read off the records each time, so a new process goes on wherever an old
// one was killed.
type Manager struct {
	store    store.Store
	clock    clock.Clock
	runner   Runner
	workload Workload
	log      *slog.Logger
	grace    time.Duration
	random   func() float64
	observer Observer

	pools store.Collection[poolRecord]
	nodes store.Collection[Node]
	items store.Collection[itemRecord]

	running sync.Mutex // held by Run
	wake    chan struct{}

	mu      sync.Mutex // guards what follows
	inbox   []func()   // what happened, to be applied by the loop
	news    chan struct{}
	waiting map[string]*waitingList // by pool
	load    *Load                   // as of the last turn; nil before the first
}

// waitingList is a plan's waiting items, found by ID when someone asks.
type waitingList struct {
	list []Waiting
	once sync.Once
	byID map[string]Reason
}

func (l *waitingList) reason(itemID string) (Reason, bool) {
	l.once.Do(func() {
		l.byID = make(map[string]Reason, len(l.list))
		for _, w := range l.list {
			l.byID[w.ItemID] = w.Reason
		}
		l.list = nil
	})
	r, ok := l.byID[itemID]
	return r, ok
}

// NewManager returns a Manager that does nothing until Run is called. Its other
// methods work at any time.
func NewManager(c Config) *Manager {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return &Manager{
		random: c.Random, observer: c.Observer,
		store: c.Store, clock: c.Clock, runner: c.Runner, workload: c.Workload, log: c.Log, grace: c.Grace,
		pools: poolRecords(), nodes: nodeRecords(), items: itemRecords(),
		wake: make(chan struct{}, 1), news: make(chan struct{}), waiting: map[string]*waitingList{},
	}
}

// loop is the state of one call of Run, touched by its goroutine alone.
type loop struct {
	m     *Manager
	ctx   context.Context // of the workers
	world *world          // nil when it must be read
	facts facts
	// workers are the calls under way, by what they work on: at most one each.
	workers map[string]*worker
	retries map[string]retry
	// wakeAt is when time alone makes a plan necessary, by pool.
	wakeAt map[string]time.Time
	timer  clock.Timer
	wg     sync.WaitGroup
}

type worker struct {
	what   string
	cancel context.CancelFunc
}

// retry is when a call that failed is made again.
type retry struct {
	tries int
	at    time.Time
}

const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

// Run does the Manager's work until ctx ends, and returns nil then. Tasks go on
// without it. An error says that it cannot work at all.
func (m *Manager) Run(ctx context.Context) error {
	if !m.running.TryLock() {
		return errors.New("compute: the manager runs already")
	}
	defer m.running.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	l := &loop{
		m: m, ctx: ctx, facts: newFacts(),
		workers: map[string]*worker{}, retries: map[string]retry{}, wakeAt: map[string]time.Time{},
	}
	defer l.close(cancel)
	m.mu.Lock()
	m.inbox, m.load = nil, nil
	m.mu.Unlock()
	l.wg.Go(func() { l.watch(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		}
		l.takeIn()
		if !l.facts.synced {
			continue
		}
		if err := l.step(); err != nil {
			return err
		}
	}
}

func (l *loop) close(cancel context.CancelFunc) {
	cancel()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.wg.Wait()
}

// kick wakes the loop. It never blocks.
func (m *Manager) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// post has the loop call f before its next step.
func (m *Manager) post(f func()) {
	m.mu.Lock()
	m.inbox = append(m.inbox, f)
	m.mu.Unlock()
	m.kick()
}

func (l *loop) takeIn() {
	l.m.mu.Lock()
	inbox := l.m.inbox
	l.m.inbox = nil
	l.m.mu.Unlock()
	for _, f := range inbox {
		f()
	}
}

// Changes returns a channel that is closed after the next change of a pool, a
// node or an item has been committed.
func (m *Manager) Changes() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.news
}

// step brings the records forward once and starts what they ask for.
func (l *loop) step() error {
	if l.ctx.Err() != nil {
		return nil // what workers say now is only that they were interrupted
	}
	var t *turn
	err := l.m.store.Update(l.ctx, func(tx store.Tx) error {
		if t != nil {
			l.world = nil // the store runs this again after undoing it
		}
		t = &turn{loop: l, tx: tx, now: l.m.clock.Now()}
		return t.run()
	})
	switch {
	case err == nil:
		delete(l.retries, "store")
	case errors.Is(err, store.ErrClosed):
		return fmt.Errorf("compute: %w", err)
	case l.ctx.Err() != nil:
		return nil
	default:
		// Nothing was written and nothing was started. What happened is kept in
		// facts, so the next step sees it again.
		l.world = nil
		l.failed("store", "write the state of the compute", err)
		l.arm()
		return nil
	}
	t.publish()
	l.act()
	l.arm()
	return nil
}

// failed logs an error that nobody else is told of and has the call repeated
// later.
func (l *loop) failed(key, what string, err error, args ...any) {
	r := l.retries[key]
	wait := min(retryFirst<<min(r.tries, 10), retryMost)
	l.retries[key] = retry{tries: r.tries + 1, at: l.m.clock.Now().Add(wait)}
	l.m.log.Error("cannot "+what, append(args, logError, err, logRetryIn, wait)...)
}

// held says that a call which failed before is not to be repeated yet.
func (l *loop) held(key string) bool { return l.m.clock.Now().Before(l.retries[key].at) }

// arm sets the timer for the next moment at which time alone matters.
func (l *loop) arm() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	var next time.Time
	soonest := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	now := l.m.clock.Now()
	for _, r := range l.retries {
		if r.at.After(now) { // an earlier one has its call under way
			soonest(r.at)
		}
	}
	for _, at := range l.wakeAt {
		soonest(at)
	}
	if l.world != nil {
		for _, p := range l.world.pools {
			soonest(p.PreemptAt)
		}
		for _, n := range l.world.nodes {
			if n.evictable() {
				soonest(n.PreemptAt)
			}
		}
		for _, it := range l.world.active {
			if it.Phase == PhaseRunning && it.Stop == nil && it.Timeout > 0 {
				soonest(it.StartedAt.Add(it.Timeout))
			}
		}
	}
	if !next.IsZero() {
		l.timer = l.m.clock.AfterFunc(next.Sub(now), l.m.kick)
	}
}

// start makes a call on a goroutine of its own, unless one for the same key is
// under way or has to wait after a failure. call returns what the loop is to
// apply when it is over.
func (l *loop) start(key, what string, call func(ctx context.Context) func()) {
	if l.workers[key] != nil || l.held(again(key, what)) {
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.workers[key] = &worker{what: what, cancel: cancel}
	l.wg.Go(func() {
		apply := call(ctx)
		cancel()
		l.m.post(func() {
			delete(l.workers, key)
			apply()
		})
	})
}

// watch follows the runner. The first snapshot lets the loop begin.
func (l *loop) watch(ctx context.Context) {
	wait := retryFirst
	for {
		l.m.post(l.facts.beginSync)
		err := l.m.runner.Watch(ctx, func(r Report) {
			l.m.post(func() { l.facts.report(r) })
		})
		if ctx.Err() != nil {
			return
		}
		l.m.log.Error("lost sight of the runner", logError, err, logRetryIn, wait)
		if clock.Sleep(ctx, l.m.clock, wait) != nil {
			return
		}
		wait = min(2*wait, retryMost)
	}
}
