package node_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
	"github.com/glassbox-dev/glassbox/internal/operations"
)

func publish(t *testing.T, n *nodetest.Node, topic string, message any) operations.Published {
	t.Helper()
	return nodetest.Call[operations.Published](t, n, "pubsub.publish", params{"topic": topic, "message": message})
}

// messages reads what a node has of a topic behind an id.
func messages(t *testing.T, n *nodetest.Node, topic, after string, wait time.Duration) operations.EventList {
	t.Helper()
	return nodetest.Call[operations.EventList](t, n, "event.list", params{"topic": topic, "after": after, "limit": 1000, "wait_ms": wait.Milliseconds()})
}

// TestTopics: what is published through any node is told on all, in order per
// publisher, and is no event.
func TestTopics(t *testing.T) {
	nodes := nodetest.Start(t, 3)
	for i := range 30 {
		for _, n := range nodes {
			sent := publish(t, n, "shop/orders", params{"by": n.Config.Name, "i": i})
			require.Equal(t, operations.Published{ID: sent.ID, Node: n.Config.Name, Nodes: 3}, sent)
			publish(t, n, "other", i)
		}
	}
	for _, n := range nodes {
		next := map[string]int{}
		seen := 0
		for after := ""; seen < 90; {
			page := messages(t, n, "shop/orders", after, 10*time.Second)
			require.NotEmpty(t, page.Events)
			after = page.Next
			for _, e := range page.Events {
				require.Equal(t, event.Message, e.Type)
				require.Equal(t, "shop/orders", e.Subject)
				require.JSONEq(t, fmt.Sprintf(`{"by":%q,"i":%d}`, e.Node, next[e.Node]), string(e.Data), "each once, and in order")
				next[e.Node]++
				seen++
			}
		}
		require.Empty(t, messages(t, n, "nobody", "", 0).Events)
		require.Empty(t, nodetest.Call[operations.EventList](t, n, "event.list", params{"type": event.Message}).Events, "the history is another log")
	}
	// The id of the answer is a place to go on from; one of the events is none.
	sent := publish(t, nodes[0], "shop/orders", "last")
	require.Empty(t, messages(t, nodes[0], "shop/orders", sent.ID, 0).Events)
	events := nodetest.Call[operations.EventList](t, nodes[0], "event.list", params{"limit": 1})
	require.Equal(t, event.Gap, messages(t, nodes[0], "shop/orders", events.Next, 0).Events[0].Type)
	require.Equal(t, "subject", refused(t, errs.BadParameter, nodes[0], "event.list", params{"topic": "a", "subject": "b"}).Param)

	require.Equal(t, "n2", nodetest.Call[operations.Published](t, nodes[0], "pubsub.publish", params{"topic": "a", "message": 1, "node": "n2"}).Node)
	require.NoError(t, nodes[2].Stop())
	require.Eventually(t, func() bool { return publish(t, nodes[0], "a", 1).Nodes == 2 }, 10*time.Second, 5*time.Millisecond)
}

// TestASlowSubscriber is told how much it missed, here and on another node, and
// events are not pushed out by messages.
func TestASlowSubscriber(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	begin := messages(t, nodes[1], "flood", "now", 0).Next
	history := nodetest.Call[operations.EventList](t, nodes[0], "event.list", nil).Events
	const sent = 80
	large := strings.Repeat("x", 64<<10-2)
	for range sent { // 5 MiB
		publish(t, nodes[0], "flood", large)
	}
	publish(t, nodes[0], "end", 1)
	require.NotEmpty(t, messages(t, nodes[1], "end", "", 10*time.Second).Events)
	seen, missed := 0, 0
	for after := begin; ; {
		page := messages(t, nodes[1], "flood", after, 0)
		if len(page.Events) == 0 {
			break
		}
		after = page.Next
		for _, e := range page.Events {
			if e.Type == event.Message {
				seen++
				continue
			}
			require.Equal(t, event.Gap, e.Type)
			require.Contains(t, e.Why, "messages")
			var gap struct{ Missed int }
			require.NoError(t, json.Unmarshal(e.Data, &gap))
			missed += gap.Missed
		}
	}
	require.Equal(t, sent, seen+missed)
	require.Positive(t, missed)
	require.Positive(t, seen)
	require.Equal(t, history, nodetest.Call[operations.EventList](t, nodes[0], "event.list", nil).Events)
}
