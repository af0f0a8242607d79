package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/rpc"
)

// fakeReplica has applied everything, always.
type fakeReplica struct {
	mu          sync.Mutex
	incarnation uint64
	up          map[string]bool
	lag         memdb.Digest // answered instead, if not nil
}

func (f *fakeReplica) Digest() memdb.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lag
}
func (f *fakeReplica) SetIncarnation(i uint64)  { f.mu.Lock(); f.incarnation = i; f.mu.Unlock() }
func (f *fakeReplica) Saw(string, memdb.Digest) {}
func (f *fakeReplica) Up(peer string, _ Info)   { f.mu.Lock(); f.up[peer] = true; f.mu.Unlock() }
func (f *fakeReplica) Down(peer string)         { f.mu.Lock(); delete(f.up, peer); f.mu.Unlock() }

// echoNode answers any node-to-node method with who asked what.
type echoNode struct{ name string }

func (e echoNode) Handle(_ context.Context, from, method string, _ json.RawMessage) (any, error) {
	if method == "fail" {
		return nil, errs.New(errs.NotFound, "as asked")
	}
	return fmt.Sprintf("%s asked %s of %s", from, method, e.name), nil
}

// shell is a node under test.
type shell struct {
	*Cluster
	replica *fakeReplica
	cancel  context.CancelFunc
	ended   chan error

	mu     sync.Mutex
	events []Event
}

func (s *shell) stop(t *testing.T) {
	t.Helper()
	s.cancel()
	require.NoError(t, <-s.ended)
}

func (s *shell) seen(kind EventType, member string) (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.events) - 1; i >= 0; i-- {
		if s.events[i].Type == kind && s.events[i].Member == member {
			return s.events[i], true
		}
	}
	return Event{}, false
}

func (s *shell) state(name string) State { return s.member(name).State }

type shellOption func(*Config, *Options)

// startShell starts node name of the cluster n1…n3 on the network.
func startShell(t *testing.T, m *rpc.Memory, name string, change ...shellOption) *shell {
	t.Helper()
	return startShellAt(t, m, name, name+":1", change...)
}

func startShellAt(t *testing.T, m *rpc.Memory, name, addr string, change ...shellOption) *shell {
	t.Helper()
	cfg, err := Preset("lan")
	require.NoError(t, err)
	cfg.Cluster, cfg.Self, cfg.Addr, cfg.Peers = "test", name, addr, map[string]string{}
	for _, peer := range []string{"n1", "n2", "n3"} {
		if peer != name {
			cfg.Peers[peer] = peer + ":1"
		}
	}
	l, err := m.Listen(cfg.Addr)
	require.NoError(t, err)
	s := &shell{replica: &fakeReplica{up: map[string]bool{}}, ended: make(chan error, 1)}
	o := Options{
		Transport: m.From(cfg.Addr), Listener: l, Secret: []byte("a secret"), Replica: s.replica, Node: echoNode{name},
		Client: rpc.HandlerFunc(func(context.Context, *rpc.Conn, string, json.RawMessage) (any, error) { return "client", nil }),
		OnEvent: func(e Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	}
	if os.Getenv("VERBOSE") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("on", name)
	}
	for _, f := range change {
		f(&cfg, &o)
	}
	s.Cluster, err = New(cfg, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.ended <- s.Run(ctx) }()
	return s
}

func settle(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestThreeNodesFormAndNoticeADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(100 * time.Millisecond)
		for _, n := range []*shell{n1, n2, n3} {
			for _, member := range n.Members() {
				require.Equal(t, Alive, member.State, "%s of %s: %s", member.Name, n.cfg.Self, member.Why)
				require.Equal(t, ReachDirect, member.Reach)
			}
			require.Len(t, n.replica.up, 2)
			require.Empty(t, n.Differing())
			<-n.Ready()
		}
		var said string
		require.NoError(t, n1.Call(t.Context(), "n2", "hello", nil, &said))
		require.Equal(t, "n1 asked hello of n2", said)
		require.Equal(t, errs.NotFound, errs.KindOf(n1.Call(t.Context(), "n2", "fail", nil, nil)))
		require.Equal(t, errs.NotFound, errs.KindOf(n1.Call(t.Context(), "n9", "hello", nil, nil)))

		n3.stop(t) // without a goodbye: connections close, dials are refused
		settle(100 * time.Millisecond)
		for _, n := range []*shell{n1, n2} {
			e, ok := n.seen(MemberFailed, "n3")
			require.True(t, ok, "%s: %v", n.cfg.Self, n.events)
			require.Contains(t, e.Why, "refused")
			require.Contains(t, e.Why, "asked whether they reach it")
			err := n.Call(t.Context(), "n3", "hello", nil, nil)
			require.Equal(t, errs.NodeUnavailable, errs.KindOf(err))
		}
		n3 = startShell(t, m, "n3")
		settle(2 * time.Second)
		for _, n := range []*shell{n1, n2} {
			require.Equal(t, Alive, n.state("n3"))
			_, ok := n.seen(MemberJoined, "n3")
			require.True(t, ok)
		}
		for _, n := range []*shell{n1, n2, n3} {
			n.stop(t)
		}
	})
}

func TestLeavingIsNotFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(time.Second)
		require.NoError(t, n3.Leave(t.Context()))
		settle(time.Second)
		n3.stop(t)
		settle(5 * time.Second)
		for _, n := range []*shell{n1, n2} {
			require.Equal(t, Left, n.state("n3"))
			_, failed := n.seen(MemberFailed, "n3")
			require.False(t, failed)
			n.stop(t)
		}
	})
}

func TestCutAndHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(time.Second)
		both := func(a, b string, f rpc.Fault) { m.Set(a+":1", b+":1", f); m.Set(b+":1", a+":1", f) }
		both("n1", "n2", rpc.Cut)
		settle(10 * time.Second)
		for _, pair := range [][2]*shell{{n1, n2}, {n2, n1}} {
			other := pair[0].member(pair[1].cfg.Self)
			require.Equal(t, Alive, other.State, other.Why)
			require.Equal(t, via("n3"), other.Reach)
		}
		both("n3", "n2", rpc.Cut)
		settle(4 * time.Second)
		require.Equal(t, Dead, n1.state("n2"))
		require.Equal(t, Dead, n3.state("n2"))
		require.Equal(t, Dead, n2.state("n1"))
		both("n1", "n2", rpc.Healthy)
		both("n3", "n2", rpc.Healthy)
		settle(6 * time.Second)
		for _, n := range []*shell{n1, n2, n3} {
			for _, member := range n.Members() {
				require.Equal(t, Alive, member.State, "%s of %s: %s", member.Name, n.cfg.Self, member.Why)
				require.Equal(t, ReachDirect, member.Reach)
			}
		}
		for _, n := range []*shell{n1, n2, n3} {
			n.stop(t)
		}
	})
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change shellOption
		says   string
	}{
		"secret":  {func(_ *Config, o *Options) { o.Secret = []byte("another") }, "secret"},
		"cluster": {func(c *Config, _ *Options) { c.Cluster = "other" }, "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := rpc.NewMemory()
				n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3", tc.change)
				settle(5 * time.Second)
				require.Equal(t, Alive, n1.state("n2"))
				for _, n := range []*shell{n1, n2} {
					other := n.member("n3")
					require.Equal(t, Dead, other.State)
					require.Contains(t, other.Why, tc.says)
				}
				for _, n := range []*shell{n1, n2, n3} {
					n.stop(t)
				}
			})
		})
	}
}

func TestAnotherProcessOfTheSameNameSupersedes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2 := startShell(t, m, "n1"), startShell(t, m, "n2")
		settle(3 * time.Second)
		later := startShellAt(t, m, "n2", "elsewhere:1")
		settle(5 * time.Second)
		err := <-n2.ended
		require.ErrorContains(t, err, "later start")
		require.Equal(t, "elsewhere:1", n1.member("n2").Addr)
		require.Equal(t, Alive, n1.state("n2"))
		n1.stop(t)
		later.stop(t)
	})
}

func TestClientsAndSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1 := startShell(t, m, "n1", func(c *Config, _ *Options) { c.Peers = nil })
		settle(10 * time.Millisecond)
		<-n1.Ready()
		nc, err := m.Dial(t.Context(), "n1:1")
		require.NoError(t, err)
		conn := rpc.Start(t.Context(), nc, nil, rpc.Config{})
		var said string
		require.NoError(t, conn.Call(t.Context(), "anything", nil, &said))
		require.Equal(t, "client", said)
		require.NoError(t, conn.Call(t.Context(), rpc.HelloMethod, nil, &said), "too late to be a node")
		conn.Close(nil)
		require.Error(t, conn.Wait())

		silent, err := m.Dial(t.Context(), "n1:1")
		require.NoError(t, err)
		settle(5 * time.Second)
		_, err = silent.Read(make([]byte, 1))
		require.Error(t, err, "closed, since it said nothing")
		require.NoError(t, silent.Close())
		n1.stop(t)
	})
}

func TestRunEndsWhenItsPortIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1 := startShell(t, rpc.NewMemory(), "n1")
		settle(time.Millisecond)
		require.NoError(t, n1.opts.Listener.Close())
		err := <-n1.ended
		require.Equal(t, errs.Internal, errs.KindOf(err))
		require.False(t, errors.Is(err, context.Canceled))
		n1.cancel()
	})
}
