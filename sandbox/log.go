package sandbox

import (
	"context"
	"io"
	"sync"
	"time"
)

// Stream tells where a line of a [Log] comes from.
type Stream string

// The streams. System lines are Glassbox's own: started, ended, and how.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
	System Stream = "system"
)

// LogEntry is one line of output.
type LogEntry struct {
	Seq    uint64    `json:"seq"` // 1, 2, 3 … in its slot, dropped lines included
	Time   time.Time `json:"time"`
	Stream Stream    `json:"stream"`
	PID    string    `json:"pid"` // the process of the slot that printed it
	Line   string    `json:"line"`
}

// Limits of a log.
const (
	// DefaultLogBytes and DefaultLogLines bound what a slot's log keeps.
	DefaultLogBytes = 256 << 10
	DefaultLogLines = 4096
)

// Log keeps the newest lines of one slot, within a bound of bytes and lines.
// Appending never waits for a reader: the oldest lines are dropped, and a
// reader that was too slow is told how many it missed. All methods may be
// called from several goroutines at once.
type Log struct {
	maxBytes, maxLines int

	mu      sync.Mutex
	entries []LogEntry // oldest first, seqs without gaps
	bytes   int        // of their lines
	last    uint64     // seq of the newest line, kept or not
	printed uint64     // bytes of all lines, kept or not
	unfiled uint64     // lines that did not get into a file
	changed chan struct{}
	closed  bool
}

// NewLog makes a log that keeps at most so many bytes and lines; zero is the
// default of each. The newest line is always kept.
func NewLog(maxBytes, maxLines int) *Log {
	if maxBytes <= 0 {
		maxBytes = DefaultLogBytes
	}
	if maxLines <= 0 {
		maxLines = DefaultLogLines
	}
	return &Log{maxBytes: maxBytes, maxLines: maxLines}
}

// OutputCounts are figures of what a slot's processes printed.
type OutputCounts struct {
	Lines uint64 `json:"lines"`
	Bytes uint64 `json:"bytes"`
	// Dropped is how many lines are no longer kept in memory.
	Dropped uint64 `json:"dropped"`
	// Unfiled is how many did not get into the slot's file, where there is one:
	// they came too fast, or the disk took none.
	Unfiled uint64 `json:"unfiled,omitempty"`
}

// Counts tells the figures so far.
func (l *Log) Counts() OutputCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return OutputCounts{Lines: l.last, Bytes: l.printed, Dropped: l.last - uint64(len(l.entries)), Unfiled: l.unfiled}
}

// notFiled counts lines that did not get into a file.
func (l *Log) notFiled(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfiled += n
}

// Room is how many lines the log keeps at most: of more in one go only the last
// so many need to be appended, and the rest be told to [Log.Skip].
func (l *Log) Room() int { return l.maxLines }

// Append adds lines of one stream of one process, all with the same time.
func (l *Log) Append(now time.Time, stream Stream, pid string, lines ...string) {
	now = now.UTC().Truncate(time.Microsecond)
	if len(lines) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lines {
		l.last++
		l.bytes += len(line)
		l.printed += uint64(len(line))
		l.entries = append(l.entries, LogEntry{Seq: l.last, Time: now, Stream: stream, PID: pid, Line: line})
	}
	l.trim()
	l.wake()
}

// Skip counts n lines, of so many bytes, that were printed but are too many to
// keep. Every line older than they is dropped with them.
func (l *Log) Skip(n, bytes int) {
	if n <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last += uint64(n)
	l.printed += uint64(bytes)
	clear(l.entries)
	l.entries, l.bytes = l.entries[:0], 0
	l.wake()
}

// trim drops the oldest lines until the bounds hold.
func (l *Log) trim() {
	drop := 0
	for len(l.entries)-drop > 1 && (len(l.entries)-drop > l.maxLines || l.bytes > l.maxBytes) {
		l.bytes -= len(l.entries[drop].Line)
		drop++
	}
	clear(l.entries[:drop])
	l.entries = l.entries[drop:]
}

// wake tells those who wait that something has changed. The caller holds mu.
func (l *Log) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Close says that nothing will follow; readers that wait end with io.EOF.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// Read returns up to limit lines (0: all) after the seq given (0: from the oldest),
// the seq to go on from, and how many lines were missed because they had been
// dropped. With wait it waits for at least one line. Its error is ctx's, or
// io.EOF when wait is set and the log was closed with nothing left to read.
func (l *Log) Read(ctx context.Context, after uint64, limit int, wait bool) (entries []LogEntry, next, missed uint64, err error) {
	for {
		entries, next, missed, changed, closed := l.read(after, limit)
		switch {
		case len(entries) > 0 || missed > 0 || !wait:
			return entries, next, missed, nil
		case closed:
			return nil, next, 0, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, next, 0, ctx.Err()
		}
	}
}

// Ended reports whether nothing can come behind a seq any more.
func (l *Log) Ended(after uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed && after >= l.last
}

// read is Read without the waiting.
func (l *Log) read(after uint64, limit int) (entries []LogEntry, next, missed uint64, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	after = min(after, l.last) // a seq of another node's log, say
	first := l.last - uint64(len(l.entries)) + 1
	from := max(after+1, first)
	kept := l.entries[from-first:]
	if limit > 0 {
		kept = kept[:min(len(kept), limit)]
	}
	missed = from - after - 1
	return append(entries, kept...), from - 1 + uint64(len(kept)), missed, l.changed, l.closed
}
