package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/node/nodetest"
)

// TestNames: names by the command line, on a cluster of two.
func TestNames(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()
	require.Equal(t, "no names; `glassbox registry register NAME` registers one\n", s.ok("registry", "list"))
	require.Equal(t, "registered shop/cache, held by node n1\n", s.ok("registry", "register", "shop/cache", `{ "port": 6379 }`))
	require.Equal(t, "shop/cache was registered already, held by node n1\n", s.ok("registry", "register", "shop/cache", `{"port":6379}`))
	s.fails(4, "replace: true", "registry", "register", "shop/cache", `7`)
	require.Equal(t, "shop/cache has another value now, held by node n1\n", s.ok("registry", "register", "shop/cache", `"a b"`, "--replace"))
	s.fails(4, `the name "shop/cache" is held by node n1`, "registry", "register", "shop/cache", "--node", "n2")
	s.fails(2, `parameter "value": must be JSON, and "hello" is not; a string is written with its quotes: '"hello"'`, "registry", "register", "x", "hello")
	s.fails(2, `parameter "name"`, "registry", "register", "")
	s.fails(2, "takes NAME [VALUE]", "registry", "register")
	s.fails(2, "takes NAME [VALUE]", "registry", "register", "a", "1", "2")
	s.fails(2, `parameter "pid"`, "registry", "register", "x", "--pid", "nobody")
	s.fails(2, "did you mean register?", "registry", "registre")

	s.in = `{"id":"one","children":[{"id":"a","run":{"exec":["sleep","600"]}}]}`
	s.ok("sandbox", "create", "-", "--node", "n2")
	require.NotContains(t, s.ok("ps"), "NAME", "no column for what nobody has")
	pid := field(t, s.ok("ps", "--type", "worker"), "one", 0)
	require.Equal(t, "registered shop/printer, held by process "+pid+" on n2\n", s.ok("registry", "register", "shop/printer", "--pid", pid))
	s.ok("registry", "register", "shop/a", "--pid", pid)
	require.Eventually(t, func() bool { return strings.Count(s.ok("registry", "list"), "\n") == 4 }, 5*time.Second, time.Millisecond)
	require.Regexp(t, `^NAME +NODE +PID +AGE +VALUE\nshop/a +n2 +`+pid+` +0s +-\nshop/cache +n1 +- +\ds +"a b"\nshop/printer +n2 +`+pid+` +0s +-\n$`, s.ok("registry", "list", "--prefix", "shop/"))
	require.NotContains(t, s.ok("registry", "list", "--node", "n1"), "printer")
	require.Equal(t, 2, strings.Count(s.ok("registry", "list", "--limit", "1"), "\n"))
	s.fails(3, "n9", "registry", "list", "--node", "n9")
	for _, how := range []string{"--consistent", "--consistent=false"} {
		require.Regexp(t, `(?s)^NAME +shop/cache\nnode +n1\npid +-\nvalue +"a b"\nepoch +0\nregistered +2.*Z\n$`, s.ok("registry", "lookup", "shop/cache", how))
	}
	require.Contains(t, s.ok("registry", "lookup", "shop/cache", "-o", "json"), `"value": "a b"`)
	require.Regexp(t, pid+` .* shop/a, shop/printer\n`, s.ok("ps"))
	require.Contains(t, s.ok("ps", "--name", "shop/printer"), pid)
	require.Contains(t, s.ok("ps", "--name", "shop/cache"), "no processes")
	require.Regexp(t, `name +shop/a, shop/printer`, s.ok("info", pid))

	// A name may be waited for, longer than a command waits by itself.
	s.fails(3, `nobody holds the name "shop/late"`, "registry", "lookup", "shop/late", "--wait-ms", "1")
	s.fails(2, `parameter "wait_ms": must be at most 20000`, "registry", "lookup", "shop/late", "--wait-ms", "20001")
	waited := make(chan result)
	late := newShell(t)
	late.env["GLASSBOX_ADDR"] = nodes[1].HTTP()
	go func() { waited <- late.run("registry", "lookup", "shop/late", "--wait-ms", "20000") }()
	s.ok("registry", "register", "shop/late", "1")
	looked := <-waited
	require.Zero(t, looked.code, looked.err)
	require.Regexp(t, `(?s)^NAME +shop/late\nnode +n1\n`, looked.out)
	s.ok("registry", "unregister", "shop/late")
	require.Greater(t, (&app{}).patience("registry.lookup", map[string]json.RawMessage{"wait_ms": json.RawMessage("20000")}), 20*time.Second)

	require.Equal(t, "unregistered\n", s.ok("registry", "unregister", "shop/printer"))
	s.fails(3, `nobody holds the name "shop/printer"`, "registry", "lookup", "shop/printer")
	s.fails(3, `"kind":"not_found"`, "registry", "unregister", "shop/printer", "-o", "json")
	require.Regexp(t, `n1 +NameRegistered +shop/cache +by request\n`, s.ok("events", "--subject", "shop/cache"))
}

// TestPublishAndSubscribe: topics by the command line.
func TestPublishAndSubscribe(t *testing.T) {
	nodes := nodetest.Start(t, 2)
	s := newShell(t)
	s.env["GLASSBOX_ADDR"] = nodes[0].HTTP()
	require.Equal(t, "published by n1 to 2 nodes\n", s.ok("publish", "shop/orders", `{"item":1}`))
	s.fails(2, `'"hello"'`, "publish", "shop/orders", "hello")
	s.fails(2, `parameter "topic"`, "publish", "", "1")
	s.fails(2, `parameter "topic"`, "subscribe", "")
	s.fails(2, "takes TOPIC", "subscribe")

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var fresh, whole, errors buffer
	follow := s.start(ctx, &fresh, &errors, "subscribe", "shop/orders", "--node", "n2")
	all := s.start(ctx, &whole, &errors, "subscribe", "shop/orders", "--after", "", "-o", "json")
	eventually(t, &whole, `"data":{"item":1}`, &errors)
	begun := func() bool { return strings.Count(nodes[0].Log.String(), "path=/rpc") >= 4 }
	require.Eventually(t, begun, 10*time.Second, 5*time.Millisecond, "from here on it must miss nothing")
	s.ok("publish", "shop/orders", `{"item":2}`, "--node", "n2")
	eventually(t, &fresh, `{"item":2}`, &errors)
	eventually(t, &whole, `"data":{"item":2}`, &errors)
	interrupt()
	require.Zero(t, follow(), "%s", &errors)
	require.Zero(t, all(), "%s", &errors)
	require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3}  n2    Message           shop/orders  {"item":2}\n$`, fresh.String())
	require.Empty(t, errors.String())
	require.Equal(t, 2, strings.Count(s.ok("events", "--topic", "shop/orders"), "\n"))

	require.NoError(t, nodes[1].Stop())
	require.Eventually(t, func() bool {
		return s.ok("publish", "shop/orders", "1") == "published by n1, the only node alive\n"
	}, 10*time.Second, 5*time.Millisecond)
}
