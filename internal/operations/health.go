package operations

import (
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/internal/op"
)

// Severity orders health causes.
type Severity string

// The severities: a warning leaves the node useful, an error does not.
const (
	Warning Severity = "warning"
	Serious Severity = "error"
)

// Cause is one thing that is wrong, and what is known about it.
type Cause struct {
	Kind     string    `json:"kind"`    // one word to match on: member_dead, peers_differ, not_ready …
	Subject  string    `json:"subject"` // what is unwell
	Severity Severity  `json:"severity"`
	Message  string    `json:"message"`
	Since    time.Time `json:"since,omitzero"`
}

// Metrics are a node's own figures, read when they are asked for.
type Metrics struct {
	RSSBytes         int64   `json:"rss_bytes"`          // resident memory of the node's process
	GuardianRSSBytes int64   `json:"guardian_rss_bytes"` // and of its guardian and keeper; 0 if it has none yet
	HeapBytes        int64   `json:"heap_bytes"`         // live and not yet collected Go objects
	Goroutines       int     `json:"goroutines"`
	CPUSeconds       float64 `json:"cpu_seconds"` // used since the start
	OpenFiles        int     `json:"open_files"`
	Links            []Link  `json:"links"`
	Rows             int     `json:"rows"`   // replicated rows of all nodes
	Events           uint64  `json:"events"` // in the history, ever
}

// Link is this node's connection to another one.
type Link struct {
	Node        string `json:"node"`
	RTTUS       int64  `json:"rtt_us"`       // newest ping's round trip
	QueuedBytes int    `json:"queued_bytes"` // written, not yet sent
	Pending     int    `json:"pending"`      // calls without an answer yet
	Behind      uint64 `json:"behind"`       // changes of ours it has not acknowledged
}

// NodeHealth is one node's share of the cluster's health.
type NodeHealth struct {
	Node       string     `json:"node"`
	Healthy    bool       `json:"healthy"`
	Causes     []Cause    `json:"causes"`
	Metrics    *Metrics   `json:"metrics,omitempty"`
	Operations []op.Stats `json:"operations,omitempty"`
	History    []string   `json:"history,omitempty"` // its newest membership events, oldest first
}

// ClusterHealth is the health of all nodes that answered.
type ClusterHealth struct {
	Healthy   bool           `json:"healthy"`
	Partition string         `json:"partition"`
	Nodes     []NodeHealth   `json:"nodes"`
	Errors    []op.NodeError `json:"errors,omitempty"`
}

// The pictures of a partition, as one node sees it.
const (
	Whole    = "whole"    // every configured node is alive and reached directly
	Partial  = "partial"  // some are not, but those alive are a majority
	Minority = "minority" // those alive are half of the configured nodes or fewer
)

// partitionOf judges what a node sees. A node that left is not missed: it said
// goodbye.
func partitionOf(members []cluster.Member) string {
	configured, alive, direct := 0, 0, 0
	for _, m := range members {
		if m.State == cluster.Left {
			continue
		}
		configured++
		if m.State == cluster.Alive || m.State == cluster.Joining || m.State == cluster.Suspect {
			alive++
		}
		if m.State == cluster.Alive && m.Reach == cluster.ReachDirect {
			direct++
		}
	}
	switch {
	case 2*alive <= configured && configured > 1:
		return Minority
	case direct < configured:
		return Partial
	default:
		return Whole
	}
}

// causesOf says what is wrong with the members, as a node sees them.
func causesOf(members []cluster.Member) []Cause {
	causes := []Cause{}
	for _, m := range members {
		c := Cause{Subject: m.Name, Since: m.Since, Message: m.Why}
		switch {
		case m.State == cluster.Dead:
			c.Kind, c.Severity = "member_dead", Serious
		case m.State == cluster.Unknown:
			c.Kind, c.Severity = "member_unknown", Warning
		case m.State == cluster.Suspect:
			c.Kind, c.Severity = "member_suspect", Warning
		case m.State == cluster.Joining:
			c.Kind, c.Severity = "member_joining", Warning
		case m.State == cluster.Alive && !m.Self && m.Reach != cluster.ReachDirect:
			c.Kind, c.Severity = "member_indirect", Warning
		default:
			continue
		}
		causes = append(causes, c)
	}
	return causes
}

func mergeHealth(parts []op.Part[ClusterHealth]) ClusterHealth {
	merged := ClusterHealth{Healthy: true, Nodes: []NodeHealth{}, Errors: op.Failed(parts)}
	worst := map[string]int{Whole: 0, Partial: 1, Minority: 2}
	merged.Partition = Whole
	for _, p := range parts {
		merged.Healthy = merged.Healthy && p.Err == nil && p.Value.Healthy
		merged.Nodes = append(merged.Nodes, p.Value.Nodes...)
		if worst[p.Value.Partition] > worst[merged.Partition] {
			merged.Partition = p.Value.Partition
		}
	}
	return merged
}
