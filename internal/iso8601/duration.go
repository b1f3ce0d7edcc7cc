// Package iso8601 reads the durations of Azure's APIs. The libraries there are
// take what Azure refuses, such as units twice or out of order.
package iso8601

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// units are the seconds of each group of the pattern.
func units() []float64 { return []float64{7 * 86400, 86400, 3600, 60, 1} }

var pattern = sync.OnceValue(func() *regexp.Regexp {
	part := func(letters string) (s string) {
		for _, u := range letters {
			s += `(?:(\d+(?:\.\d+)?)` + string(u) + `)?`
		}
		return s
	}
	return regexp.MustCompile(`^P` + part("WD") + `(?:T` + part("HMS") + `)?$`)
})

// Duration reads a duration of weeks, days, hours, minutes and seconds, such as
// PT30M. Years and months have no fixed length and are refused, as is what a
// time.Duration cannot hold.
func Duration(s string) (time.Duration, error) {
	m := pattern().FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, fmt.Errorf("'%s' is not a duration in ISO 8601 form, such as PT30M", s)
	}
	seconds := 0.0
	for i, unit := range units() {
		if m[i+1] == "" {
			continue
		}
		v, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, fmt.Errorf("'%s' is not a duration: %w", s, err)
		}
		seconds += v * unit
	}
	if seconds > math.MaxInt64/float64(time.Second)-1 {
		return 0, fmt.Errorf("the duration '%s' is too long", s)
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}
