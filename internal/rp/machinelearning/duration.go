package machinelearning

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

func durationPattern() *regexp.Regexp {
	return regexp.MustCompile(`^P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?$`)
}

// parseDuration reads an ISO 8601 duration of weeks, days, hours, minutes and
// seconds. Years and months have no fixed length and are refused.
func parseDuration(s string) (time.Duration, error) {
	m := durationPattern().FindStringSubmatch(s)
	if m == nil || s == "P" || m[3] == "T" {
		return 0, fmt.Errorf("'%s' is not a duration in ISO 8601 form, such as PT15M", s)
	}
	var total float64 // seconds
	for i, unit := range map[int]float64{1: 7 * 86400, 2: 86400, 4: 3600, 5: 60, 6: 1} {
		if m[i] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i], 64)
		if err != nil {
			return 0, fmt.Errorf("'%s' is not a duration: %w", s, err)
		}
		total += n * unit
	}
	if total > math.MaxInt64/float64(time.Second)-1 {
		return 0, fmt.Errorf("the duration '%s' is too long", s)
	}
	return time.Duration(total * float64(time.Second)), nil
}
