package template

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func dateFunctions() map[string]builtin {
	return map[string]builtin{
		"utcnow": {0, 1, func(s *scope, name string, args []any) (any, error) {
			if !s.defaults {
				return nil, invalid("The template function '%s' is not expected at this location. The function can only be used in the default value of a parameter.", name)
			}
			if len(args) == 0 {
				return s.env.Now.UTC().Format("20060102T150405Z"), nil
			}
			layout, err := stringAt(args, 0)
			if err != nil {
				return nil, err
			}
			return formatTime(s.env.Now.UTC(), layout)
		}},
		"datetimeadd": on(2, 3, func(a []string) (any, error) {
			t, err := parseTime(a[0])
			if err != nil {
				return nil, err
			}
			if t, err = addDuration(t, a[1]); err != nil {
				return nil, err
			}
			if len(a) > 2 {
				return formatTime(t, a[2])
			}
			return t.Format("2006-01-02T15:04:05Z"), nil
		}),
		"datetimefromepoch": {1, 1, func(_ *scope, _ string, args []any) (any, error) {
			n, err := intAt(args, 0)
			if err != nil {
				return nil, err
			}
			if n < -62135596800 || n > 253402300799 {
				return nil, wrong("expects seconds of a year from 1 to 9999")
			}
			return time.Unix(n, 0).UTC().Format("2006-01-02T15:04:05Z"), nil
		}},
		"datetimetoepoch": on(1, 1, func(a []string) (any, error) {
			t, err := parseTime(a[0])
			return t.Unix(), err
		}),
	}
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "20060102T150405Z", "2006-01-02", "2006-01-02Z"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, wrong("expects a time in ISO 8601. It was given '%s'", shorten(s))
}

// addDuration adds a duration in ISO 8601, whose years and months are those of the calendar.
func addDuration(t time.Time, s string) (time.Time, error) {
	pattern := regexp.MustCompile(`^(-)?P(?:(\d{1,6})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$`)
	m := pattern.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return t, wrong("expects a duration in ISO 8601. It was given '%s'", shorten(s))
	}
	var n [7]int
	for i := range n {
		if m[i+2] != "" {
			v, err := strconv.Atoi(m[i+2])
			if err != nil {
				return t, wrong("expects a duration in ISO 8601. It was given '%s'", shorten(s))
			}
			n[i] = v
		}
		if m[1] == "-" {
			n[i] = -n[i]
		}
	}
	return t.AddDate(n[0], n[1], n[2]*7+n[3]).Add(time.Duration(n[4])*time.Hour + time.Duration(n[5])*time.Minute + time.Duration(n[6])*time.Second), nil
}

// formatTime writes a time in a format of .NET: the standard ones that need no
// culture, and custom ones of their letters.
func formatTime(t time.Time, layout string) (string, error) {
	switch layout {
	case "o", "O":
		return t.Format("2006-01-02T15:04:05.0000000Z"), nil
	case "r", "R":
		return t.Format("Mon, 02 Jan 2006 15:04:05 GMT"), nil
	case "s":
		return t.Format("2006-01-02T15:04:05"), nil
	case "u":
		return t.Format("2006-01-02 15:04:05Z"), nil
	case "d":
		return t.Format("1/2/2006"), nil // of the invariant of English
	}
	if len(layout) <= 1 {
		return "", wrong("was asked for the format '%s', which Azimuth does not know", layout)
	}
	var b strings.Builder
	for i := 0; i < len(layout); {
		c := layout[i]
		n := 1
		for i+n < len(layout) && layout[i+n] == c {
			n++
		}
		switch c {
		case '\'', '"':
			end := strings.IndexByte(layout[i+1:], c)
			if end < 0 {
				return "", wrong("was asked for the format '%s', which has a quote without an end", layout)
			}
			b.WriteString(layout[i+1 : i+1+end])
			i += end + 2
			continue
		case '\\':
			if i+1 < len(layout) {
				b.WriteByte(layout[i+1])
			}
			i += 2
			continue
		}
		b.WriteString(datePart(t, c, n))
		i += n
	}
	return b.String(), nil
}

func datePart(t time.Time, c byte, n int) string {
	number := func(v int) string { return fmt.Sprintf("%0*d", min(n, 2), v) }
	switch c {
	case 'y':
		if n <= 2 {
			return number(t.Year() % 100)
		}
		return fmt.Sprintf("%0*d", n, t.Year())
	case 'M':
		switch {
		case n == 3:
			return t.Format("Jan")
		case n > 3:
			return t.Format("January")
		}
		return number(int(t.Month()))
	case 'd':
		switch {
		case n == 3:
			return t.Format("Mon")
		case n > 3:
			return t.Format("Monday")
		}
		return number(t.Day())
	case 'H':
		return number(t.Hour())
	case 'h':
		return number((t.Hour()+11)%12 + 1)
	case 'm':
		return number(t.Minute())
	case 's':
		return number(t.Second())
	case 'f':
		return fmt.Sprintf("%09d", t.Nanosecond())[:min(n, 7)]
	case 't':
		return t.Format("PM")[:min(n, 2)]
	case 'z':
		return map[int]string{1: "+0", 2: "+00"}[n] + map[bool]string{true: "+00:00"}[n > 2]
	case 'K':
		return strings.Repeat("Z", n)
	}
	return strings.Repeat(string(c), n)
}
