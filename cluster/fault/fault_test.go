package fault

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/internal/errs"
	"github.com/glassbox-dev/glassbox/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// side is a connection of a node with a table to the peer n2.
type side struct {
	*Table
	near net.Conn // the node's, under the table
	far  net.Conn // the peer's

	mu    sync.Mutex
	read  strings.Builder // what the node has read
	ended error
	told  []string // changes of faults
}

// connected runs a test with such a connection, in a bubble.
func connected(t *testing.T, test func(t *testing.T, s *side)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &side{}
		s.Table = New(func(c Change) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.told = append(s.told, strings.TrimSpace(map[bool]string{false: "begun ", true: "over "}[c.Over]+c.Rule.ID+" "+c.Why))
		})
		var err error
		s.near, err = s.Dial(t.Context(), "n2", func(context.Context) (net.Conn, error) {
			near, far := rpc.Pipe()
			s.far = far
			return near, nil
		})
		require.NoError(t, err)
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := s.near.Read(buf)
				s.mu.Lock()
				s.read.Write(buf[:n])
				s.ended = err
				s.mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		defer func() {
			_ = s.near.Close()
			s.Close()
			_ = s.far.Close()
			synctest.Wait()
		}()
		test(t, s)
	})
}

// add puts a fault in force.
func (s *side) add(t *testing.T, kind Kind, way Direction, delay, ttl time.Duration) string {
	t.Helper()
	r, err := s.Add(Rule{Kind: kind, Peer: "n2", Direction: way, DelayMS: delay.Milliseconds()}, ttl)
	require.NoError(t, err)
	return r.ID
}

// heard is what the node has read a while later.
func (s *side) heard(after time.Duration) string {
	time.Sleep(after)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read.String()
}

// end is how the node's reading ended.
func (s *side) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// say writes on the peer's side.
func (s *side) say(t *testing.T, text string) {
	t.Helper()
	_, err := s.far.Write([]byte(text))
	require.NoError(t, err)
}

// arrives is what the peer can read within a time.
func (s *side) arrives(t *testing.T, within time.Duration) string {
	t.Helper()
	require.NoError(t, s.far.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 1<<21)
	got := 0
	for {
		n, err := s.far.Read(buf[got:])
		got += n
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return string(buf[:got]) + " " + err.Error()
			}
			return string(buf[:got])
		}
	}
}

func TestWithoutAFaultItIsAPlainConnection(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.say(t, "in")
		require.Equal(t, "in", s.heard(0))
		_, err := s.near.Write([]byte("out"))
		require.NoError(t, err)
		require.Equal(t, "out", s.arrives(t, time.Millisecond))
		require.NoError(t, s.near.Close())
		require.Equal(t, " EOF", s.arrives(t, time.Millisecond))
	})
}

// TestACutHoldsOneWay and lets everything go on, in order, when it is over.
func TestACutHoldsOneWay(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Cut, In, 0, 3*time.Second)
		s.say(t, "a")
		s.say(t, "b")
		require.Empty(t, s.heard(2900*time.Millisecond))
		_, err := s.near.Write([]byte("out"))
		require.NoError(t, err)
		require.Equal(t, "out", s.arrives(t, time.Millisecond), "the other way is whole")
		require.Equal(t, "ab", s.heard(200*time.Millisecond), "its time is over")
		s.say(t, "c")
		require.Equal(t, "abc", s.heard(0))
	})
	connected(t, func(t *testing.T, s *side) {
		id := s.add(t, Cut, Out, 0, time.Hour)
		for _, text := range []string{"a", "b"} {
			_, err := s.near.Write([]byte(text))
			require.NoError(t, err)
		}
		require.Empty(t, s.arrives(t, time.Minute))
		s.say(t, "in")
		require.Equal(t, "in", s.heard(0))
		require.Len(t, s.HealWhere(func(r Rule) bool { return r.ID == id }, "by hand"), 1)
		_, err := s.near.Write([]byte("c"))
		require.NoError(t, err)
		require.Equal(t, "abc", s.arrives(t, time.Millisecond))
		require.Equal(t, []string{"begun f1", "over f1 by hand"}, s.told)
	})
}

// TestTheEndIsHeldToo: neither side learns through a cut that the other closed.
func TestTheEndIsHeldToo(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Cut, Both, 0, 10*time.Second)
		_, err := s.near.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, s.near.Close())
		s.heard(0)
		require.ErrorIs(t, s.end(), net.ErrClosed, "here it is over at once")
		require.Empty(t, s.arrives(t, 9*time.Second))
		require.Equal(t, "last words EOF", s.arrives(t, 2*time.Second))
	})
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Cut, In, 0, 10*time.Second)
		require.NoError(t, s.far.Close())
		s.heard(9 * time.Second)
		require.NoError(t, s.end())
		s.heard(2 * time.Second)
		require.ErrorIs(t, s.end(), io.EOF)
	})
}

func TestADelayKeepsTheOrderAndAddsUp(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Delay, In, 100*time.Millisecond, time.Hour)
		s.add(t, Delay, Both, 50*time.Millisecond, time.Hour)
		s.say(t, "a")
		require.Empty(t, s.heard(100*time.Millisecond))
		s.say(t, "b")
		require.Equal(t, "a", s.heard(51*time.Millisecond))
		require.Equal(t, "ab", s.heard(100*time.Millisecond), "each waits for itself")
		for _, text := range []string{"x", "y"} {
			_, err := s.near.Write([]byte(text))
			require.NoError(t, err)
			time.Sleep(30 * time.Millisecond)
		}
		require.Equal(t, "x", s.arrives(t, 10*time.Millisecond))
		require.Equal(t, "y", s.arrives(t, 11*time.Millisecond))
		require.Empty(t, s.HealWhere(func(r Rule) bool { return r.Peer == "n3" }, ""))
		require.Len(t, s.HealWhere(func(r Rule) bool { return r.Peer == "n2" }, ""), 2)
		_, err := s.near.Write([]byte("z"))
		require.NoError(t, err)
		require.Equal(t, "z", s.arrives(t, time.Millisecond))
	})
}

// TestWhoWritesIntoACutWaitsInTheEnd, until the deadline it set.
func TestWhoWritesIntoACutWaitsInTheEnd(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Cut, Out, 0, time.Hour)
		_, err := s.near.Write(make([]byte, laneBytes))
		require.NoError(t, err)
		require.NoError(t, s.near.SetDeadline(time.Now().Add(time.Second)))
		begun := time.Now()
		_, err = s.near.Write([]byte("more"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		require.NoError(t, s.near.SetDeadline(time.Time{}))
	})
}

func TestDialsHangWhileCut(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		s.add(t, Cut, In, 0, 2*time.Second)
		dialled := 0
		dial := func(context.Context) (net.Conn, error) { dialled++; return nil, errors.New("no") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Dial(ctx, "n2", dial)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "n2")
		require.Zero(t, dialled)
		_, err = s.Dial(ctx, "n3", dial)
		require.ErrorContains(t, err, "no", "others are reached")
		begun := time.Now()
		_, err = s.Dial(t.Context(), "n2", dial)
		require.ErrorContains(t, err, "no")
		require.Equal(t, time.Second, time.Since(begun))
	})
}

// TestAcceptedConnections are nobody's until they are identified.
func TestAcceptedConnections(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		near, far := rpc.Pipe()
		accepted, identify := s.Accept(near)
		s.add(t, Cut, Both, 0, 2*time.Second)
		buf := make([]byte, 9)
		_, err := far.Write([]byte("hello"))
		require.NoError(t, err)
		n, err := accepted.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "hello", string(buf[:n]))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, identify(ctx, "n2"), context.DeadlineExceeded)
		require.NoError(t, identify(t.Context(), "n2"), "the cut is over")
		require.Equal(t, 2, s.Drop("n2"), "this one and the dialled one")
		_, err = accepted.Read(buf)
		require.Error(t, err)
		require.Zero(t, s.Drop("n3"))
		require.NoError(t, far.Close())
		_ = accepted.Close()
	})
}

func TestBounds(t *testing.T) {
	connected(t, func(t *testing.T, s *side) {
		for range maxRules {
			s.add(t, Cut, Both, 0, time.Hour)
		}
		_, err := s.Add(Rule{Kind: Cut, Peer: "n2", Direction: In}, time.Second)
		require.Equal(t, errs.Conflict, errs.KindOf(err))
		require.Len(t, s.Rules(), maxRules)
		s.Close()
		require.Empty(t, s.Rules())
		_, err = s.Add(Rule{}, time.Second)
		require.Equal(t, errs.Conflict, errs.KindOf(err))
	})
}
