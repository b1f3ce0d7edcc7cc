package kql

import (
	"strings"
	"time"
)

func timeFunctions() map[string]*function {
	part := func(args string, f func(t time.Time) int64) *function {
		return &function{args: args, ret: Int, call: func(a []Value) Value { return IntValue(int32(f(ticksTime(a[0].n)))) }}
	}
	// start makes startof…(date, offset); end is one tick before the next start.
	start := func(unit string) *function {
		return &function{args: "di?", ret: DateTime, name: asFirst, call: func(a []Value) Value {
			return startOf(unit, a[0].n, offsetOf(a))
		}}
	}
	end := func(unit string) *function {
		return &function{args: "di?", ret: DateTime, name: asFirst, call: func(a []Value) Value {
			v := startOf(unit, a[0].n, offsetOf(a)+1)
			if v.k != kNull {
				v.n--
			}
			return v
		}}
	}
	unix := func(perUnit float64) *function {
		return &function{args: "n", ret: DateTime, call: func(a []Value) Value {
			if a[0].k != kReal {
				if perUnit >= 1 {
					if n := a[0].n; n > maxDateTicks/int64(perUnit) || n < -maxDateTicks/int64(perUnit) {
						return Value{}
					}
					return dateTicks(unixEpochTicks, a[0].n*int64(perUnit))
				}
				return dateTicks(unixEpochTicks, a[0].n/100)
			}
			span := spanOf(a[0].Real() * perUnit)
			if span.k == kNull {
				return span
			}
			return dateTicks(unixEpochTicks, span.n)
		}}
	}
	return map[string]*function{
		"now":          {special: bindNow, usage: "now([timespan])"},
		"ago":          {special: bindAgo, usage: "ago(timespan)"},
		"startofday":   start("day"),
		"startofweek":  start("week"),
		"startofmonth": start("month"),
		"startofyear":  start("year"),
		"endofday":     end("day"),
		"endofweek":    end("week"),
		"endofmonth":   end("month"),
		"endofyear":    end("year"),
		"dayofweek": {args: "d", ret: TimeSpan, call: func(a []Value) Value {
			return Value{k: kTimeSpan, n: int64(ticksTime(a[0].n).Weekday()) * ticksPerDay}
		}},
		"dayofmonth":   part("d", func(t time.Time) int64 { return int64(t.Day()) }),
		"dayofyear":    part("d", func(t time.Time) int64 { return int64(t.YearDay()) }),
		"hourofday":    part("d", func(t time.Time) int64 { return int64(t.Hour()) }),
		"monthofyear":  part("d", func(t time.Time) int64 { return int64(t.Month()) }),
		"getmonth":     part("d", func(t time.Time) int64 { return int64(t.Month()) }),
		"getyear":      part("d", func(t time.Time) int64 { return int64(t.Year()) }),
		"week_of_year": part("d", func(t time.Time) int64 { _, w := t.ISOWeek(); return int64(w) }),
		"datetime_part": {args: "sd", ret: Int, call: func(a []Value) Value {
			return datetimePart(a[0].s, a[1].n)
		}},
		"datetime_add": {args: "sid", ret: DateTime, call: func(a []Value) Value {
			return datetimeAdd(strings.ToLower(a[0].s), a[1].n, a[2].n)
		}},
		"datetime_diff": {args: "sdd", ret: Long, call: func(a []Value) Value {
			return datetimeDiff(strings.ToLower(a[0].s), a[1].n, a[2].n)
		}},
		"make_datetime":                    {args: "aiii?i?n?", ret: DateTime, call: makeDatetime},
		"make_timespan":                    {args: "iin?n?", ret: TimeSpan, call: makeTimespan},
		"unixtime_seconds_todatetime":      unix(float64(ticksPerSecond)),
		"unixtime_milliseconds_todatetime": unix(float64(ticksPerMilli)),
		"unixtime_microseconds_todatetime": unix(float64(ticksPerMicro)),
		"unixtime_nanoseconds_todatetime":  unix(0.01),
		"format_datetime": {args: "ds", ret: String, name: asFirst, call: func(a []Value) Value {
			return formatDatetime(a[0].n, a[1].s)
		}},
		"format_timespan": {args: "ts", ret: String, name: asFirst, call: func(a []Value) Value {
			return formatTimespan(a[0].n, a[1].s)
		}},
	}
}

func offsetOf(a []Value) int64 {
	if len(a) > 1 {
		return max(-1_000_000, min(a[1].n, 1_000_000))
	}
	return 0
}

// startOf returns the start of the unit that ticks is in, offset units later.
func startOf(unit string, ticks, offset int64) Value {
	switch unit {
	case "day":
		return dateTicks(binTicks(ticks, ticksPerDay, 0), offset*ticksPerDay)
	case "week": // weeks begin on Sunday; the first day of year 1 was a Monday
		return dateTicks(binTicks(ticks, 7*ticksPerDay, -ticksPerDay), offset*7*ticksPerDay)
	}
	t := ticksTime(ticks)
	if unit == "month" {
		return DateTimeValue(time.Date(t.Year(), t.Month()+time.Month(offset), 1, 0, 0, 0, 0, time.UTC))
	}
	return DateTimeValue(time.Date(t.Year()+int(offset), 1, 1, 0, 0, 0, 0, time.UTC))
}

// bindNow binds now(offset): the same time throughout a query.
func bindNow(b *binder, e *callExpr, sc *scope, en *env) *expr {
	now := constant(e.at, DateTimeValue(b.opt.Now), DateTime)
	switch len(e.args) {
	case 0:
		return now
	case 1:
		d := b.argument("now", 0, b.expr(e.args[0].e, sc, en), 't')
		if b.failed() {
			return now
		}
		return b.arithExpr(e.at, "+", now, d)
	}
	return b.fail(e.at, "", "function 'now' takes at most 1 argument, not %d", len(e.args))
}

// bindAgo binds ago(timespan).
func bindAgo(b *binder, e *callExpr, sc *scope, en *env) *expr {
	if len(e.args) != 1 {
		return b.fail(e.at, "", "function 'ago' takes 1 argument, not %d", len(e.args))
	}
	d := b.argument("ago", 0, b.expr(e.args[0].e, sc, en), 't')
	if b.failed() {
		return d
	}
	return b.arithExpr(e.at, "-", constant(e.at, DateTimeValue(b.opt.Now), DateTime), d)
}

func datetimePart(part string, ticks int64) Value {
	t := ticksTime(ticks)
	n := int64(0)
	switch strings.ToLower(part) {
	case "year":
		n = int64(t.Year())
	case "quarter":
		n = int64(t.Month()+2) / 3
	case "month":
		n = int64(t.Month())
	case "week_of_year", "weekofyear":
		_, w := t.ISOWeek()
		n = int64(w)
	case "day":
		n = int64(t.Day())
	case "dayofyear":
		n = int64(t.YearDay())
	case "hour":
		n = int64(t.Hour())
	case "minute":
		n = int64(t.Minute())
	case "second":
		n = int64(t.Second())
	case "millisecond":
		n = ticks % ticksPerSecond / ticksPerMilli
	case "microsecond":
		n = ticks % ticksPerSecond / ticksPerMicro
	case "nanosecond":
		n = ticks % ticksPerSecond * 100
	default:
		return Value{}
	}
	return IntValue(int32(n)) // the largest are nanoseconds, below a second
}

// unitTicks is the length of a unit of fixed length, or 0.
func unitTicks(unit string) int64 {
	switch unit {
	case "week":
		return 7 * ticksPerDay
	case "day":
		return ticksPerDay
	case "hour":
		return ticksPerHour
	case "minute":
		return ticksPerMinute
	case "second":
		return ticksPerSecond
	case "millisecond":
		return ticksPerMilli
	case "microsecond":
		return ticksPerMicro
	}
	return 0
}

func datetimeAdd(unit string, n, ticks int64) Value {
	if size := unitTicks(unit); size != 0 {
		if n > maxDateTicks/size || n < -maxDateTicks/size {
			return Value{}
		}
		return dateTicks(ticks, n*size)
	}
	months := int64(0)
	switch unit {
	case "nanosecond":
		return dateTicks(ticks, n/100)
	case "year":
		months = 12
	case "quarter":
		months = 3
	case "month":
		months = 1
	default:
		return Value{}
	}
	if n > 200_000 || n < -200_000 {
		return Value{}
	}
	// A day that the month does not have becomes its last one.
	t := ticksTime(ticks)
	total := int64(t.Year())*12 + int64(t.Month()) - 1 + n*months
	y, mo := int(total/12), int(total%12)+1
	if total < 12 || y > 9999 {
		return Value{}
	}
	day := min(t.Day(), daysIn(y, mo))
	v := DateTimeValue(time.Date(y, time.Month(mo), day, 0, 0, 0, 0, time.UTC))
	v.n += ticks % ticksPerDay
	return v
}

// datetimeDiff counts the boundaries of a unit between two times.
func datetimeDiff(unit string, a, b int64) Value {
	switch unit {
	case "nanosecond":
		return LongValue((a - b) * 100)
	case "week":
		return LongValue((binTicks(a, 7*ticksPerDay, -ticksPerDay) - binTicks(b, 7*ticksPerDay, -ticksPerDay)) / (7 * ticksPerDay))
	}
	if size := unitTicks(unit); size != 0 {
		return LongValue(a/size - b/size)
	}
	ta, tb := ticksTime(a), ticksTime(b)
	months := func(t time.Time) int64 { return int64(t.Year())*12 + int64(t.Month()) - 1 }
	switch unit {
	case "year":
		return LongValue(int64(ta.Year() - tb.Year()))
	case "quarter":
		return LongValue(months(ta)/3 - months(tb)/3)
	case "month":
		return LongValue(months(ta) - months(tb))
	}
	return Value{}
}

func makeDatetime(a []Value) Value {
	if a[0].k != kInt && a[0].k != kLong || len(a) < 3 {
		return Value{}
	}
	get := func(i int) int64 {
		if i < len(a) {
			return a[i].n
		}
		return 0
	}
	y, mo, d, h, mi := get(0), get(1), get(2), get(3), get(4)
	sec := 0.0
	if len(a) > 5 {
		sec = a[5].number()
	}
	if y < 1 || y > 9999 || mo < 1 || mo > 12 || d < 1 || d > int64(daysIn(int(y), int(mo))) || h < 0 || h > 23 || mi < 0 || mi > 59 || !(sec >= 0 && sec < 60) {
		return Value{}
	}
	v := DateTimeValue(time.Date(int(y), time.Month(mo), int(d), int(h), int(mi), 0, 0, time.UTC))
	v.n += spanOf(sec * float64(ticksPerSecond)).n
	return v
}

// makeTimespan is make_timespan(hour, minute), (hour, minute, second) or (day,
// hour, minute, second).
func makeTimespan(a []Value) Value {
	var d, h, m int64
	sec := 0.0
	switch len(a) {
	case 2:
		h, m = a[0].n, a[1].n
	case 3:
		h, m, sec = a[0].n, a[1].n, a[2].number()
	default:
		d, h, m, sec = a[0].n, a[1].n, castLong(a[2]).n, a[3].number()
	}
	if d < 0 || d > 10_675_198 || h < 0 || h > 23 || m < 0 || m > 59 || !(sec >= 0 && sec < 60) {
		return Value{}
	}
	return Value{k: kTimeSpan, n: d*ticksPerDay + h*ticksPerHour + m*ticksPerMinute + spanOf(sec*float64(ticksPerSecond)).n}
}

// run returns how often the character at the start of s is repeated there.
func run(s string) int {
	n := 1
	for n < len(s) && s[n] == s[0] {
		n++
	}
	return n
}

// fraction appends the first n digits of the ticks of a second; with trim not
// when they are zero at the end.
func fraction(dst []byte, ticks int64, n int, trim bool) []byte {
	digits := pad(nil, ticks, 7)[:min(n, 7)]
	if trim {
		digits = []byte(strings.TrimRight(string(digits), "0"))
	}
	return append(dst, digits...)
}

// formatDatetime is format_datetime(). A format with anything but the specifiers
// and delimiters of the documentation is null.
func formatDatetime(ticks int64, format string) Value {
	t := ticksTime(ticks)
	var out []byte
	number := func(n, width, most int) bool {
		if width > most {
			return false
		}
		out = pad(out, int64(n), width)
		return true
	}
	for i := 0; i < len(format); {
		n := run(format[i:])
		ok := true
		switch format[i] {
		case 'y':
			switch n {
			case 1, 2:
				out = pad(out, int64(t.Year()%100), n)
			case 4:
				out = pad(out, int64(t.Year()), 4)
			default:
				ok = false
			}
		case 'M':
			ok = number(int(t.Month()), n, 2)
		case 'd':
			ok = number(t.Day(), n, 2)
		case 'h':
			ok = number((t.Hour()+11)%12+1, n, 2)
		case 'H':
			ok = number(t.Hour(), n, 2)
		case 'm':
			ok = number(t.Minute(), n, 2)
		case 's':
			ok = number(t.Second(), n, 2)
		case 'f', 'F':
			ok = n <= 7
			out = fraction(out, ticks%ticksPerSecond, n, format[i] == 'F')
		case 't':
			ok = n == 2
			if t.Hour() < 12 {
				out = append(out, "AM"...)
			} else {
				out = append(out, "PM"...)
			}
		case ' ', '/', '-', ':', ',', '.', '_', '[', ']':
			out = append(out, format[i:i+n]...)
		default:
			// The documentation lists no other character; the service's examples in
			// public use T and Z, which stand for themselves here.
			ok = format[i] == 'T' || format[i] == 'Z'
			out = append(out, format[i:i+n]...)
		}
		if !ok {
			return Value{}
		}
		i += n
	}
	return StringValue(string(out))
}

// formatTimespan is format_timespan().
func formatTimespan(ticks int64, format string) Value {
	if ticks < 0 {
		ticks = -ticks
	}
	var out []byte
	for i := 0; i < len(format); {
		n := run(format[i:])
		ok := true
		switch format[i] {
		case 'd':
			ok = n <= 8
			out = pad(out, ticks/ticksPerDay, n)
		case 'h', 'H':
			ok = n <= 2
			out = pad(out, ticks/ticksPerHour%24, n)
		case 'm':
			ok = n <= 2
			out = pad(out, ticks/ticksPerMinute%60, n)
		case 's':
			ok = n <= 2
			out = pad(out, ticks/ticksPerSecond%60, n)
		case 'f', 'F':
			ok = n <= 7
			out = fraction(out, ticks%ticksPerSecond, n, format[i] == 'F')
		case ' ', '/', '-', ':', ',', '.', '_', '[', ']':
			out = append(out, format[i:i+n]...)
		default:
			ok = false
		}
		if !ok {
			return Value{}
		}
		i += n
	}
	return StringValue(string(out))
}
