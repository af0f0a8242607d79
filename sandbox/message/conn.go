package message

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/glassbox-dev/glassbox/internal/errs"
)

// Bounds of a conversation.
const (
	// MaxInFlight is how many calls wait for an answer at once.
	MaxInFlight = 256
	// MaxQueue is how many messages wait to be written.
	MaxQueue = 256
)

// Kind tells what a note is about.
type Kind string

// The kinds of note.
const (
	Notification Kind = "notification" // the program's; the text is the line
	Request      Kind = "request"      // the program's, refused; the text is the line
	Noise        Kind = "noise"        // a line that is no JSON-RPC 2.0; the text is the line
	Stray        Kind = "stray"        // an answer to nothing that was asked; the text is the line
	End          Kind = "end"          // the conversation ended before the program; the text says why
)

// Config is what a conversation needs.
type Config struct {
	// FirstID is the id of the first call; 0 is one by chance, so that whoever writes
	// requests of his own with [Conn.Send] does not meet ours, and gets no answer
	// that is another's.
	FirstID uint64
	// Note takes what is no answer, in order. It must not block; nil drops it.
	Note func(kind Kind, text string)
}

// Counts are figures of a conversation.
type Counts struct {
	Calls    uint64 `json:"calls"`     // made so far
	InFlight int    `json:"in_flight"` // not answered yet
	Late     uint64 `json:"late"`      // answers to calls that had been given up, dropped
	Noise    uint64 `json:"noise"`     // lines that were no JSON-RPC 2.0
}

// Conn is a conversation with one program, from its start to the end of its
// output. All methods may be called from several goroutines at once.
type Conn struct {
	note   func(Kind, string)
	queue  chan *outgoing
	over   chan struct{} // closed when the program's output has ended
	writer sync.WaitGroup

	mu    sync.Mutex
	in    Stdin // nil before Open
	calls map[uint64]chan reply
	first uint64 // id given
	last  uint64 // id given
	late  uint64
	noise uint64
	ended bool
	why   string // why it has ended, beside the program's end
}

// reply is the end of a call.
type reply struct {
	result json.RawMessage
	err    error
}

// maxFirstID leaves the ids exact in JSON, whose numbers many programs read as doubles.
const maxFirstID = 1 << 52

// New makes a conversation; it starts nothing.
func New(cfg Config) *Conn {
	if cfg.Note == nil {
		cfg.Note = func(Kind, string) {}
	}
	if cfg.FirstID == 0 {
		cfg.FirstID = 1 + rand.Uint64N(maxFirstID)
	}
	return &Conn{
		note: cfg.Note, queue: make(chan *outgoing, MaxQueue), over: make(chan struct{}),
		calls: make(map[uint64]chan reply), first: cfg.FirstID, last: cfg.FirstID - 1,
	}
}

// Read reads the program's standard output until its end, or until a line that
// is too long; then the conversation is over. It is called once.
func (c *Conn) Read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, MaxLine+len("\r\n"))
	for lines.Scan() {
		c.take(lines.Bytes())
	}
	why := ""
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		why = "it printed a line longer than 1 MiB"
	}
	c.end(why)
}

// Open takes the program's standard input and begins to write what waits.
func (c *Conn) Open(in Stdin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		in.Close()
		return
	}
	c.in = in
	c.writer.Go(func() { c.write(in) })
}

// end ends the conversation and returns when nothing of it is left running.
func (c *Conn) end(why string) {
	c.mu.Lock()
	c.ended, c.why = true, why
	if c.in != nil {
		c.in.Close() // whoever writes gives up
	}
	c.mu.Unlock()
	close(c.over)
	c.writer.Wait()
	if why != "" {
		c.note(End, "no more messages: "+why)
	}
}

// take handles one line of the program.
func (c *Conn) take(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	m := parse(line)
	switch m.form {
	case answer:
		c.answered(m, line)
	case request:
		c.note(Request, string(line))
		c.refuse(m.id)
	case notification:
		c.note(Notification, string(line))
	default:
		c.mu.Lock()
		c.noise++
		c.mu.Unlock()
		c.note(Noise, string(line))
	}
}

// answered ends the call that a line answers.
func (c *Conn) answered(m incoming, line []byte) {
	id, ours := m.number()
	c.mu.Lock()
	waits := c.calls[id]
	delete(c.calls, id)
	late := ours && waits == nil && id >= c.first && id <= c.last
	if late {
		c.late++
	}
	c.mu.Unlock()
	switch {
	case waits != nil:
		result, err := m.outcome()
		waits <- reply{result, err} // there is room for the one
	case !late:
		c.note(Stray, string(line))
	}
}

// Call asks the program and waits for its answer. Params are JSON, an object or
// an array; nil is none. The error is the program's own, an *[Error], or of kind
//   - timeout or cancelled: ctx ended first; the program may still do it;
//   - connection_lost: the program ended, or closed its output, before it answered;
//   - node_unavailable: it ended before the message was written (definite);
//   - rate_limited: too many messages wait, or ctx ended before the program had
//     read those before this one (definite);
//   - too_large (definite), or internal: the answer cannot be passed on.
func (c *Conn) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	id, waits, err := c.begin()
	if err != nil {
		return nil, err
	}
	defer c.forget(id)
	line, err := encode(id, method, params)
	if err != nil {
		return nil, err
	}
	if err := c.put(ctx, line); err != nil {
		return nil, err
	}
	select {
	case r := <-waits:
		return r.result, r.err
	case <-ctx.Done():
		return nil, errs.From(ctx.Err())
	case <-c.over:
	}
	select { // it may have come just before
	case r := <-waits:
		return r.result, r.err
	default:
		return nil, errs.New(errs.ConnectionLost, "the program got the message and %s before it answered", c.how())
	}
}

// begin makes the place of a call.
func (c *Conn) begin() (id uint64, waits chan reply, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) >= MaxInFlight {
		return 0, nil, errs.New(errs.RateLimited, "%d calls wait for the program's answer: wait until some have come", len(c.calls))
	}
	waits = make(chan reply, 1)
	c.last++
	c.calls[c.last] = waits
	return c.last, waits, nil
}

// forget makes an answer that still comes a late one.
func (c *Conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

// Notify sends a notification and returns when it is written: whether the
// program does anything about it is not known. Errors are those of [Conn.Call].
func (c *Conn) Notify(ctx context.Context, method string, params json.RawMessage) error {
	line, err := encode(0, method, params)
	if err != nil {
		return err
	}
	return c.put(ctx, line)
}

// Send writes one line as it is and returns when it is written. Errors are those
// of [Conn.Call], and bad_parameter for more than one line.
func (c *Conn) Send(ctx context.Context, text string) error {
	if strings.ContainsAny(text, "\n") {
		return errs.New(errs.BadParameter, "a line break is in the text: send one line at a time")
	}
	raw, err := line([]byte(text))
	if err != nil {
		return err
	}
	return c.put(ctx, raw)
}

// Counts tells the figures so far.
func (c *Conn) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{Calls: c.last - c.first + 1, InFlight: len(c.calls), Late: c.late, Noise: c.noise}
}

// how says how the conversation ended, in a sentence about the program.
func (c *Conn) how() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != "" {
		return "was given up (" + c.why + ": kill it, and its supervisor starts it again)"
	}
	return "ended, or closed its standard output,"
}
