package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

var decoding = Measure{
	Name:  "decode",
	About: "what the bridge does with a transcription result, over SHA-256 and a scan for valid JSON",
	Keys:  []string{"bridge_decode_ratio"},
	Run: func(_ context.Context, lab *Lab, out *report.Report) error {
		for _, m := range resultMessages() {
			row := report.Row{
				Key: "bridge_decode_ratio", Unit: "", Goal: &report.Goal{Op: report.AtLeast, Value: 0.5}, Of: m.name,
			}
			for range lab.Rounds {
				round, err := compareDecoding(m, lab.N(32<<20))
				if err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
				row.Rounds = append(row.Rounds, round)
			}
			out.Add(row)
		}
		return nil
	},
}

var decodingAllocs = Measure{
	Name:  "decode-allocs",
	About: "what decoding a transcription result allocates",
	Keys:  []string{"bridge_decode_allocs", "bridge_decode_alloc_bytes"},
	Exact: true,
	Run: func(_ context.Context, _ *Lab, out *report.Report) error {
		for _, m := range resultMessages() {
			objects, size, err := allocated(m, decodeAsBridge)
			if err != nil {
				return err
			}
			out.Add(report.Row{Key: "bridge_decode_allocs", Unit: "", Value: objects, Exact: true, Of: m.name})
			out.Add(report.Row{Key: "bridge_decode_alloc_bytes", Unit: "B", Value: size, Exact: true, Of: m.name})
		}
		return nil
	},
}

// resultMessage is a record of a transcription result.
type resultMessage struct {
	name       string
	key, value []byte
}

// resultMessages are short and long ones, in scripts of one, two and three bytes a character, and in each form. Records
// without a key have the same values, so these are left out.
func resultMessages() []resultMessage {
	const short, usual, long = 10 * time.Second, 10 * time.Minute, 3 * time.Hour
	names := map[time.Duration]string{short: "10 s", usual: "10 min", long: "3 h"}
	made := func(form simulator.TranscriptForm, language string, length time.Duration) resultMessage {
		id := contract.VideoID("0b5a2f1e-9c1d-4a53-8f0e-1d2c3b4a5968")
		key, value := simulator.TranscriptMessage(id, form, simulator.Language(language), simulator.Length(length))
		return resultMessage{fmt.Sprintf("%s, %s, %s", names[length], language, form), key, value}
	}
	all := []resultMessage{
		made(simulator.Nested, "en", short),
		made(simulator.Nested, "zh", short),
		made(simulator.Nested, "en", usual),
		made(simulator.Nested, "en", long),
		made(simulator.NestedWord, "en", long),
		made(simulator.Flat, "en", long),
		made(simulator.FlatText, "en", long),
		made(simulator.Nested, "ar", long),
		made(simulator.Nested, "hi", long),
	}
	escaped := made(simulator.Nested, "ar", long)
	escaped.name, escaped.value = escaped.name+", escaped", escape(escaped.value)
	return append(all, escaped)
}

// escape writes a message as many services do: in ASCII alone.
func escape(value []byte) []byte {
	var out bytes.Buffer
	for _, r := range string(value) {
		switch {
		case r < utf8.RuneSelf:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.Bytes()
}

// decodeAsBridge is what the bridge does with each record before it sends a signal.
func decodeAsBridge(m resultMessage) error {
	result, err := contract.DecodeTranscription(m.key, m.value)
	if err == nil && result.Summary.Words == 0 {
		err = errors.New("a transcript without words")
	}
	return errors.Join(err, hashed(m.value))
}

// scanAndHash is the floor.
func scanAndHash(m resultMessage) error {
	if !json.Valid(m.value) {
		return errors.New("not JSON")
	}
	return hashed(m.value)
}

// hashed looks at the hash that it makes, so that no compiler leaves it out.
func hashed(value []byte) error {
	if sha256.Sum256(value) == [sha256.Size]byte{} {
		return errors.New("a hash of nothing but zeros")
	}
	return nil
}

// compareDecoding works through about so many bytes on either side, a little on one, then a little on the other. Time is
// that of the processor: neither side waits for anything.
func compareDecoding(m resultMessage, total int) (report.Round, error) {
	const turn = 1 << 20
	repeats := max(turn/len(m.value), 1)
	var ours, floor time.Duration
	done := 0
	for ; done == 0 || done < total; done += repeats * len(m.value) {
		for _, side := range []struct {
			took *time.Duration
			do   func(resultMessage) error
		}{{&ours, decodeAsBridge}, {&floor, scanAndHash}} {
			began := processorTime()
			for range repeats {
				if err := side.do(m); err != nil {
					return report.Round{}, err
				}
			}
			*side.took += processorTime() - began
		}
	}
	rate := func(d time.Duration) float64 { return float64(done) / d.Seconds() }
	return report.Round{Ours: rate(ours), Floor: rate(floor), Value: floor.Seconds() / ours.Seconds()}, nil
}

// processorTime is how long this process has worked, in user mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other arguments
	}
	return time.Duration(u.Utime.Nano())
}

// allocated is what one call allocates once it has been made before: the least of several tries, since other parts of this
// process may allocate meanwhile.
func allocated(m resultMessage, do func(resultMessage) error) (objects, size float64, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty pools
	for try := range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := do(m); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", m.name, err)
		}
		runtime.ReadMemStats(&after)
		n, b := float64(after.Mallocs-before.Mallocs), float64(after.TotalAlloc-before.TotalAlloc)
		if try == 0 || n < objects {
			objects = n
		}
		if try == 0 || b < size {
			size = b
		}
	}
	return objects, size, nil
}
