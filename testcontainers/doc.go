// Package testcontainers starts real clusters of Glassbox nodes in containers,
// by testcontainers-go, and breaks them: it is the target docker of package
// harness. It is for other projects' tests too.
//
// # Usage
//
//	func TestMain(m *testing.M) { testcontainers.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		testcontainers.Need(t) // skips without Docker, with GLASSBOX_REQUIRE set it fails
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
// binary and one helper. It is named glassbox-harness, kept for the next time,
// and there is one of it; everything else goes. Nothing a cluster is made of
// outlives the process that started it, even after kill -9: containers and
// networks are gone a few seconds later (see [Reap]).
//
// The nodes have static addresses in a network of their own. Their APIs are
// published on the loopback address where the engine is on this machine, and
// demand a token that is made for each cluster, as the nodes among themselves
// demand a secret.
//
// A cut or lossy link is so by rules in the network of the container that are
// about the peers only: this machine still reaches a node that is cut off. What
// breaks something returns when, as package harness asks for it: a kill by the
// engine's record of the end; a freeze, a disconnection and a cut by the last
// moment at which the node was certainly whole. All are by this machine's clock;
// if the engine is elsewhere, a kill counts from when its answer arrived.
//
// # What callers owe
//
// A main that calls [Reap], or a TestMain that calls [Main], first thing: the
// program starts itself again as its own reaper. And a Close for each cluster.
//
// The first call decides for the whole process, and sets variables that
// testcontainers-go reads, unless they are set already: where the library's
// reaper Ryuk is neither present nor can be pulled, it is disabled
// (TESTCONTAINERS_RYUK_DISABLED=true), and where the library would look for
// published ports in the wrong place, it is told (TESTCONTAINERS_HOST_OVERRIDE).
// DOCKER_API_VERSION is best left unset: engines old and new refuse each
// other's.
//
// # Debugging
//
// Containers are named glassbox-CLUSTER-NODE, and labelled
// dev.glassbox.harness.run and dev.glassbox.harness.cluster, so
// `docker ps --filter label=dev.glassbox.harness.run` lists all that there are.
// Logs are written to Options.Dir when the cluster is closed; until then
// `docker logs` has them. Nodes are pid 1 of their containers; there is no shell.
//
// # Testing
//
// The tests start clusters, so they need an engine. Their figures are printed by
// -v; GLASSBOX_FIGURES=1 asks for the aims, otherwise for what holds on a busy
// machine.
package testcontainers
