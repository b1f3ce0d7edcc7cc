package ml

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func durationPattern() *regexp.Regexp {
	const n = `(?:(\d+(?:\.\d+)?)%s)?`
	part := func(units string) string {
		var b strings.Builder
		for _, u := range units {
			fmt.Fprintf(&b, n, string(u))
		}
		return b.String()
	}
	return regexp.MustCompile(`^P` + part("WD") + `(?:T` + part("HMS") + `)?$`)
}

// parseDuration reads an ISO 8601 duration of weeks, days, hours, minutes and
// seconds. Years and months have no fixed length and are refused.
func parseDuration(s string) (time.Duration, error) {
	m := durationPattern().FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, fmt.Errorf("'%s' is not a duration in ISO 8601 form, such as PT30M", s)
	}
	var total float64
	for i, unit := range []float64{604800, 86400, 3600, 60, 1} {
		if m[i+1] == "" {
			continue
		}
		v, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, fmt.Errorf("'%s' is not a duration: %w", s, err)
		}
		total += v * unit
	}
	if total > math.MaxInt64/1e9-1 {
		return 0, fmt.Errorf("the duration '%s' is too long", s)
	}
	return time.Duration(total * float64(time.Second)), nil
}
