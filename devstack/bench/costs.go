package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

// Names of what works beside the children of a lab.
const (
	bareFloor = "bare workflow's worker and callers"
	ownSelf   = "callers and services"
)

// costs are the milliseconds of processor time for each video, by what worked, one value for each round.
type costs map[string][]float64

// note adds what was worked between two looks at the clocks.
func (c costs) note(prefix string, videos int, before, after map[string]time.Duration) {
	if c == nil {
		return
	}
	var all time.Duration
	for name, spent := range after {
		spent -= before[name]
		all += spent
		c[prefix+name] = append(c[prefix+name], float64(spent.Microseconds())/1000/float64(videos))
	}
	c[prefix+"all"] = append(c[prefix+"all"], float64(all.Microseconds())/1000/float64(videos))
}

// add adds a row for each that worked: those of our own first.
func (c costs) add(out *report.Report) {
	for _, name := range slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, ": "), strings.Count(b, ": ")), cmp.Compare(a, b))
	}) {
		if slices.Max(c[name]) < 0.1 {
			continue // it stood by
		}
		row := report.Row{Key: "pipeline_cpu_ms", Of: name, Unit: "ms"}
		for _, value := range c[name] {
			row.Rounds = append(row.Rounds, report.Round{Ours: value, Value: value})
		}
		out.Add(row)
	}
}

// cpu is how long everything has worked so far: the servers, the processes of vidflow and this one. Postgres is told by
// database, as far as its processes are there for one.
func (p *wholePipeline) cpu(ctx context.Context) (map[string]time.Duration, error) {
	spent, err := postgresCPU(filepath.Join(p.lab.Dir, "postgres"))
	if err != nil {
		return nil, err
	}
	for name, child := range p.children {
		if spent[name], err = child.CPU(); err != nil {
			return nil, err
		}
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return nil, err
	}
	spent[ownSelf] = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	return spent, ctx.Err()
}

// postgresCPU is how long the server whose cluster is in dir, and its children, have worked.
func postgresCPU(dir string) (map[string]time.Duration, error) {
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("read the process id of Postgres: %w", err)
	}
	spent := map[string]time.Duration{}
	for _, pid := range append(childrenOf(postmaster), postmaster) {
		took, err := cpuTime(pid)
		if err != nil {
			continue // it has just ended
		}
		spent[postgresPart(pid)] += took
	}
	return spent, nil
}

// postgresPart says what a process of Postgres is for, from its title: "postgres: USER DATABASE ADDRESS …" for a session.
func postgresPart(pid int) string {
	title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Fields(string(title))
	if len(words) > 3 && words[0] == "postgres:" && strings.HasPrefix(words[3], "127.0.0.1") {
		if strings.HasPrefix(words[2], "temporal") {
			return "postgres, for temporal"
		}
		return "postgres, for " + words[2]
	}
	return "postgres, its own work"
}

func childrenOf(pid int) []int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var children []int
	for _, word := range strings.Fields(string(content)) {
		if child, err := strconv.Atoi(word); err == nil {
			children = append(children, child)
		}
	}
	return children
}
