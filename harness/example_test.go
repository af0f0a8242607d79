package harness_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/glassbox-dev/glassbox/harness"
)

// A node is killed, and another one tells why it takes it for failed.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary, err := harness.Build(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	c, err := harness.StartProcesses(ctx, harness.ProcessOptions{Binary: binary, Nodes: 3, Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := harness.WaitAgreed(ctx, c); err != nil {
		log.Fatal(err)
	}
	watch, err := harness.WatchNode(ctx, c, "n1")
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Close()
	if _, err := c.Kill(ctx, "n2"); err != nil {
		log.Fatal(err)
	}
	seen, err := watch.Wait(ctx, func(e harness.Event) bool { return e.Type == "MemberFailed" })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(seen.Subject, seen.Why)
}
