package operations

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// Deps are the parts of a node that the operations work on. The zero value is
// enough to list and describe the operations, not to run them.
type Deps struct {
	Self    string // this node's name
	Cluster string // the cluster's name
	Version string
	Started time.Time

	Members   func() []cluster.Member
	DB        *memdb.DB
	Sandboxes *sandbox.Manager
	Names     Names
	Decrees   Decrees
	Events    *event.Log
	Topics    *event.Log // the messages published to topics
	// Say publishes a message to a topic, and returns its id in Topics.
	Say func(topic string, message json.RawMessage) (id string)
	// Faults is nil where the node breaks nothing on purpose.
	Faults *fault.Table
	// Ready says whether this node has joined; if not, what it waits for.
	Ready func() (ok bool, waitsFor []string)
	// Acknowledged waits until all live members have this node's rows as they
	// are now.
	Acknowledged func(ctx context.Context) error
	// Probe reads this node's own figures.
	Probe func() Metrics
	// Isolation tells what confines programs here.
	Isolation func(ctx context.Context) (isolation.Report, error)
	// Causes lists what is wrong as far as this node knows, beside what the
	// members' states say.
	Causes func() []Cause
	// Leave begins to leave the cluster and returns at once.
	Leave func()
	// Table is the table itself, for the operations that call or describe others.
	Table func() *op.Table
	Log   *slog.Logger
}

// All lists the operations of the table.
func All(d Deps) []*op.Op {
	var all []*op.Op
	for _, ops := range [][]*op.Op{clusterOps(d), nodeOps(d), processOps(d), supervisorOps(d), sandboxOps(d), registryOps(d), topicOps(d), eventOps(d), faultOps(d), discoverOps(d)} {
		all = append(all, ops...)
	}
	return all
}
