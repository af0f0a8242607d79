package node

import (
	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/sandbox/isolation"
)

// deps gives the operations what they work on.
func (n *Node) deps() operations.Deps {
	return operations.Deps{
		Self: n.cfg.Name, Cluster: n.cfg.Cluster, Version: n.version, Started: n.started,
		Members: func() []cluster.Member { return n.cluster.Members() },
		DB:      n.db, Sandboxes: n.sandboxes, Events: n.events, Topics: n.topics, Say: n.say, Faults: n.faults,
		Ready: n.ready, Names: n.replica, Decrees: n.decrees, Acknowledged: n.replica.Acknowledged, Probe: n.probe,
		Isolation: n.programs.Isolation, Causes: n.causes, Leave: n.Leave,
		Table: func() *op.Table { return n.table }, Log: n.log,
	}
}

// ready says whether this node has joined; if not, what it waits for.
func (n *Node) ready() (bool, []string) {
	select {
	case <-n.cluster.Ready():
		return true, nil
	default:
		return false, []string{n.cluster.Self().Why}
	}
}

// causes lists what only this node can know is wrong with it.
func (n *Node) causes() []operations.Cause {
	causes := []operations.Cause{}
	for _, peer := range n.cluster.Differing() {
		causes = append(causes, operations.Cause{
			Kind: "peers_differ", Subject: peer, Severity: operations.Warning,
			Message: "node " + peer + " was given another list of peers than node " + n.cfg.Name + "; give all nodes the same",
		})
	}
	return append(causes, n.openPorts()...)
}

// openPorts warns where programs can use the API as a loopback client can, without
// a token.
func (n *Node) openPorts() []operations.Cause {
	report, known := n.programs.IsolationNow()
	if !known || n.cfg.TokenFile != "" {
		return nil
	}
	for _, lack := range report.Missing {
		if lack.Name == isolation.OwnPorts {
			return []operations.Cause{{
				Kind: "own_ports_open", Subject: n.cfg.Name, Severity: operations.Warning,
				Message: "programs on node " + n.cfg.Name + " can call its API: " + lack.Why + "; give the node a token (--token-file), or its sandboxes network none",
			}}
		}
	}
	return nil
}
