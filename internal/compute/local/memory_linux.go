package local

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memoryBytes is the machine's memory, or what its control group leaves of it.
func memoryBytes() (uint64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("find the size of memory: %w", err)
	}
	var kib uint64
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err != nil {
		return 0, fmt.Errorf("find the size of memory: %w", err)
	}
	total := kib << 10
	for _, limit := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := os.ReadFile(limit); err == nil {
			if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
				total = min(total, n)
			}
		}
	}
	return total, nil
}
