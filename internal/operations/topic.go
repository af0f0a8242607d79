package operations

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// PublishParams is a message and where it goes.
type PublishParams struct {
	Topic   string          `json:"topic" op:"required" doc:"1 to 255 bytes of UTF-8 without control characters; / is allowed"`
	Message json.RawMessage `json:"message" op:"required" doc:"any JSON but null, of at most 64 KiB, nested at most 512 deep"`
}

// Published says what became of a message.
type Published struct {
	ID    string `json:"id"`    // in the streams of the publishing node
	Node  string `json:"node"`  // that published it
	Nodes int    `json:"nodes"` // to how many it was sent, that one included
}

func topicOps(d Deps) []*op.Op {
	return []*op.Op{
		op.Define(op.Spec{
			Name: "pubsub.publish", Summary: "Publish a message to all who subscribe to a topic", Method: http.MethodPost, Path: "/topics/:topic",
			Command: "publish TOPIC MESSAGE", Effect: op.Write, Runs: op.Anywhere,
			Description: "The node asked, or `node`, publishes it and sends it to all that are alive; `event.subscribe` with `topic` is told of it on any of " +
				"them. Each subscriber gets it at most once, and what one node publishes in the order in which it was published there. The answer does " +
				"not wait for the others: a node that is cut off gets it when it is back, as far as 4096 messages and 4 MiB reach, and is otherwise told how " +
				"many it missed. A node that starts later gets none of it.",
			Examples: []op.Example{{Summary: "an order", Params: `{"topic":"shop/orders","message":{"item":7}}`, Volatile: []string{"id"}}},
		}, d.publish),
	}
}

func (d Deps) publish(_ context.Context, in PublishParams) (Published, error) {
	if err := registry.ValidName("topic", in.Topic); err != nil {
		return Published{}, err
	}
	if err := registry.ValidValue("message", in.Message); err != nil {
		return Published{}, err
	}
	alive := keep(d.Members(), func(m cluster.Member) bool { return m.Self || m.State == cluster.Alive })
	id := d.Say(in.Topic, compact(in.Message))
	if id == "" {
		return Published{}, errs.New(errs.Internal, "the message was not published; the node's log says why")
	}
	return Published{id, d.Self, len(alive)}, nil
}
