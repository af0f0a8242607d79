package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestContexts: commands find the newest cluster that lives, and the one before
// when that has ended.
func TestContexts(t *testing.T) {
	s := newShell(t)
	dir := filepath.Join(s.env["HOME"], ".config", "glassbox")
	require.Empty(t, newestContext(""))
	require.Empty(t, newestContext(dir))

	forgetFirst := s.knows("127.0.0.1:1")
	forgetSecond := s.knows("127.0.0.1:2")
	require.Equal(t, []string{"127.0.0.1:2"}, newestContext(dir).Addrs)
	s.fails(5, "no node listens at 127.0.0.1:2", "ps")
	forgetSecond()
	s.fails(5, "no node listens at 127.0.0.1:1", "ps")

	// Files of a process that was killed: nobody holds their locks.
	stale := filepath.Join(dir, "dev-7.json")
	require.NoError(t, os.WriteFile(stale, []byte(`{"addrs":["127.0.0.1:3"],"pid":1,"started":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`), 0o600))
	require.Equal(t, []string{"127.0.0.1:1"}, newestContext(dir).Addrs)
	require.NoFileExists(t, stale, "cleaned")
	forgetFirst()
	require.Empty(t, newestContext(dir))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestAddresses: an address may be written as dev's table shows it; what is
// none is refused, wherever it comes from.
func TestAddresses(t *testing.T) {
	n := nodetest.Start(t, 1)[0]
	s := newShell(t)
	require.Contains(t, s.ok("status", "--addr", "http://"+n.HTTP()), "seen by n1")
	s.env["GLASSBOX_ADDR"] = "http://" + n.HTTP() + "/"
	require.Contains(t, s.ok("status"), "seen by n1")
	s.env["GLASSBOX_ADDR"] = "https://" + n.HTTP()
	s.fails(2, "write HOST:PORT", "status")
	s.fails(2, "write HOST:PORT", "events", "-f", "--addr", "n1@"+n.HTTP())
	delete(s.env, "GLASSBOX_ADDR")
	forget := s.knows("http://" + n.HTTP())
	require.Contains(t, s.ok("status"), "seen by n1")
	forget()
	defer s.knows("elsewhere/" + n.HTTP())()
	s.fails(2, "write HOST:PORT", "status")
}
