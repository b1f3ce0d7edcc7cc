package instance

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// InvalidError refuses a setting.
type InvalidError struct {
	// Field is the property below the instance's own, Problem a sentence.
	Field, Problem string
}

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// Bounds of the settings, as the studio and the documents state them.
const (
	minIdle      = 15 * time.Minute
	maxIdle      = 3 * 24 * time.Hour
	maxSchedules = 4
)

func (s *Spec) validate() error {
	if s.UID == "" || strings.ContainsAny(s.UID, `/\`) || strings.HasPrefix(s.UID, ".") {
		return fmt.Errorf("instance %s: the UID %q is not usable", s.ID, s.UID)
	}
	if s.IdleAfter != 0 && (s.IdleAfter < minIdle || s.IdleAfter > maxIdle) {
		return &InvalidError{"idleTimeBeforeShutdown", "An instance may be idle for 15 minutes to 3 days before it is shut down."}
	}
	if len(s.Schedules) > maxSchedules {
		return &InvalidError{"schedules.computeStartStop", fmt.Sprintf("An instance has at most %d schedules, not %d.", maxSchedules, len(s.Schedules))}
	}
	for i := range s.Schedules {
		if _, err := s.Schedules[i].times(); err != nil {
			return &InvalidError{fmt.Sprintf("schedules.computeStartStop[%d]", i), err.Error()}
		}
	}
	return nil
}

// Schedule starts or stops an instance again and again.
type Schedule struct {
	Enabled bool  `json:"enabled"`
	Action  Event `json:"action"` // Start or Stop
	// Cron is set, or Frequency is.
	Cron string `json:"cron,omitempty"` // minute hour day-of-month month day-of-week
	// Frequency is Minute, Hour, Day, Week or Month, and Interval how many of
	// them lie between two times.
	Frequency string `json:"frequency,omitempty"`
	Interval  int    `json:"interval,omitempty"`
	// Hours and the rest narrow a recurrence down.
	Hours     []int    `json:"hours,omitempty"`
	Minutes   []int    `json:"minutes,omitempty"`
	WeekDays  []string `json:"weekDays,omitempty"`
	MonthDays []int    `json:"monthDays,omitempty"`
	// Start is when it begins, "2006-01-02T15:04:05" in Zone, or "".
	Start string `json:"start,omitempty"`
	// Zone is a time zone as Windows names it, or the IANA; UTC if empty.
	Zone string `json:"zone,omitempty"`
}

func sameSchedules(a, b []Schedule) bool { return reflect.DeepEqual(a, b) }

// ParseSchedules reads properties.schedules.computeStartStop of a
// ComputeInstance. Errors: *InvalidError.
func ParseSchedules(list []any) ([]Schedule, error) {
	var docs []struct {
		Status      string `json:"status"`
		Action      string `json:"action"`
		TriggerType string `json:"triggerType"`
		Cron        *struct {
			StartTime, TimeZone, Expression string
		} `json:"cron"`
		Recurrence *struct {
			Frequency, StartTime, TimeZone string
			Interval                       int
			Schedule                       *struct {
				Hours, Minutes, MonthDays []int
				WeekDays                  []string
			}
		} `json:"recurrence"`
		Schedule *struct {
			ID string `json:"id"`
		} `json:"schedule"`
	}
	const field = "schedules.computeStartStop"
	if len(list) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(list)
	if err == nil {
		err = json.Unmarshal(data, &docs)
	}
	if err != nil {
		return nil, &InvalidError{field, "It is not a list of schedules: " + err.Error() + "."}
	}
	var out []Schedule
	for i, d := range docs {
		bad := func(format string, args ...any) ([]Schedule, error) {
			return nil, &InvalidError{fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf(format, args...)}
		}
		s := Schedule{Enabled: !strings.EqualFold(d.Status, "Disabled")}
		switch {
		case strings.EqualFold(d.Action, "Start"):
			s.Action = Start
		case strings.EqualFold(d.Action, "Stop"):
			s.Action = Stop
		default:
			return bad("The action '%s' is not Start or Stop.", d.Action)
		}
		switch kind := strings.ToLower(d.TriggerType); {
		case d.Schedule != nil && d.Cron == nil && d.Recurrence == nil:
			return bad("A reference to a schedule of the workspace is not implemented: give 'cron' or 'recurrence'.")
		case d.Cron != nil && (kind == "" || kind == "cron"):
			s.Cron, s.Zone, s.Start = d.Cron.Expression, d.Cron.TimeZone, d.Cron.StartTime
			if s.Cron == "" {
				return bad("The property 'expression' is missing.")
			}
		case d.Recurrence != nil && (kind == "" || kind == "recurrence"):
			r := d.Recurrence
			s.Frequency, s.Interval, s.Zone, s.Start = r.Frequency, r.Interval, r.TimeZone, r.StartTime
			if s.Frequency == "" {
				return bad("The property 'frequency' is missing.")
			}
			if r.Schedule != nil {
				s.Hours, s.Minutes, s.WeekDays, s.MonthDays = r.Schedule.Hours, r.Schedule.Minutes, r.Schedule.WeekDays, r.Schedule.MonthDays
			}
		default:
			return bad("The trigger type '%s' is not Cron or Recurrence with the property of that name.", d.TriggerType)
		}
		if _, err := s.times(); err != nil {
			return bad("%s", err)
		}
		out = append(out, s)
	}
	return out, nil
}

// times is when a schedule is due.
type times struct {
	zone  *time.Location
	start time.Time // not before; zero for any time
	// one bit per value
	minutes, hours, days, months, weekdays uint64
	// eitherDay is cron's rule: with both day fields given, one of them is enough.
	// What Azure does with both is not documented.
	eitherDay bool
	// every counts in units from start; 0 for cron.
	every int
	unit  string // "Minute", "Hour", "Day", "Week" or "Month"
}

func bits(from, to, step int) (b uint64) {
	for i := from; i <= to; i += step {
		b |= 1 << i
	}
	return b
}

func (s *Schedule) times() (*times, error) {
	zone, err := findZone(s.Zone)
	if err != nil {
		return nil, err
	}
	t := &times{zone: zone}
	if s.Start != "" {
		if t.start, err = parseStart(s.Start, zone); err != nil {
			return nil, err
		}
	}
	if s.Cron != "" {
		return t, t.parseCron(s.Cron)
	}
	return t, t.parseRecurrence(s)
}

func parseStart(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("the start time %q is not of the form yyyy-MM-ddTHH:mm:ss", text)
}

func (t *times) parseCron(text string) error {
	f := strings.Fields(text)
	if len(f) != 5 {
		return fmt.Errorf("the cron expression %q has %d fields, not 5", text, len(f))
	}
	for i, field := range []struct {
		name     string
		low, top int
		set      *uint64
	}{
		{"minute", 0, 59, &t.minutes}, {"hour", 0, 23, &t.hours}, {"day of the month", 1, 31, &t.days},
		{"month", 1, 12, &t.months}, {"day of the week", 0, 7, &t.weekdays},
	} {
		set, err := parseField(f[i], field.low, field.top)
		if err != nil {
			return fmt.Errorf("the cron expression %q: the %s %w", text, field.name, err)
		}
		*field.set = set
	}
	if t.weekdays&(1<<7) != 0 {
		t.weekdays |= 1 // Sunday is 0 and 7
	}
	t.eitherDay = !strings.HasPrefix(f[2], "*") && !strings.HasPrefix(f[4], "*")
	return nil
}

func parseField(text string, low, top int) (set uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		span, every, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(every); err != nil || step < 1 {
				return 0, fmt.Errorf("has the step %q", every)
			}
		}
		from, to := low, top
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, err = strconv.Atoi(first); err != nil {
				return 0, fmt.Errorf("is %q, not a number", first)
			}
			switch {
			case ranged:
				if to, err = strconv.Atoi(last); err != nil {
					return 0, fmt.Errorf("is %q, not a number", last)
				}
			case !stepped:
				to = from
			}
		}
		if from < low || to > top || from > to {
			return 0, fmt.Errorf("%q is not within %d to %d", part, low, top)
		}
		set |= bits(from, to, step)
	}
	return set, nil
}

func (t *times) parseRecurrence(s *Schedule) error {
	units := []string{"Minute", "Hour", "Day", "Week", "Month"}
	i := slices.IndexFunc(units, func(u string) bool { return strings.EqualFold(u, s.Frequency) })
	if i < 0 {
		return fmt.Errorf("the frequency %q is not one of %s", s.Frequency, strings.Join(units, ", "))
	}
	t.unit, t.every = units[i], s.Interval
	if t.every < 1 || t.every > 1000 {
		return fmt.Errorf("the interval %d is not within 1 to 1000", s.Interval)
	}
	if t.start.IsZero() {
		// Without a start Azure counts from when the schedule was made; here it
		// counts from a Monday at midnight, so that it needs no memory.
		t.start = time.Date(2024, 1, 1, 0, 0, 0, 0, t.zone)
	}
	at := t.start.In(t.zone)
	t.months = bits(1, 12, 1)
	t.minutes, t.hours, t.days, t.weekdays = bits(0, 59, 1), bits(0, 23, 1), bits(1, 31, 1), bits(0, 6, 1)
	switch t.unit {
	case "Hour":
		t.minutes = 1 << at.Minute()
	case "Day", "Week", "Month":
		t.minutes, t.hours = 1<<at.Minute(), 1<<at.Hour()
	}
	var err error
	set := func(to *uint64, name string, values []int, low, top int) {
		if len(values) == 0 {
			return
		}
		*to = 0
		for _, v := range values {
			if v < low || v > top {
				err = fmt.Errorf("the %s %d is not within %d to %d", name, v, low, top)
				return
			}
			*to |= 1 << v
		}
	}
	set(&t.minutes, "minute", s.Minutes, 0, 59)
	set(&t.hours, "hour", s.Hours, 0, 23)
	switch {
	case t.unit == "Week" && len(s.WeekDays) == 0:
		t.weekdays = 1 << at.Weekday()
	case t.unit == "Month" && len(s.MonthDays) == 0 && len(s.WeekDays) == 0:
		t.days = 1 << at.Day()
	}
	set(&t.days, "day of the month", s.MonthDays, 1, 31)
	if len(s.WeekDays) > 0 {
		t.weekdays = 0
		for _, name := range s.WeekDays {
			day := time.Sunday
			for ; day <= time.Saturday && !strings.EqualFold(day.String(), name); day++ {
			}
			if day > time.Saturday {
				return fmt.Errorf("the day %q is not a day of the week", name)
			}
			t.weekdays |= 1 << day
		}
	}
	return err
}

func has(set uint64, v int) bool { return set&(1<<v) != 0 }

func (t *times) dayMatches(at time.Time) bool {
	day, weekday := has(t.days, at.Day()), has(t.weekdays, int(at.Weekday()))
	if t.eitherDay {
		return day || weekday
	}
	return day && weekday
}

// inStep reports whether a recurrence with an interval takes the unit that at
// lies in.
func (t *times) inStep(at time.Time) bool {
	if t.every <= 1 {
		return true
	}
	days := func(a time.Time) int {
		return int(math.Round(time.Date(a.Year(), a.Month(), a.Day(), 0, 0, 0, 0, time.UTC).Sub(time.Date(1970, 1, 5, 0, 0, 0, 0, time.UTC)).Hours() / 24))
	}
	start := t.start.In(t.zone)
	n := 0
	switch t.unit {
	case "Minute":
		n = int(at.Sub(start.Truncate(time.Minute)) / time.Minute)
	case "Hour":
		n = int(at.Truncate(time.Hour).Sub(start.Truncate(time.Hour)) / time.Hour)
	case "Day":
		n = days(at) - days(start)
	case "Week": // weeks begin on Monday, as 5 January 1970 was
		n = days(at)/7 - days(start)/7
	case "Month":
		n = (at.Year()-start.Year())*12 + int(at.Month()) - int(start.Month())
	}
	return n%t.every == 0
}

// horizon is how far ahead a schedule is looked for: an expression may name a
// day that never comes.
const horizon = 5 * 366 * 24 * time.Hour

// next is the first moment after a given one, or zero if there is none in years.
func (t *times) next(after time.Time) time.Time {
	if !t.start.IsZero() && after.Before(t.start) {
		after = t.start.Add(-time.Nanosecond)
	}
	at := after.In(t.zone).Truncate(time.Minute).Add(time.Minute)
	if !t.start.IsZero() && at.Before(t.start) {
		at = at.Add(time.Minute) // the start has seconds
	}
	end := after.Add(horizon)
	for at.Before(end) {
		was := at
		switch {
		case !has(t.months, int(at.Month())):
			at = time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, t.zone)
		case !t.dayMatches(at), (t.unit == "Day" || t.unit == "Week" || t.unit == "Month") && !t.inStep(at):
			at = time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, t.zone)
		case !has(t.hours, at.Hour()), t.unit == "Hour" && !t.inStep(at):
			at = at.Add(time.Duration(60-at.Minute()) * time.Minute)
		case !has(t.minutes, at.Minute()), t.unit == "Minute" && !t.inStep(at):
			at = at.Add(time.Minute)
		default:
			return at.UTC()
		}
		if !at.After(was) { // an hour that the change to summer time leaves out
			at = was.Add(time.Hour)
		}
	}
	return time.Time{}
}

// around returns the last moment after from and not after now, and the first one
// after now; zero for none.
func (s *Schedule) around(from, now time.Time) (last, next time.Time, err error) {
	t, err := s.times()
	if err != nil {
		return last, next, err
	}
	for at := t.next(from); !at.IsZero(); at = t.next(at) {
		if at.After(now) {
			return last, at, nil
		}
		last = at
	}
	return last, time.Time{}, nil
}

// zones is a list of Windows' names of time zones, which Azure uses, and the
// IANA's, one pair per line, tab between.
//
//go:embed zones.tsv
var zones string

func findZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "UTC") {
		return time.UTC, nil
	}
	for line := range strings.Lines(zones) {
		windows, iana, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.EqualFold(windows, name) {
			name = iana
			break
		}
	}
	if name == "Local" || !strings.Contains(name, "/") {
		return nil, fmt.Errorf("the time zone %q is not known", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("the time zone %q is not known", name)
	}
	return zone, nil
}
