package rpc

import (
	"log/slog"
	"time"
)

// Config bounds a connection. The zero value of a field means its default.
type Config struct {
	// MaxMessage is the longest message accepted, in bytes. A longer one is
	// answered with too_large and the connection closed. The answers to one
	// batch are not longer either.
	MaxMessage int
	// FirstMessage takes MaxMessage's place until [Conn.Trust] is called, so
	// that who has shown nothing yet cannot make this side hold much. Zero
	// means MaxMessage.
	FirstMessage int
	// MessageTimeout is how long this side waits in all for the rest of a
	// message that has begun. Between messages it waits for ever.
	MessageTimeout time.Duration
	// QueueBytes bounds what waits to be sent; it is at least MaxMessage. Over
	// it a call or notification is refused with rate_limited, and an answer
	// waits. An eighth more is kept for messages of up to 4 KiB, so that pings
	// and acknowledgements go out beside bulk.
	QueueBytes int
	// WriteTimeout is how long a peer may read nothing at all while something
	// is being sent to it; then it is given up. What arrives meanwhile is seen
	// in steps, so it may take up to twice as long. A [MessageConn] has it for
	// each message.
	WriteTimeout time.Duration
	// Workers is how many requests of the peer are handled at once. They are
	// started when needed, and but a few end when they are not any more, so a
	// large value costs nothing.
	Workers int
	// Backlog is how many more may wait; beyond them a request is answered
	// with rate_limited.
	Backlog int
	// RequestBytes bounds the parameters of the requests that are at work or
	// wait, together; beyond it too a request is answered with rate_limited.
	RequestBytes int
	// MaxPending bounds this side's calls that have no answer yet, cancelled
	// ones included until the peer has answered them.
	MaxPending int
	// Linger is how long the requests of a peer that has closed its sending
	// side are still worked for; then, or when they are answered, the
	// connection closes. This side's own calls fail at once. Zero closes
	// everything at once, which is what finds a killed peer soonest; so does
	// [Conn.EndAtEOF] for one connection.
	Linger time.Duration
	// Inline names the methods that are handled one after the other, in the
	// order in which they came, before anything else is read: they must be
	// quick and must not call back on the connection. nil means none. A
	// handler may add some, see [Inliner].
	Inline func(method string) bool
	// Log gets what a connection's owner should know; nil discards it.
	Log *slog.Logger
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxMessage: 4 << 20, FirstMessage: 4 << 20, MessageTimeout: 30 * time.Second,
		QueueBytes: 8 << 20, WriteTimeout: 5 * time.Second,
		Workers: 64, Backlog: 1024, RequestBytes: 64 << 20, MaxPending: 4096,
		Inline: func(string) bool { return false }, Log: slog.New(slog.DiscardHandler),
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	orElse(&c.MaxMessage, d.MaxMessage)
	orElse(&c.FirstMessage, c.MaxMessage)
	orElse(&c.MessageTimeout, d.MessageTimeout)
	orElse(&c.QueueBytes, d.QueueBytes)
	orElse(&c.WriteTimeout, d.WriteTimeout)
	orElse(&c.Workers, d.Workers)
	orElse(&c.Backlog, d.Backlog)
	orElse(&c.RequestBytes, d.RequestBytes)
	orElse(&c.MaxPending, d.MaxPending)
	c.FirstMessage = min(c.FirstMessage, c.MaxMessage)
	c.QueueBytes = max(c.QueueBytes, c.MaxMessage) // or the longest message would never fit
	if c.Inline == nil {
		c.Inline = d.Inline
	}
	if c.Log == nil {
		c.Log = d.Log
	}
	return c
}

func orElse[T int | time.Duration](have *T, otherwise T) {
	if *have <= 0 {
		*have = otherwise
	}
}
