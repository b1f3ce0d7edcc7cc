// Package clock is the one source of time in Azimuth. Every timer, expiry and
// timestamp comes from a Clock, so that a user can advance time
// (`azimuth clock advance 20m`), a test can step it, and the cost simulator can
// run it at full speed.
package clock

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Clock tells the time and fires timers. Implementations are safe for
// concurrent use.
type Clock interface {
	// Now returns the current time, in UTC.
	Now() time.Time
	// AfterFunc calls f in its own goroutine once d has passed on this clock.
	// A non-positive d fires at once.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending call made with Clock.AfterFunc.
type Timer interface {
	// Stop prevents the call. It reports false if the call was already made or
	// the timer was already stopped.
	Stop() bool
}

// Sleep blocks until d has passed on c or ctx is done, and returns ctx.Err() in
// the latter case.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	done := make(chan struct{})
	t := c.AfterFunc(d, func() { close(done) })
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// schedule is the pending timers of a clock, soonest first. The owner holds its
// own lock around every call.
type schedule struct {
	items timerHeap
	seq   uint64
}

type timer struct {
	at    time.Time
	seq   uint64
	f     func()
	index int
	stop  func(*timer) bool
}

// Stop implements Timer.
func (t *timer) Stop() bool { return t.stop(t) }

func (s *schedule) add(at time.Time, f func(), stop func(*timer) bool) *timer {
	s.seq++
	t := &timer{at: at, seq: s.seq, f: f, stop: stop}
	heap.Push(&s.items, t)
	return t
}

func (s *schedule) remove(t *timer) bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&s.items, t.index)
	return true
}

// due removes and returns the timers that fire at or before now, in order.
func (s *schedule) due(now time.Time) []*timer {
	var out []*timer
	for len(s.items) > 0 && !s.items[0].at.After(now) {
		out = append(out, heap.Pop(&s.items).(*timer))
	}
	return out
}

func (s *schedule) next() (time.Time, bool) {
	if len(s.items) == 0 {
		return time.Time{}, false
	}
	return s.items[0].at, true
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	t.index = -1
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// Adjustable is the server's clock: the machine's time plus an offset that only
// grows. The zero value is not usable; call NewAdjustable.
type Adjustable struct {
	mu     sync.Mutex
	offset time.Duration
	timers schedule
	wake   *time.Timer
}

// NewAdjustable returns a clock that runs offset ahead of the machine's.
func NewAdjustable(offset time.Duration) *Adjustable {
	return &Adjustable{offset: offset}
}

// Now implements Clock.
func (c *Adjustable) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Adjustable) now() time.Time { return time.Now().Add(c.offset).UTC() }

// Offset is how far the clock runs ahead of the machine's.
func (c *Adjustable) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Advance moves the clock forward by d (negative values are ignored) and fires
// the timers that became due.
func (c *Adjustable) Advance(d time.Duration) {
	if d > 0 {
		c.mu.Lock()
		c.offset += d
		c.mu.Unlock()
	}
	c.fire()
}

// AfterFunc implements Clock.
func (c *Adjustable) AfterFunc(d time.Duration, f func()) Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.timers.add(c.now().Add(d), f, func(t *timer) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.timers.remove(t)
	})
	c.rearm()
	return t
}

func (c *Adjustable) fire() {
	c.mu.Lock()
	due := c.timers.due(c.now())
	c.rearm()
	c.mu.Unlock()
	for _, t := range due {
		go t.f()
	}
}

// rearm sets the machine timer for the soonest pending timer. c.mu is held.
func (c *Adjustable) rearm() {
	if c.wake != nil {
		c.wake.Stop()
		c.wake = nil
	}
	if at, ok := c.timers.next(); ok {
		c.wake = time.AfterFunc(at.Sub(c.now()), c.fire)
	}
}

// Manual is a clock that moves only when told to. It is for tests and for
// simulation. The zero value is not usable; call NewManual.
type Manual struct {
	mu     sync.Mutex
	t      time.Time
	timers schedule
}

// NewManual returns a clock that stands at start.
func NewManual(start time.Time) *Manual { return &Manual{t: start.UTC()} }

// Now implements Clock.
func (c *Manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// AfterFunc implements Clock. f runs on the goroutine that steps the clock, or
// in its own when d is not positive.
func (c *Manual) AfterFunc(d time.Duration, f func()) Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := func(t *timer) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.timers.remove(t)
	}
	if d <= 0 {
		go f()
		return &timer{index: -1, stop: stop}
	}
	return c.timers.add(c.t.Add(d), f, stop)
}

// Step moves the clock forward by d, calling each timer on the way at its own
// moment, one after another.
func (c *Manual) Step(d time.Duration) {
	c.mu.Lock()
	end := c.t.Add(d)
	for {
		at, ok := c.timers.next()
		if !ok || at.After(end) {
			break
		}
		c.t = at
		for _, t := range c.timers.due(at) {
			c.mu.Unlock()
			t.f()
			c.mu.Lock()
		}
	}
	c.t = end
	c.mu.Unlock()
}

// Next returns when the soonest pending timer fires, and false if none is
// pending.
func (c *Manual) Next() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timers.next()
}
