package bench

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// field is what /proc says after a name, such as "model name" of cpuinfo; empty where there is no such file.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func cpuModel() string { return field("/proc/cpuinfo", "model name") }

// kib reads a value such as "123 kB", in bytes.
func kib(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(s, " kB"), 10, 64)
	return n << 10
}

func memory() int64 { return kib(field("/proc/meminfo", "MemTotal")) }

// kernel is what the kernel calls itself, such as "Linux 6.1.0"; empty where there is no /proc.
func kernel() string {
	kind, _ := os.ReadFile("/proc/sys/kernel/ostype")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(strings.TrimSpace(string(kind)) + " " + strings.TrimSpace(string(release)))
}

// clockTick is that of /proc/PID/stat on Linux, whatever the kernel's own.
const clockTick = 10 * time.Millisecond

// cpuTime is how long a process has worked, in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses, which may contain anything; the 14th and 15th are the times.
	_, rest, _ := strings.Cut(string(content), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	u, errU := strconv.ParseInt(fields[user], 10, 64)
	s, errS := strconv.ParseInt(fields[system], 10, 64)
	if errU != nil || errS != nil {
		return 0, fmt.Errorf("/proc/%d/stat has no times", pid)
	}
	return time.Duration(u+s) * clockTick, nil
}
