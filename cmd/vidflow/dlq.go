package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/kafka"
)

type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List dead letters."`
	Show    dlqShowCmd    `cmd:"" help:"Show one dead letter, with its value."`
	Redrive dlqRedriveCmd `cmd:"" help:"Send dead letters back to the topics they came from."`
}

// letterFlags select letters.
type letterFlags struct {
	Topic  []string `placeholder:"TOPIC" help:"Only what died in this topic, such as update_transcribe; may be repeated. Both topics of results when not given."`
	Class  []string `placeholder:"CLASS" enum:"no_value,no_key,video_id,json,schema,numbers,bounds,url" help:"Only of this class: no_value, no_key, video_id, json, schema, numbers, bounds or url; may be repeated."`
	Reason string   `placeholder:"TEXT" help:"Only where the reason has this text, in capitals or not."`
	Since  string   `placeholder:"TIME" help:"Only what died since then: 2026-11-24T12:00:00Z, 2026-11-24, or how long ago: 90m, 2h, 3d."`
	Until  string   `placeholder:"TIME" help:"Only what died before then."`
	Video  string   `placeholder:"ID" help:"Only what is about this video, as far as key or value tell."`
}

func (f letterFlags) filter(t *toolbox) (filter deadletter.Filter, err error) {
	filter.Classes, filter.Reason = f.Class, f.Reason
	if f.Since != "" {
		if filter.Since, err = parseWhen(f.Since, t.now); err != nil {
			return filter, fmt.Errorf("--since: %w", err)
		}
	}
	if f.Until != "" {
		if filter.Until, err = parseWhen(f.Until, t.now); err != nil {
			return filter, fmt.Errorf("--until: %w", err)
		}
	}
	if f.Video != "" {
		if filter.Video, err = contract.ParseVideoID(f.Video); err != nil {
			return filter, fmt.Errorf("--video: %w", err)
		}
	}
	return filter, nil
}

// open opens the dead letters of the topics that were named.
func (f letterFlags) open(t *toolbox) (*deadletter.Box, error) {
	topics := f.Topic
	if len(topics) == 0 {
		topics = []string{t.cfg.Kafka.ConsumeTopic, t.cfg.Kafka.CompressionTopic}
	}
	return deadletter.Open(kafkaConfig(t.cfg.Kafka), t.log, topics...)
}

type dlqListCmd struct {
	letterFlags
	Redriven  bool `help:"List those that were sent back, too."`
	JSON      bool `name:"json" help:"Write a JSON object for each, on a line of its own."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow dlq list --help".
func (dlqListCmd) Help() string {
	return "The oldest first, one line for each record that died, however often it did. What was sent back is left out.\n\n" +
		"Examples:\n\n  vidflow dlq list --since 2h\n\n  vidflow dlq list --class json --topic update_transcribe --json | jq -r .letter"
}

func (c *dlqListCmd) run(ctx context.Context, t *toolbox) error {
	filter, err := c.filter(t)
	if err != nil {
		return err
	}
	filter.Redriven = c.Redriven
	box, err := c.open(t)
	if err != nil {
		return err
	}
	defer box.Close()
	entries, err := box.List(ctx, filter)
	if err != nil {
		return err
	}
	if !c.JSON {
		return deadletter.PrintList(t.stdout, entries)
	}
	for _, e := range entries {
		if err := t.json(e); err != nil {
			return err
		}
	}
	return nil
}

type dlqShowCmd struct {
	Letter    string `arg:"" help:"Which, as the list names it: update_transcribe.dlq/0@12."`
	Whole     bool   `help:"Show all of a long value."`
	Value     bool   `help:"Write nothing but the value, as it is."`
	JSON      bool   `name:"json" help:"Write a JSON object."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow dlq show --help".
func (dlqShowCmd) Help() string {
	return "Examples:\n\n  vidflow dlq show update_transcribe.dlq/0@12\n\n" +
		"  vidflow dlq show update_transcribe.dlq/0@12 --value > broken.json"
}

func (c *dlqShowCmd) run(ctx context.Context, t *toolbox) error {
	place, err := deadletter.ParsePlace(c.Letter)
	if err != nil {
		return err
	}
	box, err := deadletter.Open(kafkaConfig(t.cfg.Kafka), t.log)
	if err != nil {
		return err
	}
	defer box.Close()
	letter, err := box.Find(ctx, place)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return t.json(letter)
	case c.Value && letter.WithoutValue:
		return fmt.Errorf("dead letter %s went without its value of %d bytes", place, letter.Size)
	case c.Value:
		_, err := t.stdout.Write(letter.Value)
		return err
	default:
		return deadletter.Print(t.stdout, letter, c.Whole)
	}
}

type dlqRedriveCmd struct {
	Letters []string `arg:"" optional:"" name:"letter" help:"Which, as the list names them; all that the filters select when none is named."`
	letterFlags
	All       bool `help:"All of them; needed when nothing else selects any."`
	Again     bool `help:"Also those that were sent back already."`
	DryRun    bool `help:"Show what would be sent back, and send nothing."`
	JSON      bool `name:"json" help:"Write a JSON object for each, on a line of its own."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow dlq redrive --help".
func (dlqRedriveCmd) Help() string {
	return "Writes each record back to the topic it came from, as it was, marked with its origin: the bridge tries it again as if " +
		"it were still there, older than all that came after it. Worth doing once the reason is gone, such as after an update " +
		"of vidflow; what still cannot be understood becomes a dead letter again.\n\n" +
		"It may be stopped at any moment, by kill -9 too, and started again: what is done is left out, and what was sent twice is " +
		"applied once. A letter that went without its value cannot be sent back. Exit code 1: at least one was not.\n\n" +
		"Examples:\n\n  vidflow dlq redrive --class schema --since 2026-11-24 --dry-run\n\n  vidflow dlq redrive update_transcribe.dlq/0@12\n\n" +
		"  vidflow dlq redrive --all"
}

func (c *dlqRedriveCmd) run(ctx context.Context, t *toolbox) error {
	filter, topics, err := c.selection(t)
	if err != nil {
		return err
	}
	box, err := letterFlags{Topic: topics}.open(t)
	if err != nil {
		return err
	}
	defer box.Close()
	entries, err := box.List(ctx, filter)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		t.note("There is nothing to send back.")
		return nil
	}
	if c.DryRun {
		return c.dryRun(t, entries)
	}
	producer, err := kafka.NewProducer(kafkaConfig(t.cfg.Kafka), t.log, "redrive")
	if err != nil {
		return err
	}
	defer producer.Close()

	sent, bar := 0, t.progress("sent back", len(entries))
	err = box.Redrive(ctx, producer, entries, func(r deadletter.Redriven) {
		if r.Err == nil {
			sent++
			bar.add()
		}
		if r.Err != nil || r.ReceiptErr != nil || !bar.terminal {
			bar.clear()
			c.tell(t, r)
		}
	})
	bar.clear()
	t.note("%d of %d sent back.", sent, len(entries))
	switch {
	case err != nil && ctx.Err() != nil:
		t.note("Stopped; the same command goes on with the rest.")
		return errSaid
	case err != nil:
		return fmt.Errorf("%w; the same command goes on with the rest", err)
	case sent < len(entries):
		return errSaid
	}
	return nil
}

// selection is what the arguments ask for, and the topics it is in.
func (c *dlqRedriveCmd) selection(t *toolbox) (filter deadletter.Filter, topics []string, err error) {
	if filter, err = c.filter(t); err != nil {
		return filter, nil, err
	}
	topics = c.Topic
	for _, name := range c.Letters {
		place, err := deadletter.ParsePlace(name)
		if err != nil {
			return filter, nil, err
		}
		filter.Places = append(filter.Places, place)
		topic, ok := place.OriginTopic()
		if !ok {
			return filter, nil, fmt.Errorf("%s: the name of a dead-letter topic ends with %s", place, contract.DeadLetterSuffix)
		}
		if !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	if filter.Zero() && len(topics) == 0 && !c.All {
		return filter, nil, errors.New("say which: name letters, use --class, --reason, --since, --until, --video or --topic, or --all")
	}
	filter.Redriven = c.Again
	return filter, topics, nil
}

func (c *dlqRedriveCmd) dryRun(t *toolbox, entries []deadletter.Entry) error {
	if c.JSON {
		for _, e := range entries {
			if err := t.json(e); err != nil {
				return err
			}
		}
		return nil
	}
	if err := deadletter.PrintList(t.stdout, entries); err != nil {
		return err
	}
	without := 0
	for _, e := range entries {
		if e.WithoutValue {
			without++
		}
	}
	t.note("%d would be sent back.", len(entries)-without)
	if without > 0 {
		t.note("%d cannot be: they went without their values.", without)
	}
	return nil
}

// tell writes what became of one.
func (c *dlqRedriveCmd) tell(t *toolbox, r deadletter.Redriven) {
	switch {
	case c.JSON:
		_ = t.json(r)
	case r.Err != nil:
		_, _ = fmt.Fprintf(t.stdout, "%s not sent back: %s\n", r.Entry.Place, r.Err)
	default:
		_, _ = fmt.Fprintf(t.stdout, "%s sent back to %s/%s\n", r.Entry.Place, r.Entry.OriginTopic, r.To)
	}
	if r.ReceiptErr != nil {
		t.note("%s has no receipt, so it will be listed still; to send it again does no harm: %s", r.Entry.Place, r.ReceiptErr)
	}
}
