// Command strain measures how much memory the processes of vidflow take at most: the bridge while it works off a backlog, the
// worker while it stores a burst of large transcripts, the API while a crowd calls it, and what a roll-out runs. The binary is
// the one that ships, in a process of its own, with what of deploy/kubernetes decides about memory. The bridge has a broker
// and a stand-in for Temporal, which accepts signals faster than a server can, in this process; the others have the servers of
// `devstack exec`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"
)

type command struct {
	Binary   string   `help:"The vidflow binary." type:"existingfile" required:"" placeholder:"PATH"`
	Base     string   `help:"The folder of the manifests that have the limits: deploy/kubernetes/base." type:"existingdir" required:"" placeholder:"DIR"`
	Only     []string `help:"Which processes to measure: ${enum}." enum:"kafkabridge,worker,starter,replay,migrate" default:"kafkabridge,worker,starter,replay,migrate"`
	Match    string   `help:"Measure only what has this in its name."`
	Small    int      `help:"Records of the backlogs of small ones." default:"200000"`
	Large    int      `help:"Records of the backlogs of large ones, of one megabyte each; a quarter of them for the worker." default:"2000"`
	Largest  int      `help:"Transcripts of the largest size that are stored, or read for captions, at once." default:"16"`
	Callers  int      `help:"Callers who put in a transcript at once." default:"50"`
	Temporal string   `help:"Address of a Temporal server for the bridge to use in place of the stand-in." placeholder:"HOST:PORT"`
}

func main() {
	var c command
	kong.Parse(&c, kong.Description("Measures the most memory that the processes of vidflow take, and fails beyond the limits of deploy/kubernetes."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "strain:", err)
		os.Exit(1)
	}
}

// backlog is what waits for the bridge when it starts, each record for a video of its own.
type backlog struct {
	name    string
	records int
	size    int // of a value, in bytes
	codec   kgo.CompressionCodec
	// batch is the most that the producer puts into one batch, uncompressed.
	batch int32
	// poison makes records that can never be understood.
	poison bool
	// deep makes transcripts without a word, of zeros in nested lists: what grows most when it is indented to be stored.
	deep bool
	// away has Temporal refuse everything until the bridge takes no more in hand.
	away bool
}

func (c *command) backlogs() []backlog {
	const kib, mib = 1 << 10, 1 << 20
	all := []backlog{
		{name: "small", records: c.Small, size: 200, codec: kgo.NoCompression(), batch: mib},
		{name: "small, compressed", records: c.Small, size: 200, codec: kgo.ZstdCompression(), batch: 8 * mib},
		{name: "large", records: c.Large, size: mib - 4*kib, codec: kgo.NoCompression(), batch: mib},
		{name: "large, compressed, 8 in a batch", records: c.Large, size: mib - 4*kib, codec: kgo.ZstdCompression(), batch: 8 * mib},
	}
	if c.Temporal == "" {
		all = append(all,
			backlog{name: "small, Temporal away at first", records: c.Small, size: 200, codec: kgo.NoCompression(), batch: mib, away: true},
			backlog{name: "large, Temporal away at first", records: c.Large, size: mib - 4*kib, codec: kgo.ZstdCompression(), batch: 8 * mib, away: true})
	}
	return append(all,
		backlog{name: "large poison", records: c.Large, size: mib - 4*kib, codec: kgo.ZstdCompression(), batch: 8 * mib, poison: true})
}

func (c *command) run(ctx context.Context) error {
	pods, err := pods(c.Base)
	if err != nil {
		return err
	}
	for _, name := range c.Only {
		pod, ok := pods[name]
		if !ok {
			return fmt.Errorf("%s has no limit for %s", c.Base, name)
		}
		fmt.Printf("\n%s, limit %d MiB\n", name, pod.memory>>20)
		measure := map[string]func(context.Context, *report) error{
			"kafkabridge": c.bridge, "worker": c.worker, "starter": c.starter, "replay": c.replay, "migrate": c.migrate,
		}[name]
		r := newReport(pod.memory)
		err := measure(ctx, r)
		if err = errors.Join(err, r.end()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *command) bridge(ctx context.Context, r *report) error {
	rig, err := newRig(c.Binary, c.Temporal)
	if err != nil {
		return err
	}
	defer rig.close()
	for _, b := range c.backlogs() {
		if b.records == 0 || !strings.Contains(b.name, c.Match) {
			continue
		}
		m, err := rig.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		r.add(fmt.Sprintf("%d %s", b.records, b.name), m)
	}
	return nil
}

// report is a table that is written as it comes, and says what was beyond a limit.
type report struct {
	limit  int64 // bytes
	beyond []string
}

func newReport(limit int64) *report {
	fmt.Printf("%-52s %9s %9s\n", "", "seconds", "peak MiB")
	return &report{limit: limit}
}

func (r *report) add(name string, m measurement) {
	fmt.Printf("%-52s %9.1f %9d\n", name, m.took.Seconds(), m.peak>>20)
	if m.peak > r.limit {
		r.beyond = append(r.beyond, name)
	}
}

func (r *report) end() error {
	if len(r.beyond) == 0 {
		return nil
	}
	return fmt.Errorf("beyond the limit of %d MiB: %q", r.limit>>20, r.beyond)
}
