package rpc

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// link dials from a to a listener at b.
func link(t *testing.T, m *Memory) (near, far net.Conn) {
	t.Helper()
	l, err := m.From("b").Listen("b")
	require.NoError(t, err)
	near, err = m.From("a").Dial(t.Context(), "b")
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = near.Close(), far.Close(), l.Close() })
	return near, far
}

func TestMemoryCarriesBytes(t *testing.T) {
	near, far := link(t, NewMemory())
	require.Equal(t, "a", near.LocalAddr().String())
	require.Equal(t, "b", near.RemoteAddr().String())
	require.Equal(t, "memory", near.RemoteAddr().Network())
	big := make([]byte, 3*halfSize) // more than it buffers
	go func() { _, _ = near.Write(big) }()
	_, err := io.ReadFull(far, make([]byte, len(big)))
	require.NoError(t, err)
	_, err = near.Write([]byte("last"))
	require.NoError(t, err)
	require.NoError(t, near.Close())
	all, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Equal(t, "last", string(all), "what was sent before the end arrives")
	_, err = far.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = near.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestMemoryListeners(t *testing.T) {
	m := NewMemory()
	_, err := m.Dial(t.Context(), "b")
	require.True(t, Refused(err), "nobody listens: %v", err)
	l, err := m.Listen("b")
	require.NoError(t, err)
	require.Equal(t, "b", l.Addr().String())
	_, err = m.Listen("b")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	waiting, err := m.Dial(t.Context(), "b")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "nobody accepted it")
	require.NoError(t, waiting.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// TestMemoryFaults: a cut loses nothing for ever, as TCP sends again; a refusal
// concerns dials only; a break closes.
func TestMemoryFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		near, far := link(t, m)
		m.Set("a", "b", Cut)
		_, err := near.Write([]byte("late"))
		require.NoError(t, err)
		require.NoError(t, far.SetReadDeadline(time.Now().Add(time.Second)))
		_, err = far.Read(make([]byte, 9))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = far.Write([]byte("back")) // the other direction is fine
		require.NoError(t, err)
		b := make([]byte, 9)
		n, err := near.Read(b)
		require.NoError(t, err)
		require.Equal(t, "back", string(b[:n]))
		for _, way := range [][2]string{{"a", "b"}, {"c", "b"}} { // a dial needs both directions
			m.Set("b", "c", Cut)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = m.From(way[0]).Dial(ctx, way[1])
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.False(t, Refused(err))
		}
		m.Set("a", "b", Refuse)
		_, err = m.From("a").Dial(t.Context(), "b")
		require.True(t, Refused(err))
		require.NoError(t, far.SetDeadline(time.Time{}))
		n, err = far.Read(b)
		require.NoError(t, err)
		require.Equal(t, "late", string(b[:n]), "what is connected goes on")
		m.Break("b", "a")
		_, err = far.Read(b)
		require.Error(t, err)
	})
}

// TestMemoryDeadlines take hold of who waits already.
func TestMemoryDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := link(t, NewMemory())
		go func() {
			time.Sleep(time.Second)
			_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		}()
		begun := time.Now()
		_, err := near.Write(make([]byte, 2*halfSize))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(begun))
	})
}

// TestMemoryDialWaits for room among those that wait to be accepted.
func TestMemoryDialWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		l, err := m.Listen("b")
		require.NoError(t, err)
		var conns []net.Conn
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for err == nil {
			var nc net.Conn
			if nc, err = m.Dial(ctx, "b"); err == nil {
				conns = append(conns, nc)
			}
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		failed := make(chan error)
		go func() {
			_, err := m.Dial(t.Context(), "b")
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, l.Close())
		<-failed // refused, or connected just before and then closed
		for _, nc := range conns {
			require.NoError(t, nc.Close())
		}
	})
}
