package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/glassbox-dev/glassbox/cluster"
	"github.com/glassbox-dev/glassbox/cluster/fault"
	"github.com/glassbox-dev/glassbox/cluster/registry"
	"github.com/glassbox-dev/glassbox/cluster/replica"
	"github.com/glassbox-dev/glassbox/internal/disk"
	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/internal/event"
	"github.com/glassbox-dev/glassbox/internal/journal"
	"github.com/glassbox-dev/glassbox/internal/jsontext"
	"github.com/glassbox-dev/glassbox/internal/op"
	"github.com/glassbox-dev/glassbox/internal/operations"
	"github.com/glassbox-dev/glassbox/internal/peercred"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/rpc"
	"github.com/glassbox-dev/glassbox/sandbox"
	"github.com/glassbox-dev/glassbox/sandbox/runtime/exec"
	"github.com/glassbox-dev/glassbox/server"
)

// Node is one node. Make it with [New].
type Node struct {
	cfg     Config
	version string
	started time.Time
	log     *slog.Logger

	rpcListener, httpListener net.Listener

	db        *memdb.DB
	events    *event.Log
	topics    *event.Log // what is published to them
	replica   *replica.Replica
	cluster   *cluster.Cluster
	faults    *fault.Table // nil if none are allowed
	programs  *exec.Runtime
	closedMu  sync.Mutex
	closed    []int // ports that confined programs cannot connect to
	sandboxes *sandbox.Manager
	disk      *disk.Disk // nil: nothing is kept
	decrees   *decrees
	table     *op.Table
	server    *server.Server

	leaveOnce sync.Once
	leaving   chan struct{}
}

// New wires a node and binds its ports, in this order: what can be wrong is
// found before anything is started.
func New(cfg Config, version string, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	secret, err := readSecret("secret_file", cfg.SecretFile)
	if err != nil {
		return nil, err
	}
	token, err := readSecret("token_file", cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, version: version, started: time.Now(), log: log, leaving: make(chan struct{})}
	if cfg.DataDir != "" {
		if n.disk, err = disk.Open(cfg.DataDir, cfg.Name); err != nil {
			return nil, err
		}
	}
	if err := n.listen(); err != nil {
		return nil, errors.Join(err, n.closeDisk())
	}
	if err := n.wire(secret, token); err != nil {
		return nil, errors.Join(err, n.rpcListener.Close(), n.httpListener.Close(), n.closeDisk())
	}
	return n, nil
}

func (n *Node) closeDisk() error {
	if n.disk == nil {
		return nil
	}
	return n.disk.Close()
}

// listen binds both ports. Neither lets the users of sandboxes in, whichever node of
// this machine runs them: closed to them were only the ports that it knew of.
func (n *Node) listen() error {
	first, count, err := userRange(n.cfg.SandboxUsers)
	if err != nil {
		return err
	}
	if n.rpcListener, err = bind("rpc", n.cfg.RPC); err != nil {
		return err
	}
	if n.httpListener, err = bind("http", n.cfg.HTTP); err != nil {
		return errors.Join(err, n.rpcListener.Close())
	}
	n.rpcListener = peercred.Refuse(n.rpcListener, first, count, n.log)
	n.httpListener = peercred.Refuse(n.httpListener, first, count, n.log)
	return nil
}

func bind(field, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errs.Wrap(errs.Conflict, err, "cannot listen on %s; another process uses the port: end it, or choose another address with --%s", addr, field)
	case err != nil:
		return nil, errs.Wrap(errs.BadParameter, err, "cannot listen on %s; choose another address with --%s", addr, field)
	}
	return l, nil
}

// HTTP returns the address of the API.
func (n *Node) HTTP() string { return n.httpListener.Addr().String() }

// RPC returns the address of the nodes' port.
func (n *Node) RPC() string { return n.rpcListener.Addr().String() }

// Ready is closed once the node has joined.
func (n *Node) Ready() <-chan struct{} { return n.cluster.Ready() }

// Table returns the operations, for who runs a node inside a program of his own.
func (n *Node) Table() *op.Table { return n.table }

// Run runs the node until ctx ends or an operation makes it leave; then it
// drains: the sandboxes stop, the node says goodbye, the listeners close.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-n.leaving:
			cancel(errLeaving)
		case <-ctx.Done():
		}
	}()
	// Each stage outlives the one before it: the API and the cluster must live
	// while the sandboxes stop.
	last, endLast := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endLast(nil)
	work := newGroup(last, func(err error) { cancel(err) })
	work.Go("cluster", n.cluster.Run)
	work.Go("replica", n.replica.Run)
	work.Go("decrees", n.decrees.Run)
	work.Go("memory", tidy)
	programs := newGroup(last, func(err error) { cancel(err) })
	killPrograms := programs.Go("programs", n.programs.Run)
	work.Go("server", func(ctx context.Context) error { return n.server.Serve(ctx, n.httpListener) })
	if err := n.announce(); err != nil {
		cancel(err)
	}

	tree := newGroup(ctx, func(err error) { cancel(err) })
	tree.Go("sandboxes", n.sandboxes.Run)
	<-ctx.Done()
	cause := context.Cause(ctx)
	n.log.Info("draining", "why", cause)
	drained := time.AfterFunc(n.cfg.DrainTimeout, func() {
		n.log.Warn("the sandboxes have not ended in time, their programs are killed", "drain_timeout", n.cfg.DrainTimeout)
		killPrograms()
	})
	err := tree.Wait()
	drained.Stop()
	goodbye, done := context.WithTimeout(last, goodbyeTimeout)
	if leaveErr := n.cluster.Leave(goodbye); leaveErr != nil {
		n.log.Warn("goodbye not heard by all", "err", leaveErr)
	}
	done()
	endLast(errLeaving)
	err = errors.Join(err, programs.Wait(), work.Wait(), n.closeDisk())
	if n.faults != nil {
		n.faults.Close()
	}
	return err
}

// goodbyeTimeout bounds the goodbye: who does not hear it will find out.
const goodbyeTimeout = time.Second

var errLeaving = errors.New("the node leaves")

// announce writes this node's own row.
func (n *Node) announce() error {
	_, err := n.replica.Update(func(tx *memdb.Tx) error {
		return tx.PutNode(memdb.Node{
			Name: n.cfg.Name, HTTP: n.HTTP(), RPC: n.cluster.Self().Addr, Version: n.version,
			OSPID: os.Getpid(), Started: n.started.UTC().Truncate(time.Microsecond),
		})
	})
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	return nil
}

// Leave makes Run drain and return.
func (n *Node) Leave() { n.leaveOnce.Do(func() { close(n.leaving) }) }

// wire makes all parts and connects them; it starts nothing.
func (n *Node) wire(secret, token []byte) error {
	membership, err := n.cfg.membership()
	if err != nil {
		return err
	}
	if membership.Addr == n.cfg.RPC {
		membership.Addr = n.RPC() // with the port that was given, if it was 0
	}
	n.db, err = memdb.Open(n.cfg.Name)
	if err != nil {
		return err
	}
	boot := uint64(n.started.UnixMilli())
	n.events = event.NewLog(n.cfg.Name, boot, n.cfg.History, time.Now, n.log)
	n.topics = event.NewMessages(n.cfg.Name, boot, time.Now, n.log)
	n.replica = replica.New(replica.Config{
		Self: n.cfg.Name, DB: n.db, DeadAfter: membership.DeadAfter, Feeds: n.feeds(), OnFeed: n.onFeed, OnName: n.onName, Log: n.log,
		OnDecree: func(uids []string, copies []memdb.Destroyed) { n.decrees.hear(uids, copies) },
	}, caller{n})
	restored, err := n.restore(membership)
	if err != nil {
		return err
	}
	var breaker cluster.Breaker
	if n.cfg.AllowFaults {
		n.faults = fault.New(n.onFault)
		breaker = n.faults
	}
	first, count, err := userRange(n.cfg.SandboxUsers)
	if err != nil {
		return err
	}
	programs := exec.Config{
		Node: n.cfg.Name, RequireIsolation: n.cfg.RequireIsolation, Ports: n.closedPorts, Protected: n.cfg.protected(),
		FirstUser: first, Users: count, Open: len(token) == 0,
	}
	if err := programs.CheckIsolation(); err != nil {
		return err
	}
	n.programs = exec.New(programs, n.log)
	n.sandboxes = sandbox.NewManager(sandbox.Config{
		Node: n.cfg.Name, Incarnation: func() uint64 { return n.cluster.Self().Incarnation },
		Runtime: n.programs, Store: store{n.replica}, OnEvent: n.onSandbox, Log: n.log, MaxProcesses: n.cfg.MaxProcesses,
		Claimer: ids{n}, Names: slots{n}, Decrees: n.decrees, Disk: n.keeper(), Restored: restored, LogDir: n.cfg.logDir(),
	})
	if n.table, err = op.NewTable(router{n}, n.log, operations.All(n.deps())...); err != nil {
		return err
	}
	n.server = server.New(server.Config{
		Table: n.table, Token: token, MaxBody: n.cfg.MaxMessage, Ready: n.ready, Log: n.log,
		Info: operations.Info(n.version),
	})
	n.cluster, err = cluster.New(membership, cluster.Options{
		Transport: rpc.TCP{}, Listener: n.rpcListener, Secret: secret, Replica: n.replica, Node: n,
		Inline: n.replica.Inline, Waits: waits, Client: server.ClientHandler(n.table, token),
		Breaker: breaker, OnEvent: n.onMember, RPC: rpc.Config{MaxMessage: n.cfg.MaxMessage}, Log: n.log,
	})
	return err
}

// onMember records how this node sees the others.
func (n *Node) onMember(e cluster.Event) {
	n.replica.Told(e)
	data, _ := jsontext.Marshal(map[string]any{"incarnation": e.Incarnation}) // a number always marshals
	n.events.Observe(event.Event{Time: e.Time, Type: string(e.Type), Subject: e.Member, Data: data, Why: e.Why})
}

// onSandbox tells everybody what happens to this node's sandboxes.
func (n *Node) onSandbox(e sandbox.Event) {
	if row, ok := e.Data.(memdb.Sandbox); ok {
		row.Spec = nil // it may be large, and its row has it
		e.Data = row
	}
	data, err := jsontext.Marshal(e.Data)
	if err != nil {
		n.log.Error("event without its data", "type", e.Type, "subject", e.Subject, "err", err)
	}
	n.publish(event.Event{Type: string(e.Type), Subject: e.Subject, Data: data, Why: e.Why})
}

// publish tells everybody.
func (n *Node) publish(e event.Event) {
	n.events.Publish(e)
	n.replica.Grew()
}

// onName tells everybody what happens to this node's names. The replica sends it
// on by itself.
func (n *Node) onName(e registry.Event) {
	if e.Type == registry.NameConflict {
		n.lost(e)
	}
	if registry.Reserved(e.Claim.Name) {
		return
	}
	if e.Type == registry.NameRegistered && e.Why == "" {
		e.Why = "by request"
	}
	data := operations.NameEventOf(e).AppendJSON(make([]byte, 0, 64))
	n.events.Publish(event.Event{Type: string(e.Type), Subject: e.Claim.Name, Data: data, Why: e.Why})
}

// say publishes a message to a topic.
func (n *Node) say(topic string, message json.RawMessage) (id string) {
	id = n.topics.Publish(event.Event{Type: event.Message, Subject: topic, Data: message})
	n.replica.Grew()
	return id
}

// The feeds that go to all nodes: what this node tells of itself, and the
// messages that it publishes for others. Neither waits for the other.
const (
	eventFeed = "events"
	topicFeed = "topics"
)

func (n *Node) feeds() map[string]*journal.Journal[json.RawMessage] {
	return map[string]*journal.Journal[json.RawMessage]{eventFeed: n.events.Out(), topicFeed: n.topics.Out()}
}

// onFeed takes what the peers publish.
func (n *Node) onFeed(feed, origin string, incarnation, missed uint64, entries []json.RawMessage) {
	log := n.events
	if feed == topicFeed {
		log = n.topics
	}
	log.Receive(origin, incarnation, missed, entries)
}

// onFault tells everybody what this node breaks on purpose.
func (n *Node) onFault(c fault.Change) {
	e := event.Event{Type: string(operations.FaultInjected), Subject: n.cfg.Name, Why: "by request"}
	if c.Over {
		e.Type, e.Why = string(operations.FaultHealed), c.Why
	}
	e.Data, _ = jsontext.Marshal(c.Rule) // strings, numbers and times always marshal
	n.publish(e)
}
