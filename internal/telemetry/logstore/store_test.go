package logstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/clock"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, c clock.Clock, journal int64) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Clock: c, JournalSize: journal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// row is a row as the tests know it.
type row struct {
	At    int
	Name  string
	Note  *string
	Count int64
	Value float64
	OK    bool
	Bag   string
}

func testRow(i int) row {
	r := row{At: i, Name: fmt.Sprintf("name %d", i%7), Count: int64(i) * -3, Value: float64(i) / 3, OK: i%2 == 0, Bag: fmt.Sprintf(`{"i":%d}`, i)}
	if i%3 == 0 {
		note := fmt.Sprintf("note %d %d", i, i*i)
		r.Note = &note
	}
	return r
}

func batchOf(space, table, resource string, received time.Time, from, to int) *Batch {
	b := NewBatch(Key{space, table, resource}, received)
	for i := from; i < to; i++ {
		r := testRow(i)
		b.Begin(start.Add(time.Duration(i) * time.Second))
		b.String("Name", r.Name)
		if r.Note != nil {
			b.String("Note", *r.Note)
		}
		b.Int("Count", r.Count)
		b.Real("Value", r.Value)
		b.Bool("OK", r.OK)
		b.Dynamic("Bag", []byte(r.Bag))
		b.Time("When", start.Add(time.Duration(i)*time.Second))
		b.End()
	}
	return b
}

// contents are the rows of a table in the order of a scan, and checks them
// whole.
func contents(t testing.TB, s *Store, q Scan) []int {
	t.Helper()
	var out []int
	numbers := map[int64]bool{}
	err := s.Scan(t.Context(), q, func(b *Block) bool {
		for i := range b.Rows {
			n := int(time.Unix(0, b.Times().Int(i)).Sub(start) / time.Second)
			got := row{At: n, Name: b.Column("Name", String).String(i), Count: b.Column("Count", Int).Int(i),
				Value: b.Column("Value", Real).Real(i), OK: b.Column("OK", Bool).Int(i) == 1, Bag: b.Column("Bag", Dynamic).String(i)}
			if v := b.Column("Note", String); v != nil && v.Has(i) {
				note := v.String(i)
				got.Note = &note
			}
			want, _ := json.Marshal(testRow(n))
			if have, _ := json.Marshal(got); string(have) != string(want) {
				t.Errorf("row %d: %s, want %s", n, have, want)
			}
			if when := b.Column("When", Time).Int(i); when != b.Times().Int(i) {
				t.Errorf("row %d: when %d", n, when)
			}
			if numbers[b.Numbers().Int(i)] {
				t.Errorf("row %d: its number is not its own", n)
			}
			numbers[b.Numbers().Int(i)] = true
			out = append(out, n)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantRange(t testing.TB, got []int, from, to int) {
	t.Helper()
	slices.Sort(got)
	want := make([]int, 0, max(to-from, 0))
	for i := from; i < to; i++ {
		want = append(want, i)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d rows from %v, want %d to %d", len(got), got[:min(len(got), 5)], from, to)
	}
}

func TestRowsAreThereBeforeAndAfterACheckpointAndARestart(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 1<<20)
	q := Scan{Space: "one", Table: "T"}
	for i := range 10 {
		if err := s.Append(batchOf("one", "T", "/r", start, i*100, i*100+100), batchOf("two", "T", "/r", start, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	wantRange(t, contents(t, s, q), 0, 1000)
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	wantRange(t, contents(t, s, q), 0, 1000)
	if err := s.Append(batchOf("one", "T", "/r", start, 1000, 20000)); err != nil {
		t.Fatal(err)
	}
	wantRange(t, contents(t, s, q), 0, 20000)
	used := s.Used("one", "", start)
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, c, 1<<20)
		wantRange(t, contents(t, s, q), 0, 20000)
		if got := s.Used("one", "/r", start); got != used || got == 0 {
			t.Errorf("used %d, want %d", got, used)
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		wantRange(t, contents(t, s, q), 0, 20000)
	}
	wantRange(t, contents(t, s, Scan{Space: "two", Table: "T"}), 0, 10)
	if got := s.Used("one", "/r", start.Add(24*time.Hour)); got != 0 {
		t.Errorf("used on the next day: %d", got)
	}
	if r, err := s.Verify(t.Context()); err != nil || len(r.Problems) != 0 || r.Rows != 20010 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestScanReadsWhatIsAskedFor(t *testing.T) {
	s := open(t, t.TempDir(), clock.NewManual(start), 0)
	for _, resource := range []string{"/a", "/b"} {
		for i := range 4 {
			if err := s.Append(batchOf("one", "T", resource, start, i*10, i*10+10)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		wantRange(t, contents(t, s, Scan{Space: "one", Table: "T", Resource: "/a"}), 0, 40)
		got := contents(t, s, Scan{Space: "one", Table: "T", Resource: "/b", From: start.Add(10 * time.Second), To: start.Add(19 * time.Second)})
		got = slices.DeleteFunc(got, func(i int) bool { return i < 10 || i > 19 }) // more may come
		wantRange(t, got, 10, 20)
		if got := contents(t, s, Scan{Space: "one", Table: "T", From: start.Add(time.Hour)}); len(got) != 0 {
			t.Errorf("rows of later: %v", got)
		}
		err := s.Scan(t.Context(), Scan{Space: "one", Table: "T", Columns: map[string]bool{"Name": true}}, func(b *Block) bool {
			if b.Column("Name", String) == nil || b.Column("Count", Int) != nil || b.Column("Name", Int) != nil {
				t.Errorf("columns: %v", b.vectors)
			}
			return false
		})
		if err != nil {
			t.Error(err)
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Tables("one"); !slices.Equal(got, []string{"T"}) {
		t.Errorf("tables: %v", got)
	}
	if err := s.Append(batchOf("one", "../T", "", start, 0, 1)); err == nil {
		t.Error("a table may be called ../T")
	}
}

// fullFile is a file on a disk that is full after so many bytes.
type fullFile struct {
	file
	room int
}

func (f *fullFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.file.WriteAt(p[:min(len(p), f.room)], at)
	if f.room -= n; err == nil && n < len(p) {
		err = &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}
	return n, err
}

func TestAFullDiskLosesNothing(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 0)
	if err := s.Append(batchOf("one", "T", "/r", start, 0, 10)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	g := s.active
	s.mu.Unlock()
	g.journal.f = &fullFile{g.journal.f, 1500}
	n := 10
	for ; ; n++ {
		err := s.Append(batchOf("one", "T", "/r", start, n, n+1))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || n > 100 {
			t.Fatal(n, err)
		}
	}
	wantRange(t, contents(t, s, Scan{Space: "one", Table: "T"}), 0, n)
	g.journal.f.(*fullFile).room = 1 << 20
	if err := s.Append(batchOf("one", "T", "/r", start, n, n+1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantRange(t, contents(t, s, Scan{Space: "one", Table: "T"}), 0, n+1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, c, 0)
	}
}

func TestDamageIsReportedAndSpreadsNotFurther(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 0)
	add := func(from, to int) {
		t.Helper()
		if err := errors.Join(s.Append(batchOf("one", "T", "/r", start, from, to)), s.Checkpoint()); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 10)
	add(10, 20)
	s.mu.Lock()
	m := s.series[tableKey{"one", "T"}].segments[0].blocks[1]
	s.mu.Unlock()
	flip := func(at int64) {
		t.Helper()
		f, err := os.OpenFile(m.path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := []byte{0}
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	flip(m.offset + 3) // in a column
	if r, err := s.Verify(t.Context()); err != nil || len(r.Problems) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if err := s.Scan(t.Context(), Scan{Space: "one", Table: "T"}, func(*Block) bool { return true }); err == nil {
		t.Error("damaged rows are read")
	}
	flip(m.offset - 3) // in the directory
	size, err := os.Stat(m.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, c, 0)
	add(20, 30)
	if got := contents(t, s, Scan{Space: "one", Table: "T"}); len(got) != 20 {
		t.Errorf("rows: %v", got)
	}
	if r, err := s.Verify(t.Context()); err != nil || len(r.Problems) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if now, err := os.Stat(m.path); err != nil || now.Size() != size.Size() {
		t.Errorf("the damaged file was changed: %v", err)
	}
}

// TestTornTailsAreCut leaves every prefix of a journal behind, and half a block in a
// segment file.
func TestTornTailsAreCut(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 0)
	if err := s.Append(batchOf("one", "T", "/r", start, 0, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for i := 10; i < 13; i++ {
		if err := s.Append(batchOf("one", "T", "/r", start, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := journalPath(filepath.Join(dir, journalDir), 2)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, spaceDir, "one", "T-*"))
	if len(segments) != 1 {
		t.Fatalf("segments: %v", segments)
	}
	for cut := 0; cut <= len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(segments[0], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("ALZ1 and then the power went")
		f.Close()
		s, err := Open(Config{Dir: dir, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		got := contents(t, s, Scan{Space: "one", Table: "T"})
		acknowledged := 10
		replay(whole[:cut], func(Key, *stored) { acknowledged++ }, nil)
		wantRange(t, got, 0, acknowledged)
		if err := s.Append(batchOf("one", "T", "/r", start, len(got), len(got)+1)); err != nil {
			t.Fatal(err)
		}
		wantRange(t, contents(t, s, Scan{Space: "one", Table: "T"}), 0, len(got)+1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnUnfinishedMoveIsUndone crashes between writing segments and the state
// that makes them count.
func TestAnUnfinishedMoveIsUndone(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 0)
	for i := range 3 {
		if err := s.Append(batchOf("one", "T", "/r", start, i*10, i*10+10)); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.mu.Lock()
	g := s.active
	s.mu.Unlock()
	if _, err := s.writeSegments(g); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, c, 0)
	wantRange(t, contents(t, s, Scan{Space: "one", Table: "T"}), 0, 30)
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	wantRange(t, contents(t, s, Scan{Space: "one", Table: "T"}), 0, 30)
}

func TestDropRemovesASpaceAlone(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 0)
	both := func(from, to int) {
		t.Helper()
		if err := s.Append(batchOf("one", "T", "/r", start, from, to), batchOf("two", "T", "/r", start, from, to)); err != nil {
			t.Fatal(err)
		}
	}
	both(0, 10)
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	both(10, 20)
	if err := s.Drop("one"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := contents(t, s, Scan{Space: "one", Table: "T"}); len(got) != 0 {
			t.Errorf("left in the space: %v", got)
		}
		wantRange(t, contents(t, s, Scan{Space: "two", Table: "T"}), 0, 20)
		if got := s.Spaces(); !slices.Equal(got, []string{"two"}) {
			t.Errorf("spaces: %v", got)
		}
		if _, err := os.Stat(filepath.Join(dir, spaceDir, "one")); err == nil {
			t.Error("the files are there")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, c, 0)
	}
	if err := s.Drop("../two"); err == nil {
		t.Error("../two is a space")
	}
}

func TestOldRowsGo(t *testing.T) {
	c := clock.NewManual(start)
	s := open(t, t.TempDir(), c, 0)
	for d := range 40 {
		received := start.Add(time.Duration(d) * 24 * time.Hour)
		if err := s.Append(batchOf("one", "T", "/r", received, d, d+1)); err != nil {
			t.Fatal(err)
		}
		c.Step(24 * time.Hour)
	}
	s.mu.Lock()
	journal, files := len(s.active.tables[tableKey{"one", "T"}]), len(s.series[tableKey{"one", "T"}].segments)
	s.mu.Unlock()
	if journal > 2 || files < 4 {
		t.Errorf("%d batches are in the journal, %d files", journal, files)
	}
	cutoff := c.Now().Add(-30 * 24 * time.Hour)
	wantRange(t, contents(t, s, Scan{Space: "one", Table: "T", Since: cutoff}), 10, 40)
	if err := s.Expire("one", cutoff); err != nil {
		t.Fatal(err)
	}
	got := contents(t, s, Scan{Space: "one", Table: "T"})
	wantRange(t, got, 40-len(got), 40)
	if len(got) < 30 || len(got) > 38 {
		t.Errorf("%d rows are left", len(got))
	}
}

// TestManyWriters appends from many goroutines while others read and the journal
// moves all the time.
func TestManyWriters(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(start)
	s := open(t, dir, c, 16<<10)
	var wg sync.WaitGroup
	const writers, each, rows = 8, 30, 9
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := (w*each + i) * rows
				if err := s.Append(batchOf("one", fmt.Sprintf("T%d", n%3), "/r", start, n, n+rows)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			contents(t, s, Scan{Space: "one", Table: fmt.Sprintf("T%d", rand.N(3))})
		}
	})
	wg.Wait()
	for range 2 {
		var all []int
		for i := range 3 {
			all = append(all, contents(t, s, Scan{Space: "one", Table: fmt.Sprintf("T%d", i)})...)
		}
		wantRange(t, all, 0, writers*each*rows)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, c, 16<<10)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add(frameRows(nil, batchOf("one", "T", "/r", start, 0, 3), 7))
	f.Add(frameDrop(nil, "one"))
	f.Fuzz(func(t *testing.T, p []byte) {
		whole := replay(p, func(_ Key, r *stored) {
			b := newBuilder(nil)
			b.add(r, 0, blockRows, 0, 1<<62)
		}, func(string) {})
		if whole < 0 || whole > int64(len(p)) {
			t.Errorf("%d bytes of %d are whole", whole, len(p))
		}
	})
}

func FuzzVector(f *testing.F) {
	b := newBuilder(nil)
	s := &stored{rows: 3, data: batchOf("one", "T", "/r", start, 0, 3).encode()}
	if _, err := b.add(s, 0, 100, 0, 1<<62); err != nil {
		f.Fatal(err)
	}
	block := b.block("/r")
	for k := range block.vectors {
		f.Add(block.vectors[k].encode(nil), uint8(k.kind), uint16(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, kind uint8, rows uint16) {
		v, err := decodeVector(p, Kind(kind), int(rows))
		if err != nil {
			return
		}
		for i := range v.Len() {
			if v.Has(i) && (v.Kind == String || v.Kind == Dynamic) {
				_ = v.String(i)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), clock.NewManual(start), 0)
	one := batchOf("one", "T", "/r", start, 0, 500)
	b.SetBytes(int64(one.Size()))
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Append(batchOf("one", "T", "/r", start, 0, 500)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkScan(b *testing.B) {
	s := open(b, b.TempDir(), clock.NewManual(start), 0)
	const rows = 200_000
	for i := 0; i < rows; i += 1000 {
		if err := s.Append(batchOf("one", "T", "/r", start, i, i+1000)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Checkpoint(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		err := s.Scan(b.Context(), Scan{Space: "one", Table: "T", Columns: map[string]bool{"Name": true, "Value": true}}, func(blk *Block) bool {
			n += blk.Rows
			return true
		})
		if err != nil || n != rows {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}
