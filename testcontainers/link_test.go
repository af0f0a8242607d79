package testcontainers

import (
	"bufio"
	"context"
	"net"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	tc "github.com/testcontainers/testcontainers-go"

	"github.com/glassbox-dev/glassbox/testcontainers/internal/netfault"
)

// noContainer can be removed.
type noContainer struct{ tc.Container }

func (noContainer) Terminate(context.Context, ...tc.TerminateOption) error { return nil }

// fakeHelper is a helper that passes on what it is told to answer; what that
// returns is its answer, "" is none.
func fakeHelper(t *testing.T, answer func(line string) string) *helper {
	t.Helper()
	ours, its := net.Pipe()
	h := newHelper(noContainer{}, client.HijackedResponse{Conn: ours, Reader: bufio.NewReader(ours)})
	ended := make(chan struct{})
	t.Cleanup(func() {
		h.close()
		<-ended
	})
	go func() {
		defer close(ended)
		defer its.Close()
		for lines := bufio.NewScanner(its); lines.Scan(); {
			if text := answer(lines.Text()); text != "" {
				frame := []byte{byte(stdcopy.Stdout), 0, 0, 0, 0, 0, 0, byte(len(text) + 1)}
				_, _ = its.Write(append(frame, text+"\n"...)) // it may have gone
			}
		}
	}()
	return h
}

// TestUnansweredChange: a helper that was told and did not answer may have done
// it, so there is something to heal; and one that said no has not.
func TestUnansweredChange(t *testing.T) {
	c, n := &Containers{}, &node{name: "n1", lives: 1, turn: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	n.faults.helper = fakeHelper(t, func(string) string { cancel(); return "" })
	_, err := c.setRules(ctx, n, []netfault.Rule{{In: true}})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, n.faults.helper)

	var told []string
	n.faults.helper = fakeHelper(t, func(line string) string { told = append(told, line); return `""` })
	require.NoError(t, c.healNode(t.Context(), n))
	require.NoError(t, c.healNode(t.Context(), n), "that is known to be whole")
	require.Equal(t, []string{"null"}, told)

	n.faults.helper = fakeHelper(t, func(string) string { return `"no room"` })
	_, err = c.setRules(t.Context(), n, []netfault.Rule{{In: true}})
	require.ErrorContains(t, err, "change the links of n1: no room")
	require.False(t, n.faults.unknown)
	require.NotNil(t, n.faults.helper)
}
