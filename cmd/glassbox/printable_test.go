package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVisible(t *testing.T) {
	var b bytes.Buffer
	n, err := fmt.Fprint(visible{&b}, "ä\x1b[2J\u009b\xff\tx\r\ny\n")
	require.NoError(t, err)
	require.Equal(t, 15, n)
	require.Equal(t, "ä·[2J·� x·\ny\n", b.String())
	_, err = fmt.Fprint(visible{broken{}}, "x")
	require.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// TestErrorsDriveNoTerminal: whatever a peer puts into an error is seen, not
// obeyed.
func TestErrorsDriveNoTerminal(t *testing.T) {
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"error":{"code":-32022,"data":{"kind":"bad_spec","detail":"a\u001b[2Jb","why":"c\u009bd"}}}`))
	}))
	defer peer.Close()
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = peer.URL
	r := s.run("ps")
	require.Equal(t, 2, r.code)
	require.Equal(t, "glassbox: a·[2Jb\n  why: c·d\n", r.err)
}
