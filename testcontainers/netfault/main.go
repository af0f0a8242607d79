// Command netfault breaks the network of the container that it shares; see
// package internal/netfault. Package testcontainers puts it into its image.
package main

import (
	"fmt"
	"os"

	"github.com/glassbox-dev/glassbox/testcontainers/internal/netfault"
)

func main() {
	if err := netfault.Serve(os.Stdin, os.Stdout, netfault.Apply); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
