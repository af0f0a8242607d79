// Package simnet is a network and a clock that exist in one goroutine only: what
// happens on them depends on nothing but a seed.
//
// # Usage
//
//	w := simnet.New(seed, epoch)
//	w.After(time.Second, func() { … })
//	var s simnet.Stream
//	w.Send("n1", "n2", &s, func() { … }) // arrives some virtual time later
//	w.Cut("n1", "n2")
//	w.Run(time.Minute)
//
// # Guarantees
//
// What is sent in one stream arrives in its order, as on a TCP connection. A cut holds
// it back until it heals; loss makes it late, since TCP sends again. What is due at the
// same moment is done in the order in which it was asked for.
package simnet

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// World is the clock, the network and the only source of chance.
type World struct {
	Rand *rand.Rand
	now  time.Time
	due  queue
	seq  uint64
	ways map[[2]string]*way
}

// way is one direction between two nodes.
type way struct {
	cut    bool
	reject bool
	delay  time.Duration
	loss   float64
	held   []held
}

// held is what a cut holds back.
type held struct {
	stream *Stream
	do     func()
}

// Stream is one direction of a connection.
type Stream struct{ last time.Time } // when what was sent last arrives

// The network's latency is a minimum and an exponential part, as on one machine
// or in one rack.
const (
	minLatency  = 30 * time.Microsecond
	meanLatency = 200 * time.Microsecond
	maxLatency  = 5 * time.Millisecond
	// resend is how long TCP waits at least until it sends again what was lost.
	resend = 200 * time.Millisecond
)

// New returns a world at a moment.
func New(seed uint64, now time.Time) *World {
	return &World{Rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), now: now, ways: map[[2]string]*way{}}
}

// Now is the virtual time.
func (w *World) Now() time.Time { return w.now }

// After does something later.
func (w *World) After(d time.Duration, do func()) { w.At(w.now.Add(max(0, d)), do) }

// At does something at a moment, or now if that is over.
func (w *World) At(at time.Time, do func()) {
	if at.Before(w.now) {
		at = w.now
	}
	w.seq++
	heap.Push(&w.due, event{at, w.seq, do})
}

// Run lets time pass.
func (w *World) Run(d time.Duration) { w.RunUntil(w.now.Add(d)) }

// RunUntil lets time pass until a moment.
func (w *World) RunUntil(end time.Time) {
	still := 0
	for len(w.due) > 0 && !w.due[0].at.After(end) {
		e := heap.Pop(&w.due).(event)
		if still++; e.at.After(w.now) {
			still = 0
		}
		if still > maxStill {
			panic(fmt.Sprintf("%d things happened at %s: time stands still", still, w.now))
		}
		w.now = e.at
		e.do()
	}
	w.now = end
}

// maxStill is how much can happen at one moment: somebody who asks to be woken in
// the past, again and again, is found by it.
const maxStill = 1_000_000

func (w *World) way(from, to string) *way {
	key := [2]string{from, to}
	if w.ways[key] == nil {
		w.ways[key] = &way{}
	}
	return w.ways[key]
}

// Latency is how long one message takes on an unbroken way.
func (w *World) Latency() time.Duration {
	return min(minLatency+time.Duration(w.Rand.ExpFloat64()*float64(meanLatency)), maxLatency)
}

// Send brings something from one node to another.
func (w *World) Send(from, to string, s *Stream, do func()) {
	y := w.way(from, to)
	late := w.Latency() + y.delay
	for wait := resend; y.loss > 0 && w.Rand.Float64() < y.loss; wait *= 2 {
		late += wait
	}
	at := w.now.Add(late)
	if !at.After(s.last) {
		at = s.last.Add(time.Nanosecond)
	}
	s.last = at
	w.At(at, func() {
		if y.cut || len(y.held) > 0 {
			y.held = append(y.held, held{s, do})
			return
		}
		do()
	})
}

// Cut holds back what is sent one way.
func (w *World) Cut(from, to string) { w.way(from, to).cut = true }

// Reject refuses connections one way, as a firewall does; those that exist go on.
func (w *World) Reject(from, to string) { w.way(from, to).reject = true }

// Slow delays what is sent one way.
func (w *World) Slow(from, to string, by time.Duration) { w.way(from, to).delay = by }

// Lose loses a share of what is sent one way.
func (w *World) Lose(from, to string, share float64) { w.way(from, to).loss = share }

// Heal mends one way; what was held back arrives.
func (w *World) Heal(from, to string) {
	y := w.way(from, to)
	waiting := y.held
	y.cut, y.reject, y.delay, y.loss, y.held = false, false, 0, 0, nil
	for _, h := range waiting {
		w.Send(from, to, h.stream, h.do)
	}
}

// IsCut reports whether one of both ways is cut.
func (w *World) IsCut(a, b string) bool { return w.way(a, b).cut || w.way(b, a).cut }

// Rejects reports whether connections are refused one way.
func (w *World) Rejects(from, to string) bool { return w.way(from, to).reject }

// Delay is how much is added one way.
func (w *World) Delay(from, to string) time.Duration { return w.way(from, to).delay }

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}
