package clock

import (
	"context"
	"errors"
	"testing"
	"time"
)

var _, _ Clock = (*Adjustable)(nil), (*Manual)(nil)

func TestManualFiresTimersInOrderAtTheirMoment(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewManual(start)
	var got []time.Duration
	for _, d := range []time.Duration{3 * time.Minute, time.Minute, 2 * time.Minute} {
		c.AfterFunc(d, func() { got = append(got, c.Now().Sub(start)) })
	}
	stopped := c.AfterFunc(90*time.Second, func() { t.Error("stopped timer fired") })
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop: want true once, then false")
	}
	c.Step(150 * time.Second)
	if len(got) != 2 || got[0] != time.Minute || got[1] != 2*time.Minute {
		t.Errorf("fired at %v, want 1m and 2m", got)
	}
	if at, ok := c.Next(); !ok || at != start.Add(3*time.Minute) {
		t.Errorf("Next = %v, %v", at, ok)
	}
}

func TestManualTimerMadeByATimerFiresInTheSameStep(t *testing.T) {
	c := NewManual(time.Unix(0, 0))
	n := 0
	var again func()
	again = func() { n++; c.AfterFunc(time.Second, again) }
	c.AfterFunc(time.Second, again)
	c.Step(10 * time.Second)
	if n != 10 {
		t.Errorf("fired %d times, want 10", n)
	}
}

func TestAdjustableAdvanceFiresWhatBecameDue(t *testing.T) {
	c := NewAdjustable(time.Hour)
	fired := make(chan struct{})
	c.AfterFunc(20*time.Minute, func() { close(fired) })
	c.Advance(21 * time.Minute)
	<-fired
	if got := c.Offset(); got != time.Hour+21*time.Minute {
		t.Errorf("offset = %v", got)
	}
	c.Advance(-time.Hour)
	if got := c.Offset(); got != time.Hour+21*time.Minute {
		t.Errorf("a negative advance moved the clock to %v", got)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sleep(ctx, NewManual(time.Unix(0, 0)), time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
