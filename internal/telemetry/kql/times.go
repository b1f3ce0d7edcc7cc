package kql

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// datetimeLayouts are the forms beside ISO 8601 that the documentation lists, and
// the month/day/year form of .NET's invariant culture.
func datetimeLayouts() []string {
	return []string{
		"Mon, 2 Jan 06 15:04:05 MST", "Mon, 2 Jan 06 15:04:05", "Mon, 2 Jan 06 15:04", "Mon, 2 Jan 06 15:04 MST",
		"Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05 -0700",
		"2 Jan 06 15:04:05 MST", "2 Jan 06 15:04:05", "2 Jan 06 15:04", "2 Jan 06 15:04 MST",
		"2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05", "2 Jan 2006",
		"Monday, 02-Jan-06 15:04:05 MST", "Monday, 02-Jan-06 15:04:05", "Monday, 02-Jan-06 15:04 MST", "Monday, 02-Jan-06 15:04",
		"02-Jan-06 15:04:05 MST", "02-Jan-06 15:04:05", "02-Jan-06 15:04 MST", "02-Jan-06 15:04",
		"1/2/2006 3:04:05 PM", "1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006", "1-2-2006",
		"Jan 2, 2006", "January 2, 2006",
	}
}

// parseDateTime reads a datetime, or returns null.
func parseDateTime(s string) Value {
	s = strings.TrimSpace(s)
	if v, ok := parseISO(s); ok {
		return v
	}
	if len(s) < 6 || len(s) > 64 {
		return Value{}
	}
	for _, layout := range datetimeLayouts() {
		if t, err := time.Parse(layout, s); err == nil {
			return DateTimeValue(t)
		}
	}
	return Value{}
}

// parseISO reads yyyy-MM-dd, then HH:mm, seconds with a fraction, and a zone as
// far as they are there.
func parseISO(s string) (Value, bool) {
	i := 0
	num := func(width int) int {
		if i+width > len(s) {
			i = -1 << 30
			return 0
		}
		n := 0
		for range width {
			if i < 0 || !isDigit(s[i]) {
				i = -1 << 30
				return 0
			}
			n = n*10 + int(s[i]-'0')
			i++
		}
		return n
	}
	skip := func(c byte) bool {
		if i >= 0 && i < len(s) && s[i] == c {
			i++
			return true
		}
		return false
	}
	y := num(4)
	if i == len(s) && y > 0 { // a year alone
		return DateTimeValue(time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)), true
	}
	if i < 0 || !skip('-') && !skip('.') && !skip('/') {
		return Value{}, false
	}
	// Month and day may have one digit.
	short := func() int {
		if i+1 < len(s) && isDigit(s[i+1]) {
			return num(2)
		}
		return num(1)
	}
	mo := short()
	if i < 0 {
		return Value{}, false
	}
	d := 1
	if skip('-') || skip('.') || skip('/') {
		d = short()
	}
	if i < 0 || y < 1 || mo < 1 || mo > 12 || d < 1 || d > daysIn(y, mo) {
		return Value{}, false
	}
	var h, mi, sec int
	var frac int64
	if skip('T') || skip('t') || skip(' ') {
		h = short()
		if i < 0 || !skip(':') {
			return Value{}, false
		}
		mi = num(2)
		if i > 0 && skip(':') {
			sec = num(2)
			if i > 0 && skip('.') {
				scale := ticksPerSecond
				start := i
				for i < len(s) && isDigit(s[i]) {
					scale /= 10
					frac += int64(s[i]-'0') * scale
					i++
				}
				if i == start {
					return Value{}, false
				}
			}
		}
		if i < 0 || h > 23 || mi > 59 || sec > 59 {
			return Value{}, false
		}
	}
	skip(' ')
	offset := 0
	if !skip('Z') && !skip('z') && i < len(s) {
		switch {
		case s[i:] == "UTC" || s[i:] == "GMT":
			i = len(s)
		case s[i] == '+' || s[i] == '-':
			sign := 1
			if s[i] == '-' {
				sign = -1
			}
			i++
			oh := num(2)
			if i < 0 {
				return Value{}, false
			}
			skip(':')
			om := 0
			if i < len(s) {
				om = num(2)
			}
			offset = sign * (oh*3600 + om*60)
		}
	}
	if i != len(s) {
		return Value{}, false
	}
	t := time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC)
	v := DateTimeValue(t.Add(-time.Duration(offset) * time.Second))
	v.n += frac
	return v, v.k != kNull
}

func daysIn(y, mo int) int { return time.Date(y, time.Month(mo)+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// parseTimeSpan reads a number with a unit, a number of days, or
// [-][d.]hh:mm[:ss[.fffffff]], or returns null.
func parseTimeSpan(s string) Value {
	s = strings.TrimSpace(s)
	neg := false
	switch {
	case strings.HasPrefix(s, "-"):
		neg, s = true, s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	v := parseUnsignedSpan(s)
	if neg {
		v.n = -v.n
	}
	return v
}

func parseUnsignedSpan(s string) Value {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		i++
	}
	if i == 0 {
		return Value{}
	}
	if i == len(s) {
		if strings.Count(s, ".") > 1 {
			return Value{}
		}
		v, _ := scaleTime(s, ticksPerDay)
		return v
	}
	if s[i] != ':' {
		unit := timeUnit(strings.TrimSpace(s[i:]))
		if unit == 0 {
			return Value{}
		}
		v, _ := scaleTime(s[:i], unit)
		return v
	}
	var days int64
	if n := strings.IndexByte(s[:i], '.'); n >= 0 {
		d, err := strconv.ParseInt(s[:n], 10, 64)
		if err != nil || d > math.MaxInt64/ticksPerDay-1 {
			return Value{}
		}
		days, s = d, s[n+1:]
	}
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return Value{}
	}
	h, err1 := strconv.ParseInt(parts[0], 10, 32)
	m, err2 := strconv.ParseInt(parts[1], 10, 32)
	if err1 != nil || err2 != nil || h < 0 || h > 23 || m < 0 || m > 59 {
		return Value{}
	}
	n := days*ticksPerDay + h*ticksPerHour + m*ticksPerMinute
	if len(parts) == 3 {
		sec, err := strconv.ParseFloat(parts[2], 64)
		if err != nil || !(sec >= 0 && sec < 60) {
			return Value{}
		}
		n += int64(math.Round(sec * float64(ticksPerSecond)))
	}
	return Value{k: kTimeSpan, n: n}
}

// parseReal reads a real, or returns null.
func parseReal(s string) Value {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "nan":
		return RealValue(math.NaN())
	case "inf", "+inf", "infinity", "+infinity":
		return RealValue(math.Inf(1))
	case "-inf", "-infinity":
		return RealValue(math.Inf(-1))
	}
	if strings.ContainsAny(s, "_xXpP") || strings.ContainsAny(s, "iInN") {
		return Value{}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return Value{}
	}
	return RealValue(f)
}

// timeUnit returns the ticks of a unit of time, -1 for nanoseconds (a hundredth
// of a tick), or 0.
func timeUnit(word string) int64 {
	switch word {
	case "d", "day", "days":
		return ticksPerDay
	case "h", "hr", "hrs", "hour", "hours":
		return ticksPerHour
	case "m", "min", "minute", "minutes":
		return ticksPerMinute
	case "s", "sec", "second", "seconds":
		return ticksPerSecond
	case "ms", "milli", "millis", "millisec", "millisecond", "milliseconds":
		return ticksPerMilli
	case "micro", "micros", "microsec", "microsecond", "microseconds":
		return ticksPerMicro
	case "nano", "nanos", "nanosec", "nanosecond", "nanoseconds":
		return -1
	case "tick", "ticks":
		return 1
	}
	return 0
}

func scaleTime(text string, unit int64) (Value, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if unit == -1 {
			return Value{k: kTimeSpan, n: n / 100}, true
		}
		if n <= math.MaxInt64/unit {
			return Value{k: kTimeSpan, n: n * unit}, true
		}
		return Value{}, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, false
	}
	if unit == -1 {
		f /= 100
	} else {
		f *= float64(unit)
	}
	if f >= math.MaxInt64 {
		return Value{}, false
	}
	return Value{k: kTimeSpan, n: int64(math.Round(f))}, true
}
