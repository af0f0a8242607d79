// Package testcontainers starts real clusters of Glassbox nodes in containers,
// by testcontainers-go, and breaks them: it is the target docker of package
// harness. It is for other projects' tests too.
//
// # Usage
//
//	func TestMain(m *testing.M) { testcontainers.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		testcontainers.Need(t) // skips without an engine, with GLASSBOX_REQUIRE set it fails
//		binary, err := harness.Build(t.Context(), t.TempDir())
//		c, err := testcontainers.Start(t.Context(), testcontainers.Options{Binary: binary, Nodes: 3})
//		defer c.Close()
//		_, err = harness.WaitJoined(t.Context(), c)
//		_, err = c.Kill(t.Context(), "n3")
//		err = harness.Client(c, "n1").Call(t.Context(), "cluster.status", nil, &status)
//	}
//
// A whole scenario, with its objectives, is run by harness.Run with [StartOn].
// The command testcontainers/verify does that from a terminal.
//
// # Guarantees
//
// No registry is needed: the image is built from nothing with the node's static
// binary and one helper.
//
// Containers and networks do not outlive the process that started them, even
// after kill -9: they are gone a few seconds later (see [Reap]). The image does,
// for the next time: it is named glassbox.localhost/harness, and whoever builds a
// new one removes those that are older than ten minutes and not in use. The logs
// in Options.Dir stay, too.
//
// The nodes have static addresses in a network of their own. Their APIs are
// published on the loopback address where the engine's ports are here, and
// demand a token that is made for each cluster, as the nodes among themselves
// demand a secret.
//
// A cut or lossy link is so by rules in the network of the container that are
// about the peers only: this machine still reaches a node that is cut off. What
// breaks something returns when, as package harness asks for it: a kill by the
// engine's record of the end; a freeze, a disconnection and a cut by the last
// moment at which the node was certainly whole. All are by this machine's clock;
// if the engine uses another kernel, on another machine or in a virtual one, a
// kill counts from when its answer arrived.
//
// # What callers owe
//
// A main that calls [Reap], or a TestMain that calls [Main], first thing: the
// program starts itself again as its own reaper. And a Close for each cluster.
//
// Two programs, for the engine's machine. Unless Options.Helper names the helper
// that breaks links, it is compiled at the first start with the go command, as
// harness.Build compiles the node; for that the caller's module has to have both
// as tools:
//
//	go get -tool github.com/glassbox-dev/glassbox/cmd/glassbox github.com/glassbox-dev/glassbox/testcontainers/netfault
//
// The engine is the one that DOCKER_HOST names, otherwise that at the default
// socket, $XDG_RUNTIME_DIR/docker.sock or ~/.docker/run/docker.sock, the first
// that answers. Docker's contexts are not read, and the library's file
// ~/.testcontainers.properties does not help to find one, but its tc.host, if
// set, replaces the one found.
//
// The first call decides for the whole process, and sets variables that
// testcontainers-go reads, unless they are set already: the engine found
// (DOCKER_HOST), no Ryuk, which is the library's own reaper
// (TESTCONTAINERS_RYUK_DISABLED=true), and where the library would look for
// published ports in the wrong place, the right one
// (TESTCONTAINERS_HOST_OVERRIDE). DOCKER_API_VERSION is best left unset: engines
// old and new refuse each other's.
//
// # Debugging
//
// Containers are named glassbox-CLUSTER-NODE, the helpers of a node
// glassbox-CLUSTER-NODE-netfault-1, -2 and so on. All are labelled
// dev.glassbox.harness.run and dev.glassbox.harness.cluster, so
// `docker ps --filter label=dev.glassbox.harness.run` lists all that there are.
// Logs are written to Options.Dir when the cluster is closed; until then
// `docker logs` has them. Nodes are pid 1 of their containers; there is no shell.
//
// # Testing
//
// The tests start clusters, so they need an engine, and skip what that engine
// cannot show. Their figures are printed by -v; GLASSBOX_FIGURES=1 asks for the
// aims, otherwise for what holds on a busy machine.
package testcontainers
