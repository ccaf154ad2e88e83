// Command strain measures how much memory `vidflow kafkabridge` takes at most while it works off a backlog. The binary
// is the one that ships, in a process of its own; the broker and a stand-in for Temporal, which accepts signals faster
// than a server can, are in this one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"
)

type command struct {
	Binary   string `help:"The vidflow binary." type:"existingfile" required:"" placeholder:"PATH"`
	Small    int    `help:"Records of the backlogs of small ones." default:"200000"`
	Large    int    `help:"Records of the backlogs of large ones, of one megabyte each." default:"2000"`
	Limit    int    `help:"The most memory that the bridge may take, in MiB." default:"256"`
	Temporal string `help:"Address of a Temporal server to use in place of the stand-in." placeholder:"HOST:PORT"`
}

func main() {
	var c command
	kong.Parse(&c, kong.Description("Measures the memory of vidflow kafkabridge while it works off a backlog."))
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
	rig, err := newRig(c.Binary, c.Temporal)
	if err != nil {
		return err
	}
	defer rig.close()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "backlog\trecords\tMiB\tseconds\tpeak MiB\t")
	var beyond []string
	for _, b := range c.backlogs() {
		if b.records == 0 {
			continue
		}
		m, err := rig.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%d\t\n", b.name, b.records, b.records*b.size>>20, m.took.Seconds(), m.peak>>20)
		if m.peak > int64(c.Limit)<<20 {
			beyond = append(beyond, b.name)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(beyond) > 0 {
		return fmt.Errorf("beyond the limit of %d MiB: %q", c.Limit, beyond)
	}
	return nil
}
