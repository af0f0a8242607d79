package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/message"
)

// ProcessMessageParams is a message and the process it is for.
type ProcessMessageParams struct {
	PID     string          `json:"pid" op:"required" doc:"the process's pid, or a name that a process holds"`
	Message json.RawMessage `json:"message" op:"required" doc:"of a call or a cast {\"method\": …, \"params\": …}, where params is an object, an array or left out; of a send a string, which is the line, or any other JSON, which is written as one"`
	Type    string          `json:"message_type" enum:"call,cast,send" default:"call" doc:"call waits for the answer; cast is a notification; send writes a line"`
}

// Messaged is what came of a message.
type Messaged struct {
	PID    string          `json:"pid"`              // the process that got it
	Result json.RawMessage `json:"result,omitempty"` // of a call
	Error  *message.Error  `json:"error,omitempty"`  // of a call: the program's own
}

// ProcessSignalParams is a signal and the process it is for.
type ProcessSignalParams struct {
	ProcessParams
	Signal string `json:"signal" op:"required" doc:"its name, with or without SIG, or its number"`
}

// Signaled is a process that was sent a signal.
type Signaled struct {
	PID string `json:"pid"`
}

func (d Deps) messageOp() *op.Op {
	return op.Define(op.Spec{
		Name: "process.message", Summary: "Give a message to a process", Method: http.MethodPost, Path: "/processes/:pid/message",
		Command: "message PID METHOD [PARAMS]", Effect: op.Write, Runs: op.OnOwner, Timeout: 10 * time.Second,
		Description: "For a child whose spec says `\"protocol\": \"jsonrpc\"`: its program speaks JSON-RPC 2.0, a message a line, on its standard input and " +
			"output. A call answers with the program's `result` or its `error`, as the program wrote it; a cast and a send are answered when they are written, " +
			"and whatever the program says to them is a line of its log. An error says whether the message was certainly not written (`definite`). Answers " +
			"and messages may have 1 MiB.",
		Errors: []errs.Kind{errs.NotFound, errs.Conflict, errs.RateLimited, errs.TooLarge, errs.ConnectionLost},
		Examples: []op.Example{
			{Summary: "a call, by name", Params: `{"pid":"shop/printer","message":{"method":"print","params":{"text":"hello"}}}`, Volatile: []string{"pid"}},
			{Summary: "a line", Params: `{"pid":"${pid}","message":"hello","message_type":"send"}`, Volatile: []string{"pid"}},
		},
	}, d.message, op.Owner(d.recipientNode))
}

func (d Deps) signalOp() *op.Op {
	return op.Define(op.Spec{
		Name: "process.signal", Summary: "Send a signal to a program", Method: http.MethodPost, Path: "/processes/:pid/signal",
		Command: "signal PID SIGNAL", Effect: op.Destructive, Runs: op.OnOwner,
		Description: "To the program itself, not to what it started. What it does is the program's affair: process.kill ends all of it.",
		Errors:      []errs.Kind{errs.NotFound, errs.Conflict},
		Examples:    []op.Example{{Summary: "one that programs ignore", Params: `{"pid":"${pid}","signal":"SIGWINCH"}`, Volatile: []string{"pid"}}},
	}, func(ctx context.Context, in ProcessSignalParams) (Signaled, error) {
		return Signaled{in.PID}, d.Sandboxes.Signal(in.PID, in.Signal, op.CallerFrom(ctx).String())
	}, op.Owner(func(ctx context.Context, in ProcessSignalParams) (string, error) {
		return pidOwner(ctx, in.ProcessParams)
	}))
}

func (d Deps) message(ctx context.Context, in ProcessMessageParams) (Messaged, error) {
	msg, err := in.message()
	if err != nil {
		return Messaged{}, err
	}
	pid, err := d.recipient(in.PID)
	if err != nil {
		return Messaged{}, err
	}
	answer, err := d.Sandboxes.Message(ctx, pid, msg)
	return Messaged{pid, answer.Result, answer.Error}, err
}

// message reads the message as its type wants it.
func (in ProcessMessageParams) message() (sandbox.Message, error) {
	msg := sandbox.Message{Type: sandbox.MessageType(in.Type)}
	if msg.Type == sandbox.MessageSend {
		if json.Unmarshal(in.Message, &msg.Line) != nil {
			msg.Line = string(compact(in.Message))
		}
		return msg, nil
	}
	var body struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	d := json.NewDecoder(bytes.NewReader(in.Message))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || body.Method == "" {
		return msg, errs.BadParam("message", `of a %s must be {"method": …, "params": …}: the method's name, and what it takes, if anything`, in.Type)
	}
	if params := bytes.TrimSpace(body.Params); len(params) > 0 && params[0] != '{' && params[0] != '[' {
		return msg, errs.BadParam("message", "its params must be an object or an array, as JSON-RPC 2.0 wants it, or be left out")
	}
	msg.Method, msg.Params = body.Method, body.Params
	return msg, nil
}

// recipientNode is the node of the process that a message is for.
func (d Deps) recipientNode(ctx context.Context, in ProcessMessageParams) (string, error) {
	pid, err := d.recipient(in.PID)
	if err != nil {
		return "", err
	}
	return pidOwner(ctx, ProcessParams{pid})
}

// recipient is the pid that is meant by a pid or a name. A pid of a node of this
// cluster is one, whatever name looks like it.
func (d Deps) recipient(text string) (string, error) {
	if node, ok := sandbox.NodeOfPID(text); ok && d.knownNode(node) == nil {
		return text, nil
	}
	view := d.DB.View()
	claim, ok := view.Holder(text)
	if !ok || !claim.Confirmed {
		return "", errs.New(errs.NotFound, "%q is no pid and no registered name; process.list and registry.list show which there are", text)
	}
	switch holder := nameOf(view, claim.Claim).Holder; {
	case holder.PID != "":
		return holder.PID, nil
	case holder.Child != "":
		return "", errs.New(errs.NotFound, "child %q of sandbox %q, which holds the name %q, has no process now; try again", holder.Child, holder.Sandbox, text)
	default:
		return "", errs.New(errs.Conflict, "the name %q is held by node %s, and by no process: only a process takes messages", text, holder.Node)
	}
}
