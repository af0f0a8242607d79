package fault

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// laneBytes is how much one way holds before whoever puts has to wait: about
// what a kernel buffers.
const laneBytes = 1 << 20

// chunk is what was written, or read, in one go; err is the end of the stream.
type chunk struct {
	data []byte
	at   time.Time
	err  error
}

// lane is one way of a connection: what is on it waits until no rule holds it.
type lane struct {
	table *Table
	way   Direction

	mu      sync.Mutex
	peer    string
	chunks  []chunk
	bytes   int
	closed  bool          // nobody takes any more
	putBy   time.Time     // until when put waits; zero: for ever
	takeBy  time.Time     // and take
	changed chan struct{} // closed and replaced at each change
}

func newLane(t *Table, way Direction) *lane {
	return &lane{table: t, way: way, changed: make(chan struct{})}
}

// set changes the lane and tells those who wait.
func (l *lane) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

// held reports whether something waits, or would have to.
func (l *lane) held() bool {
	l.mu.Lock()
	peer, waiting := l.peer, len(l.chunks) > 0
	l.mu.Unlock()
	e, _ := l.table.look(peer, l.way)
	return waiting || e.cut || e.delay > 0
}

// put adds a chunk when there is room. Its error is os.ErrDeadlineExceeded, or
// net.ErrClosed.
func (l *lane) put(c chunk) error {
	for {
		l.mu.Lock()
		closed, full, deadline, changed := l.closed, l.bytes >= laneBytes, l.putBy, l.changed
		if !closed && !full {
			l.chunks, l.bytes = append(l.chunks, c), l.bytes+len(c.data)
			close(l.changed)
			l.changed = make(chan struct{})
		}
		l.mu.Unlock()
		switch {
		case closed:
			return net.ErrClosed
		case !full:
			return nil
		}
		if !sleep(changed, nil, deadline) {
			return os.ErrDeadlineExceeded
		}
	}
}

// take returns the first chunk when no rule holds it any more. drained says
// that there is none and none is waited for.
func (l *lane) take(wait bool) (c chunk, drained bool, err error) {
	for {
		l.mu.Lock()
		peer, closed, deadline, changed := l.peer, l.closed, l.takeBy, l.changed
		any := len(l.chunks) > 0
		if any {
			c = l.chunks[0]
		}
		l.mu.Unlock()
		e, ruled := l.table.look(peer, l.way)
		due := c.at.Add(e.delay)
		switch {
		case closed:
			return chunk{}, false, net.ErrClosed
		case !any && !wait:
			return chunk{}, true, nil
		case any && !e.cut && !time.Now().Before(due):
			l.set(func() { l.chunks, l.bytes = l.chunks[1:], l.bytes-len(c.data) })
			return c, false, nil
		}
		wake := deadline
		if any && !e.cut && (wake.IsZero() || due.Before(wake)) {
			wake = due
		}
		if !sleep(changed, ruled, wake) && wake == deadline {
			return chunk{}, false, os.ErrDeadlineExceeded
		}
	}
}

// sleep waits for one of the channels; false if the time, unless it is zero,
// came first.
func sleep(a, b <-chan struct{}, until time.Time) bool {
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-a:
	case <-b:
	case <-timeout:
		return false
	}
	return true
}

// pump moves what comes from r onto the lane until it ends.
func (l *lane) pump(r io.Reader) {
	for {
		data := make([]byte, 16<<10)
		n, err := r.Read(data)
		if n > 0 && l.put(chunk{data: data[:n], at: time.Now()}) != nil {
			return
		}
		if err != nil {
			_ = l.put(chunk{at: time.Now(), err: err}) // closed: nobody wants to know
			return
		}
	}
}

// waiting reports whether something is on the lane.
func (l *lane) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chunks) > 0
}
