package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/memdb"
	"github.com/glassbox-dev/glassbox/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeReplica has applied everything, always.
type fakeReplica struct {
	mu          sync.Mutex
	incarnation uint64
	up          map[string]bool
	lag         memdb.Digest // answered instead, if not nil
	note        func(format string, args ...any)
}

func (f *fakeReplica) Digest() memdb.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lag
}
func (f *fakeReplica) SetIncarnation(i uint64)  { f.mu.Lock(); f.incarnation = i; f.mu.Unlock() }
func (f *fakeReplica) Saw(string, memdb.Digest) {}
func (f *fakeReplica) set(d memdb.Digest)       { f.mu.Lock(); f.lag = d; f.mu.Unlock() }

func (f *fakeReplica) Up(peer string, info Info) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up[peer] = true
	f.note("up %s %d", peer, info.Incarnation)
}

func (f *fakeReplica) Members([]Member) {}

func (f *fakeReplica) Down(peer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.up, peer)
	f.note("down %s", peer)
}

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
	told   []string // events, and what replication was told, in order
}

func (s *shell) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf(format, args...))
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
	s := newShell(t, m, name, addr, change...)
	s.run()
	return s
}

func (s *shell) run() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		s.ended <- s.Run(ctx)
		close(s.ended)
	}()
}

func newShell(t *testing.T, m *rpc.Memory, name, addr string, change ...shellOption) *shell {
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
	s := &shell{ended: make(chan error, 1)}
	s.replica = &fakeReplica{up: map[string]bool{}, note: s.note}
	o := Options{
		Transport: m.From(cfg.Addr), Listener: l, Secret: []byte("a secret"), Replica: s.replica, Node: echoNode{name},
		Client: rpc.HandlerFunc(func(context.Context, *rpc.Conn, string, json.RawMessage) (any, error) { return "client", nil }),
		OnEvent: func(e Event) {
			s.note("%s %s", e.Type, e.Member)
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
		settle(time.Minute)
		told, err := io.ReadAll(silent)
		require.NoError(t, err, "closed, since it said nothing")
		require.Contains(t, string(told), "nothing that could be understood was said within 31s")
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

// three runs a test with a cluster of three that has formed, and stops it.
func three(t *testing.T, f func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(time.Second)
		f(t, m, n1, n2, n3)
		for _, n := range []*shell{n1, n2, n3} {
			n.cancel()
			<-n.ended
		}
	})
}

func requireAllDirect(t *testing.T, nodes ...*shell) {
	t.Helper()
	for _, n := range nodes {
		for _, member := range n.Members() {
			require.Equal(t, Alive, member.State, "%s of %s: %s", member.Name, n.cfg.Self, member.Why)
			require.Equal(t, ReachDirect, member.Reach, "%s of %s: %s", member.Name, n.cfg.Self, member.Why)
		}
	}
}

// failures are the events that say that something is wrong.
func (s *shell) failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, e := range s.events {
		if e.Type == MemberSuspected || e.Type == MemberFailed {
			list = append(list, fmt.Sprintf("%s %s: %s", e.Type, e.Member, e.Why))
		}
	}
	return list
}

// logged keeps what a node logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) option(_ *Config, o *Options) { o.Log = slog.New(slog.NewTextHandler(l, nil)) }

// TestAOneWayCut: what n1 sends to n2 is lost, what n2 sends arrives. Neither
// gets an answer from the other; n3 reaches both.
func TestAOneWayCut(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		m.Set("n1:1", "n2:1", rpc.Cut)
		settle(20 * time.Second)
		require.Equal(t, via("n3"), n1.member("n2").Reach)
		require.Equal(t, via("n3"), n2.member("n1").Reach)
		require.Empty(t, append(n1.failures(), n2.failures()...))
		m.Set("n1:1", "n2:1", rpc.Healthy)
		settle(3 * time.Second)
		requireAllDirect(t, n1, n2, n3)

		n3.stop(t) // now there is nobody between them: pings alone do not keep n2 alive
		settle(time.Second)
		m.Set("n1:1", "n2:1", rpc.Cut)
		settle(n1.cfg.DeadAfter + n1.cfg.PingEvery)
		require.Equal(t, Dead, n1.state("n2"))
		require.Equal(t, Dead, n2.state("n1"))
		m.Set("n1:1", "n2:1", rpc.Healthy)
		settle(3 * time.Second)
		require.Equal(t, Alive, n1.state("n2"))
		require.Equal(t, Alive, n2.state("n1"))
	})
}

// TestWhoHearsNobodyIsDead DeadAfter after its last answer, although its pings
// and calls still come: nothing waits behind them.
func TestWhoHearsNobodyIsDead(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		m.Set("n1:1", "n3:1", rpc.Cut)
		m.Set("n2:1", "n3:1", rpc.Cut)
		for range n1.cfg.DeadAfter / (50 * time.Millisecond) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			require.Error(t, n3.Call(ctx, "n1", "any", nil, nil))
			cancel()
		}
		settle(10 * time.Millisecond)
		require.Equal(t, Dead, n1.state("n3"))
		require.Equal(t, Dead, n2.state("n3"))
	})
}

// TestFlow: what counts is whether a message has ended, however it comes.
func TestFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		f := &flow{Conn: near}
		l := &link{dialled: end{conn: &rpc.Conn{}, flow: f}}
		come := func(text string) time.Time {
			time.Sleep(time.Second)
			go func() { _, _ = far.Write([]byte(text)) }()
			_, err := f.Read(make([]byte, 100))
			require.NoError(t, err)
			return l.heard()
		}
		require.Zero(t, come("{}\n{}\n"))
		begun := come("{}\n{")
		require.WithinDuration(t, time.Now(), begun, 0)
		require.Equal(t, begun, come("}\n"))
		require.NoError(t, far.Close())
	})
}

// TestDialledOneWayOnly: n1's dials to n2 are refused, so it calls n2 by the
// connection that n2 dialled, and n2's end is noticed all the same.
func TestDialledOneWayOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		m.Set("n1:1", "n2:1", rpc.Refuse)
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(5 * time.Second)
		requireAllDirect(t, n1, n2, n3)
		var said string
		require.NoError(t, n1.Call(t.Context(), "n2", "hello", nil, &said))
		require.Equal(t, "n1 asked hello of n2", said)
		require.Len(t, n1.LinkStats(), 2)
		m.Break("n1:1", "n2:1") // n2 dials again
		settle(time.Second)
		requireAllDirect(t, n1, n2)
		n2.stop(t)
		settle(100 * time.Millisecond)
		require.Equal(t, Dead, n1.state("n2"), n1.member("n2").Why)
		n1.stop(t)
		n3.stop(t)
	})
}

// TestARefusalOnOneLinkKillsNobody: connections are reset and dials refused, in
// both directions, as a firewall does it.
func TestARefusalOnOneLinkKillsNobody(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		m.Set("n1:1", "n2:1", rpc.Refuse)
		m.Set("n2:1", "n1:1", rpc.Refuse)
		m.Break("n1:1", "n2:1")
		settle(20 * time.Second)
		require.Equal(t, via("n3"), n1.member("n2").Reach)
		require.Equal(t, via("n3"), n2.member("n1").Reach)
		_, failed := n1.seen(MemberFailed, "n2")
		require.False(t, failed)
		var said string
		require.NoError(t, n1.Call(t.Context(), "n2", "hello", nil, &said))
		require.Equal(t, "n1 asked hello of n2", said, "the third passes it on")
		require.NoError(t, n1.Leave(t.Context()))
		require.Equal(t, Left, n2.state("n1"), "the goodbye too")
	})
}

// TestWhatIsNotPassedOn: what tells of a link, what the third does not reach
// itself, and what names nobody.
func TestWhatIsNotPassedOn(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		for _, r := range []relayed{{"n2", pingMethod, nil}, {"n2", relayMethod, nil}, {"n9", "hello", nil}, {"n1", "hello", nil}} {
			_, err := n1.relay(t.Context(), "n3", r)
			require.Equal(t, r.Node != "n2" || !relayable(r.Method), errs.KindOf(err) == errs.NodeUnavailable, "%v: %v", r, err)
		}
		for _, r := range []relayed{{"n9", "hello", nil}, {"n2", askMethod, nil}} {
			_, err := n1.takeRelayed(t.Context(), "n3", r)
			require.Equal(t, errs.Forbidden, errs.KindOf(err))
		}
	})
}

// TestLeaveSaysWhoDidNotHear it: that one takes this node for failed.
func TestLeaveSaysWhoDidNotHear(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		m.Set("n1:1", "n2:1", rpc.Cut)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		err := n1.Leave(ctx)
		require.ErrorContains(t, err, "goodbye to n2")
		require.NotContains(t, err.Error(), "n3")
		require.Equal(t, Left, n3.state("n1"))
		require.Empty(t, n1.failures(), "who leaves suspects nobody for hanging up")
		require.Equal(t, errs.NodeUnavailable, errs.KindOf(n3.Call(t.Context(), "n1", "hello", nil, nil)), "who has left is not called")
		n1.cancel()
		require.NoError(t, <-n1.ended)
		settle(3 * time.Second)
		require.Equal(t, Dead, n2.state("n1"))
		require.Equal(t, Left, n3.state("n1"))
		require.NotContains(t, n3.replica.up, "n1")
	})
}

// TestWhoLeavesTakesNobodyIn: its peers may still be dialling.
func TestWhoLeavesTakesNobodyIn(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, _ *shell) {
		require.NoError(t, n2.Leave(t.Context()))
		err := n2.connected("n1", end{}, false, n1.info())
		require.ErrorContains(t, err, "node n2 is leaving")
		err = n1.connected("n2", end{}, false, n2.info())
		require.ErrorContains(t, err, "node n2 has said goodbye")
		n2.dial(Dial{"n1", []string{"n1:1"}})
		require.Equal(t, Left, n1.state("n2"))
	})
}

func TestAnotherListOfPeersIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n2 := startShell(t, m, "n1"), startShell(t, m, "n2")
		n3 := startShell(t, m, "n3", func(c *Config, _ *Options) { c.Peers["n4"] = "n4:1" })
		n4 := startShell(t, m, "n4")
		settle(5 * time.Second)
		require.Equal(t, []string{"n3"}, n1.Differing())
		require.Equal(t, []string{"n3"}, n2.Differing())
		require.Equal(t, []string{"n1", "n2"}, n3.Differing())
		require.Equal(t, Alive, n1.state("n3"), "it is a warning, no refusal")
		require.Contains(t, n4.member("n1").Why, `node "n4" is not among the peers of n1`)
		require.Equal(t, Dead, n4.state("n1"))
		for _, n := range []*shell{n1, n2, n3, n4} {
			n.stop(t)
		}
	})
}

// TestGarbageIsLogged, and disturbs nobody else.
func TestGarbageIsLogged(t *testing.T) {
	for what, tc := range map[string]struct{ sent, logs string }{
		"another protocol": {"GET / HTTP/1.1\r\n\r\n", "were no JSON"},
		"a frame too long": {`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 100<<10) + `"}` + "\n", "longer than the limit"},
		"silence":          {"", "nothing that could be understood was said within"},
		"hello only":       {helloFrom("n2"), "the handshake was not finished within"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, log := rpc.NewMemory(), &logged{}
				small := func(_ *Config, o *Options) { o.RPC.MaxMessage = 64 << 10 }
				n1, n2, n3 := startShell(t, m, "n1", log.option, small), startShell(t, m, "n2"), startShell(t, m, "n3")
				settle(time.Second)
				nc, err := m.Dial(t.Context(), "n1:1")
				require.NoError(t, err)
				_, err = nc.Write([]byte(tc.sent))
				require.NoError(t, err)
				settle(5 * time.Second)
				_, err = io.Copy(io.Discard, nc)
				require.NoError(t, err, "it was closed")
				synctest.Wait() // and it is logged then
				require.Contains(t, log.String(), "connection closed")
				require.Contains(t, log.String(), tc.logs)
				requireAllDirect(t, n1, n2, n3)
				require.Empty(t, n1.failures())
				for _, n := range []*shell{n1, n2, n3} {
					n.stop(t)
				}
			})
		})
	}
}

// TestALateHelloIsBoundedToo: whoever says hello and no more is closed, also if
// the hello came when nobody expected one any more.
func TestALateHelloIsBoundedToo(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, _, _ *shell) {
		nc, err := m.Dial(t.Context(), "n1:1")
		require.NoError(t, err)
		settle(5 * n1.cfg.HandshakeTimeout)
		_, err = nc.Write([]byte(helloFrom("n2")))
		require.NoError(t, err)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(10*n1.cfg.HandshakeTimeout)))
		_, err = io.Copy(io.Discard, nc)
		require.NoError(t, err, "it was closed")
		require.NoError(t, nc.Close())
	})
}

func helloFrom(node string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"session.hello","params":{"version":1,"cluster":"test","node":"` + node +
		`","to":"n1","nonce":"` + strings.Repeat("0", 32) + `"}}` + "\n"
}

// TestNobodyAsksBeforeTheHandshake, neither who dials nor who is dialled: it may
// be anybody that sits at a peer's address.
func TestNobodyAsksBeforeTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		l, err := m.Listen("n2:1")
		require.NoError(t, err)
		n1, n3 := startShell(t, m, "n1"), startShell(t, m, "n3")
		nc, err := l.Accept()
		require.NoError(t, err)
		impostor := rpc.Start(t.Context(), nc, rpc.HandlerFunc(func(ctx context.Context, _ *rpc.Conn, _ string, _ json.RawMessage) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), rpc.Config{})
		for _, method := range []string{"hello", pingMethod, goodbyeMethod} {
			require.Equal(t, errs.Unauthorized, errs.KindOf(impostor.Call(t.Context(), method, nil, nil)), method)
		}
		impostor.Close(nil)
		require.Error(t, impostor.Wait())
		require.NoError(t, l.Close())

		nc, err = m.Dial(t.Context(), "n1:1")
		require.NoError(t, err)
		conn := rpc.Start(t.Context(), nc, nil, rpc.Config{})
		hello := json.RawMessage(strings.TrimSuffix(strings.TrimPrefix(helloFrom("n2"), `{"jsonrpc":"2.0","id":1,"method":"session.hello","params":`), "}\n"))
		require.NoError(t, conn.Call(t.Context(), rpc.HelloMethod, hello, nil))
		for _, method := range []string{"hello", pingMethod, goodbyeMethod} {
			require.Equal(t, errs.Unauthorized, errs.KindOf(conn.Call(t.Context(), method, nil, nil)), method)
		}
		conn.Close(nil)
		require.Error(t, conn.Wait())
		n1.stop(t)
		n3.stop(t)
	})
}

// TestQuestionsOfPeers are answered by what a node finds when it tries, and
// refused if they cannot be read.
func TestQuestionsOfPeers(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		ask := func(about string) Verdict {
			var result askResult
			require.NoError(t, n1.Call(t.Context(), "n2", askMethod, askParams{about}, &result))
			return result.Verdict
		}
		require.Equal(t, Reached, ask("n3"))
		require.Equal(t, Silent, ask("n9"), "not among its peers")
		m.Set("n2:1", "n3:1", rpc.Cut)
		require.Equal(t, Silent, ask("n3"))
		m.Set("n2:1", "n3:1", rpc.Healthy)
		n3.stop(t)
		settle(time.Second)
		require.Equal(t, Refused, ask("n3"))
		mute, err := m.Listen("n3:1") // the kernel accepts for a process that is frozen
		require.NoError(t, err)
		require.Equal(t, Silent, ask("n3"))
		require.NoError(t, mute.Close())
		for _, method := range []string{pingMethod, askMethod, goodbyeMethod} {
			err := n1.Call(t.Context(), "n2", method, []int{7}, nil)
			require.Equal(t, errs.BadParameter, errs.KindOf(err), method)
		}
		require.Equal(t, Alive, n2.state("n1"))
	})
}

// TestOneThatDoesNotKeepUp is suspected and told so, and recovers.
func TestOneThatDoesNotKeepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := rpc.NewMemory(), &logged{}
		n1, n2, n3 := startShell(t, m, "n1"), startShell(t, m, "n2", log.option), startShell(t, m, "n3")
		settle(time.Second)
		at := func(seq uint64) memdb.Digest { return memdb.Digest{"n1": {Incarnation: 1, Seq: seq}} }
		n1.replica.set(at(5))
		n3.replica.set(at(5))
		n2.replica.set(at(4))
		settle(4 * time.Second)
		require.Equal(t, Suspect, n1.state("n2"))
		require.Contains(t, n1.member("n2").Why, "stalled")
		require.Contains(t, log.String(), "does not apply its changes")
		n2.replica.set(at(5))
		settle(time.Second)
		requireAllDirect(t, n1, n2, n3)
		for _, n := range []*shell{n1, n2, n3} {
			n.stop(t)
		}
	})
}

// TestWhoIsKeptFromRunningSuspectsNobody: for 5 s nothing is sent and no tick
// comes, since somebody who listens to events does not return. The others answer
// all the time.
func TestWhoIsKeptFromRunningSuspectsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := rpc.NewMemory(), &logged{}
		stuck := func(_ *Config, o *Options) {
			listener, once := o.OnEvent, sync.Once{}
			o.OnEvent = func(e Event) {
				listener(e)
				once.Do(func() { time.Sleep(5 * time.Second) })
			}
		}
		n1, n2, n3 := startShell(t, m, "n1", log.option, stuck), startShell(t, m, "n2"), startShell(t, m, "n3")
		settle(15 * time.Second)
		require.Contains(t, log.String(), "this node was kept from running")
		require.Empty(t, n1.failures())
		requireAllDirect(t, n1, n2, n3)
		n2.stop(t)
		n3.stop(t)
		n1.cancel()
		require.NoError(t, <-n1.ended)
	})
}

// TestAClockSetBack: a start of n2 whose clock gives a lower incarnation than
// the others know takes a higher one before it has joined.
func TestAClockSetBack(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		known := n2.Self().Incarnation
		n2.stop(t)
		n3.stop(t)
		settle(time.Second)
		both := func(f rpc.Fault) { m.Set("n1:1", "n2:1", f); m.Set("n2:1", "n1:1", f) }
		both(rpc.Cut)
		late := newShell(t, m, "n2", "n2:1")
		late.core.incarnation = 7
		late.run()
		n3 = startShell(t, m, "n3") // knows nobody's past
		settle(time.Second)
		require.EqualValues(t, 7, n3.member("n2").Incarnation)
		both(rpc.Healthy)
		settle(5 * time.Second)
		requireAllDirect(t, n1, late, n3)
		require.Equal(t, late.Self().Incarnation, n3.member("n2").Incarnation)
		require.Greater(t, late.Self().Incarnation, known)
		require.Equal(t, late.Self().Incarnation, n1.member("n2").Incarnation)
		require.Equal(t, late.Self().Incarnation, late.replica.incarnation, "replication begins with it")
		require.Len(t, late.replica.up, 2)
		late.stop(t)
		n3.stop(t)
	})
}

// TestTheNewOneIsShownLast: of a rebirth that is seen before the old one is
// missed, the end of the old life is told before the new one is reported up:
// whoever hides the rows of the dead must not hide the newborn's.
func TestTheNewOneIsShownLast(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		old := n2.Self().Incarnation
		n1.mu.Lock()
		n1.told = nil
		n1.mu.Unlock()
		later := startShellAt(t, m, "n2", "elsewhere:1")
		settle(5 * time.Second)
		require.Error(t, <-n2.ended, "superseded")
		born := later.Self().Incarnation
		require.Greater(t, born, old)
		up := slices.Index(n1.told, fmt.Sprintf("up n2 %d", born))
		require.Contains(t, n1.told[:up], "MemberFailed n2")
		require.Contains(t, n1.told[:up], "down n2")
		require.Equal(t, []string{"MemberJoined n2"}, n1.told[up+1:])
		requireAllDirect(t, n1, later, n3)
		later.stop(t)
	})
}

// TestReplicationIsToldInOrder: however connections come and go, the newest that
// replication was told of a peer is whether there is a link.
func TestReplicationIsToldInOrder(t *testing.T) {
	three(t, func(t *testing.T, m *rpc.Memory, n1, n2, n3 *shell) {
		names := []string{"n1:1", "n2:1", "n3:1"}
		for range 300 {
			a, b := rand.IntN(3), rand.IntN(3)
			m.Break(names[a], names[b])
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		}
		settle(3 * time.Second)
		requireAllDirect(t, n1, n2, n3)
		for _, n := range []*shell{n1, n2, n3} {
			up := map[string]bool{}
			for _, what := range n.told {
				words := strings.Fields(what)
				if words[0] != "up" && words[0] != "down" {
					continue
				}
				require.Equal(t, words[0] == "down", up[words[1]], "%s: %v", n.cfg.Self, n.told)
				up[words[1]] = words[0] == "up"
			}
			require.Len(t, n.replica.up, 2)
			_, failed := n.seen(MemberFailed, "n1")
			require.False(t, failed)
		}
	})
}

// TestAnAddressThatHangsHidesNoOther: n2 has moved back to its static address;
// packets to the old one are lost, and n2 cannot dial n1.
func TestAnAddressThatHangsHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rpc.NewMemory()
		n1, n3 := startShell(t, m, "n1"), startShell(t, m, "n3")
		n2 := startShellAt(t, m, "n2", "elsewhere:1")
		settle(3 * time.Second)
		require.Equal(t, "elsewhere:1", n1.member("n2").Addr)
		m.Set("n1:1", "elsewhere:1", rpc.Cut)
		m.Set("n2:1", "n1:1", rpc.Refuse)
		n2.stop(t)
		settle(5 * time.Second)
		n2 = startShell(t, m, "n2")
		settle(3 * time.Second)
		requireAllDirect(t, n1, n2, n3)
		require.Equal(t, "n2:1", n1.member("n2").Addr)
		for _, n := range []*shell{n1, n2, n3} {
			n.stop(t)
		}
	})
}

// TestAConnectionThatEndsDuringItsHandshake leaves no link behind: its end came
// before there was anybody to tell of.
func TestAConnectionThatEndsDuringItsHandshake(t *testing.T) {
	three(t, func(t *testing.T, _ *rpc.Memory, n1, n2, n3 *shell) {
		n2.stop(t)
		settle(time.Second)
		near, far := rpc.Pipe()
		conn := rpc.Start(t.Context(), near, nil, rpc.Config{})
		s := &session{c: n1.Cluster, conn: conn}
		conn.Close(nil)
		require.NoError(t, far.Close())
		require.Empty(t, s.end(conn.Wait()))
		info, err := json.Marshal(Info{Incarnation: n1.member("n2").Incarnation + 1, Addr: "n2:1", Ready: true})
		require.NoError(t, err)
		_, err = s.Admit(t.Context(), rpc.Peer{Node: "n2", Body: info})
		require.NoError(t, err)
		settle(time.Second)
		require.Equal(t, Dead, n1.state("n2"))
		require.Nil(t, n1.conn("n2"))
		require.NotContains(t, n1.replica.up, "n2")
		_, err = s.Admit(t.Context(), rpc.Peer{Node: "n2", Body: json.RawMessage("7")})
		require.Equal(t, errs.BadParameter, errs.KindOf(err))
	})
}

// TestAnAnswerOfAFormerLink says nothing of the one that took its place.
func TestAnAnswerOfAFormerLink(t *testing.T) {
	three(t, func(t *testing.T, _ *rpc.Memory, n1, _, _ *shell) {
		time.Sleep(n1.cfg.PingEvery / 3)
		before := n1.core.peers["n2"].lastAnswer
		require.False(t, n1.answered(&link{peer: "n2"}, Answered{Peer: "n2"}))
		require.Equal(t, before, n1.core.peers["n2"].lastAnswer)
		require.True(t, n1.answered(n1.linksByName()["n2"], Answered{Peer: "n2"}))
		require.True(t, n1.core.peers["n2"].lastAnswer.After(before))
	})
}

// TestRefusalsAreRememberedWithinBounds: anybody can be refused.
func TestRefusalsAreRememberedWithinBounds(t *testing.T) {
	log := &logged{}
	n := newShell(t, rpc.NewMemory(), "n1", "n1:1", log.option)
	for i := range 10 * maxRefusals {
		n.logRefusal(fmt.Sprintf("inbound 10.0.%d.%d", i/256, i%256), errors.New("no"))
	}
	require.LessOrEqual(t, len(n.refusal), maxRefusals)
	lines := func() int { return strings.Count(log.String(), "\n") }
	before := lines()
	n.logRefusal("inbound 10.0.9.255", errors.New("no"))
	require.Equal(t, before, lines(), "the same again is not logged again")
	n.logRefusal("inbound 10.0.9.255", errors.New("another reason"))
	require.Equal(t, before+1, lines())
	require.Equal(t, "::1", hostOf(&net.TCPAddr{IP: net.IPv6loopback, Port: 7}), "the port changes with each connection")
	require.NoError(t, n.opts.Listener.Close())
}
