package peercred_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/glassbox-dev/glassbox/internal/peercred"
)

// The range that is refused.
const (
	firstUser = 912_345_678
	users     = 2
)

// TestMain makes the test binary a visitor when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "visit" {
		os.Exit(visit(os.Args[2], os.Args[3]))
	}
	goleak.VerifyTestMain(m)
}

// visit connects and says something. How it goes on is what differs. It ends with 0
// if it was welcome, or did not wait to see.
func visit(how, addr string) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	_, _ = io.WriteString(c, how)
	switch how {
	case "hang up":
		_ = c.Close()
		return 0
	case "reset":
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		return 0
	case "half close":
		_ = c.(*net.TCPConn).CloseWrite()
	}
	if answer, _ := io.ReadAll(c); string(answer) != "welcome" {
		return 1
	}
	return 0
}

// visiting is this binary as a user. Its path can be one that only root reaches.
func visiting(uid uint32, how, addr string) *osexec.Cmd {
	cmd := osexec.Command("/proc/self/exe", "visit", how, addr)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// TestUsersAreToldApart: real processes of several users at the door, by each way
// there is to it.
func TestUsersAreToldApart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be other users")
	}
	for at, hosts := range map[string][]string{"": {"127.0.0.1", "127.0.0.9", "::1", own(t)}, "127.0.0.1": {"127.0.0.1", "::ffff:127.0.0.1"}} {
		for _, host := range hosts {
			t.Run(at+" by "+host, func(t *testing.T) { toldApart(t, at, host, false) })
		}
	}
	t.Run("by the table, IPv4", func(t *testing.T) { toldApart(t, "127.0.0.1", "127.0.0.1", true) })
	t.Run("by the table, IPv6", func(t *testing.T) { toldApart(t, "", "::1", true) })
}

func toldApart(t *testing.T, at, host string, table bool) {
	var log bytes.Buffer
	plain, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
	require.NoError(t, err)
	l := peercred.Refuse(plain, firstUser, users, slog.New(slog.NewTextHandler(&log, nil)))
	if table {
		peercred.ByTable(l)
	}
	addr := net.JoinHostPort(host, strconv.Itoa(plain.Addr().(*net.TCPAddr).Port))
	if c, err := net.Dial("tcp", addr); err != nil {
		plain.Close()
		t.Skip("this machine has no such address:", err)
	} else {
		c.Close() // and nobody knows whose it was
	}
	// These are gone before anybody looks.
	require.NoError(t, visiting(firstUser, "hang up", addr).Run())
	require.NoError(t, visiting(firstUser, "reset", addr).Run())

	var heard []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			said := make([]byte, 64)
			n, _ := c.Read(said)
			heard = append(heard, string(said[:n]))
			_, _ = io.WriteString(c, "welcome")
			c.Close()
		}
	}()
	for _, how := range []string{"stay", "half close"} {
		for uid, welcome := range map[uint32]bool{0: true, firstUser - 1: true, firstUser: false, firstUser + users - 1: false, firstUser + users: true} {
			err := visiting(uid, how, addr).Run()
			require.Equal(t, welcome, err == nil, "user %d, %s: %v", uid, how, err)
		}
	}
	require.NoError(t, l.Close())
	<-ended
	require.Equal(t, []string{"stay", "stay", "stay", "half close", "half close", "half close"}, heard)
	require.Equal(t, 1, strings.Count(log.String(), "connection refused"), "the log has a bound")
	require.Regexp(t, "uid=("+strconv.Itoa(firstUser)+"|"+strconv.Itoa(firstUser+1)+")", log.String())
}

// own is an address of this machine that is no loopback; 127.0.0.8 if it has none.
func own(t *testing.T) string {
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; ip.IsGlobalUnicast() {
			require.True(t, peercred.IsLocal(netip.MustParseAddr(ip.String())))
			return ip.String()
		}
	}
	return "127.0.0.8"
}

func TestIsLocal(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "192.0.2.1": false, "2001:db8::1": false} {
		require.Equal(t, want, peercred.IsLocal(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, peercred.IsLocal(netip.Addr{}))
}

// BenchmarkAccept: a connection from this machine, from dialing to its acceptance.
func BenchmarkAccept(b *testing.B) {
	for _, refuse := range []bool{false, true} {
		b.Run(fmt.Sprintf("looked at=%t", refuse), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			defer l.Close()
			if refuse {
				l = peercred.Refuse(l, firstUser, users, slog.New(slog.DiscardHandler))
			}
			for b.Loop() {
				out, err := net.Dial("tcp", l.Addr().String())
				require.NoError(b, err)
				in, err := l.Accept()
				require.NoError(b, err)
				_, _ = in.Close(), out.Close()
			}
		})
	}
}
