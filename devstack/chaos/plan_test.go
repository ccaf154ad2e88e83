package chaos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/storage"
)

func TestPlan_follows_from_its_seed(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(NewPlan(7, 100, 2*time.Minute), NewPlan(7, 100, 2*time.Minute)); diff != "" {
		t.Errorf("the same seed, another plan:\n%s", diff)
	}
	if cmp.Equal(NewPlan(7, 100, 2*time.Minute).Faults, NewPlan(8, 100, 2*time.Minute).Faults) {
		t.Error("another seed, the same faults")
	}
	if !cmp.Equal(NewPlan(7, 100, 2*time.Minute).Faults, NewPlan(7, 200, 2*time.Minute).Faults) {
		t.Error("more videos change the faults")
	}
}

func TestPlan_has_everything(t *testing.T) {
	t.Parallel()
	p := NewPlan(1, 500, 5*time.Minute)
	faults := map[string]int{}
	for _, f := range p.Faults {
		faults[f.Name()]++
		if f.At+f.For > p.End {
			t.Errorf("%s lasts from %s for %s, beyond the end", f.Name(), f.At, f.For)
		}
	}
	for _, name := range []string{
		"kill_worker", "kill_starter", "kill_kafkabridge", "kill_temporal", "kill_kafka", "kill_postgres", "kill_storage",
		"freeze_worker", "freeze_starter", "freeze_kafkabridge", "freeze_temporal", "freeze_kafka", "freeze_storage",
		"cut_temporal", "cut_kafka", "cut_postgres", "cut_storage", "half_open_temporal", "half_open_kafka", "half_open_postgres",
		"half_open_storage", "slow_temporal", "slow_kafka", "slow_postgres", "slow_storage", "reset_temporal", "reset_kafka",
		"reset_postgres", "reset_storage", "failover", "read_only", "out_of_connections", "rolling_restart",
		"storage_slow_down", "storage_database_timeout", "storage_bad_gateway", "storage_half", "storage_drop", "storage_slow",
	} {
		if faults[name] == 0 {
			t.Errorf("no %s among %v", name, faults)
		}
	}
	fates := map[Fate]int{}
	long, older, repeated := 0, 0, 0
	for _, v := range p.Videos {
		fates[v.Fate]++
		if v.Length == 3*time.Hour {
			long++
		}
		for _, plant := range v.Plants {
			if plant.Older {
				older++
			}
			if plant.Times > 1 {
				repeated++
			}
			if plant.At < v.At || plant.At > p.End {
				t.Errorf("video %d of %s has a plant at %s", v.N, v.At, plant.At)
			}
		}
	}
	for _, f := range []Fate{Plain, Deleted, Vanished, Elsewhere, PutIn, Retried, Unknown} {
		if fates[f] == 0 {
			t.Errorf("nothing is %s", f)
		}
	}
	if long == 0 || older == 0 || repeated == 0 {
		t.Errorf("%d recordings of three hours, %d older results, %d repeated ones", long, older, repeated)
	}
	sorts := map[Poison]int{}
	for _, x := range p.Poison {
		x.At = 0
		sorts[x]++
	}
	if want := len(poisonTranscripts) + len(poisonCompressions); len(sorts) != want {
		t.Errorf("%d sorts of poison, want all %d", len(sorts), want)
	}
}

func TestPlan_freezes_a_bridge_beyond_its_session(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		found := false
		for _, f := range NewPlan(seed, 10, 90*time.Second).Faults {
			found = found || f.Kind == Freeze && f.Target == bridge && f.For > sessionTimeout
		}
		if !found {
			t.Errorf("seed %d: no bridge is frozen for long", seed)
		}
	}
}

func TestPlan_does_nothing_twice_at_once(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		busy := map[string]time.Duration{}
		for _, f := range NewPlan(seed, 0, 5*time.Minute).Faults {
			if f.Kind == Answer || f.Kind == Rolling {
				continue
			}
			if busy[f.key()] > f.At {
				t.Errorf("seed %d: %s at %s while the target is busy until %s", seed, f.Name(), f.At, busy[f.key()])
			}
			busy[f.key()] = f.At + f.For
		}
	}
}

func TestPlan_orders_faults_that_the_storage_takes(t *testing.T) {
	t.Parallel()
	for _, f := range NewPlan(3, 0, 10*time.Minute).Faults {
		if f.Kind != Answer {
			continue
		}
		if s := f.Storage; s.Count < 1 || s.Kind == storage.Slow && time.Duration(s.Delay) <= StorageTimeout {
			t.Errorf("%+v", s)
		}
	}
}

func TestPlan_compresses_what_may_not_be_asked_about(t *testing.T) {
	t.Parallel()
	for _, v := range NewPlan(4, 500, time.Minute).Videos {
		transcripts, compressions := 0, 0
		for _, p := range v.Plants {
			if p.Transcription {
				transcripts++
			} else {
				compressions++
			}
		}
		if (transcripts > 0 || v.Fate == PutIn) && compressions == 0 {
			t.Errorf("video %d (%s) has %d transcripts and no compression", v.N, v.Fate, transcripts)
		}
	}
}
