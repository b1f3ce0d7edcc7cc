// Package logstore keeps telemetry rows in append-only files, outside the
// control plane's database. What Append has acknowledged is on the disk: it lies
// in a journal that all concurrent calls share one fsync of. From time to time
// the journal's rows move to segment files of compressed columns, one series of
// files for each space and table, and the journal is removed. A space is what
// has rows of its own: a Log Analytics workspace, or an Application Insights
// component without one.
//
// Rows say themselves which columns they have, so that the store knows no
// schema.
package logstore

import (
	"errors"
	"log/slog"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

// ErrFull is wrapped by Append when the disk has no room. Nothing was kept.
var ErrFull = errors.New("logstore: no space left on the disk")

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("logstore: closed")

// Kind is the type of a value.
type Kind uint8

// The kinds. A value that is absent has none.
const (
	String  Kind = iota + 1
	Int          // 64 bits; also durations, in ticks of 100 ns, as the schema of a table says
	Real         // float64
	Bool         // kept as 0 and 1
	Time         // nanoseconds since 1970, UTC
	Dynamic      // JSON text
)

// maxKind is the largest Kind.
const maxKind = Dynamic

// Key names the rows that one Batch adds to.
type Key struct {
	// Space has the rows; it is a directory name, such as a UUID.
	Space string
	// Table is the table's name: letters, digits and "_".
	Table string
	// Resource is the ARM ID of what the rows are about, lower case.
	Resource string
}

// Config is what a Store needs.
type Config struct {
	// Dir is where everything is. It is made if need be.
	Dir   string
	Clock clock.Clock
	Log   *slog.Logger
	// JournalSize is how many bytes of rows are in the journal, and in memory,
	// before they move to segments. The default is 32 MiB; as much again may be
	// on its way there.
	JournalSize int64
}

const (
	defaultJournalSize = 32 << 20
	// maxSegment is the size from which on a segment file gets no more blocks.
	maxSegment = 128 << 20
	// blockRows is the most rows of a block: what a reader has in memory of a
	// table.
	blockRows = 8192
	// journalAge is how old rows in the journal may get. Retention removes
	// segments, not parts of the journal.
	journalAge = 24 * time.Hour
	// housekeeping is how often age is looked at.
	housekeeping = time.Hour
)

// Usage is how many bytes of rows a resource has sent on one day.
type Usage struct {
	// Day is the day's start, UTC.
	Day   time.Time `json:"day"`
	Bytes int64     `json:"bytes"`
}

// day is the start of the UTC day that t is in.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
