package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rules are the six rules of claims.go; the model can be run without any one of them.
type rules struct{ exclusive, perAttempt, refuseOlder, fenced, keepOnDoubt, inTime bool }

var allRules = rules{true, true, true, true, true, true}

// TestClaimRules walks through every order of events in which results of one video are stored, the way Claim, the
// upload and ApplyTranscript do it: attempts that die or time out at any step and are tried again, uploads that land
// late. In the end the newest result must be the one that is applied and the one that is stored. Without any one of the
// rules there is an order of events that ends wrong, so none can be left out.
func TestClaimRules(t *testing.T) {
	t.Parallel()
	type size struct{ positions, crashes, timeouts int }
	small := []size{{2, 2, 2}, {3, 1, 1}}

	for _, s := range append(small, size{3, 2, 1}, size{3, 2, 2}) {
		t.Run(fmt.Sprintf("%d results, %d crashes and %d time-outs always end right", s.positions, s.crashes, s.timeouts), func(t *testing.T) {
			t.Parallel()
			states, wrong := explore(s.positions, s.crashes, s.timeouts, allRules)
			if wrong != nil {
				t.Fatalf("goes wrong:\n%s", strings.Join(wrong, "\n"))
			}
			t.Logf("%d states", states)
		})
	}
	for name, off := range map[string]func(*rules){
		"exclusive":     func(r *rules) { r.exclusive = false },
		"per attempt":   func(r *rules) { r.perAttempt = false },
		"refuse older":  func(r *rules) { r.refuseOlder = false },
		"fenced":        func(r *rules) { r.fenced = false },
		"keep on doubt": func(r *rules) { r.keepOnDoubt = false },
		"in time":       func(r *rules) { r.inTime = false },
	} {
		t.Run("without "+name+" it can go wrong", func(t *testing.T) {
			t.Parallel()
			r := allRules
			off(&r)
			for _, s := range small {
				if _, wrong := explore(s.positions, s.crashes, s.timeouts, r); wrong != nil {
					t.Logf("the shortest way:\n%s", strings.Join(wrong, "\n"))
					return
				}
			}
			t.Error("no order of events goes wrong: either the rule is not needed or the model does not know what it is for")
		})
	}
}

// attempt is one try to store the result of one position: the positions are 1, 2, … from old to new.
type attempt struct{ position, n int }

func (a attempt) String() string { return fmt.Sprintf("%d#%d", a.position, a.n) }

// attempts is a set of them.
type attempts uint32

const maxAttempts = 8

func (a attempt) bit() attempts {
	if a.n >= maxAttempts {
		panic("more attempts than the model has room for")
	}
	return 1 << ((a.position-1)*maxAttempts + a.n)
}

func (s attempts) has(a attempt) bool { return s&a.bit() != 0 }

func (s attempts) all() []attempt {
	var all []attempt
	for i := range 32 {
		if s&(1<<i) != 0 {
			all = append(all, attempt{i/maxAttempts + 1, i % maxAttempts})
		}
	}
	return all
}

// onlyOf reports whether every member has this position.
func (s attempts) onlyOf(position int) bool {
	return !slices.ContainsFunc(s.all(), func(a attempt) bool { return a.position != position })
}

type step int

const (
	claiming step = iota // about to ask for a claim
	sending              // has a claim, about to look at the clock and send the upload
	awaiting             // awaits storage's answer
	applying             // has the answer, about to apply
	finished
)

func (s step) String() string {
	return [...]string{"claiming", "sending", "awaiting", "applying", "finished"}[s]
}

type worker struct {
	at step
	n  int // of its attempt
}

// world is all there is: what the database says, what storage holds and what is under way.
type world struct {
	applied, stored int // positions; 0: none
	claims          attempts
	flying          attempts // uploads that may still land
	workers         [3]worker
	crashes, late   int // how many may still happen; late: time-outs, and claims that run out on a slow attempt
}

// explore visits every world that can come about, nearest first, and answers with the way to one that is wrong: all is
// done and the newest is not what is applied and stored, or nothing can happen and not all is done.
func explore(positions, crashes, timeouts int, r rules) (states int, wrong []string) {
	type origin struct {
		world world
		what  string
	}
	start := world{crashes: crashes, late: timeouts}
	from := map[world]*origin{start: nil}
	queue := []world{start}
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		moves := 0
		w.each(positions, r, func(what string, next world) {
			moves++
			if _, known := from[next]; !known {
				from[next] = &origin{w, what}
				queue = append(queue, next)
			}
		})
		done := w.flying == 0
		for i := range positions {
			done = done && w.workers[i].at == finished
		}
		if done && (w.applied != positions || w.stored != positions) || !done && moves == 0 {
			var way []string
			for o := from[w]; o != nil; o = from[o.world] {
				way = append(way, o.what)
			}
			slices.Reverse(way)
			return len(from), append(way, fmt.Sprintf("applied is %d, stored is %d", w.applied, w.stored))
		}
	}
	return len(from), nil
}

// each calls next with every world that may follow and what led to it.
func (w world) each(positions int, r rules, next func(what string, w world)) {
	// claimOf is what stands for an attempt: without rule 2 all attempts of a position share one claim.
	claimOf := func(position, n int) attempt {
		if !r.perAttempt {
			n = 0
		}
		return attempt{position, n}
	}
	var awaited attempts
	var held [finished + 1]attempts
	for i := range positions {
		p := w.workers[i]
		held[p.at] |= claimOf(i+1, p.n).bit()
		if p.at == awaiting {
			awaited |= attempt{i + 1, p.n}.bit()
		}
	}

	for _, up := range w.flying.all() {
		to := w
		to.stored, to.flying = up.position, w.flying&^up.bit()
		next(fmt.Sprintf("upload %s lands", up), to)
		if !awaited.has(up) {
			to.stored = w.stored
			next(fmt.Sprintf("upload %s is dropped", up), to)
		}
	}

	for _, c := range w.claims.all() {
		flies := slices.ContainsFunc(w.flying.all(), func(up attempt) bool { return claimOf(up.position, up.n) == c })
		if flies || r.inTime && held[sending].has(c) {
			continue // it lasts longer than any upload that was sent in time
		}
		to := w
		to.claims = w.claims &^ c.bit()
		switch inHand := held[sending] | held[awaiting] | held[applying]; {
		case !inHand.has(c):
			next(fmt.Sprintf("claim %s runs out", c), to)
		case w.late > 0:
			to.late--
			next(fmt.Sprintf("claim %s runs out on a slow attempt", c), to)
		}
	}

	for i := range positions {
		position, p := i+1, w.workers[i]
		me, claim := attempt{position, p.n}, claimOf(position, p.n)
		if p.at == finished {
			continue
		}
		move := func(what string, at step, n int, change func(*world)) {
			to := w
			to.workers[i] = worker{at, n}
			if change != nil {
				change(&to)
			}
			next(fmt.Sprintf("%s %s", me, what), to)
		}
		if w.crashes > 0 {
			move("dies while "+p.at.String(), claiming, p.n+1, func(to *world) { to.crashes-- })
		}
		switch p.at {
		case claiming:
			switch {
			case position < w.applied && r.refuseOlder:
				move("is superseded", finished, p.n, nil)
			case position == w.applied:
				move("is applied already", finished, p.n, nil)
			case !r.exclusive || w.claims.onlyOf(position):
				move("claims", sending, p.n, func(to *world) { to.claims |= claim.bit() })
			}
		case sending:
			move("sends", awaiting, p.n, func(to *world) { to.flying |= me.bit() })
		case awaiting:
			if !w.flying.has(me) {
				move("has its answer", applying, p.n, nil)
			}
			if w.late > 0 {
				move("times out", claiming, p.n+1, func(to *world) {
					to.late--
					if !r.keepOnDoubt {
						to.claims &^= claim.bit()
					}
				})
			}
		case applying:
			if r.fenced && !w.claims.has(claim) {
				move("begins anew", claiming, p.n+1, nil)
			} else {
				move("applies", finished, p.n, func(to *world) { to.applied, to.claims = position, to.claims&^claim.bit() })
			}
		}
	}
}
