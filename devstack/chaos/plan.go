package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
)

// Names of what faults happen to: the servers, and the processes of vidflow, of which there are several.
const (
	temporal = "temporal"
	kafka    = "kafka"
	postgres = "postgres"
	store    = "storage"

	worker  = "worker"
	starter = "starter"
	bridge  = "kafkabridge"
)

// instances of each process.
var instances = map[string]int{worker: 3, starter: 2, bridge: 3}

// Kind is a kind of fault.
type Kind string

// The kinds of fault.
const (
	Kill     Kind = "kill"      // -9, and started again after For
	Freeze   Kind = "freeze"    // SIGSTOP, and SIGCONT after For
	Cut      Kind = "cut"       // connections cut and refused
	Reset    Kind = "reset"     // connections reset as soon as they are used
	Slow     Kind = "slow"      // everything delayed
	HalfOpen Kind = "half_open" // one direction goes nowhere, and nobody is told
	Answer   Kind = "answer"    // of the storage: an error, half a body, nothing, or late
	Failover Kind = "failover"  // of the database: sessions are ended, it comes back after For
	ReadOnly Kind = "read_only"
	Crowded  Kind = "out_of_connections"
	Rolling  Kind = "rolling_restart" // of all processes, one after the other, in good order
)

// Fault is one thing that goes wrong.
type Fault struct {
	At, For time.Duration // since the start
	Kind    Kind
	Target  string // a server, or a process
	// Instance of a process, from 0.
	Instance int
	// Upwards is the direction of HalfOpen that goes nowhere: to the server, else from it.
	Upwards bool
	// Storage is the fault of Answer.
	Storage storage.Fault
}

// Name is what the fault counts as.
func (f Fault) Name() string {
	switch f.Kind {
	case Answer:
		return "storage_" + string(f.Storage.Kind)
	case Rolling, Failover, ReadOnly, Crowded:
		return string(f.Kind)
	}
	return string(f.Kind) + "_" + f.Target
}

// Fate is what somebody wants of a video beside its results.
type Fate string

// The fates.
const (
	Plain     Fate = "plain"
	Deleted   Fate = "deleted"   // through the API
	Vanished  Fate = "vanished"  // its row is removed by somebody else
	Elsewhere Fate = "elsewhere" // its row was made by somebody else: nothing is asked
	PutIn     Fate = "put_in"    // a transcript is put in over HTTP too
	Retried   Fate = "retried"   // by force
	Unknown   Fate = "unknown"   // it never has a row
)

// Video is one video of the plan.
type Video struct {
	N      int
	At     time.Duration // when it is created
	Fate   Fate
	FateAt time.Duration
	Length time.Duration
	Plants []Plant
}

// Plant is a result that the services send beside the answers to what they are asked.
type Plant struct {
	At time.Duration
	// Transcription, else a compression.
	Transcription   bool
	TranscriptForm  simulator.TranscriptForm
	CompressionForm simulator.CompressionForm
	Take            int
	// Older sends it with a time before everything else of the video, to a partition of its own. Else it goes to the
	// partition of the video's key, or, where nobody else sends results of the video, also to Partition: in all other
	// cases the rule of positions could leave the order open.
	Older     bool
	Partition int32
	// Times it is sent, one after the other.
	Times int
}

// Poison is a record that can never be understood.
type Poison struct {
	At            time.Duration
	Transcription bool
	Sort          int // of the sorts of that topic
}

// Plan is everything that happens, in order of time.
type Plan struct {
	Seed   uint64
	Faults []Fault
	Videos []Video
	Poison []Poison
	// End is when everything is healed.
	End time.Duration
}

// NewPlan draws a plan from the seed: the same seed, the same plan.
func NewPlan(seed uint64, videos int, faults time.Duration) Plan {
	p := Plan{Seed: seed, End: faults}
	// One source for each part, so that more videos change no fault.
	p.drawFaults(rand.New(rand.NewPCG(seed, 1)))
	p.drawVideos(rand.New(rand.NewPCG(seed, 2)), videos)
	p.drawPoison(rand.New(rand.NewPCG(seed, 3)), max(len(poisonTranscripts)+len(poisonCompressions), videos/5))
	return p
}

// between is a time between both, in whole milliseconds.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return (least + time.Duration(r.Int64N(int64(most-least)))).Truncate(time.Millisecond)
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// sessionTimeout is that of a member of a consumer group, franz-go's default.
const sessionTimeout = 45 * time.Second

// drawFaults has something go wrong every one to three seconds, nothing twice at once with the same target. Long runs
// have a bridge that is frozen beyond its session, and all have a rolling restart.
func (p *Plan) drawFaults(r *rand.Rand) {
	const first, pauseLeast, pauseMost = 3 * time.Second, 700 * time.Millisecond, 2500 * time.Millisecond
	busy := map[string]time.Duration{} // a target, until when
	add := func(f Fault) {
		p.Faults = append(p.Faults, f)
		busy[f.key()] = f.At + f.For + time.Second
	}
	if long := sessionTimeout + 5*time.Second; p.End > long+20*time.Second {
		add(Fault{At: between(r, 5*time.Second, p.End-long-10*time.Second), For: long, Kind: Freeze, Target: bridge, Instance: r.IntN(instances[bridge])})
	}
	rolling := Fault{At: between(r, p.End/3, p.End*2/3), Kind: Rolling}
	p.Faults = append(p.Faults, rolling)
	var deck []func() Fault
	for at := first; at < p.End; at += between(r, pauseLeast, pauseMost) {
		if len(deck) == 0 { // every sort comes once before any comes twice
			deck = sorts(r)
		}
		f := deck[0]()
		deck = deck[1:]
		f.At = at
		f.For = min(f.For, p.End-at)
		if busy[f.key()] > at {
			continue
		}
		add(f)
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// key is what must not be in the way of another fault.
func (f Fault) key() string {
	switch f.Kind {
	case Kill, Freeze, Failover, ReadOnly, Crowded:
		return fmt.Sprintf("%s %d", f.Target, f.Instance)
	case Answer, Rolling:
		return string(f.Kind)
	}
	return "proxy " + f.Target
}

// sorts are all sorts of faults in an order that is drawn.
func sorts(r *rand.Rand) []func() Fault {
	var deck []func() Fault
	add := func(times int, draw func() Fault) {
		for range times {
			deck = append(deck, draw)
		}
	}
	for _, target := range []string{worker, starter, bridge} {
		add(2, func() Fault {
			return Fault{Kind: Kill, Target: target, Instance: r.IntN(instances[target]), For: between(r, 0, 3*time.Second)}
		})
		add(1, func() Fault {
			return Fault{Kind: Freeze, Target: target, Instance: r.IntN(instances[target]), For: between(r, time.Second, 9*time.Second)}
		})
	}
	for _, target := range []string{temporal, kafka, postgres, store} {
		add(1, func() Fault { return Fault{Kind: Kill, Target: target, For: between(r, 0, 4*time.Second)} })
		add(1, func() Fault {
			return Fault{Kind: Cut, Target: target, For: between(r, 200*time.Millisecond, 4*time.Second)}
		})
		add(1, func() Fault { return Fault{Kind: Reset, Target: target, For: between(r, time.Second, 4*time.Second)} })
		add(1, func() Fault { return Fault{Kind: Slow, Target: target, For: between(r, time.Second, 6*time.Second)} })
		add(1, func() Fault {
			return Fault{Kind: HalfOpen, Target: target, For: between(r, 2*time.Second, 12*time.Second), Upwards: r.IntN(2) == 0}
		})
	}
	for _, target := range []string{temporal, kafka, store} {
		add(1, func() Fault { return Fault{Kind: Freeze, Target: target, For: between(r, time.Second, 6*time.Second)} })
	}
	for _, kind := range []Kind{Failover, ReadOnly, Crowded} {
		add(1, func() Fault {
			return Fault{Kind: kind, Target: postgres, For: between(r, 500*time.Millisecond, 6*time.Second)}
		})
	}
	for _, kind := range []storage.Kind{
		storage.SlowDown, storage.DatabaseTimeout, storage.InternalError, storage.BadGateway, storage.Drop, storage.Half, storage.Slow,
	} {
		add(1, func() Fault {
			f := storage.Fault{Kind: kind, Op: storage.OpUpload, Count: 1 + r.IntN(6), Lands: r.IntN(2) == 0}
			if r.IntN(4) == 0 {
				f.Op = storage.OpDelete
			}
			if kind == storage.Slow {
				// Past the client's time-out, and within what storage may take.
				f.Op, f.Delay = storage.OpUpload, storage.Duration(StorageTimeout+between(r, time.Second, 20*time.Second))
			}
			return Fault{Kind: Answer, Target: store, Storage: f}
		})
	}
	r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	return deck
}

func (p *Plan) drawVideos(r *rand.Rand, n int) {
	last := p.End * 4 / 5
	for i := range n {
		v := Video{N: i, At: between(r, 0, last), Length: between(r, 5*time.Second, 100*time.Second).Truncate(10 * time.Millisecond)}
		if r.IntN(20) == 0 {
			v.Length = 10 * time.Minute
		}
		if i%60 == 7 {
			v.Length = 3 * time.Hour
		}
		v.Fate = fate(r.IntN(100))
		v.FateAt = v.At + between(r, 0, min(20*time.Second, p.End-v.At))
		v.Plants = plants(r, v, p.End)
		p.Videos = append(p.Videos, v)
	}
	slices.SortStableFunc(p.Videos, func(a, b Video) int { return cmp.Compare(a.At, b.At) })
}

func fate(percent int) Fate {
	for _, f := range []struct {
		below int
		fate  Fate
	}{{62, Plain}, {72, Deleted}, {76, Vanished}, {84, Elsewhere}, {89, PutIn}, {94, Retried}} {
		if percent < f.below {
			return f.fate
		}
	}
	return Unknown
}

// plants are early (with the creation), late, newer, older and repeated results. Those of a video that nobody is asked
// about have at least one of each track.
func plants(r *rand.Rand, v Video, end time.Duration) []Plant {
	n := []int{0, 0, 0, 1, 1, 2, 3}[r.IntN(7)]
	if v.Fate == Elsewhere || v.Fate == Unknown || v.Fate == Deleted || v.Fate == Vanished {
		n = max(n, 2)
	}
	var list []Plant
	for i := range n {
		p := Plant{
			At:              v.At + between(r, 0, min(30*time.Second, end-v.At)),
			Transcription:   r.IntN(3) > 0,
			TranscriptForm:  pick(r, simulator.TranscriptForms()),
			CompressionForm: pick(r, simulator.CompressionForms()),
			Take:            1 + i,
			Older:           r.IntN(4) == 0,
			Partition:       r.Int32N(partitions),
			Times:           1 + r.IntN(2)*r.IntN(3),
		}
		if r.IntN(3) == 0 {
			p.At = v.At // early
		}
		list = append(list, p)
	}
	if v.Fate == Elsewhere {
		list[0].Transcription, list[1].Transcription = true, false
	}
	if v.Length == 3*time.Hour { // one more of these is enough
		list = list[:min(len(list), 2)]
	}
	compressed := slices.ContainsFunc(list, func(p Plant) bool { return !p.Transcription })
	if (len(list) > 0 || v.Fate == PutIn) && !compressed {
		// A transcript that is early makes the ask needless, and the simulator compresses what it is asked about.
		list = append(list, Plant{
			At: v.At + between(r, 0, min(30*time.Second, end-v.At)), CompressionForm: pick(r, simulator.CompressionForms()), Take: 1, Times: 1,
		})
	}
	slices.SortStableFunc(list, func(a, b Plant) int { return cmp.Compare(a.At, b.At) })
	return list
}

func (p *Plan) drawPoison(r *rand.Rand, n int) {
	for i := range n {
		x := Poison{At: between(r, 0, p.End), Transcription: i%2 == 0, Sort: i / 2}
		sorts := len(poisonTranscripts)
		if !x.Transcription {
			sorts = len(poisonCompressions)
		}
		x.Sort %= sorts
		p.Poison = append(p.Poison, x)
	}
	slices.SortStableFunc(p.Poison, func(a, b Poison) int { return cmp.Compare(a.At, b.At) })
}
