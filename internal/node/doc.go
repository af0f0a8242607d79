// Package node is one Glassbox node: all the parts, wired.
//
// # Usage
//
//	n, err := node.New(cfg, version, log) // binds both ports; starts nothing
//	err = n.Run(ctx)                      // until ctx ends or the node leaves
//
// # Guarantees
//
// New fails with a sentence that says what to do when the configuration is
// wrong or a port is in use. Run returns only when everything it started has
// ended: first the sandboxes stop, then the node says goodbye, then the
// listeners close. A node that finds itself superseded by another start of the
// same name ends with an error.
package node
