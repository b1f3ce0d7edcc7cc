package instance

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func parse(t *testing.T, text string) ([]Schedule, error) {
	t.Helper()
	var list []any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return ParseSchedules(list)
}

func TestSchedules(t *testing.T) {
	cron := func(expr, more string) string {
		return `{"triggerType":"Cron","cron":{"expression":"` + expr + `"` + more + `}}`
	}
	every := func(props string) string { return `{"triggerType":"Recurrence","recurrence":{` + props + `}}` }
	for _, tc := range []struct{ trigger, after, want string }{
		{cron("0 18 * * *", ""), "2026-06-01 12:00", "2026-06-01 18:00"},
		{cron("0 18 * * *", ""), "2026-06-01 18:00", "2026-06-02 18:00"},
		{cron("*/15 * * * *", ""), "2026-06-01 12:14", "2026-06-01 12:15"},
		{cron("30 8 * * 1-5", ""), "2026-06-05 09:00", "2026-06-08 08:30"}, // Friday to Monday
		{cron("0 0 1 */3 *", ""), "2026-06-01 12:00", "2026-07-01 00:00"},
		{cron("0 12 13 * 5", ""), "2026-06-01 00:00", "2026-06-05 12:00"}, // the 13th or a Friday
		{cron("0 0 * * 7", ""), "2026-06-01 00:00", "2026-06-07 00:00"},
		{cron("0 0 29 2 *", ""), "2026-06-01 00:00", "2028-02-29 00:00"},
		{cron("0 0 31 2 *", ""), "2026-06-01 00:00", ""},
		{cron("0 9 * * *", `,"timeZone":"W. Europe Standard Time"`), "2026-06-01 00:00", "2026-06-01 07:00"},
		{cron("0 9 * * *", `,"timeZone":"Europe/Berlin"`), "2026-12-01 00:00", "2026-12-01 08:00"},
		{cron("30 2 * * *", `,"timeZone":"Europe/Berlin"`), "2026-03-28 12:00", "2026-03-30 00:30"}, // there is no 2:30 on the 29th
		{cron("0 9 * * *", `,"startTime":"2026-07-01T10:00:00"`), "2026-06-01 00:00", "2026-07-02 09:00"},
		{every(`"frequency":"Day","interval":1,"schedule":{"hours":[8,17],"minutes":[30]}`), "2026-06-01 12:00", "2026-06-01 17:30"},
		{every(`"frequency":"Day","interval":2,"startTime":"2026-06-01T06:15:00"`), "2026-06-01 12:00", "2026-06-03 06:15"},
		{every(`"frequency":"Hour","interval":6,"startTime":"2026-06-01T01:20:00"`), "2026-06-01 12:00", "2026-06-01 13:20"},
		{every(`"frequency":"minute","interval":45,"startTime":"2026-06-01T00:00:00"`), "2026-06-01 01:00", "2026-06-01 01:30"},
		{every(`"frequency":"Week","interval":1,"schedule":{"hours":[7],"minutes":[0],"weekDays":["Monday","thursday"]}`), "2026-06-02 00:00", "2026-06-04 07:00"},
		{every(`"frequency":"Week","interval":2,"startTime":"2026-06-01T07:00:00"`), "2026-06-02 00:00", "2026-06-15 07:00"},
		{every(`"frequency":"Month","interval":1,"startTime":"2026-06-10T07:00:00"`), "2026-06-11 00:00", "2026-07-10 07:00"},
		{every(`"frequency":"Month","interval":3,"startTime":"2026-01-01T00:00:00","schedule":{"hours":[4],"minutes":[5],"monthDays":[2]}`), "2026-02-11 00:00", "2026-04-02 04:05"},
	} {
		list, err := parse(t, `[{"action":"Stop",`+tc.trigger[1:]+`]`)
		if err != nil {
			t.Errorf("%s: %v", tc.trigger, err)
			continue
		}
		times, err := list[0].times()
		if err != nil {
			t.Fatal(err)
		}
		got := times.next(at(tc.after))
		if tc.want == "" && !got.IsZero() || tc.want != "" && !got.Equal(at(tc.want)) {
			t.Errorf("%s after %s: %s, want %s", tc.trigger, tc.after, got, tc.want)
		}
	}
	if list, err := ParseSchedules(nil); list != nil || err != nil {
		t.Errorf("none: %v, %v", list, err)
	}
}

func TestAround(t *testing.T) {
	s := Schedule{Enabled: true, Action: Stop, Cron: "0 18 * * *"}
	last, next, err := s.around(at("2026-06-01 12:00"), at("2026-06-04 12:00"))
	if err != nil || !last.Equal(at("2026-06-03 18:00")) || !next.Equal(at("2026-06-04 18:00")) {
		t.Errorf("around: %s, %s, %v", last, next, err)
	}
}

func TestBadSchedules(t *testing.T) {
	for text, want := range map[string]string{
		`[{"action":"Sleep"}]`: "not Start or Stop",
		`[{"action":"Stop"}]`:  "trigger type",
		`[{"action":"Stop","triggerType":"Recurrence","cron":{"expression":"* * * * *"}}]`: "trigger type",
		`[{"action":"Stop","cron":{}}]`:                                                                        "'expression' is missing",
		`[{"action":"Stop","cron":{"expression":"* * * *"}}]`:                                                  "has 4 fields",
		`[{"action":"Stop","cron":{"expression":"60 * * * *"}}]`:                                               "not within 0 to 59",
		`[{"action":"Stop","cron":{"expression":"5-1 * * * *"}}]`:                                              "not within",
		`[{"action":"Stop","cron":{"expression":"* * * * MON"}}]`:                                              "not a number",
		`[{"action":"Stop","cron":{"expression":"*/0 * * * *"}}]`:                                              "step",
		`[{"action":"Stop","cron":{"expression":"* * * * *","timeZone":"Middle Earth Standard Time"}}]`:        "time zone",
		`[{"action":"Stop","cron":{"expression":"* * * * *","timeZone":"../etc/passwd"}}]`:                     "time zone",
		`[{"action":"Stop","cron":{"expression":"* * * * *","startTime":"soon"}}]`:                             "start time",
		`[{"action":"Stop","recurrence":{"interval":1}}]`:                                                      "'frequency' is missing",
		`[{"action":"Stop","recurrence":{"frequency":"Year","interval":1}}]`:                                   "frequency",
		`[{"action":"Stop","recurrence":{"frequency":"Day"}}]`:                                                 "interval",
		`[{"action":"Stop","recurrence":{"frequency":"Day","interval":1,"schedule":{"hours":[24]}}}]`:          "hour 24",
		`[{"action":"Stop","recurrence":{"frequency":"Week","interval":1,"schedule":{"weekDays":["Noday"]}}}]`: "Noday",
		`[{"action":"Stop","schedule":{"id":"x"}}]`:                                                            "not implemented",
		`["x"]`: "not a list of schedules",
	} {
		_, err := parse(t, text)
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	spec := Spec{UID: "u", Schedules: make([]Schedule, 5)}
	var bad *InvalidError
	if err := spec.validate(); !errors.As(err, &bad) || !strings.Contains(bad.Problem, "at most 4") {
		t.Errorf("five schedules: %v", err)
	}
	for _, d := range []time.Duration{time.Minute, 73 * time.Hour, -time.Hour} {
		if err := (&Spec{UID: "u", IdleAfter: d}).validate(); !errors.As(err, &bad) {
			t.Errorf("idle time %s: %v", d, err)
		}
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 18 * * *", "*/5 1-3,7 1 */2 0-6", "59 23 31 12 7", "* * * *", "a b c d e"} {
		f.Add(s, "Europe/London")
	}
	from := at("2026-03-28 23:59")
	f.Fuzz(func(t *testing.T, expr, zone string) {
		s := Schedule{Action: Stop, Cron: expr, Zone: zone}
		times, err := s.times()
		if err != nil || expr == "" {
			return
		}
		for i, last := 0, from; i < 3; i++ {
			next := times.next(last)
			if next.IsZero() {
				return
			}
			if !next.After(last) || next.Second() != 0 || next.Sub(last) > horizon {
				t.Fatalf("%q in %q: %s after %s", expr, zone, next, last)
			}
			last = next
		}
	})
}

func TestTimeline(t *testing.T) {
	var line timeline
	wall := at("2026-06-01 12:00")
	if got := line.onClock(wall); !got.Equal(wall) {
		t.Errorf("without an observation: %s", got)
	}
	line.observe(wall, wall.Add(time.Hour)) // an hour ahead
	line.observe(wall.Add(time.Minute), wall.Add(time.Minute+time.Hour))
	line.observe(wall.Add(10*time.Minute), wall.Add(10*time.Minute+3*time.Hour)) // advanced by two hours
	if len(line.legs) != 2 {
		t.Errorf("%d legs, want 2", len(line.legs))
	}
	for _, tc := range []struct{ after, ahead time.Duration }{
		{-time.Hour, time.Hour}, {9 * time.Minute, time.Hour}, {10 * time.Minute, 3 * time.Hour}, {time.Hour, 3 * time.Hour},
	} {
		if got := line.onClock(wall.Add(tc.after)).Sub(wall.Add(tc.after)); got != tc.ahead {
			t.Errorf("%s on: %s ahead, want %s", tc.after, got, tc.ahead)
		}
	}
	for i := range 2 * mostLegs {
		line.observe(wall.Add(time.Duration(i)*time.Hour), wall.Add(time.Duration(2*i)*time.Hour))
	}
	if len(line.legs) > mostLegs {
		t.Errorf("%d legs", len(line.legs))
	}
}
