package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/sandbox/message"
)

// MessageType says what a message is, in OTP's words.
type MessageType string

// The types of message.
const (
	MessageSend MessageType = "send" // a line, as it is
	MessageCast MessageType = "cast" // a JSON-RPC notification: nothing comes back
	MessageCall MessageType = "call" // a JSON-RPC request: its answer comes back
)

// Message is a message to a process.
type Message struct {
	Type   MessageType
	Method string          // of a cast or a call
	Params json.RawMessage // likewise: an object or an array; nil is none
	Line   string          // what to send
}

// Answer is what came of a message: of a call either a result or the error
// object that the program answered with.
type Answer struct {
	Result json.RawMessage
	Error  *message.Error
}

// Message gives a message to a process whose child has the protocol jsonrpc, and
// returns when it is written, or a call when it is answered. Kinds: not_found,
// conflict (a supervisor, a child without the protocol, or it is still starting),
// and those of [message.Conn.Call]; the why of one that was lost says how the
// process ended.
func (m *Manager) Message(ctx context.Context, pid string, msg Message) (Answer, error) {
	s, err := m.liveSlot(pid)
	if err != nil {
		return Answer{}, err
	}
	if s.spec.Protocol != ProtocolJSONRPC {
		return Answer{}, errs.New(errs.Conflict, `process %s takes no messages: child %q of sandbox %q has no "protocol": "jsonrpc" in its spec, and its program must then speak it, a message a line, on its standard input and output`,
			pid, s.spec.ID, s.tree.spec.ID)
	}
	proc, talk, err := s.live(pid)
	if err != nil {
		return Answer{}, err
	}
	answer, err := deliver(ctx, talk, msg)
	switch errs.KindOf(err) {
	case errs.ConnectionLost, errs.NodeUnavailable:
		err = lost(ctx, proc, err)
	}
	return answer, err
}

// deliver has a message written, and waits for the answer to a call.
func deliver(ctx context.Context, talk *message.Conn, msg Message) (Answer, error) {
	switch msg.Type {
	case MessageSend:
		return Answer{}, talk.Send(ctx, msg.Line)
	case MessageCast:
		return Answer{}, talk.Notify(ctx, msg.Method, msg.Params)
	case MessageCall:
		result, err := talk.Call(ctx, msg.Method, msg.Params)
		var refusal *message.Error
		if errors.As(err, &refusal) {
			return Answer{Error: refusal}, nil
		}
		return Answer{Result: result}, err
	default:
		return Answer{}, errs.BadParam("message_type", "is %q: use %q, %q or %q", msg.Type, MessageSend, MessageCast, MessageCall)
	}
}

// endTime is how long an error waits for the end of the process that is its
// reason: its output ends a moment before.
const endTime = time.Second

// lost adds to an error how the process ended.
func lost(ctx context.Context, proc Process, err error) error {
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-proc.Done():
		exit := proc.Exit()
		return errs.From(err).WithWhy("ended at %s: %s", stamp(exit.At), describe(&exit))
	case <-timer.C: // it has only closed its output
	case <-ctx.Done():
	}
	return err
}

// conversation makes the conversation with the slot's next process; nil if its
// child has no protocol.
func (s *slot) conversation(pid string) *message.Conn {
	if s.spec.Protocol != ProtocolJSONRPC {
		return nil
	}
	return message.New(message.Config{Note: func(kind message.Kind, text string) { s.note(pid, kind, text) }})
}

// readerOf is what reads a program's standard output; nil: the log does.
func readerOf(talk *message.Conn) func(io.Reader) {
	if talk == nil {
		return nil
	}
	return talk.Read
}

// maxNote bounds a line of the log that was a message, in bytes.
const maxNote = 16 << 10

// marks say in the log why a line of standard output is there.
var marks = map[message.Kind]string{
	message.Noise:   "(no JSON-RPC) ",
	message.Request: "(request, refused) ",
	message.Stray:   "(answer to nothing that was asked) ",
}

// note puts into the log what a program says unasked.
func (s *slot) note(pid string, kind message.Kind, text string) {
	stream := Stdout
	if kind == message.End {
		stream = System
	}
	if len(text) > maxNote {
		text = text[:maxNote] + " …"
	}
	s.log.Append(s.tree.m.now(), stream, pid, marks[kind]+strings.ToValidUTF8(text, "\uFFFD"))
}
