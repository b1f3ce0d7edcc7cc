package terraform

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// quietFor is how long a step may take before anything is said about it.
const quietFor = time.Second

// everyLine is how often a running step reports after that.
const everyLine = 10 * time.Second

// progress writes lines about one step that may take long. Nothing is written
// for a step that ends within a second.
type progress struct {
	w     io.Writer
	clock clock.Clock
	start time.Time

	mu    sync.Mutex
	text  string
	timer clock.Timer
	done  bool
	shown bool
}

// startProgress begins a step. Its stop method must be called. A nil w is silent.
func startProgress(w io.Writer, c clock.Clock, text string) *progress {
	p := &progress{w: w, clock: c, start: c.Now(), text: text}
	if w == nil {
		p.w = io.Discard
	}
	p.mu.Lock()
	p.timer = c.AfterFunc(quietFor, p.tick)
	p.mu.Unlock()
	return p
}

func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.line()
	p.timer = p.clock.AfterFunc(everyLine, p.tick)
}

func (p *progress) line() {
	if !p.shown {
		fmt.Fprintf(p.w, "%s…\n", p.text)
	} else {
		fmt.Fprintf(p.w, "%s… (%s)\n", p.text, p.clock.Now().Sub(p.start).Round(time.Second))
	}
	p.shown = true
}

// set changes what later lines say.
func (p *progress) set(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

// stop ends the step and, if it went well and something was said, says so.
func (p *progress) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.timer.Stop()
	if p.shown && err == nil {
		fmt.Fprintf(p.w, "%s: done in %s\n", p.text, p.clock.Now().Sub(p.start).Round(time.Second))
	}
}
